"""A relay of redundant inputs as an operator runs it, over loopback."""

from __future__ import annotations

import json
import random
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lan.program import waitUntil
from tests.relay.redundancy.support import numberIn, rtp
from tests.relay.support import SECONDS, Twistd, freePort, url

HOST = "127.0.0.1"


def freeTCPPort() -> int:
    """A TCP port that nobody has now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@contextmanager
def receiving() -> Iterator[socket.socket]:
    """A socket of an output."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        sock.bind((HOST, 0))
        sock.settimeout(SECONDS)
        yield sock


class Stream:
    """A stream of RTP by some legs, of which each loses different datagrams."""

    def __init__(self, *ports: int) -> None:
        self.ports = ports
        self.sent = 0
        self._chance = random.Random(6)

    def pass_(self, count: int, output: socket.socket) -> None:
        """Send so many, and take what comes, which is all of them, once and in order."""
        first = self.sent
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while self.sent < first + count:
                burst = range(self.sent, min(self.sent + 20, first + count))
                for number in burst:
                    self._send(sock, number)
                self.sent = burst[-1] + 1
                got = [numberIn(output.recv(2000)) for _ in burst]
                assert got == list(burst)

    def _send(self, sock: socket.socket, number: int) -> None:
        legs = self._chance.choices([(0, 1), (0,), (1,)], [6, 2, 2])[0] if number else (0, 1)
        for leg in legs:
            sock.sendto(rtp(number), (HOST, self.ports[leg]))


def fileOf(
    admin: int, *routes: tuple[str, Sequence[int], Sequence[int]], how: str, more: str = ""
) -> str:
    """A configuration file: the name, the legs and the outputs of each route."""
    text = f"{more}\n[admin]\nlisten = 'tcp:{admin}:interface={HOST}'\ntokens = 'secretsecret'\n"
    for name, legs, to in routes:
        text += f"[[route]]\nname = '{name}'\nfrom = {[url(HOST, each) for each in legs]}\n"
        text += f"to = {[url(HOST, each) for each in to]}\n{how}\n"
    return text


def ask(port: int, path: str = "/api/status", **asked: Any) -> Any:
    """What the API says."""
    request = urllib.request.Request(f"http://{HOST}:{port}{path}", **asked)
    request.add_header("Authorization", "Bearer secretsecret")
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    return json.loads(text) if path.startswith("/api") else text


def legsOf(port: int, index: int = 0) -> list[dict[str, Any]]:
    """The legs of a route as the API has them."""
    legs: list[dict[str, Any]] = ask(port)["routes"][index]["input"]["redundancy"]["legs"]
    return legs


def test_aMergedRouteIsWatchedAndReloaded(tmp_path: Path) -> None:
    """
    With different losses on each leg the output is whole, while the file is read again and while
    routes are changed by HTTP; the API and metrics have the legs.
    """
    admin, a, b, c = freeTCPPort(), freePort(), freePort(), freePort()
    path = tmp_path / "relay.toml"
    with receiving() as output, receiving() as second:
        to = output.getsockname()[1]
        path.write_text(fileOf(admin, ("news", [a, b], [to]), how="[route.merge]"))
        with Twistd(tmp_path, "--config", str(path)) as relay:
            relay.waitFor("SIGHUP reads")
            stream = Stream(a, b)
            stream.pass_(500, output)
            (route,) = ask(admin)["routes"]
            assert route["input"]["name"] == f"merge of {url(HOST, a)} and {url(HOST, b)}"
            assert route["input"]["datagrams"] == 500
            redundancy = route["input"]["redundancy"]
            assert (redundancy["kind"], redundancy["changes"]) == ("merge", 0)
            one, other = redundancy["legs"]
            assert [one["name"], other["name"]] == [url(HOST, a), url(HOST, b)]
            assert one["used"] + other["used"] == 500
            for leg in (one, other):
                assert 40 < leg["lost"] <= 500 - leg["datagrams"]
                assert leg["state"] == [f"listening on {HOST} port {leg['name'][-5:]}"]
                assert leg["isActive"] is None
                assert leg["skew"]["most"] < SECONDS
                assert leg["silence"] < SECONDS
                assert isinstance(leg["isSilent"], bool)
            metrics = ask(admin, "/metrics")
            used = 'groupsock_route_leg_used_datagrams_total{leg="%s",route="news"} %s'
            assert used % (url(HOST, a), one["used"]) in metrics

            path.write_text(
                fileOf(admin, ("news", [a, b], [to, second.getsockname()[1]]), how="[route.merge]")
            )
            relay.signal(signal.SIGHUP)
            relay.waitFor("applied: 1 changed")
            stream.pass_(100, output)
            stream.sent -= 100
            for number in range(500, 600):
                assert numberIn(second.recv(2000)) == number
            stream.sent += 100

            table = ask(admin, "/api/routes/news")
            assert table["merge"] == {}
            table["from"] = [url(HOST, c), url(HOST, a)]
            table["merge"] = {"window": "80ms"}
            done = ask(admin, "/api/routes/news", data=json.dumps(table).encode(), method="PUT")
            assert done["changed"] == ["news"]
            stream.ports = (c, a)
            stream.pass_(100, output)
            assert sum(each["used"] for each in legsOf(admin)) <= 700
            assert ask(admin)["routes"][0]["input"]["datagrams"] == 700

            relay.signal(signal.SIGUSR1)
            relay.waitFor(rf"leg 2, {url(HOST, a)}: [0-9]+ datagrams.* used, ")
            relay.signal(signal.SIGTERM)
            relay.end()


