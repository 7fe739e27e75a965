"""The command line of twistd groupsock-relay, in this process and as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IServiceMaker, MultiService
from twisted.plugin import getPlugins

from tests.relay.support import SECONDS, Twistd, freePort, isAlive, send
from txgroupsock import __version__
from txgroupsock.relay.app.demo import DemoService
from txgroupsock.relay.app.service import RelayService
from txgroupsock.relay.app.tap import Options, makeService
from txgroupsock.relay.engine.interfaces import IRelay
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.viewers import AllowList
from txgroupsock.relay.workers.relay import Workers

HINT = "'twistd groupsock-relay --help' lists the options"
DEMO = "--demo shows the relay at work"
LOW_PORT = 80
WITHOUT_LOW_PORTS = (
    "import ctypes\n"
    # <linux/prctl.h>, <linux/capability.h>; without the right to do so it has no such right anyway
    "pr_capbset_drop, cap_net_bind_service = 24, 10\n"
    "ctypes.CDLL(None).prctl(pr_capbset_drop, cap_net_bind_service, 0, 0, 0)"
)


def parsed(*arguments: str) -> Options:
    """The options that a command line gives."""
    options = Options()
    options.parseOptions(arguments)
    return options


def servicesOf(options: Options) -> list[Any]:
    """The services that are run for a command line."""
    service = makeService(options)
    assert isinstance(service, MultiService)
    return list(service.services)


def relayOf(options: Options) -> IRelay:
    """The relay that is run for a command line."""
    [relay] = [each.relay for each in servicesOf(options) if isinstance(each, RelayService)]
    return relay


# Options


def test_thePluginIsFound() -> None:
    """The plugins of twistd include groupsock-relay, with a line of description."""
    [plugin] = [each for each in getPlugins(IServiceMaker) if each.tapname == "groupsock-relay"]
    assert plugin.description == "Relay UDP multicast and unicast streams."
    assert plugin.options is Options


def test_theRouteIsMadeOfFromAndTo(reactor: Any) -> None:
    """--from and --to, each repeated as needed, make one route."""
    options = parsed(
        *("--from", "udp://10.0.0.1@232.1.1.1:5000", "--from=udp://10.0.0.2@232.1.1.1:5000"),
        *("--to", "udp://10.0.0.3:5000", "--to=udp://[ff15::1]:5000?ttl=8"),
    )
    [route] = options["configuration"].relay.routes
    assert [str(each) for each in route.input.sources] == ["10.0.0.1", "10.0.0.2"]
    assert [str(each) for each in route.outputs] == [
        "udp://10.0.0.3:5000",
        "udp://[ff15::1]:5000?ttl=8",
    ]
    relay = relayOf(options)
    assert isinstance(relay, Relay)
    assert len(relay.routes[0].outputs) == 2


def test_aFromAfterAToBeginsAnotherRoute() -> None:
    """Each --from that follows a --to begins another route, which has what follows it."""
    options = parsed(
        *("--from=udp://239.1.1.1:5000", "--to=udp://10.0.0.1:5000", "--to=udp://10.0.0.2:5000"),
        *("--from=udp://239.1.1.2:5000", "--to=udp://10.0.0.1:5001"),
    )
    assert [
        (str(each.input), [str(output) for output in each.outputs])
        for each in options["configuration"].relay.routes
    ] == [
        ("udp://239.1.1.1:5000", ["udp://10.0.0.1:5000", "udp://10.0.0.2:5000"]),
        ("udp://239.1.1.2:5000", ["udp://10.0.0.1:5001"]),
    ]


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [(["--demo"], 0.0), (["--demo=3"], 3.0), (["--demo", "--demo=0.5"], 0.5)],
)
def test_theDemonstrationMayHaveALength(arguments: list[str], seconds: float) -> None:
    """--demo runs until interrupted, --demo=SECONDS for that long."""
    options = parsed(*arguments)
    assert options["demo"] == seconds
    assert isinstance(makeService(options), DemoService)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ([], Relay),
        (["--workers=1"], Relay),
        (["--workers=2"], Workers),
        (["--workers=256"], Workers),
    ],
)
def test_theRoutesMayBeSharedOutAmongProcesses(arguments: list[str], kind: type) -> None:
    """--workers says how many processes there are; without it, or with 1, there is this one."""
    options = parsed(*arguments, "--from=udp://:5", "--to=udp://127.0.0.1:6")
    assert isinstance(relayOf(options), kind)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], f"--from is missing; --demo shows the relay at work; {HINT}"),
        (
            ["--to=udp://127.0.0.1:5"],
            (f"--from is missing for udp://127.0.0.1:5; --demo shows the relay at work; {HINT}"),
        ),
        (
            ["--from=udp://:5", "--to=udp://127.0.0.1:6", "--from=udp://:7"],
            f"--to is missing for udp://:7; --demo shows the relay at work; {HINT}",
        ),
        (
            ["--from=udp://:5"],
            f"--to is missing for udp://:5; --demo shows the relay at work; {HINT}",
        ),
        (
            ["--demo", "--to=udp://127.0.0.1:5"],
            f"--demo has streams of its own: leave out routes and services; {HINT}",
        ),
        (
            ["--from=udp://:5", "--demo=3"],
            f"--demo has streams of its own: leave out routes and services; {HINT}",
        ),
        *(
            (
                [f"{name}=a", f"{name}=b"],
                f"{name} is there twice: leave one out; {HINT}",
            )
            for name in ("--admin", "--config", "--viewers", "--workers")
        ),
        (["--demo=soon"], f"--demo=soon: the seconds to run are a number, such as 10; {HINT}"),
        (["--demo=-1"], f"--demo=-1: the seconds to run are a number, such as 10; {HINT}"),
        (["--demo=inf"], f"--demo=inf: the seconds to run are a number, such as 10; {HINT}"),
        (
            ["--demo=" + "9" * 400],
            f"--demo={'9' * 400}: the seconds to run are a number, such as 10; {HINT}",
        ),
        *(
            (
                [f"--workers={count}", "--from=udp://:5", "--to=udp://127.0.0.1:6"],
                f"--workers={count}: the number of processes is from 1 to 256; {HINT}",
            )
            for count in ("0", "257", "-1", "two", "1.5", "", "9" * 400, "\u0665")
        ),
        (
            ["--demo", "--workers=2"],
            f"--demo runs in one process: leave out --workers; {HINT}",
        ),
        (["--demo="], f"--demo=: the seconds to run are a number, such as 10; {HINT}"),
        (["--form=udp://:5"], f"option --form not recognized; {HINT}"),
        (["--from"], f"option --from requires argument; {HINT}"),
        (["udp://:5"], f"'udp://:5' belongs to no option; {HINT}"),
        (["--demo", "5"], f"'5' belongs to no option; {HINT}"),
        (
            ["--from=udp://:5", "--to=udp://127.0.0.1"],
            (
                "'udp://127.0.0.1': it has no port; the shape is "
                "udp://[source@]address:port[?interface=NAME&...]"
            ),
        ),
    ],
)
def test_aWrongCommandLineIsAStartError(arguments: list[str], problem: str) -> None:
    """Every mistake is one line that says what is wrong and what would be right."""
    with pytest.raises(StartError) as caught:
        parsed(*arguments)
    assert str(caught.value) == f"groupsock-relay: {problem}"


def test_theVersionIsOurs(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the version of txgroupsock, not Twisted's, and ends with status 0."""
    with pytest.raises(SystemExit) as caught:
        parsed("--version")
    assert not caught.value.code
    assert capsys.readouterr().out == f"txgroupsock {__version__}\n"


