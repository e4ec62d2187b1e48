"""
What a start makes of the segments it finds.

A sealed segment that has its length is trusted; its batches are checked when they are read. The
others were open when the broker ended without a farewell: the last batches are checked, what has no
commit record is cut, and the segment is sealed. Damage inside is reported and costs no more than
its batch.

What the index can not say any more, the frames do: a damaged header is told from the first sound
batch, and a segment whose index is gone is indexed again (`salvage`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from nsqx.nsqd.log.limits import LOG_LIMITS, LogLimits
from nsqx.nsqd.log.records import (
    DUE_BYTES,
    RECORD_BYTES,
    SEAL_DEFERRED,
    Commit,
    Header,
    crc32c,
    decode_commit,
    encode_commit,
)
from nsqx.nsqd.log.salvage import group_frames, id_base_of, runs_of_frames
from nsqx.nsqd.log.segment import (
    SEGMENT_FILE,
    Damage,
    Segment,
    data_path,
    finish_removal,
    index_path,
)
from nsqx.nsqd.log.storage import File, Storage
from nsqx.protocol.messages import id_of, timestamp_of

__all__ = ["CHECKED_BYTES", "Recovered", "add_damage", "recover_segments"]

# Of a segment that was open so many bytes of frames are checked at the start, up to its end. The
# others are checked when they are read, as in a sealed segment.
CHECKED_BYTES = 16 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_CHUNK_BYTES = 4096 * RECORD_BYTES


@dataclass(slots=True)
class Recovered:
    """What was found."""

    segments: list[Segment] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    cut_bytes: int = 0


def recover_segments(storage: Storage, folder: str, limits: LogLimits = LOG_LIMITS) -> Recovered:
    """Open all segments of a folder, oldest first. OSError if the disk refuses."""
    recovered = Recovered()
    segments = recovered.segments
    for first in _firsts(storage.list(folder), "removed"):
        finish_removal(storage, folder, first)
    for first in _firsts(storage.list(folder), "log", "idx"):
        segment = _open_sealed(storage, folder, first, limits)
        if segment is None:
            segment = _recover(storage, folder, first, recovered, limits)
        if segments and segments[-1].first == segments[-1].end:
            segments.pop().discard()  # the log went on beyond it, and nothing is in it
        if segments and segment.first == segment.end < segments[-1].end:
            segment.discard()  # could not be begun, and the one before it went on
            continue
        if segments and segments[-1].end < segment.first:
            end = segments[-1].end
            missing = Damage(end, segment.first, data_path(folder, end), "missing segment")
            add_damage(recovered.damages, missing)
        segments.append(segment)
    return recovered


def add_damage(damages: list[Damage], damage: Damage) -> None:
    """Add to a list, as a part of the last damage if it continues that one."""
    if damages:
        last = damages[-1]
        if (last.end, last.path, last.reason) == (damage.first, damage.path, damage.reason):
            damages[-1] = Damage(last.first, damage.end, last.path, last.reason)
            return
    damages.append(damage)


def _firsts(names: list[str], *kinds: str) -> list[int]:
    """Return the numbers of the segments of which there are files of some kinds."""
    found = map(SEGMENT_FILE.fullmatch, names)
    return sorted({int(name[1]) for name in found if name is not None and name[2] in kinds})


def _open_sealed(storage: Storage, folder: str, first: int, limits: LogLimits) -> Segment | None:
    """Return the segment if its seal is in place, without reading its batches."""
    try:
        index = storage.open(index_path(folder, first))
    except FileNotFoundError:
        return None
    try:
        size = index.size()
        header = Header.decode(index.read_at(RECORD_BYTES, 0), index_path(folder, first))
        seal = decode_commit(index.read_at(RECORD_BYTES, max(0, size - RECORD_BYTES)))
    finally:
        index.close()
    if size % RECORD_BYTES or header is None or header.first != first:
        return None
    if size == RECORD_BYTES:  # just begun: what was read last is the header, and no seal
        return None
    if seal is None or seal.messages or _size_of(storage, data_path(folder, first)) < seal.offset:
        return None
    segment = Segment(storage, folder, header, limits)
    segment.end, segment.size, segment.index_size = seal.first, seal.offset, size
    segment.last_ns, segment.sealed = seal.timestamp_ns, True
    segment.has_deferred = bool(seal.due_ns & SEAL_DEFERRED)
    return segment


def _size_of(storage: Storage, path: str) -> int:
    """Return a file's length; -1 if there is none."""
    try:
        file = storage.open(path)
    except FileNotFoundError:
        return -1
    try:
        return file.size()
    finally:
        file.close()


def _recover(
    storage: Storage, folder: str, first: int, recovered: Recovered, limits: LogLimits
) -> Segment:
    data = storage.open(data_path(folder, first), create=True)
    index = storage.open(index_path(folder, first), create=True)
    try:
        header = Header.decode(index.read_at(RECORD_BYTES, 0), index_path(folder, first))
        if header is None or header.first != first:
            header = _header_from_batches(data, index, first)
            if header is None:
                known = [segment.id_base for segment in reversed(recovered.segments)]
                header = _index_again(data, index, first, dict.fromkeys(known))
            index.write_at(header.encode(), 0)
        segment = Segment(storage, folder, header, limits)
        _check_batches(segment, data, index, recovered)
        surplus = data.size() - segment.size
        if surplus > 0:
            recovered.cut_bytes += surplus
            data.truncate(segment.size)
        index.truncate(segment.index_size)
    finally:
        data.close()
        index.close()
    try:
        segment.seal()
    except OSError:  # full: whoever makes room has to start, and the next start checks it again
        segment.leave_open()
    return segment


