"""
The keys of a configuration file.

Another key is another line here, and a place in the model for its value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from txgroupsock.relay.config.health import HEALTH, ROUTE_HEALTH
from txgroupsock.relay.config.kinds import (
    Amount,
    Choice,
    Flag,
    Key,
    Kind,
    Name,
    Passwords,
    Table,
    Tables,
    Texts,
    URLs,
    Whole,
)
from txgroupsock.relay.config.recording import RECORD, Folder
from txgroupsock.relay.config.redundancy import FAILOVER, MERGE, LegURLs
from txgroupsock.relay.engine.model import MOST_WORKERS
from txgroupsock.relay.http.endpoint import endpointProblem
from txgroupsock.relay.models.quantity import SIZES, TIMES, Quantity
from txgroupsock.relay.viewers.access import tokenProblem
from txgroupsock.relay.viewers.allowlist import AllowError, AllowRule

_HOST = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


def _ruleProblem(text: str) -> str | None:
    try:
        AllowRule.parse(text)
    except AllowError as error:
        return str(error)
    return None


def _folderProblem(text: str) -> str | None:
    return next((why for _, why in Folder().check(text, ())), None)


def _hostProblem(text: str) -> str | None:
    if _HOST.fullmatch(text):
        return None
    return f"{text!r} is not HOST or HOST:PORT, such as alarms.example or [::1]:9000"


ENDPOINTS = Texts("an endpoint or a list of endpoints", "an endpoint", endpointProblem)
_TOKENS = Texts("a token or a list of tokens", "a token", tokenProblem)
_TIME = Amount(Quantity(TIMES, 0, 86400, 'a time, such as "5s" or "50ms"'))
_LONGER = Amount(Quantity(TIMES, 0.001, 86400, 'a time of 1ms or more, such as "5s"'))
_COUNT = Whole(1, 1_000_000)


def _size(least: int) -> Amount:
    return Amount(Quantity(SIZES, least, 2**30, f'a size of {least} bytes or more, such as "2MiB"'))


ROUTE = Table(
    [
        Key(
            "name",
            Name(200),
            "What it is called in the log and wherever else it is shown; each route has its own. "
            "Left out, it is the URL of its input.",
        ),
        Key(
            "from",
            LegURLs(),
            "Its input: udp://[source@]address:port[?interface=NAME&latency=TIME&refresh=TIME], or "
            "a list of these that differ in their source only; with merge or failover, a list of "
            "legs, each a URL or such a list.",
            isRequired=True,
        ),
        Key(
            "to",
            URLs(),
            "Its outputs, each of which gets everything: "
            "udp://[source@]address:port[?interface=NAME&ttl=N&dscp=N&rate=N].",
        ),
        Key(
            "merge",
            MERGE,
            "Makes one stream of several copies, each datagram once and in order, whichever leg "
            "has it (SMPTE ST 2022-7).",
        ),
        Key(
            "failover",
            FAILOVER,
            "Takes the first leg that is good, in the order of from.",
        ),
        Key(
            "viewers",
            Choice(["plain", "rtp"]),
            "Offers its input to viewers, as /NAME: the payload of each datagram, or of the RTP "
            "packet in it.",
        ),
        Key(
            "enabled",
            Flag(),
            "Whether it is run; true unless told otherwise. It has to be right in any case.",
        ),
        Key(
            "health",
            ROUTE_HEALTH,
            "Whether its health is looked at, and what is other for it than in [health]; true if "
            "there is that, and else false.",
        ),
        Key("record", RECORD, "Records what it receives to files; see docs/recording.md."),
    ],
    oneOf=("to", "viewers", "record"),
)

_TCP = Table(
    [
        Key(
            "listen",
            ENDPOINTS,
            "Endpoints, as Twisted's serverFromString takes them.",
            isRequired=True,
        ),
        Key(
            "stream",
            Name(500),
            "What every connection gets: the name of a route that has viewers, or the URL of an "
            "input.",
            isRequired=True,
        ),
        Key(
            "form",
            Choice(["plain", "rtp", "framed"]),
            "What viewers get of each datagram of a URL: its payload, the payload of the RTP "
            "packet in it, or its payload after its length in 16 bits (RFC 4571).",
        ),
    ]
)


def _access(what: str) -> Sequence[Key]:
    return [
        Key("tokens", _TOKENS, f"Who shows one of these may {what}."),
        Key("users", Passwords(), f"Names and passwords; who has one of them may {what}."),
    ]


LIMITS: dict[str, Kind] = {
    "viewers": _COUNT,
    "viewersPerChannel": _COUNT,
    "viewersPerAddress": Whole(0, 1_000_000),
    "channels": _COUNT,
    "connections": _COUNT,
    "backlog": _size(0),
    "sendBuffer": _size(4096),
    "blockSize": _size(1),
    "blockTime": _TIME,
    "lingerTime": _TIME,
    "stallTime": _LONGER,
    "headTime": _LONGER,
}
"""The fields of L{Limits <txgroupsock.relay.viewers.Limits>}, by name."""

_VIEWERS = Table(
    [
        Key(
            "listen",
            ENDPOINTS,
            "Where to listen for HTTP, as Twisted's serverFromString takes it; left out, "
            "tcp:8080:interface=127.0.0.1.",
        ),
        Key(
            "allow",
            Texts("a rule or a list of rules", "a rule", _ruleProblem),
            "Which groups may be asked for by address: [SOURCES@]GROUPS[:PORT[-PORT]]"
            "[?interface=NAME], with networks for both. Left out, none.",
        ),
        *_access("watch"),
        Key("tcp", Tables("viewers.tcp", _TCP), "Streams that are given without a request."),
        Key(
            "limits",
            Table([Key(name, kind, "See docs/viewers.md.") for name, kind in LIMITS.items()]),
            "How much there is for viewers, at most.",
        ),
    ]
)
_ADMIN = Table(
    [
        Key(
            "listen",
            ENDPOINTS,
            "Where to listen for HTTP, as Twisted's serverFromString takes it; left out, "
            "tcp:8088:interface=127.0.0.1.",
        ),
        Key(
            "tokens",
            _TOKENS,
            "Who shows one of these may change routes, and look at everything. Left out, nothing "
            "can be changed by HTTP.",
        ),
        Key(
            "users",
            Passwords(),
            "Names and passwords; if there are any, who has none of them may not look. Left out, "
            "everybody may who can connect.",
        ),
        Key(
            "recordingFolders",
            Texts("a folder or a list of folders", "a folder", _folderProblem),
            "Where, and in folders within which, routes of the API may be recorded to. Left out, "
            "nowhere.",
        ),
        Key(
            "hookHosts",
            Texts("a host or a list of hosts", "a host", _hostProblem),
            "To which hosts, HOST or HOST:PORT, routes of the API may have alarms posted. Left "
            "out, to none.",
        ),
    ]
)
FILE = Table(
    [
        Key(
            "workers",
            Whole(1, MOST_WORKERS),
            "How many processes to share the routes out among; takes effect when the relay starts.",
        ),
        Key("route", Tables("route", ROUTE), "What goes from where to where."),
        Key(
            "health",
            HEALTH,
            "Has the health of every route looked at, with these limits; see docs/health.md.",
        ),
        Key("viewers", _VIEWERS, "Serves streams to viewers by HTTP and TCP."),
        Key("admin", _ADMIN, "Serves the status page, the JSON API and metrics by HTTP."),
    ],
    oneOf=("route", "viewers", "admin"),
)
