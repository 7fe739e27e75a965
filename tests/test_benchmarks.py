"""The benchmarks run, and what they measure is what was meant to happen."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "benchmarks").glob("*.c"))


@pytest.fixture
def gcc() -> str:
    """The compiler of the benchmark's tools."""
    path = shutil.which("gcc")
    if path is None:
        pytest.skip("gcc is not installed")
    return path


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the repository's folder."""
    return subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_toolsCompileWithoutWarnings(gcc: str, source: Path) -> None:
    """The compiler has nothing to say about the tools in C."""
    compiled = run(gcc, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(source))
    assert compiled.returncode == 0, compiled.stdout


@pytest.mark.slow
@pytest.mark.lan
def test_relayBenchmarkComparesRelays(gcc: str, tmp_path: Path) -> None:
    """One row gives a table with this relay and one in C, and both delivered every packet."""
    report = tmp_path / "report.json"
    table = tmp_path / "report.md"
    benchmark = run(
        *(sys.executable, "benchmarks/relay.py", "--rows", "2a", "--only", "this relay,C loop"),
        *("--runs", "1", "--seconds", "0.3", "--rate", "1000"),
        *("--json", str(report), "--markdown", str(table)),
    )
    assert benchmark.returncode == 0, benchmark.stdout
    [row] = json.loads(report.read_text())["rows"]
    contenders: dict[str, Any] = row["contenders"]
    assert contenders.keys() == {"this relay", "C loop"}
    for name, contender in contenders.items():
        [figures] = contender["runs"]
        assert figures["received"] == figures["expected"] > 0, f"{name}: {figures}"
        assert figures["complete"], f"{name}: {figures}"
        assert f"| {name} | " in table.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.lan
def test_viewersBenchmarkServesEveryClient(gcc: str, tmp_path: Path) -> None:
    """One row gives a table with this relay, every client of which got every byte."""
    report = tmp_path / "report.json"
    table = tmp_path / "report.md"
    benchmark = run(
        *(sys.executable, "benchmarks/viewers.py", "--rows", "5x1000", "--calm", "9"),
        *("--runs", "1", "--seconds", "0.5", "--json", str(report), "--markdown", str(table)),
    )
    assert benchmark.returncode == 0, benchmark.stdout
    [figures] = json.loads(report.read_text())["rows"]["5x1000"]["this relay"]["runs"]
    assert (figures["checked"], figures["complete"], figures["missing"]) == (1.0, 1.0, 0)
    assert figures["cost"] > 0
    assert "| this relay |" in table.read_text()


@pytest.mark.slow
@pytest.mark.lan
@pytest.mark.parametrize("attack", ["numbers of the right SSRC", "tables of a transport stream"])
def test_aRelayStandsAttacks(attack: str, tmp_path: Path) -> None:
    """Made-up datagrams make it log no traceback and take little memory; others get theirs."""
    found = tmp_path / "found.json"
    command = [sys.executable, "benchmarks/attacks.py", "--seconds", "1", "--json", str(found)]
    ended = run(*command, "--only", attack)
    assert ended.returncode == 0, ended.stdout
    [told] = json.loads(found.read_text())
    assert told["grown"] < 20
    # What a busy machine keeps waiting may get lost, so this is no measurement.
    assert told["lost"] < told["sent"] / 2
