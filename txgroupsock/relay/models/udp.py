"""
What an input and an output are asked to be, checked.

Nothing is opened here: whether interfaces exist and ports are free shows only then.
"""

from __future__ import annotations

import socket
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeAlias

from attrs import evolve, frozen

from txgroupsock.ports.pacing import MOST_LATENCY
from txgroupsock.primitives import (
    AddressError,
    IPAddress,
    Membership,
    parseAddress,
)
from txgroupsock.primitives.arguments import typed
from txgroupsock.primitives.checks import inRange, wholeNumber
from txgroupsock.primitives.sockaddr import (
    familyName,
    familyOf,
    isMulticast,
    wildcard,
    withoutScope,
)
from txgroupsock.relay.models.url import MOST_RATE, MOST_REFRESH, StreamURL, URLError

Target: TypeAlias = tuple[str, int, str]
"""Where an output sends to: host, port and interface."""


@frozen(field_transformer=typed)
class InputModel:
    """
    A UDP input.

    @ivar address: a group to join, or an address of this host, or the wildcard.
    @ivar port: UDP port.
    @ivar sources: for a group, the hosts to hear; empty for any.
    @ivar interface: where the group is joined; C{""} leaves it to the routing table.
    @ivar latency: seconds that datagrams may gather under load; L{None}: the usual.
    @ivar refresh: seconds between two reports of the membership, besides those when the group
        is silent; L{None} for these only, 0 for none at all.
    """

    address: IPAddress
    port: int
    sources: tuple[IPAddress, ...] = ()
    interface: str = ""
    latency: float | None = None
    refresh: float | None = None

    def __attrs_post_init__(self) -> None:
        wholeNumber("port", self.port, 0, 0xFFFF)
        inRange("latency", self.latency, 0, MOST_LATENCY)
        inRange("refresh", self.refresh, 0, MOST_REFRESH)

    @property
    def isMulticast(self) -> bool:
        """Whether it is a group."""
        return isMulticast(self.address)

    def __str__(self) -> str:
        """Its URL, without sources."""
        return _urlOf(str(self.address), self.port, interface=self.interface)

    @property
    def name(self) -> str:
        """Its URL, with the first of its sources."""
        source = self.sources[0] if self.sources else None
        return _urlOf(str(self.address), self.port, source, interface=self.interface)

    @property
    def path(self) -> str:
        """It as viewers ask for it: its sources, if any, its address and its port."""
        hosts = [f"[{each}]" if each.version == 6 else str(each) for each in self.sources]
        address = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{','.join(hosts)}@{address}:{self.port}".removeprefix("@")

    @property
    def legs(self) -> tuple[InputModel, ...]:
        """What is received for it: itself; several where an input is made of several."""
        return (self,)

    @property
    def inOrder(self) -> InputModel:
        """What is heard, however soon it is passed on and in whatever order sources were given."""
        return self.heard(tuple(sorted(self.sources)))

    @property
    def times(self) -> tuple[float | None, float | None]:
        """Its latency and how often it is refreshed."""
        return self.latency, self.refresh

    def withLatency(self, latency: float | None) -> InputModel:
        """The same with another time for datagrams to gather, in seconds."""
        return evolve(self, latency=latency)

    @classmethod
    def fromJSON(cls, value: Mapping[str, Any]) -> InputModel:
        """The input whose fields JSON had, addresses as texts."""
        address = parseAddress(value["address"])
        sources = tuple(parseAddress(each) for each in value["sources"])
        return cls(**{**value, "address": address, "sources": sources})

    @classmethod
    def parse(cls, url: str) -> InputModel:
        """The input that one URL names; see L{ofOne}."""
        return cls.ofOne(StreamURL.parse(url))

    @classmethod
    def of(cls, urls: Sequence[StreamURL]) -> InputModel:
        """
        The one input that a list of URLs names: the same group from each of several sources.

        @raise URLError: they name several inputs, or one that cannot be.
        """
        gathering = Gathering()
        for url in urls:
            gathering.add(url)
        return gathering.model

    @property
    def received(self) -> InputModel:
        """What is received, however soon it is passed on: it is opened once for all who want it."""
        return self.heard(self.sources)

    @property
    def heardFrom(self) -> Hashable:
        """The same as L{received}, where only whether two are equal matters: ten times as fast."""
        return self.address, self.port, self.interface, self.sources

    def heard(self, sources: tuple[IPAddress, ...]) -> InputModel:
        """What is heard, however soon it is passed on, with other sources."""
        if self.times == (None, None) and self.sources == sources:
            return self  # as of most, and evolve() takes 10 us
        return evolve(self, sources=sources, latency=None, refresh=None)

    @classmethod
    def ofOne(cls, url: StreamURL) -> InputModel:
        """
        The input that one URL names.

        @raise URLError: it names none.
        """
        for option in ("ttl", "dscp", "rate"):
            if getattr(url, option) is not None:
                raise URLError(url.text, f"{option} is for outputs: what arrives is as it was sent")
        try:
            address = parseAddress(url.host) if url.host else wildcard(socket.AF_INET)
        except AddressError:
            raise URLError(
                url.text, f"{url.host!r} is not an address; an input has a group or one of ours"
            ) from None
        _checkScope(url, address)
        if isMulticast(address):
            sources = _sources(url, address)
            return cls(address, url.port, sources, url.interface, url.latency, url.refresh)
        if url.refresh is not None:
            raise URLError(
                url.text, "only the membership in a group can be refreshed; leave it out"
            )
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
        return cls(address, url.port, (), url.interface, url.latency)


