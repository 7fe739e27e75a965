"""Health of an input: what its datagrams tell, alarms, and whom to tell of them."""

from txgroupsock.relay.health.alarms import Alarm
from txgroupsock.relay.health.figures import HealthFigures
from txgroupsock.relay.health.hooks import CommandHook, Hook, URLHook
from txgroupsock.relay.health.model import HealthModel, HookModel
from txgroupsock.relay.health.rtp import RTPFigures, RTPHealth
from txgroupsock.relay.health.sharedhooks import SharedHooks
from txgroupsock.relay.health.stage import Health
from txgroupsock.relay.health.stream import StreamFigures, StreamHealth
from txgroupsock.relay.health.thresholds import Thresholds
from txgroupsock.relay.health.ts import TSHealth
from txgroupsock.relay.health.tsfigures import PIDFigures, TSFigures

__all__ = [
    "Alarm",
    "CommandHook",
    "Health",
    "HealthFigures",
    "HealthModel",
    "Hook",
    "HookModel",
    "PIDFigures",
    "RTPFigures",
    "RTPHealth",
    "SharedHooks",
    "StreamFigures",
    "StreamHealth",
    "TSFigures",
    "TSHealth",
    "Thresholds",
    "URLHook",
]
