"""Tells ``twistd`` and ``serverFromString`` about txgroupsock; imports no reactor."""

from twisted.application.service import ServiceMaker

from txgroupsock.ports.endpoints import KeepAliveParser

groupsockRelay = ServiceMaker(
    "groupsock relay",
    "txgroupsock.relay.app.tap",
    "Relay UDP multicast and unicast streams.",
    "groupsock-relay",
)
groupsockSend = ServiceMaker(
    "groupsock send",
    "txgroupsock.tools.send",
    "Send a test stream, a transport stream or a capture.",
    "groupsock-send",
)
groupsockReceive = ServiceMaker(
    "groupsock receive",
    "txgroupsock.tools.receive",
    "Receive a stream and tell what is lost, late or reordered.",
    "groupsock-receive",
)
keepAliveEndpoint = KeepAliveParser()
