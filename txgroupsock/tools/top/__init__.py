"""C{groupsock-top}: what a relay does now, in a terminal."""

from txgroupsock.tools.top.command import main

__all__ = ["main"]
