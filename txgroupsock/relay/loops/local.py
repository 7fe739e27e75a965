"""Loops within the process: an input that hears what it has itself caused to be sent."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from attrs import define
from twisted.logger import Logger

from txgroupsock.primitives.run import Run

_Node = Hashable
_Reached = TypeVar("_Reached", bound=Hashable)
_Address = tuple[str, int]


@define(eq=False)
class _Path:
    """
    An output's datagrams are heard by an input.

    @ivar seen: when last, in seconds.
    @ivar isLoop: whether they would come back if they were relayed.
    """

    seen: float
    isLoop: bool = False


class Feedback:
    """
    Knows the outputs of all routes, learns which inputs hear them, and finds the loops in that.

    A sender that is one of our outputs makes a path: from the input that feeds that output to
    the one that heard it.  Chains are as good as any other route (G1 to G2, and G2 to G3).  A
    path is a loop if it closes a ring of paths, or if it is half of a bridge in both directions:
    of G1 to G2 and G2 to G1 each route leaves the other's alone, from the first datagram if the
    models tell, and otherwise once both have been heard.

    Inputs and outputs may be any hashable objects; their C{str} is for the log.

    @cvar memory: seconds after which a path that was not seen again is forgotten, since
        networks change, and an address can be forged.  What was wrong then heals; of what was
        right, one run is let through and learned from.
    """

    memory = 60.0

    _log = Logger()

    def __init__(self, hears: Callable[[Any, Any], bool] = lambda _, __: False) -> None:
        """@param hears: whether an input is known to hear an output, before it does."""
        self._hears = hears
        self._outputs: dict[_Address, Hashable] = {}
        self._feeders: dict[Hashable, frozenset[_Node]] = {}
        self._addresses: dict[Hashable, tuple[_Address, ...]] = {}  # of each output
        self._paths: dict[tuple[Hashable, _Node], _Path] = {}
        self._reviewAt = float("-inf")
        self._said: set[tuple[Hashable, _Node]] = set()

    def isLoop(self, node: _Node, run: Run) -> bool:
        """Whether a run that arrived at an input would go round if it were relayed."""
        output = self._outputs.get(run.sender)
        return output is not None and self._isOursALoop(node, output, run.arrival)

    def outputOpened(
        self,
        output: Hashable,
        feeder: _Node,
        addresses: Iterable[_Address],
        *,
        others: Iterable[_Node] = (),
    ) -> None:
        """
        An output can send from now on; or it has moved, or is opened anew where it was.

        @param feeder: the input whose datagrams it sends.
        @param addresses: what receivers may see as sender, C{(host, port)} as in L{Run.sender}:
            one, if its socket is connected; several, if the kernel chooses; none, if it sends no
            datagrams.  Such outputs are told too: datagrams for them are no mere reflections.
        @param others: further inputs whose datagrams it sends.
        """
        found, feeders = tuple(addresses), frozenset([feeder, *others])
        if self._feeders.get(output) == feeders and self._addresses[output] == found:
            return
        self.outputClosed(output)
        self._forgetPaths()
        self._feeders[output] = feeders
        self._addresses[output] = found
        for address in found:
            self._outputs[address] = output

    def outputClosed(self, output: Hashable) -> None:
        """An output sends nothing more; its addresses may belong to anybody.  May be repeated."""
        if self._feeders.pop(output, None) is None:
            return
        self._forgetPaths()
        for address in self._addresses.pop(output):
            if self._outputs.get(address) is output:
                del self._outputs[address]

    def _isOursALoop(self, node: _Node, output: Hashable, now: float) -> bool:
        """The same for a run that one of our outputs has sent."""
        path = self._paths.get((output, node))
        if path is not None and now < self._reviewAt:
            path.seen = now
            return path.isLoop
        if path is None:
            path = self._paths[output, node] = _Path(now)
        path.seen = now
        self._review(now)
        return path.isLoop

    def _review(self, now: float) -> None:
        """Forget old paths, and judge the others anew, in the order in which they were learned."""
        self._reviewAt = now + self.memory
        self._paths = {
            key: path for key, path in self._paths.items() if now - path.seen < self.memory
        }
        leads: dict[_Node, set[_Node]] = {}
        for (output, node), path in self._paths.items():
            feeders = self._feeders[output]
            bridged = [each for each in feeders if self._isBridge(node, each)]
            path.isLoop = bool(bridged) or any(reaches(leads, node, each) for each in feeders)
            if path.isLoop:
                self._say(output, node, isBridge=bool(bridged) and node not in feeders)
                continue
            for feeder in feeders:
                leads.setdefault(feeder, set()).add(node)

    def _isBridge(self, node: _Node, feeder: _Node) -> bool:
        """Whether one input feeds an output that the other hears."""
        return any(
            node in feeders and ((output, feeder) in self._paths or self._hears(feeder, output))
            for output, feeders in self._feeders.items()
        )

    def _say(self, output: Hashable, node: _Node, *, isBridge: bool) -> None:
        if (output, node) in self._said:
            return
        self._said.add((output, node))
        if isBridge:
            text = (
                "bridge: {node} hears what {output}, the other half, sends; it does not send that "
                "back, and counts it as loop"
            )
            self._log.info(text, node=_named(node), output=_named(output))
            return
        self._log.warn(
            "loop: {node} hears {output}, which sends what {feeder} receives, and relaying that "
            "would send it round and round; it is dropped here and counted as loop. Have the "
            "output send elsewhere, or the input name its source",
            node=_named(node),
            output=_named(output),
            feeder=" or ".join(sorted(_named(each) for each in self._feeders[output])),
        )

    def _forgetPaths(self) -> None:
        """What was learned may be wrong now, and is learned again from the next run."""
        self._paths.clear()
        self._said.clear()


def _named(part: object) -> str:
    """An input or output as the operator knows it: by its URL."""
    return str(getattr(part, "model", part))


def reaches(leads: Mapping[_Reached, Iterable[_Reached]], start: _Reached, end: _Reached) -> bool:
    """Whether there is a way from one node to another; there is from each to itself."""
    reached, pending = {start}, [start]
    while pending and end not in reached:
        new = set(leads.get(pending.pop(), ())) - reached
        reached |= new
        pending += new
    return end in reached
