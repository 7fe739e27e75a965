"""Magic Wormhole: a mailbox server, and two clients that agree on a key through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import FirstError, gatherResults
from wormhole import create
from wormhole.errors import WrongPasswordError
from wormhole_mailbox_server.database import create_channel_db
from wormhole_mailbox_server.server import make_server
from wormhole_mailbox_server.web import make_web_server

from tests.programs.support import HOST

URL = f"ws://{HOST}:4400/v1"


async def main(reactor: Any, folder: Path) -> list[object]:
    """Two who know the code exchange messages; two with different codes do not."""
    server = make_server(create_channel_db(":memory:"))
    server.startService()
    reactor.listenTCP(4400, make_web_server(server, False), interface=HOST)
    seen: list[object] = []
    for codes in (("1-one-same", "1-one-same"), ("2-one-code", "2-other-code")):
        pair = [create("lan.example", URL, reactor) for _ in codes]
        for wormhole, code in zip(pair, codes, strict=True):
            wormhole.set_code(code)
        try:
            for wormhole in pair:
                wormhole.send_message(b"x" * 20000)
            messages = await gatherResults(
                [wormhole.get_message() for wormhole in pair], consumeErrors=True
            )
            seen.append([len(message) for message in messages])
            verifiers = [await wormhole.get_verifier() for wormhole in pair]
            seen.append(verifiers[0] == verifiers[1])
        except FirstError as error:
            seen.append(type(error.subFailure.value).__name__)
        for wormhole in pair:
            try:
                seen.append(await wormhole.close())
            except WrongPasswordError as error:
                seen.append(type(error).__name__)
    return seen
