"""Whether what a route sends can get to where it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from attrs import evolve

from txgroupsock.primitives import IPAddress, UnknownInterface
from txgroupsock.primitives.hoststate import HostState
from txgroupsock.primitives.sockaddr import isMulticast
from txgroupsock.relay.doctor.finding import Diagnosis, Finding
from txgroupsock.relay.doctor.interface import checkInterface, missingInterface
from txgroupsock.relay.doctor.netlink import Link, Route, routeTo
from txgroupsock.relay.doctor.routing import noRoute
from txgroupsock.relay.models.udp import OutputModel

_HEADERS = {4: 28, 6: 48}  # bytes of IP and UDP


def examineOutput(
    model: OutputModel,
    state: HostState,
    links: Mapping[int, Link],
    addressOf: Callable[[OutputModel], IPAddress],
    size: int = 0,
    route: Callable[[IPAddress, int], Route | None] = routeTo,
) -> Diagnosis:
    """
    What there is to say about an output.

    @param addressOf: what it sends to; may block, and raise L{OSError} if the name is not found.
    @param size: bytes of the largest datagram that its input was heard to bring, or 0.
    """
    subject = str(model)
    findings: list[Finding] = []
    seen: list[str] = []

    def done() -> Diagnosis:
        return Diagnosis(subject, tuple(seen), tuple(findings))

    try:
        address = addressOf(model)
    except OSError as error:
        findings.append(
            Finding(
                "name",
                "fault",
                subject,
                f"the name {model.host} is not found, so nothing is sent there",
                (f"getaddrinfo: {error.strerror or error}",),
                "check the name and this host's DNS ('getent hosts NAME'), or give an address",
            )
        )
        return done()
    if str(address) != model.host:
        seen.append(f"{model.host} is {address}")
    try:
        index = state.indexOf(model.interface)
    except UnknownInterface as error:
        findings.append(missingInterface(subject, error))
        return done()
    findings += _checkSource(subject, model, state)
    wanted = links.get(index)
    if wanted is not None:
        # What is part of a bridge or bond can send, though it receives nothing.
        findings += checkInterface(subject, evolve(wanted, master=0), links, (), None)
    found = None
    try:
        if not findings:
            found = route(address, index)
    except OSError as error:
        findings.append(noRoute(subject, address, error, wanted.name if wanted else ""))
    if any(each.severity == "fault" for each in findings):
        return done()
    leaving = wanted or (None if found is None else links.get(found.interface))
    if leaving is not None:
        seen.append(f"leaves by {leaving.name}")
        if wanted is None:
            findings += checkInterface(subject, evolve(leaving, master=0), links, (), None)
        findings += checkSize(subject, address, leaving, size)
    findings += checkTTL(subject, model, address)
    return done()


def checkSize(subject: str, address: IPAddress, link: Link, size: int) -> Iterator[Finding]:
    """Whether datagrams of so many bytes fit."""
    room = link.mtu - _HEADERS[address.version]
    if link.mtu and size > room:
        yield Finding(
            "MTU",
            "doubt",
            subject,
            f"datagrams of {size:,} bytes have to go in fragments by {link.name}, where {room:,} "
            "fit; each fragment that is lost loses a datagram",
            (
                f"rtnetlink: the MTU of {link.name} is {link.mtu:,}",
                f"the input brings {size:,} bytes",
            ),
            f"have the sender send smaller ones (1,316 bytes), or 'ip link set dev {link.name} mtu "
            f"{size + _HEADERS[address.version]}' if the whole link can take that",
        )


def checkTTL(subject: str, model: OutputModel, address: IPAddress) -> Iterator[Finding]:
    """Whether a group leaves the link."""
    if isMulticast(address) and (model.ttl or 1) == 1:
        how = "the kernel's for groups" if model.ttl is None else "as the URL says"
        yield Finding(
            "TTL",
            "note",
            subject,
            "it is sent with a TTL of 1, so that it crosses no router",
            (f"TTL 1, {how}",),
            "if it is to go further, have ttl=16 in the URL",
        )


def _checkSource(subject: str, model: OutputModel, state: HostState) -> Iterator[Finding]:
    source = model.source
    if source is None or any(source in each.addresses for each in state.interfaces.values()):
        return
    listed = ", ".join(str(a) for each in state.interfaces.values() for a in each.addresses)
    yield Finding(
        "address",
        "fault",
        subject,
        f"it is to be sent from {source}, which is no address of this host",
        (f"there are: {listed}",),
        "have one of those in the URL, or none; 'ip address' lists them",
    )
