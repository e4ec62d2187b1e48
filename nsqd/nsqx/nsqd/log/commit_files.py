"""
The commit files of a node: what all topics append under ``fsync``, with one sync for all of them.

A log is two files that grow, and to sync it is to sync both and what the file system notes of their
growth; a hundred topics have two hundred. So what they appended since they were last safe is
written once more, all together, to a file that was allocated and filled before: its sync is one
write of the disk. The logs catch up in their own time. When all that a commit file holds was synced
in its place, the file is written over from its beginning.

After a crash `replay` writes what the files hold to where it belongs, before any log is opened. To
do so twice does no harm, since what was committed of a log never changes. A part whose segment is
gone, or has another header, is nobody's: names of files are on stable storage before the first part
names them.

A file is a run of records, each at a multiple of 4096 bytes:

     0     4        8            16       20
     +-----+--------+------------+--------+----------------------- - - -
     | crc | length | generation | number | parts (length bytes)
     +-----+--------+------------+--------+----------------------- - - -

    crc         CRC-32C of what follows it, up to the end of the parts
    generation  uint64; drawn at random when the files are made, then one more whenever one of them
                is begun anew: what an earlier one left there is none of its records
    number      uint32; of the record in its file, from 0

    part
     +-------+--------+--------+--------------+--------------+------------+--------+---------+
     | names | folder | header | frames begin | records begin | lengths of both | frames | records |
     +-------+--------+--------+--------------+--------------+------------+--------+---------+

    names          uint16, the length of the folder's path, which follows in UTF-8
    header         the 48 bytes with which the segment's index begins
    begin          uint64 offsets in its ``.log`` and its ``.idx``
    lengths        uint32
"""

import contextlib
import errno
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nsqx.nsqd.log.records import RECORD_BYTES, Header, crc32c
from nsqx.nsqd.log.segment import data_path, index_path
from nsqx.nsqd.log.storage import File, Storage

__all__ = ["COMMITS_FOLDER", "CommitFiles", "Part", "replay"]

COMMITS_FOLDER = "commits"
_SUFFIX = ".commits"
_BLOCK_BYTES = 4096
_ZEROS_BYTES = 1024 * 1024  # written at a time when a file is made
_GENERATIONS = 2**32  # that the files of a process will never get through
_ROOMS = 4  # there must be room for so much more than the files

_HEAD = struct.Struct(">IIQI")
_CRC = struct.Struct(">I")
_NAMES = struct.Struct(">H")
_PLACE = struct.Struct(">QQII")

Owner = TypeVar("Owner")


@dataclass(slots=True)
class Part:
    """
    What one log appended: the frames and records behind those that are safe.

    Attributes:
        folder: of the topic.
        header: of the segment.
        data_offset, index_offset: where the frames and the records begin in their files.
    """

    folder: str
    header: Header
    data_offset: int
    index_offset: int
    frames: list[bytes] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    size: int = 0  # bytes of frames

    def add(self, frames: bytes, record: bytes) -> None:
        """Take what was appended behind it."""
        self.frames.append(frames)
        self.records.append(record)
        self.size += len(frames)

    @property
    def encoded_bytes(self) -> int:
        """Return how long `encode` makes it; folders have ASCII names."""
        fixed = _NAMES.size + len(self.folder) + RECORD_BYTES + _PLACE.size
        return fixed + self.size + RECORD_BYTES * len(self.records)

    def encode(self) -> Iterator[bytes]:
        """Yield its bytes, in pieces."""
        folder = self.folder.encode()
        records = b"".join(self.records)
        yield _NAMES.pack(len(folder)) + folder + self.header.encode()
        yield _PLACE.pack(self.data_offset, self.index_offset, self.size, len(records))
        yield from self.frames
        yield records


def _decode_parts(data: bytes) -> Iterator[Part]:
    """Yield the parts of a sound record."""
    at = 0
    while at < len(data):
        (names,) = _NAMES.unpack_from(data, at)
        at += _NAMES.size
        folder = data[at : at + names].decode()
        at += names
        header = Header.decode(data[at : at + RECORD_BYTES])
        at += RECORD_BYTES
        data_offset, index_offset, size, records_size = _PLACE.unpack_from(data, at)
        at += _PLACE.size
        frames, records = data[at : at + size], data[at + size : at + size + records_size]
        at += size + records_size
        if header is not None:
            yield Part(folder, header, data_offset, index_offset, [frames], [records], size)


@dataclass(slots=True, eq=False)
class _CommitFile(Generic[Owner]):
    """One of the files."""

    file: File
    generation: int = 0
    number: int = 0
    size: int = 0  # of the records of this generation
    is_failed: bool = False  # a write or a sync of it failed: it takes nothing more
    # Whose parts it has that are not synced in their place, with the number of the last of them.
    behind: dict[Owner, int] = field(default_factory=dict)


