"""The log of an ephemeral topic: like `TopicLog`, in memory only, gone with the process."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from nsqx.nsqd.log.block import Block
from nsqx.nsqd.log.page import Page
from nsqx.nsqd.log.ranges import Ranges
from nsqx.protocol.messages import encode_messages

__all__ = ["MemoryLog"]

BLOCK_BYTES = 64 * 1024
BLOCKS_MAX = 64  # beyond this, stragglers are copied so that the rest can go


class MemoryLog:
    """Messages ``first`` to ``end - 1`` of a topic. What nobody needs any more is let go."""

    def __init__(self, new_id_base: Callable[[], int]) -> None:
        self.first = 0
        self.end = 0
        self.lost = Ranges()
        self._id_base = new_id_base()
        self._blocks: list[Block] = []
        self._deferred: list[tuple[int, int, int]] = []

    def append(self, bodies: Sequence[bytes], now_ns: int, due_ns: int = 0) -> int:
        """Append a batch; return the bytes of its frames."""
        tail = self._blocks[-1] if self._blocks else None
        if tail is not None and len(tail.data) >= BLOCK_BYTES:
            tail = None
        start = len(tail.data) if tail is not None else 0
        frames, offsets = encode_messages(bodies, self._id_base + self.end, now_ns, start)
        if tail is None:
            self._blocks.append(Block(self.end, bytearray(frames), offsets, self._id_base))
        else:
            tail.extend(frames, offsets)
        if due_ns:
            self._deferred.append((self.end, self.end + len(bodies), due_ns))
        self.end += len(bodies)
        return len(frames)

    def block(self, sequence: int) -> Block | None:
        """Return the block that holds a message; None if it was let go."""
        low, high = 0, len(self._blocks)
        while low < high:
            middle = (low + high) // 2
            if self._blocks[middle].end <= sequence:
                low = middle + 1
            else:
                high = middle
        found = low < len(self._blocks) and self._blocks[low].first <= sequence
        return self._blocks[low] if found else None

    def block_in_memory(self, sequence: int) -> Block | None:
        """Return the block that holds a message; None if it was let go."""
        return self.block(sequence)

    def count_in_memory(self, first: int, end: int) -> int:
        """Return how many of the messages ``first`` to ``end - 1`` are in memory: all."""
        return max(0, end - first)

    def id_of(self, sequence: int) -> int:
        """Return the id of a message."""
        return self._id_base + sequence

    def sequence_of(self, message_id: int) -> int | None:
        """Return the message that has this id, or None."""
        sequence = message_id - self._id_base
        return sequence if self.first <= sequence < self.end else None

    def id_base_at(self, sequence: int) -> int:
        """Return what to add to the number of a message to get its id."""
        return self._id_base

    def first_at_or_after(self, timestamp_ns: int) -> int:
        """Return the first message accepted at or after a time, or ``end``."""
        for block in self._blocks:
            if block.timestamp(block.end - 1) >= timestamp_ns:
                sequences = range(block.first, block.end)
                return block.first + bisect_left(sequences, timestamp_ns, key=block.timestamp)
        return self.end

    def reader(self, first: int, limit: int, bytes_max: int) -> Callable[[], Page]:
        """Return what reads messages from ``first`` on, up to now; see `TopicLog.reader`."""
        page = Page(first)
        for block in self._blocks:
            page.take(block, self.end, limit, bytes_max)
        return lambda: page

    def deferred_batches(
        self, start: int, *, is_strict: bool = False
    ) -> Iterator[tuple[int, int, int]]:
        """Yield ``(first, end, due_ns)`` of what was published deferred from ``start`` on."""
        for first, end, due_ns in self._deferred:
            if end > start:
                yield max(first, start), end, due_ns

    def oldest_sealed(self) -> tuple[int, int] | None:
        """Return ``(first, end)`` of what should be let go of, or None if it is little."""
        if len(self._blocks) <= BLOCKS_MAX:
            return None
        return self._blocks[0].first, self._blocks[-BLOCKS_MAX].first

    def is_retained(self, now_ns: int) -> bool:
        """Nothing is kept for replay."""
        return False

    def release(self, below: int, now_ns: int) -> None:
        """Let go of the blocks that hold only messages below ``below``."""
        kept = 0
        while kept < len(self._blocks) and self._blocks[kept].end <= below:
            kept += 1
        if kept:
            self.first = self._blocks[kept - 1].end
            del self._blocks[:kept]
            self._deferred = [batch for batch in self._deferred if batch[1] > self.first]
