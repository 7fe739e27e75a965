"""The table of destinations does what a plain list of tuples, kept by LIVE555's rules, does."""

from __future__ import annotations

import errno
import socket

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from txgroupsock.groupsock.destinations import Destinations, SessionDestination
from txgroupsock.primitives import AddressError, SocketOptionError, UnknownInterface
from txgroupsock.primitives import ancillary as ancillaryModule

# Few of each, so that they often meet.
ADDRESSES = st.sampled_from(["239.1.1.1", "239.1.1.2", "10.0.0.1"])
PORTS = st.sampled_from([5000, 5002])
TTLS = st.sampled_from([1, 7, 255])
SESSIONS = st.integers(0, 2)


class DestinationTable(RuleBasedStateMachine):
    """The model is a list of [address, port, ttl, sessionId, sent]."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Destinations(socket.AF_INET)
        self.model: list[list[str | int]] = []

    @rule(address=ADDRESSES, port=PORTS, ttl=TTLS, session=SESSIONS)
    def add(self, address: str, port: int, ttl: int, session: int) -> None:
        self.table.add(address, port, session, ttl)
        if not any([a, p, s] == [address, port, session] for a, p, _, s, _ in self.model):
            self.model.append([address, port, ttl, session, 0])

    @rule(
        address=st.none() | ADDRESSES,
        port=st.none() | PORTS,
        ttl=st.none() | TTLS,
        session=SESSIONS,
    )
    def change(self, address: str | None, port: int | None, ttl: int | None, session: int) -> None:
        first = next((each for each in self.model if each[3] == session), None)
        if first is None and (address is None or port is None):
            with pytest.raises(AddressError) as raised:
                self.table.changed(session, address, port, ttl)
            assert raised.value.errno == errno.EDESTADDRREQ
            return
        self.table.put(self.table.changed(session, address, port, ttl))
        if first is None:
            first = [address or "", port or 0, 255, session, 0]
            self.model.append(first)
        for place, value in enumerate((address, port, ttl)):
            if value is not None:
                first[place] = value
        self.model = [each for each in self.model if each is first or each[3] != session]

    @rule(session=SESSIONS)
    def remove(self, session: int) -> None:
        left = [each for each in self.model if each[3] != session]
        assert self.table.remove(session) == len(self.model) - len(left)
        self.model = left

    @rule()
    def clear(self) -> None:
        self.table.clear()
        self.model = []

    @rule()
    def send(self) -> None:
        for each in self.table:
            each.sent.countPacket(10)
        for row in self.model:
            row[4] = int(row[4]) + 1

    @rule(address=ADDRESSES, port=PORTS)
    def lookup(self, address: str, port: int) -> None:
        found = self.table.at(address, port)
        expected = next((s for a, p, _, s, _ in self.model if [a, p] == [address, port]), None)
        assert (None if found is None else found.sessionId) == expected

    @invariant()
    def areTheSame(self) -> None:
        assert [
            [str(each.address), each.port, each.ttl, each.sessionId, each.sent.packets]
            for each in self.table
        ] == self.model
        assert len(self.table) == len(self.model)

    @invariant()
    def whatIsSentAgrees(self) -> None:
        for each in self.table:
            assert each.target == (str(each.address), each.port)
            assert each.ancillary is not None
            assert each.ancillary[0][2][0] == each.ttl


test_theTableIsAsTheModel = DestinationTable.TestCase


@pytest.mark.parametrize(
    ("address", "port", "ttl", "error"),
    [
        ("ff15::1", 5000, 1, AddressError),
        ("host.example", 5000, 1, AddressError),
        ("0.0.0.0", 5000, 1, AddressError),
        ("239.1.1.1", 0, 1, AddressError),
        ("239.1.1.1", 65536, 1, AddressError),
        ("239.1.1.1", 5000, -1, SocketOptionError),
        ("239.1.1.1", 5000, 256, SocketOptionError),
    ],
)
def test_whatCannotBeSentToIsRefused(
    address: str, port: int, ttl: int, error: type[Exception]
) -> None:
    """An address of the other family or none, a port or a TTL out of range change nothing."""
    table = Destinations(socket.AF_INET)
    table.add("10.0.0.1", 5000)
    with pytest.raises(error):
        table.add(address, port, 0, ttl)
    with pytest.raises(error):
        table.changed(0, address, port, ttl)
    assert [str(each.address) for each in table] == ["10.0.0.1"]


def test_aScopeIsTheInterfaceHoweverItIsWritten() -> None:
    """A name and an index of one interface make one destination, another interface another."""
    table = Destinations(socket.AF_INET6)
    index = socket.if_nametoindex("lo")
    first = table.add("ff02::1%lo", 5000)
    assert table.add(f"ff02::1%{index}", 5000) is first
    assert first.target == ("ff02::1", 5000, 0, index)
    assert table.add("ff02::1", 5000) is not first
    with pytest.raises(UnknownInterface):
        table.add("ff02::1%nothing", 5000)


def test_aDestinationSaysWhatItIs() -> None:
    """For logs: address, port, TTL and session."""
    assert str(next(iter(_one("ff15::1")))) == "[ff15::1]:5000 with TTL 255 (session 0)"


def test_noMessageCarriesATTLOfNone() -> None:
    """Linux refuses 0 in a message, though it is the multicast TTL that stays on the host."""
    table = Destinations(socket.AF_INET)
    assert table.add("239.1.1.1", 5000, ttl=0).ancillary is None


def test_withoutTTLsOfMessagesTheSocketHasToBeTold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system takes no TTL with a message, a destination says so."""
    monkeypatch.setattr(ancillaryModule, "IP_TTL_PER_MESSAGE", None)
    destination: SessionDestination = next(iter(_one("239.1.1.1")))
    assert destination.ancillary is None


def _one(address: str) -> Destinations:
    table = Destinations(socket.AF_INET6 if ":" in address else socket.AF_INET)
    table.add(address, 5000)
    return table