class CommitFiles(Generic[Owner]):
    """
    Two files, one of which takes records while the logs catch up with the other.

    Whose a part is, is told by an ``Owner``, whatever that is to the caller. One commit is under
    way at a time.
    """

    def __init__(self, storage: Storage, *, size: int, generation: int) -> None:
        """``size`` in bytes of each file; ``generation`` at random, below 2^62."""
        self._storage = storage
        self._size = size
        self._files: list[_CommitFile[Owner]] = []
        self._active = 1  # the last, so the first is the next
        self._generation = generation
        self._spoiled: set[Owner] = set()  # of which a sync in their place failed
        self._laggards: list[Owner] = []
        self._is_under_way = False  # a commit
        self._is_closed = False
        self.is_ready = False

    def make(self) -> None:
        """
        Make the files, in a thread; `use` follows. Blocks.

        Raises:
            OSError: the disk refused; nothing is left of them.
        """
        storage = self._storage
        free_bytes = storage.free_bytes
        if free_bytes is not None and free_bytes < _ROOMS * 2 * self._size:
            raise OSError(errno.ENOSPC, "what is left of the disk is for messages")
        files: list[_CommitFile[Owner]] = []
        try:
            storage.make_folder(COMMITS_FOLDER)
            for number in range(2):
                file = storage.open(_path(number), create=True)
                files.append(_CommitFile(file))
                zeros = bytes(min(_ZEROS_BYTES, self._size))
                for offset in range(0, self._size, len(zeros)):
                    file.write_at(zeros[: self._size - offset], offset)
                file.sync()
            storage.sync_folder(COMMITS_FOLDER)
            storage.sync_folder("")
        except OSError:
            _close(files)
            with contextlib.suppress(OSError):
                remove(storage)
            raise
        self._files = files  # not before: the broker may end meanwhile

    def discard(self, *, leaves_files: bool = False) -> None:
        """
        Remove the files again, as far as the disk lets us, before they were used.

        Or leave them to the next start, if it is too late for that.
        """
        _close(self._files)
        self._files = []
        if not leaves_files:
            with contextlib.suppress(OSError):
                remove(self._storage)

    def use(self) -> None:
        """The files were made, and whoever must know that they count does."""
        self.is_ready = bool(self._files)

    def begin(self, parts: Sequence[tuple[Owner, Part]]) -> Callable[[], None] | None:
        """
        Take parts, and return what makes them safe, in any thread; then call `end`.

        None if they have no room now. What is returned raises OSError where the disk refuses, and
        then nobody knows whether they are safe.
        """
        size = _HEAD.size + sum(part.encoded_bytes for _, part in parts)
        if not self.is_ready or size > self._size:
            return None
        active = self._file_for(_padded(size))
        if active is None:
            return None
        generation, number, offset = active.generation, active.number, active.size
        for owner, _ in parts:
            active.behind[owner] = number
        active.number += 1
        active.size += _padded(size)
        pieces = [part for _, part in parts]
        self._is_under_way = True

        def commit() -> None:
            active.file.write_synced(_encode_record(generation, number, pieces), offset)

        return commit

    def end(self, *, is_done: bool) -> None:
        """The commit is over. If it failed, its file can't be trusted with more."""
        self._is_under_way = False
        if self._is_closed:
            _close(self._files)
            self._files = []
        else:
            self._files[self._active].is_failed |= not is_done

    def _file_for(self, size: int) -> _CommitFile[Owner] | None:
        active = self._files[self._active]
        if active.generation and not active.is_failed and active.size + size <= self._size:
            return active
        self._laggards = list(active.behind)
        for each in (self._files[1 - self._active], active):
            if not each.is_failed and not each.behind:
                self._active = self._files.index(each)
                self._generation += 1
                each.generation, each.number, each.size = self._generation, 0, 0
                return each
        return None

    def take_laggards(self) -> list[Owner]:
        """Return, once, whose logs have to be synced in their place so that a file gets free."""
        laggards, self._laggards = self._laggards, []
        return laggards

    def marks(self, owner: Owner) -> list[int]:
        """Return what to tell `caught_up` when a sync of that log that begins now has ended."""
        return [each.behind.get(owner, -1) for each in self._files]

    def caught_up(self, owner: Owner, marks: Sequence[int]) -> None:
        """A log was synced in its place."""
        if owner in self._spoiled:
            return
        for each, mark in zip(self._files, marks, strict=False):
            if each.behind.get(owner) == mark:
                del each.behind[owner]

    def spoil(self, owner: Owner) -> None:
        """
        A log could not be synced in its place: the system may have dropped what it was to write.

        No later sync would tell. So what the files have of it stays there, for the next start.
        """
        if any(owner in each.behind for each in self._files):
            self._spoiled.add(owner)

    def forget(self, owner: Owner) -> None:
        """A log is gone for good."""
        self._spoiled.discard(owner)
        for each in self._files:
            each.behind.pop(owner, None)

    def close(self) -> bool:
        """
        Take nothing more; all logs were synced in their place, but those that failed.

        Returns:
            Whether nothing is left that a start needs, and the files were removed.

        Raises:
            OSError: they could not be removed; the next start does it.
        """
        had_files, self.is_ready, self._is_closed = bool(self._files), False, True
        if not self._is_under_way:  # else the thread that writes there has the files until `end`
            _close(self._files)
            self._files = []
        if had_files and not self._spoiled:
            remove(self._storage)
            return True
        return False


