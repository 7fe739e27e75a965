"""Examines an input: what it needs, what comes, and what comes instead."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping

from attrs import evolve

from txgroupsock.primitives import UnknownInterface
from txgroupsock.primitives.errors import bindAdvice
from txgroupsock.primitives.hoststate import HostState
from txgroupsock.primitives.sockaddr import IPAddress, withoutScope
from txgroupsock.relay.doctor import (
    firewall,
    interface,
    limits,
    memory,
    querier,
    routing,
    rpfilter,
    sharing,
    traffic,
)
from txgroupsock.relay.doctor.finding import Diagnosis, Finding
from txgroupsock.relay.doctor.hearing import Heard, PortTaken, hear
from txgroupsock.relay.doctor.host import Host
from txgroupsock.relay.doctor.kernel import rise
from txgroupsock.relay.doctor.netlink import Link, routeTo
from txgroupsock.relay.doctor.tally import Tallies
from txgroupsock.relay.models.udp import InputModel

_CHECKSUMS = ("Udp.InCsumErrors", "Udp6InCsumErrors")


class InputExamination:
    """
    One input; L{run} once.

    @ivar largest: bytes of the largest datagram that came, or 0.
    """

    def __init__(self, host: Host, model: InputModel) -> None:
        self.largest = 0
        self._host = host
        self._model = model
        self._subject = model.name
        self._address = withoutScope(model.address)
        self._index = 0
        self._wasJoined = False  # by others
        self._link: Link | None = None
        self._seen: list[str] = []
        self._findings: list[Finding] = []

    def run(self) -> Diagnosis:
        """What there is to say; blocks for the time that is listened, or twice that."""
        if self._finds() and self._mayBeHeard():
            self._listen()
        return Diagnosis(self._subject, tuple(self._seen), tuple(self._findings))

    @property
    def _name(self) -> str:
        return "" if self._link is None else self._link.name

    # What it needs

    def _finds(self) -> bool:
        """Find the interface; whether there is one, or none is needed."""
        model, host = self._model, self._host
        try:
            self._index = host.state.indexOf(model.interface)
            if model.isMulticast and not self._index:
                route = routeTo(model.address)
                self._index = 0 if route is None else route.interface
        except UnknownInterface as error:
            self._findings.append(interface.missingInterface(self._subject, error))
            return False
        except OSError as error:
            self._findings.append(routing.noRoute(self._subject, model.address, error))
            return False
        index = self._index or self._indexOfAddress()
        self._link = host.links.get(index)
        return True

    def _indexOfAddress(self) -> int:
        for each in self._host.state.interfaces.values():
            if self._address in each.addresses:
                return each.index
        return 0

    def _mayBeHeard(self) -> bool:
        """Whether nothing is known yet that keeps it from being received."""
        subject, model, host, link = self._subject, self._model, self._host, self._link
        found: list[Finding] = []
        group = model.address if model.isMulticast else None
        if link is not None:
            there = host.state.interfaces.get(link.index)
            addresses = () if there is None else there.addresses
            found += interface.checkInterface(subject, link, host.links, addresses, group)
        if group is not None:
            found += limits.checkLimits(subject, model, host.kernel.sysctl)
        if group is not None and link is not None:
            found += querier.checkBridge(subject, link, group)
        self._findings += found
        self._findings += memory.checkBuffers(subject, host.kernel.sysctl("net/core/rmem_max"))
        return not any(each.severity == "fault" for each in found)

    # What comes

    def _listen(self) -> None:
        host, model = self._host, self._model
        sockets = host.socketsOf(self._address, model.port)
        before = host.kernel.counters()
        self._wasJoined = HostState().hasJoined(self._index, model.address)
        heard = self._hear()
        if heard is None:
            return
        after = host.kernel.counters()
        rises = {name: rise(before, after, name) for name in (*_CHECKSUMS, rpfilter.COUNTER)}
        if sockets:
            now = host.socketsOf(self._address, model.port)
            self._findings += memory.checkDrops(
                self._subject, sockets, now, host.owners, heard.seconds
            )
        if model.isMulticast:
            version = model.address.version
            known = sharing.optionsOf(sockets, host.owners, version) if host.isCommand else {}
            self._findings += sharing.checkLeaks(self._subject, model, sockets, host.owners, known)
            self._checkVersion(heard)
        self._judge(heard, rises)

    def _hear(self) -> Heard | None:
        """Listen; L{None} if nothing can be heard at all, of which there is a finding then."""
        host, model, subject = self._host, self._model, self._subject
        try:
            return hear(model, self._index, host.seconds, host.isStopped)
        except PortTaken as error:
            if error.errno == errno.EADDRINUSE:
                return self._hearFromOutside(error)
            self._findings.append(_notBound(subject, model, error))
        except OSError as error:
            self._findings.append(limits.notJoined(subject, error))
        return None

    def _hearFromOutside(self, error: OSError) -> Heard | None:
        """Somebody has the port: look only at what comes to the interfaces."""
        host, model, subject = self._host, self._model, self._subject
        sockets = host.socketsOf(self._address, model.port)
        isKnown = host.kernel.sockets(4) is not None
        found = sharing.taken(subject, model, error, sockets, host.owners, isKnown=isKnown)
        if found is not None:
            self._findings.append(found)
            if found.severity == "fault":
                return None
        heard = hear(model, self._index, host.seconds, host.isStopped, opens=False)
        who = "a relay" if found is None else "some program"
        if heard.atInterfaces is None:
            self._seen.append(
                f"{who} has port {model.port}, so that no other socket may be opened there, and "
                f"the interfaces cannot be looked at ({heard.blindness}): what comes is not "
                "known here; run it as root, or look at what the relay counts"
            )
            return None
        self._seen.append(f"{who} has port {model.port}, so this is what comes to the interfaces:")
        return heard

    def _checkVersion(self, heard: Heard) -> None:
        host, model, name = self._host, self._model, self._name
        if not name:
            return
        version = model.address.version
        queries = [query for where, query in heard.queries if where == name]
        self._findings += querier.checkVersion(
            self._subject,
            model,
            name,
            host.state.igmpVersion(self._index) if version == 4 else None,
            querier.forcedVersion(host.kernel, version, name),
            queries,
        )
        if heard.atInterfaces is not None and name != "lo":
            self._findings += querier.checkAbsence(self._subject, name, queries, heard.seconds)

    def _judge(self, heard: Heard, rises: Mapping[str, int]) -> None:
        model, host = self._model, self._host
        sighting = self._sighting(heard)
        arrived = heard.atSocket
        if arrived is None:  # nobody but the relay has a socket
            arrived = {flow: each for flow, each in sighting.wanted.items() if flow.port}
        arrived = dict(sorted(arrived.items(), key=lambda each: each[0].source.packed))
        if not arrived:
            self._findings += self._missing(heard, sighting, rises)
            return
        self.largest = max(each.largest for each in arrived.values())
        self._seen += traffic.arrives(arrived, heard.seconds)
        onLink = frozenset(each.source for each in arrived if self._isOnLink(each.source))
        self._findings += traffic.checkArriving(
            self._subject, model, arrived, host.addresses, onLink
        )
        joined = host.kernel.joined(model.address.version)
        self._findings += traffic.checkLeak(self._subject, model, sighting, joined)

    def _sighting(self, heard: Heard) -> traffic.Sighting:
        name = self._name if self._model.isMulticast else ""
        ours = self._host.addresses
        return traffic.sightingOf(self._model, name, heard.atInterfaces or {}, ours)

    def _isOnLink(self, source: IPAddress) -> bool:
        try:
            route = routeTo(source, self._index if source.is_link_local else 0)
        except OSError:
            return False
        return route is None or route.isDirect

    # What does not come

    def _missing(
        self, heard: Heard, sighting: traffic.Sighting, rises: Mapping[str, int]
    ) -> Iterator[Finding]:
        """Why nothing comes."""
        subject, model, host = self._subject, self._model, self._host
        if sighting.wanted and heard.atSocket is not None:
            yield self._blocked(sighting.wanted, rises)
            return
        if model.sources and self._harmsNobody(heard):
            sighting = self._fromAnybody(sighting)
        if sighting.elsewhere:
            flow, tally = next(iter(sighting.elsewhere.items()))
            evidence = f"AF_PACKET: {tally.datagrams:,} from {flow.source} came by {flow.interface}"
            yield routing.elsewhere(subject, self._name, flow.interface, evidence)
            return
        found = traffic.checkMissing(subject, model, sighting)
        if found is None:
            found = self._reversePath(model.sources, rises)
        if found is None:
            queries = [query for where, query in heard.queries if where == self._name]
            asked = querier.unasked(queries, heard.seconds)
            found = traffic.nothing(subject, model, self._name, heard, asked)
            mode = rpfilter.modeOf(host.kernel, self._name) if self._name else None
            dropped = rises[rpfilter.COUNTER]
            other = rpfilter.droppedAnyway(subject, self._name, mode, dropped)
            yield from (other,) if other is not None else ()
        yield found

    def _harmsNobody(self, heard: Heard) -> bool:
        """
        Whether the group may be joined from any source: while a switch goes over from some sources
        to all, it may lose what others on this host hear of them.
        """
        if heard.atInterfaces is None:
            return not self._wasJoined
        return all(flow.destination != self._address for flow in heard.atInterfaces)

    def _fromAnybody(self, sighting: traffic.Sighting) -> traffic.Sighting:
        """Listen to any source of the group, to see who else sends."""
        host, model = self._host, self._model
        try:
            heard = hear(evolve(model, sources=()), self._index, host.seconds, host.isStopped)
        except OSError:
            return sighting
        again = self._sighting(heard)
        again.otherSources.update(heard.atSocket or {})
        return again

    def _blocked(self, wanted: Tallies, rises: Mapping[str, int]) -> Finding:
        """Why what comes to the interface does not come to a socket."""
        subject, host = self._subject, self._host
        sums = {name: rises[name] for name in _CHECKSUMS}
        rules = host.rules
        return (
            traffic.onlyFragments(subject, wanted)
            or traffic.ownAddress(subject, wanted, host.addresses)
            or self._reversePath([each.source for each in wanted], rises)
            or traffic.checksums(subject, wanted, sums)
            or firewall.blamed(subject, rules, traffic.blocked(wanted))
            or traffic.unexplained(subject, wanted, rules.unread)
        )

    def _reversePath(
        self, sources: list[IPAddress] | tuple[IPAddress, ...], rises: Mapping[str, int]
    ) -> Finding | None:
        host, link = self._host, self._link
        if link is None:
            return None
        mode = rpfilter.modeOf(host.kernel, link.name)
        dropped = rises[rpfilter.COUNTER]
        for source in dict.fromkeys(sources):
            found = rpfilter.checkReversePath(
                self._subject, link, source, mode, routeTo, host.nameOf, dropped
            )
            if found is not None:
                return found
        return None


def _notBound(subject: str, model: InputModel, error: PortTaken) -> Finding:
    advice = bindAdvice(error.errno, model.port)
    isAddress = error.errno == errno.EADDRNOTAVAIL
    text = (
        f"{model.address} is no address of this host, so nothing can be received there"
        if isAddress
        else f"port {model.port} cannot be opened"
    )
    check = "address" if isAddress else "port"
    return Finding(
        check, "fault", subject, text, (str(error),), advice or "see what the error says"
    )
