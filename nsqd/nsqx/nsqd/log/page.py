"""
A look at a log, for people: some messages from a point on, either way, without a cursor.

A page says which numbers it has looked at, `Page.first` to `Page.end`, and has of each of them
either the message or a gap with the reason. So pages that follow one another are the log, whatever
is damaged, and whatever is appended or let go of meanwhile.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from nsqx.nsqd.log.block import Block
from nsqx.nsqd.log.log import GONE, Gap, LogView
from nsqx.nsqd.log.ranges import Ranges
from nsqx.protocol.messages import HEADER_BYTES

__all__ = ["EMPTIED", "Page", "read_page", "read_page_before"]

EMPTIED = "emptied"

_READ_BYTES = 64 * 1024
# Of damaged or emptied parts of a log a page may pass over so many; each is a read at the most.
_GAPS_READ_MAX = 256


@dataclass(slots=True)
class Page:
    """
    What there is of the messages ``first`` to ``end - 1``.

    Attributes:
        frames: ``(sequence, frame)`` of each message, in the order of the log.
        gaps: what is missing of them, in the same order.
    """

    first: int
    end: int
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


class _Run(NamedTuple):
    """Messages ``first`` to ``end - 1``, which a block holds."""

    block: Block
    first: int
    end: int


class _Room:
    """What still fits into a page; one message does in any case."""

    def __init__(self, messages: int, bytes_max: int) -> None:
        self._messages = messages
        self._bytes = bytes_max
        self._gaps = _GAPS_READ_MAX
        self._is_empty = True

    def has_for_gap(self, gaps: int) -> bool:
        """Take one more part that is missing, if there is room for it."""
        self._gaps -= 1
        return self._gaps >= 0 and gaps <= self._messages

    def has_for(self, frame: bytes) -> bool:
        """Take a message, if there is room for it."""
        if not self._messages or (len(frame) > self._bytes and not self._is_empty):
            return False
        self._messages -= 1
        self._bytes -= len(frame)
        self._is_empty = False
        return True


def read_page(
    view: LogView,
    first: int,
    limit: int,
    bytes_max: int,
    hidden: Ranges | None = None,
    body_bytes: int | None = None,
) -> Page:
    """
    Read up to ``limit`` messages from ``first`` on. Blocks.

    Args:
        bytes_max: of all frames; a page has a message also if that alone is larger.
        hidden: what is not shown: it was emptied.
        body_bytes: how much of each body is wanted; None for all. The rest is cut off.

    Raises:
        OSError: the disk failed.
    """
    page = Page(first, first)
    if first < view.first:
        page.end = min(view.first, view.end)
        page.gaps.append(Gap(first, page.end, GONE))
    room = _Room(limit, bytes_max)
    for part in _parts(view, page.end, view.end, hidden or Ranges()):
        if isinstance(part, Gap):
            if not room.has_for_gap(len(page.gaps)):
                break
            _join(page.gaps, part)
            page.end = part.end
            continue
        for sequence in range(part.first, part.end):
            frame = _frame(part.block, sequence, body_bytes)
            if not room.has_for(frame):
                return page
            page.frames.append((sequence, frame))
            page.end = sequence + 1
    return page


def read_page_before(
    view: LogView,
    end: int,
    limit: int,
    bytes_max: int,
    hidden: Ranges | None = None,
    body_bytes: int | None = None,
) -> Page:
    """Do the same with the last ``limit`` messages before ``end``: from there backwards."""
    end = min(end, view.end)
    page = Page(end, end)
    room = _Room(limit, bytes_max)
    for part in _parts_before(view, end, hidden or Ranges()):
        if isinstance(part, Gap):
            if not room.has_for_gap(len(page.gaps)):
                break
            page.gaps.append(part)
            page.first = part.first
            continue
        if not _take_back(page, part, room, body_bytes):
            break
    page.frames.reverse()
    page.gaps = _joined(reversed(page.gaps))
    return page


def _take_back(page: Page, run: _Run, room: _Room, body_bytes: int | None) -> bool:
    """Take messages, the newest first; return whether all of them had room."""
    for sequence in range(run.end - 1, run.first - 1, -1):
        frame = _frame(run.block, sequence, body_bytes)
        if not room.has_for(frame):
            return False
        page.frames.append((sequence, frame))
        page.first = sequence
    return True


def _frame(block: Block, sequence: int, body_bytes: int | None) -> bytes:
    frame = block.frame(sequence)
    return frame if body_bytes is None else frame[: HEADER_BYTES + body_bytes]


def _parts_before(view: LogView, end: int, hidden: Ranges) -> Iterator[_Run | Gap]:
    """Yield what there is before ``end``, the newest first."""
    while end > view.first:
        start = max(view.first, view.start_before(end, _READ_BYTES))
        # What is asked for backwards can only be read forwards: in pieces that are small.
        yield from reversed(list(_parts(view, start, end, hidden)))
        end = start


def _parts(view: LogView, start: int, end: int, hidden: Ranges) -> Iterator[_Run | Gap]:
    """Yield what there is of the messages ``start`` to ``end - 1``, in order and without a hole."""
    piece: Block | Gap | None = None
    while start < end:
        skip = hidden.range_at_or_after(start)
        if skip is not None and skip[0] <= start:
            stop = min(skip[1], end)
            yield Gap(start, stop, EMPTIED)
            start = stop
            continue
        if piece is None or piece.end <= start:
            piece = view.read(start, _READ_BYTES)
            assert piece.first <= start < piece.end
        stop = min(piece.end, end, skip[0] if skip is not None else end)
        if isinstance(piece, Gap):
            yield Gap(start, stop, piece.reason)
        else:
            yield _Run(piece, start, stop)
        start = stop


def _joined(gaps: Iterable[Gap]) -> list[Gap]:
    joined: list[Gap] = []
    for gap in gaps:
        _join(joined, gap)
    return joined


def _join(gaps: list[Gap], gap: Gap) -> None:
    """Add a gap, as a part of the last one if it continues that."""
    if gaps and (gaps[-1].end, gaps[-1].reason) == (gap.first, gap.reason):
        gaps[-1] = Gap(gaps[-1].first, gap.end, gap.reason)
    else:
        gaps.append(gap)
