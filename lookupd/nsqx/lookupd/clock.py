"""Time for the registry: dates that never jump."""

import time

__all__ = ["Clock"]


class Clock:
    """
    Nanoseconds since 1970 as the machine saw them at the start, plus what has passed since.

    A date is wanted for /debug. A clock that is set forward by minutes must not make every
    producer inactive, so the date is read once and the monotonic clock does the rest.
    """

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def __call__(self) -> int:
        return self._offset_ns + time.monotonic_ns()
