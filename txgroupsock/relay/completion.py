"""What a shell can complete of the command line, by Twisted's means, which know zsh."""

from __future__ import annotations

import os

from twisted.python.usage import CompleteFiles, CompleteList, Completer, Completions

from txgroupsock.relay.plan import MOST_WORKERS

FROM = (
    "udp://GROUP:PORT?interface=NAME",
    "udp://SOURCE@GROUP:PORT?interface=NAME",
    "udp://:PORT",
)
TO = (
    "udp://HOST:PORT",
    "udp://GROUP:PORT?interface=NAME&ttl=N",
)


def completions() -> Completions:
    """Files, numbers and the shapes of URLs; and what excludes what."""
    return Completions(
        multiUse=["from", "to"],
        mutuallyExclusive=[
            ("config", "from"),
            ("config", "to"),
            *[("demo", other) for other in ("config", "from", "to", "check", "workers")],
        ],
        optActions={
            "config": CompleteFiles("*.toml", descr="configuration file"),
            "demo": Completer(descr="seconds"),
            "from": _shapes(FROM),
            "to": _shapes(TO),
            "workers": _workers,
        },
    )


def _shapes(urls: tuple[str, ...]) -> CompleteList:
    # zsh takes a colon for the end of the list, and what is in it for words of its own.
    quoted = ["'{}'".format(each.replace(":", r"\:")) for each in urls]
    return CompleteList(quoted, descr="URL")


def _workers() -> CompleteList:
    cores = min(os.cpu_count() or 1, MOST_WORKERS)
    return CompleteList([str(each) for each in range(1, cores + 1)], descr="processes")
