from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import (
    clientFromString,
    connectProtocol,
    quoteStringArgument,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from zope.interface.verify import verifyObject

from tests.ports.streams import NAME, Stream, Streams, authority
from tests.starting import TWISTD
from txgroupsock import GroupsockReactor
from txgroupsock.ports import KeepAliveParser
from txgroupsock.primitives import KeepAlive, getSocketKeepAlive

ROOT = Path(__file__).parents[2]
OPTIONS = "idle=30:interval=5:count=3:userTimeout=12.5"
OWN = KeepAlive(30, 5, 3, 12.5)


def keepAlive(inner: str, options: str = OPTIONS) -> str:
    """The string with an inner endpoint quoted."""
    return f"keepalive:{quoteStringArgument(inner)}:{options}".rstrip(":")


async def bothEnds(reactor: Any, server: str, client: str) -> tuple[Stream, Stream]:
    """The ends of a connection between two endpoint strings; C{PORT} is the server's."""
    servers = Streams()
    accepted = servers.next
    port = await serverFromString(reactor, server).listen(servers)
    stream = Stream()
    client = client.replace("PORT", str(port.getHost().port))
    await connectProtocol(clientFromString(reactor, client), stream)
    stream.wire.write(b"?")
    other = await accepted
    await other.has(reactor, 1)
    for each in (stream, other):
        each.wire.loseConnection()
    for each in (stream, other):
        await each.lost
    await port.stopListening()
    return other, stream


@pytest.mark.parametrize(
    ("server", "client"),
    [
        ("tcp:0:interface=127.0.0.1", "tcp:127.0.0.1:PORT"),
        (r"tcp6:0:interface=\:\:1", r"tcp:\:\:1:PORT"),
        (r"tcp:0:interface=127.0.0.1:backlog=5", "tcp:127.0.0.1:PORT:timeout=5"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_anInnerEndpointHasKeepAlive(reactor: Any, server: str, client: str) -> None:
    """Server and client."""
    ends = await bothEnds(reactor, keepAlive(server), keepAlive(client))
    assert [each.keepAliveAtFirst for each in ends] == [OWN, OWN]


@pytest_twisted.ensureDeferred
async def test_soHasOneInsideAnother(reactor: Any) -> None:
    """Whatever endpoint passes its reactor on."""
    text = keepAlive("haproxy:tcp:0:interface=127.0.0.1")
    port = await serverFromString(reactor, text).listen(Streams())
    assert getSocketKeepAlive(port.socket) == OWN
    await port.stopListening()


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[Path, Path]:
    """Files: a server's key and certificate, and a folder of whom to trust."""
    made, pem = authority()
    (tmp_path / "server.pem").write_bytes(pem)
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    made.cert_pem.write_to_path(str(trusted / "ca.pem"))
    return tmp_path / "server.pem", trusted


@pytest.mark.parametrize("kind", ["tls", "ssl"])
@pytest_twisted.ensureDeferred
async def test_TLSEndpointsHaveIt(reactor: Any, certificates: tuple[Path, Path], kind: str) -> None:
    """Both that Twisted has for clients, and the one for servers."""
    server, trusted = certificates
    listening = f"ssl:0:interface=127.0.0.1:privateKey={server}:certKey={server}"
    if kind == "tls":
        connecting = f"tls:{NAME}:PORT:trustRoots={trusted}:endpoint=tcp\\:127.0.0.1\\:PORT"
    else:
        connecting = f"ssl:127.0.0.1:PORT:caCertsDir={trusted}:hostname={NAME}"
    ends = await bothEnds(reactor, keepAlive(listening), keepAlive(connecting))
    assert [each.keepAliveAtFirst for each in ends] == [OWN, OWN]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", KeepAlive()),
        ("idle=60", KeepAlive(idle=60)),
        ("count=2:interval=7", KeepAlive(interval=7, count=2)),
    ],
)
@pytest_twisted.ensureDeferred
async def test_whatIsLeftOutIsTheDefault(reactor: Any, options: str, expected: KeepAlive) -> None:
    """LIVE555's figures, also where the reactor has others."""
    ours = GroupsockReactor(reactor, OWN)
    ends = await bothEnds(
        ours,
        keepAlive("tcp:0:interface=127.0.0.1", options),
        keepAlive("tcp:127.0.0.1:PORT", options),
    )
    assert [each.keepAliveAtFirst for each in ends] == [expected, expected]


WRONG = [
    (r"keepalive:tcp\:0:idle=x", "keepalive: idle=x is no whole number of seconds"),
    (r"keepalive:tcp\:0:count=x", "keepalive: count=x is no whole number"),
    (r"keepalive:tcp\:0:idle=1.5", "keepalive: idle=1.5 is no whole number of seconds"),
    (r"keepalive:tcp\:0:userTimeout=x", "keepalive: userTimeout=x is no number of seconds"),
    (r"keepalive:tcp\:0:idle=0", "keepalive: cannot use a keep-alive idle of 0: .*1 to 32767"),
    (r"keepalive:tcp\:0:idel=5", "no option 'idel'; there are idle, interval, count, userTimeout"),
    ("keepalive:tcp:8080:idle=5", r"keepalive:tcp:8080: .*quoted, as in keepalive:tcp\\:8080"),
    ("keepalive:idle=5", "keepalive:: it takes one endpoint"),
    ("keepalive:", "keepalive:: it takes one endpoint"),
    (r"keepalive:nosuch\:5", r"the endpoint 'nosuch:5' does not do: .*nosuch"),
    (r"keepalive:tcp\:x", "the endpoint 'tcp:x' does not do: .*'x'"),
    ("keepalive:tcp", "the endpoint 'tcp' does not do"),
    (r"keepalive:unix\:/nowhere", "'unix:/nowhere' has no TCP connections to keep alive"),
]


@pytest_twisted.ensureDeferred
async def test_anInterfaceThatIsNotThereHasARemedy(reactor: Any) -> None:
    """Also one that an address names."""
    text = r"keepalive:tcp6\:0\:interface=fe80\\\:\\\:1%nope"
    with pytest.raises(CannotListenError, match=r"; 'ip address' lists the interfaces"):
        await serverFromString(reactor, text).listen(Streams())


@pytest.mark.parametrize(("text", "what"), WRONG)
def test_aMistakeIsOneClearError(reactor: Any, text: str, what: str) -> None:
    """In a server's string."""
    with pytest.raises(ValueError, match=what):
        serverFromString(reactor, text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (r"keepalive:tcp\:h\:5:idle=0", "keepalive: cannot use a keep-alive idle of 0"),
        (r"keepalive:unix\:/nowhere", "has no TCP connections"),
        ("keepalive:tcp:h:5", "colons quoted"),
    ],
)
def test_aMistakeOfAClientsIsOneClearErrorToo(reactor: Any, text: str, what: str) -> None:
    """In a client's string."""
    with pytest.raises(ValueError, match=what):
        clientFromString(reactor, text)


def test_theParserIsAPlugin() -> None:
    """For both kinds."""
    parser = KeepAliveParser()
    assert verifyObject(IStreamServerEndpointStringParser, parser)
    assert verifyObject(IStreamClientEndpointStringParserWithReactor, parser)


def run(*command: str | Path, **environment: str) -> str:
    """Run a program; its output."""
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_thePluginModuleImportsNoReactor() -> None:
    """Or twistd --reactor=... would fail for everybody, on its first run."""
    code = (
        "import sys, twisted.plugins.txgroupsock_plugins\n"
        "print([each for each in sys.modules if each.startswith('twisted.internet.')\n"
        "       and each.endswith('reactor')])"
    )
    assert run(sys.executable, "-c", code).strip() == "[]"


def test_twistdChoosesItsReactorOnAnUncachedRun(tmp_path: Path) -> None:
    """The plugins are loaded and not read from Twisted's cache, and another reactor installed."""
    plugins = tmp_path / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    source = ROOT / "twisted" / "plugins" / "txgroupsock_plugins.py"
    (plugins / source.name).write_bytes(source.read_bytes())
    # The copy comes first on the path, has no cache, and so is imported.
    help_ = run(
        sys.executable,
        TWISTD,
        "--reactor=poll",
        "groupsock-relay",
        "--help",
        PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}",
    )
    assert "already installed" not in help_
    assert "Usage" in help_
