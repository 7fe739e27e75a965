"""What docs/tcp.md says is so."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import serverFromString

from txgroupsock import GroupsockReactor, KeepAlive

PAGE = (Path(__file__).parents[2] / "docs" / "tcp.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_theExamplesAreWellFormed(code: str) -> None:
    """And import only what there is."""
    compile(code, "docs/tcp.md", "exec")
    for line in re.findall(r"^from .*", code, re.MULTILINE):
        exec(line, {})


def test_theDefaultsAreThoseOfTheTable() -> None:
    """Of each parameter."""
    rows = dict(re.findall(r"^\| `([a-z]\w+)` \| (\w+) \|", PAGE, re.MULTILINE))
    assert rows == {
        name: "none" if each.default is None else str(each.default)
        for name, each in inspect.signature(KeepAlive).parameters.items()
    }


def test_theSignatureIsThat() -> None:
    """Of listenTCP."""
    found = re.search(r"`listenTCP\((.*)\)`", PAGE)
    assert found is not None
    parameters = list(inspect.signature(GroupsockReactor.listenTCP).parameters.values())[1:]
    assert [each.split("=")[0] for each in found[1].split(", ") if each != "*"] == [
        each.name for each in parameters
    ]


@pytest.mark.parametrize("text", re.findall(r"--listen='(keepalive:tcp.*)'", PAGE))
def test_theStringsAreUnderstood(reactor: Any, text: str) -> None:
    """Those that need no certificate and no systemd."""
    assert serverFromString(reactor, text)
