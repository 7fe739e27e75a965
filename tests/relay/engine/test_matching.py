"""Which route goes on as which."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.relay.engine.matching import Likeness, matches

ROUTES = st.lists(
    st.builds(
        Likeness,
        st.integers(1, 3),
        st.frozensets(st.integers(1, 2), max_size=1),
        st.sampled_from("abc"),
    ),
    max_size=8,
)


def only(routes: Sequence[Likeness], indices: Sequence[int]) -> list[Likeness]:
    """Some of the routes."""
    return [routes[index] for index in indices]


def test_likenessGoesBeforeNameAndNameBeforeInput() -> None:
    """A route goes on as one with the same input and outputs, else with its name, else with its
    input; what is left is new.
    """
    to, other = frozenset("x"), frozenset("y")
    there = [Likeness(1, to, "a"), Likeness(2, to, "b"), Likeness(3, to, "c")]
    wanted = [
        Likeness(3, other, "d"),
        Likeness(1, to, "b"),
        Likeness(4, other, "e"),
        Likeness(2, other, "a"),
    ]
    assert matches(there, wanted) == [2, 0, None, 1]


@given(ROUTES, ROUTES)
def test_eachGoesOnOnce(there: list[Likeness], wanted: list[Likeness]) -> None:
    """No route goes on as two, and one that is wanted as it is goes on."""
    found = matches(there, wanted)
    goingOn = [each for each in found if each is not None]
    assert len(set(goingOn)) == len(goingOn)
    assert matches(there, there) == list(range(len(there))) or len(set(there)) < len(there)


@given(ROUTES, ROUTES, st.lists(st.integers(0, 2), min_size=16, max_size=16))
def test_sharesMatchAlone(there: list[Likeness], wanted: list[Likeness], shares: list[int]) -> None:
    """Where routes are shared out, and what goes on as another is in the same share, a share alone
    has the matches that all of them together have.
    """
    found = matches(there, wanted)
    before, after = shares[: len(there)], shares[8 : 8 + len(wanted)]
    after = [
        share if index is None else before[index] for index, share in zip(found, after, strict=True)
    ]
    for share in range(3):
        mine = [index for index, each in enumerate(before) if each == share]
        its = [index for index, each in enumerate(after) if each == share]
        alone = matches(only(there, mine), only(wanted, its))
        assert [None if each is None else mine[each] for each in alone] == only(found, its)  # type: ignore[arg-type]
