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
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from nsqx.nsqd.log.block import Block, BlockCache, BlockMemory
from nsqx.nsqd.log.commit_files import Part
from nsqx.nsqd.log.deferral import NOT_DEFERRED, mark_of
from nsqx.nsqd.log.disk_view import DiskView
from nsqx.nsqd.log.limits import LOG_LIMITS, LogLimits
from nsqx.nsqd.log.log import LogEvents, LogView, Retention, take_pieces
from nsqx.nsqd.log.ranges import Ranges
from nsqx.nsqd.log.records import Commit, Header, crc32c
from nsqx.nsqd.log.recovery import add_damage, recover_segments
from nsqx.nsqd.log.segment import Damage, DamagedError, Segment, UnreadableError, data_path
from nsqx.nsqd.log.segments import Segments
from nsqx.nsqd.log.storage import Storage, WouldBlockError
from nsqx.protocol.messages import HEADER_BYTES, encode_messages

__all__ = ["TopicLog"]

_READ_TRIES = 3


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
        limits: LogLimits = LOG_LIMITS,
    ) -> None:
        """
        Open the log, or begin one, and recover what a crash left behind.

        Raises:
            OSError: the folder can not be read or written.
        """
        self._storage = storage
        self._folder = folder
        self.segment_bytes_max = segment_bytes_max
        self._limits = limits
        self.events = events if events is not None else LogEvents()
        self.retention = Retention()
        self.lost = Ranges()
        self.damages: list[Damage] = []
        self.recovered_cut_bytes = 0

        self._cache = BlockCache(memory)
        self.block_in_memory = self._cache.find  # see `Log`; asked for each that comes again
        self._tail: Block | None = None
        self._loading: set[int] = set()
        self._failed_reads: dict[int, int] = {}  # since the last success, by segment
        self._must_roll = False
        self._is_writing_ahead = False  # so the active segment has to stay
        self._to_remove: deque[Segment] = deque()
        self._is_removing = False
        self._is_abandoned = False
        self._unsynced: list[Segment] = []  # sealed since the last sync began
        self._inherited: list[Segment] = []  # from the processes before this one, until a sync
        self._syncing: list[_Sync] = []  # one; two if the broker ends meanwhile
        self._has_new_names = True
        self._wants_commits = False  # since the last sync
        # What follows all that is safe in its place, or is to be when the sync under way is over.
        self._pending: Part | None = None
        self._is_pending_safe = False

        storage.make_folder(folder)
        recovered = recover_segments(storage, folder, limits)
        self._segments = Segments(recovered.segments)
        self._active: Segment | None = None
        self.end = self._segments[-1].end if self._segments else 0
        self.recovered_cut_bytes = recovered.cut_bytes
        self._id_base = new_id_base()
        if self._segments and self._segments[-1].first == self.end:
            self._segments.pop(-1)  # empty: begun again by the next append
        # A process that crashed has written what it did not sync, and nobody else will.
        self._inherited = self._segments.snapshot()
        self.unsynced_messages = int(bool(self._inherited))
        for damage in recovered.damages:
            self._add_damage(damage)

    def begin_at(self, sequence: int) -> None:
        """
        See `Log.begin_at`: somebody remembers those below already.

        The messages up to there are lost: a loss of power took them, or damage at the end.
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
        """See `Log`; on disk."""
        return self._segments.size

    @property
    def segment_count(self) -> int:
        """Return the number of segments on disk."""
        return len(self._segments)

    def id_of(self, sequence: int) -> int:
        """See `Log.id_of`."""
        return self.id_base_at(sequence) + sequence

    def sequence_of(self, message_id: int) -> int | None:
        """See `Log.sequence_of`. Costs a bisection."""
        return self._segments.sequence_of(message_id)

    def id_base_at(self, sequence: int) -> int:
        """See `Log.id_base_at`: they have it in common with their segment."""
        index = self._segments.index_of(sequence)
        return self._segments[index].id_base if index >= 0 else self._id_base

    # Appending

    def append(self, bodies: Sequence[bytes], now_ns: int, due_ns: int = 0) -> int:
        """See `Log.append`."""
        tail = self._tail
        if (
            tail is None
            or tail.owner is None
            or len(tail.data) >= self._limits.block_bytes
            or tail.id_base != self._id_base
        ):
            tail = None
        start = len(tail.data) if tail is not None else 0
        first_id = self._id_base + self.end
        attempts = mark_of(now_ns, due_ns) if due_ns else NOT_DEFERRED
        frames, offsets = encode_messages(bodies, first_id, now_ns, start, attempts)
        count, size = len(bodies), len(frames)
        active = self._active
        if active is None or self._must_roll or active.size + size > self.segment_bytes_max:
            active = self._segment_for(size, now_ns)
        record = active.append(frames, count, now_ns, due_ns, crc32c(frames))
        if self._pending is not None:
            self._gather(self._pending, frames, record)
        if tail is None:
            self._tail = Block(self.end, bytearray(frames), offsets, self._id_base)
            self._cache.add(self._tail, self.end)
        else:
            tail.extend(frames, offsets)
        self.end += count
        self._segments.size += size
        self.unsynced_messages += count
        return size

    def append_in_pieces(
        self, bodies: list[bytes], now_ns: int, due_ns: int = 0
    ) -> Generator[None, None, int]:
        """
        See `Log.append_in_pieces`.

        Each piece is a batch of its own for those who read it. Their frames are written one after
        another; what makes them count is one write of all their records.
        """
        segment = self._segment_for(HEADER_BYTES * len(bodies), now_ns)
        commits: list[Commit] = []
        first, offset = self.end, segment.size
        self._is_writing_ahead = True
        try:
            for piece in take_pieces(bodies):
                frames, _ = encode_messages(piece, self._id_base + first, now_ns)
                segment.write_ahead(frames, offset)
                fields = (first, offset, len(frames), len(piece), now_ns, due_ns, crc32c(frames))
                commits.append(Commit(*fields))
                first, offset = first + len(piece), offset + len(frames)
                yield
            if self._must_roll:
                raise OSError(errno.EIO, "a sync failed")  # and may have dropped some of it
            size = offset - segment.size
            segment.append_written(commits)
        except (OSError, GeneratorExit):
            segment.cut_surplus()
            raise
        finally:
            self._is_writing_ahead = False
        self.unsynced_messages += first - self.end
        self.end = first
        self._segments.size += size
        self._tail = None
        self._forget_pending()
        return size

    def begin_sync(self) -> Callable[[], None]:
        """See `Log.begin_sync`."""
        self.unsynced_messages = 0
        segments = [*self._unsynced]
        if self._active is not None:
            segments.append(self._active)
        # Of a sync that is under way while the broker ends nobody may see the end.
        earlier = [each for sync in self._syncing for each in (*sync.segments, *sync.sealed)]
        sealed = [*self._inherited, *(each for each in earlier if each is not self._active)]
        folders = _with_parents(self._folder) if self._has_new_names or self._syncing else []
        self._syncing.append(_Sync(segments, sealed, begins_pending=self._begin_pending()))
        self._inherited = []
        self._unsynced = []
        files = [file for segment in segments for file in segment.begin_sync()]
        self._has_new_names = False

        def sync() -> None:
            for segment in sealed:
                segment.sync()
            for file in files:
                file.sync()
            for folder in folders:
                self._storage.sync_folder(folder)

        return sync

    def end_sync(self, *, is_done: bool) -> None:
        """The sync is over."""
        if self._syncing:  # the last: whoever ends waits for its own
            sync = self._syncing.pop()
            for segment in sync.segments:
                segment.end_sync()
            if not is_done:
                self._forget_pending()
            elif sync.begins_pending and self._pending is sync.begins_pending:
                self._is_pending_safe = True

    def begin_commit(self) -> Part | None:
        """See `Log.begin_commit`."""
        self._wants_commits = True
        part, active = self._pending, self._active
        if part is None or active is None or not self._is_pending_safe:
            return None
        self._pending = Part(self._folder, active.header, active.size, active.index_size)
        return part

    def end_commit(self, *, is_done: bool) -> None:
        """See `Log.end_commit`."""
        if not is_done:
            self._forget_pending()

    def _begin_pending(self) -> Part | None:
        """Gather what is appended from now on: a sync begins that makes safe what is before it."""
        active = self._active
        wants_commits, self._wants_commits = self._wants_commits, False
        if not wants_commits:  # since the last sync: a topic that was changed to another class
            self._forget_pending()
            return None
        if self._pending is not None or active is None:
            return None
        if self._must_roll or self._is_writing_ahead:
            return None
        self._is_pending_safe = False
        self._pending = Part(self._folder, active.header, active.size, active.index_size)
        return self._pending

    def _gather(self, pending: Part, frames: bytes, record: bytes) -> None:
        pending.add(frames, record)
        if pending.size > self._limits.pending_bytes:
            self._forget_pending()

    def _forget_pending(self) -> None:
        self._pending = None
        self._is_pending_safe = False

    def abandon_segment(self) -> None:
        """Begin a new segment with the next append: a sync failed, so this one can't be trusted."""
        self._must_roll = True
        self._has_new_names = True
        self._forget_pending()

    def close(self) -> None:
        """Seal the log: the next start trusts it without reading it. OSError if that failed."""
        if self._active is not None:
            self._active.seal()
            self._active = None
        self._forget_pending()
        self._cache.clear()
        self._tail = None
        self._is_abandoned = True  # another process may have the folder soon

    def abandon(self) -> None:
        """Close the files as they are: the topic is being deleted."""
        for segment in self._segments:
            segment.close()
        self._segments = Segments()
        self._active = None
        self._forget_pending()
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
            self._segments.pop(-1)
            self._active = old = None
        header = Header(self.end, self._id_base, now_ns)
        new = Segment.create(self._storage, self._folder, header, self._limits)
        if old is not None:
            try:
                old.seal()
            except OSError:
                new.discard()
                raise
            self._unsynced.append(old)
        self._segments.append(new)
        self._has_new_names = True
        self._forget_pending()  # nobody would find what is in a file whose name may be lost
        self._active = new
        self._must_roll = False
        return new

    # Reading

    def block(self, sequence: int) -> Block | None:
        """See `Log.block`."""
        block = self._cache.find(sequence)
        if block is not None or sequence in self._loading or sequence in self.lost:
            return block
        return self._load(sequence) if sequence >= self.first else None

    def count_in_memory(self, first: int, end: int) -> int:
        """Return how many of the messages ``first`` to ``end - 1`` are in memory."""
        return self._cache.count(first, end)

    def _load(self, sequence: int) -> Block | None:
        segment = self._segments[self._segments.index_of(sequence)]
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
        return 1 if segment.first in self._failed_reads else self._limits.block_bytes

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

    def view(self) -> LogView:
        """See `Log.view`."""
        return DiskView(self._segments.snapshot(), self.end)

    def deferred_batches(
        self, start: int, *, is_strict: bool = False
    ) -> Iterator[tuple[int, int, int]]:
        """See `Log.deferred_batches`."""
        for segment in self._segments.snapshot()[max(0, self._segments.index_of(start)) :]:
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

    @property
    def may_release(self) -> bool:
        """See `Log.may_release`: a sealed segment, one to be sealed, or files yet to be removed."""
        return len(self._segments) > 1 or bool(self._to_remove) or self._is_to_be_sealed

    @property
    def _is_to_be_sealed(self) -> bool:
        """Return whether the active segment is so large that it goes when nothing comes."""
        if self._active is None or self._is_writing_ahead:
            return False
        return self._active.size >= min(self._limits.idle_roll_bytes, self.segment_bytes_max)

    def is_retained(self, now_ns: int) -> bool:
        """Return whether the oldest segment is kept for replay, needed or not."""
        return bool(self._segments) and self._is_retained(self._segments[0], now_ns)

    def release(self, below: int, now_ns: int) -> None:
        """Let go of the segments that hold only messages below ``below`` and are not retained."""
        if self._is_to_be_sealed and self.end <= below:
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
        if retention.time_ns and now_ns - self._came_ns(segment, now_ns) < retention.time_ns:
            return True
        return bool(retention.size_bytes) and (
            self.size_bytes - segment.size < retention.size_bytes
        )

    def _came_ns(self, segment: Segment, now_ns: int) -> int:
        """
        Return when the newest message of a segment came.

        A clock that was ahead has it in the future. Then it came before the first segment that was
        begun with the clock right again, or at last if there is none yet.
        """
        if segment.last_ns <= now_ns:
            return segment.last_ns
        later = (each.created_ns for each in self._segments if each.first > segment.first)
        return min(later, default=now_ns)

    def _remove_next(self) -> None:
        """
        Remove a segment, when what it held is known as finished for good.

        That is waited for off the event loop, and the topic may be deleted and made again
        meanwhile, with files of the same names. So they go when that is over, on the event loop.

        One by one, so that a crash leaves no gap; for the same reason one that can not be removed
        is tried again before the others.
        """
        if self._is_removing or not self._to_remove:
            return
        self._is_removing = True

        def noted(_: None, error: BaseException | None) -> None:
            self._is_removing = False
            if self._is_abandoned:
                return
            if error is not None and not isinstance(error, OSError):
                raise error
            try:
                if error is not None:
                    raise error
                self._to_remove[0].remove(self.events.take or self._storage.remove)
            except OSError as refusal:
                self.events.on_error(f"remove a finished segment of {self._folder}", refusal)
            else:
                self._to_remove.popleft()
                self._remove_next()

        self._storage.submit(self.events.note_finished(), noted)


@dataclass(frozen=True, slots=True)
class _Sync:
    """
    One that is under way: of segments by their open files, and of ``sealed`` ones by name.

    ``begins_pending`` is what it makes safe the beginning of.
    """

    segments: list[Segment]
    sealed: list[Segment]
    begins_pending: Part | None


def _with_parents(folder: str) -> list[str]:
    """Return a folder and those it is in, up to the data folder itself."""
    folders = [folder]
    while folder:
        folder = folder.rpartition("/")[0]
        folders.append(folder)
    return folders
