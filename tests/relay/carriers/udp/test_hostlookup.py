"""What a host name stands for, with a resolver that answers when the test says so."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred

from tests.relay.resolver import ResolvingClock
from tests.relay.support import SECONDS, loggedLines
from txgroupsock.primitives import IPAddress, parseAddress
from txgroupsock.relay.carriers.udp.hostlookup import HostLookup

NAME = "stream.example"


class Asker:
    """A lookup, its clock, and what it told."""

    def __init__(self, host: str = NAME, family: int | None = None) -> None:
        self.clock = ResolvingClock()
        self.told: list[str] = []
        self.lookup = HostLookup(
            self.clock, host, family, lambda address: self.told.append(str(address))
        )

    def answer(self, *addresses: str) -> None:
        """Answer the latest question."""
        self.clock.questions[-1].answer(*addresses)

    def again(self, *addresses: str) -> None:
        """Let the interval pass, and answer the question that is asked then."""
        before = len(self.clock.questions)
        self.clock.advance(HostLookup.interval)
        assert len(self.clock.questions) == before + 1
        self.answer(*addresses)


@pytest.fixture
def asker() -> Iterator[Asker]:
    """A lookup that has asked its first question."""
    asker = Asker()
    asker.lookup.start()
    yield asker
    asker.lookup.stop()
    assert asker.clock.getDelayedCalls() == []


def test_theFirstAnswerIsTold(asker: Asker) -> None:
    """Nothing is known until the answer comes; then its first address is told, once."""
    assert asker.lookup.address is None
    assert asker.told == []
    asker.answer("10.0.0.1", "10.0.0.2")
    assert asker.told == ["10.0.0.1"]
    assert asker.lookup.address == parseAddress("10.0.0.1")


def test_itAsksForDatagrams(asker: Asker) -> None:
    """The question is about UDP and the name, as it was given."""
    question = asker.clock.questions[0]
    assert (question.host, question.semantics, question.types) == (NAME, "UDP", None)


def test_itIsAskedAgainAfterTheInterval(asker: Asker) -> None:
    """After a good answer the next question comes an interval later, not sooner."""
    asker.answer("10.0.0.1")
    asker.clock.advance(HostLookup.interval - 0.1)
    assert len(asker.clock.questions) == 1
    asker.clock.advance(0.1)
    assert len(asker.clock.questions) == 2


def test_anotherAddressIsTold(asker: Asker) -> None:
    """When the present address is not among the answers the first of them takes its place."""
    asker.answer("10.0.0.1")
    asker.again("fd00::2", "10.0.0.3")
    assert asker.told == ["10.0.0.1", "fd00::2"]


@pytest.mark.parametrize(
    "answers", [["10.0.0.1"], ["10.0.0.2", "10.0.0.1"], ["10.0.0.3", "10.0.0.2", "10.0.0.1"]]
)
def test_aNameServedInTurnsStays(asker: Asker, answers: list[str]) -> None:
    """As long as the present address is among the answers, in any place, nothing is told."""
    asker.answer("10.0.0.1", "10.0.0.2")
    asker.again(*answers)
    assert asker.told == ["10.0.0.1"]


def test_theOthersAreTriedInTheirOrder(asker: Asker) -> None:
    """Each once, while the present one fails; then it begins with that which had been good."""
    lookup = asker.lookup
    assert not lookup.instead("EPERM")
    asker.answer("fd00::1", "fd00::2", "10.0.0.1")
    tried = [(lookup.instead("ENETUNREACH"), str(lookup.address)) for _ in range(4)]
    assert tried == [(True, "fd00::2"), (True, "10.0.0.1"), (False, "fd00::1"), (True, "fd00::2")]
    said = f"{NAME} is taken to be fd00::2, since fd00::1, which it is too, fails (ENETUNREACH)"
    assert lookup.note == said
    lookup.worked()
    tried = [(lookup.instead("EACCES"), str(lookup.address)) for _ in range(3)]
    assert tried == [(True, "fd00::1"), (True, "10.0.0.1"), (False, "fd00::2")]
    assert lookup.note == ""
    assert asker.told == ["fd00::1"]


def test_anotherThatIsGoodStaysUntilTheNameHasItNoMore(asker: Asker) -> None:
    """What has taken over is as good as the first, and is followed as that is."""
    asker.answer("fd00::1", "10.0.0.1")
    assert asker.lookup.instead("ENETUNREACH")
    asker.again("fd00::1", "10.0.0.1", "10.0.0.2")
    assert str(asker.lookup.address) == "10.0.0.1"
    asker.again("fd00::1")
    assert str(asker.lookup.address) == "fd00::1"
    assert asker.lookup.note == ""
    assert asker.told == ["fd00::1", "fd00::1"]


def test_onlySoManyAreTried(asker: Asker) -> None:
    """A name server that sends a thousand does not have a thousand sockets opened."""
    asker.answer(*(f"10.0.1.{number}" for number in range(200)))
    assert [asker.lookup.instead("EPERM") for _ in range(16)] == [True] * 15 + [False]


def test_aFailureKeepsTheLastGoodAddress(asker: Asker) -> None:
    """A name that is no longer found changes nothing, also when it is found again as it was."""
    asker.answer("10.0.0.1")
    asker.again()
    assert asker.lookup.address == parseAddress("10.0.0.1")
    asker.clock.advance(HostLookup.firstRetry)
    asker.answer("10.0.0.1")
    assert asker.told == ["10.0.0.1"]


def test_retriesComeLessAndLessOften(asker: Asker) -> None:
    """A name that is not found is asked for after 1, 2, 4... seconds, at most the interval."""
    waits = [1, 2, 4, 8, 16, 32, 60, 60]
    for seconds in waits:
        count = len(asker.clock.questions)
        asker.answer()
        asker.clock.advance(seconds - 0.01)
        assert len(asker.clock.questions) == count
        asker.clock.advance(0.01)
        assert len(asker.clock.questions) == count + 1
    asker.answer("10.0.0.1")
    asker.again()
    asker.clock.advance(1)
    assert len(asker.clock.questions) == len(waits) + 3  # a good answer began it anew


def test_anAnswerAfterStopIsNotTold(asker: Asker) -> None:
    """Stopped while a question is under way, it neither tells the answer nor asks again."""
    asker.lookup.stop()
    asker.lookup.stop()
    asker.answer("10.0.0.1")
    asker.clock.advance(1000)
    assert asker.told == []
    assert len(asker.clock.questions) == 1


def test_aQuestionWithoutAnAnswerIsAskedAgain(asker: Asker) -> None:
    """A resolver that never comes back does not end it, and what it says too late is no news."""
    late = asker.clock.questions[0]
    asker.clock.advance(HostLookup.interval)
    asker.clock.advance(HostLookup.firstRetry)
    assert len(asker.clock.questions) == 2
    late.answer("10.0.0.9")
    assert asker.told == []
    asker.answer("10.0.0.1")
    late.answer("10.0.0.9")
    assert asker.told == ["10.0.0.1"]
    assert len(asker.clock.getDelayedCalls()) == 1


def test_aQuestionThatIsAskedAgainKeepsItsTurn(asker: Asker) -> None:
    """The earlier one goes only when the next is there, and the last one with the lookup."""
    asker.clock.advance(HostLookup.interval)
    asker.clock.advance(HostLookup.firstRetry)
    assert asker.clock.order == ["ask", "ask", "cancel"]
    asker.lookup.stop()
    asker.lookup.stop()
    assert asker.clock.order == ["ask", "ask", "cancel", "cancel"]


@pytest.mark.parametrize(
    ("family", "kind"), [(socket.AF_INET, IPv4Address), (socket.AF_INET6, IPv6Address)]
)
def test_oneFamilyIsAskedFor(family: int, kind: Any) -> None:
    """Where only one family will do only that is asked for."""
    asker = Asker(family=family)
    asker.lookup.start()
    assert asker.clock.questions[0].types == frozenset([kind])
    asker.lookup.stop()


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", "." + NAME])
def test_aNameThatCannotBeIsNotFound(host: str) -> None:
    """A name with a label that is empty or too long is said and tried again like any other."""
    asker = Asker(host)
    with loggedLines() as lines:
        asker.lookup.start()
        asker.clock.advance(100)
    assert len(lines) == 1
    assert lines[0].startswith(f"cannot find the address of {host}: ")
    assert asker.clock.questions == []
    assert len(asker.clock.getDelayedCalls()) == 1
    asker.lookup.stop()


def test_aNameInAnyScriptIsAskedFor() -> None:
    """A name that is not ASCII is as good as another."""
    asker = Asker("bücher.example")
    asker.lookup.start()
    assert asker.clock.questions[0].host == "bücher.example"
    asker.lookup.stop()


def test_whatHappensIsSaidOnce(asker: Asker) -> None:
    """One line when it is not found, one when it is, one when it changes; none in between."""
    with loggedLines() as lines:
        asker.answer()
        asker.clock.advance(1)
        asker.answer()
        asker.clock.advance(2)
        asker.answer("10.0.0.1")
        asker.again("10.0.0.1")
        asker.again("10.0.0.2")
        asker.again()
    remedy = "check the name and this host's DNS, or give an address"
    asked = "and it is asked again"
    assert lines == [
        f"cannot find the address of {NAME}: {remedy}; nothing is sent there yet, {asked}",
        f"{NAME} is 10.0.0.1",
        f"{NAME} is 10.0.0.2 now, and was 10.0.0.1",
        f"cannot find the address of {NAME}: {remedy}; going on with 10.0.0.2, {asked}",
    ]


@pytest_twisted.ensureDeferred
async def test_theRealResolverKnowsLocalhost(reactor: Any) -> None:
    """On the real reactor localhost is this host, by the system's resolver."""
    found: Deferred[IPAddress] = Deferred()
    lookup = HostLookup(reactor, "localhost", None, found.callback)
    lookup.start()
    address = await found.addTimeout(SECONDS, reactor)
    assert address.is_loopback
    lookup.stop()


@pytest_twisted.ensureDeferred
async def test_theRealResolverDoesNotKnowEveryName(reactor: Any) -> None:
    """On the real reactor a name that does not exist is not found, which is said."""
    missing: Deferred[str] = Deferred()
    lookup = HostLookup(reactor, "no-such-host.invalid", None, lambda _: None)
    with loggedLines(missing.callback):
        lookup.start()
        line = await missing.addTimeout(SECONDS, reactor)
    assert line.startswith("cannot find the address of no-such-host.invalid: ")
    lookup.stop()
