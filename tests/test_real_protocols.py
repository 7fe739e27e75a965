"""Programs that nobody here wrote, run as they are on Twisted's own ports and on ours.

Each test runs on both: what it asserts is therefore the same behaviour on either.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import txthings.coap
import txthings.resource
from twisted.internet import udp
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.names import client, dns, server
from twisted.names.authority import PySourceAuthority
from twisted.names.error import DNSNameError
from twisted.protocols import sip

from txgroupsock import GroupsockReactor, UDPPort

Listen = Callable[..., Any]

PORTS = {"Twisted's port": udp.Port, "our port": UDPPort}


@pytest.fixture(params=list(PORTS))
def whose(request: pytest.FixtureRequest) -> str:
    """On whose ports the program runs."""
    return str(request.param)


@pytest.fixture
def underTest(reactor: Any, whose: str) -> Any:
    """The reactor as it is, or ours around it."""
    return reactor if PORTS[whose] is udp.Port else GroupsockReactor(reactor)


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["IPv4", "IPv6"])
def address(request: pytest.FixtureRequest) -> str:
    """The loopback address of each family."""
    return str(request.param)


@pytest.fixture
def listen(underTest: Any, whose: str) -> Iterator[Listen]:
    """Opens UDP ports by C{listenUDP}, and closes them after the test."""
    opened: list[Any] = []

    def listening(protocol: Any, interface: str = "127.0.0.1", number: int = 0) -> Any:
        port = underTest.listenUDP(number, protocol, interface=interface)
        assert type(port) is PORTS[whose]
        opened.append(port)
        return port

    yield listening
    pytest_twisted.blockon(gatherResults([port.stopListening() for port in opened]))


# --- DNS: twisted.names --------------------------------------------------------------------------

# A zone as PySourceAuthority reads it: twisted.names' own format, in Python.
ZONE = """\
zone = [
    SOA("example.com", mname="ns.example.com", rname="admin.example.com", serial=1),
    NS("example.com", "ns.example.com"),
    MX("example.com", 10, "mail.example.com"),
    A("stream.example.com", "192.0.2.7"),
    AAAA("stream.example.com", "2001:db8::7"),
    *(A(f"host{number}.example.com", f"192.0.2.{number}") for number in range(200)),
]
"""


@pytest.fixture
def serving(tmp_path: Path) -> dns.DNSDatagramProtocol:
    """A server of the zone."""
    zone = tmp_path / "zone.py"
    zone.write_text(ZONE)
    return dns.DNSDatagramProtocol(
        server.DNSServerFactory(authorities=[PySourceAuthority(str(zone))])
    )


@pytest_twisted.ensureDeferred
async def test_namesAreServedAndLookedUp(
    underTest: Any, listen: Listen, address: str, serving: dns.DNSDatagramProtocol
) -> None:
    """A zone is served to Twisted's resolver, which opens a port of its own for every query."""
    port = listen(serving, address)
    resolver = client.Resolver(servers=[(address, port.getHost().port)], reactor=underTest)
    (answers, *_) = await resolver.lookupAddress("stream.example.com", timeout=[5])
    assert [each.payload.dottedQuad() for each in answers] == ["192.0.2.7"]
    (answers, *_) = await resolver.lookupIPV6Address("stream.example.com", timeout=[5])
    assert socket.inet_ntop(socket.AF_INET6, answers[0].payload.address) == "2001:db8::7"
    (answers, *_) = await resolver.lookupMailExchange("example.com", timeout=[5])
    assert answers[0].payload.name.name == b"mail.example.com"
    with pytest.raises(DNSNameError):
        await resolver.lookupAddress("nobody.example.com", timeout=[5])


# Each query's port is one of 65,535 at random, and another if that is taken. Twisted's port then
# leaves the socket that it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*socket.socket")
@pytest_twisted.ensureDeferred
async def test_manyNamesAtOnce(
    underTest: Any, listen: Listen, serving: dns.DNSDatagramProtocol
) -> None:
    """Two hundred queries at once are all answered."""
    port = listen(serving)
    resolver = client.Resolver(servers=[("127.0.0.1", port.getHost().port)], reactor=underTest)
    found = await gatherResults(
        [resolver.lookupAddress(f"host{number}.example.com", timeout=[9]) for number in range(200)]
    )
    assert [answers[0].payload.dottedQuad() for answers, *_ in found] == [
        f"192.0.2.{number}" for number in range(200)
    ]


# --- SIP: twisted.protocols.sip ------------------------------------------------------------------


