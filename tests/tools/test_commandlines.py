"""The command lines of groupsock-send and groupsock-receive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

from tests.relay.app.test_completion import completed, needsZsh
from tests.tools.support import Tool
from txgroupsock import __version__
from txgroupsock.tools import receive, send
from txgroupsock.tools.plan import SendPlan
from txgroupsock.tools.receiving import ReceivePlan
from txgroupsock.tools.recording import ConstantRate, Replay
from txgroupsock.tools.toolerror import ToolError
from txgroupsock.tools.tsfile import TSFile

TO = "--to=udp://127.0.0.1:5000"
FROM = "--from=udp://127.0.0.1:5000"


def sending(*arguments: str) -> SendPlan:
    """What a command line asks to send."""
    options = send.Options()
    options.parseOptions([TO, *arguments])
    plan: SendPlan = options["plan"]
    return plan


def listening(*arguments: str) -> ReceivePlan:
    """What a command line asks to receive."""
    options = receive.Options()
    options.parseOptions(list(arguments))
    plan: ReceivePlan = options["plan"]
    return plan


@pytest.mark.parametrize("module", [send, receive])
def test_thePluginsAreFound(module: Any) -> None:
    """The plugins of twistd include both, with a line of description."""
    name = module.Options.program
    [plugin] = [each for each in getPlugins(IServiceMaker) if each.tapname == name]
    assert plugin.options is module.Options
    assert plugin.description


@pytest.mark.parametrize(
    ("arguments", "rate", "size"),
    [
        ([], 1000, 1316),
        (["--rate=100k/s"], 100_000, 1316),
        (["--rate=0.5/s", "--size=36"], 0.5, 36),
        (["--rate=10M"], 10e6 / 8 / 1316, 1316),
        (["--rate=1.5G", "--size=8000"], 1.5e9 / 64_000, 8000),
    ],
)
def test_aTestStreamHasARate(arguments: list[str], rate: float, size: int) -> None:
    """Of datagrams or bits, and a size."""
    plan = sending(*arguments)
    assert plan.recording is None
    assert plan.rate == pytest.approx(rate)
    assert plan.size == size


def test_filesAreChosen() -> None:
    """A transport stream, a file at a rate, or a capture; their paths are made absolute."""
    plan = sending("--file=a.ts", "--loop", "--seconds=3")
    assert isinstance(plan.recording, TSFile)
    assert plan.recording.path == str(Path.cwd() / "a.ts")
    assert (plan.isLooped, plan.isRTP, plan.seconds, plan.count) == (True, False, 3, None)
    plan = sending("--file=/a", "--rate=2M", "--size=500", "--rtp")
    assert isinstance(plan.recording, ConstantRate)
    assert (plan.recording.path, plan.recording.rate, plan.recording.size) == ("/a", 2e6, 500)
    assert plan.isRTP
    plan = sending(
        *("--replay=/a.pcap", "--speed=2.5", "--flow=[ff15::1]:5", "--longest-gap=0", "--count=7")
    )
    assert isinstance(plan.recording, Replay)
    assert (plan.recording.flow, plan.recording.longestGap) == (("ff15::1", 5), 0)
    assert (plan.speed, plan.count) == (2.5, 7)


def test_RTPCanBeInTheURL() -> None:
    """rtp:// is udp:// and --rtp; for a receiver it is all the same."""
    options = send.Options()
    options.parseOptions(["--to=rtp://239.1.1.1:5000?ttl=3", "--file=a.ts"])
    assert options["plan"].isRTP
    assert str(options["plan"].outputs[0]) == "udp://239.1.1.1:5000?ttl=3"
    assert str(listening("--from=rtp://239.1.1.1:5000").input) == "udp://239.1.1.1:5000"


