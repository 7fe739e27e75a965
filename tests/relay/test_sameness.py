"""Datagrams of the same content: counted in runs, and remembered."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.relay.loops import SOURCE, runsOf
from txgroupsock.primitives.run import Run
from txgroupsock.relay.sameness import Relayed, copiesIn, firstOf, lastOf, tellingOffset

# Few different bytes, so that much is equal or nearly so.
payloads = st.lists(st.sampled_from([b"a", b"b"]), max_size=5).map(b"".join)


def run(*datagrams: bytes, now: float = 0.0) -> Run:
    """Datagrams that make one run."""
    (whole,) = runsOf([(SOURCE, each) for each in datagrams], now)
    return whole


@given(st.lists(payloads, max_size=30), st.lists(payloads, max_size=5, unique=True))
def test_copiesAreCounted(datagrams: list[bytes], contents: list[bytes]) -> None:
    """Over all runs, as many copies of each content are found as there are."""
    found: Counter[bytes] = Counter()
    for each in runsOf([(SOURCE, each) for each in datagrams], 0.0):
        for index, count in copiesIn(each, contents):
            found[contents[index]] += count
    assert found == Counter(each for each in datagrams if each in contents)


@given(st.lists(payloads, min_size=1, max_size=30))
def test_theFirstIsTheFirst(datagrams: list[bytes]) -> None:
    """The first of a run is a copy of its first datagram."""
    assert firstOf(runsOf([(SOURCE, each) for each in datagrams], 0.0)[0]) == datagrams[0]


@given(st.lists(payloads, max_size=20), st.lists(payloads, max_size=20))
def test_whatIsUnknownIsLeft(before: list[bytes], datagrams: list[bytes]) -> None:
    """Of later runs, just what was not relayed before is left, in order."""
    relayed = Relayed(0.0)
    for each in runsOf([(SOURCE, each) for each in before], 0.0):
        relayed.add(each)
    left = [
        bytes(datagram)
        for each in runsOf([(SOURCE, each) for each in datagrams], 1.0)
        for part in relayed.unknownOf(each)
        for datagram in part
    ]
    assert left == [each for each in datagrams if each not in before]


@given(st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=20), st.data())
def test_whereOneLooksFirstMakesNoDifference(datagrams: list[bytes], data: st.DataObject) -> None:
    """The byte that is looked at first changes nothing; it is one that differs, if any does."""
    run = Run(memoryview(b"".join(datagrams)), 4, ("10.0.0.1", 1), 0.0)
    assert lastOf(run) == datagrams[-1]
    offset = tellingOffset(datagrams[0], datagrams)
    differing = [each for each in datagrams if each != datagrams[0]]
    assert not differing or datagrams[0][offset] != differing[0][offset]
    contents = list(dict.fromkeys(datagrams))
    offsets = [data.draw(st.integers(0, 3)) for _ in contents]
    expected = [(index, datagrams.count(each)) for index, each in enumerate(contents)]
    assert list(copiesIn(run, contents, offsets)) == expected


def test_partsAreNotCopies() -> None:
    """What is left of a run lies in the run's own memory, with its sender and time."""
    relayed = Relayed(0.0)
    relayed.add(run(b"b"))
    whole = run(b"a", b"b", b"c", b"d", now=1.0)
    first, second = relayed.unknownOf(whole)
    assert (bytes(first.data), bytes(second.data)) == (b"a", b"cd")
    assert first.data.obj is whole.data.obj
    assert (second.sender, second.arrival, len(second)) == (SOURCE, 1.0, 2)


def test_itRemembersForSecondsOnly() -> None:
    """What was relayed is known for two seconds at least, and unknown after four."""
    relayed = Relayed(0.0)
    relayed.add(run(b"x", now=1.9))
    relayed.add(run(b"y", now=3.0))
    assert not relayed.unknownOf(run(b"x", now=3.9))
    assert relayed.unknownOf(run(b"x", now=6.0))


def test_anOldMemoryIsForgottenAtOnce() -> None:
    """After a long silence nothing is known."""
    relayed = Relayed(0.0)
    relayed.add(run(b"x"))
    assert relayed.unknownOf(run(b"x", now=60.0))
    relayed.add(run(b"y", now=60.0))
    assert relayed.unknownOf(run(b"x", now=60.1))


def test_itsMemoryIsBounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more datagrams than it can remember, it remembers the newest."""
    monkeypatch.setattr(Relayed, "most", 100)
    relayed = Relayed(0.0)
    for number in range(1000):
        relayed.add(run(b"%d" % number))
        assert len(relayed._young) + len(relayed._old) <= 200
    for number in range(900, 1000):
        assert not relayed.unknownOf(run(b"%d" % number))
    assert relayed.unknownOf(run(b"0"))
