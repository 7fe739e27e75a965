#!/usr/bin/env python3
"""
What the relay costs, beside other relays of UDP that are installed here, and relays in C.

    python benchmarks/relay.py [--rows 1,2] [--peers DIR] [--markdown FILE] [--json FILE]

It prints a Markdown table for each row of figures; benchmarks/README.md says what they measure and
how to read them.  All rows take about half an hour, and a machine that does nothing else.

It needs Linux, root, gcc, iproute2 and two cores; for some rows ethtool.  Peers are found on PATH
and with --peers: multicat, samplicate, live555relay, gst-launch-1.0, socat.  All traffic stays
between network namespaces of its own; they and all processes
are gone when it ends, however it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from attrs import frozen
from harness import contenders, report, rows
from harness.links import Links
from harness.measure import Bench, RelayFailed
from harness.processes import Processes

from txgroupsock.testing.namespaces import whyNoNamespaces

HERE = Path(__file__).parent
TOOLS = ("generator", "sink", "relay")
DESCRIPTORS = 65536


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ",".join(rows.NAMES)
    parser.add_argument("--rows", default=names, help=f"which: {names}, or 1 for 1a and 1b")
    parser.add_argument("--runs", type=int, default=3, help="measurements of each (3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one (2)")
    parser.add_argument("--rate", type=float, help="packets/s in, instead of each row's own")
    parser.add_argument("--only", help="contenders with one of these words in their name")
    parser.add_argument(
        "--peers", action="append", default=[], metavar="DIR", help="where peers are, before PATH"
    )
    parser.add_argument(
        "--relay", default=contenders.defaultCommand(), help="this relay's command (%(default)s)"
    )
    parser.add_argument("--other", metavar="COMMAND", help="another version's, to compare it with")
    parser.add_argument(
        "--relay-from",
        default="--from udp://{group}:{port}?interface={interface}{options}",
        help="its words for an input (%(default)s)",
    )
    parser.add_argument(
        "--relay-to",
        default="--to udp://{address}:{port}?interface={interface}&ttl={ttl}",
        help="its words for an output (%(default)s)",
    )
    parser.add_argument("--relay-core", type=int, help="the core that relays run on")
    parser.add_argument("--load-core", type=int, help="the core of generator and sink")
    parser.add_argument(
        "--calm",
        type=float,
        default=0.08,
        help="repeat what other programs disturb by more than this share of a core (%(default)s)",
    )
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there too")
    parser.add_argument("--json", metavar="FILE", help="write every measurement there")
    return parser.parse_args()


@frozen
class Section:
    """A row and those who take part in it."""

    row: rows.Row
    results: list[report.Result]


def sections(options: argparse.Namespace, others: list[contenders.Contender]) -> list[Section]:
    """All that is to be measured."""
    words = (options.relay_from, options.relay_to)
    templates = [contenders.RelayTemplate(options.relay, *words)]
    if options.other:
        templates.append(contenders.RelayTemplate(options.other, *words, name="other version"))
    parts = options.only.split(",") if options.only else [""]
    made = []
    for row in rows.rows(options.rows.split(","), options.rate):
        ours = [each.contender(query) for query in row.options for each in templates]
        everyone = [*ours, *(other for other in others if row.meets(other))]
        chosen = [each for each in everyone if any(part in each.name for part in parts)]
        made.append(Section(row, [report.Result(each) for each in chosen]))
    return made


def run(bench: Bench, plan: list[Section], options: argparse.Namespace) -> None:
    """Measure everything, round after round, so that all see the same noise."""
    for number in range(1, options.runs + 1):
        for section in plan:
            row = section.row
            say(f"round {number}, row {row.name}: {row.title}")
            for result in section.results:
                if result.failures:
                    continue
                name = result.contender.name
                try:
                    figures = rows.measure(bench, row, result.contender, options.seconds)
                except (RelayFailed, LookupError) as error:
                    result.failures.append(f"left out: {error}")
                    say(f"  {name}: left out: {error}")
                    continue
                result.runs.append(figures)
                column = report.COLUMNS[row.kind][0]
                disturbance = figures["disturbance"]
                value = column.text(figures[column.key])
                say(f"  {name}: {value} {column.title} (others: {disturbance:.0%} of a core)")


def build(folder: str, tools: Sequence[str] = TOOLS) -> dict[str, str]:
    """Compile the programs in C; the path of each."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        sys.exit("relay.py: there is no gcc; install it")
    programs = {name: os.path.join(folder, name) for name in tools}
    for name, program in programs.items():
        source = str(HERE / f"{name}.c")
        subprocess.run([compiler, "-O2", "-o", program, source], check=True, timeout=60)
    return programs


def cores(options: argparse.Namespace) -> tuple[set[int], set[int], str]:
    """Where relays run, where the load does, and what is wrong with that."""
    allowed = sorted(os.sched_getaffinity(0))
    relay = allowed[0] if options.relay_core is None else options.relay_core
    load = allowed[-1] if options.load_core is None else options.load_core
    return {relay}, {load}, "relay and load share one core" if relay == load else ""


def allowDescriptors() -> None:
    """Let a relay have a thousand routes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= DESCRIPTORS:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, max(hard, DESCRIPTORS)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def endBySignal(number: int, _frame: FrameType | None) -> None:
    """Clean up, undisturbed by further signals."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    """Measure, and print the tables."""
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, endBySignal)
    reason = whyNoNamespaces()
    if reason is not None:
        sys.exit(f"relay.py: {reason} (as root it works)")
    if not Path("/proc/self/schedstat").exists():
        sys.exit("relay.py: this kernel does not say how long threads ran (CONFIG_SCHED_INFO)")
    allowDescriptors()
    relayCores, loadCores, warning = cores(options)
    warnings = [warning]
    try:
        rows.rows(options.rows.split(","), options.rate)
    except LookupError as error:
        sys.exit(f"relay.py: {error}")
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="relay-benchmark-"))
        programs = build(folder)
        links = Links()
        cleanup.callback(links.close)
        warnings.append(links.raiseBufferLimits())
        processes = Processes()
        cleanup.callback(processes.endAll)
        bench = Bench(
            *(links, processes, programs["generator"], programs["sink"]),
            *(relayCores, loadCores, options.calm),
        )
        found, missing = contenders.peers(options.peers)
        if missing:
            warnings.append(f"not found: {', '.join(missing)}")
        plan = sections(options, [*found, *contenders.floor(programs["relay"])])
        run(bench, plan, options)
    publish(plan, options, [each for each in warnings if each])
    ours = [result for each in plan for result in each.results if result.contender.isDefault]
    sys.exit(any(result.failures for result in ours))


def publish(plan: list[Section], options: argparse.Namespace, warnings: list[str]) -> None:
    """Print the tables, and write the files."""
    machine = report.machine()
    facts = [f"{key} {value}" for key, value in machine.items()]
    facts += [f"medians [min-max] of {options.runs} runs of {options.seconds:g} s", *warnings]
    text = "\n".join(
        [
            "; ".join(facts) + ".\n",
            *(report.table(each.row, each.results, options.calm) for each in plan),
        ]
    )
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text, encoding="utf-8")
    if options.json:
        measured = [
            {
                "row": section.row.name,
                "title": section.row.title,
                "offload": section.row.offload,
                "contenders": {
                    result.contender.name: {"runs": result.runs, "failures": result.failures}
                    for result in section.results
                },
            }
            for section in plan
        ]
        document = {"machine": machine, "warnings": warnings, "rows": measured}
        Path(options.json).write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
