"""Source-specific multicast, keep-alive TCP and a stream relay for Twisted."""

from txgroupsock.destinations import SessionDestination
from txgroupsock.groupsock import Groupsock
from txgroupsock.lookuptable import GroupsockLookupTable
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
from txgroupsock.relay.plan import RelayModel
from txgroupsock.relay.relay import Relay
from txgroupsock.relay.route import Route
from txgroupsock.relay.stage import Stage
from txgroupsock.relay.url import URLError
from txgroupsock.traffic import GroupsockStatistics, Traffic

__version__ = "0.1.0"

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
