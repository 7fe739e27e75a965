#!/usr/bin/env python3
"""
What viewers by HTTP cost, beside other programs that give multicast to HTTP clients.

    python benchmarks/viewers.py [--rows 50x10000,200x2000] [--peers DIR] [--markdown FILE]

One channel of 1,316-byte datagrams goes to so many clients; a row is CLIENTSxRATE.  It prints CPU
seconds of the relay for each gigabyte that clients got, and the ratio to the best of the others.
benchmarks/README.md says how to read it.  It needs Linux, root, gcc, iproute2 and two cores; peers
(udpxy, msd_lite, rtp2httpd) are found on PATH and with --peers.  All traffic stays between network
namespaces of its own; they and all processes are gone when it ends, however it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import relay as benchmark
from attrs import field, frozen
from harness import contenders, report
from harness.contenders import SIZE
from harness.links import GROUP_IN, INPUT, OUTPUT, PORT_IN, SOURCE, Links
from harness.measure import RelayFailed
from harness.processes import Processes, Usage

from txgroupsock.testing.namespaces import whyNoNamespaces

HERE = Path(__file__).parent
PORT = 7001
OURS = "this relay"
READY_SECONDS = 20.0
TAIL = 400_000  # bytes of each client that may still be in a block when the load ends
ROWS = "50x10000,200x2000,200x10000"
MSD_LITE = f"""<?xml version="1.0" encoding="utf-8"?>
<msd>
 <threadPool><threadsCountMax>1</threadsCountMax></threadPool>
 <HTTP>
  <bindList><bind><address>0.0.0.0:{PORT}</address></bind></bindList>
  <hostnameList><hostname>*</hostname></hostnameList>
 </HTTP>
 <hubProfileList><hubProfile>
  <fSocketTCPNoDelay>yes</fSocketTCPNoDelay><fSocketTCPNoPush>yes</fSocketTCPNoPush>
  <precache>4096</precache><ringBufSize>1024</ringBufSize>
  <skt><sndBuf>512</sndBuf><sndLoWatermark>64</sndLoWatermark></skt>
 </hubProfile></hubProfileList>
 <sourceProfileList><sourceProfile>
  <skt><rcvBuf>4096</rcvBuf><rcvLoWatermark>48</rcvLoWatermark><rcvTimeout>10</rcvTimeout></skt>
  <multicast><ifName>in0</ifName></multicast>
 </sourceProfile></sourceProfileList>
