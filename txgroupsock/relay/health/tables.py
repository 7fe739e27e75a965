"""What the PAT and the PMTs of a transport stream say, followed as they change."""

from __future__ import annotations

from collections import Counter
from typing import Final

from txgroupsock.relay.health.pid import PID, Budget, Due
from txgroupsock.relay.health.psi import (
    PAT,
    PAT_PID,
    PMT,
    ProgramAssociation,
    ProgramMap,
    Sections,
)

_LIMIT: Final = 0.5  # seconds: TR 101 290 1.3 and 1.5
_MOST_PATS: Final = 2  # sections of the PAT, of up to 253 programs each
_MOST_NAMES: Final = 1024  # of PIDs in all PMTs together
_MOST_OTHERS: Final = 512  # PIDs that come, and that nothing names
# Others can ask for these by making tables up; in a quarter of a second:
_MOST_READINGS: Final = 150  # packets with parts of tables, each up to 30 µs
_MOST_CHANGES: Final = 8  # sections that were not read before, each up to 0.5 ms


class Tables:
    """
    Knows which PIDs there are, and which have to come.

    Whatever somebody makes up, it takes 35 ms a second at most: tables are read for so long, and
    no more than 2,043 PIDs are known: 512 that just came, 1,024 that PMTs name, and those of
    these and of the PAT.

    @ivar pids: each that has come or is waited for, by number.
    @ivar pat: when the PAT has to come again.
    @ivar pmts: the same for each PMT, by PID.
    @ivar patErrors: how often the PAT was late, as far as it is noticed here.
    @ivar pmtErrors: the same for PMTs.
    @ivar goneErrors: of continuity, of PIDs that had to be forgotten.
    @ivar goneScrambled: scrambled packets of these.
    """

    def __init__(self, pidLimit: float, begin: float) -> None:
        """
        @param pidLimit: seconds that a PID which a PMT names may be missing.
        @param begin: when it is begun to wait for the PAT, in seconds.
        """
        self.pids: dict[int, PID] = {}
        self.pat = Due(_LIMIT, begin)
        self.pmts: dict[int, Due] = {}
        self.patErrors = self.pmtErrors = 0
        self.goneErrors = self.goneScrambled = 0
        self._pidLimit = pidLimit
        self._version: int | None = None
        self._programs: dict[int, dict[int, int]] = {}  # by section of the PAT
        self._maps: dict[tuple[int, int], ProgramMap] = {}  # by PID and program
        self._names = Counter[int]()  # PIDs, by how many of these name them
        self._readings, self._changes = Budget(_MOST_READINGS), Budget(_MOST_CHANGES)

    @property
    def _isFull(self) -> bool:
        return len(self.pids) > _MOST_OTHERS + len(self._names) + len(self.pmts)

    def add(self, number: int, arrival: float, era: int) -> PID | None:
        """A PID that has come; L{None} if there are too many already."""
        isTable = number == PAT_PID or number in self.pmts
        if self._isFull and not isTable and number not in self._names:
            return None
        pid = self.pids[number] = PID(number, seen=arrival, era=era)
        if isTable:
            pid.sections = Sections()
        return pid

    def take(self, pid: PID, packet: bytes, arrival: float, *, follows: bool) -> None:
        """
        Take a packet with payload.

        @param follows: whether its continuity_counter says that none is missing before it.
        """
        sections = pid.sections
        if sections is None:
            return
        if not follows:
            sections.forget()
        if pid.isRepeated or packet[3] > 0x3F:
            return  # it has been read, or is scrambled and cannot be
        if packet[4:] == sections.known:  # as it is for hours
            self._came(pid, arrival)
        elif self._readings.spend(arrival):
            self._read(pid, sections, packet, arrival)
        else:
            sections.forget()

    def _came(self, pid: PID, arrival: float) -> None:
        """The table of a PID is there."""
        if pid.number == PAT_PID:
            self.patErrors += self.pat.came(arrival)
        elif pid.number in self.pmts:
            self.pmtErrors += self.pmts[pid.number].came(arrival)

    def _read(self, pid: PID, sections: Sections, packet: bytes, arrival: float) -> None:
        begin = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
        sections.known = b""
        for section in sections.take(packet[begin:], isStart=packet[1] & 0x40 != 0):
            if section[0] != (PAT if pid.number == PAT_PID else PMT):
                continue
            self._came(pid, arrival)
            if section != sections.read:
                if not self._changes.spend(arrival):
                    continue
                sections.read = section
                if pid.number == PAT_PID:
                    self._usePrograms(ProgramAssociation.of(section), arrival)
                else:
                    self._useMap(pid.number, ProgramMap.of(section), arrival)
            if packet[1] & 0x40 and sections.isEmpty:
                sections.known = packet[4:]

    def _usePrograms(self, found: ProgramAssociation | None, arrival: float) -> None:
        """Follow a PAT."""
        if (
            found is None
            or found.number >= _MOST_PATS
            or (found.version == self._version and self._programs.get(found.number) == found.pids)
        ):
            return
        if found.version != self._version:
            self._version = found.version
            self._programs.clear()
        self._programs[found.number] = found.pids
        programs = {
            (number, program)
            for each in self._programs.values()
            for program, number in each.items()
        }
        wanted = {number for number, _ in programs}
        self.pmts = {number: self.pmts.get(number) or Due(_LIMIT, arrival) for number in wanted}
        for number, pid in self.pids.items():
            isTable = number == PAT_PID or number in wanted
            if not isTable:
                pid.sections = None
            elif pid.sections is None:
                pid.sections = Sections()
            elif number != PAT_PID:
                pid.sections.known = pid.sections.read = b""
        for key in self._maps.keys() - programs:
            self._forget(self._maps.pop(key))

    def _useMap(self, number: int, found: ProgramMap | None, arrival: float) -> None:
        """Follow a PMT."""
        if found is None or not any(
            each.get(found.program) == number for each in self._programs.values()
        ):
            return
        key = number, found.program
        before = self._maps.get(key)
        if before == found:
            return
        had = 0 if before is None else len(before.names)
        if self._names.total() - had + len(found.names) > _MOST_NAMES:
            return
        self._maps[key] = found
        self._names.update(found.names.keys())
        if before is not None:
            self._forget(before)
        for name, kind in found.names.items():
            pid = self.pids.get(name)
            if pid is None:
                pid = self.pids[name] = PID(name, seen=arrival)
            pid.streamType = kind
            pid.due = pid.due or Due(self._pidLimit, arrival)

    def _forget(self, gone: ProgramMap) -> None:
        """Wait no more for the PIDs that no other PMT names."""
        self._names.subtract(dict.fromkeys(gone.names, 1))
        for name in gone.names:
            if not self._names[name]:
                del self._names[name]
                pid = self.pids.get(name)
                if pid is not None:
                    pid.due = pid.streamType = None
                    if not pid.packets or self._isFull:
                        del self.pids[name]
                        self.goneErrors += pid.errors
                        self.goneScrambled += pid.scrambled
