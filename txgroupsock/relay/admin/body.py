"""What a request brings, as JSON (RFC 8259)."""

from __future__ import annotations

import json
from typing import Any


def valueIn(body: bytes) -> Any:
    """
    What a body says.

    @raise ValueError: it is no JSON, or not clear: of a key that an object has twice (section 4),
        parsers take one or the other, and say nothing; and half a character (section 8.2) cannot
        be written anywhere.  The text says which, in one line.
    """
    try:
        value = json.loads(body, object_pairs_hook=_objectOf)
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise ValueError(f"{half} in the body is half of a character: leave it out") from None
    except RecursionError:
        raise ValueError("the body is not JSON: it is nested too deeply") from None
    except _Unclear:
        raise
    except ValueError as error:  # as of a number of thousands of digits
        why = error if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        raise ValueError(f"the body is not JSON: {why}") from None


class _Unclear(ValueError):
    """It may mean this or that."""


def _objectOf(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Unclear(f"the key {key[:100]!r} is there twice: leave one out")
        found[key] = value
    return found
