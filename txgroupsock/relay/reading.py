"""Files that an operator names: read in one piece, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
)
_NO_FILE: Final = "it is not a file; give the path of one"


def contentOf(path: str | Path, most: int) -> bytes:
    """
    What is in a file.

    Nothing but a file is opened: a pipe might make who opens or reads it wait for ever, a device
    never end.  Its disk may still hang, so this is for threads, and with a limit of time.

    @param most: bytes that it may have.
    @raise OSError: it cannot be read, with EINVAL it is no file, with EFBIG it is too large; the
        text says so and how to mend it.
    """
    _needFile(os.stat(path))
    descriptor = os.open(path, _FLAGS)
    with open(descriptor, "rb") as file:
        _needFile(os.fstat(descriptor))  # it may be another by now
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes; is it the right file?")
    return content


def _needFile(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, _NO_FILE)
