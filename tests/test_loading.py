"""Names of the package are loaded when they are asked for, with no more than they need."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import txgroupsock


def loadedBy(statement: str) -> set[str]:
    """The modules of ours and of Twisted that a statement loads, in a Python of its own."""
    script = f"import sys\n{statement}\nprint(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return {name for name in said.stdout.split() if name.startswith(("txgroupsock", "twisted"))}


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import txgroupsock.primitives", ("twisted", "txgroupsock.ports", "txgroupsock.relay")),
        ("import txgroupsock", ("twisted", "txgroupsock.primitives")),
        ("from txgroupsock import Groupsock, GroupsockReactor, UDPPort", ("txgroupsock.relay",)),
        ("from txgroupsock import findInterface", ("twisted",)),
        ("import twisted.plugins.txgroupsock_plugins", ("txgroupsock.relay",)),
    ],
)
def test_noMoreIsLoaded(statement: str, unwanted: tuple[str, ...]) -> None:
    """Neither Twisted by the primitives, nor the relay by anything that is not of it."""
    loaded = loadedBy(statement)
    assert not [name for name in loaded if name.startswith(unwanted)]


def test_everyNameCanBeHad() -> None:
    """Also by C{from txgroupsock import *}, and none but these."""
    found: dict[str, object] = {}
    exec("from txgroupsock import *", found)
    assert set(txgroupsock.__all__) <= found.keys()
    assert set(txgroupsock.__all__) <= set(dir(txgroupsock))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = txgroupsock.nothing


def test_modulesCanBeReached() -> None:
    """C{txgroupsock.primitives}, say, after nothing but C{import txgroupsock}."""
    script = "import txgroupsock\nprint(txgroupsock.primitives.Membership, txgroupsock.interfaces)"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_typeCheckersSeeTheSame() -> None:
    """What is loaded later comes from where a type checker is told that it comes from."""
    tree = ast.parse(Path(txgroupsock.__file__).read_text())
    told = {
        alias.name: statement.module
        for statement in ast.walk(tree)
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
        if alias.name in txgroupsock.__all__ and alias.name != "__version__"
    }
    loaded = {name: f"txgroupsock.{home}" for name, home in txgroupsock._HOMES.items()}
    assert told == loaded
    assert {*loaded, "__version__"} == set(txgroupsock.__all__)
