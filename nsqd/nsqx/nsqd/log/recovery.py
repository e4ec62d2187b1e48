"""
What a start makes of the segments it finds.

A sealed segment is trusted; its batches are checked when they are read. The others were open
when the broker ended without a farewell: each batch is checked, what has no commit record is
cut, and the segment is sealed. Damage inside is reported and costs no more than its batch.
A segment whose index is gone is indexed again from its frames.
"""

from array import array
from dataclasses import dataclass, field

from nsqx.nsqd.log.records import (
    RECORD_BYTES,
    SEAL_CRASHED,
    SEAL_DEFERRED,
    Commit,
    Header,
    crc32c,
    decode_commit,
    encode_commit,
    stored_data_crc,
)
from nsqx.nsqd.log.segment import Damage, Segment, data_path, index_path
from nsqx.nsqd.log.storage import File, Storage
from nsqx.protocol.messages import HEADER_BYTES, frame_offsets, id_of, split_frame

__all__ = ["Recovered", "recover_segments"]

_REINDEX_BYTES = 64 * 1024


@dataclass(slots=True)
class Recovered:
    """What was found. ``clean`` if the last segment ended with a farewell of the broker."""

    segments: list[Segment] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    cut_bytes: int = 0
    clean: bool = True


def recover_segments(storage: Storage, folder: str) -> Recovered:
    """Open all segments of a folder, oldest first. OSError if the disk refuses."""
    recovered = Recovered()
    names = [name.partition(".") for name in storage.list(folder)]
    firsts = sorted({int(stem) for stem, _, kind in names if kind in ("log", "idx")})
    for first in firsts:
        segment = _open_sealed(storage, folder, first, recovered)
        if segment is None:
            recovered.clean = False
            segment = _recover(storage, folder, first, recovered)
        _report_gap(recovered, segment)
        recovered.segments.append(segment)
    return recovered


def _report_gap(recovered: Recovered, segment: Segment) -> None:
    if recovered.segments and recovered.segments[-1].end < segment.first:
        end = recovered.segments[-1].end
        path = data_path(segment.folder, end)
        recovered.damages.append(Damage(end, segment.first, path, "missing segment"))


def _open_sealed(storage: Storage, folder: str, first: int, recovered: Recovered) -> Segment | None:
    """Return the segment if its seal is in place, without reading its batches."""
    try:
        index = storage.open(index_path(folder, first))
    except FileNotFoundError:
        return None
    try:
        size = index.size()
        header = Header.decode(index.read_at(RECORD_BYTES, 0))
        seal = decode_commit(index.read_at(RECORD_BYTES, max(0, size - RECORD_BYTES)))
    finally:
        index.close()
    if (
        header is None
        or header.first != first
        or seal is None
        or seal.messages
        or size % RECORD_BYTES
    ):
        return None
    segment = Segment(storage, folder, header)
    segment.end, segment.size, segment.index_size = seal.first, seal.offset, size
    segment.last_ns, segment.sealed = seal.timestamp_ns, True
    segment.has_deferred = bool(seal.due_ns & SEAL_DEFERRED)
    recovered.clean = not seal.due_ns & SEAL_CRASHED
    return segment


def _recover(storage: Storage, folder: str, first: int, recovered: Recovered) -> Segment:
    data = storage.open(data_path(folder, first), create=True)
    index = storage.open(index_path(folder, first), create=True)
    try:
        header = Header.decode(index.read_at(RECORD_BYTES, 0))
        if header is None or header.first != first:
            header = _reindex(data, index, first)
        segment = Segment(storage, folder, header)
        _check_batches(segment, data, index, recovered)
        surplus = data.size() - segment.size
        if surplus > 0:
            recovered.cut_bytes += surplus
            data.truncate(segment.size)
        index.truncate(segment.index_size)
    finally:
        data.close()
        index.close()
    segment.seal(crashed=True)
    return segment


