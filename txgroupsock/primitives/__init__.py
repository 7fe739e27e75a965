"""
LIVE555's socket functions under their own names, on plain sockets.

No Twisted, no threads, no globals.  C{docs/live555.md} maps every LIVE555 name to the one
here and says what differs.
"""

from txgroupsock.primitives.ancillary import Ancillary, ancillaryFor
from txgroupsock.primitives.arrival import (
    Arrival,
    receiveArrival,
    receiveDestinationReport,
    recordArrivals,
    recordDestinationErrors,
)
from txgroupsock.primitives.buffers import (
    BufferSize,
    getReceiveBufferSize,
    getSendBufferSize,
    increaseReceiveBufferTo,
    increaseSendBufferTo,
    setReceiveBufferTo,
    setSendBufferTo,
)
from txgroupsock.primitives.connectionstate import ConnectionState, getConnectionState
from txgroupsock.primitives.destination import Destination, DestinationStatistics
from txgroupsock.primitives.environment import Environment, NoReuse
from txgroupsock.primitives.errors import (
    AddressError,
    GroupsockError,
    NotSupportedHere,
    SocketOptionError,
    SocketSetupError,
    TransferError,
    UnknownInterface,
)
from txgroupsock.primitives.flow import Flow
from txgroupsock.primitives.io import PeerClosed, Received, getSourcePort, readSocket, writeSocket
from txgroupsock.primitives.keepalive import (
    KeepAlive,
    clearSocketKeepAlive,
    getSocketKeepAlive,
    setSocketKeepAlive,
)
from txgroupsock.primitives.membership import (
    getSourceFilter,
    setSourceFilter,
    socketBlockSource,
    socketJoinGroup,
    socketJoinGroupSSM,
    socketLeaveGroup,
    socketLeaveGroupSSM,
    socketUnblockSource,
)
from txgroupsock.primitives.networkinterface import (
    InterfaceLike,
    NetworkInterface,
    findInterface,
    interfaceIndex,
    listInterfaces,
)
from txgroupsock.primitives.options import (
    bindToDevice,
    getMulticastInterface,
    getMulticastLoop,
    getMulticastTTL,
    ignoreSigPipeOnSocket,
    makeSocketBlocking,
    makeSocketNonBlocking,
    setMulticastInterface,
    setMulticastLoop,
    setMulticastTTL,
    setReuse,
)
from txgroupsock.primitives.ouraddress import (
    chooseRandomIPv4SSMAddress,
    chooseRandomIPv6SSMAddress,
    ourIPv4Address,
    ourIPv6Address,
    weHaveAnIPAddress,
    weHaveAnIPv4Address,
    weHaveAnIPv6Address,
)
from txgroupsock.primitives.refresh import (
    forgetMembership,
    memberInterface,
    mostSenders,
    refreshMembership,
    rejoin,
)
from txgroupsock.primitives.sockaddr import (
    IPAddress,
    SocketAddress,
    fromSocketAddress,
    isSSM,
    parseAddress,
    parseGroup,
    toSocketAddress,
)
from txgroupsock.primitives.sockets import setupDatagramSocket, setupStreamSocket
from txgroupsock.primitives.sourcefilter import SourceFilter
from txgroupsock.primitives.subscription import Membership, MembershipError

__all__ = [
    "AddressError",
    "Ancillary",
    "Arrival",
    "BufferSize",
    "ConnectionState",
    "Destination",
    "DestinationStatistics",
    "Environment",
    "Flow",
    "GroupsockError",
    "IPAddress",
    "InterfaceLike",
    "KeepAlive",
    "Membership",
    "MembershipError",
    "NetworkInterface",
    "NoReuse",
    "NotSupportedHere",
    "PeerClosed",
    "Received",
    "SocketAddress",
    "SocketOptionError",
    "SocketSetupError",
    "SourceFilter",
    "TransferError",
    "UnknownInterface",
    "ancillaryFor",
    "bindToDevice",
    "chooseRandomIPv4SSMAddress",
    "chooseRandomIPv6SSMAddress",
    "clearSocketKeepAlive",
    "findInterface",
    "forgetMembership",
    "fromSocketAddress",
    "getConnectionState",
    "getMulticastInterface",
    "getMulticastLoop",
    "getMulticastTTL",
    "getReceiveBufferSize",
    "getSendBufferSize",
    "getSocketKeepAlive",
    "getSourceFilter",
    "getSourcePort",
    "ignoreSigPipeOnSocket",
    "increaseReceiveBufferTo",
    "increaseSendBufferTo",
    "interfaceIndex",
    "isSSM",
    "listInterfaces",
    "makeSocketBlocking",
    "makeSocketNonBlocking",
    "memberInterface",
    "mostSenders",
    "ourIPv4Address",
    "ourIPv6Address",
    "parseAddress",
    "parseGroup",
    "readSocket",
    "receiveArrival",
    "receiveDestinationReport",
    "recordArrivals",
    "recordDestinationErrors",
    "refreshMembership",
    "rejoin",
    "setMulticastInterface",
    "setMulticastLoop",
    "setMulticastTTL",
    "setReceiveBufferTo",
    "setReuse",
    "setSendBufferTo",
    "setSocketKeepAlive",
    "setSourceFilter",
    "setupDatagramSocket",
    "setupStreamSocket",
    "socketBlockSource",
    "socketJoinGroup",
    "socketJoinGroupSSM",
    "socketLeaveGroup",
    "socketLeaveGroupSSM",
    "socketUnblockSource",
    "toSocketAddress",
    "weHaveAnIPAddress",
    "weHaveAnIPv4Address",
    "weHaveAnIPv6Address",
    "writeSocket",
]
