"""Processes on one core of one host: started, measured by what the scheduler says, and ended."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import IO, Any

from attrs import frozen

from txgroupsock.testing.namespaces import Namespace

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Processes:
    """
    All that were started and not ended yet.

    Each leads a session of its own, by which what it starts itself is known; and is killed by the
    kernel if this process dies without ending it.
    """

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self,
        namespace: Namespace,
        cores: set[int],
        command: Sequence[str],
        *,
        output: IO[Any] | int,
        errors: IO[Any] | int | None = None,
        directory: str | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program on a host and on these cores."""
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        try:
            with namespace:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    cwd=directory,
                    text=True,
                    start_new_session=True,
                    preexec_fn=_dieWithParent,  # noqa: PLW1509 - this program has one thread only
                )
        finally:
            os.sched_setaffinity(0, allowed)
        self._started.append(process)
        return process

    def end(self, *processes: subprocess.Popen[str]) -> None:
        """End programs and what they started, if they still run."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in processes:
                if process.poll() is None:
                    _signal(process.pid, number)
            deadline = time.monotonic() + 3
            for process in processes:
                try:
                    process.wait(max(0.01, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    pass
        sessions = {process.pid for process in processes}
        for pid, session, _ in _everything():
            if session in sessions:
                _signal(pid, signal.SIGKILL)
        for process in processes:
            if process.stdout is not None:
                process.stdout.close()
            if process in self._started:
                self._started.remove(process)

    def endAll(self) -> None:
        """End all that are left."""
        self.end(*self._started)


def _dieWithParent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


@frozen
class Usage:
    """
    What processes have run until a moment, in nanoseconds.

    @ivar at: when that was, in seconds of the monotonic clock.
    @ivar ours: of the processes asked for; C{others}: of each other one, by pid.
    @ivar stolen: seconds that the hypervisor gave to other machines, on all cores.
    """

    at: float
    ours: int
    others: dict[int, int]
    stolen: float

    @classmethod
    def now(cls, relays: set[int], known: set[int]) -> Usage:
        """
        Look at all processes.

        @param relays: the sessions to measure.
        @param known: further sessions that belong to the benchmark.
        """
        ours = 0
        others = {}
        for pid, session, nanoseconds in _everything():
            if session in relays:
                ours += nanoseconds
            elif session not in known and pid != os.getpid():
                others[pid] = nanoseconds
        with open("/proc/stat", encoding="ascii") as file:
            ticks = int(file.readline().split()[8])
        return cls(time.monotonic(), ours, others, ticks / os.sysconf("SC_CLK_TCK"))

    def disturbance(self, earlier: Usage) -> float:
        """The share of one core that anything else took since C{earlier}."""
        ran = sum(
            max(0, nanoseconds - earlier.others.get(pid, 0))
            for pid, nanoseconds in self.others.items()
        )
        return (ran * 1e-9 + self.stolen - earlier.stolen) / (self.at - earlier.at)


def residentBytes(sessions: set[int]) -> int:
    """The memory that the processes of these sessions hold (RSS)."""
    pages = 0
    for pid, session, _ in _everything():
        if session in sessions:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                pages += int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _everything() -> Iterator[tuple[int, int, int]]:
    """Pid, session, and nanoseconds run of each process but the kernel's softirq threads."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                command, _, rest = file.read().partition(" (")[2].rpartition(") ")
            # These work for the relay, the generator and the sink; whom for cannot be told.
            if command.startswith("ksoftirqd/"):
                continue
            ran = 0
            for thread in os.listdir(f"/proc/{name}/task"):
                with open(f"/proc/{name}/task/{thread}/schedstat", encoding="ascii") as file:
                    ran += int(file.read().split()[0])
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        yield int(name), int(rest.split()[3]), ran