def _check_batches(segment: Segment, data: File, index: File, recovered: Recovered) -> None:
    """Find the end of what counts, and report what is damaged in the last part before it."""
    path = data_path(segment.folder, segment.first)
    found = _last_records(index, index.size() // RECORD_BYTES * RECORD_BYTES)
    frames = _Frames(data)
    end, behind = segment.first, RECORD_BYTES
    if not found.begins_segment:
        behind, oldest = found.commits[0]
        end = oldest.first
    for position, commit in found.commits:
        if commit.first > end:
            reason = "damaged index" if position > behind else "missing batches"
            add_damage(recovered.damages, Damage(end, commit.first, path, reason))
        end, behind = commit.first + commit.messages, position + RECORD_BYTES
        batch = frames.read(commit.offset, commit.length)
        if crc32c(batch) != commit.data_crc:
            reason = "checksum mismatch" if len(batch) == commit.length else "truncated"
            add_damage(recovered.damages, Damage(commit.first, end, path, reason))
    if found.commits:
        last = found.commits[-1][1]
        segment.end, segment.size = end, last.offset + last.length
        segment.last_ns = last.timestamp_ns
    segment.index_size = found.end_position
    segment.has_deferred = _has_deferred(index, found.end_position)
    if found.is_end_damaged:
        _report_end(segment, data, recovered)


@dataclass(slots=True)
class _LastRecords:
    """
    The sound records at the end of an index, with their positions, oldest first.

    Attributes:
        end_position: behind the last of them.
        is_end_damaged: damaged records follow.
        begins_segment: there are none before them.
    """

    commits: list[tuple[int, Commit]] = field(default_factory=list)
    end_position: int = RECORD_BYTES
    is_end_damaged: bool = False
    begins_segment: bool = True


def _last_records(index: File, size: int) -> _LastRecords:
    """Return those of the last `CHECKED_BYTES` of frames; at a seal that is not last they end."""
    found = _LastRecords()
    checked_bytes = 0
    end = size
    while end > RECORD_BYTES:
        start = max(RECORD_BYTES, end - _CHUNK_BYTES)
        chunk = index.read_at(end - start, start)
        for at in range(len(chunk) - RECORD_BYTES, -1, -RECORD_BYTES):
            commit = decode_commit(chunk[at : at + RECORD_BYTES])
            if commit is None:
                found.is_end_damaged = found.is_end_damaged or not found.commits
            elif commit.messages == 0:
                found = _LastRecords()  # what stands behind a seal is nothing
                checked_bytes = 0
            elif checked_bytes >= CHECKED_BYTES:
                found.begins_segment = False
                found.commits.reverse()
                return found
            else:
                if not found.commits:
                    found.end_position = start + at + RECORD_BYTES
                found.commits.append((start + at, commit))
                checked_bytes += commit.length
        end = start
    found.commits.reverse()
    return found


def _has_deferred(index: File, size: int) -> bool:
    """Return whether the due time of any record is not 0, without decoding them one by one."""
    for start in range(RECORD_BYTES, size, _CHUNK_BYTES):
        chunk = index.read_at(min(_CHUNK_BYTES, size - start), start)
        if any(chunk[at::RECORD_BYTES].strip(b"\0") for at in DUE_BYTES):
            return True
    return False


class _Frames:
    """Batches that lie one behind the other, read in large pieces: a call for each took 5 us."""

    def __init__(self, data: File) -> None:
        self._data = data
        self._start = 0
        self._piece = b""

    def read(self, offset: int, length: int) -> bytes:
        """Return a batch, or what there is of it."""
        at = offset - self._start
        if at < 0 or at + length > len(self._piece):
            self._start, at = offset, 0
            self._piece = self._data.read_at(max(length, _READ_BYTES), offset)
        return self._piece[at : at + length]


def _report_end(segment: Segment, data: File, recovered: Recovered) -> None:
    """
    Report the messages at the end that have to go with their damaged records.

    Their numbers stay theirs: what is appended next must not be taken for lost.
    """
    frames = data.read_at(data.size() - segment.size, segment.size)
    commits = group_frames(frames, segment.end, segment.size, segment.id_base)
    if commits:
        end = commits[-1].first + commits[-1].messages
        path = data_path(segment.folder, segment.first)
        add_damage(recovered.damages, Damage(segment.end, end, path, "damaged index"))
        segment.end = end


def _header_from_batches(data: File, index: File, first: int) -> Header | None:
    """Return a header for records that lost theirs; None if there is no sound record."""
    for position in range(RECORD_BYTES, index.size(), RECORD_BYTES):
        commit = decode_commit(index.read_at(RECORD_BYTES, position))
        if commit is None or commit.messages == 0:
            continue
        batch = data.read_at(commit.length, commit.offset)
        if crc32c(batch) == commit.data_crc and batch and id_of(batch) >= commit.first:
            return Header(first, id_of(batch) - commit.first, commit.timestamp_ns)
    return None


def _index_again(data: File, index: File, first: int, known: Iterable[int]) -> Header:
    """Write records for frames that have none; what is no frame of this log is left out."""
    frames = data.read_at(data.size(), 0)
    id_base = id_base_of(frames, first, known)
    index.truncate(RECORD_BYTES)
    if id_base is None:
        return Header(first, 0, 0)
    position = RECORD_BYTES
    created_ns = 0
    for number, start, end in runs_of_frames(frames, first, id_base):
        created_ns = created_ns or timestamp_of(frames, start)
        for commit in group_frames(frames[start:end], number, start, id_base):
            index.write_at(encode_commit(commit), position)
            position += RECORD_BYTES
    return Header(first, id_base, created_ns)
