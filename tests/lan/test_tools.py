"""groupsock-send on one host and groupsock-receive on another, with source-specific multicast."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.lan.program import Program
from tests.starting import TWISTD
from txgroupsock.testing.lan import Lan


def tool(name: str, *arguments: str) -> list[str]:
    """The command line of a tool, in this environment's Python."""
    return [sys.executable, TWISTD, "-n", name, *arguments]


@pytest.mark.parametrize(
    ("group", "family"), [("232.1.1.1", "ipv4"), ("[ff3e::8000:1]", "ipv6")], ids=["IPv4", "IPv6"]
)
def test_aStreamIsHeardFromItsSourceOnly(lan: Lan, tmp_path: Path, group: str, family: str) -> None:
    """Of two senders to one group, the one that was chosen is heard, and all of it."""
    a, b, c = lan.hosts
    source = getattr(a, family)
    chosen = f"[{source}]" if family == "ipv6" else source
    received = tmp_path / "received.json"
    listening = tool(
        *("groupsock-receive", f"--from=udp://{chosen}@{group}:5000?interface=eth0"),
        f"--json={received}",
    )

    def sending(host: str, rate: str) -> list[str]:
        to = f"--to=udp://{group}:5000?interface=eth0&ttl=2"
        result = f"--json={tmp_path / host}"
        return tool("groupsock-send", to, "--count=500", f"--rate={rate}", result)

    with Program(b, *listening) as receiver:
        lan.waitForMember(b, group.strip("[]"), source)
        with Program(c, *sending("c", "5000/s")) as other:
            assert other.end() == 0, other.output
        with Program(a, *sending("a", "1000/s")) as sender:
            assert sender.end() == 0, sender.output
        assert receiver.end() == 0, receiver.output
    result = json.loads(received.read_text())
    [stream] = result["test"]
    assert stream["stream"] == json.loads((tmp_path / "a").read_text())["source"]["stream"]
    assert (stream["received"], result["lost"], result["others"]) == (500, 0, 0)
