"""What docs/testing.md shows works as it stands, and what is to be light is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "testing.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)

USERS_TESTS = """
def test_inMemory(memoryNetwork):
    assert memoryNetwork.sockets == []

def test_onALan(lan, capture):
    frames = capture(lan["a"])
    with lan["b"].socket(2) as sender:
        sender.sendto(b"seen", (lan["a"].ipv4, 9))
    assert frames.waitFor(lambda frame: frame.udp and frame.udp.payload == b"seen")
"""


def test_theExampleRuns() -> None:
    """The first example's tests pass."""
    namespace: dict[str, object] = {}
    exec(BLOCKS[0], namespace)
    tests = [each for name, each in namespace.items() if name.startswith("test_")]
    assert len(tests) == 2
    for each in tests:
        assert callable(each)
        each()


@pytest.mark.lan
def test_theFixturesAreThereForOthers(namespaces: None, tmp_path: Path) -> None:
    """A project of somebody else gets the fixtures with the one line that the page says."""
    (line,) = [each for each in BLOCKS if each.startswith("pytest_plugins")]
    (tmp_path / "conftest.py").write_text(line, "utf-8")
    (tmp_path / "test_users.py").write_text(USERS_TESTS, "utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=ROOT,  # so that the package is found where it is not installed
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    assert "2 passed" in ended.stdout, ended.stdout


@pytest.mark.parametrize(
    "module", ["txgroupsock.testing", "txgroupsock.testing.namespaces", "txgroupsock.testing.lan"]
)
def test_importingIsLight(module: str) -> None:
    """Importing it installs no reactor, starts no thread and needs no pytest."""
    program = f"""
import sys, threading, {module}
assert "twisted.internet.reactor" not in sys.modules
assert not [name for name in sys.modules if name.partition(".")[0] in ("pytest", "_pytest")]
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=30, check=True)
