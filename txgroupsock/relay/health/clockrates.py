"""How fast the timestamps of RTP run, by payload type."""

from __future__ import annotations

from typing import Final

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
