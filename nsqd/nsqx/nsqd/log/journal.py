"""
What must survive a crash about a channel: a checkpoint, and the changes since.

The only module that knows these bytes. A checkpoint is one file, replaced atomically:

    0     4
    +-----+-------------------- - - -
    | crc | msgpack of a map
    +-----+-------------------- - - -

A journal is a run of records; a crash may tear the last one:

    0     4        8      9
    +-----+--------+------+-------------- - - -
    | crc | length | kind | payload (length bytes)
    +-----+--------+------+-------------- - - -

    crc     CRC-32C of what follows it
    kind 1  finished ranges: (first uint64, count uint64) *
    kind 2  finished messages: uint64 *
    kind 3  to be delivered again: (sequence uint64, due int64, attempts uint16) *
    kind 4  position: cursor uint64; all below it is finished, nothing else is

Integers are big-endian. Example: "messages 100 to 102 are finished" is

    9164b18a | 00000010 | 01 | 0000000000000064 0000000000000003

Each checkpoint names the number of the journal that continues it. A new journal is begun before
its checkpoint is written, so recovery reads that one and all later ones; reading a change twice
does no harm. A damaged record is left out if a sound one follows: without it a message may come
again, or before it is due, but none is lost.
"""

import errno
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import msgpack

from nsqx.nsqd.log.formats import UnknownFormatError
from nsqx.nsqd.log.limits import LOG_LIMITS, LogLimits
from nsqx.nsqd.log.records import crc32c
from nsqx.nsqd.log.storage import File, Storage

__all__ = [
    "DEFERRED",
    "FINISHED",
    "FINISHED_RANGES",
    "POSITION",
    "REQUEUED",
    "Journal",
    "decode_checkpoint",
    "encode_checkpoint",
    "read_records",
]

FINISHED_RANGES = 1
FINISHED = 2
REQUEUED = 3
POSITION = 4
_KINDS = frozenset((FINISHED_RANGES, FINISHED, REQUEUED, POSITION))

_HEAD = struct.Struct(">IIB")
_CRC = struct.Struct(">I")
_RANGE = struct.Struct(">QQ")
DEFERRED = struct.Struct(">QqH")  # sequence, due_ns, attempts; in checkpoints, too
_POSITION = struct.Struct(">Q")
_PAYLOAD_BYTES_MAX = 64 * 1024 * 1024


def encode_record(kind: int, payload: bytes) -> bytes:
    """Return a whole record."""
    tail = _HEAD.pack(0, len(payload), kind)[_CRC.size :] + payload
    return _CRC.pack(crc32c(tail)) + tail


def read_records(data: bytes) -> tuple[list[tuple[int, bytes]], int, int]:
    """
    Return the sound records, how many bytes they take with damaged ones, and the bytes of those.

    What follows them is torn.
    """
    records: list[tuple[int, bytes]] = []
    position = damaged = 0
    while (end := _record_end(data, position)) is not None:
        if _is_sound(data, position, end):
            kind = data[position + _HEAD.size - 1]
            records.append((kind, data[position + _HEAD.size : end]))
        else:
            next_end = _record_end(data, end)
            if next_end is None or not _is_sound(data, end, next_end):
                break
            damaged += end - position
        position = end
    return records, position, damaged


def _record_end(data: bytes, start: int) -> int | None:
    """Return where the record ends that begins at ``start``; None if it is not all there."""
    if start + _HEAD.size > len(data):
        return None
    _, length, _ = _HEAD.unpack_from(data, start)
    end: int = start + _HEAD.size + length
    return end if length <= _PAYLOAD_BYTES_MAX and end <= len(data) else None


def _is_sound(data: bytes, start: int, end: int) -> bool:
    crc: int = _CRC.unpack_from(data, start)[0]
    return bool(crc32c(data[start + _CRC.size : end]) == crc)


def encode_checkpoint(fields: dict[str, Any]) -> bytes:
    """Return the content of a checkpoint file."""
    packed: bytes = msgpack.packb(fields)
    return _CRC.pack(crc32c(packed)) + packed


def decode_checkpoint(data: bytes) -> dict[str, Any] | None:
    """Return the fields, or None if the file is damaged."""
    if len(data) < _CRC.size or crc32c(data[_CRC.size :]) != _CRC.unpack_from(data)[0]:
        return None
    try:
        fields = msgpack.unpackb(data[_CRC.size :])
    except ValueError:  # the checksum of nothing is 0, as that of a file of zeros may be
        return None
    return fields if isinstance(fields, dict) else None


def ranges_of(payload: bytes) -> Iterator[tuple[int, int]]:
    """Yield ``(first, count)`` of a record of kind 1."""
    return _RANGE.iter_unpack(payload)


