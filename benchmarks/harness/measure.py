"""One relay, started and given a load: what it did, and what that cost."""

from __future__ import annotations

import json
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from attrs import evolve, field, frozen

from harness.contenders import SIZE, Contender, Route
from harness.links import DESTINATION, GROUP_IN, INPUT, PORT_IN, SOURCE, Links
from harness.processes import Processes, Usage

READY_SECONDS = 20.0
TRIES = 3


class RelayFailed(Exception):
    """A relay did not start, ended, or passed nothing on; the text says which."""


@frozen
class Load:
    """
    What the generator sends.

    @ivar rate: datagrams a second, on all channels together.
    @ivar train: how many leave together (UDP_SEGMENT).
    @ivar channels: how many groups it sends to in turn.
    """

    rate: float
    seconds: float
    train: int = 1
    channels: int = 1


@frozen
class Outcome:
    """
    What became of a load.

    @ivar expected: datagrams that all destinations together should have got; C{received}: did get.
    @ivar offered: datagrams a second that the generator managed.
    @ivar outRate: datagrams a second between the first and the last that arrived.
    @ivar cpu: seconds that the relay ran, and C{seconds} that it was given datagrams for.
    @ivar latency50: microseconds; the median, and the 99th percentile.
    @ivar disturbance: the share of one core that other programs took meanwhile.
    """

    expected: int
    received: int
    fewest: int
    damaged: int
    duplicates: int
    reordered: int
    sinkDropped: int
    offered: float
    outRate: float
    cpu: float
    seconds: float
    latency50: float
    latency99: float
    disturbance: float

    @property
    def lost(self) -> float:
        """The part that did not arrive."""
        return 1 - self.received / self.expected

    @property
    def keptUp(self) -> float:
        """Its rate, as a part of the load's; buffers hide for a while that it is less than 1."""
        return self.outRate * self.seconds / self.expected

    @property
    def complete(self) -> bool:
        """Whether all arrived once, undamaged and in order, as far as that was checked."""
        wrong = self.damaged + self.duplicates + self.reordered
        return self.received == self.expected > 0 and not wrong


@frozen
class Running:
    """A relay that runs, or no relay at all (nothing between generator and sink)."""

    contender: Contender | None
    routes: Sequence[Route]
    processes: Sequence[subprocess.Popen[str]] = ()
    log: Any = None

    @property
    def sessions(self) -> set[int]:
        """The sessions of its processes."""
        return {process.pid for process in self.processes}

    @property
    def targets(self) -> int:
        """How many destinations there are."""
        return sum(len(route.destinations) for route in self.routes)

    def assertRuns(self) -> None:
        """
        See that all its processes still run.

        @raise RelayFailed: they do not.
        """
        if any(process.poll() is not None for process in self.processes):
            raise RelayFailed(f"it ended: {self.lastWords()}")

    def lastWords(self) -> str:
        """The last line it wrote."""
        self.log.flush()
        self.log.seek(0)
        lines = [line for line in self.log.read().splitlines() if line.strip()]
        return lines[-1].strip()[-300:] if lines else "it said nothing"


