"""Recording of routes: capture files, written as datagrams pass, and read."""

from txgroupsock.relay.recording.files import Keeping
from txgroupsock.relay.recording.reader import Capture, CaptureError, Recorded, readDatagrams
from txgroupsock.relay.recording.recorder import Recorder
from txgroupsock.relay.recording.ring import DumpError, DumpHook, Ring

__all__ = [
    "Capture",
    "CaptureError",
    "DumpError",
    "DumpHook",
    "Keeping",
    "Recorded",
    "Recorder",
    "Ring",
    "readDatagrams",
]
