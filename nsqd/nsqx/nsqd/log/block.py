"""
A run of messages in memory: frames in one piece and where each begins.

What was appended last stays in memory as blocks, and what is read back from a segment comes as
one. All blocks of a broker share one budget, so memory does not follow the backlog.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator

from nsqx.protocol.messages import set_attempts, timestamp_of

__all__ = ["Block", "BlockCache", "BlockMemory"]

_CHARGED_AHEAD = 4096


class Block:
    """Messages ``first`` to ``end - 1``. Grows at its end only."""

    __slots__ = ("data", "end", "first", "id_base", "in_memory", "offsets", "owner")

    def __init__(self, first: int, data: bytearray, offsets: "array[int]", id_base: int) -> None:
        self.first = first
        self.end = first + len(offsets) - 1
        self.data = data
        self.offsets = offsets  # of each message's frame in data, and the end of the last
        self.id_base = id_base  # the id of a message is this plus its number
        self.owner: BlockCache | None = None
        self.in_memory = 0  # bytes charged to the budget

    def extend(self, data: bytes, offsets: "array[int]") -> None:
        """Append frames; ``offsets`` as if they began at ``len(self.data)``."""
        self.data += data
        self.offsets.extend(offsets[1:])
        self.end += len(offsets) - 1
        owner = self.owner
        # A block that grows bit by bit need not go there each time.
        if owner is not None and len(self.data) + 8 * len(self.offsets) > self.in_memory:
            owner.grown(self)

    def cut_front(self, first: int) -> None:
        """Forget the messages below ``first``."""
        count = min(first, self.end) - self.first
        if count > 0:
            del self.offsets[:count]
            self.first += count

    def cut_back(self, end: int) -> None:
        """Forget the messages from ``end`` on."""
        count = self.end - max(end, self.first)
        if count > 0:
            del self.offsets[len(self.offsets) - count :]
            self.end -= count

    def slice(self, first: int, count: int, bytes_max: int) -> tuple[bytearray, int]:
        """
        Return the frames of up to ``count`` messages from ``first``, and their number.

        At least one, at most as many as are here and fit into ``bytes_max``.
        """
        offsets = self.offsets
        low = first - self.first
        high = min(low + count, len(offsets) - 1)
        start = offsets[low]
        if offsets[high] - start > bytes_max:
            high = max(low + 1, bisect_right(offsets, start + bytes_max, low, high) - 1)
        return self.data[start : offsets[high]], high - low

    def frame(self, sequence: int) -> bytes:
        """Return one message's frame."""
        index = sequence - self.first
        return bytes(self.data[self.offsets[index] : self.offsets[index + 1]])

    def frame_again(self, sequence: int, attempts: int) -> bytearray:
        """Return one message's frame as it goes out at a later delivery."""
        index = sequence - self.first
        offsets = self.offsets
        frame = self.data[offsets[index] : offsets[index + 1]]
        set_attempts(frame, attempts)
        return frame

    def timestamp(self, sequence: int) -> int:
        """Return when a message was accepted, in nanoseconds since 1970."""
        return timestamp_of(self.data, self.offsets[sequence - self.first])

    def timestamps(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """
        Yield ``(timestamp_ns, how many)`` of messages ``first`` to ``end - 1``, which are here.

        The messages of a batch share their timestamp, and timestamps do not go down but for a
        clock that was set back: so it costs a few looks per batch and not one per message.
        """
        timestamp_ns = self.timestamp(first)
        if end - first == 1 or timestamp_ns == self.timestamp(end - 1):
            yield timestamp_ns, end - first
        else:
            middle = (first + end) // 2
            yield from self.timestamps(first, middle)
            yield from self.timestamps(middle, end)


class BlockMemory:
    """The budget that all blocks of a broker share; the oldest block goes first."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes_used = 0
        self._oldest_first: dict[Block, None] = {}

    def charge(self, block: Block, *, ahead: int = 0) -> None:
        """Account for a block that is new or has grown, and make room for it."""
        size = len(block.data) + 8 * len(block.offsets) + ahead
        self._oldest_first[block] = None  # a key that is there keeps its place
        self.bytes_used += size - block.in_memory
        block.in_memory = size
        while self.bytes_used > self.bytes_max and len(self._oldest_first) > 1:
            # Also where the block is the oldest itself, which has grown.
            oldest = next(other for other in self._oldest_first if other is not block)
            assert oldest.owner is not None
            oldest.owner.forget(oldest)

    def give_back(self, block: Block) -> None:
        """Give back what a block was charged."""
        self._oldest_first.pop(block, None)
        self.bytes_used -= block.in_memory
        block.in_memory = 0


class BlockCache:
    """The blocks of one log that are in memory, by sequence number; they do not overlap."""

    def __init__(self, memory: BlockMemory) -> None:
        self._memory = memory
        self._firsts: list[int] = []
        self._blocks: list[Block] = []

    def find(self, sequence: int) -> Block | None:
        """Return the block that holds a message, if it is in memory. Costs a bisection."""
        index = bisect_right(self._firsts, sequence) - 1
        if index < 0:
            return None
        block = self._blocks[index]
        return block if sequence < block.end else None

    def count(self, first: int, end: int) -> int:
        """Return how many of the messages ``first`` to ``end - 1`` are in memory."""
        index = max(0, bisect_right(self._firsts, first) - 1)
        count = 0
        for block in self._blocks[index:]:
            if block.first >= end:
                break
            count += max(0, min(block.end, end) - max(block.first, first))
        return count

    def add(self, block: Block, wanted: int) -> None:
        """
        Keep a block: of it what lies around the message ``wanted`` and is not kept already.

        Those that are kept stay, since one of them still grows.
        """
        if self.find(wanted) is not None:
            return
        index = bisect_right(self._firsts, wanted)
        if index:
            block.cut_front(self._blocks[index - 1].end)
        if index < len(self._firsts):
            block.cut_back(self._firsts[index])
        self._firsts.insert(index, block.first)
        self._blocks.insert(index, block)
        block.owner = self
        self._memory.charge(block)

    def grown(self, block: Block) -> None:
        """Tell the budget that a kept block was extended beyond what it was charged for."""
        self._memory.charge(block, ahead=_CHARGED_AHEAD)

    def forget(self, block: Block) -> None:
        """Drop a block from memory."""
        index = bisect_right(self._firsts, block.first) - 1
        if index >= 0 and self._blocks[index] is block:
            del self._firsts[index], self._blocks[index]
        block.owner = None
        self._memory.give_back(block)

    def forget_below(self, sequence: int) -> None:
        """Drop the blocks that end at or before ``sequence``."""
        while self._blocks and self._blocks[0].end <= sequence:
            self.forget(self._blocks[0])

    def clear(self) -> None:
        """Drop everything."""
        for block in list(self._blocks):
            self.forget(block)
