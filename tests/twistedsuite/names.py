"""Which of Twisted's tests are run, and on which reactors."""

from __future__ import annotations

BUILT = {
    "epoll": "twisted.internet.epollreactor.EPollReactor",
    "poll": "twisted.internet.pollreactor.PollReactor",
    "select": "twisted.internet.selectreactor.SelectReactor",
    "asyncio": "twisted.internet.test.reactormixins.AsyncioSelectorReactor",
    "uvloop": "twisted.internet.test.reactormixins.AsyncioSelectorReactor",
}
"""What C{ReactorBuilder} calls each of the reactors."""

REACTORS = tuple(BUILT)

HANGING = {
    "uvloop": (
        "twisted.internet.test.test_process.",
        "twisted.test.test_process.",
        "twisted.test.test_threads.StartupBehaviorTests.",
    )
}
"""
How the ids of tests begin that never end on a reactor, Twisted's own too, and are left out: with
uvloop, nobody is told that a child process has ended.
"""

SETS = {
    "network": (
        "twisted.internet.test",
        *(
            f"twisted.test.test_{name}"
            for name in (
                *("abstract", "factories", "internet", "iosim", "loopback", "policies"),
                *("protocols", "sni", "ssl", "strports", "task", "tcp", "tcp_internals"),
                *("threads", "udp"),
            )
        ),
    ),
    "wide": (
        "twisted.test",
        *(
            f"twisted.{name}"
            for name in (
                *("application", "conch", "mail", "names", "pair", "protocols", "runner"),
                *("spread", "web", "words"),
            )
        ),
    ),
}
"""
What is run together, by the name that the command line has for it: what is about reactors, sockets
and time, which C{.ci/run} runs; and what uses them, which takes several minutes.
"""
