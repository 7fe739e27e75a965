"""
A real browser for tests of pages, and a small server that says to it what a test wants.

`Browser` can look at any address.  `PageServer` serves the files of the status page with the
documents of docs/api.md that it is given, from threads of its own: a test waits for the browser.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

import txgroupsock
from tests.relay.web.documents import Document, history

PAGE = Path(txgroupsock.__file__).parent / "relay" / "web" / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'"
)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
# It runs as root, without the network that it would ask for updates and the like.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)
WIDE, NARROW = (1280, 900), (360, 740)
SECONDS = 15.0


def whyNoBrowser() -> str | None:
    """What is missing for a real browser; None if nothing is."""
    for path, package in ((CHROMIUM, "chromium"), (DRIVER, "chromium-driver")):
        if not os.access(path, os.X_OK):
            return f"{path} is not there (Debian: apt-get install {package})"
    return None


def axeSource() -> str:
    """The text of axe-core; without it, the test is skipped."""
    folder = os.environ.get("TXGROUPSOCK_AXE", f"{sys.prefix}/node_modules/axe-core")
    path = Path(folder) / "axe.min.js"
    if not path.is_file():
        pytest.skip(f"{path} is not there (make test installs it, if npm is)")
    return path.read_text("utf-8")


class Browser:
    """
    A headless Chromium, with a profile of its own.

    Colours, sizes and media are what a test last set; `reset` gives back what it began with.

    @ivar driver: Selenium's.
    """

    def __init__(self) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        self._folder = tempfile.mkdtemp(prefix="txgroupsock-browser-")
        options = Options()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={self._folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # Connections that are kept would be descriptors that a test leaves behind.
        service = Service(executable_path=DRIVER)
        self.driver = webdriver.Chrome(options=options, service=service, keep_alive=False)
        self.driver.set_script_timeout(30)

    def close(self) -> None:
        """End it, with all that it has written."""
        self.driver.quit()
        shutil.rmtree(self._folder, ignore_errors=True)

    def reset(self) -> None:
        """Forget what was looked at."""
        self.driver.get("about:blank")
        self.call("Network.enable")
        self.call("Storage.clearDataForOrigin", origin="*", storageTypes="all")
        self.call("Emulation.setTimezoneOverride", timezoneId="UTC")
        self.media()
        self.size(*WIDE)
        self.complaints()

    def open(self, address: str) -> None:
        """Look at a page."""
        self.driver.get(address)

    def call(self, command: str, **parameters: Any) -> Any:
        """Have the browser do something by its own protocol (CDP)."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page; what it returns."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, *arguments: Any, seconds: float = SECONDS) -> Any:
        """Wait until an expression in the page is true; what it is then."""
        outcome, value = self.driver.execute_async_script(
            """
            const done = arguments[arguments.length - 1];
            const [test, seconds, given] = arguments;
            const reached = new Function("return " + test);
            const end = performance.now() + 1000 * seconds;
            (function look() {
              let value = null;
              try { value = reached.apply(null, given); } catch (error) { value = null; }
              if (value) done(["reached", value]);
              else if (performance.now() > end) done(["late", document.body.innerText]);
              else setTimeout(look, 10);
            })();
            """,
            script,
            seconds,
            list(arguments),
        )
        assert outcome == "reached", f"not within {seconds} s: {script}\n{value}"
        return value

    def text(self, selector: str) -> str:
        """The text of an element, as the document has it."""
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def texts(self, selector: str) -> list[str]:
        """The text of each element."""
        return list(
            self.run(
                "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)",
                selector,
            )
        )

    def click(self, selector: str) -> None:
        """Click an element as somebody with a mouse does."""
        from selenium.webdriver.common.by import By

        found = self.driver.find_element(By.CSS_SELECTOR, selector)
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", found)
        found.click()

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def focused(self) -> str:
        """What has the focus: its text, or its id."""
        return str(
            self.run(
                "const e = document.activeElement;"
                "return e === document.body ? '' : e.id || e.textContent.trim()"
            )
        )

    def size(self, width: int, height: int) -> None:
        """Make its window as large as a screen of so many pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def media(self, **features: str) -> None:
        """What the system wants: C{prefers_color_scheme="dark"}; light unless told otherwise."""
        wanted = {"prefers_color_scheme": "light", **features}
        pairs = [{"name": key.replace("_", "-"), "value": wanted[key]} for key in wanted]
        self.call("Emulation.setEmulatedMedia", features=pairs)

    def picture(self, path: Path, *, isWhole: bool = False) -> None:
        """Keep what is seen, or all of the page, as PNG."""
        if isWhole:
            height = self.run("return document.documentElement.scrollHeight")
            width = self.run("return innerWidth")
            self.size(width, height)
            # What has come into view is drawn after it has been seen to be there.
            self.until("performance.now() > (window.shown ??= performance.now()) + 300")
        self.driver.save_screenshot(str(path))

    def complaints(self) -> list[str]:
        """What is in the console since the last call: errors, and breaches of the policy."""
        levels = ("WARNING", "SEVERE")
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")  # type: ignore[no-untyped-call]
            if entry["level"] in levels
        ]

    def metrics(self) -> dict[str, float]:
        """What the page has cost, after a collection of garbage."""
        self.call("Performance.enable")
        self.call("HeapProfiler.collectGarbage")
        found = self.call("Performance.getMetrics")["metrics"]
        return {each["name"]: each["value"] for each in found}

    def axe(self, source: str) -> list[str]:
        """What axe-core finds at fault, a line for each: its impact, rule, and element."""
        self.run(source)
        found = self.driver.execute_async_script(
            "const done = arguments[0];"
            "axe.run(document, {resultTypes: ['violations']}).then(r => done(r.violations),"
            " error => done([{impact: 'critical', id: String(error), nodes: []}]))"
        )
        return [
            f"{rule['impact']} {rule['id']}: {node['html'][:200]} ({node['failureSummary']})"
            for rule in found
            for node in rule["nodes"] or [{"html": "", "failureSummary": ""}]
        ]


class PageServer:
    """
    Serves the status page on a free port of loopback, with what a test says.

    @ivar status: what `/api/status` and the next new connection to `/api/events` get.
    @ivar history: what `/api/history` gets.
    @ivar isSilent: whether it says nothing by itself; otherwise each second what it said last.
    @ivar refuses: paths that get an error (503).
    @ivar requests: paths that were asked for.
    """

    def __init__(self, status: Document, past: Document | None = None) -> None:
        self.status = status
        self.history = history(status) if past is None else past
        self.isSilent = False
        self.refuses: set[str] = set()
        self.requests: list[str] = []
        self._port = 0
        self._server: _Server | None = None

    def __enter__(self) -> PageServer:  # noqa: PYI034 - Self needs Python 3.11
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self._port}/"

    @property
    def watchers(self) -> int:
        """How many connections get events."""
        return 0 if self._server is None else len(self._server.watchers)

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = _Server(self, self._port)
        self._port = self._server.server_address[1]
        self._server.begin()

    def stop(self) -> None:
        """Close everything, connections included."""
        server, self._server = self._server, None
        if server is not None:
            server.end()

    def send(self, status: Document) -> None:
        """Send an event to all who wait for one; later ones begin with it."""
        self.status = status
        if self._server is not None:
            self._server.send(eventOf(status))

    def break_(self) -> None:
        """Close the connections, and go on listening."""
        if self._server is not None:
            self._server.closeConnections()


def eventOf(status: Document) -> bytes:
    """A server-sent event."""
    return b"event: status\ndata: %s\n\n" % json.dumps(status).encode()


class _Server(ThreadingHTTPServer):
    """
    The server while it listens.

    @ivar watchers: connections that get events.
    """

    daemon_threads = False
    block_on_close = True
    allow_reuse_address = True

    def __init__(self, page: PageServer, port: int) -> None:
        self.page = page
        self.watchers: list[socket.socket] = []
        self._lock = threading.Lock()
        self._saidAt = 0.0
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.shutdown()
        self._thread.join()
        self.closeConnections()
        self.server_close()

    def closeConnections(self) -> None:
        with self._lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # it has closed it
                    pass

    def service_actions(self) -> None:
        if not self.page.isSilent and time.monotonic() - self._saidAt > 1:
            self.send(eventOf(self.page.status))

    def send(self, event: bytes) -> None:
        self._saidAt = time.monotonic()
        with self._lock:
            for watcher in self.watchers:
                try:
                    watcher.sendall(event)
                except OSError:  # it is gone
                    pass

    def watch(self, connection: socket.socket) -> None:
        """Give it events, the last status at once."""
        with self._lock:
            connection.sendall(b"retry: 200\n\n" + eventOf(self.page.status))
            self.watchers.append(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
            if request in self.watchers:
                self.watchers.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser may close what it no longer wants."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        page, path = self.server.page, self.path.partition("?")[0]
        page.requests.append(path)
        if path in page.refuses:
            self.send_error(503)
        elif path == "/api/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.server.watch(self.connection)
            self.timeout = None  # type: ignore[assignment]
            self.connection.settimeout(None)
            self.rfile.read(1)  # until it is over
        elif path == "/api/status":
            self.answer(json.dumps(page.status).encode(), "application/json")
        elif path == "/api/history":
            self.answer(json.dumps(page.history).encode(), "application/json")
        else:
            self.file(path.removeprefix("/") or "index.html")

    def file(self, name: str) -> None:
        if name not in {each.name for each in PAGE.iterdir()}:
            self.send_error(404)
            return
        found = PAGE / name
        self.answer(found.read_bytes(), TYPES[found.suffix], {"Content-Security-Policy": POLICY})

    def answer(self, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(200)
        for name, text in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
        """Say nothing."""


@contextmanager
def running() -> Iterator[Browser]:
    """A browser as long as it is needed."""
    browser = Browser()
    try:
        yield browser
    finally:
        browser.close()

