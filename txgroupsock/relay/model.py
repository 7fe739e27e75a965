"""
What a relay is asked to do, checked: one route from an input to its outputs.

Nothing is opened here: whether interfaces exist and ports are free shows only then.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from attrs import evolve, frozen

from txgroupsock.primitives import (
    AddressError,
    IPAddress,
    Membership,
    UnknownInterface,
    interfaceIndex,
    parseAddress,
)
from txgroupsock.primitives.sockaddr import isMulticast, wildcard, withoutScope
from txgroupsock.relay.url import StreamURL, URLError


@frozen
class InputModel:
    """
    A UDP input.

    @ivar address: a group to join, or an address of this host, or the wildcard.
    @ivar port: UDP port.
    @ivar sources: for a group, the hosts to hear; empty for any.
    @ivar interface: where the group is joined; C{""} leaves it to the routing table.
    """

    address: IPAddress
    port: int
    sources: tuple[IPAddress, ...] = ()
    interface: str = ""

    @property
    def isMulticast(self) -> bool:
        """Whether it is a group."""
        return isMulticast(self.address)

    def __str__(self) -> str:
        """Its URL, without sources."""
        return _urlOf(str(self.address), self.port, interface=self.interface)

    @classmethod
    def parse(cls, url: str) -> InputModel:
        """The input that one URL names; see L{of}."""
        return cls.of([StreamURL.parse(url)])

    @classmethod
    def of(cls, urls: Sequence[StreamURL]) -> InputModel:
        """
        The one input that a list of URLs names: the same group from each of several sources.

        @raise URLError: they name several inputs, or one that cannot be.
        """
        first = cls._ofOne(urls[0])
        sources = list(first.sources)
        for url in urls[1:]:
            other = cls._ofOne(url)
            if evolve(other, sources=()) != evolve(first, sources=()):
                raise URLError(
                    url.text,
                    f"a route has one input, and {urls[0].text!r} is another; only the source "
                    "may differ.  Run a second relay for it",
                )
            if not other.sources or not first.sources:
                raise URLError(
                    url.text, "give either one URL without a source or several with one each"
                )
            if other.sources[0] in sources:
                raise URLError(url.text, "it is there twice; leave one out")
            sources.extend(other.sources)
        return evolve(first, sources=tuple(sources))

    @classmethod
    def _ofOne(cls, url: StreamURL) -> InputModel:
        if url.ttl is not None:
            raise URLError(url.text, "a ttl is for outputs; what arrives has one already")
        try:
            address = parseAddress(url.host) if url.host else wildcard(socket.AF_INET)
        except AddressError:
            raise URLError(
                url.text, f"{url.host!r} is not an address; an input has a group or one of ours"
            ) from None
        _checkScope(url, address)
        if isMulticast(address):
            return cls(address, url.port, _sources(url, address), url.interface)
        if url.source:
            raise URLError(
                url.text,
                f"{address} is not a multicast group (224.0.0.0/4 or ff00::/8), and a source "
                "can be chosen only for one",
            )
        if url.interface and not _needsScope(address):
            raise URLError(
                url.text,
                "an interface is where a group is joined; to receive unicast on one interface "
                "only, give that interface's address",
            )
        return cls(address, url.port, (), url.interface)


@frozen
class OutputModel:
    """
    A UDP output.

    @ivar host: an address, or a host name to look up.
    @ivar port: UDP port.
    @ivar interface: what it leaves by; C{""} leaves that to the routing table.
    @ivar ttl: TTL or hop limit; L{None} for the kernel's (1 for a group).
    """

    host: str
    port: int
    interface: str = ""
    ttl: int | None = None

    def __str__(self) -> str:
        """Its URL."""
        return _urlOf(self.host, self.port, interface=self.interface, ttl=self.ttl)

    @classmethod
    def parse(cls, url: str) -> OutputModel:
        """The output that one URL names; see L{of}."""
        return cls.of(StreamURL.parse(url))

    @classmethod
    def of(cls, url: StreamURL) -> OutputModel:
        """
        The output that a URL names.

        @raise URLError: it names none.
        """
        if url.source:
            raise URLError(url.text, "a source is for inputs; an output sends from this host")
        if not url.host:
            raise URLError(url.text, "it has no address to send to; give a group or a host")
        host = url.host
        try:
            address = parseAddress(host)
        except AddressError:
            # A name, unless it was plainly meant to be an address.
            if ":" in host or host.replace(".", "").isdecimal():
                raise URLError(url.text, f"{host!r} is not an address or a host name") from None
        else:
            if address.is_unspecified:
                raise URLError(url.text, f"{address} is every address, and none to send to")
            _checkScope(url, address)
            host = str(address)
        return cls(host, url.port, url.interface, url.ttl)


@frozen
class RouteModel:
    """One input, and the outputs that all of it goes to."""

    input: InputModel
    outputs: tuple[OutputModel, ...]

    @classmethod
    def of(cls, inputs: Sequence[str], outputs: Sequence[str]) -> RouteModel:
        """
        The route that the URLs of a command line name.

        @raise URLError: one of them is wrong, or two do not go together.
        """
        incoming = InputModel.of([StreamURL.parse(each) for each in inputs])
        outgoing: list[OutputModel] = []
        for each in outputs:
            output = OutputModel.parse(each)
            if _isLoop(incoming, output):
                raise URLError(
                    each,
                    "it is the input too, so everything would go round in a loop; change the "
                    "address or the port, or, for a group, give both a different interface",
                )
            # Whatever their TTLs, two of the same would bring every datagram twice.
            if any(evolve(output, ttl=other.ttl) == other for other in outgoing):
                raise URLError(each, "it is there twice; leave one out")
            outgoing.append(output)
        return cls(incoming, tuple(outgoing))


def withScope(address: IPAddress, interface: int) -> IPAddress:
    """An IPv6 address with the index of its interface, which a link-local one needs to be used."""
    if address.version == 4 or not interface:
        return address
    return parseAddress(f"{withoutScope(address)}%{interface}")


def _sources(url: StreamURL, group: IPAddress) -> tuple[IPAddress, ...]:
    if not url.source:
        return ()
    try:
        source = Membership.of(group, None, url.source).source
    except AddressError as error:
        raise URLError(url.text, str(error)) from None
    return () if source is None else (source,)


def _needsScope(address: IPAddress) -> bool:
    """Whether it is an IPv6 link-local address, which is another one on each link."""
    return address.version == 6 and address.is_link_local


def _checkScope(url: StreamURL, address: IPAddress) -> None:
    if _needsScope(address) and not url.interface:
        raise URLError(url.text, f"{address} needs its interface, as in [{address}%eth0]")


def _isLoop(incoming: InputModel, output: OutputModel) -> bool:
    """Whether what an output sends would come in again, as far as can be told from here."""
    try:
        address = parseAddress(output.host)
    except AddressError:
        return False
    if output.port != incoming.port or address.version != incoming.address.version:
        return False
    if incoming.address.is_unspecified:
        return address.is_loopback or _isOurs(address)
    return address == incoming.address and not _areApart(incoming.interface, output.interface)


def _isOurs(address: IPAddress) -> bool:
    try:
        return bool(interfaceIndex(address))
    except UnknownInterface:
        return False


def _areApart(one: str, other: str) -> bool:
    """Whether these are two interfaces: a group may well be taken from one link to another."""
    if not one or not other:
        return False
    try:
        return interfaceIndex(one) != interfaceIndex(other)
    except UnknownInterface:
        return one != other  # opening it will say which one is unknown


def _urlOf(host: str, port: int, **options: object) -> str:
    host = f"[{host}]" if ":" in host else host
    query = "&".join(f"{key}={value}" for key, value in options.items() if value not in ("", None))
    return f"udp://{host}:{port}" + f"?{query}" * bool(query)
