"""What the comparison with Twisted's reactor tells, for a small suite, and for its list."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.twistedsuite.__main__ import ACCEPTED, examine
from tests.twistedsuite.differences import (
    FAILED,
    PASSED,
    SKIPPED,
    Accepted,
    Difference,
    Outcome,
    acceptedAmong,
    compare,
    readAccepted,
    readOutcomes,
    unexpected,
)
from tests.twistedsuite.names import BUILT, REACTORS, SETS

DIFFERS = "twisted.internet.test.test_posixbase.TCPPortTests.test_connectionLostFailed"


def test_outcomesAreReadAsWritten() -> None:
    """A line of JSON is one test; what a test ends with on one side only differs."""
    lines = [json.dumps(["a", PASSED, ""]), json.dumps(["b", FAILED, "why"])]
    stock = readOutcomes(lines)
    ours = {"a": Outcome(PASSED), "b": Outcome(FAILED, "another reason"), "c": Outcome(PASSED)}
    assert list(compare(stock, ours)) == ["c"]
    assert str(compare(stock, {})["b"]) == "  b: failed -> missing\n      why"


def test_unexpected() -> None:
    """What differs has to be accepted as it is, and what is accepted has to differ."""
    passed, failed, skipped = (Outcome(kind) for kind in (PASSED, FAILED, SKIPPED))
    differences = {
        each.test: each
        for each in (
            Difference("listed", passed, failed),
            Difference("otherwise", passed, skipped),
            Difference("new", passed, failed),
        )
    }
    entry = Accepted((), FAILED, "", ())
    listed = {"listed": entry, "otherwise": entry, "gone": entry}
    assert unexpected(differences, listed) == (["otherwise", "new"], ["gone"])


def test_onlyWhatIsRunIsExpected() -> None:
    """An entry holds on its reactors, for tests with one of the names that are run."""
    entry = Accepted(("m.C_{reactor}.t", "m.Cs.t"), FAILED, "", ("poll",))
    assert not acceptedAmong([entry], ["m"], "epoll", "X")
    assert set(acceptedAmong([entry], ["m"], "poll", "X")) == {"m.C_X.t", "m.Cs.t"}
    assert set(acceptedAmong([entry], ["m.C_X"], "poll", "X")) == {"m.C_X.t"}
    assert not acceptedAmong([entry], ["m.C"], "poll", "X")


@pytest.mark.parametrize(
    "text",
    [
        'tests = ["a"]\nours = "failed"',
        'tests = []\nours = "failed"\nreason = "r"',
        'tests = ["a"]\nours = "fail"\nreason = "r"',
        'tests = ["a"]\nours = "failed"\nreason = "r"\nreactors = ["kqueue"]',
        'tests = ["a"]\nours = "failed"\nreason = "r"\nreactor = "epoll"',
    ],
)
def test_listWithMistakes(tmp_path: Path, text: str) -> None:
    """An entry that means nothing is an error."""
    path = tmp_path / "accepted.toml"
    path.write_text(f"[[difference]]\n{text}\n")
    with pytest.raises(ValueError, match="tests"):
        readAccepted(path, REACTORS)


def test_eachListedTestIsInASet() -> None:
    """The list has nothing that is never compared, nor anything twice."""
    accepted = readAccepted(ACCEPTED, REACTORS)
    names = [name for part in SETS.values() for name in part]
    for reactor in REACTORS:
        wanted = [test for each in accepted if reactor in each.reactors for test in each.tests]
        assert len(acceptedAmong(accepted, names, reactor, BUILT[reactor])) == len(wanted)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it needs network namespaces")
def test_examine(capsys: pytest.CaptureFixture[str]) -> None:
    """A difference is found, counted, and no failure if it is listed."""
    assert examine("epoll", [DIFFERS], [Accepted((DIFFERS,), SKIPPED, "no kind of it", ("epoll",))])
    assert "GroupsockReactor   1 tests: 0 passed, 1 skipped, 0 failed; 1 differ" in (
        capsys.readouterr().out
    )
