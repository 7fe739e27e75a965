"""
A small server of the status page, which says what a test wants.

It has threads of its own, since a test waits for the browser.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import txgroupsock
from tests.relay.admin.documents import Document, history

PAGE = Path(txgroupsock.__file__).parent / "relay" / "admin" / "page"
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


class PageServer:
    """
    Serves the status page on a free port of loopback, with what a test says.

    @ivar status: what `/api/status` and the next new connection to `/api/events` get.
    @ivar history: what `/api/history` gets.
    @ivar mayRemember: cleared, it keeps requests for the history waiting.
    @ivar isSilent: whether it says nothing by itself; otherwise each second what it said last.
    @ivar refuses: paths that get an error (503).
    @ivar requests: paths that were asked for.
    """

    def __init__(self, status: Document, past: Document | None = None) -> None:
        self.status = status
        self.history = history(status) if past is None else past
        self.mayRemember = threading.Event()
        self.mayRemember.set()
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
            self.connection.settimeout(None)
            self.rfile.read(1)  # until it is over
        elif path == "/api/status":
            self.answer(json.dumps(page.status).encode(), "application/json")
        elif path == "/api/history":
            page.mayRemember.wait(30)
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
