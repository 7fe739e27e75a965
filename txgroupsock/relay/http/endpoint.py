"""Where to listen, as an operator writes it; what is wrong with that is said in words."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any, Final

from attrs import evolve, frozen
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from txgroupsock.ports.endpoints import keepAliveOf
from txgroupsock.ports.reactor import GroupsockReactor
from txgroupsock.relay.http.certificates import checkTLS, whyOpenSSL
from txgroupsock.relay.http.hosts import addressIn, checkAddress, isAddress, lookedUp, needInterface
from txgroupsock.relay.http.proxied import ProxiedEndpoint
from txgroupsock.relay.http.unixsocket import UnixEndpoint

UNIX_MODE: Final = "660"
"""Of UNIX sockets: for who runs the relay, and for its group."""

_BACKLOG: Final = 50  # of UNIX sockets, as Twisted has it
_NAMES: Final[dict[str, tuple[str, ...]]] = {  # in the order in which they need no name
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": (
        *("port", "privateKey", "certKey", "sslmethod", "interface", "backlog"),
        *("extraCertChain", "dhParameters"),
    ),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}
_NEEDED: Final = {"tcp": "port", "tcp6": "port", "ssl": "port", "unix": "address"} | {
    "systemd": "domain"
}
_REFUSED: Final = {
    "stdio": "nobody can connect to the relay's standard input; use tcp: or unix:",
    # Twisted would read its folder again for each name that a client asks for, in that turn.
    "tls": "it reads files while clients connect; use ssl: with privateKey= and certKey=",
}
_SHAPES: Final = {
    "port": (r"[0-9]{1,5}", "a port is a whole number from 0 to 65535"),
    "backlog": (r"[0-9]{1,9}", "a backlog is a whole number"),
    "index": (r"[0-9]{1,9}", "an index is a whole number"),
    "mode": (r"[0-7]{1,4}", "a mode is an octal number, such as 660"),
    "lockfile": (r"[01]", "it is 0 or 1"),
    "interface": (r"[^\0-\x20\x7f]{1,253}", "it is an address, an interface or a host"),
    "address": (r"[^\0]{1,107}", "a path has from 1 to 107 characters"),  # unix(7)
}
_PART: Final = re.compile(r"((?:\\.|[^\\:])*)(:|\Z)", re.DOTALL)
_NAMED: Final = re.compile(r"((?:\\.|[^\\=])*)=(.*)", re.DOTALL)
_QUOTED: Final = re.compile(r"\\(.)", re.DOTALL)


@frozen
class Endpoint:
    """
    An endpoint string taken apart.

    @ivar text: as it was written.
    @ivar kind: C{"tcp"}, say.
    @ivar given: what is said of it, by name.
    @ivar inner: the endpoint in it, if it is one that wraps another.
    """

    text: str
    kind: str
    given: Mapping[str, str]
    inner: Endpoint | None = None

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """
        Take a string apart; neither a disk nor a name server is asked.

        @raise ValueError: it is wrong, as far as can be told from the string.
        """
        (_, first), *parts = _partsOf(text)
        kind = first.lower()
        if kind in _REFUSED:
            raise ValueError(_REFUSED[kind])
        if kind == "haproxy":
            if parts and ":" in "".join(filter(None, parts[0])):
                raise ValueError(
                    "haproxy takes an endpoint as it is, its colons not quoted once more, as in "
                    "haproxy:tcp:8080"
                )
            return cls(text, kind, {}, cls.parse(text.partition(":")[2]))
        if kind == "keepalive":
            return cls._keepingAlive(text, parts)
        names = _NAMES.get(kind)
        if names is None:
            return cls(text, kind, {})  # a plugin's
        given = _givenIn(parts, names)
        if not given.get("interface", "-"):
            del given["interface"]
        _check(kind, given)
        if kind == "unix":
            given.setdefault("mode", UNIX_MODE)
        return cls(text, kind, given)

    @classmethod
    def _keepingAlive(cls, text: str, parts: list[tuple[str | None, str]]) -> Endpoint:
        # A colon in a name: what it belongs to is an endpoint with "=" in it.
        inners = [value for name, value in parts if name is None]
        inners += [f"{name}={value}" for name, value in parts if name is not None and ":" in name]
        options: dict[str, str] = {}
        for name, value in parts:
            if name is not None and ":" not in name:
                _give(options, name, value)
        if len(inners) != 1:
            raise ValueError(
                "keepalive takes one endpoint, with its colons quoted, as in "
                r"keepalive:tcp\:8080:idle=60"
            )
        keepAliveOf(options)
        inner = cls.parse(inners[0])
        if inner.kind == "unix":
            raise ValueError(f"keepalive: {inner.text!r} has no TCP connections to keep alive")
        return cls(text, "keepalive", options, inner)

    def __str__(self) -> str:
        """It as C{serverFromString} takes it."""
        if self.kind == "haproxy":
            return f"haproxy:{self.inner}"
        if self.kind not in _NAMES and self.inner is None:
            return self.text
        inner = () if self.inner is None else (_quoted(str(self.inner)),)
        return ":".join(
            [self.kind, *inner, *(f"{name}={_quoted(value)}" for name, value in self.given.items())]
        )

    @property
    def innermost(self) -> Endpoint:
        """What really listens."""
        return self if self.inner is None else self.inner.innermost

    @property
    def mayTakeLong(self) -> bool:
        """Whether a disk or a name server has to be asked before anything can be opened."""
        innermost = self.innermost
        if innermost.kind in ("ssl", "unix") or innermost.kind not in _NAMES:
            return True
        return bool(innermost.host) and not isAddress(addressIn(innermost.host))

    @property
    def host(self) -> str:
        """Where it listens: an address, an interface or a host; C{""}: everywhere."""
        return self.given.get("interface", "")

    def looked(self) -> Endpoint:
        """
        The same with an address where it names an interface or a host.  It asks name servers.

        @raise OSError: there is no such interface, and no such host.
        """
        if self.inner is not None:
            return evolve(self, inner=self.inner.looked())
        if not self.host:
            return self
        found = addressIn(self.host)
        if "%" in found:
            needInterface(found)
        if not isAddress(found):
            found = lookedUp(found, socket.AF_INET6 if self.kind == "tcp6" else socket.AF_INET)
        return evolve(self, given={**self.given, "interface": found})

    def made(self, reactor: Any) -> IStreamServerEndpoint:
        """
        What listens.

        @raise Exception: what Twisted's parsers raise; there is no such thing.
        """
        if self.inner is not None:
            if self.kind == "haproxy":
                return ProxiedEndpoint(self.inner.made(reactor))
            return self.inner.made(GroupsockReactor(reactor, keepAliveOf(self.given)))
        if self.kind == "unix":
            return UnixEndpoint(
                reactor,
                self.given["address"],
                int(self.given.get("backlog", _BACKLOG)),
                int(self.given["mode"], 8),
                hasLock=self.given.get("lockfile") != "0",
            )
        endpoint: Any = serverFromString(reactor, str(self))
        if self.kind == "ssl":  # or each connection would find out that there is no context
            endpoint._sslContextFactory.getContext()  # noqa: SLF001 - Twisted gives no other way
        return endpoint  # type: ignore[no-any-return]

    def checkFiles(self) -> None:
        """
        See whether what it names on disk can be read.

        @raise OSError: it cannot.
        @raise ValueError: it is nothing that could be used.
        """
        innermost = self.innermost
        if innermost.kind == "unix":
            os.stat(os.path.dirname(innermost.given["address"]) or ".")
        if innermost.kind == "ssl":
            checkTLS(innermost.given)


def serverEndpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """
    The endpoint that a string names: what C{serverFromString} gives; but a UNIX socket is not
    for everybody on this host unless C{mode=} says so, and a proxy is not believed everything.

    Reads files and asks name servers (L{Endpoint.mayTakeLong}), so that listening does not.

    @raise ValueError: there is no such thing.
    @raise OSError: a file cannot be read, or there is no such interface or host.
    """
    try:
        wanted = Endpoint.parse(text)
        wanted.checkFiles()
        return wanted.looked().made(reactor)
    except OSError:
        raise
    except (LookupError, AttributeError) as error:
        if not isFromSystemd(text):
            raise ValueError(f"{text}: {inWords(error)}") from error
        raise ValueError(
            f"{text}: systemd handed over no such socket; its unit ending in .socket has "
            "ListenStream=, and FileDescriptorName= for name= here; domain= is INET, INET6 or UNIX"
        ) from error
    except Exception as error:
        raise ValueError(f"{text}: {inWords(error)}") from error


def isFromSystemd(text: str) -> bool:
    """Whether an endpoint, or the one in it, is a socket that systemd opened."""
    return "systemd:" in text.replace("\\", "")


def endpointProblem(text: str) -> str | None:
    """
    What is wrong with an endpoint, as far as can be told without a reactor and descriptors; no
    disk and no name server is asked.
    """
    try:
        innermost = Endpoint.parse(text).innermost
        if innermost.kind == "ssl" and find_spec("OpenSSL") is None:
            raise ValueError("TLS needs pyOpenSSL: pip install 'twisted[tls]'")
        if innermost.kind not in _NAMES:
            _tryPlugin(innermost.text)
    except ValueError as error:
        return (
            f"{text!r} is no endpoint ({inWords(error)}); it is one of Twisted's, such as "
            "tcp:8080:interface=127.0.0.1"
        )
    return None


def fileProblem(text: str) -> str | None:
    """
    What is wrong with the files that an endpoint names, if they are there; it reads them.

    One that is not there, or that this user may not read, may be so on the machine that this is
    for.
    """
    try:
        endpoint = Endpoint.parse(text)
        if endpoint.innermost.kind == "ssl":
            endpoint.checkFiles()
            endpoint.innermost.made(None)
    except (FileNotFoundError, PermissionError):
        return None
    except Exception as error:  # noqa: BLE001 - OpenSSL has several
        return f"{text}: {inWords(error)}"
    return None


def inWords(error: object) -> str:
    """What went wrong, in one line."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return " ".join(f"{where}{error.strerror}".split())
    if isinstance(error, BaseException) and error.args and isinstance(error.args[0], list):
        return f"OpenSSL does not take what it says: {whyOpenSSL(error)}"
    return " ".join(str(error).split()) or type(error).__name__


