"""Completion of the command line, in a real zsh."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.relay.support import SECONDS
from txgroupsock.relay.app.completion import FROM, TO
from txgroupsock.relay.app.tap import Options

needsZsh = pytest.mark.skipif(
    not shutil.which("zsh") or not shutil.which("setsid"), reason="needs zsh and setsid"
)

# Notes what is offered, and with Ctrl-T the line as it is.
SETUP = r"""
PS1='> '
autoload -Uz compinit
compinit -u -D
compadd() {
  if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return $?; fi
  local -a offered
  builtin compadd -A offered "$@"
  (( $#offered )) && print -rl -- "${(Q)offered[@]}" >> $OFFERED
  builtin compadd "$@"
}
note() { print -r -- $BUFFER > $LINE }
zle -N note
bindkey '^T' note
bindkey '^I' expand-or-complete
print READY
"""


def completed(folder: Path, text: str) -> tuple[list[str], str]:
    """What is offered for the end of a line, and what the line then is."""
    offered, line = folder / "offered", folder / "line"
    offered.write_text("")
    line.unlink(missing_ok=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    python = os.pathsep.join(filter(None, sys.path))
    files = {"OFFERED": str(offered), "LINE": str(line)}
    environment = {**os.environ, **files, "PATH": path, "PYTHONPATH": python, "TERM": "dumb"}
    ours, its = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "zsh", "-f", "-i"],
        cwd=folder,
        stdin=its,
        stdout=its,
        stderr=its,
        env=environment,
    )
    os.close(its)
    shown = b""
    deadline = time.monotonic() + 3 * SECONDS

    def until(reached: Callable[[], object]) -> None:
        nonlocal shown
        while not reached():
            assert time.monotonic() < deadline, shown.decode(errors="replace")
            if select.select([ours], [], [], 0.02)[0]:
                shown += os.read(ours, 65536)

    try:
        os.write(ours, SETUP.encode())
        until(lambda: b"\r\nREADY" in shown)
        os.write(ours, f"{text}\t\x14".encode())
        until(lambda: line.exists() and line.read_text())
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return offered.read_text().splitlines(), line.read_text().rstrip("\n")


def test_everyOptionOfItIsOne() -> None:
    """Completions are for options that there are, and leave none of their values to chance."""
    options, data = Options(), Options.compData
    names = {each.rstrip("=") for each in options.longOpt}
    assert {*data.optActions, *data.multiUse, *sum(data.mutuallyExclusive, ())} <= names
    assert {each[:-1] for each in options.longOpt if each.endswith("=")} == set(data.optActions)


@needsZsh
def test_optionsAreCompleted(tmp_path: Path) -> None:
    """zsh, as it comes, completes the name of the service, and its options."""
    offered, line = completed(tmp_path, "twistd -n groupsock-rel")
    assert (offered, line) == (["groupsock-relay"], "twistd -n groupsock-relay ")
    assert completed(tmp_path, "twistd groupsock-relay --wo")[1].endswith(" --workers=")


@needsZsh
def test_whatExcludesAnotherIsNotOffered(tmp_path: Path) -> None:
    """A file and URLs do not mix; URLs may be repeated."""
    offered, _ = completed(tmp_path, "twistd groupsock-relay --config=x --")
    assert not {"--from", "--to", "--demo", "--config"} & set(offered)
    assert "--workers" in offered
    offered, _ = completed(tmp_path, "twistd groupsock-relay --from x --to y --")
    assert {"--from", "--to", "--workers"} <= set(offered)
    assert not {"--config", "--demo"} & set(offered)


@needsZsh
def test_valuesAreCompleted(tmp_path: Path) -> None:
    """Files that end in .toml, numbers of processes, and the shapes of URLs."""
    for each in ("relay.toml", "relay.txt"):
        (tmp_path / each).write_text("")
    line = completed(tmp_path, "twistd groupsock-relay --config rel")[1]
    assert line == "twistd groupsock-relay --config relay.toml "
    offered, _ = completed(tmp_path, "twistd groupsock-relay --workers=")
    assert offered == [str(each) for each in range(1, (os.cpu_count() or 1) + 1)]
    for option, shapes in (("from", FROM), ("to", TO)):
        offered, line = completed(tmp_path, f"twistd groupsock-relay --{option} ")
        assert offered == list(shapes)
        assert line == f"twistd groupsock-relay --{option} udp://"
