"""What is written as a capture is what was held, for this reader and for tshark."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.relay.recording.captures import tshark
from txgroupsock.relay.recording.pcapfile import FILE_START, Framer, Held
from txgroupsock.relay.recording.reader import Recorded, readDatagrams

GROUP4, GROUP6 = ("232.1.1.1", 5004), ("ff3e::8000:1", 5004)
SENDER4, SENDER6 = ("192.0.2.1", 5000), ("2001:db8::1", 5000)
FAMILIES = pytest.mark.parametrize(
    ("sender", "group"), [(SENDER4, GROUP4), (SENDER6, GROUP6)], ids=["IPv4", "IPv6"]
)
TIME = 1_800_000_000.25


def hold(*payloads: bytes, sender: tuple[str, int] = SENDER4, time: float = TIME) -> Held:
    """A run of datagrams, all of one size but the last."""
    return b"".join(payloads), len(payloads[0]), sender, time


# The family is no parameter: pytest-twisted can run only one item of a Hypothesis test.
@given(
    isIPv4=st.booleans(),
    size=st.integers(1, 40),
    count=st.integers(1, 9),
    rest=st.integers(0, 39),
    seed=st.binary(),
)
def test_whatIsWrittenIsRead(
    isIPv4: bool,
    size: int,
    count: int,
    rest: int,
    seed: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever the run: the last datagram may be shorter."""
    sender, group = (SENDER4, GROUP4) if isIPv4 else (SENDER6, GROUP6)
    payloads = [(bytes([each]) + seed + bytes(size))[:size] for each in range(count)]
    if 0 < rest < size:
        payloads.append(bytes(rest))
    path = tmp_path_factory.getbasetemp() / "written.pcap"
    path.write_bytes(FILE_START + Framer(group).records(hold(*payloads, sender=sender)))
    capture = readDatagrams(path)
    time = 1_800_000_000_250_000_000
    assert list(capture) == [Recorded(time, sender, group, each) for each in payloads]
    assert capture.tear is None
    assert not capture.skipped


@FAMILIES
def test_tsharkIsContent(sender: tuple[str, int], group: tuple[str, int], tmp_path: Path) -> None:
    """Times, addresses, ports and payloads are right, and so is every checksum that there is."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    runs = [
        hold(b"\xff" * 1316, bytes(1316), bytes(range(250)), sender=sender),
        hold(b"", sender=sender),
        hold(b"odd", sender=(sender[0], 65535)),
        # The sum of these is what has the checksum 0, which is not to be sent.
        *[hold(bytes([each // 256, each % 256]), sender=sender) for each in range(0, 65536, 257)],
    ]
    framer = Framer(group)
    path = tmp_path / "written.pcap"
    path.write_bytes(FILE_START + b"".join(map(framer.records, runs)))
    version = "ipv6" if ":" in group[0] else "ip"
    fields = ("frame.time_epoch", f"{version}.src", f"{version}.dst", "udp.srcport", "udp.dstport")
    found = tshark(path, *fields, "udp.payload", "ip.checksum.status", "_ws.expert.message")
    payloads = [bytes.fromhex(each[5]) for each in found]
    expected = [b"\xff" * 1316, bytes(1316), bytes(range(250)), b"", b"odd"]
    assert payloads[:5] == expected
    assert [*payloads[5:]] == [each[0] for each in runs[3:]]
    assert {float(each[0]) for each in found} == {TIME}
    assert {tuple(each[1:3]) for each in found} == {(sender[0], group[0])}
    assert {each[3] for each in found} == {"5000", "65535"}
    assert {each[4] for each in found} == {"5004"}
    assert {each[6] for each in found} == ({""} if version == "ipv6" else {"1"})  # 1: good
    assert not [each[7] for each in found if "hecksum" in each[7]]
    good = tshark(path, "udp.checksum.status")
    assert {each[0] for each in good} == ({"1"} if version == "ipv6" else {"3"})  # 3: has none


def test_everyChecksumOfIPv6IsOne(tmp_path: Path) -> None:
    """Not one is 0, which UDP on IPv6 must not have: 65,535 stands for it."""
    framer = Framer(GROUP6)
    for each in range(65536):
        records = framer.records(hold(each.to_bytes(2, "big"), sender=SENDER6))
        assert records[16 + 46 : 16 + 48] != b"\0\0"


def test_anotherFamilysDestinationIsTheWildcard(tmp_path: Path) -> None:
    """What was sent from IPv4 to an input on :: is so, and so is what has no address at all."""
    framer = Framer(("::", 5004))
    path = tmp_path / "written.pcap"
    runs = [hold(b"x"), hold(b"y", sender=("fe80::1%eth0", 9)), hold(b"z", sender=("?", 9))]
    path.write_bytes(FILE_START + b"".join(map(framer.records, runs)))
    found = [(each.source[0], each.destination[0]) for each in readDatagrams(path)]
    assert found == [("192.0.2.1", "0.0.0.0"), ("fe80::1", "::"), ("0.0.0.0", "0.0.0.0")]


def test_manySendersTakeLittleMemory() -> None:
    """Headers of some are kept, whatever comes."""
    framer = Framer(GROUP4)
    for port in range(10_000):
        framer.records(hold(b"x", sender=("192.0.2.1", port)))
    assert len(framer._headers) <= 4096
