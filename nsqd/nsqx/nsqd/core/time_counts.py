"""How long something took, counted in the buckets of a Prometheus histogram."""

from bisect import bisect_left
from math import inf

__all__ = ["TimeCounts"]

# Seconds. A commit to the page cache takes tens of microseconds, a sync of a bad disk seconds.
_BOUNDS_S = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
_BOUNDS_NS = tuple(round(bound * 1e9) for bound in _BOUNDS_S)


class TimeCounts:
    """Counts how long things took, since the start."""

    __slots__ = ("_counts", "total_ns")

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS_NS) + 1)
        self.total_ns = 0

    def add(self, duration_ns: int) -> None:
        """Count one. A negative one, of a clock that was set back, is 0."""
        if duration_ns < 0:
            duration_ns = 0
        self._counts[bisect_left(_BOUNDS_NS, duration_ns)] += 1
        self.total_ns += duration_ns

    @property
    def count(self) -> int:
        """Return how many there were."""
        return sum(self._counts)

    def by_bound(self) -> dict[float, int]:
        """Return how many were in each bucket, by its upper bound in seconds."""
        return dict(zip((*_BOUNDS_S, inf), self._counts, strict=True))
