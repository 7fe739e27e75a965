"""The address that a host name stands for, looked up again and again."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.ports.clock import callOff, steady
from txgroupsock.primitives import IPAddress, parseAddress

_MOST: Final = 16  # addresses of a name that are tried; a name server may send thousands


class HostLookup:
    """
    Tells which address a host name stands for, when that is known and whenever it changes.

    A name that has several addresses is taken to mean the first (in the order of RFC 6724, as the
    system gives them); as long as the present one is among them it stays, so that a name served in
    turns does not send a stream to and fro.  While the present one fails there are the others
    (L{instead}).  When a name is no longer found, the last good answer stands.

    @cvar interval: seconds from one good answer to the next question.
    @cvar firstRetry: seconds after a name was not found; doubled each time up to C{interval}.
    @ivar address: what it stands for; L{None} until that is known.
    @ivar note: why it is not the first that had been good, or that there is none, for people; or
        C{""}.
    """

    interval: ClassVar[float] = 60.0
    firstRetry: ClassVar[float] = 1.0

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        host: str,
        family: int | None,
        changed: Callable[[IPAddress], None],
    ) -> None:
        """
        @param reactor: provides C{IReactorTime} and C{IReactorPluggableNameResolver}.
        @param family: C{AF_INET} or C{AF_INET6} if only one will do.
        @param changed: called with the first address, and with another that takes its place.
        """
        self.address: IPAddress | None = None
        self.note = ""
        self._answers: list[IPAddress] = []
        self._untried: list[IPAddress] | None = None  # L{None} while nothing fails
        self._began: IPAddress | None = None
        self._reactor = steady(reactor)
        self._host = host
        self._family = family
        self._changed = changed
        self._retry = self.firstRetry
        self._saidMissing = False
        self._question: _Question | None = None
        self._resolution: IHostResolution | None = None
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Look it up now, and from then on."""
        self._ask()

    def stop(self) -> None:
        """Ask no more; an answer under way is not told."""
        self._wait(None)
        self._forget(None)

    def instead(self, why: str) -> bool:
        """
        Have the next address for the present one, which fails.

        @param why: how.
        @return: whether it has not been tried yet; else the present one is again that which had
            been good before any of them failed.
        """
        before = self.address
        if self._untried is None:
            self._began = self.address
            self._untried = [each for each in self._answers if each != self.address]
        if self._untried:
            self.address = self._untried.pop(0)
            self.note = (
                f"{self._host} is taken to be {self.address}, since {before}, which it is too, "
                f"fails ({why})"
            )
            return True
        self._untried, self.address, self.note = None, self._began, ""
        return False

    def worked(self) -> None:
        """What was sent to the present address left: it is good."""
        self._untried = None

    def _wait(self, delay: float | None) -> None:
        """Ask again after some seconds, or not at all; what is under way is no news any more."""
        self._question = None
        callOff(self._next)
        if delay is not None:
            self._next = self._reactor.callLater(delay, self._ask)

    def _forget(self, following: IHostResolution | None) -> None:
        """Want no answer any more to what was asked before."""
        before, self._resolution = self._resolution, following
        if before is not None:
            with suppress(NotImplementedError):  # Twisted's own cannot
                before.cancel()

    def _ask(self) -> None:
        self._question = question = _Question(self._answered)
        # For a resolver that never comes back, as Twisted's does not when it is out of files.
        self._next = self._reactor.callLater(self.interval, self._answered, question)
        try:
            self._host.encode("idna")  # a label that is empty or too long is no better for it
        except UnicodeError:
            self._answered(question)
            return
        resolution = self._reactor.nameResolver.resolveHostName(
            question, self._host, transportSemantics="UDP", addressTypes=self._addressTypes()
        )
        # Only now, as a question that somebody waits for keeps its turn.
        self._forget(resolution)

    def _answered(self, question: _Question) -> None:
        """A question has its answer, or gets none; that is no news if another has been asked."""
        if question is not self._question:
            return
        found = question.found
        if found:
            self._retry = self.firstRetry
            delay = self.interval
        else:
            delay = self._retry
            self._retry = min(2 * self._retry, self.interval)
        self._wait(delay)
        if not found:
            self._missing()
            return
        if self._saidMissing:
            self._saidMissing, self.note = False, ""
        self._answers, self._untried = found[:_MOST], None
        if self.address not in found:
            before, self.address, self.note = self.address, found[0], ""
            self._log.info(
                "{host} is {address}{before}",
                host=self._host,
                address=self.address,
                before=f" now, and was {before}" if before else "",
            )
            self._changed(self.address)

    def _missing(self) -> None:
        """Say, once, that there is no address."""
        if self._saidMissing:
            return
        self._saidMissing = True
        kept = f"going on with {self.address}" if self.address else "nothing is sent there yet"
        self.note = f"the address of {self._host} cannot be found: {kept}"
        self._log.warn(
            "cannot find the address of {host}: check the name and this host's DNS, or give an "
            "address; {kept}, and it is asked again",
            host=self._host,
            kept=kept,
        )

    def _addressTypes(self) -> list[type[IPv4Address | IPv6Address]] | None:
        if self._family is None:
            return None
        return [IPv4Address if self._family == socket.AF_INET else IPv6Address]


@implementer(IResolutionReceiver)
class _Question:
    """What the resolver was asked, and what it has answered so far."""

    def __init__(self, answered: Callable[[_Question], None]) -> None:
        self.found: list[IPAddress] = []
        self._answered = answered

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """See L{IResolutionReceiver}."""

    def addressResolved(self, address: IAddress) -> None:
        """See L{IResolutionReceiver}."""
        if isinstance(address, (IPv4Address, IPv6Address)):
            scope = getattr(address, "scopeID", 0)
            self.found.append(parseAddress(f"{address.host}%{scope}" if scope else address.host))

    def resolutionComplete(self) -> None:
        """See L{IResolutionReceiver}."""
        self._answered(self)
