"""What an input has joined, kept as it is wanted while interfaces and routes come and go."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from txgroupsock.ports.memberships import Memberships
from txgroupsock.primitives import (
    GroupsockError,
    MembershipError,
    NotSupportedHere,
    UnknownInterface,
    memberInterface,
    refreshMembership,
    rejoin,
    socketJoinGroup,
    socketJoinGroupSSM,
)
from txgroupsock.primitives.hoststate import HostState
from txgroupsock.primitives.networkinterface import interfaceName
from txgroupsock.relay.models.udp import InputModel


class StandingMembership:
    """
    The membership of one socket in the group of an input, from its sources or from any.

    @ivar index: of the interface where it is joined; 0 if it is not, or the kernel does not tell.
    @ivar isJoined: whether it is, as far as is known.
    @ivar joins: how often it has been joined.
    @ivar problem: what is not as it should be though it is joined, in words, or C{""}.
    """

    def __init__(self, model: InputModel, memberships: Memberships) -> None:
        self.index = 0
        self.isJoined = False
        self.joins = 0
        self.problem = ""
        self._model = model
        self._memberships = memberships
        self._isRunning = False

    def join(self, state: HostState) -> None:
        """
        Join where the model says, which may be where the routes lead.

        @raise GroupsockError: it could not; nothing is joined.
        """
        model, memberships = self._model, self._memberships
        where = state.indexOf(model.interface)
        try:
            for source in model.sources:
                memberships.joinSource(model.address, source, where)
            if not model.sources:
                memberships.join(model.address, where)
        except GroupsockError:
            partly = where or memberInterface(memberships.socket, model.address)
            memberships.forget(model.address, partly, recorded=where)
            raise
        self.index = where or memberInterface(memberships.socket, model.address)
        self._isRunning = state.isRunning(self.index)
        self.isJoined = True
        self.joins += 1

    def check(self, state: HostState) -> bool:
        """
        Join anew what has been lost or belongs elsewhere now; what is right is not touched.

        @return: whether the carrier has come back, so that switches may have forgotten.
        @raise GroupsockError: it is not joined now, and this is why.
        """
        if self.isJoined and not self._isIntact(state):
            self._forget()
        if not self.isJoined:
            self.join(state)
            self.problem = ""
            return False
        self._follow(state)
        was, self._isRunning = self._isRunning, state.isRunning(self.index)
        return self._isRunning and not was

    def refresh(self, senders: Iterable[str], state: HostState, *, mayLose: bool) -> bool:
        """
        Report it again, so that nothing is lost that C{senders} send.

        Under IGMPv2 that takes leaving and joining, which is done only if it may lose what comes
        meanwhile; so it is then for IPv6, since the kernel does not tell whether it has to speak
        MLDv1.

        @return: whether anything has been done.
        @raise GroupsockError: it was refused, and nothing is joined now.
        """
        address, sock = self._model.address, self._memberships.socket
        isOld = address.version == 4 and state.igmpVersion(self.index) in (1, 2)
        if isOld and not mayLose:
            return False
        try:
            if isOld or (mayLose and address.version == 6):
                rejoin(sock, address, self.index)
            else:
                refreshMembership(sock, address, self.index, senders)
        except NotSupportedHere:
            return False
        except GroupsockError:
            self._forget()
            raise
        return True

    def _isIntact(self, state: HostState) -> bool:
        # An interface that was made anew may have the same index, and the socket's entry for the
        # old one is no membership.
        return not self.index or state.hasJoined(self.index, self._model.address)

    def _follow(self, state: HostState) -> None:
        """Go where the interface is now that was named, or where the routes lead now."""
        model, before = self._model, self.index
        try:
            where = state.indexOf(model.interface)
        except UnknownInterface as error:
            if not before:
                raise
            self.problem = (
                f"{error}.  It stays joined on {interfaceName(before)}, where it was joined before"
            )
            return
        self.problem = ""
        if not before:
            return
        if not where:
            if self._routed() not in (0, before):
                self._forget()
                self.join(state)
        elif where != before:
            self.isJoined, self.index = False, 0
            try:
                self.join(state)
            finally:
                self._memberships.forget(model.address, before)

    def _routed(self) -> int:
        """
        The index of the interface that the routes lead to now; 0 if there is none.

        Another socket joins just as this one did, so nothing is said of it unless that is
        elsewhere.
        """
        model, sock = self._model, self._memberships.socket
        if not isinstance(sock, socket.socket):  # one of txgroupsock.testing
            return 0
        with socket.socket(sock.family, socket.SOCK_DGRAM) as other:
            try:
                if model.sources:
                    socketJoinGroupSSM(other, model.address, model.sources[0])
                else:
                    socketJoinGroup(other, model.address)
            except MembershipError:
                return 0
            return memberInterface(other, model.address)

    def _forget(self) -> None:
        """Have the socket's entry go, too, which counts against its limit."""
        model = self._model
        recorded = self.index if model.interface else 0
        self._memberships.forget(model.address, self.index, recorded=recorded)
        self.isJoined, self.index = False, 0
