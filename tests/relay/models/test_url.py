"""URLs that name streams."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from txgroupsock.relay.models.url import StreamURL, URLError

NAMES = st.from_regex(r"[a-z][a-z0-9._-]{0,14}", fullmatch=True)
IPV4 = st.ip_addresses(v=4).map(str)
IPV6 = st.ip_addresses(v=6).map(str)
URLISH = st.text("udp:/[]@%?&=#.,-_ +0123456789abcdefinterfacettl\n\0é", max_size=60)


@st.composite
def urlsAndMeanings(draw: st.DrawFn) -> tuple[str, StreamURL]:
    """A URL that is right, and what it means, written independently of each other."""
    isIPv6 = draw(st.booleans())
    host = draw(IPV6 if isIPv6 else IPV4 | NAMES | st.just(""))
    source = draw(st.just("") | (IPV6 if isIPv6 else IPV4))
    scope = draw(st.just("") | NAMES) if isIPv6 else ""
    interface = draw(st.just("") | NAMES | IPV4 | st.integers(1, 99).map(str))
    if scope and interface:
        interface = scope
    port = draw(st.integers(1, 65535))
    ttl = draw(st.none() | st.integers(1, 255))

    text = draw(st.sampled_from(["udp", "UDP", "Udp"])) + "://"
    if source:
        text += f"[{source}]@" if isIPv6 and draw(st.booleans()) else f"{source}@"
    elif draw(st.booleans()):
        text += "@"  # as VLC writes a group
    percent = draw(st.sampled_from(["%", "%25"]))
    text += f"[{host}{percent + scope if scope else ''}]" if isIPv6 else host
    text += f":{port}" + draw(st.sampled_from(["", "/"]))
    options = [f"interface={interface}"] * bool(interface)
    options += [f"ttl={ttl}"] * (ttl is not None)
    if options:
        text += "?" + "&".join(draw(st.permutations(options)))
    return text, StreamURL(text, host, port, source, scope or interface, ttl)


@given(urlsAndMeanings())
def test_whatIsWrittenIsRead(case: tuple[str, StreamURL]) -> None:
    """Any URL of the documented shape is read as what it was made of, in both families."""
    text, meaning = case
    parsed = StreamURL.parse(text)
    assert parsed == meaning
    assert parsed.text == text


@given(st.text() | URLISH | URLISH.map("udp://".__add__))
@example("udp://[::1%]:5000")
@example("udp://\udc80:5000")
@example("udp://1.2.3.4:" + "9" * 5000)
@example("udp://1.2.3.4:5?" + "&" * 5000)
@example("udp://" + "@" * 5000 + "1.2.3.4:5")
@example("udp://[" + "1" * 5000)
def test_noTextRaisesAnythingElse(text: str) -> None:
    """Any text either names a stream or raises URLError, which names the text and what is wrong."""
    try:
        parsed = StreamURL.parse(text)
    except URLError as caught:
        error = caught
    else:
        assert 1 <= parsed.port <= 65535
        assert parsed.ttl is None or 1 <= parsed.ttl <= 255
        assert not set(parsed.host) & set("[]@/?#% \n\0")
        return
    assert str(error) == f"{text!r}: {error.problem}"
    assert error.url == text
    assert error.problem


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("udp://@239.1.1.1:5000", ("239.1.1.1", 5000, "", "", None)),  # VLC
        ("udp://:5000", ("", 5000, "", "", None)),
        ("udp://[::]:5000", ("::", 5000, "", "", None)),
        ("udp://localhost:5000", ("localhost", 5000, "", "", None)),
        ("udp://10.0.0.1@232.1.1.1:5000", ("232.1.1.1", 5000, "10.0.0.1", "", None)),
        ("udp://[fd00::1]@[ff3e::1]:5000", ("ff3e::1", 5000, "fd00::1", "", None)),
        ("udp://fd00::1@[ff3e::1]:5000", ("ff3e::1", 5000, "fd00::1", "", None)),
        ("udp://[fe80::1%eth0]:5000", ("fe80::1", 5000, "", "eth0", None)),
        ("udp://[fe80::1%25eth0]:5000", ("fe80::1", 5000, "", "eth0", None)),
        ("udp://[fe80::1%25]:5000", ("fe80::1", 5000, "", "25", None)),
        ("udp://[ff02::1%2]:5000?interface=2", ("ff02::1", 5000, "", "2", None)),
        (
            "udp://[ff02::1]:5000?interface=fe80::1%eth0",
            ("ff02::1", 5000, "", "fe80::1%eth0", None),
        ),
        (
            "udp://[ff02::1]:5000?interface=fe80::1%25eth0",
            ("ff02::1", 5000, "", "fe80::1%eth0", None),
        ),
        ("udp://239.1.1.1:5000?interface=eth0.5&ttl=8", ("239.1.1.1", 5000, "", "eth0.5", 8)),
        ("udp://239.1.1.1:5000?ttl=008", ("239.1.1.1", 5000, "", "", 8)),
        ("udp://239.1.1.1:5000/?ttl=255", ("239.1.1.1", 5000, "", "", 255)),
    ],
)
def test_theUsualWaysToWriteOneAreRead(
    text: str, meaning: tuple[str, int, str, str, int | None]
) -> None:
    """What VLC, RFC 6874 and people write is read: scopes with % and %25, sources with and
    without brackets.
    """
    host, port, source, interface, ttl = meaning
    assert StreamURL.parse(text) == StreamURL(text, host, port, source, interface, ttl)


SHAPE = "udp://[source@]address:port[?interface=NAME&...]"
NO_SHAPE = f"it does not have the shape {SHAPE}; IPv6 stands in brackets"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", f"it has no scheme; the shape is {SHAPE}"),
        ("239.1.1.1:5000", f"it has no scheme; the shape is {SHAPE}"),
        ("rtp://239.1.1.1:5000", f"rtp:// is not known here; the shape is {SHAPE}"),
        ("udp://239.1.1.1", f"it has no port; the shape is {SHAPE}"),
        ("udp://239.1.1.1:", f"it has no port; the shape is {SHAPE}"),
        ("udp://239.1.1.1:0", "port 0 is not a number from 1 to 65535"),
        ("udp://239.1.1.1:65536", "port 65536 is not a number from 1 to 65535"),
        ("udp://239.1.1.1:+5", "port +5 is not a number from 1 to 65535"),
        ("udp://239.1.1.1:5_0", "port 5_0 is not a number from 1 to 65535"),
        ("udp://239.1.1.1:\u0665", "port \u0665 is not a number from 1 to 65535"),  # Arabic
        ("udp://239.1.1.1: 5000", "port  5000 is not a number from 1 to 65535"),
        ("udp://ff3e::1:5000", NO_SHAPE),
        ("udp://[ff3e::1:5000", NO_SHAPE),
        ("udp://[]:5000", NO_SHAPE),
        ("udp://[ff3e::1]5000", NO_SHAPE),
        ("udp://a b:5000", NO_SHAPE),
        ("udp://239.1.1.1%eth0:5000", NO_SHAPE),
        ("udp://239.1.1.1:5000/path", NO_SHAPE),
        ("udp://239.1.1.1:5000#there", NO_SHAPE),
        ("udp://239.1.1.1:5000&ttl=3", "port 5000&ttl=3 is not a number from 1 to 65535"),
        ("udp://239.1.1.1:5000?ttl=0", "ttl=0 is not a number from 1 to 255"),
        ("udp://239.1.1.1:5000?ttl=256", "ttl=256 is not a number from 1 to 255"),
        ("udp://239.1.1.1:5000?ttl=-1", "ttl=-1 is not a number from 1 to 255"),
        ("udp://239.1.1.1:5000?ttl=1.5", "ttl=1.5 is not a number from 1 to 255"),
        (
            "udp://239.1.1.1:5000?ttl=",
            "the option 'ttl' has no value; give it one, or leave it out",
        ),
        (
            "udp://239.1.1.1:5000?interface",
            "the option 'interface' has no value; give it one, or leave it out",
        ),
        (
            "udp://239.1.1.1:5000?ttl=1&ttl=2",
            "the option 'ttl' is there twice; leave one out",
        ),
        (
            "udp://239.1.1.1:5000?iface=eth0",
            (
                "unknown option 'iface'; there are interface, of an input also latency and "
                "refresh, and of an output ttl, dscp and rate"
            ),
        ),
        (
            "udp://239.1.1.1:5000?ttl=1&",
            (
                "unknown option ''; there are interface, of an input also latency and "
                "refresh, and of an output ttl, dscp and rate"
            ),
        ),
        ("udp://10.0.0.1:5?dscp=64", "dscp=64 is not 0 to 63, EF, CS0 to CS7 or AF11 to AF43"),
        ("udp://10.0.0.1:5?dscp=AF50", "dscp=AF50 is not 0 to 63, EF, CS0 to CS7 or AF11 to AF43"),
        (
            "udp://10.0.0.1:5?latency=5",
            "latency=5 is not a time from 0 to 1s, such as 5ms; units are us, ms, s, min",
        ),
        (
            "udp://239.1.1.1:5?refresh=500ms",
            "refresh=500ms is not a time from 1s to 1440min, such as 60s, or 0 for never",
        ),
        ("udp://10.0.0.1:5?latency=2s", "latency=2s is not a time from 0 to 1s, such as 5ms"),
        (
            "udp://10.0.0.1:5?rate=0",
            "rate=0 is not bits per second, 1k or more, such as 500k, 20M or 1.5G",
        ),
        (
            "udp://10.0.0.1:5?rate=5T",
            (
                "rate=5T is not bits per second, 1k or more, such as 500k, 20M or 1.5G; "
                "units are k, M, G"
            ),
        ),
        (
            "udp://[ff02::1%eth0]:5000?interface=eth1",
            "the scope 'eth0' and interface=eth1 differ; leave one out",
        ),
        *(
            (text, "it is not plain: no control characters, no halves of characters")
            for text in (
                "udp://239.1.1.1:5?interface=\udcff",
                "udp://239.1.1.1:5?interface=eth0%0Aall%20is%20well",
                "udp://10.0.0.1:5?ttl=%1b[2J",
                "\n://10.0.0.1:5",
            )
        ),
    ],
)
def test_whatIsWrongIsSaid(text: str, problem: str) -> None:
    """A URL that is wrong is refused with its text, what is wrong, and what would be right."""
    with pytest.raises(URLError) as caught:
        StreamURL.parse(text)
    assert str(caught.value) == f"{text!r}: {problem}"


@pytest.mark.parametrize(
    ("text", "dscp"),
    [("0", 0), ("63", 63), ("EF", 46), ("ef", 46), ("CS5", 40), ("AF41", 34), ("af13", 14)],
)
def test_aDSCPHasANumberOrAName(text: str, dscp: int) -> None:
    """A code point is read by number and by the names of RFC 2474, 2597 and 3246."""
    assert StreamURL.parse(f"udp://10.0.0.1:5?dscp={text}").dscp == dscp


@pytest.mark.parametrize(
    ("text", "latency"), [("0", 0), ("0ms", 0), ("5ms", 0.005), ("500us", 0.0005), ("1s", 1)]
)
def test_aLatencyHasAUnit(text: str, latency: float) -> None:
    """A time has a unit; only nothing needs none."""
    assert StreamURL.parse(f"udp://:5?latency={text}").latency == pytest.approx(latency)


@pytest.mark.parametrize(
    ("text", "rate"), [("8000", 8e3), ("500k", 5e5), ("20M", 2e7), ("1.5G", 1.5e9)]
)
def test_aRateMayHaveAUnit(text: str, rate: float) -> None:
    """A rate is in bits per second, or thousands, millions or thousand millions of them."""
    assert StreamURL.parse(f"udp://10.0.0.1:5?rate={text}").rate == pytest.approx(rate)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("1s", 1), ("60s", 60), ("2min", 120)])
def test_aRefreshHasAUnit(text: str, seconds: float) -> None:
    """The time between two refreshes, in seconds; 0 is never."""
    assert StreamURL.parse(f"udp://239.1.1.1:5?refresh={text}").refresh == seconds
