"""C{twistd groupsock-relay}: the command line, and the service that it asks for."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NoReturn

from attrs import evolve
from twisted.application.service import IService, MultiService
from twisted.python import usage

from txgroupsock._version import __version__
from txgroupsock.relay.app.completion import completions
from txgroupsock.relay.app.service import RelayService
from txgroupsock.relay.config.document import (
    ADMIN_ENDPOINT,
    VIEWERS_ENDPOINT,
    Configuration,
    WrongDocument,
    configurationOf,
)
from txgroupsock.relay.config.file import ConfigurationError, ConfigurationFile
from txgroupsock.relay.config.positions import KeyPath
from txgroupsock.relay.config.schema import schemaText
from txgroupsock.relay.config.summary import summary
from txgroupsock.relay.engine.interfaces import IRelay
from txgroupsock.relay.engine.model import MOST_WORKERS
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.http.endpoint import fileProblem
from txgroupsock.relay.models.url import URLError
from txgroupsock.relay.threads import PATIENCE, TookTooLong, within


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
        "--merge makes one stream of several --from that bring the same RTP, --failover takes the "
        "first of them that is good.  "
        "--from udp://232.1.1.1:5000 receives a group from any source, "
        "udp://10.0.0.1@232.1.1.1:5000 from that source only, and udp://:5000 what is sent to "
        "this host itself.  IPv6 addresses are in brackets, with a scope where they need one: "
        "udp://[fe80::1%eth0]:5000.  An interface is given by name, index or address.  A group "
        "is sent to with a TTL of 1, so it stays on the link, unless ttl= says otherwise.  "
        "SIGUSR1 prints the counters to the log, and so does the end; on SIGHUP, with --config, "
        "the file is read again."
    )

    optFlags = [
        [
            "health",
            None,
            "Look at the health of every route's input: RTP, transport streams, gaps.",
        ],
        ["check", None, "Print what would run, or everything that is wrong, and exit with 0 or 1."],
    ]
    optParameters = [
        [
            "seconds",
            None,
            None,
            "How long --doctor listens to each stream, such as 10; 2 unless told otherwise.",
        ],
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
        [
            "admin",
            None,
            None,
            f"Serve the status page, the API and metrics here, such as {ADMIN_ENDPOINT}.",
        ],
        [
            "viewers",
            None,
            None,
            f"Serve viewers by HTTP on this endpoint, such as {VIEWERS_ENDPOINT}.",
        ],
    ]

    compData = completions()

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["routes"] = []  # inputs and outputs of each
        self["allow"] = []
        self["redundancy"] = {}  # which of the routes are a merge or a failover
        self["doctor"] = None  # URLs of inputs to examine, besides routes

    def __setitem__(self, name: str, value: object) -> None:
        # Twisted takes the last of several, and says nothing of the others.  That is right for
        # one only, which whoever calls another command line may say again: make demo ARGS=--demo=3
        if name != "demo" and isinstance(value, str) and self.get(name) is not None:
            raise usage.UsageError(f"--{name} is there twice: leave one out")
        super().__setitem__(name, value)

    def opt_from(self, url: str) -> None:
        """The URL of an input; repeat for further sources of the same group, or for legs."""
        if not self["routes"] or self["routes"][-1][1]:
            self["routes"].append(([], []))
        self["routes"][-1][0].append(url)

    def opt_merge(self) -> None:
        """Merge the inputs before this, which bring the same RTP stream, into one."""
        self._makeOne("merge")

    def opt_failover(self) -> None:
        """Take the first of the inputs before this that is good."""
        self._makeOne("failover")

    def _makeOne(self, kind: str) -> None:
        number = len(self["routes"]) - 1
        if number < 0:
            raise usage.UsageError(f"--{kind} is about the --from before it: give these first")
        if self["redundancy"].setdefault(number, kind) != kind:
            raise usage.UsageError("a route has either --merge or --failover: leave out one")

    def opt_doctor(self, url: str) -> None:
        """Say why this stream, or those of all routes, do not arrive or leak, and exit."""
        self["doctor"] = [*(self["doctor"] or ()), *([url] if url else ())]

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

    def opt_allow(self, rule: str) -> None:
        """Groups that viewers may ask for, such as 239.1.0.0/16?interface=eth0; repeatable."""
        self["allow"].append(rule)

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
            options = _withDoctor(options)
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            hint = "'twistd groupsock-relay --help' lists the options"
            raise StartError(f"{error}; {hint}") from None

    def postOptions(self) -> None:
        """Check what was given, and make the routes of it."""
        if self["doctor"] is not None:
            self._postDoctor()
        if self["seconds"] is not None:
            raise usage.UsageError("--seconds is how long --doctor listens: give --doctor, too")
        if self["demo"] is not None:
            self._postDemo()
            return
        given = None if self["workers"] is None else _workers(self["workers"])
        configuration = self._fromFile() if self["config"] is not None else self._fromOptions(given)
        relay = configuration.relay
        configuration = evolve(configuration, relay=evolve(relay, workers=given or relay.workers))
        self["configuration"] = configuration
        if self["check"]:
            _checkFiles(configuration)
            print("\n".join(summary(configuration)))  # noqa: T201 - as above
            raise SystemExit(0)

    def _postDoctor(self) -> NoReturn:
        from txgroupsock.relay.doctor.command import (
            diagnose,
            patientsNamed,
            patientsOf,
            secondsIn,
        )

        for option in ("demo", "check", "viewers", "allow", "admin", "workers", "health"):
            if self[option]:
                raise usage.UsageError(f"--doctor only looks at streams: leave out --{option}")
        try:
            seconds = secondsIn(self["seconds"])
        except ValueError as error:
            raise usage.UsageError(f"--seconds={self['seconds']}: {error}") from None
        urls: list[tuple[list[str], list[str]]] = [([url], []) for url in self["doctor"]]
        if self["config"] is not None and not urls:
            patients = patientsOf(self._fromFile())
        else:
            try:
                redundant = {len(urls) + number for number in self["redundancy"]}
                patients = patientsNamed([*urls, *self["routes"]], redundant)
            except URLError as error:
                raise StartError(error) from None
        if not patients:
            raise usage.UsageError("--doctor needs a URL, --from and --to, or --config")
        lines, status = diagnose(patients, seconds)
        print("\n".join(lines))  # noqa: T201 - as above
        raise SystemExit(status)

    def _postDemo(self) -> None:
        given = ("config", "viewers", "allow", "admin", "health")
        if self["routes"] or any(self[each] for each in given):
            raise usage.UsageError("--demo has streams of its own: leave out routes and services")
        if self["check"]:
            raise usage.UsageError("--check is for routes: leave out --demo")
        if self["workers"] is not None:
            raise usage.UsageError("--demo runs in one process: leave out --workers")
        self["demo"] = _seconds(self["demo"])

    def _fromFile(self) -> Configuration:
        for option in ("routes", "viewers", "allow", "admin", "health"):
            if self[option]:
                raise usage.UsageError(
                    "--config has the routes: leave out --from and --to"
                    if option == "routes"
                    else f"--config has that, too: leave out --{option}"
                )
        self["file"] = file = ConfigurationFile.of(self["config"])
        try:
            return file.readInTime()
        except ConfigurationError as error:
            raise StartError(error) from None

    def _fromOptions(self, workers: int | None) -> Configuration:
        given = {each: self[each] for each in ("viewers", "admin") if self[each] is not None}
        if self["allow"] and "viewers" not in given:
            raise usage.UsageError("--allow is for viewers: give --viewers, too")
        for inputs, outputs in self["routes"] or ([] if given else [([], [])]):
            for option, urls in (("from", inputs), ("to", outputs)):
                if not urls:
                    raise usage.UsageError(_missing(option, inputs or outputs))
        document: dict[str, Any] = {each: {"listen": text} for each, text in given.items()}
        if self["allow"]:
            document["viewers"]["allow"] = self["allow"]
        if self["routes"]:
            document["route"] = [
                {"from": inputs, "to": outputs} for inputs, outputs in self["routes"]
            ]
            for number, kind in self["redundancy"].items():
                document["route"][number][kind] = {}
        if self["health"]:
            document["health"] = {}
        if workers is not None:
            document["workers"] = workers
        try:
            return configurationOf(document)
        except WrongDocument as wrong:
            lines = [_inOptions(*problem) for problem in wrong.found] + wrong.more
            raise StartError("\n".join(lines)) from None


def _inOptions(path: KeyPath, why: str) -> str:
    """What is wrong where, as the command line has it; a URL says itself which it is."""
    option = "--allow: " if path[1:2] == ("allow",) else f"--{path[0]}: "
    return why if path[:1] == ("route",) else f"{option}{why}"


def _checkFiles(configuration: Configuration) -> None:
    """
    Read the keys and certificates that are named and there.

    @raise StartError: they cannot be used, or not read in time.
    """
    viewers = configuration.viewers
    endpoints = [*viewers.endpoints, *(stream.endpoint for stream in viewers.tcp)]
    endpoints += configuration.admin.endpoints
    try:
        found = within(PATIENCE, lambda: [fileProblem(endpoint) for endpoint in endpoints])
    except TookTooLong as error:
        raise StartError(f"keys and certificates: {error}") from None
    problems = [problem for problem in found if problem is not None]
    if problems:
        raise StartError("\n".join(problems))


def _withDoctor(options: Sequence[str]) -> list[str]:
    """The same options, with the URL that may follow --doctor as its value, or with none."""
    words: list[str] = []
    for each in options:
        if words and words[-1] == "--doctor=" and not each.startswith("-"):
            words[-1] += each
        else:
            words.append("--doctor=" if each == "--doctor" else each)
    return words


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

    from txgroupsock.ports import GroupsockReactor
    from txgroupsock.ports.clock import makeSteady
    from txgroupsock.relay.admin.service import AdminService
    from txgroupsock.relay.app.demo import DemoService
    from txgroupsock.relay.app.systemd import Notifier, SystemdService
    from txgroupsock.relay.control.control import Control
    from txgroupsock.relay.control.reload import ReloadService
    from txgroupsock.relay.engine.inputs import SharedInputs
    from txgroupsock.relay.engine.relay import Relay
    from txgroupsock.relay.health.sharedhooks import SharedHooks
    from txgroupsock.relay.names import NameService
    from txgroupsock.relay.viewers import ViewerService
    from txgroupsock.relay.workers.relay import Workers

    makeSteady(reactor)
    if options["demo"] is not None:
        return DemoService(reactor, options["demo"])
    configuration: Configuration = options["configuration"]
    model, ours = configuration.relay, GroupsockReactor(reactor)
    inputs, hooks = SharedInputs(ours), SharedHooks(ours)
    count = model.workers or 1
    if count > 1:
        relay: IRelay = Workers(reactor, model, count)
    else:
        relay = Relay.of(ours, model, inputs, hooks)
    viewers = ViewerService(ours, configuration.viewers, inputs, hooks)
    control = Control(reactor, configuration, relay, viewers)
    # Stopped in the opposite order: nothing is changed any more when the relay closes.
    services: list[Any] = [NameService(reactor), RelayService(reactor, relay), viewers]
    notifier = Notifier.fromEnvironment()
    systemd = None if notifier is None else SystemdService(reactor, notifier, relay)
    reloading = None
    if "file" in options:
        entered = nullcontext if systemd is None else systemd.reloading
        reloading = ReloadService(reactor, control, options["file"], entered)
        services.append(reloading)
    if configuration.admin.endpoints:
        services.append(AdminService(reactor, control, reloading))
    if systemd is not None:
        services.append(systemd)
    if not reactor.running:
        # What is there at the start stays: looking for garbage in a thousand routes takes 0.1 s.
        reactor.callWhenRunning(gc.freeze)
    every = MultiService()
    for each in services:
        each.setServiceParent(every)
    return every