def test_aLegThatIsSilentIsWarnedAbout(tmp_path: Path) -> None:
    """The API has a warning with its remedy by itself, and tells how long the leg is silent."""
    admin, a, b = freeTCPPort(), freePort(), freePort()
    path = tmp_path / "relay.toml"
    how = "[route.merge]\nsilence = '200ms'"
    path.write_text(fileOf(admin, ("news", [a, b], [9]), how=how))
    with Twistd(tmp_path, "--config", str(path)) as relay:
        relay.waitFor("SIGHUP reads")
        deadline = time.monotonic() + SECONDS

        def warned() -> bool:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(rtp(int(1000 * (deadline - time.monotonic())) % 7), (HOST, a))
            said = ask(admin)["routes"][0]["input"]["warnings"]
            return any(
                each.startswith("leg 2 has been silent") and "look at its path" in each
                for each in said
            )

        waitUntil(warned, "no warning")
        assert legsOf(admin)[1]["silence"] is None


def test_viewersGetTheMergedStream(tmp_path: Path) -> None:
    """A merged route may be for viewers alone, with or without RTP's headers."""
    admin, a, b, port = freeTCPPort(), freePort(), freePort(), freeTCPPort()
    path = tmp_path / "relay.toml"
    path.write_text(
        f"[viewers]\nlisten = 'tcp:{port}:interface={HOST}'\n[viewers.limits]\nblockTime = '0'\n"
        f"[admin]\nlisten = 'tcp:{admin}:interface={HOST}'\n"
        f"[[route]]\nname = 'news'\nfrom = {[url(HOST, a), url(HOST, b)]}\nviewers = 'plain'\n"
        "[route.merge]\n"
    )
    with Twistd(tmp_path, "--config", str(path)) as relay:
        relay.waitFor("SIGHUP reads")
        with urllib.request.urlopen(f"http://{HOST}:{port}/news", timeout=SECONDS) as answer:
            waitUntil(lambda: ask(admin)["viewers"]["watching"] == 1, "nobody watches")
            assert [each["name"] for each in ask(admin)["viewers"]["channels"]] == [
                f"/udp/{HOST}:{a}+{HOST}:{b}"
            ]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for number in range(50):
                    for leg in {0: (a, b), 1: (a,), 2: (b,)}[number % 3]:
                        sock.sendto(rtp(number), (HOST, leg))
            got = answer.read(50 * 40)
            assert got == b"".join(map(rtp, range(50)))


def _used(admin: int, index: int) -> int:
    """How many datagrams of its legs a route has used."""
    return sum(int(leg["used"]) for leg in legsOf(admin, index))


@pytest.mark.slow
def test_workersShareOutMergedRoutes(tmp_path: Path) -> None:
    """
    With two workers a merged route is one unit: those with a leg in common are in one, and what
    each of them does is known, and goes on over a reload.
    """
    admin, a, b, c, d = freeTCPPort(), *[freePort() for _ in range(4)]
    path = tmp_path / "relay.toml"
    with receiving() as one, receiving() as two, receiving() as three:
        first, second, third = (each.getsockname()[1] for each in (one, two, three))
        routes = [
            ("news", [a, b], [first]),
            ("sports", [c, d], [second]),
        ]
        text = fileOf(admin, *routes, how="[route.merge]", more="workers = 2")
        path.write_text(text)
        with Twistd(tmp_path, "--config", str(path)) as relay:
            relay.waitFor("(?s)worker 1 is process.*worker 2 is process")
            relay.waitFor("SIGHUP reads")
            news, sports = Stream(a, b), Stream(c, d)
            waitUntil(lambda: ask(admin)["isReady"], "it is not ready")
            news.pass_(200, one)
            sports.pass_(100, two)

            def used() -> list[int]:
                return [_used(admin, index) for index in (0, 1)]

            waitUntil(lambda: used() == [200, 100], "that is not all that was used")
            assert all(leg["lost"] > 0 for index in (0, 1) for leg in legsOf(admin, index))
            # One that shares a leg, and other legs for one that is there.
            e = freePort()
            routes = [("news", [e, a], [first]), ("sports", [c, d], [second])]
            more = f"[[route]]\nname = 'more'\nfrom = '{url(HOST, c)}'\nto = '{url(HOST, third)}'\n"
            path.write_text(fileOf(admin, *routes, how="[route.merge]", more="workers = 2") + more)
            relay.signal(signal.SIGHUP)
            relay.waitFor("applied: 1 unchanged, 1 changed, 1 opened")
            news.ports = (e, a)
            news.pass_(200, one)
            sports.pass_(100, two)
            assert three.recv(2000)

            def received() -> list[int]:
                return [route["input"]["datagrams"] for route in ask(admin)["routes"][:2]]

            waitUntil(lambda: received() == [400, 200], "that is not all that came")
            assert _used(admin, 1) == 200
            assert relay.text.count("listening on") >= 4
            relay.signal(signal.SIGTERM)
            relay.end()
