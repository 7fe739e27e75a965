"""Where to listen, as an operator writes it; what is wrong with that is said in words."""

from __future__ import annotations

import re
from typing import Any, Final

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

UNIX_MODE: Final = "660"
"""Of UNIX sockets: for who runs the relay, and for its group."""

_UNIX = re.compile("unix:", re.IGNORECASE)
_MODE = re.compile(r":mode=")


def serverEndpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """
    The endpoint that a string names: what C{serverFromString} gives; but a UNIX socket is not
    for everybody on this host unless C{mode=} says so.

    @raise ValueError: there is no such thing.
    """
    wanted = text
    if _UNIX.match(text) and not _MODE.search(text):
        wanted = f"{text}:mode={UNIX_MODE}"
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, wanted)
    except (LookupError, AttributeError) as error:
        if not isFromSystemd(text):
            raise ValueError(f"{text}: {error}") from error
        raise ValueError(
            f"{text}: systemd handed over no such socket; its unit ending in .socket has "
            "ListenStream=, and FileDescriptorName= for name= here; domain= is INET, INET6 or UNIX"
        ) from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{text}: {error}") from error
    return endpoint


def isFromSystemd(text: str) -> bool:
    """Whether an endpoint, or the one in it, is a socket that systemd opened."""
    return "systemd:" in text.replace("\\", "")


def endpointProblem(text: str) -> str | None:
    """What is wrong with an endpoint, as far as can be told without a reactor and descriptors."""
    if isFromSystemd(text) or text.startswith("keepalive:"):
        return None
    try:
        serverFromString(None, text)
    except (ValueError, TypeError, LookupError) as error:
        return (
            f"{text!r} is no endpoint ({error}); it is one of Twisted's, such as "
            "tcp:8080:interface=127.0.0.1"
        )
    except OSError:  # of a certificate, which may be on the machine that this is for
        return None
    return None
