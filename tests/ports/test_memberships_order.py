"""Memberships of one socket in any order of calls, as the kernel has them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from txgroupsock.ports.memberships import Memberships
from txgroupsock.primitives import MembershipError, SourceFilter, getSourceFilter

pytestmark = pytest.mark.lan  # groups are joined on the loopback of a private network

GROUPS = ["239.1.2.3", "232.1.2.3"]
SOURCES = ["127.0.0.1", "127.0.0.2"]
groups, sources = st.sampled_from(GROUPS), st.sampled_from(SOURCES)


class MembershipsInAnyOrder(RuleBasedStateMachine):
    """
    A group is heard from any source but some, or from some; never both (RFC 3678).

    @ivar heard: of each group that is joined, whether it is from chosen sources, and which are
        chosen or blocked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.memberships = Memberships(self.socket, "lo")
        self.heard: dict[str, tuple[bool, frozenset[str]]] = {}

    def teardown(self) -> None:
        self.socket.close()

    def does(self, group: str, wanted: Any, call: Callable[[], object]) -> None:
        """A call changes what is heard of a group; or, where nothing is wanted, is refused."""
        if wanted is None:
            with pytest.raises(MembershipError):
                call()
            return
        call()
        isChosen, who = wanted
        if isChosen and not who:
            del self.heard[group]
        else:
            self.heard[group] = wanted

    @rule(group=groups)
    def join(self, group: str) -> None:
        wanted: Any = (False, frozenset()) if group not in self.heard else None
        self.does(group, wanted, lambda: self.memberships.join(group))

    @rule(group=groups)
    def leave(self, group: str) -> None:
        wanted: Any = (True, frozenset()) if group in self.heard else None
        self.does(group, wanted, lambda: self.memberships.leave(group))

    @rule(group=groups, source=sources)
    def joinSource(self, group: str, source: str) -> None:
        isChosen, who = self.heard.get(group, (True, frozenset()))
        wanted = (True, who | {source}) if isChosen and source not in who else None
        self.does(group, wanted, lambda: self.memberships.joinSource(group, source))

    @rule(group=groups, source=sources)
    def leaveSource(self, group: str, source: str) -> None:
        isChosen, who = self.heard.get(group, (True, frozenset()))
        wanted = (True, who - {source}) if isChosen and source in who else None
        self.does(group, wanted, lambda: self.memberships.leaveSource(group, source))

    @rule(group=groups, source=sources)
    def block(self, group: str, source: str) -> None:
        isChosen, who = self.heard.get(group, (True, frozenset()))
        wanted = None if isChosen or source in who else (False, who | {source})
        self.does(group, wanted, lambda: self.memberships.block(group, source))

    @rule(group=groups, source=sources)
    def unblock(self, group: str, source: str) -> None:
        isChosen, who = self.heard.get(group, (True, frozenset()))
        wanted = None if isChosen or source not in who else (False, who - {source})
        self.does(group, wanted, lambda: self.memberships.unblock(group, source))

    @invariant()
    def theListIsTheKernels(self) -> None:
        listed = {(str(each.group), each.source and str(each.source)) for each in self.memberships}
        expected: set[tuple[str, str | None]] = set()
        for group, (isChosen, who) in self.heard.items():
            held = getSourceFilter(self.socket, group, "lo")
            assert held == SourceFilter(isChosen, frozenset(map(ip_address, who)))
            expected |= {(group, each) for each in who} if isChosen else {(group, None)}
        assert listed == expected
        for group in set(GROUPS) - self.heard.keys():
            with pytest.raises(MembershipError):
                getSourceFilter(self.socket, group, "lo")


TestMembershipsInAnyOrder = MembershipsInAnyOrder.TestCase
TestMembershipsInAnyOrder.settings = settings(
    max_examples=50, stateful_step_count=20, deadline=None
)
