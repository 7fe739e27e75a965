"""What a L{Groupsock <txgroupsock.Groupsock>} counts, exactly."""

from __future__ import annotations

from collections import Counter

from attrs import define, field

from txgroupsock.primitives.arguments import explained


@define
class Traffic:
    """
    What passed one place.

    @ivar packets: datagrams.
    @ivar bytes: of payload, in those.
    """

    packets: int = 0
    bytes: int = 0

    def countPacket(self, size: int) -> None:
        """One datagram with so many bytes of payload passed."""
        try:
            self.bytes += size
        except TypeError as error:
            raise explained(error, Traffic.countPacket, size=size) from None
        self.packets += 1

    @property
    def haveSeenTraffic(self) -> bool:
        """Whether anything passed at all."""
        return self.packets > 0


@define
class GroupsockStatistics:
    """
    What a Groupsock, or all of a table, has received and sent.

    @ivar incoming: received, without what is counted in the next two.
    @ivar loopedBack: received, but from ourselves.
    @ivar otherSources: dropped, since the group is for another source.
    @ivar outgoing: taken by the kernel, once for each destination.
    @ivar dropped: datagrams that the kernel did not take, by errno.
    """

    incoming: Traffic = field(factory=Traffic)
    loopedBack: Traffic = field(factory=Traffic)
    otherSources: Traffic = field(factory=Traffic)
    outgoing: Traffic = field(factory=Traffic)
    dropped: Counter[int] = field(factory=Counter)
