"""How long to wait before another connection attempt. No I/O; randomness is an argument."""

__all__ = ["FIRST_SECONDS", "LONGEST_SECONDS", "ReconnectDelays"]

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 15.0


class ReconnectDelays:
    """
    Exponential delays with jitter, for one address.

    The first retry comes soon, because most connections are lost to a restart. Jitter keeps
    the clients of a restarted nsqd from returning all at once.
    """

    def __init__(
        self, first_seconds: float = FIRST_SECONDS, longest_seconds: float = LONGEST_SECONDS
    ) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._failures = 0

    def next(self, random: float) -> float:
        """Return the seconds to wait now: half of the step, plus a part of the other half."""
        # The exponent is bounded because 2.0 ** 1024 is an OverflowError.
        step = self._first_seconds * 2.0 ** min(self._failures, 32)
        self._failures += 1
        return min(step, self._longest_seconds) * (0.5 + random / 2)

    def reset(self) -> None:
        """Begin anew, after a connection that worked."""
        self._failures = 0
