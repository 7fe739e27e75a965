"""What the path of a request names: a group, or a stream by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.models.url import StreamURL, URLError
from txgroupsock.relay.viewers.model import Form, StreamModel

_FORMS = {b"udp": Form.PLAIN, b"rtp": Form.RTP}

# Addresses and a port, and nothing else: no name to look up, no scope, no option.
_ADDRESS = re.compile(rb"[0-9A-Fa-f.:@\[\]]{1,200}")


class NoGroup(ValueError):
    """A path names nothing that could be watched; the message is for whoever asked."""


def streamOf(segments: Sequence[bytes]) -> StreamModel | None:
    """
    The group that a path names, as in C{/udp/[source@]group:port} or C{/rtp/...}.

    @param segments: of the path, each with its percent-encoding undone, once.
    @return: L{None} if it has another shape.
    @raise NoGroup: it has this shape, and names none.
    """
    if len(segments) != 2 or segments[0] not in _FORMS:
        return None
    kind, address = segments
    if _ADDRESS.fullmatch(address) is None:
        raise NoGroup("the address has the shape [source@]group:port, with IPv6 in brackets")
    try:
        url = StreamURL.parse(f"udp://{address.decode('ascii')}")
        wanted = InputModel.of([url])
    except URLError as error:
        raise NoGroup(error.problem) from None
    if not wanted.isMulticast:
        raise NoGroup(f"{wanted.address} is not a multicast group")
    return StreamModel(wanted.received, _FORMS[kind])
