"""
Whose interfaces are meant: those of this machine, or of a host that exists in memory only.

Everything that turns the name of an interface into its number, or back, does it here.
"""

from __future__ import annotations

import socket
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from txgroupsock.primitives.networkinterface import NetworkInterface


class InterfaceTable(Protocol):
    """The interfaces of one host."""

    def listInterfaces(self) -> list[NetworkInterface]:
        """Every one, in the order of their indexes."""


madeUp: Final[ContextVar[InterfaceTable | None]] = ContextVar("madeUp", default=None)
"""
The table of the host that the code which now runs is on; L{None}: of this machine.

Where the kernel keeps this for a thread that has entered a network namespace, this keeps it for
one that has entered a C{txgroupsock.testing.MemoryHost}.
"""


def indexOfName(name: str) -> int:
    """
    The index of the interface with a name.

    @raise OSError: there is none.
    @raise ValueError: no interface could have that name.
    """
    table = madeUp.get()
    if table is None:
        return socket.if_nametoindex(name)
    for each in table.listInterfaces():
        if each.name == name:
            return each.index
    raise OSError(f"no interface {name}")


def nameOfIndex(index: int) -> str:
    """
    The name of the interface with an index.

    @raise OSError: there is none.
    @raise OverflowError: no interface could have that index.
    """
    table = madeUp.get()
    if table is None:
        return socket.if_indextoname(index)
    for each in table.listInterfaces():
        if each.index == index:
            return each.name
    raise OSError(f"no interface {index}")


def allIndexes() -> list[int]:
    """The index of every interface."""
    table = madeUp.get()
    if table is None:
        return [index for index, _name in socket.if_nameindex()]
    return [each.index for each in table.listInterfaces()]
