"""Endpoints are taken apart without a disk or a name server, and what is wrong is one line."""

from __future__ import annotations

import os
import re
import socket
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from tests.relay.viewers.support import tlsEndpoint
from txgroupsock.relay.config.file import ConfigurationError, parseConfiguration
from txgroupsock.relay.http import endpoint as endpoints
from txgroupsock.relay.http.endpoint import Endpoint, endpointProblem, fileProblem, serverEndpoint

ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"


@pytest.fixture
def asksNobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that fails if a name server is asked."""

    def fail(*_: Any) -> None:
        pytest.fail("a name server is asked")

    monkeypatch.setattr(socket, "getaddrinfo", fail)


def wrong(text: str) -> str:
    """What is wrong with an endpoint."""
    problem = endpointProblem(text)
    assert problem is not None
    assert len(problem.splitlines()) == 1
    return problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Unknown endpoint type"),
        ("nonesuch:1", "Unknown endpoint type"),
        ("stdio:", "nobody can connect"),
        ("tls:/etc/certificates:443", "use ssl:"),
        ("tcp:", "port=: a port is a whole number from 0 to 65535"),
        ("tcp", "its port is missing"),
        ("tcp:99999", "port=99999: a port is"),
        ("tcp:-1", "port=-1: a port is"),
        ("tcp: 80", "port= 80: a port is"),
        ("tcp:8_0", "port=8_0: a port is"),
        ("tcp:http", "port=http: a port is"),
        ("tcp6:70000", "port=70000: a port is"),
        ("ssl:70000", "port=70000: a port is"),
        ("tcp:80:interface=a b", "interface=a b: it is an address"),
        (
            "tcp:80:interface=::1",
            r"a colon that belongs to a value is quoted, as in interface=\:\:1",
        ),
        ("tcp:80:127.0.0.1:50:more", "there is too much: 'more'"),
        ("tcp:80:nonesuch=2", "it has no 'nonesuch'; there are port, interface, backlog"),
        ("tcp:80:port=81", "port is there twice"),
        ("tcp:80:interface=lo:interface=eth0", "interface is there twice"),
        ("tcp:80:backlog=x", "backlog=x: a backlog is"),
        ("tcp:80\\", "ends with a backslash"),
        ("unix:", "address=: a path has"),
        ("unix:" + "x" * 108, "a path has from 1 to 107"),
        ("unix:/run/x:mode=rw", "mode=rw: a mode is an octal number"),
        ("unix:/run/x:lockfile=no", "lockfile=no: it is 0 or 1"),
        ("systemd:domain=INET", "either an index or a name"),
        ("systemd:domain=INET:index=x", "index=x: an index is"),
        ("keepalive:", "Unknown endpoint type"),
        ("keepalive:tcp:80", "one endpoint, with its colons quoted"),
        (r"keepalive:tcp\:99999", "port=99999: a port is"),
        (r"keepalive:stdio\:", "nobody can connect"),
        (r"keepalive:unix\:/run/x", "no TCP connections"),
        (r"keepalive:tcp\:80:idle=x", "idle=x is no whole number"),
        (r"keepalive:tcp\:80:nonesuch=1", "no option 'nonesuch'"),
        (r"keepalive:tcp\:80:idle=5:idle=6", "idle is there twice"),
        ("tcp:80:interface=239.1.1.1", "interface=239.1.1.1: no interface has that address"),
        ("tcp:80:interface=255.255.255.255", "255.255.255.255: no interface has that address"),
        (r"tcp6:80:interface=ff02\:\:1", "interface=ff02::1: no interface has that address"),
        (r"tcp6:80:interface=ff02\:\:1%lo", "ff02::1%lo: no interface has that address"),
        (r"tcp6:80:interface=fe80\:\:1", "fe80::1: say on which interface, as in fe80::1%eth0"),
        ("haproxy:tcp:99999", "port=99999: a port is"),
        (r"haproxy:keepalive:tcp\:x", "port=x: a port is"),
        (r"haproxy:tcp\:8088\:interface=127.0.0.1", "its colons not quoted once more"),
        (r"haproxy:tcp\:8088", "its colons not quoted once more"),
    ],
)
def test_whatIsWrongIsOneLine(asksNobody: None, text: str, words: str) -> None:
    """However deep it is in an endpoint, it is said in words; in a file with its line and key."""
    assert words in wrong(text)
    with pytest.raises(ConfigurationError) as caught:
        parseConfiguration(f"[admin]\nlisten = '{text}'", "relay.toml")
    assert str(caught.value).startswith("relay.toml:2: admin.listen: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "tcp:0",
        "tcp:port=65535",
        "tcp:8080:127.0.0.1:10",
        "tcp:8080:interface=",
        "tcp:8080:interface=silent.example.org",
        r"tcp:8080:interface=\:\:1",
        r"tcp:8080:interface=fe80\:\:1%lo",
        "tcp6:8080",
        "TCP:8080",
        "ssl:443:privateKey=/nonesuch:certKey=/nonesuch:interface=silent.example.org",
        "unix:/run/x",
        r"unix:/run/a\:b\=c:mode=600",
        "systemd:domain=INET:index=0",
        "systemd:domain=INET:name=viewers",
        r"keepalive:tcp\:8080:idle=60:userTimeout=30",
        r"keepalive:tcp\:8080\:interface=silent.example.org",
        r"keepalive:ssl\:443\:privateKey=/nonesuch",
        "haproxy:tcp:8080:interface=127.0.0.1",
    ],
)
def test_whatIsRightAsksNobody(asksNobody: None, text: str) -> None:
    """No file is read and no name looked up to see that; and it can be read as it is written."""
    assert endpointProblem(text) is None
    again = Endpoint.parse(str(Endpoint.parse(text)))
    assert again.innermost.given == Endpoint.parse(text).innermost.given


def test_withoutPyOpenSSLThereIsNoTLS(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is said before anything is opened, also of what is in another endpoint."""
    monkeypatch.setattr(endpoints, "find_spec", lambda _: None)
    for text in ("ssl:443", r"keepalive:ssl\:443"):
        assert "TLS needs pyOpenSSL" in wrong(text)


