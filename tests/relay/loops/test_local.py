"""Loops within the process, found from which inputs hear which outputs."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.relay.support import loggedLines
from txgroupsock.primitives.run import Run
from txgroupsock.relay.loops.local import Feedback

Routes = dict[str, list[str]]


def address(output: str) -> tuple[str, int]:
    """What an output sends from."""
    return (f"10.0.0.{output}", 5000)


def opened(routes: Routes) -> Feedback:
    """The outputs of some routes, by the input that feeds them."""
    feedback = Feedback()
    for node, outputs in routes.items():
        for output in outputs:
            feedback.outputOpened(output, node, [address(output)])
    return feedback


def heard(output: str, now: float = 0.0) -> Run:
    """A run that an output has sent."""
    return Run(memoryview(b"x"), 1, address(output), now)


def test_aForeignSenderIsNoLoop() -> None:
    """What no output of ours has sent is no loop."""
    assert not opened({"a": ["1"]}).isLoop("a", heard("9"))


def test_anInputThatHearsItsOwnOutputIsALoop() -> None:
    """An input drops what its own outputs have sent; the log says so once."""
    feedback = opened({"a": ["1", "2"]})
    with loggedLines() as lines:
        assert all(feedback.isLoop("a", heard("1")) for _ in range(3))
    assert len(lines) == 1
    assert lines[0].startswith("loop: a hears 1, which sends what a receives")


def test_aChainIsNoLoop() -> None:
    """G1 to G2, and G2 to G3, in one process: the second route relays what the first sends."""
    feedback = opened({"a": ["1"], "b": ["2"], "c": ["3"]})
    with loggedLines() as lines:
        for _ in range(3):
            assert not feedback.isLoop("b", heard("1"))
            assert not feedback.isLoop("c", heard("2"))
    assert not lines


def test_theLastPathOfARingIsALoop() -> None:
    """G1 to G2 to G3 to G1: whichever path is learned last is a loop, and the others are not."""
    feedback = opened({"a": ["1"], "b": ["2"], "c": ["3"]})
    for _ in range(2):
        assert not feedback.isLoop("b", heard("1"))
        assert not feedback.isLoop("c", heard("2"))
        assert feedback.isLoop("a", heard("3"))


def test_beingToldAgainForgetsNothing() -> None:
    """An output that is opened anew where it was, as one that is tried again, changes nothing."""
    feedback = opened({"a": ["1"], "b": ["2"], "c": ["3"]})
    for output, node in (("1", "b"), ("2", "c"), ("3", "a")):
        feedback.isLoop(node, heard(output))
    feedback.outputOpened("2", "b", [address("2")])
    assert feedback.isLoop("a", heard("3"))


def test_anOutputThatMovesLeavesItsAddress() -> None:
    """Where an output has gone from it is no longer known; where it is now it is."""
    feedback = opened({"a": ["1"]})
    feedback.outputOpened("1", "a", [address("7")])
    assert not feedback.isLoop("a", heard("1"))
    assert feedback.isLoop("a", heard("7"))


def test_aBridgeInBothDirectionsRelaysBoth() -> None:
    """G1 to G2, and G2 to G1: once both have been heard, each leaves the other's alone."""
    feedback = opened({"a": ["1"], "b": ["2"]})
    assert not feedback.isLoop("b", heard("1"))  # could be a chain, as yet
    assert feedback.isLoop("a", heard("2"))
    assert feedback.isLoop("b", heard("1"))


def test_aBridgeThatIsPlannedRelaysNothingTwice() -> None:
    """Where it is known beforehand who hears whom, each half of a bridge leaves the other's alone
    from the first datagram.
    """
    feedback = Feedback(lambda node, output: (node, output) in {("a", "2"), ("b", "1")})
    feedback.outputOpened("1", "a", [address("1")])
    feedback.outputOpened("2", "b", [address("2")])
    with loggedLines() as lines:
        assert feedback.isLoop("b", heard("1"))
        assert feedback.isLoop("a", heard("2"))
    assert lines[0] == (
        "bridge: b hears what 1, the other half, sends; it does not send that back, and counts it "
        "as loop"
    )
    assert len(lines) == 2