def test_aReceiverHasItsEnds() -> None:
    """Each way to end has its option; a silence of 5 s is the usual one."""
    plan = listening("--from=udp://10.0.0.1@232.1.1.1:5", "--from=udp://10.0.0.2@232.1.1.1:5")
    assert [str(each) for each in plan.input.sources] == ["10.0.0.1", "10.0.0.2"]
    assert (plan.count, plan.seconds, plan.silence, plan.wait) == (None, None, 5, None)
    plan = listening(FROM, "--count=5", "--seconds=6", "--silence=0", "--wait=1.5", "--output=x")
    assert (plan.count, plan.seconds, plan.silence, plan.wait) == (5, 6, 0, 1.5)
    assert plan.output == str(Path.cwd() / "x")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "--to is missing, such as --to udp://239.1.1.1:5000"),
        (["--to=udp://127.0.0.1"], "'udp://127.0.0.1': it has no port"),
        ([TO, "--file=a", "--replay=b"], "--file and --replay are two streams: give one of them"),
        ([TO, "--speed=2"], "--speed is for --replay"),
        ([TO, "--file=a", "--flow=1.2.3.4:5"], "--flow is for --replay"),
        ([TO, "--longest-gap=2"], "--longest-gap is for --replay"),
        ([TO, "--loop"], "--loop is for --file and --replay: a test stream has no end"),
        ([TO, "--rtp"], "RTP is for transport streams: give --file, or leave it out"),
        (["--to=rtp://1.2.3.4:5"], "RTP is for transport streams"),
        ([TO, "--to=rtp://1.2.3.4:5", "--file=a"], "rtp:// or udp:// for all"),
        ([TO, "--replay=a", "--rate=2M"], "--replay has its own timing: --speed makes it faster"),
        ([TO, "--file=a", "--size=99"], "--size is for a test stream, and for --file with --rate"),
        ([TO, "--file=a", "--rate=5/s"], "with --file it is bits a second, such as 10M"),
        ([TO, "--rate=fast"], "--rate=fast: it is datagrams a second, such as 1000/s or 100k/s"),
        ([TO, "--rate=0/s"], "--rate=0/s: it is datagrams a second"),
        ([TO, "--size=35"], "--size=35: it is 36 to 65507 bytes"),
        ([TO, "--count=0"], "--count=0: it is a whole number, 1 or more"),
        ([TO, "--seconds=-1"], "--seconds=-1: it is a number of seconds, such as 10"),
        ([TO, "--replay=a", "--speed=0"], "--speed=0: it is a number, such as 2 or 0.5, above 0"),
        ([TO, "--replay=a", "--flow=x:5"], "--flow=x:5: it is ADDRESS:PORT, such as 239.1.1.1"),
        ([TO, "nonsense"], "'nonsense' belongs to no option"),
        ([TO, "--fiel=a"], "option --fiel not recognized"),
    ],
)
def test_aMistakeInSendingIsALine(arguments: list[str], problem: str) -> None:
    """What is wrong, and what would be right."""
    with pytest.raises(ToolError) as caught:
        send.Options().parseOptions(arguments)
    [line] = str(caught.value).splitlines()
    assert line.startswith("groupsock-send: ")
    assert problem in line
    assert line.endswith("; 'twistd groupsock-send --help' lists the options")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "--from is missing, such as --from udp://239.1.1.1:5000"),
        (["--from=tcp://1.2.3.4:5"], "tcp:// is not known here"),
        ([FROM, "--silence=no"], "--silence=no: it is a number of seconds, such as 10"),
        ([FROM, "--wait=0"], "--wait=0: it is a number of seconds, such as 10, above 0"),
        ([FROM, "--json=a", "--json=b"], "--json is there twice: leave one out"),
        ([FROM, "--count=1.5"], "--count=1.5: it is a whole number, 1 or more"),
    ],
)
def test_aMistakeInReceivingIsALine(arguments: list[str], problem: str) -> None:
    """The same on the other side."""
    with pytest.raises(ToolError) as caught:
        receive.Options().parseOptions(arguments)
    [line] = str(caught.value).splitlines()
    assert line.startswith("groupsock-receive: ")
    assert problem in line


@pytest.mark.parametrize("module", [send, receive])
def test_theHelpHasEveryOption(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """--help teaches what it does, its options and its exit status; --version tells ours."""
    for argument in ("--help", "--version"):
        with pytest.raises(SystemExit) as caught:
            module.Options().parseOptions([argument])
        assert not caught.value.code
    text = " ".join(capsys.readouterr().out.split())
    for each in module.Options().longOpt:
        assert f"--{each}" in text
    assert "With twistd's -n it stays in the foreground" in text
    assert "exits with 0 if" in text
    assert text.endswith(f"txgroupsock {__version__}")


@pytest.mark.parametrize("module", [send, receive])
def test_everyOptionIsCompleted(module: Any) -> None:
    """Completions are for options that there are, and leave none of their values to chance."""
    options, data = module.Options(), module.Options.compData
    names = {each.rstrip("=") for each in options.longOpt}
    assert {*data.optActions, *data.multiUse, *sum(data.mutuallyExclusive, ())} <= names
    assert {each[:-1] for each in options.longOpt if each.endswith("=")} == set(data.optActions)


@needsZsh
def test_aShellCompletesThem(tmp_path: Path) -> None:
    """zsh, as it comes, completes names, options and the shapes of URLs."""
    line = completed(tmp_path, "twistd -n groupsock-s")[1]
    assert line == "twistd -n groupsock-send "
    assert completed(tmp_path, "twistd groupsock-receive --sil")[1].endswith(" --silence=")
    assert completed(tmp_path, "twistd groupsock-send --to ")[1].endswith("udp://")


def test_whatCannotBeOpenedIsALine(tmp_path: Path) -> None:
    """An interface, a port, a file that cannot be had: a line that says so, and status 1."""
    for arguments, said in (
        (("groupsock-send", "--to=udp://239.1.1.1:5?interface=nope0"), "the interface nope0"),
        (("groupsock-send", TO, "--replay=nothing.pcap"), "nothing.pcap cannot be read: No such"),
        (("groupsock-send", TO, "--json=no/such/folder"), "No such file or directory"),
        (("groupsock-receive", "--from=udp://239.1.1.1:5?interface=nope0"), "interface nope0"),
        (("groupsock-receive", FROM, "--output=no/such/folder"), "No such file or directory"),
    ):
        with Tool(tmp_path, *arguments) as tool:
            assert tool.end() == 1
            [line] = tool.said.splitlines()
            assert line.startswith(f"{arguments[0]}: ")
            assert said in line
            assert tool.out == ""
