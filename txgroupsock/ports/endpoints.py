r"""Endpoint strings: C{keepalive:tcp\:8080:idle=60:interval=10:count=3:userTimeout=30}."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.endpoints import (
    ProcessEndpoint,
    StandardIOEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    clientFromString,
    serverFromString,
)
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer

from txgroupsock.ports.reactor import GroupsockReactor
from txgroupsock.primitives import KeepAlive, SocketOptionError

_OPTIONS: dict[str, Callable[[str], float]] = {
    "idle": int,
    "interval": int,
    "count": int,
    "userTimeout": float,
}
_NO_TCP = (ProcessEndpoint, StandardIOEndpoint, UNIXClientEndpoint, UNIXServerEndpoint)


@implementer(
    IPlugin, IStreamServerEndpointStringParser, IStreamClientEndpointStringParserWithReactor
)
class KeepAliveParser:
    r"""
    Gives the connections of any TCP endpoint keep-alive.

    That endpoint is quoted: C{keepalive:tcp\:8080:idle=60}, C{keepalive:ssl\:443\:...},
    C{keepalive:systemd\:domain=INET\:index=0}, C{keepalive:tls\:example.com\:443}.  It is
    made with a L{GroupsockReactor}, so whatever it listens or connects with has keep-alive.

    The options are those of L{KeepAlive <txgroupsock.KeepAlive>}, with its defaults.  What is
    wrong with a string is a L{ValueError} that says so.
    """

    prefix = "keepalive"

    def parseStreamServer(
        self, reactor: Any, *args: object, **options: object
    ) -> IStreamServerEndpoint:
        """See L{IStreamServerEndpointStringParser}."""
        made: IStreamServerEndpoint = _parse(serverFromString, reactor, args, options)
        return made

    def parseStreamClient(
        self, reactor: Any, *args: object, **options: object
    ) -> IStreamClientEndpoint:
        """See L{IStreamClientEndpointStringParserWithReactor}."""
        made: IStreamClientEndpoint = _parse(clientFromString, reactor, args, options)
        return made


def _parse(
    fromString: Callable[[Any, str], Any],
    reactor: Any,
    args: tuple[object, ...],
    options: dict[str, object],
) -> Any:
    # Twisted takes "tcp\\:8080\\:interface=::1" for an option named "tcp:8080:interface".
    inners = [*map(str, args), *(f"{name}={options[name]}" for name in options if ":" in name)]
    if len(inners) != 1 or not inners[0]:
        raise ValueError(
            f"keepalive:{':'.join(inners)}: it takes one endpoint, with its colons quoted, as in "
            r"keepalive:tcp\:8080:idle=60"
        )
    inner = inners[0]
    keepAlive = keepAliveOf({name: options[name] for name in options if ":" not in name})
    try:
        endpoint = fromString(GroupsockReactor(reactor, keepAlive), inner)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        # What Twisted's parsers raise; a missing argument, for one, is a TypeError.
        raise ValueError(f"keepalive: the endpoint {inner!r} does not do: {error}") from error
    if isinstance(endpoint, _NO_TCP):
        raise ValueError(f"keepalive: {inner!r} has no TCP connections to keep alive")
    return endpoint


def keepAliveOf(options: Mapping[str, object]) -> KeepAlive:
    """
    What the options of a C{keepalive:} endpoint ask for.

    @raise ValueError: one of them is wrong.
    """
    values: dict[str, Any] = {}
    for name, text in options.items():
        convert = _OPTIONS.get(name)
        if convert is None:
            raise ValueError(f"keepalive: no option {name!r}; there are {', '.join(_OPTIONS)}")
        try:
            values[name] = convert(str(text))
        except ValueError:
            kind = "whole number" if convert is int else "number"
            raise ValueError(f"keepalive: {name}={text} is no {kind} of seconds") from None
    try:
        return KeepAlive(**values)
    except SocketOptionError as error:
        raise ValueError(f"keepalive: {error}") from error
