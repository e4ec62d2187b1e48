"""Simulated time: what is to happen, in order."""

from collections.abc import Callable
from heapq import heappop, heappush

__all__ = ["MILLISECOND_NS", "SECOND_NS", "START_NS", "Scheduler"]

MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000
START_NS = 1_800_000_000 * SECOND_NS  # when every simulation begins


class Scheduler:
    """
    Calls functions at their time, and those of one time in the order they were planned.

    Nothing is ever taken back: who no longer wants a call looks at its own state when it comes.
    """

    def __init__(self) -> None:
        self.now_ns = START_NS
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._planned = 0

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the beginning."""
        return (self.now_ns - START_NS) / SECOND_NS

    def at(self, time_ns: int, call: Callable[[], None]) -> None:
        """Plan a call; what is past happens now."""
        self._planned += 1
        heappush(self._heap, (max(time_ns, self.now_ns), self._planned, call))

    def after(self, delay_ns: int, call: Callable[[], None]) -> None:
        """Plan a call for some time from now."""
        self.at(self.now_ns + delay_ns, call)

    def run_until(self, time_ns: int) -> None:
        """Let everything happen up to a time."""
        heap = self._heap
        while heap and heap[0][0] <= time_ns:
            self.now_ns, _, call = heappop(heap)
            call()
        self.now_ns = time_ns
