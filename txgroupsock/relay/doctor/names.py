"""The addresses of host names, asked for all at once, and waited for no longer than is useful."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from txgroupsock.primitives import AddressError, IPAddress, parseAddress
from txgroupsock.primitives.sockaddr import familyOf
from txgroupsock.relay.models.udp import OutputModel

SECONDS: Final = 6.0
"""How long answers may take: what got lost is asked again after 5 (resolv.conf(5))."""

_AT_ONCE: Final = 32

_Asked = tuple[str, int]  # name and family


class Names:
    """
    Looks up where outputs send to, in threads that nobody waits for: a name server that is silent
    can keep each of them for minutes.
    """

    def __init__(
        self,
        outputs: Iterable[OutputModel],
        isStopped: Callable[[], bool] = lambda: False,
        seconds: float = SECONDS,
    ) -> None:
        """
        Begin to ask.

        @param isStopped: whether nobody wants to know any more.
        @param seconds: how long the last answer may take from now on.
        """
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._isStopped = isStopped
        self._found: dict[_Asked, IPAddress | OSError] = {}
        self._changed = threading.Condition()
        asked = dict.fromkeys(_asked(each) for each in outputs if _literal(each) is None)
        self._left = deque(asked)
        for _ in range(min(_AT_ONCE, len(asked))):
            threading.Thread(target=self._ask, daemon=True).start()

    def addressOf(self, model: OutputModel) -> IPAddress:
        """
        What an output sends to; blocks until that is known.

        @raise OSError: the name is not found, or not in time.
        """
        literal = _literal(model)
        if literal is not None:
            return literal
        asked = _asked(model)
        with self._changed:
            while asked not in self._found:
                left = self._deadline - time.monotonic()
                if left <= 0 or self._isStopped():
                    raise OSError(errno.ETIMEDOUT, f"no answer within {self._seconds:g} s")
                self._changed.wait(min(left, 0.1))
            found = self._found[asked]
        if isinstance(found, OSError):
            raise found
        return found

    def _ask(self) -> None:
        while self._left and not self._isStopped():
            try:
                asked = self._left.popleft()
            except IndexError:
                return
            found = _lookedUp(*asked)
            with self._changed:
                self._found[asked] = found
                self._changed.notify_all()


def _literal(model: OutputModel) -> IPAddress | None:
    try:
        return parseAddress(model.host)
    except AddressError:
        return None


def _asked(model: OutputModel) -> _Asked:
    return model.host, 0 if model.source is None else familyOf(model.source)


def _lookedUp(host: str, family: int) -> IPAddress | OSError:
    try:
        found = socket.getaddrinfo(host, None, family, socket.SOCK_DGRAM)
    except UnicodeError:  # a label that is empty or too long
        return OSError(None, "this is no host name")
    except OSError as error:
        return error
    return parseAddress(str(found[0][4][0]))
