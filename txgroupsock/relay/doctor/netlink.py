"""What Linux tells by rtnetlink(7): its interfaces, and the routes that it would take."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from attrs import frozen

from txgroupsock.primitives.netlink import NoNetlink, attribute, attributes, dump, get
from txgroupsock.primitives.sockaddr import IPAddress, familyOf, withoutScope

# linux/rtnetlink.h, linux/if_link.h
_GET_LINK: Final = 18
_GET_ROUTE: Final = 26
_IFLA_NAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_STATE, _IFLA_INFO, _IFLA_CARRIER = 3, 4, 10, 16, 18, 33
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND = 1, 2, 4
_BRIDGE_SNOOPING, _BRIDGE_QUERIER, _BRIDGE_QUERIER_STATE = 23, 25, 47
_QUERIER_4, _QUERIER_6 = 1, 5
_RTA_TO, _RTA_INTERFACE, _RTA_GATEWAY, _RTA_VIA = 1, 4, 5, 18

_LINK: Final = struct.Struct("=BxHiII")  # struct ifinfomsg
_ROUTE: Final = struct.Struct("=8BI")  # struct rtmsg

_STATES: Final = ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")


@frozen
class Bridge:
    """
    How a bridge treats groups.

    @ivar snoops: whether it forwards a group only to who has asked for it.
    @ivar querier4: who asks for members of IPv4 groups: an address, which is 0.0.0.0 for a bridge
        that has none; L{None} if nobody does.
    @ivar querier6: the same for IPv6.
    """

    snoops: bool
    querier4: IPAddress | None = None
    querier6: IPAddress | None = None


@frozen
class Link:
    """
    One interface.

    @ivar flags: C{IFF_*} bits (netdevice(7)).
    @ivar state: C{"UP"}, C{"DOWN"}, C{"LOWERLAYERDOWN"} and the like (RFC 2863).
    @ivar kind: C{"veth"}, C{"bridge"}, C{"bond"} and the like; C{""} for a network card.
    @ivar master: index of the bridge or bond that it is part of, or 0.
    @ivar masterKind: what that is.
    """

    index: int
    name: str
    flags: int
    mtu: int
    state: str = "UP"
    hasCarrier: bool = True
    kind: str = ""
    master: int = 0
    masterKind: str = ""
    bridge: Bridge | None = None


@frozen
class Route:
    """
    How the kernel would send to an address.

    @ivar interface: index.
    @ivar isDirect: whether it is on the link itself, and not behind a router.
    """

    interface: int
    isDirect: bool = True


def links() -> dict[int, Link] | None:
    """Every interface by its index; L{None} where the kernel does not tell (all but Linux)."""
    try:
        messages = dump(_GET_LINK, _LINK.pack(0, 0, 0, 0, 0))
    except OSError:
        return None
    return {each.index: each for each in map(linkIn, messages)}


def routeTo(address: IPAddress, interface: int = 0) -> Route | None:
    """
    How the kernel would send to an address, by an interface if one is given.

    @return: L{None} where it does not tell.
    @raise OSError: it has no such route: ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL.
    """
    packed = withoutScope(address).packed
    body = _ROUTE.pack(familyOf(address), 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    body += attribute(_RTA_TO, packed)
    if interface:
        body += attribute(_RTA_INTERFACE, struct.pack("=I", interface))
    try:
        messages = get(_GET_ROUTE, body)
    except NoNetlink:
        return None
    return routeIn(messages[0]) if messages else None


def linkIn(message: bytes) -> Link:
    """The interface of an RTM_NEWLINK message."""
    _, _, index, flags, _ = _LINK.unpack_from(message)
    parts = dict(attributes(message[_LINK.size :]))
    info = dict(attributes(parts.get(_IFLA_INFO, b"")))
    kind = _text(info.get(_INFO_KIND, b""))
    state = parts.get(_IFLA_STATE, b"\0")[0]
    return Link(
        index,
        _text(parts.get(_IFLA_NAME, b"")),
        flags,
        _number(parts.get(_IFLA_MTU, b"")),
        _STATES[state] if state < len(_STATES) else str(state),
        parts.get(_IFLA_CARRIER, b"\1") != b"\0",
        kind,
        _number(parts.get(_IFLA_MASTER, b"")),
        _text(info.get(_INFO_SLAVE_KIND, b"")),
        _bridgeIn(info.get(_INFO_DATA, b"")) if kind == "bridge" else None,
    )


def routeIn(message: bytes) -> Route:
    """The route of an RTM_NEWROUTE message."""
    parts = dict(attributes(message[_ROUTE.size :]))
    isDirect = _RTA_GATEWAY not in parts and _RTA_VIA not in parts
    return Route(_number(parts.get(_RTA_INTERFACE, b"")), isDirect)


def _bridgeIn(data: bytes) -> Bridge:
    parts = dict(attributes(data))
    queriers = dict(attributes(parts.get(_BRIDGE_QUERIER_STATE, b"")))
    # A kernel before 5.15 tells only whether the bridge itself asks.
    own = ipaddress.ip_address(0) if parts.get(_BRIDGE_QUERIER, b"\0") != b"\0" else None
    found = {
        each: ipaddress.ip_address(queriers[each]) if each in queriers else own
        for each in (_QUERIER_4, _QUERIER_6)
    }
    isSnooping = parts.get(_BRIDGE_SNOOPING, b"\0") != b"\0"
    return Bridge(isSnooping, found[_QUERIER_4], found[_QUERIER_6])


def _number(value: bytes) -> int:
    return int(struct.unpack("=I", value)[0]) if len(value) == 4 else 0


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")
