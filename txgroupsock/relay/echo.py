"""Loops through other relays: what an input relays comes back to it, from another sender."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.sameness import Relayed
from txgroupsock.relay.trial import Backlog, Trial
from txgroupsock.relay.watch import Bait, Sender, Watch


@define(eq=False)
class _Echo:
    """
    A sender that sends what this input has relayed.

    @ivar since: when that was found out, in seconds.
    @ivar lastDrop: when it last did so, in seconds.
    @ivar dropped: datagrams.
    @ivar said: how many of these the log has.
    """

    since: float
    lastDrop: float
    dropped: int = 0
    said: int = 0
    saidAt: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.saidAt = self.since


@define
class _Trust:
    """A sender was found innocent: it is not suspected until then, which was for so long."""

    until: float
    seconds: float


class EchoGuard:
    """
    Stands between an input and what is done with its runs, and stops loops.

    While one sender sends, it only passes the runs on.  While several do, it watches whether one
    repeats what others send (L{Watch}).  Those that do stand trial for half a second, in which
    their runs are held (L{Trial}): their datagrams come because they were relayed, or they do
    not.  If so, whatever they send that was relayed in the last seconds is dropped, until for
    ten seconds there was no such thing; other datagrams pass, since a relay may carry new ones
    too.  If not, what was held is relayed, in order, and the sender is left alone for a while.

    The runs of one sender are never reordered, and none is dropped that was not relayed lately.

    @cvar calm: seconds without a drop after which a loop is over.
    @cvar quiet: at most one line of log about a loop in so many seconds.
    @cvar trust: seconds for which an innocent sender is not suspected again, at first; each
        time twice as long, up to C{mostTrust}.
    """

    calm: ClassVar[float] = 10.0
    quiet: ClassVar[float] = 10.0
    trust: ClassVar[float] = 5.0
    mostTrust: ClassVar[float] = 600.0
    mostTrusted: ClassVar[int] = 1024

    _busyTick = 0.005  # while runs are held
    _idleTick = 0.5
    _strikesNeeded = 2
    _secondLook = 0.1  # seconds that a loop may take that was not recognised the first time
    _farTooMany = 3  # for each that was relayed; a loop with two ways back has two
    _suspicionLasts = 3.0
    _least = 64 * 1024  # bytes to relay in one tick of what was held
    _ticksToCatchUp = 40

    _log = Logger()

    def __init__(
        self,
        clock: Any,
        forward: Callable[[Run], Any],
        counters: Counters,
        name: object,
        random: Callable[[], float] = random.random,
    ) -> None:
        """
        @param clock: provides C{IReactorTime}, the one that runs' C{arrival} is taken from.
        @param forward: gets what passes, while L{admit} runs or later.
        @param counters: what is dropped is counted there, as C{"loop"}.
        @param name: what its input is called in the log.
        @param random: from 0 to 1; see L{Trial}.
        """
        self._clock = clock
        self._forward = forward
        self._counters = counters
        self._name = name
        self._random = random
        self._only: Sender | None = None
        self._watch = Watch()
        self._strikes: dict[Sender, list[Bait]] = {}
        self._trial: Trial | None = None
        self._backlog = Backlog()
        self._portion = 0
        self._catchUpBy = 0.0
        self._held: Collection[Sender] = ()
        self._echoes: dict[Sender, _Echo] = {}
        self._trusted: dict[Sender, _Trust] = {}
        self._relayed: Relayed | None = None
        self._timer: IDelayedCall | None = None

    @property
    def echoes(self) -> list[Sender]:
        """The senders that are part of a loop now."""
        return list(self._echoes)

    def admit(self, run: Run) -> None:
        """Take a run that has arrived; it is passed on now, later or never."""
        if run.sender == self._only:
            self._forward(run)
        else:
            self._admitOneOfMany(run)

    def close(self) -> None:
        """Pass on what is held, and forget everything; for when the input closes."""
        self._trial = None
        self._release(math.inf)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._strikes = {}
        self._echoes = {}
        self._relayed = None

    # What arrives while there are several senders.

    def _admitOneOfMany(self, run: Run) -> None:
        if self._only is not None:
            self._only = None
            self._watch.restart()
        if not self._held:
            for bait in self._watch.examine(run):
                self._strike(bait, run)
                if self._trial is not None:
                    break
        if run.sender in self._held:
            self._hold(run)
            return
        self._passNew(run)
        if not self._held and run.sender not in self._echoes:
            self._watch.take(run)
            if not self._isBusy():
                self._only = self._watch.onlySender()

    def _passNew(self, run: Run) -> None:
        """Pass a run on, or of an echo's what is new."""
        echo = self._echoes.get(run.sender)
        for part in [run] if echo is None else self._newOf(run, echo):
            self._pass(part)

    def _pass(self, run: Run) -> None:
        if self._relayed is not None:
            self._relayed.add(run)
        if self._trial is not None:
            self._trial.relayed(run, self._clock.seconds())
        self._forward(run)

    def _newOf(self, run: Run, echo: _Echo) -> list[Run]:
        """What of an echo's run was not relayed lately; the rest is counted as dropped."""
        assert self._relayed is not None  # noqa: S101 - for mypy; it is there as long as echoes are
        parts = self._relayed.unknownOf(run)
        dropped = len(run) - sum(map(len, parts))
        if dropped:
            echo.dropped += dropped
            echo.lastDrop = run.arrival
            self._counters.dropped["loop"] += dropped
        return parts

    # Suspicion, and trial.

    def _strike(self, bait: Bait, run: Run) -> None:
        """A sender has sent too many copies of a bait."""
        sender, now = run.sender, run.arrival
        echo = self._echoes.get(sender)
        if echo is not None:
            self._doubt(sender, echo, bait)
            return
        trusted = self._trusted.get(sender)
        if trusted is not None and now < trusted.until:
            return
        if self._relayed is None:
            self._relayed = Relayed(now)
        self._schedule(self._idleTick)
        strikes = self._strikes.setdefault(sender, [])
        if bait not in strikes:
            strikes.append(bait)
        if len(strikes) >= self._strikesNeeded:
            self._beginTrial(now)

    def _beginTrial(self, now: float) -> None:
        """Try all that have sent copies: together they may be the ways round."""
        baits = {bait for strikes in self._strikes.values() for bait in strikes}
        suspects = {sender for bait in baits for sender in bait.delays} - self._echoes.keys()
        roundTrip = min(
            bait.delays[sender] for sender, strikes in self._strikes.items() for bait in strikes
        )
        if any(each in self._trusted for each in suspects):
            roundTrip = max(roundTrip, self._secondLook)
        self._strikes = {}
        self._try(Trial(suspects, now, roundTrip, self._random))

    def _try(self, trial: Trial) -> None:
        self._trial = trial
        self._held = trial.suspects
        self._schedule(self._busyTick)

    def _goOn(self, trial: Trial, now: float) -> None:
        """Relay the next probe, or come to a verdict."""
        if not trial.isOver(now):
            probe = trial.nextProbe(self._backlog, now)
            if probe is not None:
                self._pass(probe)
            return
        company = trial.company() - self._echoes.keys()
        if company:
            self._try(trial.withCompany(company, now))
        else:
            self._finish(trial.guilty())

    def _doubt(self, sender: Sender, echo: _Echo, bait: Bait) -> None:
        """An echo whose copies are dropped has repeated a bait as only a true sender can."""
        others = sum(count for each, count in bait.copies.items() if each not in self._echoes)
        if bait.taken < echo.since + 1 or bait.copies[sender] < self._farTooMany * max(2, others):
            return
        self._end(sender, "it sends more than was relayed to it, so this is no loop")
        self._believe(sender, bait.taken)

    def _hold(self, run: Run) -> None:
        if self._trial is not None:
            self._trial.held(run)
        self._backlog.append(run)
        if self._backlog.isFull:
            # More than a loop holds: this is a fast stream of its own.
            self._finish([])
            self._release(math.inf)

    def _finish(self, guilty: Collection[Sender]) -> None:
        """End the trial, if there is one."""
        trial, self._trial = self._trial, None
        if trial is None:
            return
        now = self._clock.seconds()
        for sender in trial.suspects:
            if sender in guilty:
                self._begin(sender, now)
            else:
                self._believe(sender, now)
        self._portion = max(self._least, 2 * self._backlog.size // self._ticksToCatchUp)
        self._catchUpBy = now + 1

    def _release(self, size: float) -> None:
        """Relay so many bytes, or a run more, of what was held."""
        while size > 0 and len(self._backlog):
            run = self._backlog.pop()
            size -= len(run.data)
            self._passNew(run)
        if not len(self._backlog) and self._trial is None:
            self._held = ()
            self._watch.restart()

    def _believe(self, sender: Sender, now: float) -> None:
        """Do not suspect a sender for a while."""
        before = self._trusted.pop(sender, None)
        seconds = self.trust if before is None else min(2 * before.seconds, self.mostTrust)
        self._trusted[sender] = _Trust(now + seconds, seconds)
        if len(self._trusted) > self.mostTrusted:
            del self._trusted[next(iter(self._trusted))]

    # As time goes by.

    def _isBusy(self) -> bool:
        """Whether there is more to do than to watch."""
        return bool(self._held or self._echoes or self._strikes)

    def _schedule(self, seconds: float) -> None:
        """Be called in so many seconds at the latest."""
        if self._timer is not None:
            if self._timer.getTime() <= self._clock.seconds() + seconds:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        try:
            if self._trial is not None:
                self._goOn(self._trial, now)
            elif self._held:
                self._release(self._portion if now < self._catchUpBy else math.inf)
        finally:  # whatever forward raises, nothing is held for ever
            self._forgetOld(now)
            if self._isBusy():
                self._schedule(self._busyTick if self._held else self._idleTick)
            else:
                self._relayed = None

    def _forgetOld(self, now: float) -> None:
        """End suspicions and loops of which there was nothing more."""
        self._strikes = {
            sender: strikes
            for sender, strikes in self._strikes.items()
            if now - strikes[-1].taken < self._suspicionLasts
        }
        for sender, echo in list(self._echoes.items()):
            if now - echo.lastDrop >= self.calm:
                self._end(sender, "nothing came back for a while")
            elif now - echo.saidAt >= self.quiet:
                self._sayCount(sender, echo, now)

    # What it says.

    def _begin(self, sender: Sender, now: float) -> None:
        self._echoes[sender] = _Echo(now, now)
        self._log.warn(
            "loop: what {name} receives and relays comes back to it from {sender}, another relay. "
            "Copies from there are dropped and counted as loop; anything else from there is "
            "relayed. Have one of the two relays send elsewhere, or name the source to hear",
            name=self._name,
            sender="{} port {}".format(*sender),
        )

    def _sayCount(self, sender: Sender, echo: _Echo, now: float) -> None:
        self._log.warn(
            "loop: {name} has dropped {count:,} more datagrams that came back from {sender}",
            name=self._name,
            count=echo.dropped - echo.said,
            sender="{} port {}".format(*sender),
        )
        echo.said, echo.saidAt = echo.dropped, now

    def _end(self, sender: Sender, why: str) -> None:
        echo = self._echoes.pop(sender)
        self._log.info(
            "loop: {name} relays all from {sender} again, since {why} ({count:,} were dropped)",
            name=self._name,
            sender="{} port {}".format(*sender),
            why=why,
            count=echo.dropped,
        )
