"""How fast the timestamps of RTP run, by payload type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from txgroupsock.primitives.checks import wholeNumber

VIDEO: Final = 90_000
"""Hz: of video, of MPEG-TS, and of a dynamic payload type (96 to 127) that nobody has named."""

STATIC: Final = {
    **dict.fromkeys((0, 3, 4, 5, 7, 8, 9, 12, 13, 15, 18), 8_000),
    6: 16_000,
    10: 44_100,
    11: 44_100,
    14: VIDEO,
    16: 11_025,
    17: 22_050,
    **dict.fromkeys((25, 26, 28, 31, 32, 33, 34), VIDEO),
}
"""Hz, by static payload type (RFC 3551 section 6, tables 4 and 5)."""

MOST_TYPE: Final = 127
"""The last payload type (RFC 3550 section 5.1: 7 bits)."""

MOST_RATE: Final = 1_000_000_000
"""Hz."""


def checkRates(name: str, rates: Mapping[int, int]) -> None:
    """
    Hz by payload type.

    @raise ValueError: there is none such type, or rate.
    """
    for kind, rate in rates.items():
        wholeNumber(f"a key of {name}", kind, 0, MOST_TYPE)
        wholeNumber(f"{name}[{kind!r}]", rate, 1, MOST_RATE)
