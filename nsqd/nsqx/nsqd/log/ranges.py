"""Sets of sequence numbers, kept as sorted ranges that do not touch."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

__all__ = ["Ranges"]


class Ranges:
    """
    A set of whole numbers. Costs 24 bytes a range, whatever its length.

    Adding at the end, which is the usual case, costs nothing to speak of; adding elsewhere
    moves what comes after.

    Attributes:
        end: no number from here on is in the set. Whoever asks for those needs no call.
    """

    __slots__ = ("_before", "_ends", "_starts", "end")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts = array("Q")
        self._ends = array("Q")
        # How many numbers the ranges before each one hold: of the first ranges only, as far as
        # somebody asked. A loop over all that follow for each addition took 0.1 s at 100,000.
        self._before = array("Q")
        self.end = 0
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        """Return the number of ranges."""
        return len(self._starts)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number < self._ends[index]

    def copy(self) -> "Ranges":
        """Return the same set, to change by itself or to be read in another thread."""
        same = Ranges()
        same._starts, same._ends, same.end = self._starts[:], self._ends[:], self.end
        return same

    def add(self, start: int, end: int) -> None:
        """Put ``start`` to ``end - 1`` into the set. An empty range changes nothing."""
        if start >= end:
            return
        if start == self.end and self._ends:
            self._ends[-1] = self.end = end
            return
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = array("Q", (start,))
        self._ends[low:high] = array("Q", (end,))
        if end > self.end:
            self.end = end
        del self._before[low + 1 :]

    def range_at_or_after(self, number: int) -> tuple[int, int] | None:
        """Return the first range that ends beyond ``number``: the one it is in, or the next."""
        index = bisect_right(self._ends, number)
        return (self._starts[index], self._ends[index]) if index < len(self._ends) else None

    def count(self, start: int, end: int) -> int:
        """Return how many numbers from ``start`` to ``end - 1`` are in the set."""
        return self._count_below(end) - self._count_below(start) if end > start else 0

    def remove_below(self, number: int) -> None:
        """Forget everything below ``number``."""
        index = bisect_right(self._ends, number)
        del self._starts[:index], self._ends[:index], self._before[:index]
        if not self._starts:
            self.end = 0
        if self._starts and self._starts[0] < number:
            if self._before:
                self._before[0] += number - self._starts[0]
            self._starts[0] = number

    def gaps(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield what is not in the set between ``start`` and ``end - 1``, as ranges."""
        index = bisect_right(self._ends, start)
        while start < end and index < len(self._starts) and self._starts[index] < end:
            if start < self._starts[index]:
                yield start, self._starts[index]
            start = self._ends[index]
            index += 1
        if start < end:
            yield start, end

    def _count_below(self, number: int) -> int:
        index = max(0, bisect_right(self._starts, number) - 1)
        if index >= len(self._before):
            self._count_ranges(index)
        if not self._starts or number <= self._starts[index]:
            return self._before[index] if self._before else 0
        return self._before[index] + min(number, self._ends[index]) - self._starts[index]

    def _count_ranges(self, index: int) -> None:
        """Bring `_before` up to the range ``index``."""
        before = self._before
        if not before and self._starts:
            before.append(0)
        for last in range(len(before) - 1, min(index, len(self._starts) - 1)):
            before.append(before[last] + self._ends[last] - self._starts[last])
