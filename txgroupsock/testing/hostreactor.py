"""The reactor that a program on an in-memory host is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import AbstractDatagramProtocol

from txgroupsock.ports import GroupsockReactor, UDPPort
from txgroupsock.primitives import InterfaceLike

if TYPE_CHECKING:
    from txgroupsock.testing.host import MemoryHost


class HostReactor(GroupsockReactor):
    """The reactor of one host: its ports are there, and whatever it calls is inside the host."""

    _own: ClassVar = GroupsockReactor._own | {"_host"}

    def __init__(self, host: MemoryHost) -> None:
        super().__init__(host.network.reactor, openSocket=host.openSocket)
        self._host = host

    def __copy__(self) -> HostReactor:
        return HostReactor(self._host)

    def listenMulticast(
        self,
        port: int,
        protocol: AbstractDatagramProtocol,
        interface: InterfaceLike = "",
        maxPacketSize: int = 65535,
        listenMultiple: bool = False,  # noqa: FBT001, FBT002 - Twisted's interface
        **options: Any,
    ) -> UDPPort:
        """See L{GroupsockReactor.listenMulticast}."""
        with self._host:
            return super().listenMulticast(
                port, protocol, interface, maxPacketSize, listenMultiple, **options
            )

    def callLater(
        self,
        delay: float,
        function: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> IDelayedCall:
        """See L{IReactorTime <twisted.internet.interfaces.IReactorTime>}."""
        later: IDelayedCall = self.wrapped.callLater(
            delay, self._inside, partial(function, *args, **kwargs)
        )
        return later

    def _inside(self, call: Callable[[], Any]) -> None:
        with self._host:
            call()
