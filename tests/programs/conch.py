"""Twisted's SSH server, with OpenSSH as the client: a command, and both kinds of forwarding."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.unix import UnixConchUser
from twisted.cred.portal import IRealm, Portal
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.utils import getProcessOutputAndValue
from zope.interface import implementer

from tests.programs.support import HOST, Caller, eventually, listenForEcho

PORT, LOCAL, REMOTE = 2222, 4001, 4002
PAYLOAD = bytes(range(256)) * 400


@implementer(IRealm)
class Realm:
    """Everybody is who runs this."""

    def requestAvatar(self, username: bytes | tuple[()], mind: object, *interfaces: Any) -> Any:
        """The avatar of who runs this, for any interface."""
        assert isinstance(username, bytes)
        user = UnixConchUser(username.decode())
        return interfaces[0], user, user.logout


async def main(reactor: Any, folder: Path) -> list[object]:
    """Run a command, and send through a local and a remote forwarding, to a name and an address."""
    name = pwd.getpwuid(os.getuid()).pw_name
    server, client = (Key(Ed25519PrivateKey.generate()) for _ in range(2))
    identity = folder / "id"
    identity.touch(0o600)
    identity.write_bytes(client.toString("openssh"))
    factory: Any = SSHFactory()
    factory.publicKeys = {b"ssh-ed25519": server.public()}
    factory.privateKeys = {b"ssh-ed25519": server}
    known = InMemorySSHKeyDB({name.encode(): [client.public()]})
    factory.portal = Portal(Realm(), [SSHPublicKeyChecker(known)])
    reactor.listenTCP(PORT, factory, interface=HOST)
    ssh = ["-F", "/dev/null", "-i", str(identity), "-p", str(PORT), "-l", name]
    for option in (
        *("StrictHostKeyChecking=no", f"UserKnownHostsFile={folder / 'known'}"),
        *("ExitOnForwardFailure=yes", "LogLevel=ERROR", "BatchMode=yes"),
    ):
        ssh += ["-o", option]

    output, _, status = await getProcessOutputAndValue(
        "ssh", [*ssh, HOST, "echo said; exit 3"], env=dict(os.environ)
    )
    seen: list[object] = [output.decode(), status]

    echo = listenForEcho(reactor)
    for bind in (HOST, "localhost", "*"):
        forward = ["-L", f"{bind}:{LOCAL}:{HOST}:{echo}", "-R", f"{bind}:{REMOTE}:{HOST}:{echo}"]
        seen.append([bind, *await send(reactor, ["ssh", *ssh, "-N", *forward, HOST])])
    return seen


async def send(reactor: Any, command: list[str]) -> list[object]:
    """Send through what ssh forwards: whether it comes back, or C{"refused"}."""
    seen: list[object] = []
    running = reactor.spawnProcess(ProcessProtocol(), "ssh", command, env=dict(os.environ))
    await eventually(reactor, lambda: (listens(LOCAL) and listens(REMOTE)) or running.pid is None)
    for port in (LOCAL, REMOTE):
        try:
            endpoint = TCP4ClientEndpoint(reactor, HOST, port)
            caller = await connectProtocol(endpoint, Caller(PAYLOAD))
            seen.append(await caller.answer == PAYLOAD)
        except ConnectError:
            seen.append("refused")
    if running.pid is not None:
        running.signalProcess("TERM")
    await eventually(reactor, lambda: running.pid is None and not listens(REMOTE))
    return seen


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this host's."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    wanted = [f"{host}:{port:04X}" for host in ("0100007F", "00000000")]
    return any(line.split()[1] in wanted and line.split()[3] == "0A" for line in lines)