def _close(files: Sequence[_CommitFile[Owner]]) -> None:
    for each in files:
        each.file.close()


def remove(storage: Storage) -> None:
    """Remove the files. OSError if the disk refuses."""
    for number in range(2):
        storage.remove(_path(number))
    storage.sync_folder(COMMITS_FOLDER)


def replay(storage: Storage) -> int:
    """
    Write what the commit files hold to where it belongs, and remove them.

    To be called before any log is opened.

    Returns:
        How many bytes were written.

    Raises:
        OSError: the disk refused; the files stay, and it is to be done again.
    """
    if COMMITS_FOLDER not in storage.list_folders(""):
        return 0
    written = 0
    synced: dict[str, None] = {}
    for part in _parts_in_order(storage):
        paths = _write_in_place(storage, part)
        if paths:
            synced |= dict.fromkeys(paths)
            written += part.size
    for path in synced:
        file = storage.open(path)
        try:
            file.sync()
        finally:
            file.close()
    remove(storage)
    return written


def _parts_in_order(storage: Storage) -> Iterator[Part]:
    files = []
    for number in range(2):
        with contextlib.suppress(FileNotFoundError):
            files.append(storage.read_file(_path(number)))
    for generation, data in sorted(zip(_generations(files), files, strict=True)):
        if generation:
            for record in _records(data, generation):
                yield from _decode_parts(record)


def _generations(files: Sequence[bytes]) -> list[int]:
    """
    Return the newest of each; 0 if a file has no sound record.

    What producers send may look like a record, where one of theirs lies that is written over in
    part by now. They can't know what the generations of these files are near to.
    """
    sound = [list(_sound_records(data)) for data in files]
    all_of_them = [record for records in sound for record in records]
    known = min(all_of_them, default=(0, 0))[1]  # one that a file begins with, if any is sound
    near = range(max(1, known - _GENERATIONS), known + _GENERATIONS)
    return [max((each for _, each in records if each in near), default=0) for records in sound]


def _sound_records(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each begins, and its generation."""
    at = 0
    while at + _HEAD.size <= len(data):
        crc, length, generation, _ = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        is_sound = bool(generation) and end <= len(data)
        if is_sound and crc32c(data[at + _CRC.size : end]) == crc:
            yield at, generation
            at += _padded(end - at)
        else:
            at += _BLOCK_BYTES


def _records(data: bytes, generation: int) -> Iterator[bytes]:
    """Yield the parts of the sound records of one generation, and step over damaged ones."""
    at, number = 0, 0
    while at + _HEAD.size <= len(data):
        crc, length, its_generation, its_number = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        is_next = its_generation == generation and its_number >= number and end <= len(data)
        if is_next and crc32c(data[at + _CRC.size : end]) == crc:
            yield data[at + _HEAD.size : end]
            at, number = at + _padded(end - at), its_number + 1
        else:
            at += _BLOCK_BYTES


def _write_in_place(storage: Storage, part: Part) -> tuple[str, str] | None:
    """Write a part; return the paths of the files, None if it is nobody's any more."""
    paths = data_path(part.folder, part.header.first), index_path(part.folder, part.header.first)
    with contextlib.ExitStack() as opened:
        files = []
        try:
            for path in paths:
                files.append(storage.open(path))
                opened.callback(files[-1].close)
        except (FileNotFoundError, NotADirectoryError):
            return None
        data, index = files
        if index.read_at(RECORD_BYTES, 0) != part.header.encode():
            return None
        data.write_at(part.frames[0], part.data_offset)
        index.write_at(part.records[0], part.index_offset)
    return paths


def _encode_record(generation: int, number: int, parts: Sequence[Part]) -> bytes:
    payload = b"".join(piece for part in parts for piece in part.encode())
    tail = _HEAD.pack(0, len(payload), generation, number)[_CRC.size :] + payload
    record = _CRC.pack(crc32c(tail)) + tail
    return record + bytes(_padded(len(record)) - len(record))


def _padded(size: int) -> int:
    """Return a multiple of whole blocks: a block that is written in part must be read first."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _path(number: int) -> str:
    return f"{COMMITS_FOLDER}/{number}{_SUFFIX}"