def test_theHelpHasEveryOption(capsys: pytest.CaptureFixture[str]) -> None:
    """--help describes the options and the shape of URLs, and ends with status 0."""
    with pytest.raises(SystemExit) as caught:
        parsed("--help")
    assert not caught.value.code
    text = capsys.readouterr().out
    for each in (
        "--from=",
        "--to=",
        "--demo=",
        "--workers=",
        "udp://[source@]address:port",
        "SIGUSR1",
    ):
        assert each in text


# A process that cannot start


def failure(folder: Path, *arguments: str, through: str = "") -> str:
    """The one line with which a relay refuses to start, in the foreground."""
    with Twistd(folder, *arguments, through=through) as relay:
        assert relay.end() == 1, relay.text
        assert not relay.pidFile.exists()
        assert "Traceback" not in relay.text
        lines = [line for line in relay.messages if line.startswith("groupsock-relay: ")]
        rest = [line for line in relay.messages if line not in lines]
    # What twistd itself says when it starts is all there is besides.
    assert all(re.search("starting up|reactor class", line) for line in rest), rest
    assert len(lines) == 1, relay.text
    return lines[0].removeprefix("groupsock-relay: ")


TO = "--to=udp://127.0.0.1:9"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--from=tcp://239.1.1.1:5000", TO],
            (
                "'tcp://239.1.1.1:5000': tcp:// is not known here; the shape is "
                "udp://[source@]address:port[?interface=NAME&...]"
            ),
        ),
        (
            ["--from=udp://10.0.0.1@10.1.1.1:5000", TO],
            (
                "'udp://10.0.0.1@10.1.1.1:5000': 10.1.1.1 is not a multicast group (224.0.0.0/4 or "
                "ff00::/8), and a source can be chosen only for one"
            ),
        ),
        (
            ["--from=udp://239.1.1.1:5000"],
            "--to is missing for udp://239.1.1.1:5000; --demo shows the relay at work; " + HINT,
        ),
    ],
    ids=["bad URL", "no group", "no --to"],
)
def test_aMistakeIsOneLine(tmp_path: Path, arguments: list[str], line: str) -> None:
    """A wrong command line prints one line and exits with 1."""
    assert failure(tmp_path, *arguments) == line