def test_whatTwistedMakesIsWhatIsMeant(reactor: Any) -> None:
    """A port, an interface and a backlog are the same by either way."""
    for text in ("tcp:8080:127.0.0.1:7", r"tcp6:0:interface=\:\:1", r"keepalive:tcp\:1"):
        ours, theirs = serverEndpoint(reactor, text), serverFromString(reactor, text)
        names = ("_port", "_interface", "_backlog")
        assert [getattr(ours, each) for each in names] == [getattr(theirs, each) for each in names]


@pytest.mark.parametrize("text", ["tcp:0:interface={}", r"keepalive:tcp\:0\:interface={}"])
def test_aHostIsLookedUpBeforeItIsListenedOn(
    reactor: Any, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """So that Twisted gets an address, which nobody has to be asked for."""
    asked: list[Any] = []

    def find(host: str, *more: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.3", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    made: Any = serverEndpoint(reactor, text.format("here.test"))
    assert made._interface == "127.0.0.3"
    assert Endpoint.parse(text.format("here.test")).mayTakeLong
    assert not Endpoint.parse(text.format("lo")).mayTakeLong
    assert serverEndpoint(reactor, text.format("lo"))._interface == "127.0.0.1"  # type: ignore[attr-defined]
    assert asked == ["here.test"]


def test_aHostThatIsNotFoundIsSaid(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the system said; Twisted does not get to ask again."""

    def fail(*_: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(OSError, match=r"nonesuch\.test: no interface has that name.*Temporary"):
        serverEndpoint(reactor, "tcp:0:interface=nonesuch.test")


@pytest.mark.parametrize(
    "text",
    [
        r"tcp6:0:interface={}\:\:1%nope",
        r"tcp:0:interface={}\:\:%nope",
        r"keepalive:tcp6\:0\:interface={}\\\:\\\:1%nope",
    ],
)
def test_anInterfaceThatIsNotThereIsNamed(reactor: Any, text: str) -> None:
    """With how to find those that are."""
    text = text.format("fe80" if "1%" in text else "")
    with pytest.raises(OSError, match=r"no interface is called 'nope'; 'ip address' lists them$"):
        serverEndpoint(reactor, text)


def test_aSocketOfSystemdInAnotherEndpointIsMissedAsWell(reactor: Any) -> None:
    """It is said as if nothing were around it."""
    for text in ("systemd:{}", r"keepalive:systemd\:{}:idle=5", "haproxy:systemd:{}"):
        inner = "domain=INET:index=9"
        text = text.format(inner.replace(":", r"\:") if text.startswith("keep") else inner)
        with pytest.raises(ValueError, match="systemd handed over no such socket"):
            serverEndpoint(reactor, text)


@pytest.mark.parametrize("name", ["privateKey", "certKey", "extraCertChain", "dhParameters"])
def test_onlyAFileIsRead(reactor: Any, tmp_path: Path, name: str) -> None:
    """A pipe, which would be waited for for ever, a device and a folder are none."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    given = tlsEndpoint(tmp_path)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        text = ":".join(
            [each for each in given.split(":") if not each.startswith(name)] + [f"{name}={path}"]
        )
        problem = f"{path}: it is not a file; give the path of one"
        with pytest.raises(OSError, match=f"{re.escape(problem)}$"):
            serverEndpoint(reactor, text)
        assert fileProblem(text) == f"{text}: {problem}"
        assert fileProblem(f"keepalive:{text.replace(':', chr(92) + ':')}") is not None


def test_whatCannotBeUsedAsAKeyIsSaid(reactor: Any, tmp_path: Path) -> None:
    """Junk, an empty file, one that is too large, and one that OpenSSL would ask a phrase for."""
    path = tmp_path / "key.pem"
    for content, words in (
        (b"junk", "key.pem: it is no certificate in PEM that OpenSSL takes"),
        (b"", "key.pem: it is no certificate in PEM that OpenSSL takes"),
        (bytes(1_000_001), "larger than 1,000,000 bytes"),
        (ENCRYPTED, "asks nobody for a pass phrase"),
    ):
        path.write_bytes(content)
        text = f"ssl:0:privateKey={path}"
        problem = fileProblem(text)
        assert problem is not None
        assert words in problem
        assert len(problem.splitlines()) == 1
        with pytest.raises((OSError, ValueError), match=words):
            serverEndpoint(reactor, text)
    text = f"ssl:0:privateKey={tmp_path / 'nonesuch'}"
    assert fileProblem(text) is None  # it may be there on another machine
    with pytest.raises(FileNotFoundError, match="nonesuch: No such file"):
        serverEndpoint(reactor, text)


def tlsWith(folder: Path, option: str, path: Path) -> str:
    """An endpoint that could be used, were it not for one file."""
    given = [each for each in tlsEndpoint(folder).split(":") if not each.startswith(option)]
    return ":".join([*given, f"{option}={path}"])


@cache
def weak() -> bytes:
    """A key of 1024 bits, which OpenSSL takes no longer, and its certificate."""
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    pem = key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return pem + builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("option", "content", "words"),
    [
        ("privateKey", b"junk", "no private key in PEM that OpenSSL takes ("),
        ("privateKey", b"", "no private key in PEM that OpenSSL takes ("),
        ("privateKey", b"\xff\0", "no private key in PEM that OpenSSL takes ("),
        ("privateKey", weak, "not the key of "),
        ("certKey", b"junk", "no certificate in PEM that OpenSSL takes ("),
        ("certKey", ENCRYPTED, "encrypted; the relay asks nobody for a pass phrase"),
        ("certKey", b"", "no certificate in PEM that OpenSSL takes ("),
        ("certKey", weak, "no certificate in PEM that OpenSSL takes (ee key too small)"),
        ("extraCertChain", b"junk", "no certificates in PEM that OpenSSL takes ("),
        ("extraCertChain", b"", "no certificates in PEM that OpenSSL takes ("),
        ("extraCertChain", b"\xff\0", "no certificates in PEM that OpenSSL takes ("),
        ("dhParameters", b"junk", "no Diffie-Hellman parameters that OpenSSL takes ("),
        ("dhParameters", b"", "no Diffie-Hellman parameters that OpenSSL takes ("),
        ("dhParameters", weak, "no Diffie-Hellman parameters that OpenSSL takes ("),
    ],
)
def test_theFileThatIsOfNoUseIsNamed(
    reactor: Any, tmp_path: Path, option: str, content: Any, words: str
) -> None:
    """Before anything listens: no connection is the first to find out."""
    path = tmp_path / "other.pem"
    path.write_bytes(content() if callable(content) else content)
    text = tlsWith(tmp_path, option, path)
    problem = fileProblem(text)
    assert problem is not None
    assert f"{text}: {path}: it is {words}" in problem
    assert len(problem.splitlines()) == 1
    with pytest.raises(ValueError, match=re.escape(problem)):
        serverEndpoint(reactor, text)


@pytest.mark.parametrize(
    "method", ["DTLS_METHOD", "TLS_CLIENT_METHOD", "OP_ALL", "Context", "nonesuch", "TLS"]
)
def test_aMethodIsOneForServersOnStreams(reactor: Any, tmp_path: Path, method: str) -> None:
    """Others are refused with those that there are."""
    text = f"{tlsEndpoint(tmp_path)}:sslmethod={method}"
    problem = fileProblem(text)
    assert problem is not None
    assert f"sslmethod={method}: it is one of TLS_METHOD, " in problem
    assert "DTLS" not in problem.partition("one of")[2]
    with pytest.raises(ValueError, match="it is one of TLS_METHOD"):
        serverEndpoint(reactor, text)


@pytest.mark.parametrize("method", ["TLSv1_METHOD", "TLSv1_1_METHOD"])
def test_whatNoClientCouldConnectToIsRefused(reactor: Any, tmp_path: Path, method: str) -> None:
    """Each part may be right, and no connection come of them, as with versions long given up."""
    text = f"{tlsEndpoint(tmp_path)}:sslmethod={method}"
    with pytest.raises(ValueError, match=f"no client could connect with {method} and .*pem"):
        serverEndpoint(reactor, text)


@pytest.mark.parametrize("method", ["TLS_METHOD", "TLS_SERVER_METHOD", "TLSv1_2_METHOD"])
@pytest.mark.filterwarnings("ignore:Passing method to:DeprecationWarning")
def test_whatClientsCanConnectToIsMade(reactor: Any, tmp_path: Path, method: str) -> None:
    """With each method of today."""
    text = f"{tlsEndpoint(tmp_path)}:sslmethod={method}"
    assert fileProblem(text) is None
    assert IStreamServerEndpoint.providedBy(serverEndpoint(reactor, text))


def test_aSocketInAnotherEndpointIsNotForEverybodyEither(tmp_path: Path) -> None:
    """What wraps a UNIX socket leaves it with the mode that it would have alone."""
    assert Endpoint.parse("haproxy:unix:/run/x").innermost.given["mode"] == "660"
    assert str(Endpoint.parse("haproxy:unix:/run/x")) == "haproxy:unix:address=/run/x:mode=660"
