"""What is looked at of this host, and what is not."""

from __future__ import annotations

import sys

import pytest

from tests.descriptors import descriptorsLeft
from txgroupsock.primitives import networkinterface, parseAddress
from txgroupsock.primitives.hoststate import HostState
from txgroupsock.testing.namespaces import Namespace

pytestmark = pytest.mark.lan


def test_whoNamesAnInterfaceHasNoAddressRead(
    link: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor any other interface: a name, and whether it runs, cost the same among a thousand."""

    def fail() -> None:
        raise AssertionError("looked at all")

    monkeypatch.setattr(networkinterface, "addressesByIndex", fail)
    monkeypatch.setattr(networkinterface, "listInterfaces", fail)
    state = HostState()
    index = state.indexOf("eth0")
    assert state.isRunning(index)
    assert not state.isRunning(99)
    assert not state.hasJoined(index, parseAddress("239.9.9.9"))


@pytest.mark.skipif(sys.platform != "linux", reason="numbers of descriptors as Linux gives them")
def test_withoutADescriptorAnInterfaceIsTakenToRun(link: Namespace) -> None:
    """That none is left says nothing about the carrier, and is no reason to join anew."""
    state = HostState()
    index = state.indexOf("eth0")
    with descriptorsLeft(0):
        assert state.isRunning(index)
    link.run("ip", "link", "set", "eth0", "down")
    assert not state.isRunning(index)