def test_anOutputsUnknownInterfaceIsOneLine(tmp_path: Path) -> None:
    """An interface that does not exist is named, and so are those that do."""
    arguments = ["--from=udp://:5000", "--to=udp://239.1.1.1:5001?interface=nope0"]
    assert failure(tmp_path, *arguments).startswith(
        "cannot find the interface nope0: no interface has that name, index or address; "
        "there are: lo (127.0.0.1, ::1)"
    )


def test_anInputsUnknownInterfaceIsWaitedFor(tmp_path: Path) -> None:
    """It may come later, or be a mistake: a line of log says what is missing, and what there is."""
    with Twistd(tmp_path, "--from=udp://239.1.1.1:5000?interface=nope0", TO) as relay:
        relay.waitFor("sending to 127.0.0.1")
        assert (
            "udp://239.1.1.1:5000?interface=nope0 is not received: cannot find the interface "
            "nope0: no interface has that name, index or address; there are: lo (127.0.0.1, ::1)"
        ) in relay.text
        relay.signal(signal.SIGTERM)
        assert relay.end() == -signal.SIGTERM


def test_aPortInUseIsOneLine(tmp_path: Path) -> None:
    """A port that another program has is named, with the way to find that program."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert failure(tmp_path, f"--from=udp://127.0.0.1:{port}", TO) == (
            f"cannot bind to 127.0.0.1:{port}: Address already in use; another socket has this "
            f"port and does not share it: stop that program ('ss -lntup sport = :{port}' names "
            "it), or choose another port"
        )


def test_aLowPortWithoutPrivilegeIsOneLine(tmp_path: Path) -> None:
    """A port below 1024 without the right to it is refused, with what would give the right."""
    start = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if start <= LOW_PORT:
        pytest.skip(f"here everybody may use ports from {start} on")
    line = failure(tmp_path, f"--from=udp://127.0.0.1:{LOW_PORT}", TO, through=WITHOUT_LOW_PORTS)
    assert line == (
        f"cannot bind to 127.0.0.1:{LOW_PORT}: Permission denied; ports below {start} need root "
        "or CAP_NET_BIND_SERVICE: start as root, or choose a higher port"
    )


def test_aDaemonThatCannotStartSaysSo(tmp_path: Path) -> None:
    """As a daemon it reports the failure to the terminal, exits with 1, and has the whole line in
    its log; the pid file is gone.
    """
    log = tmp_path / "relay.log"
    arguments = ("--from=udp://127.0.0.1:5000", "--to=udp://239.1.1.1:5001?interface=nope0")
    with Twistd(tmp_path, *arguments, options=(f"--logfile={log}",)) as relay:
        assert relay.end() == 1
        assert "StartError: groupsock-relay: cannot find the interface" in relay.text
        assert "Traceback" not in relay.text
    # The daemon is still ending when the process that started it has ended.
    deadline = time.monotonic() + SECONDS
    while "there are: lo" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "groupsock-relay: cannot find the interface nope0: " in log.read_text()
    assert "Traceback" not in log.read_text()
    assert not (tmp_path / "twistd.pid").exists()


# A process that runs


@contextmanager
def relaying(folder: Path, *options: str) -> Iterator[tuple[Twistd, Callable[[], None]]]:
    """A relay that runs in the foreground, and what sends it a datagram and waits for that."""
    port = freePort()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(SECONDS)
        urls = [f"udp://127.0.0.1:{each}" for each in (port, sock.getsockname()[1])]

        def relay() -> None:
            send(b"hello", "127.0.0.1", port)
            assert sock.recv(100) == b"hello"

        arguments = ("--from", urls[0], "--to", urls[1])
        with Twistd(folder, *arguments, options=("-n", *options)) as process:
            process.waitFor("listening on 127.0.0.1 port [0-9]+\n")
            process.waitFor("sending to 127.0.0.1 port [0-9]+\n")
            yield process, relay


@pytest.mark.parametrize("name", ["poll", "select", "asyncio"])
def test_itRunsOnTheReactorAskedFor(tmp_path: Path, name: str) -> None:
    """The option --reactor= of twistd chooses the reactor; the relay relays on it, and prints its
    counters on SIGUSR1 and at the end.
    """
    with relaying(tmp_path, f"--reactor={name}") as (process, relay):
        assert re.search(rf"reactor class: \S*{name}", process.text, re.IGNORECASE)
        for count in (1, 2):
            relay()
            process.signal(signal.SIGUSR1)
            process.waitFor(f"out, .*: {count} datagrams, {5 * count} bytes, 0 dropped; .*\n")
        process.signal(signal.SIGTERM)
        assert process.end() == -signal.SIGTERM
        assert process.text.count(": 2 datagrams, 10 bytes, 0 dropped; buffer ") == 4
        assert "Traceback" not in process.text
        assert not process.pidFile.exists()


def test_SIGINTEndsItCleanly(tmp_path: Path) -> None:
    """Ctrl-C prints the counters, removes the pid file, and leaves no traceback."""
    with relaying(tmp_path) as (process, relay):
        relay()
        assert process.pidFile.exists()
        process.signal(signal.SIGINT)
        assert process.end() == -signal.SIGINT
        assert ": 1 datagrams, 5 bytes, 0 dropped; buffer " in process.text
        assert "out, sending to 127.0.0.1 port " in process.text
        assert "Traceback" not in process.text
        assert not process.pidFile.exists()


def test_aDaemonRotatesItsLogAndPrintsItsCounters(tmp_path: Path) -> None:
    """On SIGUSR1 a daemon rotates its log, as twistd does, and prints its counters too; SIGTERM
    ends it and removes the pid file.
    """
    log, rotated = tmp_path / "relay.log", tmp_path / "relay.log.1"
    options = (f"--logfile={log}",)
    arguments = (f"--from=udp://127.0.0.1:{freePort()}", TO)
    with Twistd(tmp_path, *arguments, options=options) as relay:
        assert relay.end() == 0
        assert relay.text == ""
        pid = int(relay.pidFile.read_text())
    try:
        os.kill(pid, signal.SIGUSR1)
        deadline = time.monotonic() + SECONDS
        while not _holds(log, ": 0 datagrams") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "sending to 127.0.0.1 port 9" in rotated.read_text()
        assert ": 0 datagrams, 0 bytes, 0 dropped; buffer " in log.read_text()
        os.kill(pid, signal.SIGTERM)
        while isAlive(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        if isAlive(pid):
            os.kill(pid, signal.SIGKILL)
            pytest.fail("the daemon did not end on SIGTERM")
    assert len(re.findall(r"in, .*: 0 datagrams", log.read_text())) == 2
    assert not relay.pidFile.exists()


def _holds(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text()


# Viewers and operators


def test_viewersAndOperatorsMayBeServed() -> None:
    """--viewers with --allow, and --admin, serve what the tables of a file do, routes or not."""
    options = parsed("--viewers=tcp:8080", "--allow=239.1.0.0/16", "--allow=[ff3e::/32]:5000")
    configuration = options["configuration"]
    assert configuration.viewers.endpoints == ("tcp:8080",)
    assert configuration.viewers.allowed == AllowList.parse(["239.1.0.0/16", "[ff3e::/32]:5000"])
    assert configuration.admin.endpoints == ()
    assert configuration.relay.routes == ()
    options = parsed("--admin=tcp:8088", "--from=udp://:5", "--to=udp://127.0.0.1:6")
    assert options["configuration"].admin.endpoints == ("tcp:8088",)
    kinds = [type(each).__name__ for each in servicesOf(options)]
    assert kinds == ["NameService", "RelayService", "ViewerService", "AdminService"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--allow=239.0.0.0/8"], f"--allow is for viewers: give --viewers, too; {HINT}"),
        (
            ["--admin=nonsense"],
            (
                "--admin: 'nonsense' is no endpoint (Unknown endpoint type: 'nonsense'); it is "
                "one of Twisted's, such as tcp:8080:interface=127.0.0.1"
            ),
        ),
        (
            ["--viewers=tcp:8080", "--allow=10.0.0.0/8"],
            (
                "--allow: '10.0.0.0/8': 10.0.0.0/8 is not within the multicast groups, 224.0.0.0/4 "
                "or ff00::/8"
            ),
        ),
        (["--admin=tcp:1", "--from=udp://:5"], f"--to is missing for udp://:5; {DEMO}; {HINT}"),
    ],
)
def test_wrongServicesAreAStartError(arguments: list[str], problem: str) -> None:
    """What is wrong with them is a line that says where and how to mend it."""
    with pytest.raises(StartError) as caught:
        parsed(*arguments)
    assert str(caught.value) == f"groupsock-relay: {problem}"
