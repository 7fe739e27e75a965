"""Source-specific multicast, keep-alive TCP and a stream relay for Twisted."""

from txgroupsock.ports import GroupsockReactor, JoinError, PortStatistics, UDPPort

__version__ = "0.1.0"

__all__ = ["GroupsockReactor", "JoinError", "PortStatistics", "UDPPort", "__version__"]
