"""The command line of the doctor, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.relay.support import freePort
from txgroupsock.relay.app.tap import Options
from txgroupsock.relay.doctor import Patient, command
from txgroupsock.relay.doctor.command import patientsOf
from txgroupsock.relay.errors import StartError


def ended(*arguments: str) -> object:
    """The exit status of a command line."""
    with pytest.raises(SystemExit) as caught:
        Options().parseOptions(arguments)
    return caught.value.code


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--doctor"], "--doctor needs a URL, --from and --to, or --config"),
        (["--doctor", "udp://:0"], "port 0 is not a number"),
        (["--doctor", "http://x:5"], "http:// is not known here"),
        (["--doctor", "--check"], "leave out --check"),
        (["--doctor", "udp://:5", "--workers", "2"], "leave out --workers"),
        (["--doctor", "--demo"], "leave out --demo"),
        (["--doctor", "udp://:5", "--seconds=0"], "--seconds=0: how long to listen"),
        (["--doctor", "udp://:5", "--seconds=x"], "--seconds=x"),
        (["--doctor", "udp://:5", "--seconds=99999"], "up to 3600"),
        (["--seconds=2", "--from=udp://:5", "--to=udp://10.0.0.1:5"], "give --doctor, too"),
        (["--doctor", "--config", "/nowhere.toml"], "cannot be read"),
        (["--doctor", "udp://:5", "word"], "'word' belongs to no option"),
        (["--doctor", "--from", "udp://:5", "--to", "udp://:6"], "it has no address to send to"),
    ],
)
def test_mistakesAreOneLine(arguments: list[str], why: str) -> None:
    """They end with what is wrong, and nothing is listened to."""
    with pytest.raises(StartError) as caught:
        Options().parseOptions(arguments)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_silenceIsAFault(capsys: pytest.CaptureFixture[str]) -> None:
    """A URL may follow it, be its value, or be that of --from; the exit status is 1."""
    url = f"udp://127.0.0.1:{freePort()}"
    for arguments in (["--doctor", url], [f"--doctor={url}"], ["--doctor", "--from", url]):
        assert ended(*arguments, "--seconds", "0.05") == 1
        text = capsys.readouterr().out
        assert f"FAULT (traffic) {url}" in text
        assert text.endswith("1 fault\n")


def test_eachLegIsExamined(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Those of an input that is made of several, on the command line and in a file."""
    legs = [f"udp://127.0.0.1:{freePort()}" for _ in range(2)]
    words = [word for leg in legs for word in ("--from", leg)]
    (tmp_path / "relay.toml").write_text(
        f"[[route]]\nfrom = {legs!r}\nto = 'udp://10.0.0.1:5'\n[route.failover]\n"
    )
    for arguments in (
        [*words, "--merge", "--to", "udp://10.0.0.1:5"],
        ["--config", str(tmp_path / "relay.toml")],
    ):
        assert ended("--doctor", *arguments, "--seconds=0.05") == 1
        text = capsys.readouterr().out
        assert all(f"FAULT (traffic) {leg}" in text for leg in legs)


def test_aCircleIsAFault(capsys: pytest.CaptureFixture[str]) -> None:
    """Of one route, or through another; a route that only feeds another is none."""
    first, second, third = (f"udp://127.0.0.1:{freePort()}" for _ in range(3))
    chain = ["--doctor", "--from", first, "--to", second, "--from", second, "--to"]
    ended(*chain, first, "--seconds=0.05")
    assert f"FAULT (loop) {first}\n" in capsys.readouterr().out
    ended(*chain, third, "--seconds=0.05")
    assert "(loop)" not in capsys.readouterr().out


def test_severalStreamsAreListenedToAtOnce(monkeypatch: pytest.MonkeyPatch) -> None:
    """All those that are named, and only once if they are named twice."""
    urls = [f"udp://127.0.0.1:{freePort()}" for _ in range(3)]
    words = [word for url in urls for word in ("--doctor", url)]
    lines: list[str] = []
    found = command.diagnose

    def diagnose(patients: list[Patient], seconds: float) -> tuple[list[str], int]:
        made, status = found(patients, seconds)
        lines.extend(made)
        return made, status

    monkeypatch.setattr(command, "diagnose", diagnose)
    assert ended(*words, "--doctor", urls[0], "--seconds=0.05") == 1
    assert [line for line in lines if line.startswith("udp:")] == urls


def test_allStreamsOfAFileAreExamined(tmp_path: Path) -> None:
    """Those of routes with their outputs, and those that only viewers get; not what is disabled."""
    file = tmp_path / "relay.toml"
    file.write_text(
        "[viewers]\nlisten = 'tcp:0:interface=127.0.0.1'\n"
        "[[viewers.tcp]]\nlisten = 'tcp:0'\nstream = 'udp://239.1.1.2:5'\n"
        "[[route]]\nname = 'a'\nfrom = 'udp://:5001'\nto = 'udp://10.0.0.1:5'\n"
        "[[route]]\nname = 'b'\nfrom = 'udp://239.1.1.1:5'\nviewers = 'plain'\n"
        "[[route]]\nname = 'c'\nfrom = 'udp://:5002'\nto = 'udp://10.0.0.1:6'\nenabled = false\n"
    )
    options = Options()
    options.parseOptions(["--config", str(file)])
    found = patientsOf(options["configuration"])
    assert [(str(each.input), len(each.outputs)) for each in found] == [
        ("udp://0.0.0.0:5001", 1),
        ("udp://239.1.1.1:5", 0),
        ("udp://239.1.1.2:5", 0),
    ]
