"""The options of twistd groupsock-relay that have to do with its configuration file."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.relay.app.test_tap import HINT, failure, parsed, servicesOf
from tests.relay.support import SECONDS, Twistd
from txgroupsock.relay.app.service import RelayService
from txgroupsock.relay.control.reload import ReloadService
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.viewers import ViewerService

EXAMPLE = Path(__file__).parents[3] / "docs/relay.example.toml"
TO = "udp://127.0.0.1:9"
WRONG = "workers = 0\n[[route]]\nfrom = 3\nto = 'udp://x'\n"
PROBLEMS = [
    "relay.toml:1: workers: 0 is not a whole number from 1 to 256",
    "relay.toml:3: route[1].from: it is a whole number, and should be a URL or a list of URLs",
    (
        "relay.toml:4: route[1].to: 'udp://x': it has no port; the shape is "
        "udp://[source@]address:port[?interface=NAME&...]"
    ),
]


def ending(*arguments: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a command line prints that then ends with status 0."""
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments)
    assert not caught.value.code
    return capsys.readouterr().out.splitlines()


def refused(*arguments: str) -> str:
    """Why a command line is refused."""
    with pytest.raises(StartError) as caught:
        parsed(*arguments)
    return str(caught.value)


def test_theRoutesMayBeInAFile() -> None:
    """--config takes the routes from a file, and the relay goes with what reads that again."""
    options = parsed("--config", str(EXAMPLE))
    assert [each.name for each in options["configuration"].relay.routes] == ["news", "sports"]
    _, running, viewers, reloading, _ = servicesOf(options)
    assert isinstance(running, RelayService)
    assert isinstance(viewers, ViewerService)
    assert isinstance(reloading, ReloadService)
    assert reloading._control.relay is running.relay
    assert reloading._control.viewers is viewers


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--from=udp://:5"], "--config has the routes: leave out --from and --to"),
        (["--admin=tcp:8088"], "--config has that, too: leave out --admin"),
        (["--viewers=tcp:8080"], "--config has that, too: leave out --viewers"),
        (["--allow=239.0.0.0/8"], "--config has that, too: leave out --allow"),
        (
            ["--demo"],
            "--demo has streams of its own: leave out routes and services",
        ),
    ],
)
def test_thereIsOneSourceOfRoutes(arguments: list[str], problem: str) -> None:
    """A file and a command line do not mix."""
    expected = f"groupsock-relay: {problem}; {HINT}"
    assert refused("--config", str(EXAMPLE), *arguments) == expected


def test_theDemonstrationIsNotChecked() -> None:
    """There is nothing to check in the demonstration."""
    assert "--check is for routes: leave out --demo" in refused("--check", "--demo")


def test_checkSaysWhatWouldRun(capsys: pytest.CaptureFixture[str]) -> None:
    """--check prints the routes in words, of a file or a command line, and ends with 0."""
    lines = ending("--check", f"--config={EXAMPLE}", capsys=capsys)
    assert lines[:2] == ["2 routes would run", "route news"]
    lines = ending("--check", "--from=udp://:5", f"--to={TO}", capsys=capsys)
    assert lines == [
        "1 route would run",
        "route udp://0.0.0.0:5",
        "  from every IPv4 address of this host, port 5",
        "  to 127.0.0.1 port 9",
    ]


