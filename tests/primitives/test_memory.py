"""What looks at interfaces, addresses and groups again and again takes no more memory for it."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.memory import blocksKept
from txgroupsock.primitives import (
    Environment,
    findInterface,
    interfaceIndex,
    listInterfaces,
    ourIPv4Address,
    parseAddress,
    socketJoinGroup,
    socketLeaveGroup,
)
from txgroupsock.primitives.hoststate import HostState
from txgroupsock.primitives.ouraddress import OurAddresses
from txgroupsock.testing.namespaces import Namespace

pytestmark = pytest.mark.lan

GROUP = parseAddress("239.1.2.3")


def lookAtTheHost() -> None:
    """All that a L{HostState} can be asked."""
    state = HostState()
    state.indexOf("10.0.0.1")
    for index in state.interfaces:
        state.isRunning(index)
        state.hasJoined(index, GROUP)
        state.igmpVersion(index)


def joinAndLeave() -> None:
    """By the name and by an address of the interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as member:
        socketJoinGroup(member, GROUP, "eth0")
        socketLeaveGroup(member, GROUP, "10.0.0.1")


@pytest.mark.parametrize(
    "look",
    [
        listInterfaces,
        lookAtTheHost,
        joinAndLeave,
        lambda: interfaceIndex("fd00::1"),
        lambda: findInterface("eth0"),
        lambda: ourIPv4Address(Environment(), refresh=True),
        lambda: OurAddresses(lambda: 0.0),
    ],
    ids=[
        "listInterfaces",
        "HostState",
        "joinAndLeave",
        "interfaceIndex",
        "findInterface",
        "ourIPv4Address",
        "OurAddresses",
    ],
)
def test_aLookTakesNoMemory(link: Namespace, look: Callable[[], object]) -> None:
    """Whatever a look at the host has read is given back."""
    assert blocksKept(look, 200) < 0.5
