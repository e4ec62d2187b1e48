"""
How long an nsqd is left alone that could not store a message. No I/O; time is an argument.

Theory of operation. A full disk refuses one message as the next, and each refusal costs the
connection. So it gets nothing for a while, longer with each refusal, and then one message. When it
has taken that, it gets all that wait.
"""

from nsqx.client.errors import NsqError
from nsqx.client.reconnect import ReconnectDelays

__all__ = ["FIRST_SECONDS", "LONGEST_SECONDS", "Rest"]

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 1.0


class Rest:
    """The rest of one nsqd."""

    def __init__(
        self, first_seconds: float = FIRST_SECONDS, longest_seconds: float = LONGEST_SECONDS
    ) -> None:
        self.refusal: NsqError | None = None  # the last one; None: it has stored a message since
        self._delays = ReconnectDelays(first_seconds, longest_seconds)
        self._until = 0.0

    def refused(self, error: NsqError, now: float, random: float) -> None:
        """It could not store a message; ``random`` is from 0 to 1."""
        if not self.lasts(now):  # else that was sent before
            self._until = now + self._delays.next(random)
        self.refusal = error

    def stored(self) -> None:
        """It has stored one."""
        self.refusal = None
        self._delays.reset()

    def lasts(self, now: float) -> bool:
        """Whether it is to get nothing; if not, but there is a ``refusal``, it gets one."""
        return self.refusal is not None and now < self._until
