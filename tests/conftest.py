"""What holds for all tests: the network they run in, their reactor, and that they leave nothing.

``TXGROUPSOCK_REACTOR`` chooses the reactor: one of `REACTORS`; pytest can run only one a process.
``TXGROUPSOCK_NO_PRIVATE_NETWORK`` (any value) keeps the tests in the network they were started in.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import platform
import select
import signal
import socket
from collections.abc import Generator, Iterator
from types import FrameType
from typing import Any

import greenlet
import hypothesis
import pytest
import pytest_twisted
from twisted.internet import asyncioreactor
from twisted.internet.task import deferLater

from tests.starting import starter
from txgroupsock.ports.clock import makeSteady
from txgroupsock.testing.namespaces import enterPrivateNetwork, whyNoNamespaces

pytest_plugins = ["txgroupsock.testing.fixtures"]

REACTORS = ("epoll", "poll", "select", "asyncio", "uvloop")
OURS = ("epoll", "asyncio")  # have a monotonic clock, as in the relay; others, as Twisted's are
REACTOR = os.environ.get("TXGROUPSOCK_REACTOR", "epoll" if hasattr(select, "epoll") else "select")

# --- The network. Only a process without threads may enter a namespace, so this comes first. ------

if "TXGROUPSOCK_NO_PRIVATE_NETWORK" in os.environ:
    noPrivateNetwork: str | None = "TXGROUPSOCK_NO_PRIVATE_NETWORK is set"
else:
    # A process of pytest-xdist has a thread that reads a pipe.
    noPrivateNetwork = enterPrivateNetwork(othersStay="PYTEST_XDIST_WORKER" in os.environ)


# --- Signals -------------------------------------------------------------------------------------

# What a shell starts in the background ignores SIGINT, and so would programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# --- The terminal --------------------------------------------------------------------------------

# pytest-xdist tells its processes the size of its own; programs would take it for that of theirs.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)


# --- The reactor ---------------------------------------------------------------------------------


def installReactor() -> None:
    """Install the reactor named by `REACTOR`."""
    if REACTOR == "asyncio":
        asyncioreactor.install(asyncio.SelectorEventLoop())
    elif REACTOR == "uvloop":
        asyncioreactor.install(importlib.import_module("uvloop").new_event_loop())
    else:
        importlib.import_module(f"twisted.internet.{REACTOR}reactor").install()
    if REACTOR in OURS:
        makeSteady(importlib.import_module("twisted.internet.reactor"))


def startReactor() -> None:
    """Install the reactor and have pytest-twisted run it."""
    pytest_twisted._install_reactor(reactor_installer=installReactor, reactor_type=object)


if REACTOR not in REACTORS:
    raise pytest.UsageError(f"TXGROUPSOCK_REACTOR={REACTOR}: choose from {', '.join(REACTORS)}")
pytest_twisted.reactor_installers["default"] = startReactor


def pytest_report_header() -> list[str]:
    """Say what decides the outcome of tests here besides the code."""
    network = "private" if noPrivateNetwork is None else f"this machine's ({noPrivateNetwork})"
    return [f"reactor: {REACTOR}; kernel: {platform.release()}; network: {network}"]


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> socket.AddressFamily:
    """Each of the two families, where this machine has it."""
    chosen = socket.AddressFamily(request.param)
    host = "::1" if chosen == socket.AF_INET6 else "127.0.0.1"
    try:
        with socket.socket(chosen, socket.SOCK_DGRAM) as attempt:
            attempt.bind((host, 0))
    except OSError as error:
        pytest.skip(f"no {host} on this machine: {error}")
    return chosen


@pytest.fixture(scope="session")
def reactor() -> Any:
    """The running reactor."""
    from twisted.internet import reactor

    return reactor


@pytest.fixture(scope="session")
def reactorName() -> str:
    """What the reactor was chosen by: one of `REACTORS`."""
    return REACTOR


# --- Which tests, and in which order -------------------------------------------------------------


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Skip what needs several hosts where there can be none, except in CI, which must have them; and
    have each process of pytest-xdist begin with what takes long, the runs on other reactors.
    """
    lan = [item for item in items if item.get_closest_marker("lan")]
    reason = whyNoNamespaces() if lan and "CI" not in os.environ else None
    if reason is not None:
        for item in lan:
            item.add_marker(pytest.mark.skip(reason=reason))
    long = [item for item in items if item.path.name == "test_reactors.py"]
    ordered = [item for item in items if item.path.name != "test_reactors.py"]
    # Each begins with as many tests as the others, in their order (--dist worksteal).
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    for number, item in enumerate(long):
        ordered.insert(number % processes * len(items) // processes, item)
    items[:] = ordered


def pytest_collection_finish() -> None:
    """
    Look for garbage in what the tests make only.

    Else each look, of which there is one for nearly every test, takes 0.24 s for what has been
    collected.
    """
    gc.collect()
    gc.freeze()


# --- Timeouts ------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item) -> Generator[None, object, object]:
    """
    Have a timeout end the test, also while that waits for the reactor.

    The reactor has a greenlet of its own (pytest-twisted), and would log what is raised there, and
    go on for ever; but a test that does not wait for it runs in it, and has to be left by the
    same way.
    """
    isSet = yield
    fail = signal.getsignal(signal.SIGALRM)

    def failTest(number: int, frame: FrameType | None) -> None:
        try:
            if callable(fail):
                fail(number, frame)
        except BaseException as failure:
            running = greenlet.getcurrent()
            if running.parent is None or isCalledByReactor(frame):
                raise
            running.parent.throw(failure)

    if callable(fail):
        signal.signal(signal.SIGALRM, failTest)
    return isSet


def isCalledByReactor(frame: FrameType | None) -> bool:
    """Whether a test function or a fixture is running: pytest-twisted has the reactor call it."""
    while frame is not None:
        if frame.f_code.co_name == "in_reactor" and "pytest_twisted" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


# --- Nothing leaks -------------------------------------------------------------------------------

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note which tests failed, for they may leave things behind."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session", autouse=True)
def endedStarter() -> Iterator[None]:
    """What starts programs ends with the tests."""
    yield
    starter.end()


