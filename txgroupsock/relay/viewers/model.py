"""What a service for viewers is asked to be, checked; nothing is opened here."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import Attribute, evolve, field, frozen
from attrs.validators import ge, gt, le

from txgroupsock.primitives.arguments import typed
from txgroupsock.relay.health.model import HealthModel
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.redundancy.model import AnyInput
from txgroupsock.relay.viewers.access import Access
from txgroupsock.relay.viewers.allowlist import AllowList

if TYPE_CHECKING:
    from txgroupsock.relay.viewers.channel import Channel


class Form(enum.Enum):
    """
    What viewers get of a datagram.

    C{PLAIN}: its payload.  C{RTP}: the payload of the RTP packet in it, without header, padding
    and extension (RFC 3550 section 5).  C{FRAMED}: its payload after its length in 16 bits
    (RFC 4571), so that datagrams can be told apart.
    """

    PLAIN = "udp"
    RTP = "rtp"
    FRAMED = "framed"


# Far more than a file may say, and than there is.
_MOST_COUNT, _MOST_BYTES, _MOST_SECONDS = 10**6, 2**31 - 1, 86400.0


@frozen(field_transformer=typed)
class StreamModel:
    """
    What a channel is made of.

    @ivar input: where it comes from.
    @ivar form: what viewers get of it.
    @ivar health: how its health is looked at while it is received; L{None} if it is not.
    """

    input: AnyInput
    form: Form = Form.PLAIN
    health: HealthModel | None = None

    @property
    def received(self) -> StreamModel:
        """What viewers get: what is equal in this is one channel, however it was asked for."""
        return evolve(self, input=self.input.inOrder, health=None)

    def __str__(self) -> str:
        """Its path, as a viewer would ask for it."""
        return f"/{self.form.value}/{self.input.path}"


@frozen(field_transformer=typed)
class Limits:
    """
    How much a service gives, at most.  Times are in seconds.

    @ivar viewers: in all; further ones get 503.
    @ivar viewersPerChannel: of one stream; further ones get 503.
    @ivar viewersPerAddress: of one address, or of one network of 64 bits in IPv6; 0 for nine tenths
        of C{viewers}.  It does not hold for this host, where all may come from behind a proxy.
    @ivar channels: open at a time; further ones get 503.
    @ivar connections: that have not asked for anything yet; the oldest of
        the address that has most is closed for a further one.
    @ivar backlog: bytes that a channel keeps for all its viewers that are behind.
    @ivar sendBuffer: bytes that the kernel keeps for each viewer (SO_SNDBUF; without
        CAP_NET_ADMIN it gives C{net.core.wmem_max} at most).
    @ivar blockTime: for how long datagrams are gathered into a block, at most.
    @ivar blockSize: of how many bytes a block goes out before that.
    @ivar stallTime: a viewer that takes nothing for so long is closed.
    @ivar headTime: a client that has not asked for anything by then is closed.
    @ivar lingerTime: how long a channel stays open without viewers.
    """

    viewers: int = field(default=500, validator=[ge(1), le(_MOST_COUNT)])
    viewersPerChannel: int = field(default=500, validator=[ge(1), le(_MOST_COUNT)])
    viewersPerAddress: int = field(default=0, validator=[ge(0), le(_MOST_COUNT)])
    channels: int = field(default=64, validator=[ge(1), le(_MOST_COUNT)])
    connections: int = field(default=256, validator=[ge(1), le(_MOST_COUNT)])
    backlog: int = field(default=2 * 1024 * 1024, validator=[ge(0), le(_MOST_BYTES)])
    sendBuffer: int = field(default=512 * 1024, validator=[ge(4096), le(_MOST_BYTES)])
    blockTime: float = field(default=0.050, validator=[ge(0), le(_MOST_SECONDS)])
    blockSize: int = field(default=128 * 1024, validator=[ge(1), le(_MOST_BYTES)])
    stallTime: float = field(default=30.0, validator=[gt(0), le(_MOST_SECONDS)])
    headTime: float = field(default=10.0, validator=[gt(0), le(_MOST_SECONDS)])
    lingerTime: float = field(default=5.0, validator=[ge(0), le(_MOST_SECONDS)])


def _isName(_: Any, attribute: Attribute[Any], names: Mapping[str, Any]) -> None:
    for name in names:
        if not name or "/" in name or name in (".", ".."):
            raise ValueError(f"{attribute.name}: {name!r} cannot be a name: a path has one part")


@frozen(field_transformer=typed)
class TCPModel:
    """
    Endpoints whose every connection gets one stream, without a request.

    @ivar endpoint: as C{serverFromString} takes it.
    @ivar stream: what to give: a stream, or one of the names of the service.
    """

    endpoint: str
    stream: StreamModel | str


@frozen(field_transformer=typed)
class ViewersModel:
    """
    A service for viewers.

    @ivar endpoints: where to listen for HTTP, as C{serverFromString} takes it.
    @ivar allowed: which groups viewers may ask for; left out: none.
    @ivar named: streams offered as C{/NAME}, which need no rule: made of a model, or channels
        that are outputs of routes which somebody else opens.
    @ivar tcp: where to listen for viewers that get a stream without asking.
    @ivar access: who may watch by HTTP; left out: everybody who can connect.
    """

    endpoints: tuple[str, ...] = ("tcp:8080:interface=127.0.0.1",)
    allowed: AllowList = field(factory=AllowList)
    named: Mapping[str, StreamModel | Channel] = field(factory=dict, validator=_isName)
    tcp: tuple[TCPModel, ...] = ()
    access: Access = field(factory=Access)
    limits: Limits = field(factory=Limits)

    def __attrs_post_init__(self) -> None:
        for each in self.tcp:
            if isinstance(each.stream, str) and each.stream not in self.named:
                raise ValueError(f"{each.endpoint}: there is no stream {each.stream!r}")

    def offers(self, stream: StreamModel | Channel) -> bool:
        """Whether there is anywhere where somebody may ask for this, in whatever way."""
        offered = [each.stream for each in self.tcp]
        streams = [self.named[each] if isinstance(each, str) else each for each in offered]
        if self.endpoints:
            streams += self.named.values()
        if _received(stream) in map(_received, streams):
            return True
        if not self.endpoints or not isinstance(stream, StreamModel):
            return False
        # What a path can say.
        wanted = stream.received.input
        if not isinstance(wanted, InputModel) or len(wanted.sources) > 1:
            return False
        if stream.form is Form.FRAMED:
            return False
        return self.allowed.find(evolve(wanted, interface="")) == wanted


def _received(stream: StreamModel | Channel) -> StreamModel | Channel:
    return stream.received if isinstance(stream, StreamModel) else stream


def gatheringTime(limits: Limits) -> float:
    """
    Seconds that datagrams may gather in the kernel: a quarter of those in a block.

    That is seldom enough to cost little, and often enough for a block not to become much larger
    than it should.
    """
    return limits.blockTime / 4
