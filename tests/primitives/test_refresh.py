"""A membership is reported again: what is on the wire, and that nothing else has changed."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from attrs import frozen

from tests.primitives.conftest import OpenSocket
from txgroupsock.primitives import (
    MembershipError,
    SourceFilter,
    forgetMembership,
    getSourceFilter,
    memberInterface,
    mostSenders,
    refreshMembership,
    rejoin,
    setSourceFilter,
    socketJoinGroup,
    socketJoinGroupSSM,
)
from txgroupsock.primitives.hoststate import HostState
from txgroupsock.testing.namespaces import Namespace
from txgroupsock.testing.wire import Capture, Frame, GroupRecord, RecordKind, report


@frozen
class Case:
    """What differs between the families."""

    group: str
    senders: tuple[str, str]


CASES = {
    socket.AF_INET: Case("239.5.5.1", ("10.0.0.2", "10.0.0.3")),
    socket.AF_INET6: Case("ff15::5551", ("fd00::2", "fd00::3")),
}
pytestmark = [
    pytest.mark.lan,
    pytest.mark.parametrize("family", list(CASES), ids=["IPv4", "IPv6"]),
]


@pytest.fixture
def case(family: socket.AddressFamily) -> Case:
    """That of the family."""
    return CASES[family]


@pytest.fixture
def openSocket(link: Namespace, family: socket.AddressFamily) -> Iterator[OpenSocket]:
    """Makes sockets that are on the link."""
    with ExitStack() as opened:

        def make(kind: socket.SocketKind = socket.SOCK_DGRAM) -> socket.socket:
            return opened.enter_context(socket.socket(family, kind))

        yield make


@pytest.fixture
def wire(link: Namespace, capture: Callable[..., Capture]) -> Capture:
    """What is said on the link."""
    return capture(link)


def saidOnce(wire: Capture, group: str) -> None:
    """Wait for the report that follows a join, and its repetition, so that no more is to come."""
    for _ in range(2):
        wire.waitFor(lambda frame: any(each.group == group for each in _records(frame)))
        wire.drain()


def _records(frame: Frame) -> list[GroupRecord]:
    return [each for each in frame.records if frame.outgoing]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_aGroupIsReportedAgain(sock: socket.socket, wire: Capture, case: Case, count: int) -> None:
    """With CHANGE_TO_EXCLUDE_MODE and nothing else; its filter is as it was."""
    socketJoinGroup(sock, case.group, "eth0")
    saidOnce(wire, case.group)
    refreshMembership(sock, case.group, "eth0", case.senders[:count])
    wire.waitFor(report(RecordKind.CHANGE_TO_EXCLUDE_MODE, case.group, outgoing=True))
    said = [each for frame in wire.drain() for each in frame.records if each.group == case.group]
    assert {each.kind for each in said} == {RecordKind.CHANGE_TO_EXCLUDE_MODE}
    assert getSourceFilter(sock, case.group) == SourceFilter(False, ())


def test_blockedSourcesStayBlocked(sock: socket.socket, wire: Capture, case: Case) -> None:
    """The report has them; a sender who is blocked is not heard meanwhile."""
    good, bad = case.senders
    socketJoinGroup(sock, case.group, "eth0")
    setSourceFilter(sock, case.group, SourceFilter(False, [bad]), "eth0")
    saidOnce(wire, case.group)
    refreshMembership(sock, case.group, "eth0", [good, bad])
    wire.waitFor(report(RecordKind.CHANGE_TO_EXCLUDE_MODE, case.group, bad, outgoing=True))
    assert getSourceFilter(sock, case.group) == SourceFilter(False, [bad])


def test_chosenSourcesAreReportedAgain(sock: socket.socket, wire: Capture, case: Case) -> None:
    """With CHANGE_TO_INCLUDE_MODE, all of them in one record."""
    for each in case.senders:
        socketJoinGroupSSM(sock, case.group, each, "eth0")
    saidOnce(wire, case.group)
    refreshMembership(sock, case.group, "eth0")
    wire.waitFor(
        report(RecordKind.CHANGE_TO_INCLUDE_MODE, case.group, *case.senders, outgoing=True)
    )
    assert getSourceFilter(sock, case.group) == SourceFilter(True, case.senders)


def test_leavingAndJoiningRestoresTheFilter(sock: socket.socket, wire: Capture, case: Case) -> None:
    """From any source, from all but some, and from some."""
    for wanted in (
        SourceFilter(False, ()),
        SourceFilter(False, case.senders),
        SourceFilter(True, case.senders),
    ):
        socketJoinGroup(sock, case.group, "eth0")
        setSourceFilter(sock, case.group, wanted, "eth0")
        rejoin(sock, case.group, "eth0")
        assert getSourceFilter(sock, case.group) == wanted
        setSourceFilter(sock, case.group, SourceFilter(True, ()), "eth0")


def test_moreSendersThanAFilterHoldsAreNoError(
    sock: socket.socket, link: Namespace, case: Case, family: socket.AddressFamily
) -> None:
    """As many as the kernel allows are kept."""
    prefix = "10.0.1." if family == socket.AF_INET else "fd00::1:"
    socketJoinGroup(sock, case.group, "eth0")
    many = [f"{prefix}{number}" for number in range(1, mostSenders(family) + 20)]
    refreshMembership(sock, case.group, "eth0", many)
    assert getSourceFilter(sock, case.group) == SourceFilter(False, ())


def test_whoIsNoMemberIsTold(sock: socket.socket, link: Namespace, case: Case) -> None:
    """What was never joined cannot be reported."""
    for call in (refreshMembership, rejoin):
        with pytest.raises(MembershipError, match=r"cannot report .*not a member") as caught:
            call(sock, case.group, "eth0")
        assert caught.value.errno == errno.EADDRNOTAVAIL


def test_theInterfaceThatTheKernelChoseIsFound(
    sock: socket.socket, link: Namespace, case: Case
) -> None:
    """Where the routes led when it was joined; 0 for a group that was not."""
    assert memberInterface(sock, case.group) == 0
    socketJoinGroup(sock, case.group)
    assert memberInterface(sock, case.group) == socket.if_nametoindex("eth0")


def test_aMembershipOnAnInterfaceThatIsGoneIsForgotten(
    sock: socket.socket, link: Namespace, case: Case
) -> None:
    """The socket's entry goes, so that it takes no room; to forget it again is no error."""
    joined = socketJoinGroup(sock, case.group, "eth0")
    link.run("ip", "link", "del", "dev", "eth0")
    forgetMembership(sock, joined)
    with pytest.raises(MembershipError, match="not a member"):
        getSourceFilter(sock, case.group)
    forgetMembership(sock, joined)


