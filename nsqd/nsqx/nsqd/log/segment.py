"""
One segment: a file of frames and the index that says which of its bytes count (`records`).

The index record of a batch is written after its frames and carries their checksum. So whatever
a crash leaves behind, a batch is there whole or it is not there: recovery cuts what has no
record. Damage inside is found by the checksum when the bytes are read, and costs that batch.
"""

import contextlib
import errno
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nsqx.nsqd.log.block import Block
from nsqx.nsqd.log.limits import LOG_LIMITS, LogLimits
from nsqx.nsqd.log.records import (
    RECORD_BYTES,
    SEAL_DEFERRED,
    Commit,
    Header,
    crc32c,
    decode_commit,
    encode_commit,
)
from nsqx.nsqd.log.storage import File, Storage
from nsqx.protocol.errors import NsqxError
from nsqx.protocol.messages import frame_offsets

__all__ = [
    "SEGMENT_FILE",
    "Damage",
    "DamagedError",
    "Segment",
    "UnreadableError",
    "data_path",
    "finish_removal",
    "index_path",
    "removed_path",
]

# Only what has this shape is a segment's.
SEGMENT_FILE = re.compile(r"([0-9]{20})\.(log|idx|removed)")


@dataclass(frozen=True, slots=True)
class Damage:
    """Messages ``first`` to ``end - 1`` that can not be delivered any more, and why."""

    first: int
    end: int
    path: str
    reason: str


