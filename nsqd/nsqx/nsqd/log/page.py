"""A look at a log, for people: some messages from a point on, without a cursor and side effects."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from nsqx.nsqd.log.block import Block
from nsqx.nsqd.log.segment import DamagedError, Segment

__all__ = ["Page", "read_page"]

_READ_BYTES = 64 * 1024


@dataclass(slots=True)
class Page:
    """
    Messages in the order of the log, and where to go on.

    Attributes:
        next: the first message that is not here.
        frames: ``(sequence, frame)`` of each message.
        size: bytes of all frames.
    """

    next: int
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    size: int = 0
    is_full: bool = False

    def take(self, block: Block, end: int, limit: int, bytes_max: int) -> None:
        """Take what fits of a block; at least one message in all, whatever its size."""
        if block.end <= self.next:
            return
        for sequence in range(max(self.next, block.first), min(block.end, end)):
            frame = block.frame(sequence)
            is_over = bool(self.frames) and self.size + len(frame) > bytes_max
            if is_over or len(self.frames) >= limit:
                self.is_full = True
                return
            self.frames.append((sequence, frame))
            self.size += len(frame)
            self.next = sequence + 1


def read_page(
    segments: Sequence[Segment], first: int, end: int, limit: int, bytes_max: int
) -> Page:
    """
    Read up to ``limit`` messages from ``first`` on, before ``end``. Blocks.

    Raises:
        OSError: the disk failed.
    """
    page = Page(first)
    for segment in segments:
        segment_end = min(segment.end, end)
        page.next = max(page.next, segment.first)
        while page.next < segment_end and not page.is_full:
            try:
                block = segment.read(page.next, _READ_BYTES, may_block=True)
            except DamagedError as error:
                page.next = max(page.next + 1, error.damage.end)
                continue
            except FileNotFoundError:  # let go meanwhile
                break
            page.take(block, end, limit, bytes_max)
            assert page.frames  # it makes progress, or is full
    return page
