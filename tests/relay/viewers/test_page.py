"""What docs/viewers.md shows works as it stands."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest_twisted
from attrs import evolve, fields_dict

from tests.relay.viewers.support import ON_LOOPBACK, request, serving, soon, watch
from txgroupsock.relay.viewers import AllowRule, Limits

PAGE = (Path(__file__).parents[3] / "docs" / "viewers.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest_twisted.ensureDeferred
async def test_exampleServes(reactor: Any) -> None:
    """The service of the example starts, and gives its streams to who has the token."""
    names: dict[str, Any] = {}
    exec(BLOCKS[0], names)
    model = names["service"].model
    # Ports that are free, where the page has its own.
    tcp = tuple(evolve(each, endpoint=ON_LOOPBACK) for each in model.tcp)
    async with serving(reactor, evolve(model, endpoints=(ON_LOOPBACK,), tcp=tcp)) as service:
        client = await request(reactor, service, b"/news")
        assert (await client.answer(reactor)).startswith(b"HTTP/1.1 401 ")
        await watch(reactor, service, b"/news?token=correct-horse")
        await watch(reactor, service, b"/udp/239.1.1.1:5000?token=correct-horse")
        await soon(reactor, lambda: service.status().viewers == 2, "both watch")


@pytest_twisted.ensureDeferred
async def test_exampleChangesIt(reactor: Any) -> None:
    """What changes a service while it runs does so."""
    async with serving(reactor) as service:
        model = evolve(service.model, endpoints=(ON_LOOPBACK, ON_LOOPBACK))
        code = compile(BLOCKS[1], "viewers.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        await eval(code, {"service": service, "model": model})
        assert len(service.status().listening) == 2


def test_rulesAreRules() -> None:
    """Each rule of the page can be read."""
    table = PAGE.partition("## What may be watched")[2].partition("\n\nThe first rule")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    rules = [rule for cell in cells for rule in re.findall("`([^`]*)`", cell)]
    assert len(rules) > 4
    for rule in rules:
        AllowRule.parse(rule)


def test_limitsAreAllThere() -> None:
    """The table of limits has each of them."""
    table = PAGE.partition("| limit |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z]+[A-Z]?\w*)`", table)) == set(fields_dict(Limits))
