"""Which inputs and outputs a relay accepts, and what it says about others."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.models.udp import InputModel, OutputModel, withScope
from txgroupsock.relay.models.url import StreamURL, URLError
from txgroupsock.testing.namespaces import Namespace

OUT = "udp://10.0.0.9:9000"


def inputOf(*urls: str) -> InputModel:
    """The input that URLs name."""
    return InputModel.of([StreamURL.parse(each) for each in urls])


def problem(inputs: list[str], outputs: list[str]) -> tuple[str, str]:
    """Which URL of a route is refused, and why."""
    with pytest.raises(URLError) as caught:
        RouteModel.of(inputs, outputs)
    return caught.value.url, caught.value.problem


# Inputs


@pytest.mark.parametrize(
    ("text", "host", "isMulticast"),
    [
        ("udp://239.1.1.1:5000", "239.1.1.1", True),
        ("udp://[ff15::1]:5000", "ff15::1", True),
        ("udp://10.0.0.1:5000", "10.0.0.1", False),
        ("udp://:5000", "0.0.0.0", False),
        ("udp://[::]:5000", "::", False),
        ("udp://[::ffff:239.1.1.1]:5000", "::ffff:239.1.1.1", False),
    ],
)
def test_anInputIsAGroupOrAnAddressOfThisHost(text: str, host: str, isMulticast: bool) -> None:
    """A group, an address, or nothing for every IPv4 address; mapped addresses are no groups."""
    model = inputOf(text)
    assert model.address == ipaddress.ip_address(host)
    assert model.isMulticast == isMulticast
    assert (model.port, model.sources, model.interface) == (5000, (), "")


def test_severalSourcesOfOneGroupAreOneInput() -> None:
    """URLs that differ in their source only name one input with those sources, in that order."""
    model = inputOf(
        "udp://10.0.0.2@232.1.1.1:5000?interface=lo", "udp://10.0.0.1@232.1.1.1:5000?interface=lo"
    )
    assert [str(each) for each in model.sources] == ["10.0.0.2", "10.0.0.1"]
    assert str(model) == "udp://232.1.1.1:5000?interface=lo"


def test_IPv6SourcesHaveNoScope() -> None:
    """The scope of a source is left out: the interface of the group decides."""
    model = inputOf("udp://[fe80::1%lo]@[ff35::1%lo]:5000")
    assert (str(model.sources[0]), model.interface) == ("fe80::1", "lo")
    assert str(model) == "udp://[ff35::1]:5000?interface=lo"


@pytest.mark.parametrize(
    "other",
    [
        "udp://10.0.0.2@232.1.1.2:5000",
        "udp://10.0.0.2@232.1.1.1:5001",
        "udp://10.0.0.2@232.1.1.1:5000?interface=lo",
        "udp://10.0.0.2:5000",
    ],
    ids=["group", "port", "interface", "unicast"],
)
def test_aRouteHasOneInput(other: str) -> None:
    """Input URLs that differ in more than their source are refused, naming both."""
    first = "udp://10.0.0.1@232.1.1.1:5000"
    assert problem([first, other], [OUT]) == (
        other,
        (
            f"a route has one input, and {first!r} is another; only the source may differ.  "
            "Give it a route of its own: --from and --to after these, or another [[route]].  "
            "Or make one stream of both: --merge or --failover, or [route.merge] or "
            "[route.failover]"
        ),
    )


@pytest.mark.parametrize(
    "inputs",
    [
        ["udp://10.0.0.1@232.1.1.1:5000", "udp://232.1.1.1:5000"],
        ["udp://232.1.1.1:5000", "udp://10.0.0.1@232.1.1.1:5000"],
        ["udp://232.1.1.1:5000", "udp://232.1.1.1:5000"],
    ],
)
def test_anySourceAndOneSourceDoNotMix(inputs: list[str]) -> None:
    """A group is heard from any source or from chosen ones, not both."""
    assert problem(inputs, [OUT]) == (
        inputs[1],
        "give either one URL without a source or several with one each",
    )


def test_aSourceIsGivenOnce() -> None:
    """The same source again is refused."""
    again = "udp://10.0.0.1@232.1.1.1:5000"
    assert problem([again, again], [OUT]) == (again, "it is there twice; leave one out")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("udp://239.1.1.1:5000?ttl=3", "ttl is for outputs: what arrives is as it was sent"),
        (
            "udp://camera.example:5000",
            "'camera.example' is not an address; an input has a group or one of ours",
        ),
        (
            "udp://10.0.0.1@10.0.0.2:5000",
            (
                "10.0.0.2 is not a multicast group (224.0.0.0/4 or ff00::/8), and a source can be "
                "chosen only for one"
            ),
        ),
        (
            "udp://10.0.0.1@:5000",
            (
                "0.0.0.0 is not a multicast group (224.0.0.0/4 or ff00::/8), and a source can be "
                "chosen only for one"
            ),
        ),
        (
            "udp://[fd00::1]@232.1.1.1:5000",
            "cannot use fd00::1 as a source of 232.1.1.1: one is IPv4 and the other IPv6",
        ),
        (
            "udp://232.1.1.2@232.1.1.1:5000",
            "cannot use 232.1.1.2 as a source of 232.1.1.1: a source is one host's unicast address",
        ),
        (
            "udp://camera.example@232.1.1.1:5000",
            "cannot use 'camera.example': it is not an IPv4 or IPv6 address",
        ),
        (
            "udp://10.0.0.1:5000?interface=eth0",
            (
                "an interface is where a group is joined; to receive unicast on one interface "
                "only, give that interface's address"
            ),
        ),
        ("udp://[fe80::1]:5000", "fe80::1 needs its interface, as in [fe80::1%eth0]"),
    ],
)
def test_anInputThatCannotBeIsRefused(text: str, expected: str) -> None:
    """Each such URL is refused with the reason and what would do."""
    assert problem([text], [OUT]) == (text, expected)


def test_aLinkLocalInputHasItsInterface() -> None:
    """The scope of a link-local address is its interface."""
    model = inputOf("udp://[fe80::1%eth0]:5000")
    assert (str(model.address), model.interface) == ("fe80::1", "eth0")


# Outputs


@pytest.mark.parametrize(
    "text",
    [
        "udp://10.0.0.1:5000",
        "udp://239.1.1.1:5000?interface=eth0&ttl=8",
        "udp://[fd00::1]:5000",
        "udp://[fe80::1]:5000?interface=eth0",
        "udp://localhost:5000?ttl=1",
        "udp://10.0.0.1@239.1.1.1:5000?dscp=46&rate=1500000",
        "udp://[fd00::1]@[ff15::1]:5000?ttl=8",
    ],
)
def test_anOutputIsItsURL(text: str) -> None:
    """An output is a group, a host or a host name; its text is the URL it was made of."""
    assert str(OutputModel.parse(text)) == text


def test_anAddressHasOneText() -> None:
    """However an address is written, the model has it in the one usual form."""
    assert OutputModel.parse("udp://[FD00:0::1%lo]:5") == OutputModel("fd00::1", 5, "lo")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "udp://239.1.1.1:5000?latency=5ms",
            "latency is for inputs: it is how long datagrams gather there",
        ),
        (
            "udp://239.1.1.1:5000?refresh=60s",
            "refresh is for inputs: an output has no membership",
        ),
        (
            "udp://fd00::1@239.1.1.1:5000",
            "fd00::1 is IPv6 and 239.1.1.1 is not; give a source of the same family",
        ),
        (
            "udp://239.2.2.2@239.1.1.1:5000",
            "239.2.2.2 is no address to send from; give one of this host's, or leave it out",
        ),
        (
            "udp://me@239.1.1.1:5000",
            "cannot use 'me': it is not an IPv4 or IPv6 address",
        ),
        ("udp://:5000", "it has no address to send to; give a group or a host"),
        ("udp://0.0.0.0:5000", "0.0.0.0 is every address, and none to send to"),
        ("udp://[::]:5000", ":: is every address, and none to send to"),
        ("udp://10.0.0:5000", "'10.0.0' is not an address or a host name"),
        ("udp://10.0.0.256:5000", "'10.0.0.256' is not an address or a host name"),
        ("udp://[fd00::x]:5000", "'fd00::x' is not an address or a host name"),
        ("udp://[fe80::1]:5000", "fe80::1 needs its interface, as in [fe80::1%eth0]"),
    ],
)
def test_anOutputThatCannotBeIsRefused(text: str, expected: str) -> None:
    """Each such URL is refused with the reason and what would do."""
    assert problem(["udp://:5001"], [text]) == (text, expected)


# Routes

LOOP = (
    "it is the input too, so everything would go round in a loop; change the address or the "
    "port, or, for a group, give both a different interface"
)


@pytest.mark.parametrize(
    ("incoming", "output"),
    [
        ("udp://239.1.1.1:5000", "udp://239.1.1.1:5000"),
        ("udp://239.1.1.1:5000", "udp://239.1.1.1:5000?ttl=8"),
        ("udp://239.1.1.1:5000?interface=lo", "udp://239.1.1.1:5000"),
        ("udp://239.1.1.1:5000?interface=lo", "udp://239.1.1.1:5000?interface=127.0.0.1"),
        ("udp://239.1.1.1:5000?interface=nope", "udp://239.1.1.1:5000?interface=nope"),
        ("udp://[ff15::1]:5000", "udp://[FF15:0::1]:5000"),
        ("udp://127.0.0.1:5000", "udp://127.0.0.1:5000"),
        ("udp://:5000", "udp://127.0.0.1:5000"),
        ("udp://:5000", "udp://127.1.2.3:5000"),
        ("udp://[::]:5000", "udp://[::1]:5000"),
    ],
)
def test_theInputIsNoOutput(incoming: str, output: str) -> None:
    """A route whose output would come in again is refused, however that is written."""
    assert problem([incoming], [output]) == (output, LOOP)


@pytest.mark.lan
def test_anAddressOfThisHostIsALoop() -> None:
    """What is received on every address of this host is not sent to one of them."""
    network = Namespace()
    try:
        network.raiseLoopback()
        network.run("ip", "address", "add", "10.1.1.1/32", "dev", "lo")
        with network:
            assert problem(["udp://:5000"], ["udp://10.1.1.1:5000"])[1] == LOOP
            RouteModel.of(["udp://:5000"], ["udp://10.1.1.2:5000"])
    finally:
        network.close()


@pytest.mark.parametrize(
    ("incoming", "output"),
    [
        ("udp://239.1.1.1:5000?interface=lo", "udp://239.1.1.1:5000?interface=nope"),
        ("udp://239.1.1.1:5000", "udp://239.1.1.1:5001"),
        ("udp://239.1.1.1:5000", "udp://239.1.1.2:5000"),
        ("udp://:5000", "udp://127.0.0.1:5001"),
        ("udp://:5000", "udp://[::1]:5000"),
        ("udp://:5000", "udp://10.0.0.1:5000"),
        ("udp://[::]:5000", "udp://localhost:5000"),
    ],
)
def test_whatIsNoLoopIsARoute(incoming: str, output: str) -> None:
    """A group may be taken from one interface to another, and the rest may be alike."""
    model = RouteModel.of([incoming], [output])
    assert model.outputs == (OutputModel.parse(output),)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (OUT, OUT),
        (OUT, f"{OUT}?ttl=3"),
        (OUT, f"{OUT}?rate=5M"),
        ("udp://localhost:9000", "udp://localhost:9000"),
        ("udp://[fd00::1]:9000", "udp://[fd00:0::1]:9000"),
    ],
)
def test_anOutputIsGivenOnce(one: str, other: str) -> None:
    """The same destination again is refused, for it would get everything twice."""
    assert problem(["udp://:5000"], [one, other]) == (other, "it is there twice; leave one out")


def test_outputsKeepTheirOrder() -> None:
    """A route has its outputs in the order in which they were given."""
    urls = [f"udp://10.0.0.{number}:5000" for number in (3, 1, 2)]
    model = RouteModel.of(["udp://:4000"], [*urls, "udp://10.0.0.1:5000?interface=lo"])
    assert [each.host for each in model.outputs] == [
        "10.0.0.3",
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.1",
    ]


URLS = st.from_regex(
    r"udp://([0-9a-f.:%\[\]]{0,8}@)?(239\.1\.1\.1|10\.0\.0\.1|\[ff02::1(%lo)?\]|\[[0-9a-f:%.]{0,12}\]"
    r"|[0-9a-z.]{0,8}):[1-9][0-9]?(\?(interface=(lo|x|1)|ttl=[0-9]{1,3}))?",
    fullmatch=True,
)


@given(st.lists(URLS, min_size=1, max_size=3), st.lists(URLS, min_size=1, max_size=3))
def test_noURLsRaiseAnythingElse(inputs: list[str], outputs: list[str]) -> None:
    """Any URLs either make a route or raise URLError, which names one of them."""
    try:
        model = RouteModel.of(inputs, outputs)
    except URLError as error:
        refused = error.url
    else:
        assert len(model.outputs) == len(outputs)
        return
    assert refused in inputs + outputs


@pytest.mark.parametrize(
    ("address", "interface", "expected"),
    [
        ("10.0.0.1", 2, "10.0.0.1"),
        ("fe80::1", 2, "fe80::1%2"),
        ("fe80::1%1", 2, "fe80::1%2"),
        ("fe80::1%1", 0, "fe80::1%1"),
    ],
)
def test_anAddressGetsTheScopeOfItsInterface(address: str, interface: int, expected: str) -> None:
    """An IPv6 address gets the index of the interface where there is one; IPv4 has no scopes."""
    assert str(withScope(ipaddress.ip_address(address), interface)) == expected
