"""
Messages found by their frames alone, for a segment whose index is damaged or gone.

A frame names its own size and an id, and the ids of a segment are consecutive. So a run of frames
that lie end to end with just the ids that are expected is no accident, and after bytes that make
no sense the next run is found by the digits that all ids of a segment share.

Bodies have no checksum of their own. After a loss of power a part of them may never have reached
the disk, and reads as zeros up to the end of a sector. A frame that may be torn so is not trusted.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from nsqx.nsqd.log.deferral import due_of
from nsqx.nsqd.log.records import Commit, crc32c
from nsqx.protocol.messages import (
    HEADER_BYTES,
    ID_BYTES,
    attempts_of,
    frame_offsets,
    id_of,
    message_id,
    timestamp_of,
)

__all__ = ["group_frames", "id_base_of", "runs_of_frames"]

# Frames that have lost their records are put into batches of this size.
BATCH_BYTES = 64 * 1024
SECTOR_BYTES = 512

# From its type on. The attempts are 1, or say that the message is deferred.
_FRAME = re.compile(rb"\x00\x00\x00\x02.{8}(?:\x00\x01|[\x80-\xff].)([0-9a-f]{16})", re.DOTALL)
_TYPE_AT = 4
_ID_AT = HEADER_BYTES - ID_BYTES
# What the ids of a segment have in common. It takes up to 2^32 messages to change these digits;
# a run that begins behind both damage and that change is not found.
_COMMON_DIGITS = 8
_VOTES = 100


def id_base_of(frames: bytes, first: int, known: Iterable[int] = ()) -> int | None:
    """
    Return what to add to the numbers of messages to get their ids, told from some of them.

    Args:
        frames: of a whole segment; its beginning may be missing.
        first: the number of its first message.
        known: what other segments of the log add, the likeliest first.
    """
    found_ids = [int(match[1], 16) for match in islice(_FRAME.finditer(frames), _VOTES)]
    numbers = range(first, first + len(frames) // HEADER_BYTES)
    for id_base in known:
        if any(found_id - id_base in numbers for found_id in found_ids):
            return id_base
    walked = (_id_at(frames, offset) for offset in frame_offsets(frames)[:-1])
    bases = _bases(walked, first)
    if not bases and _FRAME.match(frames, _TYPE_AT):  # the first frame's size is damaged
        bases = _bases(iter(found_ids), first)
    return bases.most_common(1)[0][0] if bases else None


def _bases(ids: "Iterator[int | None]", first: int) -> "Counter[int]":
    numbered = enumerate(islice(ids, _VOTES), first)
    return Counter(
        found - number for number, found in numbered if found is not None and found >= number
    )


def runs_of_frames(data: bytes, first: int, id_base: int) -> Iterator[tuple[int, int, int]]:
    """
    Yield ``(number, start, end)`` of frames that lie end to end, ``number`` being the first's.

    Between runs are bytes that make no sense; the numbers say how many messages they cost.
    """
    position, number = 0, first
    while (run := _next_run(data, position, number, id_base)) is not None:
        number, start, offsets = run
        position = start + offsets[-1]
        yield number, start, position
        number += len(offsets) - 1


def group_frames(frames: bytes, first: int, offset: int, id_base: int) -> list[Commit]:
    """
    Put frames into batches, as far as they lie end to end with the ids that are expected.

    ``offset`` is where they begin in the file. When they are due is told by the frames: not
    exactly, and never too early.
    """
    offsets = _offsets(frames, id_base + first)
    commits: list[Commit] = []
    start = 0
    dues = [_due_at(frames, offset) for offset in offsets[:-1]]
    for number in range(1, len(offsets)):
        length = offsets[number] - offsets[start]
        is_last = number == len(offsets) - 1
        if length < BATCH_BYTES and not is_last and dues[number] == dues[start]:
            continue
        batch = frames[offsets[start] : offsets[number]]
        commits.append(
            Commit(
                first + start,
                offset + offsets[start],
                length,
                number - start,
                timestamp_of(batch),
                dues[start],
                crc32c(batch),
            )
        )
        start = number
    return commits


def _next_run(
    data: bytes, start: int, number: int, id_base: int
) -> "tuple[int, int, array[int]] | None":
    """
    Find the next run at or after ``start``, whose first message is ``number`` or later.

    Returns:
        The number of its first message, where it begins, and its offsets from there.
    """
    common = message_id(id_base + number)[:_COMMON_DIGITS]
    while start < len(data):
        found_id = _id_at(data, start)
        if found_id is not None and found_id >= id_base + number:
            offsets = _offsets(data[start:], found_id)
            for index in range(len(offsets) - 1):
                if _may_be_torn(data, start + offsets[index], start + offsets[index + 1]):
                    del offsets[index + 1 :]
                    break
            if len(offsets) > 1:
                return found_id - id_base, start, offsets
        found_at = data.find(common, start + _ID_AT + 1)
        start = found_at - _ID_AT if found_at >= 0 else len(data)
    return None


def _offsets(frames: bytes, first_id: int) -> "array[int]":
    """Return where frames begin and the last one ends, up to the first with another id."""
    offsets = frame_offsets(frames)
    for number, offset in enumerate(offsets[:-1]):
        if _id_at(frames, offset) != first_id + number:
            return offsets[: number + 1]
    return offsets


def _may_be_torn(data: bytes, start: int, end: int) -> bool:
    """Return whether a frame's body has a zero where it, or the sector it lies in, ends."""
    body = start + HEADER_BYTES
    ends = [*range((body // SECTOR_BYTES + 1) * SECTOR_BYTES, end, SECTOR_BYTES), end]
    return any(data[position - 1] == 0 for position in ends)


def _due_at(data: bytes, start: int) -> int:
    return due_of(timestamp_of(data, start), attempts_of(data, start))


def _id_at(data: bytes, start: int) -> int | None:
    """Return the id of the frame that begins there; None if these are not the bytes of one."""
    if _FRAME.match(data, start + _TYPE_AT) is None:
        return None
    return id_of(data, start)