@pytest.mark.parametrize("first", ["a", "b"])
def test_aBridgeWithAFurtherOutputIsOneToo(first: str) -> None:
    """G1 to G2, and G2 to G1 and G3: once both have been heard, each leaves the other's alone, or
    what is in G1 would come back to it; what is to be in G3 too, the first route has to send there.
    """
    feedback = opened({"a": ["1"], "b": ["2", "3"]})
    for node, output in [("a", "2"), ("b", "1")] if first == "a" else [("b", "1"), ("a", "2")]:
        feedback.isLoop(node, heard(output))
    assert feedback.isLoop("b", heard("1"))
    assert feedback.isLoop("a", heard("2"))


def test_anyAddressOfAnOutputIsKnown() -> None:
    """An output may send from several addresses, such as link-local ones."""
    feedback = Feedback()
    addresses = [("10.0.0.1", 5000), ("fe80::1%eth0", 5000)]
    feedback.outputOpened("1", "a", addresses)
    for each in addresses:
        assert feedback.isLoop("a", Run(memoryview(b""), 0, each, 0.0))


def test_aClosedOutputIsForeign() -> None:
    """When an output is closed, whoever has its address then is a sender like any other."""
    feedback = opened({"a": ["1"]})
    assert feedback.isLoop("a", heard("1"))
    feedback.outputClosed("1")
    feedback.outputClosed("1")
    assert not feedback.isLoop("a", heard("1"))
    assert not feedback._outputs
    assert not feedback._feeders
    assert not feedback._paths


def test_aChangeOfOutputsIsLearned() -> None:
    """When the route that closed the ring is gone, the rest of it is a chain."""
    feedback = opened({"a": ["1"], "b": ["2"]})
    feedback.isLoop("a", heard("2"))
    assert feedback.isLoop("b", heard("1"))
    feedback.outputClosed("2")
    feedback.outputOpened("4", "b", [address("4")])
    assert not feedback.isLoop("b", heard("1"))


def test_aPathThatIsNotSeenAnyMoreIsForgotten() -> None:
    """A single datagram with a forged address stops a chain for no longer than a minute or two."""
    feedback = opened({"a": ["1"], "b": ["2"]})
    assert not feedback.isLoop("b", heard("1", 0.0))
    feedback.isLoop("a", heard("2", 1.0))  # forged: nothing leads there
    answers = [feedback.isLoop("b", heard("1", float(second))) for second in range(2, 300)]
    assert answers[0]
    assert answers.index(False) <= 2 * Feedback.memory
    assert not any(answers[answers.index(False) :])


@given(
    routes=st.dictionaries(
        st.sampled_from("abcd"), st.lists(st.sampled_from("abcd"), min_size=1, max_size=3)
    ),
    sent=st.lists(st.sampled_from("abcd"), min_size=1, max_size=12),
)
def test_nothingGoesRoundForEver(routes: Routes, sent: list[str]) -> None:
    """Whatever the routes and wherever it enters, a datagram comes to an end, and each input
    relays all that foreign senders send to it.
    """
    # Node "a" hears the group "a"; its outputs send to groups.
    outputs = {
        f"{node}{index}": group for node in routes for index, group in enumerate(routes[node])
    }
    feedback = opened({node: [each for each in outputs if each[0] == node] for node in routes})
    for entry in sent:
        relayed: Counter[str] = Counter()
        pending = [(entry, "0")]
        while pending:
            group, sender = pending.pop()
            if group in routes and not feedback.isLoop(group, heard(sender)):
                relayed[group] += 1
                pending += [(outputs[each], each) for each in outputs if each[0] == group]
            assert relayed.total() < 1000
        assert relayed[entry] or entry not in routes


def test_anOutputOfSeveralInputsLeadsFromEach() -> None:
    """What is made of two inputs, and comes back to either by way of another route, is a loop."""
    for heardBy in ("a", "b"):
        feedback = opened({"c": ["2"]})
        feedback.outputOpened("1", "a", [address("1")], others=["b"])
        with loggedLines() as lines:
            assert not feedback.isLoop("c", heard("1"))
            assert feedback.isLoop(heardBy, heard("2"))
            assert feedback.isLoop(heardBy, heard("1"))
        assert any("which sends what a or b receives" in line for line in lines)
