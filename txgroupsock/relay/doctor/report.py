"""Diagnoses for people, and for programs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from txgroupsock.relay.doctor.finding import (
    SEVERITIES,
    Diagnosis,
    Finding,
    hasFault,
    ordered,
)

WIDTH = 100  # columns

_COMMAND = re.compile(r"(?<!\w)'[^']*'(?!\w)")  # which people copy into a shell


def reportText(diagnoses: Sequence[Diagnosis]) -> list[str]:
    """The lines of a report: every finding, most serious first, and then how streams are."""
    findings = ordered(each for one in diagnoses for each in one.findings)
    lines: list[str] = []
    for finding in findings:
        lines += [*_finding(finding), ""]
    for one in diagnoses:
        lines.append(one.subject)
        lines += [line for each in one.seen for line in _wrapped(each, "  ")]
    lines += ["", _total(findings)]
    return lines


def reportJSON(diagnoses: Sequence[Diagnosis]) -> dict[str, Any]:
    """The same for programs."""
    findings = ordered(each for one in diagnoses for each in one.findings)
    return {
        "isHealthy": not hasFault(diagnoses),
        "findings": [each.toJSON() for each in findings],
        "streams": [{"url": one.subject, "seen": list(one.seen)} for one in diagnoses],
    }


def _finding(finding: Finding) -> Iterator[str]:
    yield f"{finding.severity.upper()} ({finding.check}) {finding.subject}"
    yield from _wrapped(finding.text, "  ")
    for each in finding.evidence:
        yield from _wrapped(each, "  seen: ")
    yield from _wrapped(finding.remedy, "  mend: ")


def _wrapped(text: str, before: str) -> list[str]:
    """Lines of a text, of which a command is never broken."""
    rest = " " * len(before)
    lines = wrap(
        _COMMAND.sub(lambda found: found[0].replace(" ", "\0"), text),
        WIDTH,
        initial_indent=before,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [each.replace("\0", " ") for each in lines]


def _total(findings: Sequence[Finding]) -> str:
    if not findings:
        return "nothing is wrong"
    counts = []
    for severity in SEVERITIES:
        count = sum(each.severity == severity for each in findings)
        if count:
            counts.append(f"{count} {severity}{'s' * (count != 1)}")
    return ", ".join(counts)
