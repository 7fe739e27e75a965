"""What an input that is made of several is asked to be, checked; nothing is opened here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, TypeAlias

from attrs import evolve, frozen

from txgroupsock.primitives.arguments import typed
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.redundancy.boundary import (
    Boundary,
    RTPFrame,
    TransportStreamRandomAccess,
    TransportStreamUnit,
)
from txgroupsock.relay.redundancy.failover import Policy
from txgroupsock.relay.redundancy.merged import LOSS, SILENCE
from txgroupsock.relay.redundancy.merger import LIMIT
from txgroupsock.relay.redundancy.sequencing import RTP, SequenceField, Sequencing

BOUNDARIES: Final[Mapping[str, type[Boundary]]] = {
    "rtp-frame": RTPFrame,
    "ts-unit": TransportStreamUnit,
    "ts-random-access": TransportStreamRandomAccess,
}
"""Where a failover may begin with another leg, by the words of the configuration."""


@frozen(field_transformer=typed)
class MergeModel:
    """
    How legs are merged; see L{MergedInput <txgroupsock.relay.redundancy.MergedInput>}.

    @ivar window: seconds.
    @ivar by: where the numbers are; L{None}: in RTP.
    @ivar limit: datagrams held at most.
    @ivar silence: seconds after which there is a warning about a leg.
    @ivar loss: share of datagrams, 0 to 1, above which there is one.
    """

    kind: ClassVar[str] = "merge"

    window: float = 0.05
    by: SequenceField | None = None
    limit: int = LIMIT
    silence: float = SILENCE
    loss: float = LOSS

    @property
    def sequencing(self) -> Sequencing:
        """What finds the numbers."""
        return self.by or RTP()


@frozen(field_transformer=typed)
class FailoverModel:
    """
    When to go over to another leg; see L{Policy}.

    @ivar by: where the numbers are that tell the loss; L{None}: in RTP.
    @ivar boundary: one of L{BOUNDARIES}; C{""}: anywhere.
    """

    kind: ClassVar[str] = "failover"

    silence: float = 1.0
    loss: float | None = None
    by: SequenceField | None = None
    returnAfter: float = 10.0
    boundary: str = ""
    boundaryWait: float = 1.0

    @property
    def policy(self) -> Policy:
        """The same for the input itself."""
        return Policy(
            silence=self.silence,
            lossRate=self.loss,
            sequencing=None if self.loss is None else self.by or RTP(),
            returnAfter=self.returnAfter,
            boundary=BOUNDARIES[self.boundary]() if self.boundary else None,
            boundaryWait=self.boundaryWait,
        )


Redundancy: TypeAlias = MergeModel | FailoverModel

_MODELS: Final[Mapping[str, type[Redundancy]]] = {
    each.kind: each for each in (MergeModel, FailoverModel)
}


@frozen
class RedundantModel:
    """
    One input that is made of several.

    It has what code needs of an L{InputModel} that does not mind how many sockets there are.

    @ivar legs: two or more; for a failover, the best first.
    @ivar redundancy: what is made of them.
    """

    legs: tuple[InputModel, ...]
    redundancy: Redundancy

    @property
    def kind(self) -> str:
        """C{"merge"} or C{"failover"}."""
        return self.redundancy.kind

    @property
    def isMulticast(self) -> bool:
        """Whether all legs are groups, so that another process may receive the same."""
        return all(each.isMulticast for each in self.legs)

    @property
    def name(self) -> str:
        """What it is, and the URLs of its legs, each with the first of its sources."""
        return f"{self.kind} of {' and '.join(each.name for each in self.legs)}"

    @property
    def path(self) -> str:
        """It as a part of the name of a channel; see L{InputModel.path}."""
        return ("+" if self.kind == "merge" else "|").join(each.path for each in self.legs)

    def __str__(self) -> str:
        """The same, without sources."""
        return f"{self.kind} of {' and '.join(str(each) for each in self.legs)}"

    @property
    def received(self) -> RedundantModel:
        """What is received, however soon it is passed on."""
        return self._with(each.received for each in self.legs)

    @property
    def inOrder(self) -> RedundantModel:
        """The same, whatever the order in which sources of a leg were given."""
        return self._with(each.inOrder for each in self.legs)

    @property
    def times(self) -> tuple[tuple[float | None, float | None], ...]:
        """Of each leg, its latency and how often it is refreshed."""
        return tuple(each.times for each in self.legs)

    def withLatency(self, latency: float | None) -> RedundantModel:
        """The same with other times for datagrams to gather, in seconds."""
        return self._with(each.withLatency(latency) for each in self.legs)

    def plain(self) -> dict[str, Any]:
        """What L{fromJSON} takes, once its values are plain, too."""
        return {"legs": self.legs, self.kind: self.redundancy}

    @classmethod
    def fromJSON(cls, value: Mapping[str, Any]) -> RedundantModel:
        """The input that L{plain} gave this, by JSON."""
        [kind] = value.keys() - {"legs"}
        fields, by = dict(value[kind]), value[kind]["by"]
        fields["by"] = by and SequenceField(by["offset"], by["width"], by["byteorder"])
        legs = tuple(InputModel.fromJSON(each) for each in value["legs"])
        return cls(legs, _MODELS[kind](**fields))

    def _with(self, legs: Iterable[InputModel]) -> RedundantModel:
        return evolve(self, legs=tuple(legs))


AnyInput: TypeAlias = InputModel | RedundantModel
"""What a route receives."""
