"""Tells ``twistd`` and ``serverFromString`` about txgroupsock; imports no reactor."""

from twisted.application.service import ServiceMaker

from txgroupsock.ports.endpoints import KeepAliveParser

groupsockRelay = ServiceMaker(
    "groupsock relay",
    "txgroupsock.relay.tap",
    "Relay UDP multicast and unicast streams.",
    "groupsock-relay",
)
keepAliveEndpoint = KeepAliveParser()
