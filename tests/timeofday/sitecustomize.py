"""
In a Python that has this folder in its path, the time of day is as far off as a test says.

The folder's name in the path is what loads this, before anything else is imported, in the children
of a process as well; the kernel's own clock stays as it is.
"""

import mmap
import os
import time

if "TXGROUPSOCK_TEST_TIME" in os.environ:
    with open(os.environ["TXGROUPSOCK_TEST_TIME"], "rb") as file:
        offset = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    trueTime = time.time_ns

    def timeInNanoseconds() -> int:
        """Like C{time.time_ns}."""
        return trueTime() + int.from_bytes(offset[:8], "little", signed=True)

    def timeOfDay() -> float:
        """Like C{time.time}."""
        return timeInNanoseconds() / 1e9

    time.time_ns, time.time = timeInNanoseconds, timeOfDay
