"""Whether doing something again and again takes more and more memory."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable


def blocksKept(action: Callable[[], object], times: int) -> float:
    """
    How many blocks of memory each time leaves behind, once all that is used again is there.

    Python's own allocator counts them exactly (C{sys.getallocatedblocks}), those that an extension
    module has lost as well, where the size of the process moves in steps.
    """
    for _ in range(times // 4):
        action()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(times):
        action()
    gc.collect()
    return (sys.getallocatedblocks() - before) / times
