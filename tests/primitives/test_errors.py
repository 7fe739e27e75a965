from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from txgroupsock.primitives import (
    AddressError,
    GroupsockError,
    MembershipError,
    NotSupportedHere,
    PeerClosed,
    SocketOptionError,
    SocketSetupError,
    TransferError,
    UnknownInterface,
)
from txgroupsock.primitives.constants import required
from txgroupsock.primitives.errors import bindAdvice, readSysctl, sendAdvice, sysctlAdvice
from txgroupsock.testing.namespaces import Namespace

ALL = [
    AddressError,
    NotSupportedHere,
    PeerClosed,
    SocketOptionError,
    SocketSetupError,
    TransferError,
    UnknownInterface,
]


@pytest.mark.parametrize("kind", ALL)
def test_anErrorSaysWhatWhyAndWhatToDo(kind: type[GroupsockError]) -> None:
    """The message is: cannot (operation): (reason); (advice)."""
    error = kind(errno.EPERM, "do it", "ask root")
    assert str(error) == f"cannot do it: {os.strerror(errno.EPERM)}; ask root"
    assert error.errno == errno.EPERM
    assert error.operation == "do it"
    assert error.advice == "ask root"
    assert isinstance(error, OSError)


def test_eachPartOfTheMessageMayBeMissing() -> None:
    """No errno, no advice, or a reason of its own."""
    assert str(GroupsockError(None, "do it")) == "cannot do it"
    assert str(GroupsockError(None, "do it", "wait")) == "cannot do it; wait"
    assert (
        str(GroupsockError(errno.EINVAL, "do it", reason="it is odd")) == "cannot do it: it is odd"
    )
    assert GroupsockError(None, "do it").errno is None


def test_whatPythonCallsSuchErrorsTheyAreToo() -> None:
    """Callers may catch Python's own classes."""
    assert issubclass(AddressError, ValueError)
    assert issubclass(UnknownInterface, LookupError)
    assert issubclass(PeerClosed, TransferError)
    assert issubclass(MembershipError, GroupsockError)


def test_aConstantThatIsMissingIsNamed() -> None:
    """Where a system lacks an option, the error says which; where it has it, there is none."""
    assert required(0, "ZERO") == 0
    with pytest.raises(NotSupportedHere) as caught:
        required(None, "MCAST_MSFILTER")
    assert caught.value.errno == errno.EOPNOTSUPP
    assert str(caught.value).startswith("cannot use MCAST_MSFILTER: ")


def test_aSysctlIsReadFromTheKernel() -> None:
    """Its present value, or None where there is no such number."""
    path = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    assert readSysctl("net.ipv4.ip_unprivileged_port_start") == int(path.read_text())
    assert readSysctl("net.ipv4.no_such_limit") is None
    assert readSysctl("net.ipv4.ping_group_range") is None  # two numbers


@pytest.mark.lan
def test_sysctlAdviceGivesThePresentValue(namespace: Namespace) -> None:
    """That of the network namespace that the caller is in."""
    namespace.sysctl("net.ipv4.igmp_max_memberships", 7)
    assert sysctlAdvice("net.ipv4.igmp_max_memberships") == (
        "raise net.ipv4.igmp_max_memberships (now 7) with 'sysctl -w'"
    )


def test_sysctlAdviceAdmitsThatItCannotSeeAValue() -> None:
    """As in containers, which some limits are hidden from."""
    assert sysctlAdvice("net.ipv4.nope") == (
        "raise net.ipv4.nope (not visible in this network namespace) with 'sysctl -w'"
    )


def test_everyCommonSendErrorHasItsOwnAdvice() -> None:
    """No two of them get the same, and an unknown one gets none."""
    numbers = [
        errno.EAGAIN,
        errno.EACCES,
        errno.ECONNREFUSED,
        errno.EPERM,
        errno.EMSGSIZE,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENOBUFS,
        errno.ENODEV,
        errno.EADDRNOTAVAIL,
    ]
    advice = [sendAdvice(number) for number in numbers]
    assert all(advice)
    assert len(set(advice)) == len(numbers)
    assert sendAdvice(errno.EBADF) == sendAdvice(None) == ""


def test_bindAdviceFitsTheErrno() -> None:
    """How to find who has the port, which ports need root, and what addresses there are."""
    assert "'ss -lntup sport = :5004'" in bindAdvice(errno.EADDRINUSE, 5004)
    start = readSysctl("net.ipv4.ip_unprivileged_port_start")
    assert f"ports below {start} need root or CAP_NET_BIND_SERVICE" in bindAdvice(errno.EACCES, 80)
    assert "'ip address' lists them" in bindAdvice(errno.EADDRNOTAVAIL, 0)
    assert "'fe80::1%eth0'" in bindAdvice(errno.EINVAL, 0)
    assert bindAdvice(errno.EBADF, 0) == bindAdvice(None, 0) == ""
