"""Foolscap: objects called by name over TLS, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foolscap.api import Referenceable, RemoteException, Tub

from tests.programs.support import HOST


class Adder(Referenceable):  # type: ignore[misc]
    """Adds, tells who asks, and fails when asked to."""

    def remote_add(self, one: int, other: int) -> int:
        """The sum."""
        return one + other

    def remote_callBack(self, caller: Any, payload: bytes) -> Any:
        """What the caller's own object makes of something."""
        return caller.callRemote("twice", payload)

    def remote_fail(self) -> None:
        """Nothing."""
        raise ValueError("as asked")


class Doubler(Referenceable):  # type: ignore[misc]
    """Doubles."""

    def remote_twice(self, payload: bytes) -> bytes:
        """It twice."""
        return payload * 2


async def main(reactor: Any, folder: Path) -> list[object]:
    """Call, be called back with what does not fit in one segment, and get an exception."""
    server, client = Tub(), Tub()
    for tub in (server, client):
        tub.setOption("expose-remote-exception-types", False)
        tub.startService()
    server.listenOn(f"tcp:4100:interface={HOST}")
    server.setLocation(f"tcp:{HOST}:4100")
    adder = await client.getReference(server.registerReference(Adder()))
    payload = bytes(range(256)) * 1000
    seen: list[object] = [
        await adder.callRemote("add", 40, 2),
        await adder.callRemote("callBack", Doubler(), payload) == payload * 2,
    ]
    try:
        await adder.callRemote("fail")
    except RemoteException as error:
        seen.append([type(error).__name__, str(error.failure.type), str(error.failure.value)])
    await client.stopService()
    await server.stopService()
    return seen
