"""
URLs that name streams: C{udp://[source@]address:port[?interface=eth0&ttl=8]}.

Pure: nothing is opened, looked up or resolved here.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from attrs import field, frozen

from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.errors import Restorable
from txgroupsock.relay.models.quantity import BIT_RATES, TIMES, Quantity

_SHAPE = "udp://[source@]address:port[?interface=NAME&...]"
_OPTIONS = ("interface", "latency", "refresh", "ttl", "dscp", "rate")

# Not a general URL parser's: those take the colons of an IPv6 source for those of a password,
# and know no scope in an address (RFC 6874; most people write its % as it is, not as %25).
_URL = re.compile(
    r"(?:(?P<scheme>[^:/?#]*)://)?"
    r"(?:(?P<source>[^/?#]*)@)?"
    r"(?:\[(?P<bracketed>[^][/?#@%]+)(?:%(?:25)?(?P<scope>[^][/?#@]+))?\]|(?P<plain>[\w.-]*))"
    r"(?::(?P<port>[^:/?#]*))?"
    r"/?(?:\?(?P<options>.*))?",
    re.DOTALL,
)


# RFC 2474, RFC 2597 and RFC 3246.
_DSCP_NAME = re.compile("EF|CS(?P<cs>[0-7])|AF(?P<af>[1-4])(?P<drop>[1-3])", re.IGNORECASE)


MOST_REFRESH: Final = 86400.0
"""Seconds."""

MOST_RATE: Final = 1e12
"""Bits per second."""

_LATENCY = Quantity(TIMES, 0, 1, "a time from 0 to 1s, such as 5ms")
_REFRESH = Quantity(
    TIMES, 0, MOST_REFRESH, "a time from 1s to 1440min, such as 60s, or 0 for never"
)
_RATE = Quantity(
    BIT_RATES, 1e3, MOST_RATE, "bits per second, 1k or more, such as 500k, 20M or 1.5G"
)


class URLError(Restorable, ValueError):
    """
    A URL does not name a stream.

    @ivar url: the URL.
    @ivar problem: what is wrong with it, and how to mend it.
    """

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"{url!r}: {problem}")
        self.url = url
        self.problem = problem


@frozen
class StreamURL:
    """
    A stream as its URL names it; whether such a stream can be is not known yet.

    @ivar text: the whole URL.
    @ivar host: an address (IPv6 without brackets and scope), a host name, or C{""} for every
        IPv4 address of this host.
    @ivar port: 1 to 65535.
    @ivar source: the one host that it comes from, or that it is sent from, or C{""}.
    @ivar interface: name, index or address of an interface, or C{""}; what C{interface=} says,
        or the scope of the address.
    @ivar ttl: TTL or hop limit, 1 to 255, or L{None}.
    @ivar dscp: differentiated services code point (RFC 2474), 0 to 63, or L{None}.
    @ivar latency: seconds that datagrams may gather under load, or L{None}.
    @ivar rate: most bits of payload per second, or L{None}.
    @ivar refresh: seconds between two reports of a membership, 0 for none, or L{None}.
    """

    text: str = field(eq=False)
    host: str
    port: int
    source: str = ""
    interface: str = ""
    ttl: int | None = None
    dscp: int | None = None
    latency: float | None = None
    rate: float | None = None
    refresh: float | None = None

    @classmethod
    @checked
    def parse(cls, text: str) -> StreamURL:
        """
        Read a URL.

        @raise URLError: it is not one, or says something that has no meaning here.
        """
        if not unquote(text).isprintable():  # what it names is logged as it is
            raise URLError(text, "it is not plain: no control characters, no halves of characters")
        found = _URL.fullmatch(text)
        if found is None:
            raise URLError(text, f"it does not have the shape {_SHAPE}; IPv6 stands in brackets")
        part = {key: value or "" for key, value in found.groupdict().items()}
        if part["scheme"].lower() != "udp":
            scheme = (
                f"{part['scheme']}:// is not known here" if part["scheme"] else "it has no scheme"
            )
            raise URLError(text, f"{scheme}; the shape is {_SHAPE}")
        source = part["source"]
        if source.startswith("[") and source.endswith("]"):
            source = source[1:-1]
        options = _options(text, part["options"])
        interface = options.get("interface", part["scope"])
        if part["scope"] not in ("", interface):
            raise URLError(
                text,
                f"the scope {part['scope']!r} and interface={interface} differ; leave one out",
            )
        host = part["bracketed"] or part["plain"]
        return cls(
            text,
            host,
            _port(text, part["port"]),
            source,
            interface,
            _ttl(text, options),
            _dscp(text, options),
            _quantity(text, options, "latency", _LATENCY),
            _quantity(text, options, "rate", _RATE),
            _refresh(text, options),
        )


def _port(text: str, value: str) -> int:
    if not value:
        raise URLError(text, f"it has no port; the shape is {_SHAPE}")
    number = _number(value)
    if not 1 <= number <= 65535:
        raise URLError(text, f"port {value} is not a number from 1 to 65535")
    return number


def _options(text: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for each in query.split("&") if query else ():
        key, _, value = each.partition("=")
        if key not in _OPTIONS:
            raise URLError(
                text,
                f"unknown option {key!r}; there are interface, of an input also latency and "
                "refresh, and of an output ttl, dscp and rate",
            )
        if key in options:
            raise URLError(text, f"the option {key!r} is there twice; leave one out")
        if not value:
            raise URLError(text, f"the option {key!r} has no value; give it one, or leave it out")
        options[key] = unquote(value)
    return options


def _ttl(text: str, options: dict[str, str]) -> int | None:
    if "ttl" not in options:
        return None
    number = _number(options["ttl"])
    if not 1 <= number <= 255:
        raise URLError(text, f"ttl={options['ttl']} is not a number from 1 to 255")
    return number


def _dscp(text: str, options: dict[str, str]) -> int | None:
    value = options.get("dscp")
    if value is None:
        return None
    found = _DSCP_NAME.fullmatch(value)
    if found is None:
        number = _number(value)
    elif found["af"]:
        number = 8 * int(found["af"]) + 2 * int(found["drop"])
    else:
        number = 8 * int(found["cs"]) if found["cs"] else 46
    if not 0 <= number <= 63:
        raise URLError(text, f"dscp={value} is not 0 to 63, EF, CS0 to CS7 or AF11 to AF43")
    return number


def _refresh(text: str, options: dict[str, str]) -> float | None:
    seconds = _quantity(text, options, "refresh", _REFRESH)
    if seconds is not None and 0 < seconds < 1:
        raise URLError(text, f"refresh={options['refresh']} is not {_REFRESH.words}")
    return seconds


def _quantity(text: str, options: dict[str, str], name: str, kind: Quantity) -> float | None:
    value = options.get(name)
    if value is None:
        return None
    try:
        return kind.parse(value)
    except ValueError as error:
        raise URLError(text, f"{name}={error}") from None


def _number(text: str) -> int:
    """A short number of plain digits, or -1: int() also takes signs, spaces and underscores."""
    return int(text) if re.fullmatch("[0-9]{1,5}", text) else -1