class Phone(sip.Base):
    """
    Sends requests and waits for their responses; answers whoever calls.

    @ivar calls: the requests that it received.
    """

    def __init__(self, user: str, proxy: tuple[str, int]) -> None:
        super().__init__()
        self.user = user
        self.proxy = sip.URL(proxy[0], port=proxy[1])
        self.calls: list[sip.Request] = []
        self.waiting: dict[str, Deferred[sip.Response]] = {}

    def ask(self, method: str, uri: str, to: str, **headers: str) -> Deferred[sip.Response]:
        """Send a request to the proxy; fires with the response."""
        assert self.transport is not None
        host = self.transport.getHost()
        request = sip.Request(method, uri)
        request.addHeader("via", sip.Via(host.host, port=host.port).toString())
        call = secrets.token_hex(8)
        for name, text in {
            "to": to,
            "from": f"sip:{self.user}@example.com",
            "call-id": call,
            "cseq": f"1 {method}",
            "contact": f"sip:{self.user}@{host.host}:{host.port}",
            **headers,
            "content-length": "0",
        }.items():
            request.addHeader(name, text)
        self.waiting[call] = Deferred()
        self.sendMessage(self.proxy, request)
        return self.waiting[call]

    def handle_request(self, message: sip.Request, addr: tuple[str, int]) -> None:
        self.calls.append(message)
        response = self.responseFromRequest(200, message)
        response.addHeader("content-length", "0")
        self.deliverResponse(response)

    def handle_response(self, message: sip.Response, addr: tuple[str, int]) -> None:
        self.waiting.pop(message.headers["call-id"][0]).callback(message)


@pytest_twisted.ensureDeferred
async def test_aCallGoesThroughTheProxy(reactor: Any, listen: Listen) -> None:
    """One phone registers, another calls it by its name; who is not registered is not found."""
    registry = sip.InMemoryRegistry("example.com")
    proxy: Any = sip.RegisterProxy(host="127.0.0.1")
    proxy.registry = proxy.locator = registry
    proxy.port = listen(proxy).getHost().port
    alice, bob = (Phone(name, ("127.0.0.1", proxy.port)) for name in ("alice", "bob"))
    listen(alice)
    contact = f"sip:bob@127.0.0.1:{listen(bob).getHost().port}"
    registering = bob.ask("REGISTER", "sip:example.com", "sip:bob@example.com")
    registered = await registering.addTimeout(5, reactor)
    assert registered.code == 200
    assert registered.headers["contact"] == [contact]
    calling = alice.ask("INVITE", "sip:bob@example.com", "sip:bob@example.com")
    assert (await calling.addTimeout(5, reactor)).code == 200
    (call,) = bob.calls
    assert call.headers["from"] == ["sip:alice@example.com"]
    assert len(call.headers["via"]) == 2  # the proxy's and alice's
    wrong = alice.ask("INVITE", "sip:carol@example.com", "sip:carol@example.com")
    assert (await wrong.addTimeout(5, reactor)).code == 404
    leaving = bob.ask("REGISTER", "sip:example.com", "sip:bob@example.com", expires="0")
    assert (await leaving.addTimeout(5, reactor)).code == 200
    assert registry.users == {}


# --- CoAP: txThings ------------------------------------------------------------------------------


class Note(txthings.resource.CoAPResource):  # type: ignore[misc]
    """Something that can be read and written."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.text = text

    def render_GET(self, request: Any) -> Deferred[Any]:
        return succeed(txthings.coap.Message(code=txthings.coap.CONTENT, payload=self.text))

    def render_PUT(self, request: Any) -> Deferred[Any]:
        self.text = request.payload
        return succeed(txthings.coap.Message(code=txthings.coap.CHANGED, payload=b""))


@pytest.fixture
def noTimersOfCoAP(reactor: Any) -> Iterator[None]:
    """Cancel what txThings leaves: it remembers each message for four minutes (RFC 7252, 4.8.2)."""
    yield
    for call in reactor.getDelayedCalls():
        if getattr(call.func, "__module__", "") == "txthings.coap":
            call.cancel()


@pytest.mark.usefixtures("noTimersOfCoAP")
@pytest_twisted.ensureDeferred
async def test_aThingIsReadAndWritten(reactor: Any, listen: Listen, address: str) -> None:
    """Confirmable requests; 1,000 bytes go as blocks of 64, each a datagram with its answer."""
    root = txthings.resource.CoAPResource()
    note = Note(secrets.token_bytes(1000))
    root.putChild(b"note", note)
    serving = listen(txthings.coap.Coap(txthings.resource.Endpoint(root)), address)
    asking = txthings.coap.Coap(txthings.resource.Endpoint(None))
    listen(asking, address)

    async def ask(code: int, path: str, payload: bytes = b"") -> Any:
        message = txthings.coap.Message(code=code, payload=payload)
        message.opt.uri_path = [path.encode()]
        message.remote = (txthings.coap.ip_address(address), serving.getHost().port)
        return await asking.request(message).addTimeout(10, reactor)

    assert (await ask(txthings.coap.GET, "note")).payload == note.text
    written = secrets.token_bytes(700)
    assert (await ask(txthings.coap.PUT, "note", written)).code == txthings.coap.CHANGED
    assert note.text == written
    assert (await ask(txthings.coap.GET, "note")).payload == written
    assert (await ask(txthings.coap.GET, "nothing")).code == txthings.coap.NOT_FOUND
