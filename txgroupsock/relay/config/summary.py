"""What a relay would do, in plain words, for whoever wants to know before it does it."""

from __future__ import annotations

from collections.abc import Iterator

from txgroupsock.relay.config.admin import AdminModel
from txgroupsock.relay.config.document import Configuration
from txgroupsock.relay.counters import bitRate
from txgroupsock.relay.engine.model import RelayModel, RouteModel
from txgroupsock.relay.health.model import HealthModel
from txgroupsock.relay.models.udp import InputModel, OutputModel
from txgroupsock.relay.redundancy.model import AnyInput, MergeModel, Redundancy
from txgroupsock.relay.secrecy import shownCommand, shownURL
from txgroupsock.relay.viewers.access import Access
from txgroupsock.relay.viewers.model import StreamModel, ViewersModel


def summary(configuration: Configuration) -> list[str]:
    """The routes with their inputs and outputs, in order, and what is served."""
    return [
        *_relay(configuration.relay),
        *_viewers(configuration.viewers),
        *_admin(configuration.admin),
    ]


def _relay(model: RelayModel) -> Iterator[str]:
    count = len(model.routes)
    processes = f", shared out among {model.workers} processes" if (model.workers or 1) > 1 else ""
    yield f"{count} route{'s' * (count != 1)} would run{processes}"
    for route in model.routes:
        yield from _route(route)
    for route in model.disabled:
        first, *others = _route(route)
        yield f"{first} (disabled: would not run)"
        yield from others


def _viewers(model: ViewersModel) -> Iterator[str]:
    if not model.endpoints:
        return
    yield f"viewers would be served on {' and '.join(model.endpoints)}, {_who(model.access)}"
    for name, stream in model.named.items():
        yield f"  /{name} is {stream}"
        if isinstance(stream, StreamModel) and stream.health is not None:
            yield f"    health, while it is watched: {_health(stream.health)}"
    for rule in model.allowed.rules:
        yield f"  {rule} may be asked for"
    for each in model.tcp:
        yield f"  {each.endpoint} gives {each.stream}"


def _admin(model: AdminModel) -> Iterator[str]:
    if model.endpoints:
        who = "who has a token may" if model.tokens else "nobody may"
        why = "" if model.tokens else ", as there are no tokens"
        yield (
            f"status, API and metrics would be served on {' and '.join(model.endpoints)}, "
            f"{_who(model.readers)}; {who} change routes{why}"
        )


def _who(access: Access) -> str:
    if access.isOpen:
        return "to everybody who can connect"
    ways = [*(["a token"] if access.tokens else []), *(["a password"] if access.checker else [])]
    return f"to who has {' or '.join(ways)}"


def _route(route: RouteModel) -> Iterator[str]:
    yield f"route {route.name}"
    yield from _inputs(route.input)
    for output in route.outputs:
        yield f"  to {_output(output)}"
    if route.health is not None:
        yield f"  health: {_health(route.health)}"
    if route.record is not None:
        yield f"  recorded: {route.record}"


def _inputs(model: AnyInput) -> Iterator[str]:
    if isinstance(model, InputModel):
        yield f"  from {_input(model)}"
        return
    yield f"  from {len(model.legs)} legs, {_redundancy(model.redundancy)}"
    for number, leg in enumerate(model.legs, 1):
        yield f"    leg {number}: {_input(leg)}"


def _redundancy(model: Redundancy) -> str:
    by = "the sequence number of RTP"
    if model.by is not None:
        by = f"the number at offset {model.by.offset}, {model.by.width} bytes"
        by += f", {model.by.byteorder} endian" if model.by.width > 1 else ""
    if isinstance(model, MergeModel):
        return f"merged by {by}, waiting for up to {1000 * model.window:g} ms"
    words = f"the first that has not been silent for {model.silence:g} s"
    if model.loss is not None:
        words += f" and does not lose more than {100 * model.loss:g} % by {by}"
    at = f" at a boundary ({model.boundary})" if model.boundary else ""
    return f"{words}; back after {model.returnAfter:g} s{at}"


def _health(model: HealthModel) -> str:
    looked = [name for name, isWanted in (("RTP", model.rtp), ("TS", model.ts)) if isWanted]
    alarms = ", ".join(model.thresholds.describe()) or "nothing"
    words = [" and ".join(["gaps", *looked]), f"alarms for {alarms}"]
    told = [" ".join(shownCommand(model.hooks.command))] if model.hooks.command else []
    told += [shownURL(model.hooks.url)] if model.hooks.url else []
    return "; ".join([*words, *(f"told to {each}" for each in told)])


def _input(model: InputModel) -> str:
    where = model.interface and f" on {model.interface}"
    if model.isMulticast:
        words = [f"group {model.address} port {model.port}, joined{where}"]
        sources = " and ".join(str(each) for each in model.sources)
        words.append(f"heard from {sources or 'any source'}")
    elif model.address.is_unspecified:
        family = "IPv4" if model.address.version == 4 else "IPv6"
        words = [f"every {family} address of this host, port {model.port}"]
    else:
        words = [f"{model.address} port {model.port} of this host{where}"]
    if model.latency is not None:
        words.append(f"gathering for {1000 * model.latency:g} ms under load")
    if model.refresh is not None:
        words.append(f"refreshed every {model.refresh:g} s" if model.refresh else "never refreshed")
    return ", ".join(words)


def _output(model: OutputModel) -> str:
    words = [f"{model.host} port {model.port}"]
    if model.interface:
        words.append(f"by {model.interface}")
    if model.source is not None:
        words.append(f"from {model.source}")
    if model.ttl is not None:
        words.append(f"with TTL {model.ttl}")
    if model.dscp is not None:
        words.append(f"marked DSCP {model.dscp}")
    if model.rate is not None:
        words.append(f"at most {bitRate(model.rate)}")
    return ", ".join(words)
