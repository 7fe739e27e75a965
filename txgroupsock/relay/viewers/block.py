"""What viewers share: blocks of datagrams, and the last of them for those who are behind."""

from __future__ import annotations

from collections import deque

from attrs import frozen


@frozen
class Position:
    """
    A place in what a channel has given since it began, always between two datagrams.

    @ivar blocks: given before it.
    @ivar datagrams: in those.
    @ivar bytes: in those.
    """

    blocks: int = 0
    datagrams: int = 0
    bytes: int = 0

    def after(self, datagrams: int, size: int) -> Position:
        """The place behind one more block."""
        return Position(self.blocks + 1, self.datagrams + datagrams, self.bytes + size)


@frozen
class Block:
    """
    Whole datagrams, one after the other, which every viewer gets as they lie here.

    @ivar start: where it begins.
    @ivar end: where it ends.
    """

    data: bytes
    start: Position
    end: Position


class Backlog:
    """The last blocks of a channel, up to a number of bytes, for all viewers that are behind."""

    def __init__(self, size: int) -> None:
        """@param size: most bytes to keep."""
        self._blocks: deque[Block] = deque()
        self._most = size
        self.size = 0

    def append(self, block: Block) -> None:
        """Keep one more, and let go of the oldest where that is too much."""
        self._blocks.append(block)
        self.size += len(block.data)
        self._shorten()

    def setMost(self, size: int) -> None:
        """Keep more, or less, from now on."""
        self._most = size
        self._shorten()

    def _shorten(self) -> None:
        while self.size > self._most:
            self.size -= len(self._blocks.popleft().data)

    def clear(self) -> None:
        """Nobody is behind any more."""
        self._blocks.clear()
        self.size = 0

    def at(self, position: Position) -> Block | None:
        """The block that begins at a position; L{None} if it is no longer, or not yet, here."""
        if not self._blocks:
            return None
        index = position.blocks - self._blocks[0].start.blocks
        return self._blocks[index] if 0 <= index < len(self._blocks) else None
