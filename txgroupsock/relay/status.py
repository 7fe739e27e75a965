"""What an operator is told about routes: counts, what is open, what to do about trouble."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from attrs import asdict, evolve, field, frozen

from txgroupsock.primitives import BufferSize
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.turns import PIECE


@frozen
class LegReport:
    """
    One leg at one moment.

    What only a merge, or only a failover that looks at losses, knows is L{None} elsewhere.

    @ivar name: its URL.
    @ivar counters: what has come in, and what was dropped on the way in.
    @ivar state: what is open, for people.
    @ivar used: datagrams that were given on.
    @ivar lost: missing on this leg; less again if some come late.
    @ivar duplicates: that had come on this very leg before.
    @ivar late: that came when they had been given up.
    @ivar strays: of another stream than is given on.
    @ivar lossRate: share of the datagrams of the last seconds, 0 to 1.
    @ivar skew: least, most and mean seconds behind whichever leg was first.
    @ivar silence: seconds since its last datagram; L{None} before the first.
    @ivar isSilent: whether that is longer than the configuration lets pass.
    @ivar isActive: whether it is the one that a failover gives on; L{None} for a merge.
    @ivar buffer: the kernel's buffer for it; L{None} while it is closed.
    """

    name: str
    counters: Counters
    state: tuple[str, ...]
    used: int
    lost: int | None = None
    duplicates: int | None = None
    late: int | None = None
    strays: int | None = None
    lossRate: float | None = None
    skew: tuple[float, float, float] | None = None
    silence: float | None = None
    isSilent: bool = True
    isActive: bool | None = None
    buffer: BufferSize | None = None

    def __str__(self) -> str:
        """For the log: what came of it."""
        parts = [str(self.counters), f"{self.used:,} used"]
        if self.lost is not None:
            parts.append(f"{self.lost:,} lost, {self.late:,} late")
        if self.skew is not None:
            least, most, mean = (1000 * seconds for seconds in self.skew)
            parts.append(f"{least:.1f} to {most:.1f} ms behind (mean {mean:.1f})")
        return ", ".join(parts)

    @classmethod
    def fromJSON(cls, value: Mapping[str, Any]) -> LegReport:
        """The report whose fields JSON had."""
        counted, skew, buffer = value["counters"], value["skew"], value["buffer"]
        dropped = Counter(counted["dropped"])
        return cls(
            **{
                **value,
                "counters": Counters(counted["datagrams"], counted["bytes"], dropped),
                "state": tuple(value["state"]),
                "skew": skew and (skew[0], skew[1], skew[2]),
                "buffer": buffer and BufferSize(**buffer),
            }
        )


@frozen
class RedundancyReport:
    """
    An input that is made of several, at one moment.

    @ivar kind: C{"merge"} or C{"failover"}.
    @ivar changes: how often a failover went over to another leg, or the stream of a merge began
        anew.
    """

    kind: str
    changes: int
    legs: tuple[LegReport, ...]

    def report(self) -> list[str]:
        """A line for each leg."""
        return [
            f"leg {number}{', given on' if leg.isActive else ''}, {leg.name}: {leg}"
            for number, leg in enumerate(self.legs, 1)
        ]

    @classmethod
    def fromJSON(cls, value: Mapping[str, Any]) -> RedundancyReport:
        """The report whose fields JSON had."""
        legs = tuple(LegReport.fromJSON(leg) for leg in value["legs"])
        return cls(value["kind"], value["changes"], legs)


@frozen
class EndStatus:
    """
    An input, a stage or an output at one moment.

    @ivar name: its URL, or what it is.
    @ivar counters: what has passed it, and what has not.
    @ivar state: what is open, for people: a line for each membership or destination.
    @ivar warnings: what is not as it should be, in words, with the remedy.
    @ivar buffer: the kernel's buffer for it; L{None} if it has none.
    @ivar redundancy: of an input that is made of several, these.
    """

    name: str
    counters: Counters
    state: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    buffer: BufferSize | None = None
    redundancy: RedundancyReport | None = None

    def after(self, earlier: Counters) -> EndStatus:
        """The same, with what was counted before it began added."""
        return self.counting(self.counters.plus(earlier))

    def counting(self, counters: Counters) -> EndStatus:
        """The same with other counters."""
        # Not by evolve(), which takes five times as long: workers' are told every second.
        return EndStatus(
            self.name, counters, self.state, self.warnings, self.buffer, self.redundancy
        )

    def __str__(self) -> str:
        parts = [str(self.counters)]
        if self.buffer is not None:
            granted, requested = self.buffer.granted, self.buffer.requested
            of = f" of {requested:,} wanted" if self.buffer.isClamped else ""
            parts.append(f"buffer {granted:,} bytes{of}")
        return "; ".join([*parts, *self.warnings])


@frozen
class RouteStatus:
    """
    A route at one moment.

    @ivar name: what people call it.
    @ivar health: as docs/health.md has it; L{None} if it is not looked at.
    """

    input: EndStatus
    stages: tuple[EndStatus, ...]
    outputs: tuple[EndStatus, ...]
    name: str = ""
    health: Mapping[str, Any] | None = None

    @property
    def ends(self) -> tuple[EndStatus, ...]:
        """All its parts, in the order in which datagrams come to them."""
        return (self.input, *self.stages, *self.outputs)

    @property
    def size(self) -> int:
        """How many parts it has."""
        return 1 + len(self.stages) + len(self.outputs)

    def after(self, earlier: RouteStatus) -> RouteStatus:
        """The same, with what an earlier run of this route counted added."""
        both = zip(self.ends, earlier.ends, strict=True)
        return self._with([now.after(then.counters) for now, then in both])

    def counted(self, counters: Sequence[Counters]) -> RouteStatus:
        """
        The same, with newer counters, one for each of L{ends}.

        @raise ValueError: there are not as many.
        """
        both = zip(self.ends, counters, strict=True)
        return self._with([end.counting(each) for end, each in both])

    def closed(self, warning: str) -> RouteStatus:
        """What is known of it once all of it is closed; the input says why."""
        incoming, *others = [
            evolve(end, state=(), warnings=(), buffer=None, redundancy=None) for end in self.ends
        ]
        status = self._with([evolve(incoming, warnings=(warning,)), *others])
        return evolve(status, health=None)

    def _with(self, ends: Sequence[EndStatus]) -> RouteStatus:
        return self.ofEnds(ends, len(self.stages), self.name, self.health)

    @classmethod
    def ofEnds(
        cls, ends: Sequence[EndStatus], stages: int, name: str, health: Mapping[str, Any] | None
    ) -> RouteStatus:
        """The status that has these L{ends}, with so many stages after the input."""
        first = 1 + stages
        return cls(ends[0], tuple(ends[1:first]), tuple(ends[first:]), name, health)

    def describe(self) -> list[str]:
        """A line for each join and each output."""
        return [line for each in self.ends for line in each.state]

    def report(self) -> list[str]:
        """A line of counters for each part, and for each leg of the input."""
        return [
            *self.reportOfInput(),
            *(f"{each.name}: {each}" for each in self.stages),
            *(
                f"out, {', '.join(each.state) or f'{each.name}, closed'}: {each}"
                for each in self.outputs
            ),
        ]

    def reportOfInput(self) -> list[str]:
        """What of that is of the input."""
        where, legs = ", ".join(self.input.state), self.input.redundancy
        line = f"in, {where or f'{self.input.name}, closed'}: {self.input}"
        return [line, *(legs.report() if legs is not None else ())]

    def pieces(self) -> Iterator[dict[str, Any]]:
        """What L{Pieces} takes, made of what JSON knows."""
        head = {"name": self.name, "stages": len(self.stages), "health": self.health}
        ends = self.ends
        for at in range(0, len(ends), PIECE):
            yield {**head, "ends": [asdict(end) for end in ends[at : at + PIECE]]}
            head = {}


class Pieces:
    """The status of many routes, as it comes in L{RouteStatus.pieces}."""

    most: ClassVar[int] = 1_000_000  # parts of routes; a file can describe some ten thousand

    def __init__(self) -> None:
        self._heads: list[tuple[int, str, Mapping[str, Any] | None]] = []
        self._ends: list[list[EndStatus]] = []
        self._count = 0

    def add(self, piece: Mapping[str, Any]) -> None:
        """
        Add the next one.

        @raise ValueError: it is none, or there are too many; or C{TypeError}, C{LookupError} or
            C{AttributeError}.
        """
        ends = [_endOf(end) for end in piece["ends"]]
        self._count += len(ends)
        if self._count > self.most:
            raise ValueError("there is no end to it")
        if "name" in piece:
            self._heads.append((piece["stages"], piece["name"], piece["health"]))
            self._ends.append(ends)
        else:
            self._ends[-1] += ends

    def taken(self) -> list[RouteStatus]:
        """All of it; what is added from now on is of another time."""
        heads, ends = self._heads, self._ends
        self.__init__()  # type: ignore[misc]
        return [RouteStatus.ofEnds(ofOne, *head) for ofOne, head in zip(ends, heads, strict=True)]


def _endOf(value: Mapping[str, Any]) -> EndStatus:
    counted, buffer, legs = value["counters"], value["buffer"], value["redundancy"]
    return EndStatus(
        name=value["name"],
        counters=Counters(counted["datagrams"], counted["bytes"], Counter(counted["dropped"])),
        state=tuple(value["state"]),
        warnings=tuple(value["warnings"]),
        buffer=None if buffer is None else BufferSize(**buffer),
        redundancy=legs and RedundancyReport.fromJSON(legs),
    )


@frozen
class Outcome:
    """
    What became of routes, by their names.

    @ivar lines: for the log: what has been opened, and the last counters of what has been closed.
    """

    unchanged: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    lines: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        parts = ("unchanged", "changed", "opened", "closed")
        counts = ((len(getattr(self, part)), part) for part in parts)
        return ", ".join(f"{count} {part}" for count, part in counts if count) or "no routes"
