"""The API of a relay whose routes are shared out among processes."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.relay.admin.running import TOKEN
from tests.relay.admin.test_page_real import HOST, ask, freeTCPPort
from tests.relay.support import Twistd, freePort, send, url


def put(address: str, table: Any) -> Any:
    """What a change is answered with."""
    request = urllib.request.Request(
        address,
        json.dumps(table).encode(),
        {"Authorization": f"Bearer {TOKEN}"},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_routesOfWorkersAreShownAndChanged(tmp_path: Path) -> None:
    """The status has the routes of all workers in their order, and a change reaches one."""
    ports, web = [freePort() for _ in range(3)], freeTCPPort()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind((HOST, 0))
        sink.settimeout(10)
        to = url(HOST, sink.getsockname()[1])
        routes = "".join(
            f"[[route]]\nname = 'r{port}'\nfrom = '{url(HOST, port)}'\nto = '{to}'\n"
            for port in ports[:2]
        )
        (tmp_path / "relay.toml").write_text(
            f'workers = 2\n[admin]\nlisten = "tcp:{web}:interface={HOST}"\ntokens = "{TOKEN}"\n'
            + routes
        )
        with Twistd(tmp_path, "--config=relay.toml") as relay:
            relay.waitFor("status, API and metrics are at")
            address = f"http://{HOST}:{web}"
            for port in ports[:2]:
                send(b"x", HOST, port)
                assert sink.recv(100) == b"x"
            found = ask(f"{address}/api/status")["routes"]
            assert [each["name"] for each in found] == [f"r{port}" for port in ports[:2]]
            assert [each["input"]["datagrams"] for each in found] == [1, 1]
            outcome = put(f"{address}/api/routes/new", {"from": url(HOST, ports[2]), "to": to})
            assert (outcome["unchanged"], outcome["opened"]) == (2, ["new"])
            send(b"new", HOST, ports[2])
            assert sink.recv(100) == b"new"
            found = ask(f"{address}/api/status")
            assert [each["input"]["datagrams"] for each in found["routes"]] == [1, 1, 1]
            assert found["isReady"]
