"""Whether receive buffers are large enough, and whether they really were not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from txgroupsock.relay.carriers.udp.input import RECEIVE_BUFFER
from txgroupsock.relay.doctor.finding import Finding
from txgroupsock.relay.doctor.kernel import Program, UDPSocket

CHECK = "memory"
_LIMIT = "net/core/rmem_max"


def checkBuffers(subject: str, limit: int | None) -> Iterator[Finding]:
    """
    Whether an input may have the buffer that it asks for.

    @param limit: bytes, C{net.core.rmem_max}; L{None} if it is not known.
    """
    if limit is not None and limit < RECEIVE_BUFFER:
        yield Finding(
            CHECK,
            "note",
            subject,
            f"receive buffers have {limit:,} bytes at most, and an input asks for "
            f"{RECEIVE_BUFFER:,}; bursts may be lost",
            (f"/proc/sys/{_LIMIT}: {limit}",),
            f"'sysctl -w {_LIMIT}={RECEIVE_BUFFER}'",
        )


def checkDrops(
    subject: str,
    before: Sequence[UDPSocket],
    after: Sequence[UDPSocket],
    owners: Mapping[int, Program],
    seconds: float,
) -> Iterator[Finding]:
    """
    Whether sockets that have this stream lost some of it for want of room.

    @param before: those sockets, and how they were after some seconds.
    """
    earlier = {each.inode: each.drops for each in before}
    for each in after:
        if not each.drops or each.inode not in earlier:
            continue
        who = str(owners.get(each.inode, "a program that this user may not see"))
        now = each.drops - earlier[each.inode]
        evidence = (
            f"/proc/net/udp: {each.address} port {each.port}, inode {each.inode}, has dropped "
            f"{each.drops:,}, {now:,} of them in these {seconds:.1f} s; {each.queued:,} bytes wait "
            "to be read"
        )
        remedy = (
            f"'sysctl -w {_LIMIT}={RECEIVE_BUFFER}' and start it again; if the buffer is large, "
            "the program is too slow: see how busy its processor is ('top')"
        )
        if now:
            text = f"{who} loses datagrams: its receive buffer is full"
            yield Finding(CHECK, "fault", subject, text, (evidence,), remedy)
        else:
            text = f"{who} has lost {each.drops:,} datagrams for a full receive buffer, none now"
            yield Finding(CHECK, "note", subject, text, (evidence,), remedy)
