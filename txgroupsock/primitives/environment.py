"""The settings that LIVE555 keeps in globals and in its C{UsageEnvironment}, as one object."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import TracebackType

from attrs import define, field

from txgroupsock.primitives.arguments import checked, typed
from txgroupsock.primitives.networkinterface import InterfaceLike
from txgroupsock.primitives.sockaddr import IPAddress


@define(eq=False, field_transformer=typed)
class Environment:
    """
    What the socket functions take from their surroundings.

    Two environments share nothing; a program may have as many as it likes.

    @ivar reuseFlag: whether new sockets share their port (SO_REUSEADDR, and SO_REUSEPORT
        on datagram sockets).  See L{NoReuse}.
    @ivar sendingInterface: where multicast leaves by default (LIVE555's
        C{SendingInterfaceAddr}); either family, any way to name it.
    @ivar receivingInterface: where groups are joined by default, and the address that
        sockets without a port of their own are bound to (LIVE555's
        C{ReceivingInterfaceAddr} and C{ReceivingInterfaceAddr6}).
    @ivar interfaceBindToDevice: the name of the one device that sockets may use
        (SO_BINDTODEVICE, socket(7); Linux).
    @ivar createSocket: what new sockets are made with, from a family and a type.
    """

    reuseFlag: bool = True
    sendingInterface: InterfaceLike = None
    receivingInterface: InterfaceLike = None
    interfaceBindToDevice: str | None = None
    createSocket: Callable[[int, int], socket.socket] = field(default=socket.socket, repr=False)
    ourAddresses: dict[tuple[int, InterfaceLike], IPAddress] = field(
        factory=dict, init=False, repr=False
    )
    """
    What L{txgroupsock.primitives.ouraddress} found, by family and receiving interface; clear
    it to look again.
    """


class NoReuse:
    """
    While this context is entered, sockets of its environment do not share their port.

    Contexts nest, and restore what was before them also when left by an exception.
    """

    @checked
    def __init__(self, env: Environment) -> None:
        self._env = env
        self._before: list[bool] = []

    def __enter__(self) -> Environment:
        self._before.append(self._env.reuseFlag)
        self._env.reuseFlag = False
        return self._env

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._env.reuseFlag = self._before.pop()
