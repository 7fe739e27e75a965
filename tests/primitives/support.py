"""What the tests of the primitives share."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from txgroupsock.testing.namespaces import Namespace

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
LEVEL = {socket.AF_INET: socket.IPPROTO_IP, socket.AF_INET6: socket.IPPROTO_IPV6}
GROUP = {socket.AF_INET: "239.1.2.3", socket.AF_INET6: "ff3e::8000:1"}
OTHER_GROUP = {socket.AF_INET: "239.1.2.4", socket.AF_INET6: "ff3e::8000:2"}
OTHER_FAMILY = {socket.AF_INET: socket.AF_INET6, socket.AF_INET6: socket.AF_INET}


def source(family: socket.AddressFamily, number: int) -> str:
    """The address of some host on the link of the C{link} fixture."""
    return f"10.0.0.{number}" if family == socket.AF_INET else f"fd00::{number:x}"


def limitOptionMemory(network: Namespace, least: int) -> None:
    """Set how much memory the options of a socket may take, or skip the test."""
    try:
        network.sysctl("net.core.optmem_max", least)
    except OSError as error:
        pytest.skip(f"this kernel has no optmem_max of each namespace's own: {error}")


def descriptors() -> set[tuple[str, str]]:
    """Every open descriptor of this process, with what it leads to."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
        except FileNotFoundError:  # the one that read the folder
            continue
    return found


@contextmanager
def noMoreDescriptors() -> Iterator[None]:
    """This process can open no further descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