def test_everyProblemIsALine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem of a file, or of a command line, has a line of its own, with --check or not."""
    monkeypatch.chdir(tmp_path)
    Path("relay.toml").write_text(WRONG)
    for options in ([], ["--check"]):
        lines = refused("--config=relay.toml", *options).splitlines()
        assert lines == [f"groupsock-relay: {each}" for each in PROBLEMS]
        lines = refused("--from=udp://x:5", "--to=udp://:5", "--to=y", *options).splitlines()
        assert [each.split("'")[:2] for each in lines] == [
            ["groupsock-relay: ", "udp://x:5"],
            ["groupsock-relay: ", "udp://:5"],
            ["groupsock-relay: ", "y"],
        ]


def test_schemaIsPrinted(capsys: pytest.CaptureFixture[str]) -> None:
    """--schema prints the JSON schema, and ends with 0."""
    assert json.loads("".join(ending("--schema", capsys=capsys)))["type"] == "object"


def test_checkNeedsNoReactor() -> None:
    """--check loads no reactor, and leaves the example as it is: nothing is opened."""
    program = (
        "import sys\nfrom txgroupsock.relay.app.tap import Options\n"
        "try: Options().parseOptions(['--check', '--config', sys.argv[1]])\n"
        "finally: assert 'twisted.internet.reactor' not in sys.modules"
    )
    command = [sys.executable, "-c", program, str(EXAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 routes would run\n")


def test_aRealCheckOpensNothing(tmp_path: Path) -> None:
    """With --check twistd prints and ends, although the port in the file is not to be had."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        source = f"udp://127.0.0.1:{sock.getsockname()[1]}"
        (tmp_path / "relay.toml").write_text(f"[[route]]\nfrom = '{source}'\nto = '{TO}'\n")
        with Twistd(tmp_path, "--config=relay.toml", "--check", options=()) as relay:
            assert relay.end() == 0
            assert relay.text.startswith(f"1 route would run\nroute {source}\n")
            assert len(relay.text.splitlines()) == 4
            assert sorted(each.name for each in tmp_path.iterdir()) == ["relay.toml"]
        assert failure(tmp_path, "--config=relay.toml").startswith("cannot bind to 127.0.0.1:")


def test_checkReadsKeys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no file, or hangs, is said in one line; what is not there may be so elsewhere."""
    pipe, over = tmp_path / "pipe", threading.Event()
    os.mkfifo(pipe)
    for endpoint in (f"ssl:443:privateKey={pipe}", rf"keepalive:ssl\:443\:privateKey={pipe}"):
        for option in ("--admin", "--viewers"):
            lines = refused("--check", f"{option}={endpoint}").splitlines()
            assert lines == [
                f"groupsock-relay: {endpoint}: {pipe}: it is not a file; give the path of one"
            ]
    assert ending("--check", f"--admin=ssl:443:privateKey={tmp_path}/nonesuch", capsys=capsys)
    monkeypatch.setattr("txgroupsock.relay.app.tap.PATIENCE", 0.05)
    monkeypatch.setattr(
        "txgroupsock.relay.http.certificates.contentOf", lambda *_: over.wait(SECONDS)
    )
    lines = refused("--check", "--admin=ssl:443").splitlines()
    over.set()
    assert len(lines) == 1
    assert "keys and certificates: it takes more than 0.05 s" in lines[0]


def test_aDiskThatHangsKeepsNobodyFromTheEnd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start and --check wait for a configuration file only for so long, and then say so."""
    over = threading.Event()
    monkeypatch.setattr("txgroupsock.relay.config.file.MOST_SECONDS", 0.05)
    monkeypatch.setattr("txgroupsock.relay.config.file.contentOf", lambda *_: over.wait(SECONDS))
    for options in ([], ["--check"]):
        assert "relay.toml: it takes more than 0.05 s" in refused("--config=relay.toml", *options)
    over.set()


@pytest.mark.parametrize("endpoint", ["tcp:99999", "stdio:", "tcp:x", r"keepalive:tcp\:x"])
def test_aWrongEndpointIsSaidBeforeAStart(tmp_path: Path, endpoint: str) -> None:
    """On the command line and in a file, with --check or not, it is one line."""
    file = tmp_path / "relay.toml"
    file.write_text(f"[viewers]\nlisten = '{endpoint}'\n")
    for given in (f"--admin={endpoint}", f"--config={file}"):
        for options in ([], ["--check"]):
            [line] = refused(given, *options).splitlines()
            assert f"'{endpoint}' is no endpoint (" in line.replace("\\\\", "\\")


@pytest.mark.parametrize("options", [["--check"], []])
def test_aWrongFileEndsARealRelay(tmp_path: Path, options: list[str]) -> None:
    """It prints each problem of a wrong file and ends with 1, without a traceback."""
    (tmp_path / "relay.toml").write_text(WRONG)
    with Twistd(tmp_path, "--config=relay.toml", *options) as relay:
        assert relay.end() == 1
        assert relay.text.splitlines() == [f"groupsock-relay: {each}" for each in PROBLEMS]