def _check_batches(segment: Segment, data: File, index: File, recovered: Recovered) -> None:
    """Find the end of what counts, and report what is damaged before it."""
    path = data_path(segment.folder, segment.first)
    segment.index_size = index.size() // RECORD_BYTES * RECORD_BYTES
    last_position = RECORD_BYTES
    doubtful: list[int] = []  # positions of damaged records since the last good one
    for position, commit in segment.commits():
        if commit is None:
            doubtful.append(position)
            continue
        if commit.messages == 0:
            break  # a seal that something was written behind
        if commit.first > segment.end and not doubtful:
            recovered.damages.append(Damage(segment.end, commit.first, path, "missing batches"))
        doubtful.clear()
        batch = data.read_at(commit.length, commit.offset)
        if crc32c(batch) != commit.data_crc:
            reason = "checksum mismatch" if len(batch) == commit.length else "truncated"
            end = commit.first + commit.messages
            recovered.damages.append(Damage(commit.first, end, path, reason))
        _grow(segment, commit)
        last_position = position + RECORD_BYTES
    segment.index_size = last_position
    if doubtful:
        _mend_last(segment, data, index, doubtful[0], recovered)


def _mend_last(
    segment: Segment, data: File, index: File, position: int, recovered: Recovered
) -> None:
    """
    Judge bytes at the end whose record is damaged.

    A record that was torn while it was written belongs to a batch that nobody was told about. A
    whole one that was damaged later names, most likely, the checksum of its batch.
    """
    record = index.read_at(RECORD_BYTES, position)
    frames = data.read_at(data.size() - segment.size, segment.size)
    if not frames or crc32c(frames) != stored_data_crc(record):
        return
    commits = _commits_of(frames, segment)
    for commit in commits:
        index.write_at(encode_commit(commit), segment.index_size)
        segment.index_size += RECORD_BYTES
        _grow(segment, commit)


def _grow(segment: Segment, commit: Commit) -> None:
    segment.end = commit.first + commit.messages
    segment.size = commit.offset + commit.length
    segment.last_ns = commit.timestamp_ns
    segment.has_deferred = segment.has_deferred or bool(commit.due_ns)


def _reindex(data: File, index: File, first: int) -> Header:
    """Write an index for frames that have none. What is not a frame of this log ends it."""
    frames = data.read_at(data.size(), 0)
    id_base = _id_base(frames, first)
    created_ns = split_frame(frames[:HEADER_BYTES])[0] if id_base else 0
    header = Header(first, id_base, created_ns)
    index.truncate(0)
    index.write_at(header.encode(), 0)
    if not id_base:
        return header
    position = RECORD_BYTES
    end, size = first, 0
    for commit in _commits_between(frames, end, size, id_base):
        index.write_at(encode_commit(commit), position)
        position += RECORD_BYTES
    return header


def _id_base(frames: bytes, first: int) -> int:
    if len(frame_offsets(frames)) < 2:
        return 0
    try:
        return id_of(frames) - first
    except ValueError:
        return 0


def _commits_of(frames: bytes, segment: Segment) -> list[Commit]:
    return _commits_between(frames, segment.end, segment.size, segment.id_base)


def _commits_between(frames: bytes, first: int, offset: int, id_base: int) -> list[Commit]:
    """Group well-formed frames, with just the ids that belong there, into batches."""
    offsets: array[int] = frame_offsets(frames)
    commits: list[Commit] = []
    start = 0
    for number in range(len(offsets) - 1):
        try:
            expected = id_of(frames, offsets[number]) == id_base + first + number
        except ValueError:
            expected = False
        if not expected:
            del offsets[number + 1 :]
            break
    for number in range(1, len(offsets)):
        length = offsets[number] - offsets[start]
        if length < _REINDEX_BYTES and number < len(offsets) - 1:
            continue
        batch = frames[offsets[start] : offsets[number]]
        timestamp_ns = split_frame(batch[:HEADER_BYTES])[0]
        commits.append(
            Commit(
                first + start,
                offset + offsets[start],
                length,
                number - start,
                timestamp_ns,
                0,
                crc32c(batch),
            )
        )
        start = number
    return commits
