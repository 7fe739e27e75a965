"""What docs/redundancy.md shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest_twisted

from tests.relay.redundancy.support import rtp
from tests.relay.support import Listener, freePort, send
from txgroupsock.relay.config.file import parseConfiguration

PAGE = Path(__file__).parent.parent.parent.parent / "docs" / "redundancy.md"


def test_theFileIsRight() -> None:
    """The route of the page that is TOML is one with two legs."""
    [block] = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (route,) = parseConfiguration(block, "page.toml").relay.routes
    assert len(route.input.legs) == 2


@pytest_twisted.ensureDeferred
async def test_theExampleWorks(reactor: Any) -> None:
    """The route of the page, with addresses that are here, gives on what either leg has."""
    [block] = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    first, second = freePort(), freePort()
    names: dict[str, Any] = {}
    with Listener(reactor, "127.0.0.1") as listener:
        for theirs, ours in (
            ("10.0.0.1@232.1.1.1:5000?interface=eth0", f"127.0.0.1:{first}"),
            ("10.1.0.1@232.1.1.2:5000?interface=eth1", f"127.0.0.1:{second}"),
            ("10.0.0.3:5004", f"127.0.0.1:{listener.port}"),
        ):
            assert theirs in block
            block = block.replace(theirs, ours)
        exec(block, names)
        names["route"].openRoute()
        for number, port in ((0, first), (0, second), (1, second), (2, first)):
            send(rtp(number), "127.0.0.1", port)
        assert await listener.payloads(3) == [rtp(0), rtp(1), rtp(2)]
        await names["route"].closeRoute()
