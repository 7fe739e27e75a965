"""Sockets on a reactor."""

from txgroupsock.ports.adapter import StockMulticast
from txgroupsock.ports.endpoints import KeepAliveParser
from txgroupsock.ports.framing import FramedDatagrams, FramedDatagramsFactory
from txgroupsock.ports.interleaved import InterleavedRTSP
from txgroupsock.ports.keepalive import TransportKeepAlive
from txgroupsock.ports.multicast import JoinError
from txgroupsock.ports.reactor import GroupsockReactor
from txgroupsock.ports.rtppair import RTPPair
from txgroupsock.ports.statistics import PortStatistics
from txgroupsock.ports.udp import UDPPort

__all__ = [
    "FramedDatagrams",
    "FramedDatagramsFactory",
    "GroupsockReactor",
    "InterleavedRTSP",
    "JoinError",
    "KeepAliveParser",
    "PortStatistics",
    "RTPPair",
    "StockMulticast",
    "TransportKeepAlive",
    "UDPPort",
]