# These two do not ask for the reactor by name: a test that does so needs one (tests.reactors).


@pytest.fixture(scope="session", autouse=True)
def startedReactor() -> None:
    """What the reactor opens for itself when it starts exists before the first test."""
    from twisted.internet import reactor

    pytest_twisted.blockon(deferLater(reactor, 0))


@pytest.fixture(autouse=True)
def nothingLeaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test leaves no descriptor, reader, writer or delayed call behind."""
    from twisted.internet import reactor

    before = resourcesHeld(reactor)
    yield
    if request.node.stash.get(FAILED, False):
        return
    leaked = resourcesHeld(reactor).keys() - before.keys()
    # What closes once its peer has closed gets a quarter of a second for it. A delayed call gets no
    # more than the turns of the reactor that calls due at once need.
    # What pyOpenSSL opens is closed when nothing refers to it any more.
    if leaked:
        gc.collect()
        leaked = resourcesHeld(reactor).keys() - before.keys()
    for pause in (0, 0, 0, 0.01, 0.04, 0.2):
        if not leaked or (pause and any(kind == "delayed call" for kind, *_ in leaked)):
            break
        pytest_twisted.blockon(deferLater(reactor, pause))
        leaked = resourcesHeld(reactor).keys() - before.keys()
    if leaked:
        held = resourcesHeld(reactor)
        lines = [f"{key[0]}: {describe(held[key])}" for key in sorted(leaked)]
        pytest.fail("the test left behind\n  " + "\n  ".join(lines), pytrace=False)


def resourcesHeld(reactor: Any) -> dict[tuple[str, int, str], object]:
    """Everything that a test has to give back, by a key that tells one such thing from another."""
    held: dict[tuple[str, int, str], object] = {
        ("descriptor", number, target): (number, target) for number, target in openDescriptors()
    }
    for kind, members in (
        ("reader", reactor.getReaders()),
        ("writer", reactor.getWriters()),
        ("delayed call", reactor.getDelayedCalls()),
    ):
        held.update({(kind, id(member), ""): member for member in members})
    return held


def openDescriptors() -> Iterator[tuple[int, str]]:
    """Number and target of each descriptor; without /proc, none."""
    try:
        numbers = os.listdir("/proc/self/fd")
    except FileNotFoundError:
        return
    for number in numbers:
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the one that read the folder
            continue
        # Twisted keeps /dev/null open, from the first TCP port on, to be able to refuse connections
        # when it is out of descriptors; and logs may be opened late, as what starts programs is.
        if target != os.devnull and not target.endswith(".log") and int(number) != starter.fileno():
            yield int(number), target


def describe(held: object) -> str:
    """What was left behind, so that it can be found in the test."""
    if not isinstance(held, tuple):
        return str(held)
    number, target = held
    if not target.startswith("socket:"):
        return f"{number} is {target}"
    with socket.socket(fileno=os.dup(number)) as copy:
        return f"{number} is {copy.family.name} {copy.type.name} {copy.getsockname()}"


# --- Hypothesis ----------------------------------------------------------------------------------

# No deadline, since a busy machine is no failure; in CI the same examples each time.
hypothesis.settings.register_profile(
    "txgroupsock", deadline=None, max_examples=100, derandomize="CI" in os.environ
)
hypothesis.settings.load_profile("txgroupsock")
