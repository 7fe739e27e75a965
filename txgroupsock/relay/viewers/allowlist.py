"""
Which groups viewers may ask for.

What is compared is parsed addresses, never text, so that there is one way only to write each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeAlias

from attrs import evolve, frozen

from txgroupsock.primitives import IPAddress
from txgroupsock.primitives.arguments import checked
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.redundancy.model import AnyInput

Network: TypeAlias = IPv4Network | IPv6Network

_GROUPS: tuple[Network, ...] = (ip_network("224.0.0.0/4"), ip_network("ff00::/8"))
_SHAPE = "[SOURCES@]GROUPS[:PORT[-PORT]][?interface=NAME]"
_RULE = re.compile(
    r"(?:(?P<sources>[^@?]*)@)?"
    r"(?:\[(?P<bracketed>[^]]*)\]|(?P<plain>[0-9./]*))"
    r"(?::(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?)?"
    r"(?:\?interface=(?P<interface>[^&]+))?"
)


class AllowError(ValueError):
    """A rule is wrong; the message says how to mend it."""


@frozen
class AllowRule:
    """
    Groups that may be asked for.

    @ivar groups: a network of groups: C{239.1.0.0/16}, or a single one.
    @ivar sources: if given, only source-specific, and only from there.
    @ivar ports: the first and the last UDP port.
    @ivar interface: where these groups are joined; C{""} leaves it to the routing table.
    """

    groups: Network
    sources: Network | None = None
    ports: tuple[int, int] = (1, 65535)
    interface: str = ""

    @classmethod
    @checked
    def parse(cls, text: str) -> AllowRule:
        """
        A rule as people write it: C{239.0.0.0/8}, C{10.0.0.0/24@232.1.1.1:5000-5010},
        C{[ff3e::/32]:5000?interface=eth1}.

        @raise AllowError: it is not one.
        """
        found = _RULE.fullmatch(text)
        if found is None:
            raise AllowError(
                f"{text!r} does not have the shape {_SHAPE}, with IPv6 in brackets, such as "
                "239.1.0.0/16 or [ff3e::/32]:5000"
            )
        groups = _network(text, found["bracketed"] or found["plain"])
        if not any(_isWithin(groups, each) for each in _GROUPS):
            raise AllowError(
                f"{text!r}: {groups} is not within the multicast groups, 224.0.0.0/4 or ff00::/8"
            )
        sources = None
        if found["sources"] is not None:
            sources = _network(text, found["sources"].removeprefix("[").removesuffix("]"))
            if sources.version != groups.version:
                raise AllowError(f"{text!r}: sources and groups are of two address families")
        first = int(found["first"] or 1)
        last = int(found["last"] or found["first"] or 65535)
        if not 1 <= first <= last <= 65535:
            raise AllowError(f"{text!r}: ports are from 1 to 65535, the first one first")
        return cls(groups, sources, (first, last), found["interface"] or "")

    def __str__(self) -> str:
        """It as L{parse} takes it."""
        sources = "" if self.sources is None else f"{_written(self.sources)}@"
        first, last = self.ports
        ports = f":{first}-{last}" if first < last else f":{first}"
        if self.ports == (1, 65535):
            ports = ""
        interface = f"?interface={self.interface}" if self.interface else ""
        return f"{sources}{_written(self.groups)}{ports}{interface}"

    def allows(self, wanted: InputModel) -> bool:
        """Whether it is one of these groups."""
        if not self.ports[0] <= wanted.port <= self.ports[1]:
            return False
        if not _contains(self.groups, wanted.address):
            return False
        if self.sources is None:
            return True
        sources = self.sources
        return bool(wanted.sources) and all(_contains(sources, each) for each in wanted.sources)


@frozen
class AllowList:
    """
    Rules of which one has to allow a group.

    @ivar rules: none allows nothing.
    """

    rules: tuple[AllowRule, ...] = ()

    @classmethod
    @checked
    def parse(cls, rules: Iterable[str]) -> AllowList:
        """
        The list of rules as people write them; see L{AllowRule.parse}.

        @raise AllowError: one is wrong.
        """
        return cls(tuple(AllowRule.parse(each) for each in rules))

    def find(self, wanted: AnyInput) -> InputModel | None:
        """
        What to open for whoever asked for this; L{None} if it is not allowed, as what is made of
        several inputs never is.

        @param wanted: says no interface; the first rule that allows it does.
        """
        if not isinstance(wanted, InputModel):
            return None
        for rule in self.rules:
            if rule.allows(wanted):
                return evolve(wanted, interface=rule.interface)
        return None


def _network(text: str, network: str) -> Network:
    try:
        return ip_network(network)
    except ValueError as error:
        raise AllowError(f"{text!r}: {error}") from None


def _written(network: Network) -> str:
    isOne = network.prefixlen == network.max_prefixlen
    text = str(network.network_address if isOne else network)
    return f"[{text}]" if network.version == 6 else text


def _isWithin(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def _contains(network: Network, address: IPAddress) -> bool:
    return address.version == network.version and address in network
