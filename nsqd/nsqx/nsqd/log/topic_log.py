"""
The log of a topic: segments on disk, the recent tail in memory.

Theory of operation. A batch is appended with one write of its frames and one of its commit
record; when both returned it survives the crash of the broker, when `sync` did it survives the
loss of power. Sequence numbers count the messages of the log from 0. An id is the sequence number
plus a base drawn at random. Each start draws a new base for what is appended from then on: a batch
may have been delivered that a loss of power then took, and its numbers are given out again, but
never its ids. (Where a channel remembers such numbers, `begin_at` leaves them out too.)

Readers ask `block` for a message. What was appended last is in memory; older messages are read
in large pieces, without blocking when the operating system has them in memory, otherwise off the
event loop: then `block` returns None and `on_readable` is called later. Damage found on the way
is added to `lost` and reported; readers step over it.
"""

import errno
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from nsqx.nsqd.log.block import Block, BlockCache, BlockMemory
from nsqx.nsqd.log.page import Page, read_page
from nsqx.nsqd.log.ranges import Ranges
from nsqx.nsqd.log.records import Header, crc32c
from nsqx.nsqd.log.recovery import add_damage, recover_segments
from nsqx.nsqd.log.segment import Damage, DamagedError, Segment, UnreadableError, data_path
from nsqx.nsqd.log.storage import Storage, WouldBlockError
from nsqx.protocol.messages import encode_messages

__all__ = ["Log", "LogEvents", "Retention", "TopicLog"]

BLOCK_BYTES = 256 * 1024
IDLE_ROLL_BYTES = 16 * 1024 * 1024
_READ_TRIES = 3


@dataclass(slots=True)
class Retention:
    """How long finished messages stay for replay. Zero is not at all."""

    time_ns: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class LogEvents:
    """What a log tells its owner. The defaults ignore it."""

    on_readable: Callable[[], None] = field(default=lambda: None)
    on_damage: Callable[[Damage], None] = field(default=lambda damage: None)
    on_error: Callable[[str, OSError], None] = field(default=lambda what, error: None)
    # Returns what makes durable, in another thread, that all below `TopicLog.first` is finished.
    # Else a loss of power might forget that, but not that its segment is gone.
    note_finished: Callable[[], Callable[[], None]] = field(default=lambda: _do_nothing)


class Log(Protocol):
    """What topics and channels need of a log."""

    first: int
    end: int
    lost: Ranges

    def append(self, bodies: Sequence[bytes], now_ns: int, due_ns: int = 0) -> int: ...

    def block(self, sequence: int) -> Block | None: ...

    def sequence_of(self, message_id: int) -> int | None: ...

    def id_of(self, sequence: int) -> int: ...

    def release(self, below: int, now_ns: int) -> None: ...


