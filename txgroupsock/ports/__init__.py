"""Sockets on a reactor."""

from txgroupsock.ports.endpoints import KeepAliveParser
from txgroupsock.ports.keepalive import TransportKeepAlive
from txgroupsock.ports.multicast import JoinError
from txgroupsock.ports.reactor import GroupsockReactor
from txgroupsock.ports.statistics import PortStatistics
from txgroupsock.ports.udp import UDPPort

__all__ = [
    "GroupsockReactor",
    "JoinError",
    "KeepAliveParser",
    "PortStatistics",
    "TransportKeepAlive",
    "UDPPort",
]
