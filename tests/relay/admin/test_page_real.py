"""The status page of a real relay, in a real browser."""

from __future__ import annotations

import json
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.relay.admin.browser import Browser
from tests.relay.support import Twistd, freePort, url

HOST = "127.0.0.1"
IN = "document.querySelector('#rows .cell.in').textContent"


def freeTCPPort() -> int:
    """A TCP port that nobody has now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@contextmanager
def sending(port: int) -> Iterator[None]:
    """Some 500 datagrams of 1,316 bytes a second, to a port of this host."""
    isOver = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not isOver.wait(0.01):
                for _ in range(5):
                    sock.sendto(bytes(1316), (HOST, port))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        isOver.set()
        thread.join()


def ask(address: str) -> Any:
    """What the API says."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.load(answer)


def sentOf(browser: Browser) -> str:
    """What the page says that the first output of the opened route has sent."""
    found = browser.run(
        "const rows = [...document.querySelectorAll('.part.output dl > div')];"
        "return rows.find(d => d.querySelector('dt').textContent === 'Sent')"
        ".querySelector('dd').textContent"
    )
    return str(found)


def test_thePageShowsARealRelay(browser: Browser, tmp_path: Path) -> None:
    """Values are the API's, charts move, and it says when the relay is gone and back."""
    port, web = freePort(), freeTCPPort()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind((HOST, 0))
        to = url(HOST, sink.getsockname()[1])
        (tmp_path / "relay.toml").write_text(
            f'[admin]\nlisten = "tcp:{web}:interface={HOST}"\n'
            f'[[route]]\nname = "<b>news</b>"\nfrom = "{url(HOST, port)}"\nto = "{to}"\n'
        )
        address = f"http://{HOST}:{web}"
        with Twistd(tmp_path, "--config=relay.toml") as relay:
            relay.waitFor("status, API and metrics are at")
            browser.open(address)
            browser.until("'known' in document.body.dataset")
            assert browser.texts("#rows .row button.name") == ["<b>news</b>"]
            with sending(port):
                browser.until(
                    "/[Mk]bit/.test(document.querySelector('#rows .cell.in').textContent)"
                )
                first = browser.run("return document.querySelector('#rows svg').innerHTML")
                browser.until(
                    "document.querySelector('#rows svg').innerHTML !== arguments[0]", first
                )
            browser.click("#rows .row button")
            # Once nothing comes any more, page and API stand still on the same values.
            browser.until(
                "document.querySelector('#rows .cell.in').textContent.includes('0 bit/s')"
            )
            [output] = ask(f"{address}/api/status")["routes"][0]["outputs"]
            assert output["datagrams"] > 100
            expected = f"{output['datagrams']:,} packets, {output['bytes']:,} bytes"
            assert sentOf(browser) == expected
            relay.signal(signal.SIGTERM)
            relay.end()
        assert browser.complaints() == []
        browser.until("document.body.dataset.connection === 'lost'")
        with Twistd(tmp_path, "--config=relay.toml") as relay:
            browser.until("document.body.dataset.connection === 'live'")
            browser.complaints()  # that nobody answered for a while
            relay.signal(signal.SIGTERM)
            relay.end()
        browser.open("about:blank")
        browser.complaints()
