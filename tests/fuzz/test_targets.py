"""Every target holds what it states for its beginnings, changes of these, and anything."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import changed
from tests.fuzz.targets import TARGETS

names = pytest.mark.parametrize("name", TARGETS)


@names
def test_itHoldsForWhatIsNearlyRight(name: str) -> None:
    """Its beginnings hold, and so do changes of them."""
    target, beginnings = TARGETS[name]
    random = Random(1)
    for beginning in beginnings:
        target(beginning)
        for _ in range(20):
            target(changed(beginning, random))


@names
def test_itHoldsForAnything(name: str) -> None:
    """Any bytes will do."""
    target, _ = TARGETS[name]

    @settings(max_examples=25, deadline=None)
    @given(st.binary(max_size=400))
    def holds(data: bytes) -> None:
        target(data)

    holds()
