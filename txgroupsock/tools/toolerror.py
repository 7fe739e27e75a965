"""What ends a tool before it has begun."""

from __future__ import annotations

from txgroupsock.primitives.errors import Restorable


class ToolError(Restorable, SystemExit, Exception):
    """
    A tool cannot do what it is asked to; the message says why and how to mend that.

    For both bases see L{StartError <txgroupsock.relay.app.service.StartError>}.
    """

    def __init__(self, program: str, problem: object) -> None:
        lines = str(problem).splitlines() or [""]
        SystemExit.__init__(self, "\n".join(f"{program}: {each}" for each in lines))
