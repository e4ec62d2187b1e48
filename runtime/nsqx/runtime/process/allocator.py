"""
What is large and was freed goes back to the system at once. For processes that handle documents.

glibc gives blocks from 128 KiB on a mapping of their own, which ends when they are freed; but once
it has seen a larger one freed, blocks of up to that size come from the heap, where a few bytes
behind them hold them. So what a process has handled once, at its worst, it would keep. A fixed
threshold costs some page faults for each such block.
"""

import ctypes

__all__ = ["LARGE_BYTES", "return_large_blocks"]

LARGE_BYTES = 128 * 1024
_M_MMAP_THRESHOLD = -3  # of <malloc.h>


def return_large_blocks() -> bool:
    """Fix the threshold; return whether the C library knows it (others than glibc do not)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
