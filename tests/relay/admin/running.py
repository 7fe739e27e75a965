"""What the tests of the relay's web side share: a whole relay, and a client of its API."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.application.service import MultiService
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol

from tests.relay.support import url
from tests.relay.viewers.support import Client
from txgroupsock.relay.admin.service import AdminService
from txgroupsock.relay.app.service import RelayService
from txgroupsock.relay.app.tap import Options, makeService
from txgroupsock.relay.control.monitor import Monitor
from txgroupsock.relay.control.reload import ReloadService

HOST = "127.0.0.1"
TOKEN = "correct-horse"
ADMIN = f'[admin]\nlisten = "tcp:0:interface={HOST}"\ntokens = "{TOKEN}"\n'
NOWHERE = f"udp://{HOST}:9"


def routeText(port: int, *targets: str, more: str = "") -> str:
    """A route of a file, from a port of this host."""
    return f"[[route]]\nfrom = '{url(HOST, port)}'\nto = {list(targets or [NOWHERE])}\n{more}\n"


@frozen
class Reply:
    """What a request was answered with."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, data: bytes) -> Reply:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for each in lines:
            name, value = re.split(": *", each, maxsplit=1)
            headers[name.lower()] = ", ".join([*filter(None, [headers.get(name.lower())]), value])
        return cls(int(first.split()[1]), headers, body)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Running:
    """
    A relay with everything that belongs to it, as twistd would run it, in this process.

    @ivar port: of its API.
    """

    def __init__(self, reactor: Any, service: MultiService) -> None:
        self.reactor = reactor
        self.service = service
        [self.relay] = [each for each in service.services if isinstance(each, RelayService)]
        [self.admin] = [each for each in service.services if isinstance(each, AdminService)]
        self.port = int(self.admin.addresses[0].rpartition(":")[2])

    @property
    def reloading(self) -> ReloadService:
        [found] = [each for each in self.service.services if isinstance(each, ReloadService)]
        return found

    @property
    def monitor(self) -> Monitor:
        return self.admin._monitor

    async def connect(self) -> Client:
        """A connection to its API."""
        endpoint = HostnameEndpoint(self.reactor, HOST, self.port)
        client: Client = await connectProtocol(endpoint, Client())
        return client

    async def say(self, data: bytes) -> Client:
        """A connection on which this has been sent."""
        client = await self.connect()
        client.transport.write(data)  # type: ignore[union-attr]
        return client

    async def ask(
        self, path: str, method: str = "GET", body: Any = None, token: str = "", **headers: str
    ) -> Reply:
        """
        What a request is answered with.

        @param body: bytes, or something to make JSON of.
        """
        lines = [f"{method} {path} HTTP/1.1", f"Host: {headers.pop('host', HOST)}"]
        lines += [f"{name}: {each}" for name, each in headers.items()]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None:
            lines.append(f"Content-Length: {len(data)}")
        client = await self.say("\r\n".join([*lines, "", ""]).encode() + data * (body is not None))
        return Reply.of(await client.answer(self.reactor))


@asynccontextmanager
async def running(
    reactor: Any, path: Path, text: str, admin: str = ADMIN
) -> AsyncIterator[Running]:
    """A relay that a file describes, with an API unless the file says where."""
    path.write_text(admin + text)
    options = Options()
    options.parseOptions(["--config", str(path)])
    service = makeService(options)
    assert isinstance(service, MultiService)
    try:
        service.privilegedStartService()
        service.startService()
        yield Running(reactor, service)
    finally:
        await service.stopService()
