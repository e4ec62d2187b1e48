"""
End-to-end latency: the time from publish to FIN, as percentiles of a moving window.

Theory of operation. Samples fall into buckets whose bounds grow by 2.2 % (32 to a power of two),
so a percentile is right within that, whatever the number of samples; the largest and the
smallest are kept as they are. A window consists of two halves: samples go into the current one,
results come from both, and when half the window's time is over the older one is emptied and
becomes the current one. So a sample is forgotten after half to one window (metrics section 2).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["Histogram", "LatencyWindow", "merged"]

_BUCKETS_PER_DOUBLING = 32


@dataclass(slots=True)
class Histogram:
    """Counts by bucket; bucket n holds 2^(n/32) to 2^((n+1)/32) nanoseconds."""

    counts: dict[int, int] = field(default_factory=dict)
    total: int = 0
    lowest_ns: int = 0
    highest_ns: int = 0

    def add(self, value_ns: int, count: int) -> None:
        """Add ``count`` samples of one value. A negative one, of a clock set back, is 0."""
        value_ns = max(0, value_ns)
        bucket = int(math.log2(value_ns) * _BUCKETS_PER_DOUBLING) if value_ns else 0
        self.counts[bucket] = self.counts.get(bucket, 0) + count
        if not self.total or value_ns < self.lowest_ns:
            self.lowest_ns = value_ns
        self.highest_ns = max(self.highest_ns, value_ns)
        self.total += count

    def merge(self, other: "Histogram") -> None:
        """Add the samples of another one."""
        if not other.total:
            return
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.lowest_ns = min(self.lowest_ns, other.lowest_ns) if self.total else other.lowest_ns
        self.highest_ns = max(self.highest_ns, other.highest_ns)
        self.total += other.total

    def clear(self) -> None:
        """Forget all samples."""
        self.counts.clear()
        self.total = self.lowest_ns = self.highest_ns = 0

    def quantiles_ns(self, quantiles: Sequence[float]) -> list[int]:
        """Return the value at each of some quantiles, 0 without samples."""
        ascending = sorted(self.counts.items())
        return [self._quantile_ns(quantile, ascending) for quantile in quantiles]

    def _quantile_ns(self, quantile: float, ascending: list[tuple[int, int]]) -> int:
        rank = math.ceil(quantile * self.total)
        if rank >= self.total:
            return self.highest_ns
        seen = 0
        for bucket, count in ascending:
            seen += count
            if seen >= rank:
                middle_ns = int(2 ** ((bucket + 0.5) / _BUCKETS_PER_DOUBLING))
                return min(max(middle_ns, self.lowest_ns), self.highest_ns)
        return self.highest_ns


class LatencyWindow:
    """The samples of one channel. Time is any clock in nanoseconds that does not jump far."""

    def __init__(self, window_ns: int, now_ns: int) -> None:
        self._half_ns = max(1, window_ns // 2)
        self._began_ns = now_ns
        self._current = Histogram()
        self._older = Histogram()

    def add(self, value_ns: int, count: int, now_ns: int) -> None:
        """Add ``count`` samples of one value."""
        self._move_on(now_ns)
        self._current.add(value_ns, count)

    def halves(self, now_ns: int) -> tuple[Histogram, Histogram]:
        """Return what is in the window now; not to be changed."""
        self._move_on(now_ns)
        return self._current, self._older

    def _move_on(self, now_ns: int) -> None:
        passed = (now_ns - self._began_ns) // self._half_ns
        if passed <= 0:
            return
        self._began_ns += passed * self._half_ns
        self._older, self._current = self._current, self._older
        self._current.clear()
        if passed > 1:
            self._older.clear()


def merged(windows: Iterable[LatencyWindow], now_ns: int) -> Histogram:
    """Return the samples of several channels together: those of a topic."""
    result = Histogram()
    for window in windows:
        for half in window.halves(now_ns):
            result.merge(half)
    return result
