"""How long requests took, in a line for every so many of them (``--status-every``). No I/O."""

import math

__all__ = ["Timings", "percentile"]


class Timings:
    """
    Collects the times of one address.

    ``finished <n>`` counts from the beginning; the figures are of the last ``every`` requests.
    """

    def __init__(self, every: int, prefix: str) -> None:
        self._every = every
        self._prefix = prefix
        self._total = 0
        self._seconds: list[float] = []

    def add(self, seconds: float) -> str | None:
        """Take note of a request; return the line to log, if one is due."""
        if self._every <= 0:
            return None
        self._total += 1
        self._seconds.append(seconds)
        if len(self._seconds) < self._every:
            return None
        line = self._line(sorted(self._seconds))
        self._seconds.clear()
        return line

    def _line(self, ordered: list[float]) -> str:
        average = sum(ordered) / len(ordered)
        prefix = f"{self._prefix} " if self._prefix else ""
        return (
            f"{prefix}finished {self._total} - 99th: {percentile(ordered, 99) * 1000:.2f}ms"
            f" - 95th: {percentile(ordered, 95) * 1000:.2f}ms - avg: {average * 1000:.2f}ms"
        )


def percentile(ordered: list[float], percent: float) -> float:
    """Return the smallest value that is not exceeded by so many percent of the values."""
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]
