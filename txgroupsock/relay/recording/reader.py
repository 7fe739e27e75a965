"""
Capture files, read: pcap and pcapng, as tcpdump, Wireshark and this relay write them.

pcap is draft-ietf-opsawg-pcap, pcapng draft-ietf-opsawg-pcapng.  Of either the UDP datagrams are
given, one by one; the rest is skipped and counted.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from txgroupsock.relay.recording.blocks import Torn, framesIn
from txgroupsock.relay.recording.frames import LINK_TYPES, Skipped, datagramIn
from txgroupsock.relay.recording.recorded import CaptureError, Recorded

__all__ = ["Capture", "CaptureError", "Recorded", "readDatagrams"]


def readDatagrams(path: str | os.PathLike[str]) -> Capture:
    """
    The UDP datagrams of a capture file, in the order of the file.

    Nothing is read yet: that is done, and its errors are raised, while they are taken.
    """
    return Capture(path)


class Capture:
    """
    A capture file.  To iterate is to read it from its beginning, 64 KiB at a time; any number of
    times, one after the other.

    @ivar path: of the file.
    @ivar tear: where the file is torn or damaged, and how, in words: C{"at byte 1,316 of
        news.pcap it ends within a record"}.  What is before that has been given, what may be after
        it is not.  L{None} as long as nothing is wrong; reading anew forgets it.
    @ivar skipped: frames that gave no datagram since reading began, by reason: C{"not UDP"};
        C{"fragment"}, of a datagram in several IP packets; C{"truncated"}, when it was captured
        (C{tcpdump -s 0} captures all); C{"malformed"}; C{"no time"}, of pcapng's simple packet
        blocks; C{"link type N"}, one that cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.tear: str | None = None
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Recorded]:
        """
        Each datagram.

        @raise CaptureError: the file cannot be opened, or it is no capture.
        """
        self.tear = None
        self.skipped.clear()
        try:
            # Piece by piece: a file may be larger than memory.
            with open(self.path, "rb", buffering=1 << 16) as file:
                yield from self._datagrams(framesIn(file, self.path))
        except Torn as torn:
            self.tear = str(torn)
        except OSError as error:
            why = error.strerror or str(error)
            raise CaptureError(f"{self.path} cannot be read: {why}") from error

    def _datagrams(self, frames: Iterator[tuple[int, int, bytes, int]]) -> Iterator[Recorded]:
        skipped = self.skipped
        for time, linkType, frame, length in frames:
            if time < 0:
                skipped["no time"] += 1
            elif linkType not in LINK_TYPES:
                skipped[f"link type {linkType}"] += 1
            else:
                try:
                    source, destination, payload = datagramIn(linkType, frame, length)
                except Skipped as why:
                    skipped[str(why)] += 1
                else:
                    yield Recorded(time, source, destination, payload)
