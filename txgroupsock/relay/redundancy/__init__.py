"""Inputs made of several legs: one stream from copies that come on several paths."""

from txgroupsock.relay.redundancy.boundary import (
    RTPFrame,
    TransportStreamRandomAccess,
    TransportStreamUnit,
)
from txgroupsock.relay.redundancy.failover import Policy
from txgroupsock.relay.redundancy.failoverinput import FailoverInput
from txgroupsock.relay.redundancy.legs import LegStatus
from txgroupsock.relay.redundancy.merged import MergedInput
from txgroupsock.relay.redundancy.merger import Merger
from txgroupsock.relay.redundancy.sequencing import RTP, SequenceField

__all__ = [
    "RTP",
    "FailoverInput",
    "LegStatus",
    "MergedInput",
    "Merger",
    "Policy",
    "RTPFrame",
    "SequenceField",
    "TransportStreamRandomAccess",
    "TransportStreamUnit",
]
