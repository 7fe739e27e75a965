"""What rules of this host may drop a stream, where they can be read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from attrs import frozen

from txgroupsock.relay.doctor.finding import Finding

CHECK = "firewall"
_PATH: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_PROGRAMS: Final = (("nft", "list", "ruleset"), ("iptables-save",), ("ip6tables-save",))
_PATIENCE: Final = 5.0  # seconds
_MOST: Final = 10  # rules that are shown

Run = Callable[[Sequence[str]], "str | OSError"]
"""Gives what a program writes, or why it could not."""


@frozen
class Rules:
    """
    What was found.

    @ivar suspects: rules and policies that drop what comes in, each with where it stands.
    @ivar unread: why some could not be read.
    """

    suspects: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def run(command: Sequence[str]) -> str | OSError:
    """What a program writes; an error if it is not there, may not, or takes too long."""
    path = shutil.which(command[0], path=_PATH)
    if path is None:
        return FileNotFoundError(f"{command[0]} is not installed")
    try:
        ended = subprocess.run(  # noqa: S603 - one of three commands, none from outside
            [path, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TimeoutError(f"{command[0]} takes too long")
    except OSError as error:
        return error
    if ended.returncode:
        said = ended.stderr.strip().splitlines()
        return OSError(f"{command[0]}: {said[0] if said else f'status {ended.returncode}'}")
    return ended.stdout


def readRules(run: Run = run) -> Rules:
    """The rules of this host's firewall, by whatever program there is."""
    suspects: list[str] = []
    unread: list[str] = []
    for command in _PROGRAMS:
        text = run(command)
        if isinstance(text, OSError):
            unread.append(str(text))
            continue
        name = " ".join(command)
        found = droppingNFT(text) if command[0] == "nft" else droppingTables(text)
        suspects += [f"{name}: {each}" for each in found]
    return Rules(tuple(suspects), tuple(unread))


def droppingNFT(text: str) -> Iterator[str]:
    """
    What drops or rejects in C{nft list ruleset}, in chains that see what comes in, and in those
    without a hook, which such a chain may jump to.
    """
    table = chain = ""
    isOutgoing = False
    for line in text.splitlines():
        words = line.strip()
        if words.startswith("table "):
            table = words.removesuffix(" {")
        elif words.startswith("chain "):
            chain, isOutgoing = words.removesuffix(" {"), False
        elif " hook " in f" {words}":
            isOutgoing = (
                re.search(r"\bhook (output|postrouting|egress|forward)\b", words) is not None
            )
            if "policy drop" in words and not isOutgoing:
                yield f"{table}, {chain}: {words}"
        elif not isOutgoing and re.search(r"\b(drop|reject)\b", words):
            yield f"{table}, {chain}: {words}"


def droppingTables(text: str) -> Iterator[str]:
    """The same for C{iptables-save}."""
    for line in text.splitlines():
        isPolicy = re.match(r":(INPUT|PREROUTING) DROP", line)
        isRule = re.match(r"-A (?!OUTPUT|FORWARD|POSTROUTING)", line)
        if isPolicy or (isRule and re.search(r"-j (DROP|REJECT)\b", line)):
            yield line


def blamed(subject: str, rules: Rules, arrived: str) -> Finding | None:
    """
    The finding that the firewall drops a stream, if there is a rule that might.

    @param arrived: the evidence that it comes as far as the interface.
    """
    if not rules.suspects:
        return None
    return Finding(
        CHECK,
        "fault",
        subject,
        "the stream comes to the interface, but not to a socket, and a firewall of this host drops "
        "something",
        (arrived, *rules.suspects[:_MOST]),
        "let it in before those rules, such as 'nft insert rule TABLE CHAIN udp dport PORT accept'",
    )
