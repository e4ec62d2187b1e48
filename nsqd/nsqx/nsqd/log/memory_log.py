"""The log of an ephemeral topic: see `Log`. In memory only, gone with the process."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence

from nsqx.nsqd.log.block import Block
from nsqx.nsqd.log.commit_files import Part
from nsqx.nsqd.log.limits import LOG_LIMITS, LogLimits
from nsqx.nsqd.log.log import GONE, Gap, LogEvents, LogView, Retention, take_pieces
from nsqx.nsqd.log.ranges import Ranges
from nsqx.nsqd.log.segment import Damage
from nsqx.protocol.messages import encode_messages

__all__ = ["MemoryLog"]


class MemoryLog:
    """Messages ``first`` to ``end - 1`` of a topic. What nobody needs any more is let go."""

    def __init__(self, new_id_base: Callable[[], int], limits: LogLimits = LOG_LIMITS) -> None:
        self._limits = limits
        self.first = 0
        self.end = 0
        self.size_bytes = 0
        self.segment_count = 0
        # What only files can have; it stays as it is.
        self.lost = Ranges()
        self.damages: list[Damage] = []
        self.recovered_cut_bytes = 0
        self.unsynced_messages = 0
        self.retention = Retention()
        self.events = LogEvents()

        self._id_base = new_id_base()
        self._blocks: list[Block] = []
        self._deferred: list[tuple[int, int, int]] = []

    def begin_at(self, sequence: int) -> None:
        """See `Log.begin_at`; nobody remembers anything of it."""

    # Appending

    def append(self, bodies: Sequence[bytes], now_ns: int, due_ns: int = 0) -> int:
        """See `Log.append`."""
        tail = self._blocks[-1] if self._blocks else None
        if tail is not None and len(tail.data) >= self._limits.memory_block_bytes:
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
        self.size_bytes += len(frames)
        return len(frames)

    def append_in_pieces(
        self, bodies: list[bytes], now_ns: int, due_ns: int = 0
    ) -> Generator[None, None, int]:
        """See `Log.append_in_pieces`; here each piece is there at once."""
        size = 0
        for piece in take_pieces(bodies):
            size += self.append(piece, now_ns, due_ns)
            yield
        return size

    def begin_sync(self) -> Callable[[], None]:
        """See `Log.begin_sync`; nothing is safer than it is."""
        return _do_nothing

    def end_sync(self, *, is_done: bool) -> None:
        """See `Log.end_sync`."""

    def begin_commit(self) -> Part | None:
        """See `Log.begin_commit`."""
        return None

    def end_commit(self, *, is_done: bool) -> None:
        """See `Log.end_commit`."""

    def abandon_segment(self) -> None:
        """See `Log.abandon_segment`."""

    def close(self) -> None:
        """See `Log.close`."""

    def abandon(self) -> None:
        """See `Log.abandon`."""

    # Numbers and ids

    def id_of(self, sequence: int) -> int:
        """See `Log.id_of`."""
        return self._id_base + sequence

    def sequence_of(self, message_id: int) -> int | None:
        """See `Log.sequence_of`."""
        sequence = message_id - self._id_base
        return sequence if self.first <= sequence < self.end else None

    def id_base_at(self, sequence: int) -> int:
        """See `Log.id_base_at`."""
        return self._id_base

    # Reading

    def block(self, sequence: int) -> Block | None:
        """See `Log.block`; None if it was let go."""
        return _find(self._blocks, sequence)

    def block_in_memory(self, sequence: int) -> Block | None:
        """See `Log.block_in_memory`."""
        return self.block(sequence)

    def count_in_memory(self, first: int, end: int) -> int:
        """See `Log.count_in_memory`: all are."""
        return max(0, end - first)

    def view(self) -> LogView:
        """See `Log.view`."""
        return _MemoryView(self.first, self.end, self._blocks.copy())

    def deferred_batches(
        self, start: int, *, is_strict: bool = False
    ) -> Iterator[tuple[int, int, int]]:
        """See `Log.deferred_batches`."""
        for first, end, due_ns in self._deferred:
            if end > start:
                yield max(first, start), end, due_ns

    # Letting go

    def oldest_sealed(self) -> tuple[int, int] | None:
        """See `Log.oldest_sealed`; None if it is little."""
        if len(self._blocks) <= self._limits.memory_blocks:
            return None
        return self._blocks[0].first, self._blocks[-self._limits.memory_blocks].first

    @property
    def may_release(self) -> bool:
        """See `Log.may_release`."""
        return bool(self._blocks)

    def is_retained(self, now_ns: int) -> bool:
        """See `Log.is_retained`: nothing is kept for replay."""
        return False

    def release(self, below: int, now_ns: int) -> None:
        """See `Log.release`."""
        kept = 0
        while kept < len(self._blocks) and self._blocks[kept].end <= below:
            self.size_bytes -= len(self._blocks[kept].data)
            kept += 1
        if kept:
            self.first = self._blocks[kept - 1].end
            del self._blocks[:kept]
            self._deferred = [batch for batch in self._deferred if batch[1] > self.first]


class _MemoryView:
    """
    Blocks, up to the message ``end - 1``. See `LogView`.

    The last one may grow at its end while it is read, which changes nothing of what is here.
    """

    __slots__ = ("_blocks", "end", "first")

    def __init__(self, first: int, end: int, blocks: list[Block]) -> None:
        self.first = first
        self.end = end
        self._blocks = blocks

    def read(self, sequence: int, bytes_wanted: int) -> Block | Gap:
        block = _find(self._blocks, sequence)
        return block if block is not None else Gap(sequence, self.end, GONE)

    def start_before(self, sequence: int, bytes_wanted: int) -> int:
        block = _find(self._blocks, sequence - 1)
        return block.first if block is not None else sequence - 1

    def first_at_or_after(self, timestamp_ns: int) -> int:
        for block in self._blocks:
            end = min(block.end, self.end)
            if block.timestamp(end - 1) >= timestamp_ns:
                sequences = range(block.first, end)
                return block.first + bisect_left(sequences, timestamp_ns, key=block.timestamp)
        return self.end

    def time_of(self, sequence: int) -> int:
        block = _find(self._blocks, sequence)
        return block.timestamp(sequence) if block is not None else 0


def _find(blocks: list[Block], sequence: int) -> Block | None:
    """Return the block that holds a message, or None."""
    index = bisect_right(blocks, sequence, key=_first_of) - 1
    return blocks[index] if index >= 0 and sequence < blocks[index].end else None


def _first_of(block: Block) -> int:
    return block.first


def _do_nothing() -> None:
    """Memory is not synced."""
