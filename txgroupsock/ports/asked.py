"""What a port has asked of the kernel for its protocol, and takes back."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, Final

from txgroupsock.primitives.batch import coalesceArrivals
from txgroupsock.primitives.constants import UDP_GRO

_MOST_TRAINS: Final = 4096
_ROOM: Final = 256


class Asked:
    """
    The options of a socket that change how it is read.

    They are the socket's, not the descriptor's: who has another descriptor of it, handed on or
    inherited, would read what he does not expect once the port is closed.
    """

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self._undo = ExitStack()
        self._coalesces = False
        self._process = os.getpid()

    def ask(self, setting: Callable[..., None]) -> None:
        """
        Ask for something that this protocol alone needs.

        @param setting: sets an option of the socket that it is given, unless C{wanted} is false.
        @raise GroupsockError: as that raises it.
        """
        self._undo.callback(setting, self._socket, wanted=False)
        setting(self._socket)

    def askForTrains(self) -> None:
        """Ask for trains, from now on: those that wait when that ends would stay trains."""
        self._coalesces = coalesceArrivals(self._socket)

    def takeBack(self) -> None:
        """Take back what the protocol needed, but for trains: another will be asked for."""
        with suppress(OSError):
            self._undo.close()

    def leave(self) -> None:
        """
        Take back everything, when the port is closed.

        Trains at the head of what waits, which none but UDP_GRO can tell from one large datagram,
        are dropped.  A child of the process that opened the port leaves all as it is: its parent
        may go on.
        """
        if self._process != os.getpid():
            self._undo.pop_all()
            return
        self.takeBack()
        if not self._coalesces:
            return
        with suppress(OSError):
            for _ in range(_MOST_TRAINS):
                peek = socket.MSG_PEEK | socket.MSG_DONTWAIT
                _, ancillary, _, _ = self._socket.recvmsg(0, _ROOM, peek)
                if not any(kind == UDP_GRO for _, kind, _ in ancillary):
                    break
                self._socket.recv(1, socket.MSG_DONTWAIT)
        coalesceArrivals(self._socket, wanted=False)
