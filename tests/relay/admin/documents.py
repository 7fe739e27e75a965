"""Documents of the status API for tests of the page, made as docs/api.md has them."""

from __future__ import annotations

import copy
import random
from typing import Any

Document = dict[str, Any]

START = 1790000000.0
INTERVAL = 1.0
PAYLOAD = 1316
SMALL_BUFFER = (
    "the receive buffer is small: raise the limit with `sysctl -w net.core.rmem_max=4194304`"
)
UNREACHABLE = "cannot be reached now (ENETUNREACH): there is no route; see `ip route get 10.0.0.3`"


def rates(packets: float, dropped: float = 0.0) -> Document:
    """What passes in a second."""
    return {"datagrams": packets, "bits": packets * PAYLOAD * 8, "dropped": dropped}


def part(name: str, packets: float = 1000.0, **changed: Any) -> Document:
    """An input, a stage or an output, at a rate of packets."""
    made: Document = {
        "name": name,
        "state": [f"sending to {name}"],
        "warnings": [],
        "datagrams": int(packets * 3600),
        "bytes": int(packets * 3600) * PAYLOAD,
        "dropped": {},
        "rate": rates(packets),
        "buffer": {"granted": 4194304, "requested": 4194304},
    }
    made.update(changed)
    return made


def route(name: str, number: int = 1, packets: float = 1000.0, outputs: int = 2) -> Document:
    """An enabled route; its number is in its addresses."""
    group = f"239.1.{number // 250}.{number % 250 + 1}"
    return {
        "name": name,
        "isEnabled": True,
        "input": part(
            f"udp://{group}:5000?interface=eth0",
            packets,
            state=[f"joined {group} on eth0, port 5000"],
        ),
        "stages": [],
        "outputs": [
            part(
                f"udp://10.0.{each}.3:{5000 + number}",
                packets,
                state=[f"sending to 10.0.{each}.3 port {5000 + number}"],
                buffer={"granted": 1048576, "requested": 1048576},
            )
            for each in range(outputs)
        ],
    }


def leg(name: str, packets: float = 1000.0, **changed: Any) -> Document:
    """A leg of a merge."""
    made = part(name, packets, state=[f"joined {name}"])
    del made["rate"], made["warnings"]
    made.update(
        used=made["datagrams"] // 2,
        lost=12,
        duplicates=0,
        late=3,
        stray=0,
        lossRate=0.0012,
        skew={"least": 0.0, "most": 0.0123, "mean": 0.004},
        silence=0.01,
        isSilent=False,
        isActive=None,
    )
    made.update(changed)
    return made


def standby(name: str, *, isActive: bool = False, **changed: Any) -> Document:
    """A leg of a failover, which knows less."""
    nothing = dict.fromkeys(("lost", "duplicates", "late", "stray", "lossRate", "skew"))
    return leg(name, **{**nothing, "isActive": isActive, **changed})


def redundant(kind: str, *legs: Document, changes: int = 0) -> Document:
    """The input of a route that is made of several."""
    name = f"{kind} of {' and '.join(each['name'] for each in legs)}"
    made = part(name, state=[f"leg 1: joined {legs[0]['name']}"], buffer=None)
    return {**made, "redundancy": {"kind": kind, "changes": changes, "legs": list(legs)}}


def disabled(name: str) -> Document:
    """A route that is not enabled."""
    made = {"name": "udp://239.9.9.9:5000"}
    return {"name": name, "isEnabled": False, "input": made, "stages": [], "outputs": []}


def status(*routes: Document, **changed: Any) -> Document:
    """A status at START."""
    made: Document = {
        "version": "0.1.0",
        "time": START,
        "uptime": 4000.25,
        "interval": INTERVAL,
        "isReady": True,
        "reactor": {"longestTurn": 0.004},
        "workers": [],
        "change": None,
        "routes": list(routes),
        "viewers": None,
    }
    made.update(changed)
    return made


def later(before: Document, seconds: float = INTERVAL) -> Document:
    """The same a while later: what passed and what was dropped has been counted."""
    after: Document = copy.deepcopy(before)
    after["time"] += seconds
    after["uptime"] += seconds
    for each in after["routes"]:
        for end in [each["input"], *each["stages"], *each["outputs"]] if each["isEnabled"] else []:
            packets = int(end["rate"]["datagrams"] * seconds)
            end["datagrams"] += packets
            end["bytes"] += packets * PAYLOAD
            for reason in end["dropped"]:
                end["dropped"][reason] += int(end["rate"]["dropped"] * seconds)
    return after


def history(of: Document, length: int = 299) -> Document:
    """A history that leads to a status; rates swing, each route's in its own way."""

    def swinging(now: float, seed: int) -> list[float]:
        chance, factor, factors = random.Random(seed), 1.0, []
        for _ in range(length):
            factor += 0.25 * (1 - factor) + chance.gauss(0, 0.045)
            factors.append(max(factor, 0.1))
        return [now * each / factors[-1] for each in factors]

    routes = {}
    for seed, each in enumerate(of["routes"]):
        if each["isEnabled"]:
            now = each["input"]["rate"]
            routes[each["name"]] = {
                "bits": swinging(now["bits"], seed),
                "datagrams": swinging(now["datagrams"], seed),
                "dropped": [0.0] * (length - 20) + [now["dropped"]] * 20,
            }
    return {"interval": of["interval"], "time": of["time"] - of["interval"], "routes": routes}


def viewer(peer: str, seconds: float = 12.5, **changed: Any) -> Document:
    """Somebody who watches."""
    made: Document = {
        "peer": peer,
        "seconds": seconds,
        "bytes": int(seconds * 1316000),
        "skips": 0,
        "skippedDatagrams": 0,
        "skippedBytes": 0,
        "isBehind": False,
    }
    made.update(changed)
    return made


def channel(name: str, *viewers: Document, **changed: Any) -> Document:
    """An open channel with who watches it."""
    made: Document = {
        "name": name,
        "datagrams": 50000,
        "bytes": 65800000,
        "dropped": {},
        "rate": rates(1000.0),
        "given": {"bytes": 1000000, "skips": 0, "skippedDatagrams": 0, "skippedBytes": 0},
        "viewersBefore": 3,
        "stalled": 0,
        "backlog": 0,
        "viewers": list(viewers),
    }
    made.update(changed)
    return made


def viewers(*channels: Document, **changed: Any) -> Document:
    """What a status says of viewers."""
    made: Document = {
        "listening": ["127.0.0.1:8080"],
        "watching": sum(len(each["viewers"]) for each in channels),
        "limits": {"viewers": 500, "viewersPerChannel": 500, "channels": 64},
        "streams": [{"path": "/news", "name": "/udp/239.1.1.1:5000"}],
        "refused": {"403": 1, "slow": 2},
        "totals": {
            "channels": 5,
            "viewers": 40,
            "stalled": 1,
            "bytes": 123456789,
            "skips": 2,
            "skippedDatagrams": 30,
            "skippedBytes": 39480,
        },
        "channels": list(channels),
    }
    made.update(changed)
    return made
