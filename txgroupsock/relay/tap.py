"""C{twistd groupsock-relay}: the command line, and the service that it asks for."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from attrs import evolve
from twisted.application.service import IService, MultiService
from twisted.python import usage

from txgroupsock import __version__
from txgroupsock.interfaces import IRelay
from txgroupsock.relay.config import ConfigurationError, ConfigurationFile
from txgroupsock.relay.plan import MOST_WORKERS, Refusal, RelayModel, RouteRequest
from txgroupsock.relay.reload import ReloadService
from txgroupsock.relay.schema import schemaText
from txgroupsock.relay.service import RelayService, StartError
from txgroupsock.relay.summary import summary


class Options(usage.Options):
    """
    The options of C{twistd groupsock-relay}.

    Mistakes raise L{StartError}, a single line and exit status 1, where twistd would print
    the whole help and exit with 0.
    """

    synopsis = (
        "[options] --config FILE | --from udp://[source@]address:port[?interface=NAME] "
        "--to udp://address:port[?interface=NAME&ttl=N] ..."
    )
    longdesc = (
        "Relays UDP datagrams, unchanged, from an input to any number of outputs, unicast or "
        "multicast, IPv4 or IPv6.  A --from that follows a --to begins another route.  "
        "--from udp://232.1.1.1:5000 receives a group from any source, "
        "udp://10.0.0.1@232.1.1.1:5000 from that source only, and udp://:5000 what is sent to "
        "this host itself.  IPv6 addresses are in brackets, with a scope where they need one: "
        "udp://[fe80::1%eth0]:5000.  An interface is given by name, index or address.  A group "
        "is sent to with a TTL of 1, so it stays on the link, unless ttl= says otherwise.  "
        "SIGUSR1 prints the counters to the log, and so does the end; on SIGHUP, with --config, "
        "the file is read again."
    )

    optFlags = [
        ["check", None, "Print what would run, or everything that is wrong, and exit with 0 or 1."],
    ]
    optParameters = [
        ["config", "c", None, "Take the routes from a TOML file, and again on SIGHUP."],
        [
            "demo",
            None,
            None,
            (
                "Relay a generated test stream on loopback and check what arrives, "
                "for so many seconds or, without =SECONDS, until interrupted."
            ),
        ],
        [
            "workers",
            None,
            None,
            f"Share the routes out among so many processes, 1 to {MOST_WORKERS}.",
        ],
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["routes"] = []  # inputs and outputs of each

    def opt_from(self, url: str) -> None:
        """The URL of an input; repeat for further sources of the same group."""
        if not self["routes"] or self["routes"][-1][1]:
            self["routes"].append(([], []))
        self["routes"][-1][0].append(url)

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"txgroupsock {__version__}")  # noqa: T201 - what it is for
        raise SystemExit(0)

    def opt_schema(self) -> None:
        """Print the JSON schema of the configuration file, for editors, and exit."""
        print(schemaText(), end="")  # noqa: T201 - as above
        raise SystemExit(0)

    def opt_to(self, url: str) -> None:
        """The URL of an output of that input; repeat for further ones."""
        if not self["routes"]:
            self["routes"].append(([], []))
        self["routes"][-1][1].append(url)

    def parseArgs(self, *words: str) -> None:
        """Refuse what belongs to no option."""
        if words:
            raise usage.UsageError(f"{words[0]!r} belongs to no option")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line.

        @raise StartError: it is wrong.
        """
        if options is not None:
            # getopt knows no option whose value may be left out
            options = ["--demo=0" if each == "--demo" else each for each in options]
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            hint = "'twistd groupsock-relay --help' lists the options"
            raise StartError(f"{error}; {hint}") from None

    def postOptions(self) -> None:
        """Check what was given, and make the routes of it."""
        if self["demo"] is not None:
            if self["routes"] or self["config"] is not None:
                raise usage.UsageError(
                    "--demo has streams of its own: leave out --from and --to, and --config"
                )
            if self["check"]:
                raise usage.UsageError("--check is for routes: leave out --demo")
            if self["workers"] is not None:
                raise usage.UsageError("--demo runs in one process: leave out --workers")
            self["demo"] = _seconds(self["demo"])
            return
        given = None if self["workers"] is None else _workers(self["workers"])
        self["relay"] = self._fromFile() if self["config"] is not None else self._fromURLs()
        self["relay"] = evolve(self["relay"], workers=given or self["relay"].workers)
        self["workers"] = self["relay"].workers or 1
        if self["check"]:
            print("\n".join(summary(self["relay"])))  # noqa: T201 - as above
            raise SystemExit(0)

    def _fromFile(self) -> RelayModel:
        if self["routes"]:
            raise usage.UsageError("--config has the routes: leave out --from and --to")
        self["file"] = file = ConfigurationFile.of(self["config"])
        try:
            return file.read()
        except ConfigurationError as error:
            raise StartError(error) from None

    def _fromURLs(self) -> RelayModel:
        for inputs, outputs in self["routes"] or [([], [])]:
            for option, urls in (("from", inputs), ("to", outputs)):
                if not urls:
                    raise usage.UsageError(_missing(option, inputs or outputs))
        refusals: list[Refusal] = []
        routes = [RouteRequest(*each) for each in self["routes"]]
        model = RelayModel.checked(routes, refusals.append)
        if refusals:
            raise StartError("\n".join(str(each.error) for each in refusals))
        return model


def _missing(option: str, there: list[str]) -> str:
    after = f" for {there[-1]}" if there else ""
    return f"--{option} is missing{after}; --demo shows the relay at work"


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        raise usage.UsageError(f"--demo={text}: the seconds to run are a number, such as 10")
    return float(text)


def _workers(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= MOST_WORKERS:
        raise usage.UsageError(
            f"--workers={text}: the number of processes is from 1 to {MOST_WORKERS}"
        )
    if int(text) > 1 and not hasattr(os, "fork"):
        raise usage.UsageError("--workers needs pipes that the reactor can watch: use 1 here")
    return int(text)


def makeService(options: Options) -> IService:
    """What C{twistd groupsock-relay} runs."""
    # twistd has installed the reactor that it was asked for by now, and no sooner.
    from twisted.internet import reactor

    from txgroupsock.relay.demo import DemoService
    from txgroupsock.relay.relay import Relay
    from txgroupsock.relay.workers import Workers

    if options["demo"] is not None:
        return DemoService(reactor, options["demo"])
    if options["workers"] > 1:
        relay: IRelay = Workers(reactor, options["relay"], options["workers"])
    else:
        relay = Relay.of(reactor, options["relay"])
    if "file" not in options:
        return RelayService(reactor, relay)
    # Stopped in the opposite order: nothing is changed any more when the relay closes.
    both = MultiService()
    for each in (RelayService(reactor, relay), ReloadService(reactor, relay, options["file"])):
        each.setServiceParent(both)  # type: ignore[no-untyped-call]
    return both
