"""How many files this process may have open, and has: each connection is one."""

import contextlib
import os
import resource
from collections.abc import Iterator

from nsqx.runtime.metrics import Family, told
from nsqx.runtime.numbers import PROCESS, number_of

__all__ = ["families", "is_scarce", "limit", "raise_limit"]

# What is kept for HTTP, the log and its topics when clients have taken all else.
RESERVED_MIN = 16


def raise_limit() -> None:
    """Use all that the system allows: the soft limit is often 1024, for programs of the past."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    """Return how many files may be open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def is_scarce(fd: int) -> bool:
    """
    Return whether a file that was just opened is one of those that are kept for other purposes.

    The system gives the lowest number that is free: all below it are taken.
    """
    most = limit()
    return fd >= most - max(most // 10, RESERVED_MIN)


def families() -> Iterator[Family]:
    """Yield the metrics that Prometheus's own libraries have for it."""
    with contextlib.suppress(OSError):  # where there is no /proc
        count = len(os.listdir("/proc/self/fd")) - 1  # the listing itself is one
        yield told(number_of(PROCESS, "open_fds"), count)
    yield told(number_of(PROCESS, "fds_max"), limit())
