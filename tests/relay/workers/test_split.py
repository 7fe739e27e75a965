"""Which routes of a relay go to which of several processes."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.relay.engine.feeding import feeds
from txgroupsock.relay.engine.matching import Likeness, matches
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.workers.split import resplit, split

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
    inputs = [each.input.withLatency(None) for each in routes]
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


# Where they are shared out already


def model(source: str, *targets: str) -> RouteModel:
    """A route."""
    return RouteModel.of([source], targets or ["udp://10.0.0.1:7000"])


A, B, C, D = (model(f"udp://127.0.0.1:{5000 + each}") for each in range(4))
GROUP = model("udp://239.1.1.1:5000")


@pytest.mark.parametrize(
    ("new", "worker"),
    [
        (C, 1),  # it has least outputs
        (model("udp://127.0.0.1:5000?latency=5ms", "udp://10.0.0.2:7000"), 0),  # the same input
        (model("udp://127.0.0.1:5005", "udp://127.0.0.1:5000"), 0),  # it feeds the first
        (model("udp://127.0.0.1:7009"), 0),  # it is fed by the first
    ],
)
def test_aNewRouteGoesToItsPartner(new: RouteModel, worker: int) -> None:
    """What is new goes where the same input is, or what it feeds or is fed by, or else to the
    process with least outputs.
    """
    first = model("udp://127.0.0.1:5000", "udp://127.0.0.1:7009", "udp://10.0.0.3:1")
    assert resplit([new, B, first], [first, B], [None, 1, 0], [0, 1], 2) == [worker, 1, 0]


def test_thereMayBeMoreProcessesThanThereWere() -> None:
    """Where fewer run than there may be, what is new and alone goes to another."""
    assert resplit([A, B, C, D], [A], [0, None, None, None], [0], 3) == [0, 1, 2, 0]
    assert resplit([A], [], [None], [], 4) == [0]


def test_whatIsNewStaysTogether() -> None:
    """New routes that feed each other go to one process, whichever has room."""
    chain = [model("udp://127.0.0.1:6000", "udp://127.0.0.1:6001"), model("udp://127.0.0.1:6001")]
    assert resplit([A, *chain], [A], [0, None, None], [0], 2) == [0, 1, 1]


def test_aPortStaysWhereItIs() -> None:
    """A new input that needs the port of one that goes is opened where that one can be closed."""
    wide = model("udp://:5000")
    for new, old in ((A, wide), (wide, A), (wide, GROUP), (GROUP, wide)):
        assert resplit([new, B, C], [old, B], [None, 1, None], [1, 0], 2) == [1, 0, 0]
    for new, old in ((A, model("udp://127.0.0.2:5000")), (A, GROUP), (A, B)):
        assert resplit([new], [old, old], [None], [1, 1], 2) == [0]


def test_aGroupMayBeReceivedTwice() -> None:
    """Routes that run in two processes may come to have the same group as their input."""
    assert resplit([GROUP, GROUP], [A, B], [0, 1], [0, 1], 2) == [0, 1]


def test_oneUnicastInputIsNotReceivedTwice() -> None:
    """But not the same unicast input; the error says which routes, and when it will be possible."""
    one, other = evolve(A, name="one"), evolve(A, name="other")
    with pytest.raises(RuntimeError) as caught:
        resplit([one, other], [A, B], [0, 1], [0, 1], 2)
    assert str(caught.value) == (
        "the routes one and other would both receive udp://127.0.0.1:5000, but worker 1 has the "
        "one and worker 2 the other, and only one of them can; this takes effect at the next start"
    )


@pytest.mark.parametrize("before", ["udp://127.0.0.1:5000", "udp://:5000"])
def test_portsAreNotExchanged(before: str) -> None:
    """A route that goes on cannot get a port that another process is to close."""
    old, new = evolve(model(before), name="old"), evolve(A, name="new")
    with pytest.raises(RuntimeError, match=r"^new runs in worker 2 and needs port 5000, which wor"):
        resplit([new], [old, B], [1], [0, 1], 2)


@given(before=routes(), after=routes(), count=st.integers(1, 4))
def test_whatGoesOnStaysWhereItIs(
    before: list[RouteModel], after: list[RouteModel], count: int
) -> None:
    """Whatever follows, no route that goes on is moved, each new one has a process, and a unicast
    input has one alone; or else it is refused.
    """
    shares = split(before, count)
    workers = {index: number for number, share in enumerate(shares) for index in share}
    found = matches(*([Likeness.ofModel(each) for each in some] for some in (before, after)))
    there = [workers[index] for index in range(len(before))]
    try:
        result = resplit(after, before, found, there, count)
    except RuntimeError as error:
        assert "at the next start" in str(error)  # noqa: PT017 - one of two that may be
        return
    assert all(0 <= each < count for each in result)
    for index, worker in zip(found, result, strict=True):
        assert index is None or there[index] == worker
    owners = {(r.input.received, w) for r, w in zip(after, result, strict=True)}
    unicast = [each for each, _ in owners if not each.isMulticast]
    assert len(unicast) == len(set(unicast))


def test_aBridgeIsNotDivided() -> None:
    """Two routes of different processes do not come to feed each other, since neither process
    could tell what the other one sends; in one process they may.
    """
    groups = [f"udp://239.5.5.{number}:5000" for number in (1, 2)]
    there = [RouteModel.of([group], ["udp://10.0.0.1:5010"]) for group in groups]
    bridge = [RouteModel.of([one], [other]) for one, other in (groups, groups[::-1])]
    with pytest.raises(RuntimeError, match=r"would feed each other, .* at the next start"):
        resplit(bridge, there, [0, 1], [0, 1], 2)
    assert resplit(bridge, there, [0, 1], [1, 1], 2) == [1, 1]
    assert len(split(bridge, 2)) == 1
