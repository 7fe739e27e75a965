"""How often an outsider may cause something: a token bucket for each."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from twisted.logger import Logger, LogLevel

from txgroupsock.ports.clock import steady

_MOST: Final = 1024  # origins that are remembered


class Allowance:
    """
    So often in a second, and so often at once, for each origin.

    Of a thousand origins the ones that were seen last are remembered.
    """

    def __init__(self, reactor: Any, rate: float, burst: float) -> None:
        """
        @param reactor: provides C{IReactorTime}.
        @param rate: how often in a second.
        @param burst: how often at once, after a pause.
        """
        self._reactor = steady(reactor)
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, origin: str) -> bool:
        """Whether it may be once more; then that is counted."""
        now = self._reactor.seconds()
        left, since = self._buckets.pop(origin, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - since) * self._rate)
        isAllowed = bool(left >= 1)
        self._buckets[origin] = (left - isAllowed, now)
        if len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        return isAllowed


class Sayings:
    """
    Lines of log that outsiders cause: so many for each origin, and so many in all.

    Once there are more, that is said, and how many were left out with the next line.

    @ivar unsaid: how many were left out so far.
    """

    def __init__(
        self, reactor: Any, log: Logger, rate: float = 1.0, burst: float = 60.0, share: float = 10.0
    ) -> None:
        """
        @param rate: lines in a second that one origin may cause.
        @param burst: lines at once.
        @param share: how many times as much all may cause together.
        """
        self.unsaid = 0
        self._told = 0
        self._log = log
        self._each = Allowance(reactor, rate, burst)
        self._all = Allowance(reactor, share * rate, share * burst)
        self._notices = Allowance(reactor, 1 / 60, 1)

    def info(self, origin: str, text: str, **values: Any) -> None:
        """Say something, if that may be."""
        self.say(LogLevel.info, origin, text, **values)

    def say(self, level: Any, origin: str, text: str, **values: Any) -> None:
        """
        The same, at another level.

        @param level: one of C{LogLevel}.
        """
        if self._each.take(origin) and self._all.take(""):
            left, self._told = self.unsaid - self._told, self.unsaid
            if left:
                self._log.info("{count} lines like the next were left out", count=left)
            self._log.emit(level, text, **values)
            return
        self.unsaid += 1
        if self._notices.take(""):
            self._log.warn(
                "{origin} causes more lines of log than there may be; those that are left out "
                "are counted",
                origin=origin or "this host",
            )
