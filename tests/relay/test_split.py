"""Which routes of a relay go to which of several processes."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.relay.circles import feeds
from txgroupsock.relay.plan import RouteModel
from txgroupsock.relay.split import split

ADDRESSES = ["239.1.1.1", "239.1.1.2", "127.0.0.1", ""]
INPUTS = st.builds(
    "udp://{}:{}{}".format,
    st.sampled_from(ADDRESSES),
    st.integers(5000, 5003),
    st.sampled_from(["", "?latency=10ms"]),
)
OUTPUTS = st.builds("udp://{}:{}".format, st.sampled_from(ADDRESSES[:3]), st.integers(5002, 5009))


@st.composite
def routes(draw: st.DrawFn) -> list[RouteModel]:
    """Routes that share inputs and feed each other often; circles among them are no matter here."""
    found = []
    for _ in range(draw(st.integers(1, 12))):
        source = draw(INPUTS)
        port = source.partition("?")[0].rpartition(":")[2]
        targets = draw(st.lists(OUTPUTS, min_size=1, max_size=4, unique=True))
        targets = [each for each in targets if not each.endswith(port)]
        found.append(RouteModel.of([source], targets or ["udp://10.0.0.1:5010"]))
    return found


@given(routes=routes(), count=st.integers(1, 8))
def test_everyRouteHasOneProcess(routes: list[RouteModel], count: int) -> None:
    """Every route is in one share, no share is empty, and each keeps the order of its routes."""
    shares = split(routes, count)
    assert 1 <= len(shares) <= count
    assert all(each and each == sorted(each) for each in shares)
    assert sorted(index for each in shares for index in each) == list(range(len(routes)))
    assert split(routes, count) == shares


@given(routes=routes(), count=st.integers(1, 8))
def test_whatBelongsTogetherStaysTogether(routes: list[RouteModel], count: int) -> None:
    """Routes with the same input, whatever their latency, are in one share; so are those of which
    one feeds the other.
    """
    worker = {index: each for each, share in enumerate(split(routes, count)) for index in share}
    for one, other in feeds(routes):
        assert worker[one] == worker[other]
    inputs = [evolve(each.input, latency=None) for each in routes]
    for index, each in enumerate(inputs):
        assert worker[index] == worker[inputs.index(each)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 8))
def test_theRestIsBalancedByOutputs(sizes: list[int], count: int) -> None:
    """Of routes with nothing in common, no share has more outputs than another but for one route;
    and there are as many shares as there is work for.
    """
    routes = [
        RouteModel.of(
            [f"udp://239.1.1.{number}:5000"],
            [f"udp://10.0.{number}.{each}:6000" for each in range(1, size + 1)],
        )
        for number, size in enumerate(sizes)
    ]
    shares = split(routes, count)
    assert len(shares) == min(count, len(sizes))
    loads = [sum(sizes[index] for index in share) for share in shares]
    for share, load in zip(shares, loads, strict=True):
        assert load - min(sizes[index] for index in share) <= min(loads)


def test_thousandRoutesWithOneInputAreOneShare() -> None:
    """However many routes use an input, they have one process."""
    many = [RouteModel.of(["udp://:5000"], [f"udp://10.0.0.1:{6000 + n}"]) for n in range(1000)]
    assert split(many, 256) == [list(range(1000))]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["udp://:5000"], ["udp://10.0.0.1:5000"]),
        (
            [
                "udp://10.0.0.1@232.1.1.1:5000?interface=eth0",
                "udp://10.0.0.2@232.1.1.1:5000?interface=eth0&latency=250ms",
            ],
            ["udp://example.org:6000?ttl=8&dscp=34&rate=2M"],
        ),
        (["udp://[fe80::1%eth0]:5000"], ["udp://[2001:db8::1]@[ff15::1]:5000?interface=lo"]),
    ],
)
def test_aRouteGoesThroughJSON(inputs: list[str], outputs: list[str]) -> None:
    """A route comes out of JSON as it went in."""
    route = RouteModel.of(inputs, outputs)
    assert RouteModel.fromJSON(json.loads(json.dumps(route.toJSON()))) == route
