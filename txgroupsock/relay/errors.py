"""What keeps a relay from starting."""

from __future__ import annotations

from txgroupsock.primitives.errors import Restorable


class StartError(Restorable, SystemExit, Exception):
    """
    The relay cannot start; the message says why and how to mend that.

    Both bases matter.  As an L{Exception}, twistd removes its pid file and tells the
    process that is waiting for the daemon; as a L{SystemExit}, Python then prints the one
    line, or one for each problem, and exits with status 1, without a traceback: it is the
    operator's mistake.
    """

    def __init__(self, problem: object) -> None:
        if isinstance(problem, OSError) and problem.filename is None:
            problem = problem.strerror or problem  # without its number
        lines = str(problem).splitlines() or [""]
        SystemExit.__init__(self, "\n".join(f"groupsock-relay: {line}" for line in lines))
