"""
How many messages may be taken before the event loop has its turn. No I/O; time is an argument.

Theory of operation. Whoever takes messages without ever waiting for anything is to let the event
loop turn every ``TURN_SECONDS``. To read the clock costs as much as to take a message, so it is
read once for several: as many as would fit into what is left of the turn, had each cost as much as
the last ones did, and ``GRANT_MAX`` at most. So a turn is too long by ``GRANT_MAX`` messages at the
worst, and that once: when they begin to take long all of a sudden.
"""

__all__ = ["Pace"]

TURN_SECONDS = 0.005
GRANT_MAX = 32


class Pace:
    """The pace of one consumer."""

    def __init__(self) -> None:
        self._granted = 1  # at the last look
        self._looked_at = self._until = float("-inf")  # the present turn ends then

    def look(self, now: float) -> int:
        """
        Return how many messages may be taken before the next look; 0: the loop should turn first.

        Args:
            now: of a clock that goes on during a turn, in seconds.
        """
        left = self._until - now
        if left <= 0:
            return 0
        took = now - self._looked_at
        self._looked_at = now
        if took * GRANT_MAX <= left * self._granted:
            granted = GRANT_MAX
        else:
            granted = int(left * self._granted / took) or 1
        self._granted = granted
        return granted

    def turned(self, now: float) -> None:
        """Note that the event loop had its turn, and that one message was taken after it."""
        self._until = now + TURN_SECONDS
        self._granted, self._looked_at = 1, now
