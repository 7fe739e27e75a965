"""Who takes part: this package's relay, other projects' programs, and the floor in C."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from harness.links import BUFFER, INPUT, OUTPUT

TTL = 8
SIZE = 1316
OURS = "this relay"


@frozen
class Route:
    """One input and where it goes."""

    group: str
    port: int
    destinations: tuple[tuple[str, int], ...]


Command: TypeAlias = list[str]


@frozen
class Contender:
    """
    A relay.

    @ivar kind: C{ours}, C{peer}, or C{floor}.
    @ivar commands: what to run for such routes, one command a process.
    @ivar fansOut: whether one process sends to more than one destination.
    @ivar joins: whether it joins the group itself.
    """

    name: str
    kind: str
    commands: Callable[[Sequence[Route]], list[Command]]
    fansOut: bool = True
    joins: bool = True

    @property
    def isDefault(self) -> bool:
        """Whether it is this relay as it comes."""
        return self.name == OURS


# --- This relay ----------------------------------------------------------------------------------


def defaultCommand() -> str:
    """The relay of the Python that runs this."""
    script = Path(sys.executable).with_name("twistd")
    return f"{shlex.join([sys.executable, str(script)])} -n --pidfile= groupsock-relay"


@frozen
class RelayTemplate:
    """
    How this relay is told its routes.

    @ivar command: what comes before them.
    @ivar source: the words for an input; C{target}: for each of its outputs.
    @ivar name: what it is called in the tables.
    """

    command: str
    source: str
    target: str
    name: str = OURS

    def contender(self, query: str) -> Contender:
        """The relay with such options in the URL of each input, as C{&latency=5ms}."""
        words = shlex.split(self.command)

        def commands(routes: Sequence[Route]) -> list[Command]:
            command = list(words)
            for route in routes:
                command += _fill(
                    self.source, group=route.group, port=route.port, interface="in0", options=query
                )
                for address, port in route.destinations:
                    command += _fill(
                        self.target, address=address, port=port, interface="out0", ttl=TTL
                    )
            return [command]

        name = f"{self.name}, {query.lstrip('&')}" if query else self.name
        return Contender(name, "ours", commands)


def _fill(template: str, **values: object) -> Command:
    return [word.format(**values) for word in shlex.split(template)]


# --- Others --------------------------------------------------------------------------------------


def floor(program: str) -> list[Contender]:
    """The relays in C."""
    ways = {
        "C loop": ("loop", 0),
        "C batch": ("batch", 0),
        "C segment": ("segment", 0),
        "C segment, 1 ms": ("segment", 1000),
    }
    made = []
    for name, (way, pause) in ways.items():

        def command(route: Route, way: str = way, pause: int = pause) -> Command:
            targets = [f"{address}:{port}" for address, port in route.destinations]
            source = [route.group, str(route.port), INPUT, OUTPUT]
            return [program, way, str(pause), *source, *targets]

        made.append(Contender(name, "floor", _eachRoute(command)))
    return made


def peers(folders: Sequence[str]) -> tuple[list[Contender], list[str]]:
    """The other projects' relays that are in these folders or on PATH; and which are not."""
    path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
    found, missing = [], []
    for name, (command, fansOut, joins) in _PEERS.items():
        program = shutil.which(name, path=path)
        if program is None:
            missing.append(name)
            continue

        def filled(
            route: Route,
            program: str = os.path.abspath(program),
            command: Callable[[Route], Command] = command,
        ) -> Command:
            return [program, *command(route)]

        found.append(Contender(name, "peer", _eachRoute(filled), fansOut, joins))
    return found, missing


def _eachRoute(command: Callable[[Route], Command]) -> Callable[[Sequence[Route]], list[Command]]:
    return lambda routes: [command(route) for route in routes]


def _multicat(route: Route) -> Command:
    [(address, port)] = route.destinations
    source = f"@{route.group}:{route.port}/ifaddr={INPUT}"
    return ["-u", "-U", "-m", str(SIZE), source, f"{address}:{port}/ifaddr={OUTPUT}/ttl={TTL}"]


def _samplicate(route: Route) -> Command:
    targets = [f"{address}/{port}/1,{TTL}" for address, port in route.destinations]
    return ["-4", "-s", route.group, "-p", str(route.port), "-b", str(BUFFER), *targets]


def _socat(route: Route) -> Command:
    [(address, port)] = route.destinations
    source = f"UDP4-RECV:{route.port},bind={route.group},reuseaddr,rcvbuf={BUFFER}"
    source += f",ip-add-membership={route.group}:{INPUT}"
    target = f"UDP4-DATAGRAM:{address}:{port},sndbuf={BUFFER},ip-multicast-if={OUTPUT}"
    target += f",ip-multicast-ttl={TTL},ip-multicast-loop=0"
    return ["-u", "-b", "65536", source, target]


def _gstreamer(route: Route) -> Command:
    clients = ",".join(f"{address}:{port}" for address, port in route.destinations)
    return [
        *("-q", "udpsrc", f"address={route.group}", f"port={route.port}", "multicast-iface=in0"),
        *(f"buffer-size={BUFFER}", "retrieve-sender-address=false", "!", "multiudpsink"),
        *(f"clients={clients}", "auto-multicast=false", "loop=false", f"ttl-mc={TTL}"),
        *("multicast-iface=out0", "sync=false", "async=false", f"buffer-size={BUFFER}"),
    ]


def _live555(route: Route) -> Command:
    targets = [word for address, port in route.destinations for word in (address, str(port))]
    return [route.group, str(route.port), INPUT, OUTPUT, str(TTL), str(BUFFER), *targets]


# The arguments of a route, whether it takes many destinations, and whether it joins the group.
_PEERS: dict[str, tuple[Callable[[Route], Command], bool, bool]] = {
    "multicat": (_multicat, False, True),
    "samplicate": (_samplicate, True, False),
    "live555relay": (_live555, True, True),
    "gst-launch-1.0": (_gstreamer, True, True),
    "socat": (_socat, False, True),
}
