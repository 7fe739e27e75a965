"""Transport streams against a parser that reads them packet by packet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.relay.health.support import rtp, runOf
from tests.relay.health.transport import NULL, Reference, packet, pat, pmt
from txgroupsock.relay.health.plan import Plan, factorFor
from txgroupsock.relay.health.ts import TSHealth
from txgroupsock.relay.health.tsfigures import TSFigures

VIDEO, AUDIO, MAP = 0x100, 0x101, 0x1000


def datagramsOf(packets: Sequence[bytes], isRTP: bool = False) -> list[bytes]:
    """Seven packets each, in RTP or not."""
    bodies = [b"".join(packets[at : at + 7]) for at in range(0, len(packets), 7)]
    if not isRTP:
        return bodies
    return [rtp(number, number * 900, payload=each) for number, each in enumerate(bodies)]


def feed(
    health: TSHealth,
    packets: Sequence[bytes],
    most: int = 16,
    arrival: float = 0.0,
    step: float = 0.0,
    **form: Any,
) -> None:
    """Give packets to it in runs of so many datagrams, so many seconds from one to the next."""
    datagrams = datagramsOf(packets, **form)
    for at in range(0, len(datagrams), most):
        health.take(runOf(datagrams[at : at + most], arrival))
        arrival += step


@given(
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, NULL), min_size=1, max_size=18, unique=True),
    st.sampled_from([1, 7, 64, 80]),
    st.booleans(),
    st.sampled_from([0.0, 0.01, 0.2]),
)
def test_continuityIsThatOfAParser(
    random: Any, pids: list[int], most: int, isRTP: bool, trouble: float
) -> None:
    """Whatever is lost, repeated, moved, scrambled or damaged, and whichever PIDs there are, in
    runs of any length: counts of packets, errors and duplicates are those of a parser.
    """
    counters = dict.fromkeys(pids, random.randrange(16))
    packets: list[bytes] = []
    for _ in range(random.randrange(1, 1500)):
        pid = random.choice(pids)
        hasPayload = random.random() < 0.9
        flags = random.choice([None, None, 0, 0x40])
        if random.random() < trouble / 4:
            flags = 0x80
            counters[pid] = random.randrange(16)
        counters[pid] = (counters[pid] + hasPayload) & 15
        made = packet(
            pid,
            counters[pid],
            hasPayload=hasPayload,
            flags=flags,
            pcr=random.randrange(1 << 41) if random.random() < 0.05 else None,
            control=random.choice([0, 0, 0, 3]) if trouble else 0,
            isDamaged=random.random() < trouble / 10,
        )
        what = random.random() / trouble if trouble else 1.0
        if what < 0.3:
            packets += [made] * random.randrange(2, 4)
        elif what < 0.6:
            packets.insert(random.randrange(max(0, len(packets) - 8), len(packets) + 1), made)
        elif what >= 0.9:
            packets.append(made)
    packets.append(packet(NULL, 0))
    reference = Reference()
    reference.take(packets)
    health = TSHealth()
    feed(health, packets, most, step=0.3, isRTP=isRTP)  # it may make a new plan each time
    figures = health.measure(0.0)
    assert figures.carrier == ("RTP" if isRTP else "UDP")
    assert (figures.packets, figures.transportErrors) == (len(packets), reference.damaged)
    assert figures.nullShare == reference.packets[NULL] / len(packets)
    del reference.packets[NULL]
    every = health.pids.values()
    for counted, name in (
        (reference.packets, "packets"),
        (reference.errors, "errors"),
        (reference.duplicates, "duplicates"),
        (reference.scrambled, "scrambled"),
    ):
        found = {each.number: getattr(each, name) for each in every if getattr(each, name)}
        assert found == dict(+counted), name
    assert figures.continuityErrors == reference.errors.total()
    assert set(figures.scrambledPIDs) == set(+reference.scrambled)


def stream(count: int, start: int = 0) -> list[bytes]:
    """One program: every tenth packet of audio, tables every hundredth, and a fifth null."""
    packets: list[bytes] = []
    counters = {0: start, MAP: start, VIDEO: start, AUDIO: start}
    for number in range(count):
        pid = VIDEO
        content, isStart, clock = b"video", False, None
        if number % 100 == 0:
            pid, content, isStart = 0, pat({1: MAP}), True
        elif number % 100 == 1:
            pid, content, isStart = MAP, pmt(1, VIDEO, {VIDEO: 0x1B, AUDIO: 0x0F}), True
        elif number % 5 == 2:
            pid = NULL
        elif number % 10 == 3:
            pid = AUDIO
        elif number % 50 == 4:
            clock = number * 27000
        packets.append(packet(pid, counters.get(pid, 0), content, isStart=isStart, pcr=clock))
        if pid != NULL:
            counters[pid] += 1
    return packets


def test_aSoundStreamIsLookedAtAsAWhole() -> None:
    """Once its PIDs are known, no packet of a sound stream is looked at by itself."""
    health = TSHealth()
    packets = stream(7 * 16 * 20)
    feed(health, packets[: 7 * 32])
    health._takeOneByOne = None  # type: ignore[assignment, method-assign]
    feed(health, packets[7 * 32 :])
    figures = health.measure(0.1)
    assert (figures.continuityErrors, figures.packets) == (0, len(packets))
    assert (figures.patErrors, figures.pmtErrors, figures.crcErrors) == (0, 0, 0)
    assert round(figures.nullShare, 3) == 0.2
    types = {each.pid: each.streamType for each in figures.busiest}
    assert types == {VIDEO: 0x1B, AUDIO: 0x0F, 0: None, MAP: None}
    assert [each.pid for each in figures.busiest if each.pcrJitter is not None] == [VIDEO]


@pytest.mark.parametrize("isRTP", [False, True])
def test_eachLossOfADatagramIsAnError(isRTP: bool) -> None:
    """A lost datagram is an error on each PID that was in it."""
    packets = stream(7 * 64)
    health = TSHealth()
    datagrams = datagramsOf(packets, isRTP)
    del datagrams[40]
    health.take(runOf(datagrams))
    lost = packets[280:287]
    expected = {each[1] << 8 & 0x1F00 | each[2] for each in lost} - {NULL}
    figures = health.measure(0.0)
    assert figures.recentContinuityErrors == figures.continuityErrors == len(expected)
    assert {each.pid for each in figures.busiest if each.continuityErrors} == expected
    assert health.measure(0.1).recentContinuityErrors == 0


def test_tablesThatStayAwayAreErrors() -> None:
    """Without PAT or PMT for 0.5 s there is one error each, and one more the next time."""
    health = TSHealth(pidLimit=2.0)
    feed(health, stream(200), arrival=10.0)
    assert health.measure(10.4).missing == ()
    figures = health.measure(10.6)
    assert figures.missing == ("PAT", f"PMT on PID {MAP}")
    assert (figures.patErrors, figures.pmtErrors, figures.pidErrors) == (1, 1, 0)
    assert health.measure(11.0).patErrors == 1
    feed(health, stream(200, 2), arrival=11.0)
    assert health.measure(11.0).missing == ()
    figures = health.measure(13.1)
    assert figures.missing[2:] == (f"PID {VIDEO}", f"PID {AUDIO}")
    assert (figures.patErrors, figures.pmtErrors, figures.pidErrors) == (2, 2, 2)
    feed(health, stream(200, 4), arrival=14.0)
    feed(health, stream(200, 6), arrival=14.7)  # nobody looked meanwhile
    assert health.measure(14.7).patErrors == 3


def test_whatAPATNoLongerHasIsNotMissed() -> None:
    """A program that is taken out of the PAT is waited for no longer; nor are its PIDs."""
    health = TSHealth()
    feed(health, stream(200))
    feed(health, [packet(0, 2, pat({}, version=1), isStart=True)] * 7)
    assert health.measure(0.4).missing == ()
    figures = health.measure(60.0)
    assert figures.missing == ("PAT",)
    assert (figures.pmtErrors, figures.pidErrors) == (0, 0)


def test_aTableWithAWrongCRCIsNotBelieved() -> None:
    """It counts, and changes nothing."""
    health = TSHealth()
    feed(health, stream(200))
    wrong = bytearray(pat({1: 0x20}, version=2))
    wrong[-1] ^= 1
    feed(health, [packet(0, 2, bytes(wrong), isStart=True)] * 7)
    figures = health.measure(1.0)
    assert figures.crcErrors >= 1
    assert figures.missing == ("PAT", f"PMT on PID {MAP}")


def test_aTableMayTakeSeveralPackets() -> None:
    """A PMT that does not fit into a packet is put together, also across a lost one."""
    types = {0x200 + each: 0x0F for each in range(60)}
    table = pmt(1, VIDEO, {VIDEO: 0x1B, **types})
    parts = [table[at : at + 184] for at in range(0, len(table), 184)]
    assert len(parts) == 2
    tables = [packet(MAP, number, each, isStart=not number) for number, each in enumerate(parts)]
    health = TSHealth()
    feed(health, [packet(0, 0, pat({1: MAP}), isStart=True), tables[0]])
    feed(health, [packet(MAP, 3, parts[1])])
    assert VIDEO not in health.pids
    feed(health, [packet(MAP, 4, parts[0], isStart=True), packet(MAP, 5, parts[1])])
    assert health.pids[VIDEO].streamType == 0x1B
    assert all(health.pids[each].streamType == 0x0F for each in types)
    assert health.measure(0.0).pids == 2  # only what has come counts


def test_syncIsLostAndFound() -> None:
    """One packet without sync byte is an error, two are a loss, and five good ones end it."""
    health = TSHealth()
    packets = stream(7 * 10)
    broken = b"\0" + bytes(187)
    packets[10] = broken
    feed(health, packets[:35])
    figures = health.measure(0.0)
    assert (figures.isInSync, figures.syncLosses, figures.syncByteErrors) == (True, 0, 1)
    feed(health, [broken] * 7 + packets[35:39])
    figures = health.measure(0.0)
    assert (figures.isInSync, figures.syncLosses, figures.recentSyncByteErrors) == (False, 1, 7)
    feed(health, packets[39:])
    figures = health.measure(0.0)
    assert (figures.isInSync, figures.syncLosses, figures.syncByteErrors) == (True, 1, 8)
    assert figures.continuityErrors == 1  # that of the packet which the first broken one was


def test_afterALossOfSyncCountersAreNew() -> None:
    """What came before says nothing of what comes after, for each PID there is."""
    health = TSHealth()
    packets = stream(7 * 64)
    feed(health, packets[:210])
    feed(health, [b"x" * 188] * 7 + packets[263:])
    feed(health, stream(7 * 64)[210:], arrival=1.0)
    figures = health.measure(1.0)
    assert figures.syncLosses == 1
    expected = Reference()
    expected.take(packets[267:])  # four packets later there is sync again
    expected.take(stream(7 * 64)[210:])
    assert figures.continuityErrors == expected.errors.total()


def test_tablesThatNeverStayAreNotAlwaysFollowed() -> None:
    """Somebody who makes up tables costs no more than so much a second; true ones are followed
    when that is over.
    """
    health = TSHealth()
    feed(health, [packet(number, 0) for number in range(1, NULL)])
    made = [
        packet(0, number, pat({number + 1: number % 8000 + 16}, number % 32), isStart=True)
        for number in range(700)
    ]
    feed(health, made)
    assert list(health._tables.pmts) == [7 + 16]  # the 8th is the last that is followed
    feed(health, [packet(0, 700, pat({1: MAP}, 7), isStart=True)] * 7, arrival=0.3)
    assert list(health._tables.pmts) == [MAP]


def test_whatTablesMayNameHasABound() -> None:
    """Made-up PMTs are forgotten with the PIDs that they named; those of others are kept to."""
    health = TSHealth()
    programs = {number + 1: number + 2000 for number in range(40)}
    rounds = 12
    for turn in range(rounds):
        feed(health, [packet(0, turn, pat(programs, turn), isStart=True)], arrival=9.0 * turn)
        for number, (program, where) in enumerate(programs.items()):
            first = (turn * 997 + number * 37) % 5000 + 100
            table = pmt(program, first, {first + each: 2 for each in range(30)}, turn)
            arrival = 9.0 * turn + 0.25 * number / 8
            feed(health, [packet(where, turn, table, isStart=True)], arrival=arrival)
            feed(health, [packet(first + each, turn) for each in range(30)], arrival=arrival)
    assert len(health.pids) <= 512 + 1 + 40 + 1024 + 1
    assert health._tables._names.total() <= 1024
    figures = health.measure(1000.0)
    assert len(figures.missing) == 64
    named = set(health._tables._names)
    assert {number for number, pid in health.pids.items() if pid.due is not None} == named


def test_clocksAreCompared() -> None:
    """PCRs that come too late, go back or leap are errors, and a told discontinuity is none."""
    health = TSHealth()

    def clock(number: int, seconds: float, at: float, flags: int = 0) -> None:
        made = packet(VIDEO, number, pcr=round(seconds * 27_000_000), flags=flags)
        feed(health, [made, packet(NULL, 0)], arrival=at)

    for number in range(20):
        clock(number, 95_443 + number * 0.04, number * 0.04)  # goes round at 95,443.7 s
    figures = health.measure(1.0)
    assert (figures.pcrRepetitionErrors, figures.pcrDiscontinuityErrors) == (0, 0)
    assert figures.pcrJitter is not None
    assert figures.pcrJitter < 1e-3
    clock(20, 5.0, 0.8)  # leaps
    clock(21, 5.2, 1.0)  # late, and by that also too far on
    clock(22, 9.0, 1.04, flags=0x80)  # as is said there
    clock(23, 9.04, 1.096)  # 16 ms later than it should be
    figures = health.measure(1.1)
    assert (figures.pcrRepetitionErrors, figures.pcrDiscontinuityErrors) == (1, 2)
    assert figures.pcrJitter == pytest.approx(1.0, abs=0.01)
    assert figures.mostPCRJitter == pytest.approx(1.0, abs=0.01)


def test_anythingElseIsNoStream() -> None:
    """Without a stream nothing is claimed; what comes among one is counted apart."""
    health = TSHealth()
    health.take(runOf([b""]))
    health.take(runOf([bytes(1316)] * 4))
    health.take(runOf([rtp(1, payload=b"x" * 188)]))
    assert health.measure(1.0) == TSFigures()
    feed(health, stream(70))
    health.take(runOf([b"hello", b"x"]))
    figures = health.measure(1.0)
    assert (figures.isTS, figures.otherDatagrams, figures.packets) == (True, 2, 70)


def test_aStreamMayGoOverToRTP() -> None:
    """How packets are carried is found again if it changes, with nothing lost."""
    health = TSHealth()
    packets = stream(7 * 60)
    feed(health, packets[:140])
    feed(health, packets[140:280], isRTP=True)
    assert health.measure(0.0).carrier == "RTP"
    feed(health, packets[280:])
    figures = health.measure(0.0)
    assert (figures.carrier, figures.continuityErrors, figures.packets) == ("UDP", 0, 420)


def test_everyPIDAtOnceTakesLittle() -> None:
    """So many of all 8,191 PIDs are followed, all packets counted, and what is shown bounded."""
    health = TSHealth()
    for counter in (0, 1, 3):
        feed(health, [packet(number, counter) for number in range(NULL)])
    figures = health.measure(0.0)
    assert (figures.pids, figures.continuityErrors) == (513, 513)
    assert figures.packets == 3 * NULL
    assert len(figures.busiest) == len(figures.scrambledPIDs) + 64


@given(st.sets(st.integers(0, NULL - 1), min_size=1, max_size=15))
def test_nearlyAnyFifteenPIDsHaveAPlan(numbers: set[int]) -> None:
    """What tells PIDs apart does so."""
    factor = factorFor([*numbers, NULL])
    if factor is not None:
        keys = {((each >> 8) * factor ^ each) & 0xFF for each in (*numbers, NULL)}
        assert len(keys) == len(numbers) + 1
    assert Plan.of([]) is None


@given(st.lists(st.binary(min_size=188, max_size=188), min_size=1, max_size=30))
def test_nothingThatComesRaises(packets: list[bytes]) -> None:
    """Whatever packets hold, they are counted."""
    health = TSHealth()
    feed(health, stream(140))
    feed(health, [b"\x47" + each[1:] for each in packets])
    feed(health, [packet(0, 2, each[:184], isStart=True) for each in packets])
    feed(health, packets)
    assert health.measure(1.0).packets == 140 + 3 * len(packets)
