"""A UNIX socket that cannot be opened leaves nothing behind, and the error says how to mend it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory

from txgroupsock.relay.http.listening import ListenError, Listening

NOT_OURS = str(os.getppid())  # of a process that runs


def aFile(path: Path) -> None:
    """Put a file there."""
    path.write_text("precious")


def aLockOf(owner: str) -> Callable[[Path], None]:
    """What puts a lock there."""
    return lambda path: os.symlink(owner, f"{path}.lock")


def aSocket(path: Path) -> None:
    """Put a socket there on which nobody listens any more."""
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind(str(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a socket is to be."""
    return tmp_path / "s"


def statesIn(folder: Path) -> dict[Path, tuple[int, ...]]:
    """Of each file that is there, what a change of it would change; not when it was read."""
    states = ((path, path.lstat()) for path in folder.iterdir())
    return {path: (state.st_ino, state.st_mode, state.st_mtime_ns) for path, state in states}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (aFile, "s: a file is there that is no socket: move it away"),
        (Path.mkdir, "s: it is a folder: give the path of a socket in it"),
        (aSocket, "s: a socket is there: end what listens on it, or remove it"),
        (aLockOf("nobody"), "s.lock is none of a process: move it away"),
        (lambda path: Path(f"{path}.lock").touch(), "s.lock is none of a process: move it away"),
        (aLockOf(NOT_OURS), f"s.lock is held by process {NOT_OURS}: end that one"),
        (aLockOf(str(os.getpid())), "s.lock is held by this process: give each endpoint"),
    ],
)
@pytest.mark.parametrize("kind", ["unix", "haproxy:unix"])
@pytest_twisted.ensureDeferred
async def test_whatFailsIsUndone(
    reactor: Any, path: Path, kind: str, make: Callable[[Path], None], words: str
) -> None:
    """What is in the way is named and left as it is; once it has gone, the same can be opened."""
    make(path)
    before = statesIn(path.parent)
    listening = Listening(reactor, f"{kind}:{path}", Factory(), "")
    with pytest.raises(ListenError, match=words) as caught:
        await listening.open()
    assert len(str(caught.value).splitlines()) == 1
    assert statesIn(path.parent) == before
    for each in before:
        each.rmdir() if each.is_dir() else each.unlink()
    await listening.open()
    await listening.close()
    assert not [*path.parent.iterdir()]


@pytest_twisted.ensureDeferred
async def test_aStartThatFailsIsUndoneAsWell(reactor: Any, path: Path) -> None:
    """No lock stays beside a folder that was taken for a socket."""
    path.mkdir()
    with pytest.raises(ListenError, match="it is a folder"):
        Listening(reactor, f"unix:{path}", Factory(), "").openNow()
    assert [*path.parent.iterdir()] == [path]


@pytest_twisted.ensureDeferred
async def test_theLockOfAnotherSocketStays(reactor: Any, path: Path) -> None:
    """That of this process, too: the socket that has it goes on."""
    there, other = (Listening(reactor, f"unix:{path}", Factory(), "") for _ in range(2))
    await there.open()
    with pytest.raises(ListenError, match="held by this process") as caught:
        await other.open()
    assert there.has(caught.value.taken)
    assert os.readlink(f"{path}.lock") == str(os.getpid())
    await there.close()


@pytest_twisted.ensureDeferred
async def test_thePathIsNamed(reactor: Any) -> None:
    """Where no lock can be made, and not the number that would be in it."""
    with pytest.raises(ListenError, match=r"unix:/proc/x: /proc/x: No such file or directory$"):
        await Listening(reactor, "unix:/proc/x", Factory(), "").open()


@pytest_twisted.ensureDeferred
async def test_aSocketWithoutItsModeIsRemoved(
    reactor: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that knows no modes keeps neither a socket nor a lock."""

    def fail(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", fail)
    with pytest.raises(ListenError, match=f"{path}: Operation not permitted$"):
        await Listening(reactor, f"unix:{path}", Factory(), "").open()
    assert not [*path.parent.iterdir()]
