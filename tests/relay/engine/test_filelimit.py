"""The limit of open files, each time in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from twisted.logger import globalLogPublisher, formatEvent
globalLogPublisher.addObserver(lambda event: print(formatEvent(event)))
soft, hard, count = (int(each) for each in sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from txgroupsock.relay.engine.filelimit import allowOpenFiles
allowOpenFiles(count)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
WARNING = (
    "this relay needs 500 open files and may have 300; raise the limit "
    "('ulimit -Hn', or LimitNOFILE= of its systemd unit)"
)


@pytest.mark.parametrize(
    ("soft", "hard", "count", "said"),
    [
        (200, 1000, 500, ["500 1000"]),
        (600, 1000, 500, ["600 1000"]),
        (500, 1000, 500, ["500 1000"]),
        (200, 300, 500, [WARNING, "300 300"]),
        (300, 300, 500, [WARNING, "300 300"]),
    ],
    ids=["raised", "enough", "just enough", "too few", "no more to have"],
)
def test_asManyAsMayBe(soft: int, hard: int, count: int, said: list[str]) -> None:
    """The limit is raised to what is needed, or as far as it can be, which is said; never cut."""
    program = [sys.executable, "-c", PROGRAM, str(soft), str(hard), str(count)]
    ended = subprocess.run(program, capture_output=True, text=True, check=True, timeout=30)
    assert ended.stdout.splitlines() == said


def test_withoutSuchALimitNothingIsDone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python has no such limits (Windows) it does nothing."""
    from txgroupsock.relay.engine.filelimit import allowOpenFiles

    monkeypatch.setitem(sys.modules, "resource", None)
    allowOpenFiles(10**9)
