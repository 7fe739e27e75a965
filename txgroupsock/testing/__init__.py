"""
For tests of programs that use this package: a network in memory, or several real hosts.

The network in memory is here.  The real hosts, in network namespaces of Linux, are in
L{txgroupsock.testing.lan}, and L{txgroupsock.testing.fixtures} makes pytest fixtures of both.
"""

from txgroupsock.testing.datagram import Datagram, everyNth
from txgroupsock.testing.host import MemoryHost
from txgroupsock.testing.memorysocket import MemorySocket
from txgroupsock.testing.network import MemoryNetwork, MemoryNetworkReactor

__all__ = [
    "Datagram",
    "MemoryHost",
    "MemoryNetwork",
    "MemoryNetworkReactor",
    "MemorySocket",
    "everyNth",
]