def test_underIGMPv2OnlyLeavingAndJoiningIsSeen(
    openSocket: OpenSocket, link: Namespace, capture: Callable[..., Capture]
) -> None:
    """A filter means nothing there, so no report is sent when it changes (RFC 2236)."""
    if openSocket().family != socket.AF_INET:
        pytest.skip("MLDv1 has no such switch that tells")
    link.sysctl("net.ipv4.conf.eth0.force_igmp_version", 2)
    index = socket.if_nametoindex("eth0")
    assert HostState().igmpVersion(index) == 2
    assert HostState().igmpVersion(socket.if_nametoindex("lo")) == 3
    assert HostState().igmpVersion(99) is None
    sock = openSocket()
    wire = capture(link)
    socketJoinGroup(sock, "239.5.5.1", "eth0")
    # As the harness has them: version 2 reports are MODE_IS_EXCLUDE, leaves CHANGE_TO_INCLUDE_MODE
    wire.waitFor(report(RecordKind.MODE_IS_EXCLUDE, "239.5.5.1", outgoing=True))
    rejoin(sock, "239.5.5.1", "eth0")
    wire.waitFor(report(RecordKind.CHANGE_TO_INCLUDE_MODE, "239.5.5.1", outgoing=True))
    wire.drain()
    wire.waitFor(report(RecordKind.MODE_IS_EXCLUDE, "239.5.5.1", outgoing=True))