class DamagedError(NsqxError):
    """What was to be read is damaged; `damage` says which messages that costs."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(damage.reason)
        self.damage = damage


class UnreadableError(NsqxError, OSError):
    """The disk failed to read messages ``first`` to ``end - 1``."""

    def __init__(self, first: int, end: int, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.first = first
        self.end = end


def data_path(folder: str, first: int) -> str:
    """Return the path of the frames of the segment that begins with message ``first``."""
    return f"{folder}/{first:020d}.log"


def index_path(folder: str, first: int) -> str:
    """Return the path of its index."""
    return f"{folder}/{first:020d}.idx"


def removed_path(folder: str, first: int) -> str:
    """Return the path of its index while it is being removed."""
    return f"{folder}/{first:020d}.removed"


def finish_removal(storage: Storage, folder: str, first: int) -> None:
    """Delete what is left of a segment that is being removed."""
    storage.remove(data_path(folder, first))
    storage.remove(removed_path(folder, first))


class Segment:
    """
    Messages ``first`` to ``end - 1`` on disk.

    The last segment of a log is open and grows; the others are sealed and open their files only
    while something is read.
    """

    __slots__ = (
        "_chunk_bytes",
        "_closes_after_sync",
        "_data",
        "_index",
        "_storage",
        "_syncs",
        "created_ns",
        "end",
        "first",
        "folder",
        "has_deferred",
        "id_base",
        "index_size",
        "last_ns",
        "sealed",
        "size",
    )

    def __init__(
        self, storage: Storage, folder: str, header: Header, limits: LogLimits = LOG_LIMITS
    ) -> None:
        self._storage = storage
        self._chunk_bytes = limits.index_records * RECORD_BYTES  # of the index, in one read
        self._data: File | None = None
        self._index: File | None = None
        self._closes_after_sync = False
        self._syncs = 0  # syncs under way; the files stay open for them
        self.folder = folder
        self.first = header.first
        self.end = header.first
        self.id_base = header.id_base
        self.created_ns = header.created_ns
        self.last_ns = header.created_ns  # when the newest message was accepted
        self.size = 0  # bytes of frames that count
        self.index_size = RECORD_BYTES
        self.sealed = False
        self.has_deferred = False

    @classmethod
    def create(
        cls, storage: Storage, folder: str, header: Header, limits: LogLimits = LOG_LIMITS
    ) -> "Segment":
        """
        Begin a segment, in the place of an empty one if there is one.

        Raises:
            OSError: the disk refused; nothing stays behind that counts. An empty segment stays: if
                it is the only one, nothing but its name says where the log goes on.
        """
        segment = cls(storage, folder, header, limits)
        is_new = not _is_there(storage, index_path(folder, header.first))
        try:
            segment._data = storage.open(data_path(folder, header.first), create=True)
            segment._index = storage.open(index_path(folder, header.first), create=True)
            segment._index.truncate(0)
            segment._data.truncate(0)
            segment._index.write_at(header.encode(), 0)
        except OSError:
            if is_new:
                segment.discard()
            else:
                segment.close()
            raise
        return segment

    @property
    def header(self) -> Header:
        """Return what its index begins with."""
        return Header(self.first, self.id_base, self.created_ns)

    # Writing

    def append(
        self, frames: bytes, count: int, timestamp_ns: int, due_ns: int, checksum: int
    ) -> bytes:
        """
        Write a batch.

        Returns:
            Its record, encoded.

        Raises:
            OSError: the disk refused. The segment is as it was.
        """
        assert self._data is not None
        assert self._index is not None
        assert not self.sealed
        start, size = self.size, len(frames)
        record = encode_commit((self.end, start, size, count, timestamp_ns, due_ns, checksum))
        try:
            self._data.write_at(frames, start)
            self._index.write_at(record, self.index_size)
        except OSError:
            self.cut_surplus()
            raise
        self.size = start + size
        self.index_size += RECORD_BYTES
        self.end += count
        self.last_ns = timestamp_ns
        if due_ns:
            self.has_deferred = True
        return record

    def write_ahead(self, frames: bytes, offset: int) -> None:
        """
        Write frames that do not count yet: `append_written` follows, or `cut_surplus`.

        Raises:
            OSError: the disk refused.
        """
        assert self._data is not None
        self._data.write_at(frames, offset)

    def append_written(self, commits: Sequence[Commit]) -> None:
        """
        Let batches count whose frames were written ahead: all of them, or after an error none.

        Raises:
            OSError: the disk refused. The segment is as it was before they were written.
        """
        assert self._index is not None
        assert not self.sealed
        try:
            self._index.write_at(b"".join(map(encode_commit, commits)), self.index_size)
        except OSError:
            self.cut_surplus()
            raise
        self.end, self.size = _behind(commits[-1])
        self.index_size += RECORD_BYTES * len(commits)
        self.last_ns = commits[-1].timestamp_ns
        self.has_deferred = self.has_deferred or bool(commits[-1].due_ns)

    def cut_surplus(self) -> None:
        """
        Take back what was written in part, or whole before the error came.

        The next batch would overwrite it; but after a crash a record that is whole would bring
        back a batch that was refused.
        """
        with contextlib.suppress(OSError):
            self._open_index().truncate(self.index_size)
        with contextlib.suppress(OSError):
            assert self._data is not None
            self._data.truncate(self.size)

    def seal(self) -> None:
        """Write the seal and close the files. Raises OSError if the disk refused."""
        assert not self.sealed
        flags = SEAL_DEFERRED * self.has_deferred
        commit = Commit(self.end, self.size, 0, 0, self.last_ns, flags, 0)
        self._open_index().write_at(encode_commit(commit), self.index_size)
        self.index_size += RECORD_BYTES
        self.sealed = True
        self.close()

    def leave_open(self) -> None:
        """Take no more, though the seal could not be written. The next start finds it so."""
        self.sealed = True
        self.close()

    def sync(self) -> None:
        """Sync a sealed segment, in any thread; fine if it is gone. OSError if that failed."""
        for path in (data_path(self.folder, self.first), index_path(self.folder, self.first)):
            with contextlib.suppress(FileNotFoundError), self._reading(path) as file:
                file.sync()

    def begin_sync(self) -> tuple[File, File]:
        """
        Return the files, frames first, for a sync in another thread; `end_sync` follows.

        Raises:
            OSError: the files can not be opened; `end_sync` is to be called all the same.
        """
        self._syncs += 1
        if self._data is None:
            self._closes_after_sync = True
            self._data = self._storage.open(data_path(self.folder, self.first))
        return self._data, self._open_index()

    def end_sync(self) -> None:
        """The sync is over."""
        self._syncs -= 1
        if self._closes_after_sync:
            self.close()

    def discard(self) -> None:
        """Take back a segment without messages, as far as the disk lets us."""
        self.close()
        for path in (index_path(self.folder, self.first), data_path(self.folder, self.first)):
            with contextlib.suppress(OSError):
                self._storage.remove(path)

    def close(self) -> None:
        """Close the files, or leave that to the end of the sync under way."""
        self._closes_after_sync = self._syncs > 0
        if self._closes_after_sync:
            return
        for file in (self._data, self._index):
            if file is not None:
                file.close()
        self._data = self._index = None

    def remove(self, take: Callable[[str], None]) -> None:
        """
        Have ``take`` remove the files, by path. OSError if the disk refuses: to be tried again.

        The index gets another name first. With it a start knows that the removal was under way: of
        frames without an index, or an index without frames, it would think that they are damaged.
        """
        with contextlib.suppress(FileNotFoundError):  # it got so far the last time
            self._storage.rename(
                index_path(self.folder, self.first), removed_path(self.folder, self.first)
            )
        take(data_path(self.folder, self.first))
        take(removed_path(self.folder, self.first))

    # Reading

    def commits(self, *, sequence: int | None = None) -> Iterator[tuple[int, Commit | None]]:
        """
        Yield each record's position in the index and the record; None if it is damaged.

        With ``sequence`` only those from the one that holds this message on.
        """
        with self._reading(index_path(self.folder, self.first)) as index:
            position = RECORD_BYTES if sequence is None else self._find(index, sequence, True)
            while position < self.index_size:
                size = min(self._chunk_bytes, self.index_size - position)
                chunk = index.read_at(size, position)
                for at in range(0, len(chunk) - RECORD_BYTES + 1, RECORD_BYTES):
                    yield position + at, decode_commit(chunk[at : at + RECORD_BYTES])
                if len(chunk) < size:
                    return
                position += size

    def deferred_batches(self, start: int) -> Iterator[tuple[int, int, int]]:
        """
        Yield ``(first, end, due_ns)`` of deferred batches, from the one that holds ``start`` on.

        ``due_ns`` is 0 for what damaged records hold: nobody knows whether that is deferred.
        """
        behind, is_damaged = start, False
        for _, commit in self.commits(sequence=start):
            if commit is None:
                is_damaged = True
                continue
            if is_damaged:
                yield behind, commit.first, 0
                is_damaged = False
            behind = commit.first + commit.messages
            if commit.due_ns and commit.messages:  # those of a seal are flags
                yield commit.first, behind, commit.due_ns
        if is_damaged:
            yield behind, self.end, 0

    def read(self, sequence: int, bytes_wanted: int, *, may_block: bool) -> Block:
        """
        Read the batch that holds a message, and what follows up to about ``bytes_wanted``.

        Raises:
            DamagedError: that batch is damaged, and maybe some that follow.
            UnreadableError: the disk failed to read that batch.
            WouldBlockError: see `File.read_at`.
            OSError: the disk failed in another way.
        """
        # What may block runs in another thread, and there the segment's own files can be closed at
        # any moment, and their descriptors be those of other files.
        shared_index, shared_data = (None, None) if may_block else (self._index, self._data)
        with (
            self._reading(index_path(self.folder, self.first), shared_index) as index,
            self._reading(data_path(self.folder, self.first), shared_data) as data,
        ):
            position = self._find(index, sequence, may_block)
            commits = self._batches(index, position, sequence, bytes_wanted, may_block)
            start, end = commits[0].offset, commits[-1].offset + commits[-1].length
            try:
                frames = data.read_at(end - start, start, may_block=may_block)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                batch_end = commits[0].first + commits[0].messages
                raise UnreadableError(commits[0].first, batch_end, error) from error
        return self._block(commits, frames)

    def start_before(self, sequence: int, bytes_wanted: int) -> int:
        """
        Return where a batch begins, about so many bytes before the end of the batch that holds the
        message before ``sequence``; or just that message, if the records there are damaged.

        Raises:
            OSError: the disk failed.
        """
        with self._reading(index_path(self.folder, self.first)) as index:
            end = self._find(index, sequence - 1, True) + RECORD_BYTES
            position = max(RECORD_BYTES, end - self._chunk_bytes)
            chunk = index.read_at(end - position, position)
        start, total = sequence - 1, 0
        is_found = False
        for at in range(len(chunk) - RECORD_BYTES, -1, -RECORD_BYTES):
            commit = decode_commit(chunk[at : at + RECORD_BYTES])
            if commit is None or not commit.messages or commit.first >= sequence:
                continue
            total += commit.length
            if is_found and total > bytes_wanted:
                break
            start, is_found = min(start, commit.first), True
        return start

    def time_of(self, sequence: int) -> int:
        """Return when a message was accepted, in nanoseconds, or 0 if its record is damaged."""
        with self._reading(index_path(self.folder, self.first)) as index:
            commit = self._record(index, self._find(index, sequence, True), True)
        return commit.timestamp_ns if commit is not None else 0

    def first_at_or_after(self, timestamp_ns: int) -> int:
        """
        Return the first message accepted at or after a time, or ``end``.

        If the clock was set back meanwhile it may be a later one that was.
        """
        count = self.index_size // RECORD_BYTES
        low, high = 1, count
        with self._reading(index_path(self.folder, self.first)) as index:
            while low < high:
                middle = probe = (low + high) // 2
                commit = self._record(index, probe * RECORD_BYTES, True)
                while commit is None and probe + 1 < high:  # damaged: its neighbour will do
                    probe += 1
                    commit = self._record(index, probe * RECORD_BYTES, True)
                if commit is not None and commit.timestamp_ns < timestamp_ns:
                    low = probe + 1
                else:
                    high = middle
            found = self._record(index, low * RECORD_BYTES, True) if low < count else None
        return found.first if found is not None and found.messages else self.end

    @contextlib.contextmanager
    def _reading(self, path: str, file: File | None = None) -> Iterator[File]:
        if file is not None:
            yield file
            return
        opened = self._storage.open(path)
        try:
            yield opened
        finally:
            opened.close()

    def _open_index(self) -> File:
        if self._index is None:
            self._index = self._storage.open(index_path(self.folder, self.first))
        return self._index

    def _record(self, index: File, position: int, may_block: bool) -> Commit | None:
        return decode_commit(index.read_at(RECORD_BYTES, position, may_block=may_block))

    def _find(self, index: File, sequence: int, may_block: bool) -> int:
        """Return the position of the last record that begins at or before ``sequence``."""
        low, high = 1, self.index_size // RECORD_BYTES - 1
        while low < high:
            middle = probe = (low + high + 1) // 2
            commit = self._record(index, probe * RECORD_BYTES, may_block)
            while commit is None and probe < high:  # a damaged record: its neighbour will do
                probe += 1
                commit = self._record(index, probe * RECORD_BYTES, may_block)
            if commit is not None and commit.first <= sequence and commit.messages:
                low = probe
            else:
                high = middle - 1
        return low * RECORD_BYTES

    def _batches(
        self, index: File, position: int, sequence: int, bytes_wanted: int, may_block: bool
    ) -> list[Commit]:
        """Return consecutive records, the first being that of ``sequence``; damage ends them."""
        size = min(self._chunk_bytes, self.index_size - position)
        chunk = index.read_at(size, position, may_block=may_block)
        commits: list[Commit] = []
        total = 0
        for at in range(0, len(chunk) - RECORD_BYTES + 1, RECORD_BYTES):
            commit = decode_commit(chunk[at : at + RECORD_BYTES])
            if commit is None or commit.messages == 0:
                break
            if commits and (commit.first, commit.offset) != _behind(commits[-1]):
                break
            commits.append(commit)
            total += commit.length
            if total >= bytes_wanted:
                break
        if not commits or commits[-1].first + commits[-1].messages <= sequence:
            behind = _behind(commits[-1])[0] if commits else self.first
            position += RECORD_BYTES * len(commits)
            end = self._next_sound(index, position, sequence, may_block)
            raise DamagedError(self._damage(behind, end, "damaged index"))
        while commits[0].first + commits[0].messages <= sequence:
            del commits[0]
        if commits[0].first > sequence:
            raise DamagedError(self._damage(sequence, commits[0].first, "missing batches"))
        return commits

    def _next_sound(self, index: File, position: int, sequence: int, may_block: bool) -> int:
        """Return where the first batch behind a message begins whose record is sound."""
        while (position := position + RECORD_BYTES) < self.index_size:
            after = self._record(index, position, may_block)
            if after is not None and after.first > sequence:
                return after.first
        return self.end

    def _block(self, commits: list[Commit], frames: bytes) -> Block:
        """Check each batch; the block ends before the first damaged one."""
        sound = 0
        while sound < len(commits) and self._is_sound(commits[sound], _of(commits, sound, frames)):
            sound += 1
        if not sound:
            raise DamagedError(self._damage_at_start(commits, frames))
        length = _behind(commits[sound - 1])[1] - commits[0].offset
        offsets = frame_offsets(frames[:length])
        return Block(commits[0].first, bytearray(frames[:length]), offsets, self.id_base)

    def _damage_at_start(self, commits: list[Commit], frames: bytes) -> Damage:
        """Describe the damaged batches that a read begins with, all in one."""
        damaged = 1
        while damaged < len(commits) and not self._is_sound(
            commits[damaged], _of(commits, damaged, frames)
        ):
            damaged += 1
        reason = "truncated" if len(frames) < commits[0].length else "checksum mismatch"
        return self._damage(commits[0].first, _behind(commits[damaged - 1])[0], reason)

    def _damage(self, first: int, end: int, reason: str) -> Damage:
        return Damage(first, end, data_path(self.folder, self.first), reason)

    def _is_sound(self, commit: Commit, batch: bytes) -> bool:
        return len(batch) == commit.length and crc32c(batch) == commit.data_crc


def _is_there(storage: Storage, path: str) -> bool:
    try:
        storage.open(path).close()
    except FileNotFoundError:
        return False
    return True


def _behind(commit: Commit) -> tuple[int, int]:
    """Return the message and the offset at which the next batch begins."""
    return commit.first + commit.messages, commit.offset + commit.length


def _of(commits: list[Commit], number: int, frames: bytes) -> bytes:
    """Return one batch of consecutive ones that were read in one piece."""
    start = commits[number].offset - commits[0].offset
    return frames[start : start + commits[number].length]