def sequences_of(payload: bytes) -> "array[int]":
    """Return the messages of a record of kind 2."""
    return _swapped(array("Q", payload))


def requeues_of(payload: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield ``(sequence, due_ns, attempts)`` of a record of kind 3."""
    return DEFERRED.iter_unpack(payload)


def position_of(payload: bytes) -> int:
    """Return the cursor of a record of kind 4."""
    cursor: int = _POSITION.unpack(payload)[0]
    return cursor


def _swapped(numbers: "array[int]") -> "array[int]":
    numbers.byteswap()
    return numbers


Entries = TypeVar("Entries", list[int], list[bytes], "array[int]")


class Journal:
    """
    Gathers the changes of a channel and writes them in batches.

    What is gathered is written by `flush`; a crash before loses it, which costs a delivery of
    messages that were finished already, never a message.
    """

    def __init__(self, storage: Storage, path: str, limits: LogLimits = LOG_LIMITS) -> None:
        """``path`` is completed by the number of the journal."""
        self._limits = limits
        self._storage = storage
        self._path = path
        self._file: File | None = None
        self.number = 0
        self.size = 0
        self._oldest = 0  # the lowest number of which there may be a file
        self._failed_number = -1  # of the last journal that could not be synced
        self._synced = (0, 0)  # a journal and its size: up to there all survives a loss of power
        self._ranges: list[int] = []  # first and count, in turn
        self._singles = array("Q")
        self._requeues: list[bytes] = []
        self._others: list[bytes] = []
        self._requeues_max = limits.requeues  # beyond that, those that were overtaken go

    @property
    def is_dirty(self) -> bool:
        """Return whether something waits to be written."""
        return bool(self._ranges or self._singles or self._requeues or self._others)

    # Changes

    def finished_range(self, first: int, count: int) -> None:
        """Consecutive messages were finished."""
        ranges = self._ranges
        if ranges and ranges[-2] + ranges[-1] == first:
            ranges[-1] += count
        else:
            ranges.append(first)
            ranges.append(count)

    def finished(self, sequence: int) -> None:
        """A message was finished."""
        self._singles.append(sequence)

    def requeued(self, sequence: int, due_ns: int, attempts: int) -> None:
        """A message is to be delivered again, after ``attempts`` deliveries so far."""
        self._requeues.append(DEFERRED.pack(sequence, due_ns, attempts))

    def positioned(self, cursor: int) -> None:
        """All below the cursor is finished, and nothing else."""
        self._discard()
        self._others.append(encode_record(POSITION, _POSITION.pack(cursor)))

    def _discard(self) -> None:
        self._ranges.clear()
        self._requeues.clear()
        self._singles = array("Q")
        self._others.clear()

    # Files

    def begin(self) -> None:
        """Remove what an earlier channel of this name left, for once it could not be removed."""
        for number in self._numbers():
            self._storage.remove(self._numbered(number))

    def read(
        self, first_number: int | None, there: Iterable[int] | None = None
    ) -> tuple[list[tuple[int, bytes]], int]:
        """
        Read this journal and the later ones, and continue with the last.

        Args:
            first_number: the one that the checkpoint names; None if it is lost, then all.
            there: the numbers of all that are there, if they are known. Those beyond the last one
                and before the first are of another past that a loss of power brought back, and go.

        Returns:
            The records, and how many bytes were left out because they were torn or damaged.

        Raises:
            UnknownFormatError: a newer version wrote one.
        """
        numbers = set(self._numbers() if there is None else there)
        if first_number is None:
            # The last run of consecutive ones: a loss of power may have brought older ones back.
            first_number = max(numbers, default=0)
            while first_number - 1 in numbers:
                first_number -= 1
        self._oldest = first_number
        while self._oldest - 1 in numbers:  # a crash stopped their removal
            self._oldest -= 1
        records: list[tuple[int, bytes]] = []
        cut = 0
        self.number = first_number
        # One that is not there and has a successor was taken by a loss of power.
        while self.number in numbers or self.number + 1 in numbers:
            is_there = self.number in numbers
            content = self._storage.read_file(self._numbered(self.number)) if is_there else b""
            found, self.size, damaged = read_records(content)
            for kind, _ in found:
                if kind not in _KINDS:
                    path = self._numbered(self.number)
                    raise UnknownFormatError(path, f"a record of kind {kind}")
            records += found
            cut += len(content) - self.size + damaged
            self.number += 1
        if self.number > first_number:
            self.number -= 1
            self._open().truncate(self.size)
        for number in numbers:
            if not self._oldest <= number <= self.number:
                self._storage.remove(self._numbered(number))
        self._synced = (self._oldest, -1)  # what is there may have been written just before
        return records, cut

    def flush(self) -> None:
        """
        Write what was gathered.

        Raises:
            OSError: the disk refused. What was gathered is kept for the next time.
        """
        # A requeue after a finish can not be, so the order of the kinds does not matter; a
        # position comes first, since it discarded what was before it.
        pieces = partial(_pieces, count=self._limits.entries)
        data = b"".join(
            [
                *self._others,
                *(encode_record(REQUEUED, b"".join(part)) for part in pieces(self._requeues)),
                *(encode_record(FINISHED_RANGES, _packed(part)) for part in pieces(self._ranges)),
                *(encode_record(FINISHED, _packed(part)) for part in pieces(self._singles)),
            ]
        )
        try:
            self._open().write_at(data, self.size)
        except OSError:
            self._forget_overtaken()
            raise
        self.size += len(data)
        self._discard()

    def _forget_overtaken(self) -> None:
        """
        Keep of each message's requeues the last: it may be hours until the disk takes them.

        What was finished need not be thinned out, it is no more than there are messages.
        """
        if len(self._requeues) > self._requeues_max:
            self._requeues = list(
                {entry[: _POSITION.size]: entry for entry in self._requeues}.values()
            )
            self._requeues_max = max(self._limits.requeues, 2 * len(self._requeues))

    def begin_next(self) -> int:
        """
        Flush, and go on in a new file; a checkpoint of what holds now continues with it.

        Returns:
            The number of the new journal. Raises OSError as `flush` does.
        """
        if self.is_dirty:
            self.flush()
        new = self._storage.open(self._numbered(self.number + 1), create=True)
        new.truncate(0)
        self.close()
        self.number += 1
        self._file, self.size = new, 0
        return self.number

    def remove_before(self, number: int) -> None:
        """
        Remove the journals that a checkpoint made superfluous. May block.

        The oldest goes first, so that a crash meanwhile leaves no gap before those that count.
        """
        for old in range(self._oldest, number):
            self._storage.remove(self._numbered(old))
        self._oldest = number

    def remove(self, take: Callable[[str], None]) -> None:
        """Close, and have ``take`` remove all files, by path. OSError if the disk refuses."""
        self.close()
        for number in range(self._oldest, self.number + 1):
            take(self._numbered(number))

    @property
    def is_doubtful(self) -> bool:
        """
        Return whether a sync failed, so that no later one can make up for it.

        The operating system may have dropped what it could not write. A checkpoint, which is
        followed by `remove_before`, ends the doubt.
        """
        return self._failed_number >= self._oldest

    def sync(self) -> None:
        """Return when what was written survives a loss of power. Blocks; OSError if it failed."""
        self.begin_sync()()

    @property
    def is_synced(self) -> bool:
        """Return whether all that was written survives a loss of power."""
        return self._synced == (self.number, self.size) and not self.is_doubtful

    def begin_sync(self) -> Callable[[], None]:
        """Return what to run, in any thread, so that what was written survives a loss of power."""
        written = (self.number, self.size)
        # The one before goes on to count until the checkpoint that replaces it is in its place.
        numbers = range(max(self._oldest, self._synced[0]), self.number + 1)

        def sync() -> None:
            if self.is_doubtful:
                raise OSError(errno.EIO, "Input/output error at an earlier sync")
            for number in numbers:
                self._sync(number)
            self._synced = written

        return sync

    def _sync(self, number: int) -> None:
        try:
            # Opened again: the journal may be closed meanwhile.
            file = self._storage.open(self._numbered(number))
        except FileNotFoundError:
            return  # nothing to say, or a checkpoint, which is durable, has said it
        try:
            file.sync()
        except OSError:
            self._failed_number = number
            raise
        finally:
            file.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> File:
        if self._file is None:
            self._file = self._storage.open(self._numbered(self.number), create=True)
        return self._file

    def _numbered(self, number: int) -> str:
        return f"{self._path}.{number}.journal"

    def _numbers(self) -> list[int]:
        """Return the numbers of the files that are there. Costs a look at the whole folder."""
        folder, _, prefix = self._path.rpartition("/")
        numbers = [
            name.removeprefix(f"{prefix}.").removesuffix(".journal")
            for name in self._storage.list(folder)
            if name.startswith(f"{prefix}.") and name.endswith(".journal")
        ]
        return [int(number) for number in numbers if number.isdecimal()]


def _pieces(entries: "Entries", count: int) -> "Iterator[Entries]":
    for start in range(0, len(entries), count):
        yield entries[start : start + count]


def _packed(numbers: "list[int] | array[int]") -> bytes:
    packed = array("Q", numbers)
    packed.byteswap()
    return packed.tobytes()
