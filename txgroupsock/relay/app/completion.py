"""What a shell can complete of the command line, by Twisted's means, which know zsh."""

from __future__ import annotations

import os

from twisted.python.usage import CompleteFiles, CompleteList, Completer, Completions

from txgroupsock.relay.config.document import ADMIN_ENDPOINT, VIEWERS_ENDPOINT
from txgroupsock.relay.engine.model import MOST_WORKERS

FROM = (
    "udp://GROUP:PORT?interface=NAME",
    "udp://SOURCE@GROUP:PORT?interface=NAME",
    "udp://:PORT",
)
TO = (
    "udp://HOST:PORT",
    "udp://GROUP:PORT?interface=NAME&ttl=N",
)
# What a file has, too.
_GIVEN = ("from", "to", "merge", "failover", "viewers", "allow", "admin", "health")


def completions() -> Completions:
    """Files, numbers and the shapes of URLs; and what excludes what."""
    return Completions(
        multiUse=["from", "to", "merge", "failover", "allow", "doctor"],
        mutuallyExclusive=[
            *[("config", other) for other in _GIVEN],
            *[("demo", other) for other in (*_GIVEN, "config", "check", "workers")],
        ],
        optActions={
            "admin": shapes((ADMIN_ENDPOINT,), "endpoint"),
            "allow": shapes(("239.0.0.0/8?interface=NAME",), "rule"),
            "config": CompleteFiles("*.toml", descr="configuration file"),
            "demo": Completer(descr="seconds"),
            "doctor": shapes(FROM, "URL"),
            "from": shapes(FROM, "URL"),
            "seconds": Completer(descr="seconds"),
            "to": shapes(TO, "URL"),
            "viewers": shapes((VIEWERS_ENDPOINT,), "endpoint"),
            "workers": _workers,
        },
    )


def shapes(texts: tuple[str, ...], what: str) -> CompleteList:
    """Completes to one of some texts, which stand for what they look like."""
    # zsh takes a colon for the end of the list, and what is in it for words of its own.
    quoted = ["'{}'".format(each.replace(":", r"\:")) for each in texts]
    return CompleteList(quoted, descr=what)


def _workers() -> CompleteList:
    cores = min(os.cpu_count() or 1, MOST_WORKERS)
    return CompleteList([str(each) for each in range(1, cores + 1)], descr="processes")
