"""Source-specific multicast, keep-alive TCP and a stream relay for Twisted."""

from txgroupsock.ports import GroupsockReactor, JoinError, PortStatistics, UDPPort
from txgroupsock.primitives import (
    AddressError,
    GroupsockError,
    Membership,
    MembershipError,
    NetworkInterface,
    TransferError,
    UnknownInterface,
    findInterface,
    listInterfaces,
)
from txgroupsock.primitives.run import Run
from txgroupsock.relay.route import Route
from txgroupsock.relay.url import URLError

__version__ = "0.1.0"

__all__ = [
    "AddressError",
    "GroupsockError",
    "GroupsockReactor",
    "JoinError",
    "Membership",
    "MembershipError",
    "NetworkInterface",
    "PortStatistics",
    "Route",
    "Run",
    "TransferError",
    "UDPPort",
    "URLError",
    "UnknownInterface",
    "__version__",
    "findInterface",
    "listInterfaces",
]
