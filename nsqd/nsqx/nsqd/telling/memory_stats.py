"""
What this process uses of memory, under the names that NSQ's tools know (HTTP section 6).

    heap_objects             blocks that Python's allocator has given out
    heap_in_use_bytes        resident memory, from /proc
    gc_pause_usec_100, 99, 95    of the last 256 garbage collections
    gc_total_runs            garbage collections since the start
    heap_idle_bytes, heap_released_bytes, next_gc_bytes    0: Python has no such numbers
"""

import gc
import math
import os
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

__all__ = ["MemoryStats", "percentile", "resident_bytes"]

_PAUSES_MAX = 256
_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class MemoryStats:
    """Watches garbage collections from `start` to `stop`."""

    def __init__(self) -> None:
        self._pauses_ns: deque[int] = deque(maxlen=_PAUSES_MAX)
        self._began_ns = 0

    def start(self) -> None:
        """Begin to time collections. Costs about a microsecond for each."""
        gc.callbacks.append(self._observe)

    def stop(self) -> None:
        """End it; fine when it was not started."""
        if self._observe in gc.callbacks:
            gc.callbacks.remove(self._observe)

    def read(self) -> dict[str, int]:
        """Return the numbers, in NSQ's order."""
        # Copied first: a collection may begin with any object that is made, and adds its pause.
        pauses_us = sorted([pause // 1000 for pause in list(self._pauses_ns)])
        return {
            "heap_objects": sys.getallocatedblocks(),
            "heap_idle_bytes": 0,
            "heap_in_use_bytes": resident_bytes(),
            "heap_released_bytes": 0,
            "gc_pause_usec_100": percentile(pauses_us, 100),
            "gc_pause_usec_99": percentile(pauses_us, 99),
            "gc_pause_usec_95": percentile(pauses_us, 95),
            "next_gc_bytes": 0,
            "gc_total_runs": sum(generation["collections"] for generation in gc.get_stats()),
        }

    def _observe(self, phase: str, info: Mapping[str, int]) -> None:
        now_ns = time.monotonic_ns()
        if phase == "start":
            self._began_ns = now_ns
        else:
            self._pauses_ns.append(now_ns - self._began_ns)


def percentile(ascending: list[int], percent: float) -> int:
    """Return a percentile as NSQ takes it (metrics section 1), 0 of nothing."""
    if not ascending:
        return 0
    index = math.floor(percent / 100 * len(ascending) + 0.5)
    return ascending[min(index, len(ascending) - 1)]


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where there is no /proc."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
