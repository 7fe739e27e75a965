"""What the datagrams that came, or did not, say about a stream: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from txgroupsock.primitives.sockaddr import IPAddress, withoutScope
from txgroupsock.relay.counters import bitRate
from txgroupsock.relay.doctor.finding import Finding
from txgroupsock.relay.doctor.hearing import Heard
from txgroupsock.relay.doctor.tally import Flow, Tallies, Tally
from txgroupsock.relay.models.udp import InputModel

CHECK = "traffic"


@frozen
class Sighting:
    """
    What of a stream was seen at the interfaces, before the kernel's filters.

    @ivar wanted: of the sources that were asked for, where it was expected.
    @ivar otherSources: of others, to the same group and port.
    @ivar elsewhere: of the same stream, by other interfaces.
    @ivar otherPorts: of the same group, to other ports.
    @ivar otherGroups: of other addresses, to the same port.
    """

    wanted: Tallies
    otherSources: Tallies
    elsewhere: Tallies
    otherPorts: Tallies
    otherGroups: Tallies


def sightingOf(
    model: InputModel, interface: str, flows: Tallies, ours: frozenset[IPAddress]
) -> Sighting:
    """
    What was seen, sorted.

    @param interface: name of where the group is joined; C{""} for any.
    @param ours: the addresses of this host.
    """
    found = Sighting({}, {}, {}, {}, {})
    address = withoutScope(model.address)
    for flow, tally in flows.items():
        isIt = flow.destination in ours if address.is_unspecified else flow.destination == address
        isSource = not model.sources or flow.source in model.sources
        if not isIt:
            isOther = flow.port == model.port and (
                flow.destination.is_multicast == address.is_multicast
            )
            into = found.otherGroups if isOther else None
        elif flow.port not in (model.port, 0):
            into = found.otherPorts if address.is_multicast else None
        elif interface and flow.interface != interface:
            into = found.elsewhere
        else:
            into = found.wanted if isSource else found.otherSources
        if into is not None:
            into[flow] = tally
    return found


def arrives(heard: Tallies, seconds: float) -> Iterator[str]:
    """What a stream is like, a line for each sender."""
    for flow, tally in heard.items():
        count = tally.datagrams / seconds
        sizes = (
            f"{tally.smallest:,}"
            if tally.smallest == tally.largest
            else f"{tally.smallest:,} to {tally.largest:,}"
        )
        ttls = f", TTL {_list(tally.ttls)}" if tally.ttls else ""
        yield (
            f"arrives from {flow.source}: {count:,.0f} datagrams/s, "
            f"{bitRate(8 * tally.bytes / seconds)}, {sizes} bytes each{ttls}"
        )


def checkArriving(
    subject: str,
    model: InputModel,
    heard: Tallies,
    ours: frozenset[IPAddress],
    onLink: frozenset[IPAddress],
) -> Iterator[Finding]:
    """
    What may be wrong with a stream that arrives.

    @param ours: the addresses of this host.
    @param onLink: the senders that are on the link itself.
    """
    if model.isMulticast and not model.sources and len(heard) > 1:
        senders = [each.source for each in heard]
        yield Finding(
            CHECK,
            "doubt",
            subject,
            f"{len(heard)} hosts send to this group and port, and what they send is mixed",
            tuple(_counted(flow, tally) for flow, tally in heard.items()),
            f"name the source that is wanted, as in udp://{_inURL(senders[0])}@GROUP:PORT; "
            f"there are {_list(senders)}",
        )
    for flow, tally in heard.items():
        if flow.source not in ours:
            yield from _checkTTL(subject, flow, tally, isOnLink=flow.source in onLink)
        if tally.fragments:
            yield Finding(
                CHECK,
                "doubt",
                subject,
                f"what {flow.source} sends comes in fragments: each that is lost loses the whole "
                "datagram, and many firewalls and switches drop them",
                (_counted(flow, tally), f"{tally.fragments:,} of them in fragments"),
                "have it send datagrams that fit the path: 1,316 bytes (seven MPEG-TS packets)",
            )


def _checkTTL(subject: str, flow: Flow, tally: Tally, *, isOnLink: bool) -> Iterator[Finding]:
    if not flow.destination.is_multicast or not tally.ttls or min(tally.ttls) > 1:
        return
    least = min(tally.ttls)
    evidence = (f"TTL or hop limit of what came from {flow.source}: {_list(tally.ttls)}",)
    remedy = f"have {flow.source} send with a larger TTL, such as 16 (in a relay, ?ttl=16)"
    if least == 0:
        text = f"what {flow.source} sends arrives with TTL 0: it should never leave its sender"
        yield Finding("TTL", "doubt", subject, text, evidence, remedy)
    elif isOnLink:
        text = f"what {flow.source} sends has TTL 1: it does not cross any router"
        yield Finding("TTL", "note", subject, text, evidence, remedy)
    else:
        text = (
            f"what {flow.source} sends arrives with TTL 1: it has come by routers and gets no "
            "further; by a path with one more router it is lost"
        )
        yield Finding("TTL", "doubt", subject, text, evidence, remedy)


def checkLeak(
    subject: str, model: InputModel, sighting: Sighting, joined: frozenset[IPAddress] | None
) -> Iterator[Finding]:
    """
    Whether groups that nobody here has joined come to this port.

    @param joined: the groups that this host has joined; L{None} if that is not known.
    """
    if not model.isMulticast or joined is None:
        return
    strange = {
        flow: tally
        for flow, tally in sighting.otherGroups.items()
        if flow.destination not in joined and flow.interface != "lo"
    }
    if strange:
        yield Finding(
            "leak",
            "doubt",
            subject,
            f"{_list(each.destination for each in strange)}, which nobody on this host has joined, "
            f"arrives here on port {model.port} as well: the switch floods it",
            tuple(_counted(flow, tally) for flow, tally in strange.items()),
            "switch on IGMP and MLD snooping in the switch, with a querier",
        )


def checkMissing(subject: str, model: InputModel, sighting: Sighting) -> Finding | None:
    """Where a stream is that does not come, from what else does; L{None} if nothing does."""
    port, address = model.port, model.address
    if sighting.otherSources:
        who = _list(each.source for each in sighting.otherSources)
        return Finding(
            "source",
            "fault",
            subject,
            f"the group comes from {who}, and not from {_list(model.sources)}",
            _evidence(sighting.otherSources),
            f"have {_inURL(next(iter(sighting.otherSources)).source)}@ in the URL, or no source; "
            "or see why the right one does not send",
        )
    if sighting.otherPorts:
        ports = _list(each.port for each in sighting.otherPorts)
        return Finding(
            "port",
            "fault",
            subject,
            f"the group comes to port {ports}, and not to {port}",
            _evidence(sighting.otherPorts),
            f"have port {next(iter(sighting.otherPorts)).port} in the URL",
        )
    if sighting.otherGroups:
        what = "group" if model.isMulticast else "address"
        found = [each.destination for each in sighting.otherGroups]
        return Finding(
            what,
            "fault",
            subject,
            f"what comes to port {port} is for {_list(found)}, and not for {address}",
            _evidence(sighting.otherGroups),
            f"have {_inURL(found[0])} in the URL, or the sender send to {address}",
        )
    return None


def nothing(subject: str, model: InputModel, interface: str, heard: Heard, asked: str) -> Finding:
    """
    The finding that nothing comes at all.

    @param asked: what is known of a querier.
    """
    by = f" on {interface}" if interface else ""
    evidence = [f"listened for {heard.seconds:.1f} s: nothing came to a socket"]
    if heard.atSocket is None:
        evidence = []
    if heard.atInterfaces is None:
        evidence.append(
            f"the interface itself cannot be looked at ({heard.blindness}): as root, or with "
            "CAP_NET_RAW, more is known"
        )
    else:
        evidence.append(f"AF_PACKET: nothing for it came to the interface in {heard.seconds:.1f} s")
    if not model.isMulticast:
        return Finding(
            CHECK,
            "fault",
            subject,
            f"nothing arrives at {model.address} port {model.port}",
            tuple(evidence),
            "see that the sender sends here, and that no firewall on the way stops it: "
            f"'tcpdump -ni any udp port {model.port}' shows whether anything comes",
        )
    evidence.append(asked)
    return Finding(
        CHECK,
        "fault",
        subject,
        f"nothing of {model.address} port {model.port} arrives{by}, though it is joined: the "
        "sender is silent, its TTL is too small, or a switch or router on the way holds it back",
        tuple(evidence),
        "see that it sends, with a TTL larger than the number of routers in between, and that the "
        "switch shows this host as a member of the group; "
        f"'tcpdump -ni {interface or 'any'} udp port {model.port}' shows whether anything comes",
    )


def blocked(wanted: Tallies) -> str:
    """The evidence that a stream comes to the interface and goes no further."""
    return "AF_PACKET: " + "; ".join(_evidence(wanted)) + "; nothing of it came to a socket"


def onlyFragments(subject: str, wanted: Tallies) -> Finding | None:
    """Fragments come, and never all of a datagram; L{None} if anything else comes."""
    if any(each.fragments < each.datagrams for each in wanted.values()):
        return None
    return Finding(
        "fragments",
        "fault",
        subject,
        "fragments come, but never all of a datagram: something on the way loses or drops the rest",
        (blocked(wanted),),
        "have the sender send datagrams that fit the path (1,316 bytes), or let fragments through",
    )


def checksums(subject: str, wanted: Tallies, rises: Mapping[str, int]) -> Finding | None:
    """They are damaged: the kernel counts them and gives them to nobody."""
    count = sum(rises.values())
    if not count:
        return None
    names = ", ".join(f"{name} rose by {rise:,}" for name, rise in rises.items() if rise)
    return Finding(
        "checksum",
        "fault",
        subject,
        "the datagrams that come have a wrong checksum, so the kernel drops them",
        (f"/proc/net/snmp: {names}", blocked(wanted)),
        "find what damages them: a sender that writes its own headers, or a card, 'ethtool -K DEV "
        "tx off' on the sender",
    )


def ownAddress(subject: str, wanted: Tallies, ours: frozenset[IPAddress]) -> Finding | None:
    """They have an address of this host as their source, so the kernel takes them for forged."""
    found = {
        flow: tally
        for flow, tally in wanted.items()
        if flow.source in ours and flow.interface not in ("", "lo")
    }
    if not found:
        return None
    return Finding(
        "source",
        "fault",
        subject,
        f"datagrams come in with an address of this host ({_list(each.source for each in found)}) "
        "as their source, and the kernel drops them: another host has the same address, or a loop "
        "brings back what this one sent",
        _evidence(found),
        "give one of the two another address; 'ip address' lists those of this host",
    )


def unexplained(subject: str, wanted: Tallies, unread: tuple[str, ...]) -> Finding:
    """They come to the interface and to no socket, and nobody knows why."""
    return Finding(
        CHECK,
        "fault",
        subject,
        "the stream comes to the interface, but not to a socket: something in this host drops it",
        (blocked(wanted), *unread),
        "look at 'nft list ruleset', 'tc filter show dev DEV ingress' and 'nstat -az'",
    )


def _evidence(tallies: Tallies) -> tuple[str, ...]:
    return tuple(_counted(flow, tally) for flow, tally in tallies.items())


def _counted(flow: Flow, tally: Tally) -> str:
    by = f" by {flow.interface}" if flow.interface else ""
    port = f" port {flow.port}" if flow.port else ""
    return f"{tally.datagrams:,} from {flow.source} to {flow.destination}{port}{by}"


def _inURL(address: IPAddress) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def _list(items: object) -> str:
    texts = list(dict.fromkeys(map(str, items)))  # type: ignore[call-overload]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
