"""Three hosts in a row, as network namespaces: source, relay, destination."""

from __future__ import annotations

import shutil
import socket
import sys

from txgroupsock.testing.namespaces import Namespace

SOURCE, INPUT, OUTPUT, DESTINATION = "10.71.0.1", "10.71.0.2", "10.72.0.1", "10.72.0.2"
PORT_IN, PORT_OUT = 5001, 6001
# One address more each: a group for every channel or route.
GROUP_IN = "239.1.0.1"
GROUP_OUT = "239.2.0.1"
# All of these are the destination host's: as many unicast destinations as a row wants.
UNICAST_OUT = "10.77.0.1"
BUFFER = 4 * 1024 * 1024

_BUFFER_LIMITS = ("/proc/sys/net/core/rmem_max", "/proc/sys/net/core/wmem_max")


class Links:
    """
    The hosts and their links; nothing is connected to any other network.

    The namespaces have no names, so they are gone with the processes in them, however those end.
    """

    def __init__(self) -> None:
        self.source, self.relay, self.destination = Namespace(), Namespace(), Namespace()
        self._joined: list[socket.socket] = []
        self._limits: dict[str, str] = {}
        self._offload = True
        for namespace in (self.source, self.relay, self.destination):
            for variable in ("all", "default"):
                namespace.sysctl(f"net.ipv4.conf.{variable}.rp_filter", 0)
        self.relay.run(
            *("ip", "-batch", "-"),
            stdin=(
                f"link add in0 type veth peer name src0 netns {self.source.path}\n"
                f"link add out0 type veth peer name dst0 netns {self.destination.path}\n"
            ),
        )
        self._configure(self.source, "src0", SOURCE, "route add 224.0.0.0/4 dev src0")
        self._configure(self.relay, "in0", INPUT)
        self._configure(
            *(self.relay, "out0", OUTPUT, "route add 224.0.0.0/4 dev out0"),
            *("route add 239.1.0.0/16 dev in0", f"route add 10.77.0.0/16 via {DESTINATION}"),
        )
        self._configure(
            *(self.destination, "dst0", DESTINATION, "route add 224.0.0.0/4 dev dst0"),
            "route add local 10.77.0.0/16 dev lo",
        )

    @staticmethod
    def _configure(namespace: Namespace, interface: str, address: str, *commands: str) -> None:
        lines = ["link set lo up", f"addr add {address}/24 dev {interface}"]
        lines += [f"link set {interface} up", *commands, ""]
        namespace.run("ip", "-batch", "-", stdin="\n".join(lines))

    def raiseBufferLimits(self) -> str:
        """Let every relay have the buffer it asks for; what is missing from that, or nothing."""
        for path in _BUFFER_LIMITS:
            try:
                with open(path, encoding="ascii") as file:
                    limit = file.read().strip()
                if int(limit) >= BUFFER:
                    continue
                with open(path, "w", encoding="ascii") as file:
                    file.write(str(BUFFER))
                self._limits[path] = limit
            except OSError as error:
                return f"socket buffers are smaller than {BUFFER} bytes: {path}: {error.strerror}"
        return ""

    def offload(self, *, on: bool) -> None:
        """
        Have the links take trains (UDP_SEGMENT) whole, or as network cards without that do.

        @raise LookupError: there is no ethtool, which this takes.
        """
        if on == self._offload:
            return
        if shutil.which("ethtool") is None:
            raise LookupError("ethtool is not installed")
        for namespace, interface in ((self.relay, "out0"), (self.source, "src0")):
            namespace.run("ethtool", "-K", interface, "tx-udp-segmentation", "on" if on else "off")
        self._offload = on

    def joinInput(self) -> None:
        """Be a member of the input's first group, for a relay that cannot join."""
        with self.relay:
            member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._joined.append(member)
        request = socket.inet_aton(GROUP_IN) + socket.inet_aton(INPUT)
        member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)

    def leaveInput(self) -> None:
        """Be a member no more."""
        while self._joined:
            self._joined.pop().close()

    def groupsJoined(self) -> int:
        """How many groups of the input are joined on the relay's host."""
        # addresses stand there as hexadecimal numbers of the machine's own byte order
        prefix = socket.inet_aton(GROUP_IN)[:2]
        ours = 0
        for line in self.relay.readNet("igmp").splitlines():
            words = line.split()
            if line.startswith("\t\t") and words and len(words[0]) == 8:
                address = int(words[0], 16).to_bytes(4, sys.byteorder)
                ours += address[:2] == prefix
        return ours

    def close(self) -> None:
        """Put the limits back, and let go of the namespaces."""
        self.leaveInput()
        for path, limit in self._limits.items():
            with open(path, "w", encoding="ascii") as file:
                file.write(limit)
        self._limits.clear()
        for namespace in (self.source, self.relay, self.destination):
            namespace.close()


def following(address: str, number: int) -> str:
    """The address so many after this one."""
    value = int.from_bytes(socket.inet_aton(address), "big") + number
    return socket.inet_ntoa(value.to_bytes(4, "big"))
