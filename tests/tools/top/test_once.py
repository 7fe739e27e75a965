"""C{groupsock-top --once} and a server: what it prints, its exit status, and what failures say."""

from __future__ import annotations

import base64
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import trustme
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.web.server import Site

from tests.relay.admin.statuses import document, fullDocument, route
from tests.tools.top.support import PROGRAM, StatusResource, environmentOf, once, ran, serving
from txgroupsock.tools.top import fetch
from txgroupsock.tools.top.fetch import NoStatus, Server


@pytest_twisted.ensureDeferred
async def test_aReadyRelayIsPrinted(reactor: Any, tmp_path: Path) -> None:
    """The table of a relay that is ready is printed, and the exit status is 0."""
    async with serving(reactor, fullDocument()) as server:
        out, err, code = await once(reactor, tmp_path, server.url)
    assert (err, code) == ("", 0)
    lines = out.splitlines()
    assert lines[0].startswith("ready ")
    assert [line.split()[0] for line in lines[4:7]] == ["news", "sport", "off"]


@pytest_twisted.ensureDeferred
async def test_aRelayThatIsNotReadyIsPrintedToo(reactor: Any, tmp_path: Path) -> None:
    """Then the exit status is 1, and the address may be given without http://."""
    async with serving(reactor, document(isReady=False)) as server:
        address = server.url.removeprefix("http://")
        out, err, code = await once(reactor, tmp_path, f"{address}/api/status")
    assert (err, code) == ("", 1)
    assert out.startswith("NOT READY")


@pytest_twisted.ensureDeferred
async def test_namesCommandNoTerminal(reactor: Any, tmp_path: Path) -> None:
    """Escape sequences in names are printed as text; letters that the output has not, as ?."""
    async with serving(reactor, document(route("\x1b]0;x\x07日本"))) as server:
        out, _, _ = await once(reactor, tmp_path, server.url)
        plain, _, code = await once(reactor, tmp_path, server.url, PYTHONIOENCODING="ascii")
    assert r"  \x1b]0;x\x07日本  " in out
    assert r"  \x1b]0;x\x07??  " in plain
    assert code == 0


@pytest_twisted.ensureDeferred
async def test_whoIsNotThereIsOneLine(reactor: Any, tmp_path: Path) -> None:
    """A relay that does not answer is one line, which says what to do, and exit status 1."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        out, err, code = await once(reactor, tmp_path, url)
    assert (out, code) == ("", 1)
    assert err == (
        f"groupsock-top: {url} does not answer (Connection refused): does the relay run, with "
        "[admin] or --admin, and is this its address?\n"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"document": b"<html>"}, "is not the status of a relay"),
        ({"document": {"routes": 1}}, "is not the status of a relay"),
        ({"code": 404}, "has no /api/status: give the address of the relay's [admin]"),
        ({"code": 500}, "answers 500 Internal Server Error"),
        ({"code": 302, "headers": {b"Location": b"http://x/\x1b"}}, "is elsewhere: try http://x/"),
        ({"document": b'{"version": "0.1'}, "is not the status of a relay"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_answersOfOthersAreOneLine(
    reactor: Any, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """What is no status is refused in one line, and nobody is followed elsewhere."""
    async with serving(reactor, document()) as server:
        for name, value in change.items():
            setattr(server.resource, name, value)
        out, err, code = await once(reactor, tmp_path, server.url)
    assert (out, code) == ("", 1)
    assert said in err
    assert err.count("\n") == 1
    assert "\x1b" not in err


@pytest_twisted.ensureDeferred
async def test_aTokenIsAskedFor(reactor: Any, tmp_path: Path) -> None:
    """A server that wants to know who asks gets the token, or it is said how to give one."""
    async with serving(reactor, document()) as server:
        server.resource.wanted = b"Bearer correct-horse"
        _, err, code = await once(reactor, tmp_path, server.url)
        assert code == 1
        assert "asks who you are: set GROUPSOCK_TOKEN" in err
        assert "machine 127.0.0.1 login NAME" in err
        _, err, code = await once(reactor, tmp_path, server.url, GROUPSOCK_TOKEN="wrong")
        assert (code, "does not accept the token in GROUPSOCK_TOKEN" in err) == (1, True)
        _, err, code = await once(reactor, tmp_path, server.url, GROUPSOCK_TOKEN="correct-horse")
        assert (err, code) == ("", 0)


@pytest_twisted.ensureDeferred
async def test_aPasswordIsGiven(reactor: Any, tmp_path: Path) -> None:
    """A name and a password come from the environment, or from ~/.netrc."""
    netrc = tmp_path / ".netrc"
    async with serving(reactor, document()) as server:
        server.resource.wanted = b"Basic " + base64.b64encode("jo:pässword".encode())
        given = {"GROUPSOCK_USER": "jo", "GROUPSOCK_PASSWORD": "pässword"}
        _, err, code = await once(reactor, tmp_path, server.url, **given)
        assert (err, code) == ("", 0)
        server.resource.wanted = b"Basic " + base64.b64encode(b"jo:password")
        netrc.write_text("machine 127.0.0.1 login jo password password\n")
        netrc.chmod(0o600)
        _, err, code = await once(reactor, tmp_path, server.url)
        assert (err, code) == ("", 0)
        netrc.write_text("machine 127.0.0.1 login jo password other\n")
        _, err, code = await once(reactor, tmp_path, server.url)
        assert (code, "the password for 127.0.0.1 in ~/.netrc" in err) == (1, True)
        netrc.write_text("default login jo password secret\n")
        await once(reactor, tmp_path, server.url)
        assert b"authorization" not in server.resource.asked
        netrc.write_text("what is this\n")
        _, err, code = await once(reactor, tmp_path, server.url)
        assert (code, err.startswith("groupsock-top: ~/.netrc cannot be read: ")) == (2, True)


@pytest_twisted.ensureDeferred
async def test_withoutATerminalItSaysWhatToDo(reactor: Any, tmp_path: Path) -> None:
    """In a pipe, or without curses, the one line says that there is --once."""
    assert await ran(reactor, tmp_path, PROGRAM) == (
        "",
        "groupsock-top: this is no terminal: use --once\n",
        2,
    )
    withoutCurses = f"import sys; sys.modules['curses'] = None; {PROGRAM}"
    assert await ran(reactor, tmp_path, withoutCurses) == (
        "",
        "groupsock-top: this Python has no curses, as on Windows: use --once\n",
        2,
    )
    async with serving(reactor, document()) as server:
        _, err, code = await ran(reactor, tmp_path, withoutCurses, "--once", server.url)
    assert (err, code) == ("", 0)


@pytest_twisted.ensureDeferred
async def test_whoReadsOnlyTheBeginningSeesNoError(reactor: Any, tmp_path: Path) -> None:
    """A pipe that is closed early, as by head, is no reason to complain."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash, which has pipefail, is not installed")
    routes = [route(f"route {number}") for number in range(3000)]
    async with serving(reactor, document(*routes)) as server:
        script = 'set -o pipefail; "$@" | head -n 1; echo "status $?"'
        command = ["-c", script, "sh", sys.executable, "-c", PROGRAM, "--once", server.url]
        out, err, _ = await getProcessOutputAndValue(
            bash, command, env=environmentOf(tmp_path), reactor=reactor
        )
    assert err == b""
    assert out.splitlines()[1:] == [b"status 0"]


