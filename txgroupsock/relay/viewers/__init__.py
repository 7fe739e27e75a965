"""Viewers by HTTP and TCP: one stream for many of them, joined while somebody watches."""

from txgroupsock.relay.viewers.access import Access
from txgroupsock.relay.viewers.allowlist import AllowError, AllowList, AllowRule
from txgroupsock.relay.viewers.change import ViewersChange
from txgroupsock.relay.viewers.channel import Channel
from txgroupsock.relay.viewers.model import Form, Limits, StreamModel, TCPModel, ViewersModel
from txgroupsock.relay.viewers.service import ViewerService
from txgroupsock.relay.viewers.status import ChannelStatus, ViewersStatus, ViewerStatus

__all__ = [
    "Access",
    "AllowError",
    "AllowList",
    "AllowRule",
    "Channel",
    "ChannelStatus",
    "Form",
    "Limits",
    "StreamModel",
    "TCPModel",
    "ViewerService",
    "ViewerStatus",
    "ViewersChange",
    "ViewersModel",
    "ViewersStatus",
]
