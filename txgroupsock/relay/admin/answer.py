"""What a request is answered with."""

from __future__ import annotations

import http
import json
from typing import Any

from attrs import field, frozen

from txgroupsock.primitives.errors import Restorable
from txgroupsock.relay.control.control import ChangeRefused


@frozen
class Answer:
    """
    @ivar body: the whole of it.
    @ivar kind: its media type.
    @ivar status: the HTTP status code.
    @ivar headers: what it has besides the usual ones.
    """

    body: bytes
    kind: bytes = b"application/json"
    status: int = 200
    headers: dict[bytes, bytes] = field(factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, **headers: str) -> Answer:
        """An answer that is JSON."""
        body = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        return cls(body, b"application/json", status, _headers(headers))

    @classmethod
    def text(cls, text: str, status: int = 200) -> Answer:
        """An answer for people."""
        return cls(text.encode() + b"\n", b"text/plain; charset=utf-8", status)


class Refusal(Restorable, ChangeRefused):
    """
    A request is not answered with what it asks for.

    @ivar answer: but with this.
    """

    def __init__(
        self, status: int, error: str, problems: list[dict[str, str]] | None = None, **headers: str
    ) -> None:
        """
        @param error: what is wrong, and how to mend it.
        @param problems: every single thing that is wrong with what was sent: C{key} and C{text}.
        """
        super().__init__(error)
        value: dict[str, Any] = {
            "error": f"{http.HTTPStatus(status).phrase}: {error}",
            **({"problems": problems} if problems else {}),
        }
        self.answer = Answer.json(value, status, **headers)


def _headers(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.replace("_", "-").encode(): each.encode() for name, each in headers.items()}