</msd>
"""
PEERS = {
    "udpxy": f"-T -a {OUTPUT} -p {PORT} -m {INPUT} -c 1000 -B 65536 -R -1 -H 1",
    "msd_lite": "-c {folder}/msd_lite.conf",
    "rtp2httpd": f"-C -q -m 256 -r in0 -l 0.0.0.0:{PORT} -B 4194304 -b 65536",
}


@frozen
class Server:
    """A program that gives the group to HTTP clients, and what it did in each run of a row."""

    name: str
    command: list[str]
    runs: list[dict[str, float]] = field(factory=list)
    failures: list[str] = field(factory=list)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default=ROWS, help=f"CLIENTSxRATE,... ({ROWS})")
    parser.add_argument("--runs", type=int, default=3, help="measurements of each (3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one (2)")
    parser.add_argument(
        "--peers", action="append", default=[], metavar="DIR", help="where peers are, before PATH"
    )
    parser.add_argument("--relay", default=contenders.defaultCommand(), help="(%(default)s)")
    parser.add_argument("--calm", type=float, default=0.08, help="as for relay.py (%(default)s)")
    parser.add_argument(
        "--wake", action="store_true", help="clients are woken by what comes, not every 2 ms"
    )
    parser.add_argument("--relay-core", type=int)
    parser.add_argument("--load-core", type=int)
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there too")
    parser.add_argument("--json", metavar="FILE", help="write every measurement there")
    return parser.parse_args()


def servers(options: argparse.Namespace, folder: str) -> tuple[list[Server], list[str]]:
    """Those that take part, and the names of those that are not installed."""
    ours = f"{options.relay} --viewers tcp:{PORT}:interface={OUTPUT}"
    found = [Server(OURS, shlex.split(f"{ours} --allow {GROUP_IN}?interface=in0"))]
    path = os.pathsep.join([*options.peers, os.environ.get("PATH", os.defpath)])
    missing = []
    for name, words in PEERS.items():
        program = shutil.which(name, path=path)
        if program is None:
            missing.append(name)
            continue
        command = [os.path.abspath(program), *shlex.split(words.format(folder=folder))]
        found.append(Server(name, command))
    return found, missing


class Bench:
    """The hosts, the tools and the cores."""

    def __init__(self, folder: str, options: argparse.Namespace, processes: Processes) -> None:
        self.options = options
        self.processes = processes
        self.links = Links()
        self.relayCores, self.loadCores, self.warning = benchmark.cores(options)
        self.programs = benchmark.build(folder, ("generator", "clients"))
        self._run = 0

    def measure(self, server: Server, count: int, rate: float) -> dict[str, float]:
        """
        Start a server with all its clients, give it the load, and end it.

        @raise RelayFailed: it does not do what it should.
        """
        tries = []
        while len(tries) < 3:
            with self._started(server) as process:
                self._awaitListening(process)
                checked = self._load(process, count, min(rate, 500.0), isChecked=True)
            with self._started(server) as process:
                self._awaitListening(process)
                tries.append(self._load(process, count, rate))
            tries[-1]["checked"] = float(not (checked["missing"] or checked["damaged"]))
            if tries[-1]["disturbance"] <= self.options.calm:
                break
        return min(tries, key=lambda each: each["disturbance"])

    @contextmanager
    def _started(self, server: Server) -> Iterator[subprocess.Popen[str]]:
        with tempfile.TemporaryFile("w+", errors="replace") as log:
            process = self.processes.start(
                *(self.links.relay, self.relayCores, server.command),
                output=log,
                errors=subprocess.STDOUT,
                directory=tempfile.gettempdir(),
            )
            try:
                yield process
            finally:
                self.processes.end(process)

    def _awaitListening(self, process: subprocess.Popen[str]) -> None:
        wanted = f":{PORT:04X} "
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RelayFailed("it ended")
            lines = self.links.relay.readNet("tcp").splitlines()
            if any(wanted in line[:30] and line.split()[3] == "0A" for line in lines[1:]):
                return
            time.sleep(0.05)
        raise RelayFailed("it does not listen")

    def _load(
        self, process: subprocess.Popen[str], count: int, rate: float, *, isChecked: bool = False
    ) -> dict[str, float]:
        seconds = self.options.seconds
        self._run += 1
        command = [self.programs["clients"], "-a", OUTPUT, "-p", str(PORT), "-n", str(count)]
        command += ["-u", f"/udp/{GROUP_IN}:{PORT_IN}", "-x", str(self._run), "-t", "60"]
        command += ["-c"] * isChecked + ["-w"] * self.options.wake
        # Some give up a channel that is silent for a second, and some begin only when it flows.
        with (
            self._tool(self.links.source, self._generator(200.0, 40.0, 0)) as lead,
            self._tool(self.links.destination, command) as clients,
        ):
            assert clients.stdout is not None
            select.select([clients.stdout], [], [], READY_SECONDS)
            ready = int(clients.stdout.readline().split()[1])
            if ready < count:
                raise RelayFailed(f"only {ready} of {count} clients got anything")
            self.processes.end(lead)
            before = Usage.now({process.pid}, {clients.pid})
            with self._tool(self.links.source, self._generator(rate, seconds, self._run)) as tool:
                sent = json.loads(tool.communicate(timeout=seconds + 10)[0])
                known = {clients.pid, tool.pid}
            time.sleep(0.3)
            after = Usage.now({process.pid}, known)
            # What is still in a block comes with what follows it.
            with self._tool(self.links.source, self._generator(500.0, 0.6, 0)) as tail:
                tail.communicate(timeout=10)
            clients.terminate()
            seen = json.loads(clients.communicate(timeout=20)[0])
        wanted = sent["sent"] * SIZE
        cpu = (after.ours - before.ours) * 1e-9
        return {
            "cost": cpu / (min(seen["bytes"], wanted * count) / 1e9),
            "share": cpu / sent["seconds"],
            "delivered": min(1.0, seen["bytes"] / (wanted * count)),
            "complete": float(seen["fewest"] >= wanted - TAIL and not seen["over"]),
            "missing": seen["missing"],
            "damaged": seen["damaged"],
            "over": seen["over"],
            "offered": sent["sent"] / sent["seconds"],
            "gigabits": 8e-9 * seen["bytes"] / sent["seconds"],
            "disturbance": after.disturbance(before),
        }

    def _generator(self, rate: float, seconds: float, run: int) -> list[str]:
        command = [self.programs["generator"], "-a", GROUP_IN, "-p", str(PORT_IN), "-i", SOURCE]
        return [
            *command,
            "-r",
            f"{rate:.1f}",
            "-t",
            f"{seconds:g}",
            "-s",
            str(SIZE),
            "-x",
            str(run),
        ]

    @contextmanager
    def _tool(self, namespace: Any, command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        tool = self.processes.start(
            namespace, self.loadCores, list(command), output=subprocess.PIPE
        )
        try:
            yield tool
        finally:
            self.processes.end(tool)


def table(row: str, results: Sequence[Server]) -> str:
    """A row's figures as Markdown."""
    count, rate = row.split("x")
    others = [
        statistics.median(run["cost"] for run in each.runs)
        for each in results
        if each.runs and each.name != OURS
    ]
    lines = [
        f"\n### {count} clients, {float(rate):,.0f} datagrams/s of one channel\n",
        "| server | CPU s/GB | ratio | of a core | Gbit/s | delivered | notes |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in results:
        if not each.runs:
            lines.append(f"| {each.name} | - | - | - | - | - | {'; '.join(each.failures)} |")
            continue

        def middle(key: str, runs: Sequence[dict[str, float]] = each.runs) -> float:
            return statistics.median(run[key] for run in runs)

        costs = [run["cost"] for run in each.runs]
        ratio = f"{middle('cost') / min(others):.2f}" if others else "-"
        notes = []
        if not all(run["complete"] for run in each.runs):
            notes.append("not every client got everything")
        if any(run["missing"] or run["damaged"] for run in each.runs):
            notes.append(f"the first client missed {middle('missing'):.0f} datagrams")
        if not all(run["checked"] for run in each.runs):
            notes.append("not every byte was right at 500/s")
        if any(run["over"] for run in each.runs):
            notes.append(f"{middle('over'):.0f} clients were closed")
        lines.append(
            f"| {each.name} | {middle('cost'):.3f} [{min(costs):.3f}-{max(costs):.3f}] | {ratio} "
            f"| {middle('share'):.0%} | {middle('gigabits'):.1f} | {middle('delivered'):.3f} "
            f"| {'; '.join([*notes, *each.failures])} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the tables."""
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, benchmark.endBySignal)
    reason = whyNoNamespaces()
    if reason is not None:
        sys.exit(f"viewers.py: {reason} (as root it works)")
    benchmark.allowDescriptors()
    plan: dict[str, list[Server]] = {}
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="viewers-benchmark-"))
        Path(folder, "msd_lite.conf").write_text(MSD_LITE)
        processes = Processes()
        bench = Bench(folder, options, processes)
        cleanup.callback(bench.links.close)
        cleanup.callback(processes.endAll)
        warnings = [bench.warning, bench.links.raiseBufferLimits()]
        for row in options.rows.split(","):
            plan[row], missing = servers(options, folder)
        warnings += [f"not found: {', '.join(missing)}"] if missing else []
        for number in range(1, options.runs + 1):
            for row, results in plan.items():
                benchmark.say(f"round {number}, {row}")
                count, rate = row.split("x")
                for each in results:
                    try:
                        figures = bench.measure(each, int(count), float(rate))
                    except RelayFailed as error:
                        each.failures.append(f"a run failed: {error}")
                        benchmark.say(f"  {each.name}: {error}")
                        continue
                    each.runs.append(figures)
                    benchmark.say(
                        f"  {each.name}: {figures['cost']:.3f} s/GB, {figures['delivered']:.3f} "
                        f"delivered (others: {figures['disturbance']:.0%} of a core)"
                    )
    machine = report.machine()
    facts = [f"{key} {value}" for key, value in machine.items()]
    facts += [f"medians [min-max] of {options.runs} runs of {options.seconds:g} s"]
    facts += [each for each in warnings if each]
    text = "; ".join(facts) + ".\n" + "\n".join(table(row, each) for row, each in plan.items())
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text + "\n", encoding="utf-8")
    if options.json:
        measured = {
            row: {each.name: {"runs": each.runs, "failures": each.failures} for each in results}
            for row, results in plan.items()
        }
        document = {"machine": machine, "warnings": warnings, "rows": measured}
        Path(options.json).write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
