"""What numbers may be that callers give: no bool, no NaN, nothing without end."""

import math
from numbers import Integral, Real

__all__ = ["check_count", "check_seconds", "milliseconds"]

_MS_PER_SECOND = 1000


def check_seconds(
    name: str, seconds: float, *, above_zero: bool = False, most: float = math.inf
) -> float:
    """
    Return a number of seconds (or a share of something) from 0 to ``most``; never infinite.

    Raises:
        ValueError: it is out of range.
        TypeError: it is no number.
    """
    if type(seconds) is float and 0 < seconds <= most and seconds < math.inf:
        return seconds  # every publish comes here
    if isinstance(seconds, bool) or not issubclass(type(seconds), Real):
        raise TypeError(f"{name}: {seconds!r} is no number")
    if above_zero and seconds == 0:
        raise ValueError(f"{name} must be more than 0 seconds")
    if not 0 <= seconds < math.inf or seconds > most:  # NaN is not even more than 0
        raise ValueError(
            f"{name}: {seconds} is no number of seconds (which is not negative, and ends)"
        )
    return seconds


def check_count(name: str, count: int, least: int = 0) -> int:
    """
    Return a count of ``least`` or more.

    Raises:
        ValueError: it is less.
        TypeError: it is no whole number.
    """
    if isinstance(count, bool) or not issubclass(type(count), Integral):
        raise TypeError(f"{name}: {count!r} is no whole number")
    if count < least:
        raise ValueError(f"{name} is at least {least}, not {count}")
    return count


def milliseconds(name: str, seconds: float) -> int:
    """
    Return what a command of the protocol says for a number of seconds.

    Raises:
        ValueError: it is negative, infinite or NaN.
        TypeError: it is no number.
    """
    return round(check_seconds(name, seconds) * _MS_PER_SECOND)
