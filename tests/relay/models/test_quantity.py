"""Numbers with a unit."""

from __future__ import annotations

import pytest

from txgroupsock.relay.models.quantity import SIZES, TIMES, Quantity

TIME = Quantity(TIMES, 0.001, 3600, "a time")
SIZE = Quantity(SIZES, 0, 2**30, "a size")


@pytest.mark.parametrize(
    ("quantity", "text", "number"),
    [
        (TIME, "5s", 5.0),
        (TIME, "1.5s", 1.5),
        (TIME, "50ms", 0.05),
        (TIME, "1000us", 0.001),
        (TIME, "60min", 3600.0),
        (SIZE, "0", 0.0),
        (SIZE, "512KiB", 524288.0),
        (SIZE, "1GiB", 2.0**30),
        (SIZE, "77", 77.0),
    ],
)
def test_aNumberHasAUnit(quantity: Quantity, text: str, number: float) -> None:
    """A number is worth its unit; nothing needs none."""
    assert quantity.parse(text) == pytest.approx(number)


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        *((TIME, each) for each in ("", "s", "5", "0", "5 s", "-1s", "1e3s", "61min", "1us")),
        *((TIME, each) for each in ("5S", "٣s", "1.s", ".5s", "9999999999s", "1s\n")),
        *((SIZE, each) for each in ("2GiB", "1MB", "0x10", "1_0")),
    ],
)
def test_nothingElseIsOne(quantity: Quantity, text: str) -> None:
    """Another shape, another unit and what is out of range is refused, with what is right."""
    with pytest.raises(ValueError, match=f"is not {quantity.words}"):
        quantity.parse(text)


def test_theSmallestIsInRange() -> None:
    """What is at a limit is not beyond it for the rounding of a unit."""
    assert Quantity(TIMES, 0.0001, 10, "a time").parse("100us") == 0.0001
