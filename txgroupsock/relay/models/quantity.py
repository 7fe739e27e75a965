"""Numbers with a unit, as people write them: C{5ms}, C{1.5G}."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import frozen

TIMES: Final[Mapping[str, float]] = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60}
"""Units of time, in seconds."""

BIT_RATES: Final[Mapping[str, float]] = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
"""Units of bit rates, in bits a second."""

SIZES: Final[Mapping[str, float]] = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
"""Units of memory, in bytes."""

_NUMBER = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([a-zA-Z]*|%)")


@frozen
class Quantity:
    """
    A number with a unit.

    @ivar units: what each is worth.  Nothing, C{"0"}, needs none.
    @ivar least: the smallest there may be.
    @ivar most: the largest.
    @ivar words: what it is, with its range and an example.
    """

    units: Mapping[str, float]
    least: float
    most: float
    words: str

    def parse(self, text: str) -> float:
        """
        The number that a text means.

        @raise ValueError: it means none, or one that is out of range.
        """
        found = _NUMBER.fullmatch(text)
        if found is not None and (found[2] in self.units or not float(found[1])):
            # Rounded, since 100 * 1e-6 is less than 0.0001.
            number = round(float(found[1]) * self.units.get(found[2], 1), 12)
            if self.least <= number <= self.most:
                return number
        elif found is not None:
            units = ", ".join(filter(None, self.units))
            raise ValueError(f"{text} is not {self.words}; units are {units}")
        raise ValueError(f"{text} is not {self.words}")