@frozen
class Bench:
    """
    The hosts, the tools and the cores.

    @ivar generator: the path of that program; so is C{sink}.
    @ivar relayCores: where relays run; C{loadCores}: where generator and sink do.
    @ivar calm: the share of a core that others may take before a measurement is repeated.
    """

    links: Links
    processes: Processes
    generator: str
    sink: str
    relayCores: set[int]
    loadCores: set[int]
    calm: float
    _runs: list[int] = field(factory=lambda: [0])

    @contextmanager
    def started(self, contender: Contender, routes: Sequence[Route]) -> Iterator[Running]:
        """The contender's processes, ended afterwards; they need not be ready yet."""
        with ExitStack() as cleanup:
            log = cleanup.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
            directory = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="relay-"))
            cleanup.callback(self.links.leaveInput)
            if not contender.joins:
                self.links.joinInput()
            processes: list[subprocess.Popen[str]] = []
            cleanup.callback(lambda: self.processes.end(*processes))
            for command in contender.commands(routes):
                process = self.processes.start(
                    *(self.links.relay, self.relayCores, command),
                    output=log,
                    errors=subprocess.STDOUT,
                    directory=directory,
                )
                processes.append(process)
            yield Running(contender, routes, processes, log)

    def awaitReady(self, running: Running, load: Load) -> None:
        """
        Send a little, until each destination got something.

        @raise RelayFailed: this does not happen.
        """
        slow = evolve(load, rate=200.0 * load.channels, seconds=READY_SECONDS)
        with self._sink(running, READY_SECONDS, "-1") as sink, self._generator(slow):
            deadline = time.monotonic() + READY_SECONDS
            while sink.poll() is None and time.monotonic() < deadline:
                running.assertRuns()
                time.sleep(0.02)
            output, _ = sink.communicate(timeout=5)
        if json.loads(output)["fewest"] == 0:
            raise RelayFailed(f"it passes nothing on: {running.lastWords()}")

    def check(self, running: Running, load: Load) -> Outcome:
        """Send slowly for a moment, and look at each byte that arrives."""
        slow = evolve(load, rate=min(load.rate, 2000.0), seconds=0.25)
        return self.offer(running, slow, check=True)

    def calmly(self, running: Running, load: Load, *, trains: bool = True) -> Outcome:
        """Offer a load, again where something else took the cores; the least disturbed outcome."""
        outcomes: list[Outcome] = []
        while len(outcomes) < TRIES:
            outcomes.append(self.offer(running, load, trains=trains))
            if outcomes[-1].disturbance <= self.calm:
                break
        return min(outcomes, key=lambda outcome: outcome.disturbance)

    def offer(
        self, running: Running, load: Load, *, trains: bool = True, check: bool = False
    ) -> Outcome:
        """
        Offer a load once.

        @param trains: have the sink take trains whole; otherwise the kernel cuts them up before,
            in the relay's time.
        @param check: whether duplicates, reordered and damaged datagrams are looked for.
        """
        options = ["-G"] * trains
        if check:
            options += ["-c", str(int(load.rate * load.seconds / load.channels) + 1000)]
        known: set[int] = set()
        with self._sink(running, load.seconds + 30, *options) as sink:
            known.add(sink.pid)
            before = Usage.now(running.sessions, known)
            with self._generator(load) as generator:
                known.add(generator.pid)
                sent = json.loads(generator.communicate(timeout=load.seconds + 10)[0])
            self._awaitIdle(running)
            after = Usage.now(running.sessions, known)
            time.sleep(0.02)
            sink.terminate()
            seen = json.loads(sink.communicate(timeout=10)[0])
        running.assertRuns()
        return Outcome(
            expected=sent["sent"] * running.targets // load.channels,
            received=seen["packets"],
            **{key: seen[key] for key in ("fewest", "damaged", "duplicates", "reordered")},
            sinkDropped=seen["sinkDropped"],
            offered=sent["sent"] / sent["seconds"],
            outRate=seen["packets"] / max(seen["seconds"], 1e-9),
            cpu=(after.ours - before.ours) * 1e-9,
            seconds=sent["seconds"],
            latency50=seen["latency50"],
            latency99=seen["latency99"],
            disturbance=after.disturbance(before),
        )

    def _awaitIdle(self, running: Running) -> None:
        """Wait until what a relay still had to send is sent."""
        deadline = time.monotonic() + 5
        ran = -1
        while time.monotonic() < deadline:
            time.sleep(0.1)
            now = Usage.now(running.sessions, set()).ours
            if ran >= 0 and now - ran < 4_000_000:
                return
            ran = now

    @contextmanager
    def _sink(
        self, running: Running, seconds: float, *options: str
    ) -> Iterator[subprocess.Popen[str]]:
        """The counting program, where the relay sends to; bound, and waiting."""
        self._runs[0] += 1
        if running.contender is None:
            namespace, group, interface, port = self.links.relay, GROUP_IN, INPUT, PORT_IN
        else:
            group, port = running.routes[0].destinations[0]
            namespace, interface = self.links.destination, DESTINATION
        command = [self.sink, "-p", str(port), "-x", str(self._runs[0]), "-t", f"{seconds:g}"]
        command += ["-d", str(running.targets), *options]
        if group.startswith("239."):
            command += ["-g", group, "-i", interface]
        with self._tool(namespace, command) as sink:
            assert sink.stdout is not None
            readable, _, _ = select.select([sink.stdout], [], [], 10)
            if not readable or sink.stdout.readline() != "READY\n":
                raise RuntimeError(f"the sink did not start: {command}")
            yield sink

    @contextmanager
    def _generator(self, load: Load) -> Iterator[subprocess.Popen[str]]:
        """The sending program, with the number of the newest sink in what it sends."""
        command = [self.generator, "-a", GROUP_IN, "-p", str(PORT_IN), "-i", SOURCE]
        command += ["-r", f"{load.rate:.1f}", "-t", f"{load.seconds:g}", "-s", str(SIZE)]
        command += ["-g", str(load.train), "-c", str(load.channels), "-x", str(self._runs[0])]
        with self._tool(self.links.source, command) as generator:
            yield generator

    @contextmanager
    def _tool(self, namespace: Any, command: list[str]) -> Iterator[subprocess.Popen[str]]:
        tool = self.processes.start(namespace, self.loadCores, command, output=subprocess.PIPE)
        try:
            yield tool
        finally:
            self.processes.end(tool)
