"""What time it is, in two ways that never mix."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Clock"]


@dataclass(frozen=True, slots=True)
class Clock:
    """
    The two clocks of a node, both in nanoseconds.

    In the core ``now_ns`` is monotonic and ``wall_ns`` is wall time, wherever they stand.

    Attributes:
        wall: time since 1970, which may jump: for what is stored or shown, and for due times,
            which outlive the process.
        monotonic: time since any moment, which runs evenly: for every interval, so deadlines,
            time-outs, heartbeats and how long something took.
    """

    wall: Callable[[], int]
    monotonic: Callable[[], int]
