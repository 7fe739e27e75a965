"""
Programs of twistd, started by a process that has loaded all that they need, and forks.

A start takes 0.6 s, most of which is imports, and the tests make more than a thousand.  What runs
is the same from C{twistd}'s own C{run} on.  Where a start itself is tested, or anything before it,
C{subprocess} is the right thing.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias, TypeVar

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

TWISTD = str(Path(sys.executable).with_name("twistd"))
_LOADED = (
    "twisted.internet.asyncioreactor",
    "twisted.internet.epollreactor",
    "twisted.internet.pollreactor",
    "twisted.internet.selectreactor",
    "twisted.scripts._twistd_unix",
    "twisted.scripts.twistd",
    "twisted.plugins.txgroupsock_plugins",
    "txgroupsock.relay.app.demo",
    "txgroupsock.relay.health.posting",
    "txgroupsock.relay.control.reload",
    "txgroupsock.relay.app.systemd",
    "txgroupsock.relay.app.tap",
    "txgroupsock.relay.admin.service",
    "txgroupsock.relay.workers.relay",
    "txgroupsock.tools.receive",
    "txgroupsock.tools.send",
)
_COVERAGE = "COVERAGE_PROCESS_CONFIG"
"""Tells a Python process that it is measured; see C{coverage.process_startup}."""
_MOST = 1 << 17  # bytes of a message
_ROOM = 4096  # bytes of a command line
_NETWORK = "/proc/thread-self/ns/net"


class HasDescriptor(Protocol):
    """A file, a pipe or a socket."""

    def fileno(self) -> int:
        """Its number."""


Source = TypeVar("Source", bound=HasDescriptor)


def readable(sources: Sequence[Source], seconds: float | None) -> list[Source]:
    """
    Those that can be read, or have ended, as soon as there is one.

    Their numbers may be above 1023, which C{select} does not take.

    @param seconds: to wait for one, at most; L{None}: for ever.
    """
    poll = select.poll()
    for source in sources:
        poll.register(source.fileno(), select.POLLIN)
    found = [number for number, _ in poll.poll(None if seconds is None else max(0, seconds) * 1000)]
    return [source for source in sources if source.fileno() in found]


class Started:
    """
    What was started: of C{subprocess.Popen}, what the tests use.

    @ivar pid: its number.
    @ivar stdout: what it prints.
    @ivar stderr: what it complains of, where that goes elsewhere.
    @ivar returncode: its exit status, or minus the signal that ended it, once that is known.
    """

    def __init__(self, told: socket.socket, stdout: IO[bytes], stderr: IO[bytes] | None) -> None:
        """@param told: says the number, and in the end the status."""
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._told = told
        self.pid = self._next()

    def _next(self) -> int:
        said = self._told.recv(32)
        if not said:
            raise RuntimeError("what starts programs has ended")
        return int(said)

    def poll(self) -> int | None:
        """The status, if it has ended."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, so many seconds at most."""
        if self.returncode is None:
            if not readable([self._told], timeout):
                raise subprocess.TimeoutExpired("twistd", timeout or 0)
            self.returncode = self._next()
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


Running: TypeAlias = "Started | subprocess.Popen[bytes]"


class Starter:
    """The process that starts others, once there is one to start."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def fileno(self) -> int:
        """The descriptor that a test may open, and does not close; -1 if there is none."""
        return -1 if self._control is None else self._control.fileno()

    def start(
        self, arguments: list[str], cwd: str, stdout: int, stderr: int, told: socket.socket
    ) -> None:
        """Have C{twistd} run in the network that this thread is in."""
        if self._control is None:
            self._begin()
        request = {"arguments": arguments, "cwd": cwd, "environment": dict(os.environ)}
        network = os.open(_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            given = [told.fileno(), network, stdout, stderr]
            assert self._control is not None
            socket.send_fds(self._control, [json.dumps(request).encode()], given)
        finally:
            os.close(network)

    def _begin(self) -> None:
        self._control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {name: text for name, text in os.environ.items() if name != _COVERAGE}
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.starting", str(its.fileno()), " " * _ROOM],
                cwd=Path(__file__).parents[1],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
            )

    def end(self) -> None:
        """Start nothing more; what has been started goes on."""
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait()
            self._control = self._process = None


starter = Starter()


def startProgram(
    command: list[str], cwd: str | Path | None = None, *, isOneText: bool = True
) -> Running:
    """
    Start a program without input.

    @param command: as C{subprocess.Popen} takes it; C{twistd} of this environment is forked.
    @param isOneText: whether what it complains of belongs to what it prints.
    """
    if command[:2] != [sys.executable, TWISTD] or not hasattr(os, "pidfd_open"):
        return subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if isOneText else subprocess.PIPE,
        )
    out, its = os.pipe()
    err, itsErr = (-1, its) if isOneText else os.pipe()
    told, telling = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with telling:
        starter.start(command[2:], str(cwd or os.getcwd()), its, itsErr, telling)
    for descriptor in {its, itsErr}:
        os.close(descriptor)
    return Started(told, open(out, "rb", 0), None if isOneText else open(err, "rb", 0))


# --- The process that forks -----------------------------------------------------------------------


def serve(control: socket.socket) -> list[str]:
    """
    Fork for each request until nobody is left to ask.

    @return: in each child what it is to run C{twistd} with.
    """
    poll = select.poll()
    poll.register(control, select.POLLIN)
    children: dict[int, tuple[int, socket.socket]] = {}  # by descriptor: number, whom to tell
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in children:
                poll.unregister(descriptor)
                number, telling = children.pop(descriptor)
                status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
                os.close(descriptor)
                with telling:
                    _tell(telling, status)
                continue
            text, given, _, _ = socket.recv_fds(control, _MOST, 4)
            if not text:
                raise SystemExit(0)
            number = os.fork()
            if not number:
                for held in (control, *(telling for _, telling in children.values())):
                    held.detach()  # or its end would close what has its number by then
                return _become(json.loads(text), given)
            told, *others = given
            for other in others:
                os.close(other)
            telling = socket.socket(fileno=told)
            _tell(telling, number)
            descriptor = os.pidfd_open(number)
            children[descriptor] = (number, telling)
            poll.register(descriptor, select.POLLIN)


def _tell(telling: socket.socket, number: int) -> None:
    try:
        telling.send(str(number).encode())
    except OSError:  # the test is over
        return


def _become(request: dict[str, Any], given: list[int]) -> list[str]:
    """Have the place, the network, the descriptors and the environment that were asked for."""
    from txgroupsock.testing import namespaces

    _, network, out, err = given
    namespaces._setns(network)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 1 + max(int(name) for name in os.listdir("/proc/self/fd")))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    if _COVERAGE in os.environ:
        coverage = importlib.import_module("coverage")
        coverage.process_startup()
    arguments: list[str] = request["arguments"]
    _beCalled([sys.executable, TWISTD, *arguments])
    return arguments


def _beCalled(command: list[str]) -> None:
    """Have C{ps} and others see this command line (proc(5): C{arg_start}, C{arg_end})."""
    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    text = "\0".join([*command, ""]).encode()[: end - start]
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


if __name__ == "__main__":
    for name in _LOADED:
        importlib.import_module(name)
    list(getPlugins(IServiceMaker))  # loads those of others
    gc.freeze()  # or each child would have its own copy of all that, once garbage is looked for
    assert "twisted.internet.reactor" not in sys.modules
    sys.argv = [TWISTD, *serve(socket.socket(fileno=int(sys.argv[1])))]
    sys.path[0] = str(Path(TWISTD).parent)
    from twisted.scripts.twistd import run

    sys.exit(run())
