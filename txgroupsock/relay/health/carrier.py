"""Finding the packets of a transport stream in datagrams: on UDP itself, or in RTP."""

from __future__ import annotations

from attrs import define

from txgroupsock.packets.rtp import payloadOf
from txgroupsock.primitives.run import Run
from txgroupsock.relay.health.plan import SIZE, SYNC

_RTP_HEADER = 12


@define
class Carrier:
    """
    Finds out by itself how datagrams carry packets, and again if that changes.

    @ivar name: C{"UDP"} or C{"RTP"}; L{None} as long as there is no transport stream.
    @ivar others: datagrams that hold no whole packets, since there was one.
    """

    name: str | None = None
    others: int = 0

    def packetsOf(self, run: Run) -> memoryview | None:
        """The packets of a run, one after the other, copied if need be; L{None} for none."""
        data, size, name = run.data, run.segmentSize, self.name
        if name == "UDP" and not size % SIZE and not len(data) % SIZE and size:
            return data
        if name == "RTP":
            body, last = size - _RTP_HEADER, len(data) % size if size else 0
            isWhole = body > 0 and not body % SIZE
            if last:
                isWhole = isWhole and last > _RTP_HEADER and not (last - _RTP_HEADER) % SIZE
            if isWhole and data[::size].tobytes() == b"\x80" * len(run):
                # 0.1 µs a packet, nearly all of it for the copy.
                parts = [data[at + _RTP_HEADER : at + size] for at in range(0, len(data), size)]
                return memoryview(b"".join(parts))
        return self._lookAt(run)

    def _lookAt(self, run: Run) -> memoryview | None:
        """One datagram by one."""
        bodies = []
        for datagram in run:
            body = self._bodyOf(datagram)
            if body is not None:
                bodies.append(body)
            elif self.name is not None:
                self.others += 1
        return memoryview(b"".join(bodies)) if bodies else None

    def _bodyOf(self, datagram: memoryview) -> memoryview | None:
        name = self.name
        body = datagram if name == "UDP" else payloadOf(datagram) if name == "RTP" else None
        if body is not None and len(body) and not len(body) % SIZE:
            return body
        # Sync bytes at all places are no accident.
        payload = payloadOf(datagram)
        for name, body in (("UDP", datagram), ("RTP", payload)):
            if body is None or not len(body) or len(body) % SIZE:
                continue
            if body[::SIZE].tobytes() == SYNC * (len(body) // SIZE):
                self.name = name
                return body
        return None
