"""A status document is read as a whole or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.relay.admin.statuses import DOCUMENTS, disabled, document, end, fullDocument, route
from txgroupsock.tools.top.snapshot import Snapshot


def read(status: Any) -> Snapshot:
    """What is made of a document that came by HTTP."""
    return Snapshot.parse(json.dumps(status).encode())


def test_sumsAreThoseOfTheParts() -> None:
    """A route's rates are its input's, and the sum of its outputs'; drops are those of all."""
    (one,) = read(document(route("news", 3))).routes
    assert (one.bitsIn, one.bitsOut, one.packets) == (10528000, 3 * 10528000, 1000)
    assert (one.drops, one.dropped) == (4 * 0.5, 12)


@pytest.mark.parametrize(
    ("described", "state"),
    [
        (route("a"), "open"),
        (route("a", input=end("in", warnings=["x", "y"])), "2 warn"),
        (route("a", input=end("in", state=[], warnings=["why"])), "closed"),
        (disabled("a"), "disabled"),
    ],
)
def test_aRouteHasAState(described: dict[str, Any], state: str) -> None:
    """It is open, with warnings, closed or disabled."""
    (one,) = read(document(described)).routes
    assert one.state == state


def test_aRefusedChangeHasItsText() -> None:
    """Only a change that was refused has something to say."""
    change = {"time": 1.0, "isDone": False, "text": "relay.toml:7: no"}
    assert read(document(change=change)).refusal == "relay.toml:7: no"
    assert read(fullDocument()).refusal == ""


@given(DOCUMENTS)
def test_anyDocumentCanBeRead(status: dict[str, Any]) -> None:
    """Whatever things are called, and however much there is of them."""
    assert len(read(status).routes) == len(status["routes"])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.data(), JSON)
def test_whatIsNoStatusIsRefused(data: st.DataObject, junk: Any) -> None:
    """With anything in any place of it, a document is read or refused, and nothing else happens."""
    status: Any = {"": fullDocument()}
    holder: Any = status
    key: Any = ""
    while isinstance(holder[key], dict | list) and holder[key] and data.draw(st.booleans()):
        holder = holder[key]
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = data.draw(st.sampled_from(keys))
    holder[key] = junk
    try:
        read(status[""])
    except ValueError:
        pass


@pytest.mark.parametrize(
    "text", [b"", b"<html>", b"\xff", b"[" * 100000, b"{}", b"null", b'{"uptime": 1e999}']
)
def test_otherAnswersAreRefused(text: bytes) -> None:
    """A page, or what is no JSON, is no status."""
    with pytest.raises(ValueError, match="not what a relay answers"):
        Snapshot.parse(text)
