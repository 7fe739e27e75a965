"""A service manager's end of sd_notify(3), independent of systemd."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest
from attrs import frozen

from tests.relay.support import SECONDS
from tests.starting import readable


@frozen
class Message:
    """
    What came in one datagram.

    @ivar values: its lines.
    @ivar pid: who sent it, as the kernel says.
    @ivar uid: as which user.
    """

    values: dict[str, str]
    pid: int
    uid: int


class Manager:
    """A socket for anybody to send to, as systemd's is."""

    def __init__(self) -> None:
        # Not below tmp_path, into which only its owner may look; nor may a path be long.
        self._folder = tempfile.TemporaryDirectory(prefix="notify@")
        os.chmod(self._folder.name, 0o755)
        self.address = str(Path(self._folder.name) / "socket")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(self.address)
        os.chmod(self.address, 0o777)

    def __enter__(self) -> Manager:  # noqa: PYI034 - Self is new in Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()
        self._folder.cleanup()

    def through(self, watchdog: float | None = None) -> str:
        """Python that sets the variables which systemd would, in the process that runs it."""
        lines = [f"os.environ['NOTIFY_SOCKET'] = {self.address!r}"]
        if watchdog is not None:
            lines.append(f"os.environ['WATCHDOG_USEC'] = '{watchdog * 1e6:.0f}'")
            lines.append("os.environ['WATCHDOG_PID'] = str(os.getpid())")
        return "\n".join(lines)

    def take(self, seconds: float = 3 * SECONDS) -> Message:
        """The next message."""
        if not self.hears(seconds):
            pytest.fail("the manager hears nothing")
        data, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(12))
        pid, uid, _ = struct.unpack("3i", ancillary[0][2])
        lines = (line.split("=", 1) for line in data.decode().split("\n"))
        return Message(dict(lines), pid, uid)

    def takeUntil(self, name: str) -> Message:
        """The next message that says this, among others."""
        deadline = time.monotonic() + 3 * SECONDS
        while name not in (message := self.take(deadline - time.monotonic())).values:
            pass
        return message

    def hears(self, seconds: float = 0.0) -> bool:
        """Whether there is a message, or comes one in this time."""
        return bool(readable([self.socket], seconds))

    def drain(self) -> list[Message]:
        """All messages that there are."""
        return list(self._there())

    def _there(self) -> Iterator[Message]:
        while self.hears():
            yield self.take()
