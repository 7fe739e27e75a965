"""The command line of C{groupsock-top}."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from txgroupsock._version import __version__
from txgroupsock.relay.exiting import exitWith
from txgroupsock.tools.top.fetch import DEFAULT_URL, NoStatus, Server
from txgroupsock.tools.top.layout import plain
from txgroupsock.tools.top.watcher import Watcher


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run it.

    @param arguments: without the name of the program; L{None}: those of the process.

    @return: the exit status: 0 if all is well, 1 if not, 2 if it was called in a wrong way, 130
        if it was interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        server = Server.of(options.url, os.environ)
    except ValueError as error:
        return _say(str(error), 2)
    try:
        return _once(server) if options.once else _watch(server)
    except KeyboardInterrupt:
        return 130
    except NoStatus as error:
        return _say(str(error), 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="groupsock-top",
        description="Shows what a running groupsock-relay does, as its [admin] server says.",
        epilog="A server that asks who you are gets GROUPSOCK_TOKEN, or GROUPSOCK_USER and "
        "GROUPSOCK_PASSWORD, or what ~/.netrc has for its host. NO_COLOR turns colours off.",
    )
    parser.add_argument(
        "url", nargs="?", default=DEFAULT_URL, metavar="URL", help="default: %(default)s"
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="print one table and exit: with 0 if the relay is ready, with 1 if not",
    )
    parser.add_argument("--version", action="version", version=f"txgroupsock {__version__}")
    return parser


def _once(server: Server) -> int:
    snapshot = server.ask()
    text = "".join(f"{line}\n" for line in plain(server.url, snapshot))
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.buffer.write(text.encode(encoding, "replace"))
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        # or Python would try again at the end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if snapshot.isReady else 1


def _watch(server: Server) -> int:
    try:
        from txgroupsock.tools.top.terminal import NoTerminal, run
    except ImportError:
        return _say("this Python has no curses, as on Windows: use --once", 2)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _say("this is no terminal: use --once", 2)
    status = 1  # of what nobody has foreseen
    try:
        run(Watcher(server))
        status = 0
    except NoTerminal as error:
        status = _say(f"this terminal cannot show it ({error}): use --once", 2)
    except KeyboardInterrupt:
        status = 130
    except SystemExit as ended:  # by a signal
        status = int(ended.code or 0)
    finally:
        # Python can crash at its end if a thread, here the one that asks, waits for something.
        exitWith(status)
    return status


def _say(text: str, status: int) -> int:
    sys.stderr.write(f"groupsock-top: {text}\n")
    return status