def _tryPlugin(text: str) -> None:
    try:
        serverFromString(None, text)
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(inWords(error)) from error
    except Exception:  # noqa: BLE001 - it may need what is there only when it is opened
        return


# Strings


def _partsOf(text: str) -> Iterator[tuple[str | None, str]]:
    """Each part of a string: its name, if it has one, and what it says."""
    at = 0
    while True:
        part = _PART.match(text, at)
        if part is None:
            raise ValueError("it ends with a backslash, which quotes nothing")
        named = _NAMED.fullmatch(part[1])
        if named is None:
            yield None, _QUOTED.sub(r"\1", part[1])
        else:
            yield _QUOTED.sub(r"\1", named[1]), _QUOTED.sub(r"\1", named[2])
        at = part.end()
        if not part[2]:
            return


def _givenIn(parts: list[tuple[str | None, str]], names: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    unnamed = iter(names)
    for number, (name, value) in enumerate(parts):
        if number and name is None and not value:
            raise ValueError(r"a colon that belongs to a value is quoted, as in interface=\:\:1")
        key = next(unnamed, None) if name is None else name
        if key is None:
            raise ValueError(f"there is too much: {value!r}")
        if key not in names:
            raise ValueError(f"it has no {key!r}; there are {', '.join(names)}")
        _give(given, key, value)
    return given


def _give(given: dict[str, str], name: str, value: str) -> None:
    if name in given:
        raise ValueError(f"{name} is there twice: leave one out")
    given[name] = value


def _check(kind: str, given: Mapping[str, str]) -> None:
    needed = _NEEDED[kind]
    if needed not in given:
        raise ValueError(f"its {needed} is missing")
    for name, value in given.items():
        shape, words = _SHAPES.get(name, (".+", "it is empty"))
        isWrong = not re.fullmatch(shape, value, re.DOTALL)
        if isWrong or (name == "port" and int(value) > 0xFFFF):
            raise ValueError(f"{name}={value}: {words}")
    checkAddress(given.get("interface", ""))
    if kind == "systemd" and ("index" in given) == ("name" in given):
        raise ValueError("it has either an index or a name")


def _quoted(text: str) -> str:
    return re.sub(r"([\\:=])", r"\\\1", text)
