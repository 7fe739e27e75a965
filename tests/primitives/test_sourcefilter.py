from __future__ import annotations

import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.primitives.support import GROUP
from txgroupsock.primitives import (
    AddressError,
    IPAddress,
    MembershipError,
    NotSupportedHere,
    SourceFilter,
    getSourceFilter,
    parseAddress,
    setSourceFilter,
    socketJoinGroup,
    socketJoinGroupSSM,
    sourcefilter,
)
from txgroupsock.primitives.sourcefilter import readFilter, writeFilter
from txgroupsock.testing.namespaces import Namespace


@given(st.booleans(), st.lists(st.ip_addresses()))
def test_aFilterIsASetOfAddresses(isInclude: bool, sources: list[IPAddress]) -> None:
    """Given as text or objects, in any order and number: the same filter, which is hashable."""
    one = SourceFilter(isInclude, sources)
    other = SourceFilter(isInclude, [str(each) for each in reversed(sources * 2)])
    assert one == other
    assert hash(one) == hash(other)
    assert one.sources == frozenset(sources)
    assert one != SourceFilter(not isInclude, sources)


def test_aSourceHasNoScope() -> None:
    """A link-local source is the same one whatever interface it was seen on."""
    assert SourceFilter(True, ["fe80::1%lo"]) == SourceFilter(True, [parseAddress("fe80::1")])


def test_whatIsNoAddressIsRefused() -> None:
    """Also a single text, which is easily given for a list."""
    with pytest.raises(AddressError, match="it is not an IPv4 or IPv6 address"):
        SourceFilter(True, ["host.example"])
    with pytest.raises(TypeError, match="a list of addresses"):
        SourceFilter(True, "10.0.0.1")


@pytest.mark.lan
def test_theKernelGivesBackWhatWasWritten(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """Below the names and messages, by the index of the interface."""
    group, index = parseAddress(GROUP[family]), socket.if_nametoindex("eth0")
    socketJoinGroup(sock, group, "eth0")
    sources = ["10.0.0.9", "10.0.0.2"] if family == socket.AF_INET else ["fd00::9", "fd00::2"]
    writeFilter(sock, index, group, SourceFilter(True, sources))
    assert readFilter(sock, index, group) == SourceFilter(True, sources)
    with pytest.raises(OSError, match="Cannot assign") as caught:
        readFilter(sock, socket.if_nametoindex("lo"), group)
    assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.lan
def test_aSystemWithoutFiltersSaysSo(
    link: Namespace,
    sock: socket.socket,
    family: socket.AddressFamily,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading and setting are not supported; joining works, and its errors stay what they are."""
    monkeypatch.setattr(sourcefilter, "MCAST_MSFILTER", None)
    group = GROUP[family]
    one = "10.0.0.2" if family == socket.AF_INET else "fd00::2"
    socketJoinGroupSSM(sock, group, one, "eth0")
    for attempt in (
        lambda: getSourceFilter(sock, group, "eth0"),
        lambda: setSourceFilter(sock, group, SourceFilter(True, [one]), "eth0"),
    ):
        with pytest.raises(NotSupportedHere, match="cannot use MCAST_MSFILTER") as caught:
            attempt()
        assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(MembershipError, match="this socket has that source already"):
        socketJoinGroupSSM(sock, group, one, "eth0")
