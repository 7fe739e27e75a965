"""Which groups viewers may ask for, however they write them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.viewers import AllowError, AllowList, AllowRule
from txgroupsock.relay.viewers.path import NoGroup, streamOf

RULES = AllowList.parse(
    [
        "239.1.0.0/16",
        "10.0.0.0/24@232.1.1.1:5000-5010?interface=eth1",
        "[ff3e::/32]:5000",
        "[2001:db8::/32]@[ff3f::/32]",
    ]
)


def find(text: str) -> InputModel | None:
    """What the rules above say of an address as it stands in a path."""
    try:
        stream = streamOf([b"udp", text.encode("latin-1")])
    except NoGroup:
        return None
    return None if stream is None else RULES.find(stream.input)


@pytest.mark.parametrize(
    "text",
    [
        "239.1.0.1:5000",
        "239.1.255.255:1",
        "10.9.9.9@239.1.2.3:65535",
        "10.0.0.7@232.1.1.1:5000",
        "10.0.0.255@232.1.1.1:5010",
        "[ff3e::1]:5000",
        "[FF3E:0:0::0001]:5000",
        "[2001:db8::7]@[ff3f::1]:80",
    ],
)
def test_theseAreAllowed(text: str) -> None:
    """Groups, sources and ports within one of the rules are allowed."""
    assert find(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "239.2.0.1:5000",  # another group
        "232.1.1.1:5000",  # from any source, where it may only be from some
        "10.0.1.7@232.1.1.1:5000",  # from another source
        "10.0.0.7@232.1.1.1:5011",  # another port
        "[ff3e::1]:5001",
        "[::ffff:239.1.0.1]:5000",  # IPv4-mapped
        "[::ffff:ef01:1]:5000",
        "[::239.1.0.1]:5000",
        "[ff3e::1%eth0]:5000",  # a zone
        "[ff3e::1%25eth0]:5000",
        "[ff3e::1%1]:5000",
        "127.0.0.1:5000",  # unicast
        "0.0.0.0:5000",
        ":5000",
        "[::]:5000",
        "239.1.1:5000",  # inet_aton() would take these for 239.1.0.1
        "0xEF.1.0.1:5000",
        "4009820161:5000",
        "0357.1.0.1:5000",
        "239.1.000.001:5000",
        "239.1.0.1:05000x",
        "239.1.0.1:+5000",
        "239.1.0.1:0",
        "239.1.0.1:65536",
        "239.1.0.1:99999999999999999999",
        "239.1.0.1",
        "239.1.0.1:5000?interface=eth0",
        "239.1.0.1:5000&interface=eth0",
        "239.1.0.1:5000#",
        "239.1.0.1:5000/",
        "239.1.0.1:5000\n",
        "239.1.0.1:5000\0",
        " 239.1.0.1:5000",
        "239.1.0.1%2f:5000",
        "239.1.0.1:5000@239.2.0.1:5000",
        "10.0.0.7@10.0.0.7@232.1.1.1:5000",
        "239.1.0.1@239.1.0.1:5000",  # a group is no source
        "0.0.0.0@232.1.1.1:5000",
        "[::ffff:10.0.0.7]@232.1.1.1:5000",
        "@232.1.1.1:5000",
        "udp://239.1.0.1:5000",
        "localhost:5000",
        "\u0662\u0663\u0669.1.0.1:5000".encode().decode("latin-1"),
        "",
        "a" * 10000,
    ],
)
def test_theseAreNot(text: str) -> None:
    """Nothing else is, in whatever way it is written."""
    found = find(text)
    assert found is None


def test_ruleSaysWhereToJoin() -> None:
    """The interface is the rule's, never the client's."""
    found = find("10.0.0.7@232.1.1.1:5000")
    assert found is not None
    assert found.interface == "eth1"


def test_nothingIsAllowedUnlessSaid() -> None:
    """The default list allows nothing."""
    stream = streamOf([b"udp", b"239.1.0.1:5000"])
    assert stream is not None
    assert AllowList().find(stream.input) is None


@given(st.binary(max_size=60) | st.text("0123456789abcdefABCDEF.:@[]%x/?", max_size=60))
def test_whatIsAllowedIsWithin(text: bytes | str) -> None:
    """Whatever a client writes, only a group within a rule gets through."""
    segment = text if isinstance(text, bytes) else text.encode()
    try:
        stream = streamOf([b"udp", segment])
    except NoGroup:
        return
    assert stream is not None
    found = RULES.find(stream.input)
    if found is not None:
        rules = ("239.1.0.0/16", "232.1.1.1/32", "ff3e::/32", "ff3f::/32")
        networks = [ipaddress.ip_network(each) for each in rules]
        assert any(found.address in each for each in networks)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "does not appear to be"),
        ("239.1.1.1/33", "does not appear to be"),
        ("239.1.1.1/8", "host bits"),
        ("10.0.0.0/8", "not within the multicast groups"),
        ("0.0.0.0/0", "not within the multicast groups"),
        ("ff3e::/32", "shape"),
        ("[ff3e::/32]:0", "ports are from 1"),
        ("239.1.1.1:6000-5000", "ports are from 1"),
        ("239.1.1.1:70000", "ports are from 1"),
        ("[2001:db8::/32]@239.1.1.1", "two address families"),
        ("x@239.1.1.1", "does not appear to be"),
        ("239.1.1.1?interface=", "shape"),
    ],
)
def test_wrongRulesAreRefused(text: str, problem: str) -> None:
    """A rule that is wrong raises what says so, with the rule in it."""
    with pytest.raises(AllowError, match=problem) as caught:
        AllowRule.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "239.1.0.0/16",
        "239.1.1.1:5000",
        "10.0.0.0/24@232.1.1.1:5000-5010?interface=eth1",
        "[ff3e::/32]:5000",
        "[2001:db8::1]@[ff3f::/32]?interface=eth0",
    ],
)
def test_aRuleIsWrittenAsItIsRead(text: str) -> None:
    """A rule as text is what it was read from."""
    assert str(AllowRule.parse(text)) == text
