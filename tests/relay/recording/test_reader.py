"""What a capture file holds is read, whoever wrote it, as far as it is whole."""

from __future__ import annotations

import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.relay.recording.captures import (
    block,
    interface,
    ipv4,
    ipv6,
    option,
    packet,
    pcap,
    section,
    udp,
)
from txgroupsock.relay.recording.frames import LINK_TYPES
from txgroupsock.relay.recording.reader import Capture, CaptureError, Recorded, readDatagrams

SOURCE, DESTINATION = ("192.0.2.1", 5000), ("232.1.1.1", 5004)
SECOND = 1_000_000_000


def captureOf(folder: Path, content: bytes) -> Capture:
    """A file with some content."""
    path = folder / "capture.pcap"
    path.write_bytes(content)
    return readDatagrams(path)


def payloads(capture: Capture) -> list[bytes]:
    """Of all its datagrams."""
    return [each.payload for each in capture]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B23C4D, 0xA1B2C3D4])
def test_pcapIsReadInBothOrdersAndUnits(order: str, magic: int, tmp_path: Path) -> None:
    """Micro- and nanoseconds, little and big endian, give the same."""
    frames = [(1.25, ipv4(udp(b"one"))), (4_294_967_295.5, ipv6(udp(b"")))]
    capture = captureOf(tmp_path, pcap(frames, order=order, magic=magic))
    assert list(capture) == [
        Recorded(1_250_000_000, SOURCE, DESTINATION, b"one"),
        Recorded(4_294_967_295_500_000_000, ("2001:db8::1", 5000), ("ff3e::1", 5004), b""),
    ]
    assert capture.tear is None
    assert not capture.skipped


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapngIsRead(order: str, tmp_path: Path) -> None:
    """Interfaces have their own links and times; other blocks are passed over."""
    frame = ipv4(udp(b"x"))
    file = (
        section(order)
        + block(0x0BAD, bytes(200_000), order)
        + interface(101, order)
        + interface(1, order, option(9, b"\x09", order) + option(0, b"", order))
        + interface(
            101, order, option(9, b"\x8a", order) + option(14, struct.pack(order + "q", 7), order)
        )
        + packet(1_500_000, frame, 0, order)
        + packet(1_500_000_001, bytes(12) + b"\x08\0" + frame, 1, order)
        + packet(512, frame, 2, order)
        + block(3, struct.pack(f"{order}I", len(frame)) + frame, order)
        + block(2, struct.pack(f"{order}HHIIII", 0, 0, 0, 9, len(frame), len(frame)) + frame, order)
    )
    capture = captureOf(tmp_path, file + section("<") + interface() + packet(3, ipv4(udp(b"y"))))
    found = [(each.time, each.payload) for each in capture]
    assert found == [
        (1_500_000_000, b"x"),
        (1_500_000_001, b"x"),
        (7 * SECOND + SECOND // 2, b"x"),
        (9_000, b"x"),
        (3_000, b"y"),
    ]
    assert capture.tear is None
    assert capture.skipped == {"no time": 1}


FRAMES = {
    "NULL": (0, b"\2\0\0\0", 4),
    "NULL, big endian": (0, b"\0\0\0\2", 4),
    "LOOP": (108, b"\0\0\0\2", 4),
    "ethernet": (1, bytes(12) + b"\x08\0", 4),
    "VLAN": (1, bytes(12) + b"\x81\0\0\7\x08\0", 4),
    "VLAN in VLAN": (1, bytes(12) + b"\x88\xa8\0\7\x81\0\0\x08\x86\xdd", 6),
    "SLL": (113, bytes(14) + b"\x08\0", 4),
    "SLL, VLAN": (113, bytes(14) + b"\x81\0\0\7\x08\0", 4),
    "SLL2": (276, b"\x86\xdd" + bytes(18), 6),
    "RAW": (101, b"", 6),
    "RAW of OpenBSD": (14, b"", 4),
    "IPv4": (228, b"", 4),
    "IPv6": (229, b"", 6),
}


@pytest.mark.parametrize(("link", "before", "version"), FRAMES.values(), ids=FRAMES)
def test_everyLinkIsRead(link: int, before: bytes, version: int, tmp_path: Path) -> None:
    """What is before IP is known; what is behind UDP, as ethernet's padding, is left out."""
    frame = (ipv4 if version == 4 else ipv6)(udp(b"payload"))
    assert payloads(captureOf(tmp_path, pcap([(0, before + frame + bytes(9))], link))) == [
        b"payload"
    ]


SKIPPED = {
    "TCP": (ipv4(bytes(20), protocol=6), "not UDP"),
    "ICMPv6": (ipv6(bytes(8), following=58), "not UDP"),
    "no IP": (b"\x10" + bytes(40), "not UDP"),
    "first fragment": (ipv4(udp(b"x"), fragment=0x2000), "fragment"),
    "last fragment": (ipv4(udp(b"x"), fragment=5), "fragment"),
    "fragment of IPv6": (ipv6(b"\x11\0\0\1" + bytes(4) + udp(b"x"), following=44), "fragment"),
    "half a header": (ipv4(b"")[:13], "malformed"),
    "header of 16 bytes": (b"\x44" + ipv4(udp(b"x"))[1:], "malformed"),
    "UDP of 7 bytes": (ipv4(b"\0\1\0\2\0\7\0\0"), "malformed"),
    "UDP longer than IP": (ipv4(b"\0\1\0\2\0\x20\0\0"), "malformed"),
    "IP longer than the frame": (ipv4(udp(bytes(10)))[:-1], "malformed"),
    "nothing": (b"", "malformed"),
}


@pytest.mark.parametrize(("frame", "why"), SKIPPED.values(), ids=SKIPPED)
def test_whatIsNoDatagramIsCounted(frame: bytes, why: str, tmp_path: Path) -> None:
    """It is skipped, under a word that says why, and what follows is read."""
    capture = captureOf(tmp_path, pcap([(0, frame), (1, ipv4(udp(b"x")))]))
    assert payloads(capture) == [b"x"]
    assert capture.skipped == {why: 1}


EXTENDED = {
    "options of IPv4": ipv4(udp(b"x"), options=bytes(8)),
    "hop-by-hop, routing": ipv6(
        b"\x2b\1" + bytes(14) + b"\x11\0" + bytes(6) + udp(b"x"), following=0
    ),
    "authentication": ipv6(b"\x11\4" + bytes(22) + udp(b"x"), following=51),
    "the only fragment": ipv6(b"\x11" + bytes(7) + udp(b"x"), following=44),
}


@pytest.mark.parametrize("frame", EXTENDED.values(), ids=EXTENDED)
def test_moreHeadersArePassed(frame: bytes, tmp_path: Path) -> None:
    """UDP is found behind options and extension headers."""
    assert payloads(captureOf(tmp_path, pcap([(0, frame)]))) == [b"x"]


def test_whatWasCutIsCounted(tmp_path: Path) -> None:
    """A frame of which only the beginning was captured gives no datagram."""
    frame = ipv4(udp(bytes(100)))
    record = struct.pack("<IIII", 0, 0, 60, len(frame)) + frame[:60]
    capture = captureOf(tmp_path, pcap([]) + record)
    assert payloads(capture) == []
    assert capture.skipped == {"truncated": 1}


def test_readingAnewBeginsAnew(tmp_path: Path) -> None:
    """The second time is as the first, counts included."""
    capture = captureOf(tmp_path, pcap([(0, b""), (0, ipv4(udp(b"x")))]) + b"torn")
    for _ in range(2):
        assert payloads(capture) == [b"x"]
        assert capture.skipped == {"malformed": 1}
        assert capture.tear is not None


PCAP = pcap([(each, ipv4(udp(b"%d" % each))) for each in range(3)])
PCAPNG = (
    section() + interface() + b"".join(packet(each, ipv4(udp(b"%d" % each))) for each in range(3))
)


@pytest.mark.parametrize(("whole", "header"), [(PCAP, 24), (PCAPNG, 48)], ids=["pcap", "pcapng"])
def test_aTornFileIsReadUpToTheTear(whole: bytes, header: int, tmp_path: Path) -> None:
    """Wherever it ends, every whole record is given, and a tear within one is told."""
    record = (len(whole) - header) // 3
    for size in range(4, len(whole) + 1):
        capture = captureOf(tmp_path, whole[:size])
        if header == 48 and size < 12:
            continue  # that it is pcapng is not known before that
        count = max(0, size - header) // record
        assert payloads(capture) == [b"%d" % each for each in range(count)]
        isWhole = size >= header and (size - header) % record == 0
        isWhole |= header == 48 and size == 28  # between two blocks before the first packet
        assert (capture.tear is None) == isWhole, size
        if capture.tear is not None and size > header:
            assert f"at byte {header + count * record:,} of" in capture.tear


DAMAGED = {
    "a record of 4 GB": pcap([]) + b"\xff" * 60,
    "a block of 4 GB": section() + interface() + b"\6\0\0\0" + b"\xfc" * 60,
    "a huge block to pass over": section() + b"\7\0\0\0\xfc\xff\xff\xff" + bytes(60),
    "no interface": section() + packet(0, b""),
    "another length at its end": section() + interface()[:-4] + b"\x10\0\0\0",
    "a section without order": section() + b"\n\r\r\n" + bytes(40),
    "a short interface": section() + block(1, b""),
    "a short packet": section() + interface() + block(6, bytes(4)),
    "an endless block": section() + block(9, b"")[:4] + bytes(20),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damageIsATear(content: bytes, tmp_path: Path) -> None:
    """What cannot be ends reading there, and what is before it counts."""
    capture = captureOf(tmp_path, content)
    assert payloads(capture) == []
    assert capture.tear is not None
    assert "capture.pcap" in capture.tear


JUNK = {
    b"": "it is empty",
    b"\xa1": "neither pcap nor pcapng",
    b"Hello, world": "neither pcap nor pcapng",
    b"\x1f\x8b\x08\0\0\0\0": "gunzip",
    b"\n\r\r\n" + bytes(20): "only begins like pcapng",
    pcap([])[:4] + b"\3\0" + pcap([])[6:]: "pcap 3.4",
    pcap([], link=105): "of type 105",
}


@pytest.mark.parametrize(("content", "why"), JUNK.items(), ids=JUNK.values())
def test_whatIsNoCaptureIsAnError(content: bytes, why: str, tmp_path: Path) -> None:
    """It says which file, and why."""
    with pytest.raises(CaptureError, match=rf"capture\.pcap.*{why}"):
        list(captureOf(tmp_path, content))


def test_whatCannotBeOpenedIsAnError(tmp_path: Path) -> None:
    """A missing file and a folder are told from each other."""
    with pytest.raises(CaptureError, match="No such file"):
        list(readDatagrams(tmp_path / "missing"))
    with pytest.raises(CaptureError, match="directory"):
        list(readDatagrams(tmp_path))


def test_anInterfaceThatCannotBeReadIsCounted(tmp_path: Path) -> None:
    """Of a pcapng file the other interfaces are read."""
    file = (
        section() + interface(105) + interface() + packet(0, b"x") + packet(0, ipv4(udp(b"y")), 1)
    )
    capture = captureOf(tmp_path, file)
    assert payloads(capture) == [b"y"]
    assert capture.skipped == {"link type 105": 1}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for Hypothesis to fill."""
    return tmp_path_factory.mktemp("fuzz") / "capture.pcap"


BEGINNINGS = [b"", *[pcap([], each) for each in LINK_TYPES], section(), section() + interface()]


def readWhatever(file: Path) -> int:
    """How many datagrams there are, if it is a capture."""
    with suppress(CaptureError):
        return sum(isinstance(each, Recorded) for each in readDatagrams(file))
    return 0


@given(
    beginning=st.sampled_from(BEGINNINGS),
    frames=st.lists(st.binary(max_size=120), max_size=4),
    rest=st.binary(max_size=400),
)
@settings(max_examples=400, deadline=None)
def test_anyBytesGiveDatagramsOrAClearError(
    beginning: bytes, frames: list[bytes], rest: bytes, file: Path
) -> None:
    """Whatever a file holds."""
    if beginning[:4] == pcap([])[:4]:
        beginning += b"".join(pcap([(0, each)])[24:] for each in frames)
    elif len(beginning) > 28:
        beginning += b"".join(packet(0, each) for each in frames)
    file.write_bytes(beginning + rest)
    readWhatever(file)


@given(flips=st.lists(st.tuples(st.integers(0, len(PCAPNG) - 1), st.integers(0, 255)), max_size=6))
@settings(max_examples=300, deadline=None)
def test_damageAnywhereIsNoWorse(flips: list[tuple[int, int]], file: Path) -> None:
    """Bytes changed in a good file."""
    for whole in PCAP, PCAPNG:
        content = bytearray(whole)
        for at, value in flips:
            content[at % len(content)] = value
        file.write_bytes(content)
        assert readWhatever(file) <= 3


def test_readingTakesLittleMemory(tmp_path: Path) -> None:
    """A file is not read into memory, nor are blocks that say they are huge."""
    frame = ipv4(udp(bytes(1316)))
    path = tmp_path / "large.pcapng"
    with path.open("wb") as writing:
        writing.write(section() + block(9, bytes(30_000_000)) + interface())
        for each in range(10_000):
            writing.write(packet(each, frame))
    tracemalloc.start()
    try:
        assert sum(1 for _ in readDatagrams(path)) == 10_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
