"""A configuration file that is read again while workers run its routes, as an operator does it."""

from __future__ import annotations

import os
import re
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

from tests.relay.control.test_reload import HOST, routeText
from tests.relay.support import SECONDS, Twistd, freePort, send, url


def test_SIGHUPReloadsWorkers(tmp_path: Path) -> None:
    """On SIGHUP a relay with workers goes over to the file too, or leaves all as it was; a worker
    that is killed after that is started again with its new routes, and all of them are counted on.
    """
    path, ports = tmp_path / "relay.toml", [freePort() for _ in range(3)]
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in ports
        ]
        for sock in sockets:
            sock.bind((HOST, 0))
            sock.settimeout(SECONDS)
        routes = [
            routeText(url(HOST, port), url(HOST, sock.getsockname()[1]))
            for port, sock in zip(ports, sockets, strict=True)
        ]
        taken = routeText(url(HOST, sockets[0].getsockname()[1]), "udp://127.0.0.1:9")
        sent = [0, 0, 0]

        def flow(*numbers: int) -> None:
            for number in numbers:
                sent[number] += 1
                send(b"x", HOST, ports[number])
                assert sockets[number].recv(100) == b"x"

        path.write_text("workers = 2\n" + "".join(routes[:2]))
        relay = stack.enter_context(Twistd(tmp_path, "--config=relay.toml"))
        pids = [int(relay.waitFor(f"worker {n} is process ([0-9]+)")[1]) for n in (1, 2)]
        relay.waitFor("SIGHUP reads relay.toml again\n")
        flow(0, 1)
        for text, pattern, flowing in (
            (routes, "relay.toml was applied: 2 unchanged, 1 opened\n", (0, 1, 2)),
            (
                [taken],
                "relay.toml was rejected; the running configuration is unchanged\n",
                (0, 1, 2),
            ),
            (routes[:0:-1], "relay.toml was applied: 2 unchanged, 1 closed\n", (1, 2)),
        ):
            path.write_text("workers = 2\n" + "".join(text))
            relay.signal(signal.SIGHUP)
            relay.waitFor(pattern)
            flow(*flowing)
        relay.text = ""
        relay.signal(signal.SIGUSR1)
        relay.waitFor("(?s)(in, .*out, .*){2}\n")
        for number in (1, 2):
            os.kill(pids[number - 1], signal.SIGKILL)
            relay.waitFor(f"worker {number} is process [0-9]+, with 1 route and 1 output")
        flow(1, 2)
        relay.text = ""
        relay.signal(signal.SIGTERM)
        assert relay.end() == -signal.SIGTERM
        counted = re.findall("in, listening on .* port ([0-9]+): ([0-9]+) datagrams", relay.text)
        assert counted == [(str(ports[2]), str(sent[2])), (str(ports[1]), str(sent[1]))]
        assert "Traceback" not in relay.text
