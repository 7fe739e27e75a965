"""LIVE555's Groupsock: one incoming group, many destinations, and what went through."""

from txgroupsock.groupsock.destinations import SessionDestination
from txgroupsock.groupsock.groupsock import Groupsock
from txgroupsock.groupsock.interfaces import IGroupsock
from txgroupsock.groupsock.lookuptable import GroupsockLookupTable
from txgroupsock.groupsock.statistics import GroupsockStatistics, Traffic

__all__ = [
    "Groupsock",
    "GroupsockLookupTable",
    "GroupsockStatistics",
    "IGroupsock",
    "SessionDestination",
    "Traffic",
]
