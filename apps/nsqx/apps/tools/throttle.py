"""A limit on messages per second. No I/O; time is an argument."""

__all__ = ["Throttle"]


class Throttle:
    """
    Says when messages may go out: ``rate`` per second, and what was not used for one second.

    The first message goes out at once, the others follow at even distances, as in NSQ's to_nsq.
    """

    def __init__(self, rate: int, now: float) -> None:
        assert rate > 0
        self._rate = rate
        self._saved = 1.0  # messages that may go out; below 0: those that went out too early
        self._counted_at = now

    def take(self, now: float) -> float:
        """Take note of a message that is to go out; returns the seconds to wait before."""
        self._saved = min(self._saved + (now - self._counted_at) * self._rate, float(self._rate))
        self._counted_at = now
        self._saved -= 1
        return max(-self._saved / self._rate, 0.0)
