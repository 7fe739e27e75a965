"""What is known of this host while it is examined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from attrs import define, field

from txgroupsock.primitives.hoststate import HostState
from txgroupsock.primitives.sockaddr import IPAddress
from txgroupsock.relay.doctor import netlink
from txgroupsock.relay.doctor.firewall import Rules, readRules
from txgroupsock.relay.doctor.kernel import Kernel, Program, UDPSocket
from txgroupsock.relay.doctor.netlink import Link


@define(slots=False)
class Host:
    """
    This host.

    @ivar seconds: how long is listened to each stream.
    @ivar isStopped: asked ten times a second whether to end at once.
    @ivar isCommand: whether this is a process of the doctor's own.  Then it may run other programs
        and ask them, which a service should not, and the sockets of this process do not count.
    """

    seconds: float = 2.0
    isStopped: Callable[[], bool] = lambda: False
    isCommand: bool = True
    kernel: Kernel = field(factory=Kernel)
    state: HostState = field(factory=HostState)

    @cached_property
    def links(self) -> Mapping[int, Link]:
        """Every interface by its index."""
        found = netlink.links()
        if found is not None:
            return found
        interfaces = self.state.interfaces.values()
        return {
            each.index: Link(each.index, each.name, each.flags, 0, hasCarrier=each.isRunning)
            for each in interfaces
        }

    @cached_property
    def addresses(self) -> frozenset[IPAddress]:
        """Every address of this host."""
        interfaces = self.state.interfaces.values()
        return frozenset(address for each in interfaces for address in each.addresses)

    @cached_property
    def owners(self) -> Mapping[int, Program]:
        """Who has each UDP socket, by its inode, as far as this user may see."""
        found = [each for version in (4, 6) for each in self.kernel.sockets(version) or ()]
        return self.kernel.ownersOf({each.inode for each in found})

    @cached_property
    def rules(self) -> Rules:
        """Those of its firewall."""
        if not self.isCommand:
            return Rules(unread=("the firewall is read by --doctor on the command line only",))
        return readRules()

    def socketsOf(self, address: IPAddress, port: int) -> list[UDPSocket]:
        """The UDP sockets of this host that what is sent to an address and port may be for."""
        found = [each for version in (4, 6) for each in self.kernel.sockets(version) or ()]
        ours = self.kernel.ownSockets() if self.isCommand else set()
        return [
            each
            for each in found
            if each.port == port and each.has(address) and not each.isConnected
            if each.inode not in ours
        ]

    def nameOf(self, index: int) -> str:
        """The name of an interface."""
        found = self.links.get(index)
        return f"interface {index}" if found is None else found.name
