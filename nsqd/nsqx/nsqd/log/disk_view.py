"""What a `TopicLog` held at one moment, read from its segments: see `LogView`."""

from bisect import bisect_right
from collections.abc import Sequence

from nsqx.nsqd.log.block import Block
from nsqx.nsqd.log.log import GONE, Gap
from nsqx.nsqd.log.segment import DamagedError, Segment

__all__ = ["DiskView"]


class DiskView:
    """Segments, oldest first, up to the message ``end - 1``."""

    __slots__ = ("_segments", "end", "first")

    def __init__(self, segments: Sequence[Segment], end: int) -> None:
        self._segments = segments
        self.first = segments[0].first if segments else end
        self.end = end

    def read(self, sequence: int, bytes_wanted: int) -> Block | Gap:
        """See `LogView.read`."""
        index = self._index_of(sequence)
        segment = self._segments[index]
        if sequence >= segment.end:
            return Gap(segment.end, self._begin_of(index + 1), "missing segment")
        try:
            return segment.read(sequence, bytes_wanted, may_block=True)
        except DamagedError as error:
            return Gap(error.damage.first, error.damage.end, error.damage.reason)
        except FileNotFoundError:
            return Gap(segment.first, self._begin_of(index + 1), GONE)

    def start_before(self, sequence: int, bytes_wanted: int) -> int:
        """See `LogView.start_before`."""
        segment = self._segments[self._index_of(sequence - 1)]
        try:
            return segment.start_before(sequence, bytes_wanted)
        except FileNotFoundError:
            return sequence - 1

    def first_at_or_after(self, timestamp_ns: int) -> int:
        """See `LogView.first_at_or_after`."""
        for segment in self._segments:
            if segment.last_ns >= timestamp_ns and segment.first < segment.end:
                try:
                    return min(segment.first_at_or_after(timestamp_ns), self.end)
                except FileNotFoundError:  # let go meanwhile: the next one is the oldest
                    continue
        return self.end

    def time_of(self, sequence: int) -> int:
        """See `LogView.time_of`."""
        index = self._index_of(sequence)
        if index < 0:
            return 0
        try:
            return self._segments[index].time_of(sequence)
        except FileNotFoundError:
            return 0

    def _index_of(self, sequence: int) -> int:
        return bisect_right(self._segments, sequence, key=_first_of) - 1

    def _begin_of(self, index: int) -> int:
        """Return where a segment begins, or where the log ends."""
        return self._segments[index].first if index < len(self._segments) else self.end


def _first_of(segment: Segment) -> int:
    return segment.first
