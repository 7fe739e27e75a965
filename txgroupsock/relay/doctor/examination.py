"""Examines routes: all inputs at once, then what they feed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from attrs import frozen

from txgroupsock.relay.doctor.finding import Diagnosis
from txgroupsock.relay.doctor.host import Host
from txgroupsock.relay.doctor.inputs import InputExamination
from txgroupsock.relay.doctor.outputs import examineOutput
from txgroupsock.relay.model import InputModel, OutputModel

SECONDS: Final = 2.0
"""How long is listened to each stream, unless told otherwise."""

MOST_SECONDS: Final = 3600.0

_AT_ONCE: Final = 16  # inputs that are listened to


@frozen
class Patient:
    """
    One stream, and where it goes.

    @ivar input: L{None} if there are only outputs.
    """

    input: InputModel | None
    outputs: tuple[OutputModel, ...] = ()


def examine(patients: Sequence[Patient], host: Host) -> list[Diagnosis]:
    """
    What there is to say about streams; blocks while it listens to them.

    Nothing that runs is disturbed: groups are joined on sockets of our own, and a unicast port
    that somebody has is only looked at from outside.
    """
    inputs = dict.fromkeys(each.input.received for each in patients if each.input is not None)
    examinations = {each: InputExamination(host, each) for each in inputs}
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = list(pool.map(InputExamination.run, examinations.values()))
    sizes: dict[OutputModel, int] = {}
    for patient in patients:
        incoming = patient.input and examinations[patient.input.received].largest
        for output in patient.outputs:
            sizes[output] = max(sizes.get(output, 0), incoming or 0)
    for output, size in sizes.items():
        if not host.isStopped():
            found.append(examineOutput(output, host.state, host.links, size))
    return found
