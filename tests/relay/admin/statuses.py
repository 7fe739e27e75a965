"""Documents as /api/status answers them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.relay.health.documents import health

RATE = {"datagrams": 1000.0, "bits": 10528000.0, "dropped": 0.5}


def end(name: str, **changes: Any) -> dict[str, Any]:
    """An input, a stage or an output."""
    return {
        "name": name,
        "state": [f"open: {name}"],
        "warnings": [],
        "datagrams": 50000,
        "bytes": 65800000,
        "dropped": {},
        "rate": dict(RATE),
        "buffer": {"granted": 212992, "requested": 4194304},
        **changes,
    }


def route(name: str, count: int = 2, **changes: Any) -> dict[str, Any]:
    """A route."""
    return {
        "name": name,
        "isEnabled": True,
        "input": end("udp://239.1.1.1:5000?interface=eth0", dropped={"kernel": 12}),
        "stages": [],
        "outputs": [end(f"udp://10.0.0.{number}:5000") for number in range(count)],
        **changes,
    }


def leg(name: str, **changes: Any) -> dict[str, Any]:
    """A leg of a merge."""
    made = end(name, buffer=None)
    del made["rate"], made["warnings"]
    return {
        **made,
        "used": 49000,
        "lost": 12,
        "duplicates": 3,
        "late": 2,
        "stray": 1,
        "lossRate": 0.002,
        "skew": {"least": 0.0, "most": 0.012, "mean": 0.004},
        "silence": 0.25,
        "isSilent": False,
        "isActive": None,
        **changes,
    }


def standby(name: str, **changes: Any) -> dict[str, Any]:
    """A leg of a failover, which knows less."""
    nothing = dict.fromkeys(("lost", "duplicates", "late", "stray", "lossRate", "skew"))
    return leg(name, **{**nothing, "isActive": False, "used": 0, **changes})


def redundant(kind: str, *legs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An input that is made of several."""
    name = f"{kind} of {' and '.join(each['name'] for each in legs)}"
    redundancy = {"kind": kind, "changes": 2, "legs": list(legs)}
    return end(name, redundancy=redundancy, buffer=None, **changes)


def viewers(**changes: Any) -> dict[str, Any]:
    """What there is of viewers."""
    given = {"bytes": 1000000, "skips": 2, "skippedDatagrams": 20, "skippedBytes": 26320}
    watcher = {"peer": "10.0.0.7:51234", "seconds": 12.5, **given, "isBehind": True}
    channel = {
        "name": "/udp/239.1.1.1:5000",
        "datagrams": 50000,
        "bytes": 65800000,
        "dropped": {"not RTP": 3},
        "rate": dict(RATE),
        "given": given,
        "viewersBefore": 3,
        "stalled": 1,
        "backlog": 4096,
        "viewers": [watcher],
        "health": health(),
    }
    return {
        "listening": ["127.0.0.1:8080"],
        "watching": 1,
        "limits": {"viewers": 500, "viewersPerChannel": 400, "channels": 64},
        "streams": [{"path": "/news", "name": "/udp/239.1.1.1:5000"}],
        "refused": {"403": 1},
        "totals": {"channels": 1, "viewers": 4, "stalled": 1, **given},
        "channels": [channel],
        **changes,
    }


def disabled(name: str) -> dict[str, Any]:
    """A route that is not enabled, with nothing but what it would be."""
    return {
        "name": name,
        "isEnabled": False,
        "input": {"name": "udp://239.1.1.3:5000"},
        "stages": [],
        "outputs": [],
    }


def document(*routes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A status."""
    return {
        "version": "0.1.0",
        "time": 1795374000.25,
        "uptime": 4000.25,
        "interval": 1.0,
        "isReady": True,
        "reactor": {"longestTurn": 0.004},
        "workers": [{"number": 1, "isReady": True, "starts": 2, "hangs": 1, "longestTurn": 0.01}],
        "change": None,
        "routes": list(routes),
        "viewers": None,
        **changes,
    }


def fullDocument() -> dict[str, Any]:
    """A status in which everything occurs that can."""
    stage = end("Filter", dropped={"not RTP": 7}, buffer=None)
    warned = end(
        "udp://10.0.0.9:5000",
        warnings=["cannot be reached now (ENETUNREACH): name the interface"],
        dropped={"ENETUNREACH": 5, "rate": 2},
    )
    small = end("udp://239.1.1.1:5000", warnings=["the receive buffer is small: raise it"])
    first, second = "udp://239.1.1.1:5000?interface=eth0", "udp://239.1.1.2:5000?interface=eth1"
    merged = redundant("merge", leg(first), leg(second, state=[], dropped={"kernel": 4}))
    backed = redundant("failover", standby(first), standby(second, isActive=True))
    return document(
        route("news", stages=[stage], health=health()),
        route("sport", input=small, outputs=[warned]),
        disabled("off"),
        route("hitless", input=merged),
        route("backed", input=backed),
        change={
            "time": 1795373000.0,
            "isDone": True,
            "text": "relay.toml was applied: 2 unchanged",
        },
        viewers=viewers(),
    )


# --- Any document --------------------------------------------------------------------------------

# Halves of surrogate pairs included, which JSON can have.
NAMES = st.text(st.characters(), max_size=20)
COUNTS = st.integers(0, 1 << 70)
BUFFERS = st.none() | st.fixed_dictionaries({"granted": COUNTS, "requested": COUNTS})
ENDS = st.builds(
    end,
    NAMES,
    state=st.lists(NAMES, max_size=2),
    warnings=st.lists(NAMES, max_size=2),
    datagrams=COUNTS,
    bytes=COUNTS,
    dropped=st.dictionaries(NAMES, COUNTS, max_size=3),
    buffer=BUFFERS,
)
ROUTES = st.builds(
    route,
    NAMES,
    isEnabled=st.booleans(),
    input=ENDS,
    stages=st.lists(ENDS, max_size=2),
    outputs=st.lists(ENDS, max_size=3),
)
DOCUMENTS = st.builds(
    lambda routes, **changes: document(*routes, **changes),
    st.lists(ROUTES | st.builds(disabled, NAMES), max_size=4),
    isReady=st.booleans(),
    viewers=st.none() | st.just(viewers()),
)
