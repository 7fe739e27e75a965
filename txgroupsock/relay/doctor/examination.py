"""Examines routes: all inputs at once, then what they feed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from attrs import evolve, frozen

from txgroupsock.relay.doctor.finding import Diagnosis, Finding
from txgroupsock.relay.doctor.host import Host
from txgroupsock.relay.doctor.inputs import InputExamination
from txgroupsock.relay.doctor.names import Names
from txgroupsock.relay.doctor.outputs import examineOutput
from txgroupsock.relay.engine.feeding import closingCircles, feeds
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.models.udp import OutputModel
from txgroupsock.relay.redundancy.model import AnyInput

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

    input: AnyInput | None
    outputs: tuple[OutputModel, ...] = ()


def examine(patients: Sequence[Patient], host: Host) -> list[Diagnosis]:
    """
    What there is to say about streams; blocks while it listens to them.

    Nothing that runs is disturbed: groups are joined on sockets of our own, and a unicast port
    that somebody has is only looked at from outside.
    """
    names = Names([each for patient in patients for each in patient.outputs], host.isStopped)
    legs = [leg for each in patients if each.input is not None for leg in each.input.legs]
    inputs = dict.fromkeys(leg.received for leg in legs)
    examinations = {each: InputExamination(host, each) for each in inputs}
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = list(pool.map(InputExamination.run, examinations.values()))
    sizes: dict[OutputModel, int] = {}
    for patient in patients:
        received = patient.input.legs if patient.input is not None else ()
        largest = max((examinations[leg.received].largest for leg in received), default=0)
        for output in patient.outputs:
            sizes[output] = max(sizes.get(output, 0), largest)
    loops = _loops(patients)
    for output, size in sizes.items():
        if not host.isStopped():
            diagnosis = examineOutput(output, host.state, host.links, names.addressOf, size)
            findings = (*loops.get(output, ()), *diagnosis.findings)
            found.append(evolve(diagnosis, findings=findings))
    return found


def _loops(patients: Sequence[Patient]) -> dict[OutputModel, list[Finding]]:
    """The outputs that close a circle, through which everything would go round without end."""
    routes = [RouteModel(each.input, each.outputs) for each in patients if each.input is not None]
    feeding = feeds(routes)
    found: dict[OutputModel, list[Finding]] = {}
    for edge in closingCircles(routes, feeding):
        output, fed = feeding[edge], routes[edge[1]].input
        finding = Finding(
            "loop",
            "fault",
            str(output),
            "what is sent there comes in again, and would go round without end",
            (f"the input {fed.name} receives what goes to {output}",),
            "send it to another group or port, or by another interface than that of the input",
        )
        found.setdefault(output, []).append(finding)
    return found