@pytest_twisted.ensureDeferred
async def test_whatSpeaksNoHTTPIsOneLine(reactor: Any, tmp_path: Path) -> None:
    """The port of some other program is one line, too."""
    greeting = Factory.forProtocol(Greeting)
    port = reactor.listenTCP(0, greeting, interface="127.0.0.1")
    _, err, code = await once(reactor, tmp_path, f"127.0.0.1:{port.getHost().port}")
    await port.stopListening()
    assert code == 1
    assert err.count("\n") == 1
    assert r"does not answer (SSH-2.0-x\x1b" in err


@pytest_twisted.ensureDeferred
async def test_certificatesAreChecked(reactor: Any, tmp_path: Path) -> None:
    """A server that cannot show who it is gets no token; whom to trust can be said."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    certificate.private_key_pem.write_to_path(str(private))
    certificate.cert_chain_pems[0].write_to_path(str(public))
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    context = DefaultOpenSSLContextFactory(str(private), str(public))
    resource = StatusResource(document())
    port = reactor.listenSSL(0, Site(resource), context, interface="127.0.0.1")
    url = f"https://127.0.0.1:{port.getHost().port}"
    _, err, code = await once(reactor, tmp_path, url, GROUPSOCK_TOKEN="secret")
    assert (code, "cannot show who it is (" in err) == (1, True)
    assert not resource.asked
    trusted = str(tmp_path / "authority.pem")
    _, err, code = await once(reactor, tmp_path, url, SSL_CERT_FILE=trusted)
    await port.stopListening()
    assert (err, code) == ("", 0)


@pytest_twisted.ensureDeferred
async def test_anAnswerHasAnEnd(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is larger than any status, or takes too long, is not waited for."""
    async with serving(reactor, document()) as server:
        asked = Server.of(server.url, {"HOME": "/nonexistent"})
        monkeypatch.setattr(fetch, "_LARGEST", 10)
        with pytest.raises(NoStatus, match="its answer has no end"):
            await deferToThread(asked.ask)
        monkeypatch.setattr(fetch, "_LARGEST", 1000000)
        monkeypatch.setattr(fetch, "_LONGEST", -1.0)
        with pytest.raises(NoStatus, match="does not answer in time"):
            await deferToThread(asked.ask)


class Greeting(Protocol):
    """Speaks first, and something else."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"SSH-2.0-x\x1b\r\n")
        self.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_noProxyIsAsked(reactor: Any, tmp_path: Path) -> None:
    """It asks the relay itself, whatever proxy the environment has."""
    async with serving(reactor, document()) as server:
        _, err, code = await once(reactor, tmp_path, server.url, http_proxy="http://127.0.0.1:9")
    assert (err, code) == ("", 0)


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://h", "http://", "http://h:port", "http://h:99999", "file:///etc/passwd"),
        *("http://[::1", "h\u00f6st", "a b", "http://h/\r\nX: y", "http://h:0"),
    ],
)
def test_whatIsNoURLIsRefused(url: str) -> None:
    """Another scheme, no host, no port that there is, or characters that no URL has."""
    with pytest.raises(ValueError, match=r"is no URL such as http://127\.0\.0\.1:8088$"):
        Server.of(url, {"HOME": "/nonexistent"})


def test_passwordsDoNotBelongInURLs() -> None:
    """What is in a URL anybody on the host can read; it is said where to put it."""
    with pytest.raises(ValueError, match=re.escape("put 'machine HOST login NAME")):
        Server.of("http://jo:secret@h", {})
    with pytest.raises(ValueError, match="leave out what follows the path"):
        Server.of("http://h/?token=x", {})


def test_aTokenHasNoLineEnds() -> None:
    """A token that could not be in a header is refused before anybody is asked."""
    with pytest.raises(ValueError, match="GROUPSOCK_TOKEN is no token"):
        Server.of("http://h", {"GROUPSOCK_TOKEN": "a\r\nb"})


def test_aTokenIsNotShown() -> None:
    """It is not in what is printed of a server."""
    assert "secret" not in repr(Server.of("http://h", {"GROUPSOCK_TOKEN": "secret"}))