class Gathering:
    """One input, gathered from a list of URLs: the same group from each of several sources."""

    def __init__(self) -> None:
        self._first: tuple[StreamURL, InputModel] | None = None
        self._sources: dict[IPAddress, None] = {}
        self._times: tuple[float | None, float | None] = (None, None)

    def add(self, url: StreamURL) -> None:
        """
        Add one.

        @raise URLError: it names another input than the first did, or none; it has not been added.
        """
        added = InputModel.ofOne(url)
        if self._first is None:
            self._first, self._times = (url, added), added.times
        else:
            self._check(url, added, *self._first)
            latency, refresh = self._times
            self._times = least(latency, added.latency), soonest(refresh, added.refresh)
        self._sources.update(dict.fromkeys(added.sources))

    def _check(self, url: StreamURL, added: InputModel, text: StreamURL, first: InputModel) -> None:
        if added.heard(()) != first.heard(()):
            raise URLError(
                url.text,
                f"a route has one input, and {text.text!r} is another; only the source "
                "may differ.  Give it a route of its own: --from and --to after these, or "
                "another [[route]].  Or make one stream of both: --merge or --failover, or "
                "[route.merge] or [route.failover]",
            )
        if not added.sources or not first.sources:
            raise URLError(
                url.text, "give either one URL without a source or several with one each"
            )
        if added.sources[0] in self._sources:
            raise URLError(url.text, "it is there twice; leave one out")

    @property
    def isEmpty(self) -> bool:
        """Whether none has been added."""
        return self._first is None

    @property
    def model(self) -> InputModel:
        """
        The input that these name.

        @raise ValueError: there is none.
        """
        if self._first is None:
            raise ValueError("no URL names this input: give it one")
        _, first = self._first
        if len(self._sources) < 2:
            return first
        latency, refresh = self._times
        return evolve(first, sources=tuple(self._sources), latency=latency, refresh=refresh)


@frozen(field_transformer=typed)
class OutputModel:
    """
    A UDP output.

    @ivar host: an address, or a host name to look up.
    @ivar port: UDP port.
    @ivar interface: what it leaves by; C{""} leaves that to the routing table.
    @ivar ttl: TTL or hop limit; L{None} for the kernel's (1 for a group).
    @ivar dscp: differentiated services code point; L{None} for the kernel's (0).
    @ivar source: the address of this host that it is sent from; L{None} leaves it to the kernel.
    @ivar rate: most bits of payload per second; L{None}: any.
    """

    host: str
    port: int
    interface: str = ""
    ttl: int | None = None
    dscp: int | None = None
    source: IPAddress | None = None
    rate: float | None = None

    def __attrs_post_init__(self) -> None:
        wholeNumber("port", self.port, 1, 0xFFFF)
        inRange("ttl", self.ttl, 0, 255)
        inRange("dscp", self.dscp, 0, 63)
        inRange("rate", self.rate, 0, MOST_RATE)

    @property
    def target(self) -> Target:
        """Where it sends to, in whatever way."""
        return self.host, self.port, self.interface

    def __str__(self) -> str:
        """Its URL."""
        return _urlOf(
            self.host,
            self.port,
            self.source,
            interface=self.interface,
            ttl=self.ttl,
            dscp=self.dscp,
            rate=self.rate and f"{self.rate:.15g}",
        )

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
        if url.latency is not None:
            raise URLError(url.text, "latency is for inputs: it is how long datagrams gather there")
        if url.refresh is not None:
            raise URLError(url.text, "refresh is for inputs: an output has no membership")
        if not url.host:
            raise URLError(url.text, "it has no address to send to; give a group or a host")
        host = url.host
        source = _sourceOf(url)
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
            if source is not None and source.version != address.version:
                raise URLError(
                    url.text,
                    f"{source} is {familyName(familyOf(source))} and {address} is not; "
                    "give a source of the same family",
                )
            host = str(address)
        return cls(host, url.port, url.interface, url.ttl, url.dscp, source, url.rate)


def least(one: float | None, other: float | None) -> float | None:
    """The smaller of two numbers, of which either may be missing."""
    return one if other is None else other if one is None else min(one, other)


def soonest(one: float | None, other: float | None) -> float | None:
    """Of two times to refresh, as in L{InputModel}, the one that refreshes more."""
    scheduled = [each for each in (one, other) if each]
    return min(scheduled) if scheduled else None if None in (one, other) else 0


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


def _sourceOf(url: StreamURL) -> IPAddress | None:
    """The address that an output sends from."""
    if not url.source:
        return None
    try:
        source = parseAddress(url.source)
    except AddressError as error:
        raise URLError(url.text, str(error)) from None
    if source.is_unspecified or isMulticast(source):
        raise URLError(
            url.text,
            f"{source} is no address to send from; give one of this host's, or leave it out",
        )
    return source


def _urlOf(host: str, port: int, source: IPAddress | None = None, **options: object) -> str:
    host = f"[{host}]" if ":" in host else host
    before = "" if source is None else f"[{source}]@" if source.version == 6 else f"{source}@"
    query = "&".join(f"{key}={value}" for key, value in options.items() if value not in ("", None))
    return f"udp://{before}{host}:{port}" + f"?{query}" * bool(query)
