"""Tells ``twistd`` about txgroupsock; everything else is imported only when it is used."""

from twisted.application.service import ServiceMaker

groupsockRelay = ServiceMaker(
    "groupsock relay",
    "txgroupsock.relay.tap",
    "Relay UDP multicast and unicast streams.",
    "groupsock-relay",
)
