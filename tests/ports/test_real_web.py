"""A klein server and a treq client, neither of which knows of keep-alive, with keep-alive."""

from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import treq
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, serverFromString, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.server import Site
from zope.interface import implementer

from tests.lan.program import Program, needs
from tests.ports.streams import authority, clientTLS
from tests.starting import TWISTD
from txgroupsock import GroupsockReactor, KeepAlive
from txgroupsock.interfaces import IKeepAlive
from txgroupsock.testing.namespaces import Namespace

STRING = "idle=30:interval=5:count=3:userTimeout=12.5"


class Service:
    """Says how the connection that a request comes by is kept alive."""

    app = Klein()

    @app.route("/keepalive")
    def keepAlive(self, request: Any) -> bytes:
        found = IKeepAlive(request.channel.transport).getKeepAlive()
        return json.dumps(None if found is None else found.idle).encode()

    @app.route("/echo", methods=["POST"])
    def echo(self, request: Any) -> bytes:
        body: bytes = request.content.read()
        return body


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class Trusting:
    """
    Connects an agent to this machine, whatever the host of its URL.

    @ivar keepAlives: what each connection has.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.keepAlives: list[KeepAlive | None] = []

    def endpointForURI(self, uri: Any) -> Any:
        plain = HostnameEndpoint(self._reactor, "127.0.0.1", uri.port)
        self._inner = wrapClientTLS(clientTLS(), plain) if uri.scheme == b"https" else plain
        return self

    async def _connect(self, factory: Any) -> Any:
        protocol: Any = await self._inner.connect(factory)
        self.keepAlives.append(IKeepAlive(protocol.transport).getKeepAlive())
        return protocol

    def connect(self, factory: Any) -> Any:
        return Deferred.fromCoroutine(self._connect(factory))


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest_twisted.ensureDeferred
async def test_kleinAndTreqHaveKeepAlive(reactor: Any, tmp_path: Path, scheme: str) -> None:
    """Klein on an endpoint string, treq on an agent made with our reactor."""
    inner = r"tcp\:0\:interface=127.0.0.1"
    if scheme == "https":
        pem = tmp_path / "server.pem"
        pem.write_bytes(authority()[1])
        inner = rf"ssl\:0\:interface=127.0.0.1\:privateKey={pem}\:certKey={pem}"
    site = Site(Service().app.resource())
    site.noisy = False
    port = await serverFromString(reactor, f"keepalive:{inner}:{STRING}").listen(site)
    ours = GroupsockReactor(reactor, KeepAlive(45, 6, 4))
    pool = HTTPConnectionPool(reactor, persistent=False)
    trusting = Trusting(ours)
    agent = Agent.usingEndpointFactory(ours, trusting, pool)
    url = f"{scheme}://localhost:{port.getHost().port}"
    response = await treq.get(f"{url}/keepalive", agent=agent)
    assert await response.json() == 30
    big = bytes(range(256)) * 4096
    response = await treq.post(f"{url}/echo", data=big, agent=agent)
    assert await response.content() == big
    assert trusting.keepAlives == [KeepAlive(45, 6, 4)] * 2
    await port.stopListening()
    await pool.closeCachedConnections()


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["poll", "asyncio"])
def test_twistdWebListensOnTheStrings(tmp_path: Path, chosen: str) -> None:
    """Twisted's own web server, on a port of its own and on one that systemd hands over."""
    (tmp_path / "page").write_text("served")
    needs("ss")
    here = Namespace()
    here.raiseLoopback()
    systemd = (
        "import os, socket, sys\n"
        "listening = socket.create_server(('127.0.0.1', 8081))\n"
        "os.dup2(listening.fileno(), 3)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='web')\n"
        f"sys.argv[0] = {TWISTD!r}\n"
        "from twisted.scripts.twistd import run\n"
        "run()\n"
    )
    with here:
        command = (
            sys.executable, "-c", systemd, "-n", "--pidfile=", f"--reactor={chosen}",
            "web", f"--path={tmp_path}",
            rf"--listen=keepalive:tcp\:8080\:interface=127.0.0.1:{STRING}",
            rf"--listen=keepalive:systemd\:domain=INET\:index=0:{STRING}",
        )  # fmt: skip
    idle: list[socket.socket] = []
    try:
        with Program(here, *command) as serving:
            serving.waitFor("starting on 8080")
            for port in (8080, 8081):
                with here:
                    idle.append(socket.create_connection(("127.0.0.1", port)))
                    client = socket.create_connection(("127.0.0.1", port))
                with client:
                    client.sendall(b"GET /page HTTP/1.0\r\n\r\n")
                    answer = b""
                    while piece := client.recv(1000):
                        answer += piece
                assert answer.endswith(b"served")
            # What the kernel will do for the two accepted connections that say nothing.
            timers = here.run("ss", "-Htno", "sport = :8080 or sport = :8081")
            assert len(re.findall(r"timer:\(keepalive,(29|30)", timers)) == 2, timers
    finally:
        for each in idle:
            each.close()
        here.close()