class TopicLog:
    """Messages ``first`` to ``end - 1`` of a topic, on disk."""

    def __init__(
        self,
        storage: Storage,
        folder: str,
        memory: BlockMemory,
        new_id_base: Callable[[], int],
        *,
        segment_bytes_max: int,
        events: LogEvents | None = None,
    ) -> None:
        """
        Open the log, or begin one, and recover what a crash left behind.

        Raises:
            OSError: the folder can not be read or written.
        """
        self._storage = storage
        self._folder = folder
        self.segment_bytes_max = segment_bytes_max
        self.events = events if events is not None else LogEvents()
        self.retention = Retention()
        self.lost = Ranges()
        self.damages: list[Damage] = []
        self.recovered_cut_bytes = 0

        self._cache = BlockCache(memory)
        self._tail: Block | None = None
        self._loading: set[int] = set()
        self._failed_reads: dict[int, int] = {}  # since the last success, by segment
        self._must_roll = False
        self._to_remove: deque[Segment] = deque()
        self._is_removing = False
        self._is_abandoned = False
        self._unsynced: list[Segment] = []  # sealed since the last sync began
        self._inherited: list[Segment] = []  # from the processes before this one, until a sync
        self._syncing: list[Segment] = []
        self._has_new_names = True

        storage.make_folder(folder)
        recovered = recover_segments(storage, folder)
        self._segments: list[Segment] = recovered.segments
        self._active: Segment | None = None
        self.end = self._segments[-1].end if self._segments else 0
        self.recovered_cut_bytes = recovered.cut_bytes
        self._id_base = new_id_base()
        if self._segments and self._segments[-1].first == self.end:
            self._segments.pop()  # empty: begun again by the next append
        # A process that crashed has written what it did not sync, and nobody else will.
        self._inherited = list(self._segments)
        for damage in recovered.damages:
            self._add_damage(damage)

    def begin_at(self, sequence: int) -> None:
        """
        Give out no number below ``sequence``, since somebody remembers those below already.

        The messages up to there are lost: a loss of power took them, or damage at the end. To
        be called before the first append.
        """
        assert self._active is None
        if sequence > self.end:
            missing = data_path(self._folder, self.end)
            damage = Damage(self.end, sequence, missing, "missing at the end")
            self.end = sequence
            self._add_damage(damage)

    # What is there

    @property
    def first(self) -> int:
        """Return the oldest message that is still kept."""
        return self._segments[0].first if self._segments else self.end

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all segments' frames on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def segment_count(self) -> int:
        """Return the number of segments on disk."""
        return len(self._segments)

    def id_of(self, sequence: int) -> int:
        """Return the id of a message."""
        index = bisect_right(self._segments, sequence, key=_first_of) - 1
        base = self._segments[index].id_base if index >= 0 else self._id_base
        return base + sequence

    def sequence_of(self, message_id: int) -> int | None:
        """Return the message that has this id, or None. Costs a look at each segment."""
        for segment in reversed(self._segments):
            if segment.first <= message_id - segment.id_base < segment.end:
                return message_id - segment.id_base
        return None

    def id_base_at(self, sequence: int) -> int:
        """Return what to add to the number of a message in the same segment to get its id."""
        return self.id_of(sequence) - sequence

    # Appending

    def append(self, bodies: Sequence[bytes], now_ns: int, due_ns: int = 0) -> int:
        """
        Append a batch; it is there whole or not at all.

        Returns:
            The bytes of its frames.

        Raises:
            OSError: the disk refused. Nothing was appended.
        """
        tail = self._tail
        if (
            tail is None
            or tail.owner is None
            or len(tail.data) >= BLOCK_BYTES
            or tail.id_base != self._id_base
        ):
            tail = None
        start = len(tail.data) if tail is not None else 0
        frames, offsets = encode_messages(bodies, self._id_base + self.end, now_ns, start)
        active = self._segment_for(len(frames), now_ns)
        active.append(frames, len(bodies), now_ns, due_ns, crc32c(frames))
        if tail is None:
            self._tail = Block(self.end, bytearray(frames), offsets, self._id_base)
            self._cache.add(self._tail, self.end)
        else:
            tail.extend(frames, offsets)
            self._cache.grown(tail)
        self.end += len(bodies)
        return len(frames)

    @property
    def has_unsynced(self) -> bool:
        """Return whether there are segments that were perhaps never synced."""
        return bool(self._inherited)

    def begin_sync(self) -> Callable[[], None]:
        """
        Return what to run, in another thread, so that all appended so far survives power loss.

        `end_sync` is to be called when it is over, also when it failed. OSError from here is a
        sync that failed.
        """
        segments = [*self._unsynced]
        if self._active is not None:
            segments.append(self._active)
        self._syncing = segments
        inherited, self._inherited = self._inherited, []
        self._unsynced = []
        files = [file for segment in segments for file in segment.begin_sync()]
        folders = _with_parents(self._folder) if self._has_new_names else []
        self._has_new_names = False

        def sync() -> None:
            for segment in inherited:
                segment.sync()
            for file in files:
                file.sync()
            for folder in folders:
                self._storage.sync_folder(folder)

        return sync

    def end_sync(self) -> None:
        """The sync is over."""
        for segment in self._syncing:
            segment.end_sync()
        self._syncing = []

    def abandon_segment(self) -> None:
        """Begin a new segment with the next append: a sync failed, so this one can't be trusted."""
        self._must_roll = True
        self._has_new_names = True

    def close(self) -> None:
        """Seal the log: the next start trusts it without reading it. OSError if that failed."""
        if self._active is not None:
            self._active.seal()
            self._active = None
        self._cache.clear()
        self._tail = None

    def abandon(self) -> None:
        """Close the files as they are: the topic is being deleted."""
        for segment in self._segments:
            segment.close()
        self._segments = []
        self._active = None
        self._cache.clear()
        # Files of the same names may be those of a new topic soon.
        self._to_remove.clear()
        self._is_abandoned = True

    def _segment_for(self, size: int, now_ns: int) -> Segment:
        active = self._active
        if active is None or self._must_roll:
            return self._roll(now_ns)
        if active.size + size > self.segment_bytes_max and active.size:
            return self._roll(now_ns)
        return active

    def _roll(self, now_ns: int) -> Segment:
        """Begin the next segment, then seal the last: a crash between the two loses nothing."""
        old = self._active
        if old is not None and old.first == self.end:  # empty: begun again in its place
            old.close()
            self._segments.remove(old)
            self._active = old = None
        new = Segment.create(self._storage, self._folder, Header(self.end, self._id_base, now_ns))
        if old is not None:
            try:
                old.seal()
            except OSError:
                new.discard()
                raise
            self._unsynced.append(old)
        self._segments.append(new)
        self._has_new_names = True
        self._active = new
        self._must_roll = False
        return new

    # Reading

    def block(self, sequence: int) -> Block | None:
        """
        Return a block that holds a message of the log.

        Returns:
            None if it has to be waited for, or if it is in `lost`: look there first, then wait
            for `LogEvents.on_readable`.
        """
        block = self._cache.find(sequence)
        if block is not None or sequence in self._loading or sequence in self.lost:
            return block
        return self._load(sequence) if sequence >= self.first else None

    def block_in_memory(self, sequence: int) -> Block | None:
        """Return the block that holds a message if it is in memory; nothing is read for it."""
        return self._cache.find(sequence)

    def count_in_memory(self, first: int, end: int) -> int:
        """Return how many of the messages ``first`` to ``end - 1`` are in memory."""
        return self._cache.count(first, end)

    def _load(self, sequence: int) -> Block | None:
        segment = self._segments[bisect_right(self._segments, sequence, key=_first_of) - 1]
        try:
            block = segment.read(sequence, self._wanted(segment), may_block=False)
        except WouldBlockError:
            self._load_later(segment, sequence)
            return None
        except (DamagedError, OSError) as error:
            self._read_failed(sequence, segment, error)
            return None
        self._failed_reads.pop(segment.first, None)
        self._cache.add(block, sequence)
        return self._cache.find(sequence)

    def _load_later(self, segment: Segment, sequence: int) -> None:
        self._loading.add(sequence)
        wanted = self._wanted(segment)

        def read() -> Block:
            return segment.read(sequence, wanted, may_block=True)

        def loaded(block: Block | None, error: BaseException | None) -> None:
            self._loading.discard(sequence)
            if not self.first <= sequence < self.end:
                return  # let go meanwhile
            if block is not None:
                self._failed_reads.pop(segment.first, None)
                self._cache.add(block, sequence)
            elif isinstance(error, DamagedError | OSError):
                self._read_failed(sequence, segment, error)
            elif error is not None:
                raise error
            self.events.on_readable()

        self._storage.submit(read, loaded)

    def _wanted(self, segment: Segment) -> int:
        """Return how much to read: just one batch when the disk failed to read more."""
        return 1 if segment.first in self._failed_reads else BLOCK_BYTES

    def _read_failed(self, sequence: int, segment: Segment, error: DamagedError | OSError) -> None:
        """Step over what is damaged. What the disk fails to read is tried again, then given up."""
        if isinstance(error, DamagedError):
            self._add_damage(error.damage)
            return
        tries = self._failed_reads.get(segment.first, 0) + 1
        self._failed_reads[segment.first] = min(tries, _READ_TRIES - 1)
        if tries == 1:
            self.events.on_error(f"read message {sequence} from {segment.folder}", error)
        path = data_path(segment.folder, segment.first)
        if isinstance(error, FileNotFoundError):
            self._add_damage(Damage(sequence, segment.end, path, "missing segment"))
        elif error.errno == errno.EIO and tries >= _READ_TRIES:
            first, end = sequence, segment.end  # nothing is found without the index
            if isinstance(error, UnreadableError):
                first, end = error.first, error.end
            self._add_damage(Damage(first, end, path, "input/output error"))

    def _add_damage(self, damage: Damage) -> None:
        self.lost.add(damage.first, damage.end)
        add_damage(self.damages, damage)
        self.events.on_damage(damage)

    # Time

    def time_of(self, sequence: int) -> int:
        """Return when a message was accepted (ns since 1970), or 0 if unknown. May block."""
        segment = self._segments[bisect_right(self._segments, sequence, key=_first_of) - 1]
        return segment.time_of(sequence)

    def first_at_or_after(self, timestamp_ns: int) -> int:
        """Return the first message accepted at or after a time, or ``end``. May block."""
        for segment in self._segments:
            if segment.last_ns >= timestamp_ns and segment.first < segment.end:
                return segment.first_at_or_after(timestamp_ns)
        return self.end

    def reader(self, first: int, limit: int, bytes_max: int) -> "Callable[[], Page]":
        """
        Return what reads messages from ``first`` on, up to now; for another thread, as it blocks.

        What is damaged, or let go meanwhile, is left out. Nothing is noted and nothing is kept.
        """
        return partial(read_page, list(self._segments), first, self.end, limit, bytes_max)

    def deferred_batches(
        self, start: int, *, is_strict: bool = False
    ) -> Iterator[tuple[int, int, int]]:
        """
        Yield ``(first, end, due_ns)`` of what was published deferred from ``start`` on.

        Where an index is damaged ``due_ns`` is 0: some of these messages may be deferred. If the
        disk fails, OSError is raised when it is strict; else what can not be read is left out.
        """
        for segment in self._segments:
            if segment.end <= start or not segment.has_deferred:
                continue
            try:
                for first, end, due_ns in segment.deferred_batches(max(start, segment.first)):
                    if end > start:
                        yield max(first, start), end, due_ns
            except OSError as error:
                if is_strict:
                    raise
                self.events.on_error(f"find what is deferred in {segment.folder}", error)

    # Retention

    def oldest_sealed(self) -> tuple[int, int] | None:
        """Return ``(first, end)`` of the oldest segment that is complete, or None."""
        if len(self._segments) < 2:
            return None
        return self._segments[0].first, self._segments[0].end

    def is_retained(self, now_ns: int) -> bool:
        """Return whether the oldest segment is kept for replay, needed or not."""
        return bool(self._segments) and self._is_retained(self._segments[0], now_ns)

    def release(self, below: int, now_ns: int) -> None:
        """Let go of the segments that hold only messages below ``below`` and are not retained."""
        active = self._active
        if (
            active is not None
            and active.end <= below
            and active.size >= min(IDLE_ROLL_BYTES, self.segment_bytes_max)
        ):
            try:
                self._roll(now_ns)
            except OSError as error:
                self.events.on_error(f"begin a segment in {self._folder}", error)
        while len(self._segments) > 1 and self._segments[0].end <= below:
            if self._is_retained(self._segments[0], now_ns):
                break
            removed = self._segments.pop(0)
            self._unsynced = [other for other in self._unsynced if other is not removed]
            removed.close()
            self._to_remove.append(removed)
        self._cache.forget_below(self.first)
        self.lost.remove_below(self.first)
        self._remove_next()

    def _is_retained(self, segment: Segment, now_ns: int) -> bool:
        retention = self.retention
        if retention.time_ns and now_ns - segment.last_ns < retention.time_ns:
            return True
        return bool(retention.size_bytes) and (
            self.size_bytes - segment.size < retention.size_bytes
        )

    def _remove_next(self) -> None:
        """
        Remove a segment off the event loop.

        One by one, so that a crash leaves no gap; for the same reason one that can not be removed
        is tried again before the others.
        """
        if self._is_removing or not self._to_remove:
            return
        self._is_removing = True
        segment = self._to_remove[0]
        note_finished = self.events.note_finished()

        def remove() -> None:
            if not self._is_abandoned:
                note_finished()
                segment.remove()

        def removed(_: None, error: BaseException | None) -> None:
            self._is_removing = False
            if self._is_abandoned:
                return
            if error is None:
                self._to_remove.popleft()
                self._remove_next()
            elif isinstance(error, OSError):
                self.events.on_error(f"remove a finished segment of {self._folder}", error)
            else:
                raise error

        self._storage.submit(remove, removed)


def _do_nothing() -> None:
    """Nobody keeps what is finished."""


def _with_parents(folder: str) -> list[str]:
    """Return a folder and those it is in, up to the data folder itself."""
    folders = [folder]
    while folder:
        folder = folder.rpartition("/")[0]
        folders.append(folder)
    return folders


def _first_of(segment: Segment) -> int:
    return segment.first
