"""C{twistd groupsock-relay --doctor}: what is examined, and what is printed."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence

from txgroupsock.relay.config.document import Configuration
from txgroupsock.relay.doctor.examination import MOST_SECONDS, SECONDS, Patient, examine
from txgroupsock.relay.doctor.finding import hasFault
from txgroupsock.relay.doctor.host import Host
from txgroupsock.relay.doctor.report import reportText
from txgroupsock.relay.models.udp import InputModel, OutputModel
from txgroupsock.relay.models.url import StreamURL
from txgroupsock.relay.redundancy.model import AnyInput, MergeModel, RedundantModel
from txgroupsock.relay.viewers.model import StreamModel


def patientsOf(configuration: Configuration) -> list[Patient]:
    """Every stream of a configuration: of its routes, and those that only viewers get."""
    found = [Patient(each.input, each.outputs) for each in configuration.relay.routes]
    viewers = configuration.viewers
    streams = [*viewers.named.values(), *(each.stream for each in viewers.tcp)]
    return found + [Patient(each.input) for each in streams if isinstance(each, StreamModel)]


def patientsNamed(
    routes: Iterable[tuple[Sequence[str], Sequence[str]]], redundant: Container[int] = ()
) -> list[Patient]:
    """
    The streams that URLs name: inputs and outputs of each route, of which either may be missing.

    @param redundant: the numbers of those routes, from 0, whose inputs are legs.
    @raise URLError: one of them is wrong.
    """
    found = []
    for number, (inputs, outputs) in enumerate(routes):
        urls = [StreamURL.parse(each) for each in inputs]
        incoming: AnyInput | None = None
        if urls and number in redundant:
            legs = tuple(InputModel.of([each]) for each in urls)
            incoming = RedundantModel(legs, MergeModel())
        elif urls:
            incoming = InputModel.of(urls)
        found.append(Patient(incoming, tuple(OutputModel.parse(each) for each in outputs)))
    return found


def secondsIn(text: str | None) -> float:
    """
    What C{--seconds} says.

    @raise ValueError: it is no time to listen.
    """
    if text is None:
        return SECONDS
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text) or not 0 < float(text) <= MOST_SECONDS:
        raise ValueError(f"how long to listen is a number up to {MOST_SECONDS:g}, such as 2")
    return float(text)


def diagnose(patients: Sequence[Patient], seconds: float) -> tuple[list[str], int]:
    """The report, and the exit status: 1 if anything is at fault."""
    found = examine(patients, Host(seconds))
    return reportText(found), int(hasFault(found))
