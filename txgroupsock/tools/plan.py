"""What is to be sent, where to, and how."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from attrs import define

from txgroupsock.relay.models.udp import OutputModel
from txgroupsock.teststream.player import Source, TimedSource
from txgroupsock.teststream.stream import TestStream
from txgroupsock.tools.recording import Recording, Replay, inRTP, limited, looped
from txgroupsock.tools.tsfile import TSFile


@define
class SendPlan:
    """
    @ivar outputs: where to.
    @ivar recording: what is played; L{None} for a test stream.
    @ivar rate: of a test stream, datagrams a second.
    @ivar size: of a test stream, bytes of a datagram.
    @ivar count: most datagrams; L{None} for all.
    @ivar seconds: how long, at most; L{None} for all.
    @ivar isLooped: whether a recording is played again and again.
    @ivar isRTP: whether it is sent as RTP.
    @ivar speed: seconds of a recording that are played in one second.
    """

    outputs: tuple[OutputModel, ...]
    recording: Recording | None = None
    rate: float = 1000.0
    size: int = 1316
    count: int | None = None
    seconds: float | None = None
    isLooped: bool = False
    isRTP: bool = False
    speed: float = 1.0
    _stream: TestStream | None = None

    def makeSource(self) -> Source:
        """
        What a player is to play; a file is opened, and read until its first datagram is known.

        @raise SourceError: it cannot be read, or is not what it has to be.
        """
        recording = self.recording
        if recording is None:
            self._stream = TestStream(self.rate, self.size, self._total())
            return self._stream
        datagrams = looped(recording) if self.isLooped else iter(recording)
        if self.count is not None or self.seconds is not None:
            seconds = None if self.seconds is None else self.seconds * self.speed
            datagrams = limited(datagrams, self.count, seconds)
        if self.isRTP:
            ssrc, start = secrets.randbits(32), secrets.randbits(32)
            datagrams = inRTP(datagrams, ssrc, secrets.randbits(16), start)
        return TimedSource(datagrams, self._progressOf(recording))

    def _progressOf(self, recording: Recording) -> Callable[[], float | None]:
        """What of a file has been read tells how far it is, unless it ends elsewhere."""
        isWhole = not self.isLooped and self.count is None and self.seconds is None
        return (lambda: recording.progress) if isWhole else lambda: None

    def _total(self) -> int:
        """Of a test stream; 0 for any number."""
        ends = [] if self.count is None else [self.count]
        if self.seconds is not None:
            ends.append(max(1, round(self.seconds * self.rate)))
        return min(ends, default=0)

    def notes(self) -> list[str]:
        """What there is to say about a file, once it has been played."""
        found = []
        recording = self.recording
        if isinstance(recording, TSFile):
            if recording.skipped:
                found.append(f"{recording.skipped:,} bytes were in no packet, and were not sent")
        elif isinstance(recording, Replay):
            if recording.tear:
                found.append(f"the capture is torn: {recording.tear}; what is before was sent")
            if recording.others and recording.flow is not None:
                host, port = recording.flow
                found.append(
                    f"{recording.others:,} datagrams did not go to {host} port {port} and were "
                    "left out; --flow ADDRESS:PORT chooses others"
                )
        return found

    def toJSON(self) -> dict[str, Any]:
        """By name, as docs/tools.md has it."""
        recording = self.recording
        if recording is None:
            stream = self._stream
            return {
                "kind": "test",
                "stream": None if stream is None else stream.stream.hex(),
                "rate": self.rate,
                "size": self.size,
                "total": (stream.total or None) if stream is not None else None,
            }
        common = {"path": recording.path, "looped": self.isLooped}
        if isinstance(recording, Replay):
            flow = None if recording.flow is None else list(recording.flow)
            return {
                "kind": "replay",
                "paths": list(recording.paths),
                "looped": self.isLooped,
                "speed": self.speed,
                "flow": flow,
                "others": recording.others,
                "tear": recording.tear,
            }
        if isinstance(recording, TSFile):
            return {
                "kind": "ts",
                **common,
                "rtp": self.isRTP,
                "skipped": recording.skipped,
                "discontinuities": recording.discontinuities,
            }
        return {"kind": "file", **common, "rtp": self.isRTP}
