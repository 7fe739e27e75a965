"""
Source-specific multicast, keep-alive TCP and a stream relay for Twisted.

Each name is loaded when it is first asked for, with what it needs: importing
L{txgroupsock.primitives} loads none of Twisted, and only the names of the relay load that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from txgroupsock._version import __version__

if TYPE_CHECKING:
    from txgroupsock.groupsock import (
        Groupsock,
        GroupsockLookupTable,
        GroupsockStatistics,
        SessionDestination,
        Traffic,
    )
    from txgroupsock.ports import (
        FramedDatagrams,
        FramedDatagramsFactory,
        GroupsockReactor,
        InterleavedRTSP,
        JoinError,
        PortStatistics,
        RTPPair,
        UDPPort,
    )
    from txgroupsock.primitives import (
        AddressError,
        Arrival,
        ConnectionState,
        Destination,
        Environment,
        GroupsockError,
        KeepAlive,
        Membership,
        MembershipError,
        NetworkInterface,
        SourceFilter,
        TransferError,
        UnknownInterface,
        findInterface,
        listInterfaces,
    )
    from txgroupsock.primitives.run import Run
    from txgroupsock.relay.engine.model import RelayModel
    from txgroupsock.relay.engine.relay import Relay
    from txgroupsock.relay.engine.route import Route
    from txgroupsock.relay.models.url import URLError
    from txgroupsock.relay.stage import Stage

__all__ = [
    "AddressError",
    "Arrival",
    "ConnectionState",
    "Destination",
    "Environment",
    "FramedDatagrams",
    "FramedDatagramsFactory",
    "Groupsock",
    "GroupsockError",
    "GroupsockLookupTable",
    "GroupsockReactor",
    "GroupsockStatistics",
    "InterleavedRTSP",
    "JoinError",
    "KeepAlive",
    "Membership",
    "MembershipError",
    "NetworkInterface",
    "PortStatistics",
    "RTPPair",
    "Relay",
    "RelayModel",
    "Route",
    "Run",
    "SessionDestination",
    "SourceFilter",
    "Stage",
    "Traffic",
    "TransferError",
    "UDPPort",
    "URLError",
    "UnknownInterface",
    "__version__",
    "findInterface",
    "listInterfaces",
]

_NAMES: Final = {
    "groupsock": (
        "Groupsock",
        "GroupsockLookupTable",
        "GroupsockStatistics",
        "SessionDestination",
        "Traffic",
    ),
    "ports": (
        "FramedDatagrams",
        "FramedDatagramsFactory",
        "GroupsockReactor",
        "InterleavedRTSP",
        "JoinError",
        "PortStatistics",
        "RTPPair",
        "UDPPort",
    ),
    "primitives": (
        "AddressError",
        "Arrival",
        "ConnectionState",
        "Destination",
        "Environment",
        "GroupsockError",
        "KeepAlive",
        "Membership",
        "MembershipError",
        "NetworkInterface",
        "SourceFilter",
        "TransferError",
        "UnknownInterface",
        "findInterface",
        "listInterfaces",
    ),
    "primitives.run": ("Run",),
    "relay.engine.model": ("RelayModel",),
    "relay.engine.relay": ("Relay",),
    "relay.engine.route": ("Route",),
    "relay.stage": ("Stage",),
    "relay.models.url": ("URLError",),
}
_HOMES: Final = {name: module for module, names in _NAMES.items() for name in names}
_MODULES: Final = {module.partition(".")[0] for module in _NAMES} | {"interfaces"}


def __getattr__(name: str) -> Any:
    """A name of L{__all__}, or a module of the package (PEP 562)."""
    home = _HOMES.get(name)
    if home is not None:
        found = getattr(import_module(f"{__name__}.{home}"), name)
    elif name in _MODULES:
        found = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
