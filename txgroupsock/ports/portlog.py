"""The lines that Twisted's own UDP port logs, for programs, tests and people that look for them."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ILoggingContext
from twisted.python import log


def prefixOf(protocol: Any) -> str:
    """How log lines call a protocol: as it wants, or by its class."""
    has = ILoggingContext.providedBy(protocol)
    return str(protocol.logPrefix() if has else type(protocol).__name__)


def logStarting(protocol: Any, number: int) -> None:
    """Tell that a port listens, unless its protocol is not C{noisy}."""
    if getattr(protocol, "noisy", True):
        log.msg(f"{prefixOf(protocol)} starting on {number}")


def logClosed(protocol: Any, number: int) -> None:
    """Tell that a port has been closed, unless its protocol is not C{noisy}."""
    if getattr(protocol, "noisy", True):
        log.msg(f"(UDP Port {number} Closed)")
