"""Threads for what may take long, which nobody waits for at the end."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final, NoReturn, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txgroupsock.ports.clock import steady

Result = TypeVar("Result")

PATIENCE: Final = 10.0
"""Seconds that a disk or a name server may take before what it is for is given up."""

_MOST_WAITING: Final = 10_000
_MOST_HANGING: Final = 100  # threads that go on though nobody waits for them any more


class TooMuchWaits(RuntimeError):
    """More is waiting for a thread than could be done in any useful time."""


class TookTooLong(TimeoutError):
    """Something was not done in the time that it had; it may still go on, for nobody."""


_ADVICE: Final = "look for a disk that hangs, or a name server that does not answer"


def _tooLong(seconds: float, advice: str) -> TookTooLong:
    return TookTooLong(f"it takes more than {seconds:g} s; {advice}")


def within(seconds: float, work: Callable[[], Result], advice: str = _ADVICE) -> Result:
    """
    Do something here and now, and wait no longer than so many seconds for it: where no reactor
    turns, as before a start.

    @param advice: how to mend it if it takes longer.
    @return: what it returns; what it raises is raised.
    @raise TookTooLong: it goes on in a thread that the end of the process does not wait for.
    """
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put((work(), None))
        except BaseException as error:  # noqa: BLE001 - it is for who asked
            ended.put((None, error))

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)
    thread.start()
    try:
        result, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise _tooLong(seconds, advice) from None
    thread.join()  # at once; who forks next shall be alone
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]


class Threads:
    """
    Does work in threads, so much of it at a time, and the rest in turn.

    The reactor's own pool is shared by whatever needs one, so a name server that is silent would
    keep a reload waiting; and its threads, and those of C{concurrent.futures}, are joined at the
    end of the process, however long what they do takes.  Here each piece of work has a thread of
    its own (0.1 ms), which the end of the process does not wait for.
    """

    def __init__(self, reactor: Any, most: int = 4) -> None:
        """
        @param reactor: provides C{IReactorFromThreads}, and C{IReactorTime} for what has a limit.
        @param most: how many run at a time, besides those whose time is over.
        """
        self._reactor = reactor
        self._most = most
        self._running: set[Deferred[Any]] = set()
        self._hanging: set[Deferred[Any]] = set()
        self._waiting: deque[tuple[Deferred[Any], Callable[[], Any]]] = deque()

    def run(
        self, work: Callable[[], Result], seconds: float | None = None, advice: str = _ADVICE
    ) -> Deferred[Result]:
        """
        Have something done.

        @param seconds: after which nobody waits for it any more; L{None} if somebody always does.
        @param advice: how to mend it if it takes longer.
        @return: fires in the reactor's thread with what it returns, or fails with what it raises;
            with L{TooMuchWaits} or L{RuntimeError} if there is no thread for it, and with
            L{TookTooLong} if its time is over.  Cancelled, it is not begun; if it has been, what
            becomes of it is of no interest.
        """
        done: Deferred[Result] = Deferred(self._cancelled)
        if seconds is not None:

            def tooLong(_result: Any, _seconds: float) -> NoReturn:
                self._giveUp(done)
                raise _tooLong(seconds, advice)

            done.addTimeout(seconds, steady(self._reactor), tooLong)
        if len(self._waiting) >= _MOST_WAITING:
            done.errback(TooMuchWaits(f"{_MOST_WAITING:,} others wait for a thread"))
            return done
        # In the context of who asked, as the host in memory that it is on.
        context = copy_context()
        self._waiting.append((done, lambda: context.run(work)))
        self._next()
        return done

    def _cancelled(self, done: Deferred[Any]) -> None:
        self._waiting = deque(each for each in self._waiting if each[0] is not done)

    def _giveUp(self, done: Deferred[Any]) -> None:
        """Have others take the place of what hangs, as long as not too much of that does."""
        if done in self._running and len(self._hanging) < _MOST_HANGING:
            self._running.discard(done)
            self._hanging.add(done)
            self._next()

    def _next(self) -> None:
        while self._waiting and len(self._running) < self._most:
            done, work = self._waiting.popleft()
            self._running.add(done)
            try:
                threading.Thread(target=self._work, args=(done, work), daemon=True).start()
            except RuntimeError:  # the system gives no further thread
                self._running.discard(done)
                done.errback()

    def _work(self, done: Deferred[Any], work: Callable[[], Any]) -> None:
        result: Any
        try:
            result = work()
        except BaseException:  # noqa: BLE001 - it is for who asked
            result = Failure()
        self._reactor.callFromThread(self._ended, done, result)

    def _ended(self, done: Deferred[Any], result: Any) -> None:
        self._running.discard(done)
        self._hanging.discard(done)
        self._next()
        if not done.called:
            done.callback(result)
