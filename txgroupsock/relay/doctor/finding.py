"""What the doctor has to say: one thing that is wrong, or all that there is about a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from attrs import asdict, frozen

Severity = Literal["fault", "doubt", "note"]
"""
C{fault}: this keeps the stream from arriving, or loses some of it.  C{doubt}: it leaks, or will not
last, or may be a fault.  C{note}: good to know; nothing has to be done.
"""

SEVERITIES: Final[tuple[Severity, ...]] = ("fault", "doubt", "note")


@frozen
class Finding:
    """
    One thing that was found.

    @ivar check: which check found it: C{"interface"}, C{"rp_filter"} and the like.
    @ivar subject: what it is about: the URL of a stream.
    @ivar text: what is wrong, in plain words.
    @ivar evidence: what was read, and where.
    @ivar remedy: a command or a sentence that mends it.
    """

    check: str
    severity: Severity
    subject: str
    text: str
    evidence: tuple[str, ...]
    remedy: str

    def toJSON(self) -> dict[str, Any]:
        """Its fields as JSON has them."""
        return {**asdict(self), "evidence": list(self.evidence)}


@frozen
class Diagnosis:
    """
    All that there is to say about one stream.

    @ivar subject: the URL of the stream.
    @ivar seen: how it is, in plain words: what arrives, from whom.
    @ivar findings: what is not as it should be.
    """

    subject: str
    seen: tuple[str, ...]
    findings: tuple[Finding, ...]


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The most serious first, otherwise as they come; none twice."""
    return sorted(dict.fromkeys(findings), key=lambda each: SEVERITIES.index(each.severity))


def hasFault(diagnoses: Iterable[Diagnosis]) -> bool:
    """Whether anything is at fault."""
    return any(each.severity == "fault" for one in diagnoses for each in one.findings)
