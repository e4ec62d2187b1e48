"""
Backoff of a consumer whose handlers fail. No I/O; time and randomness are arguments.

Theory of operation. There is one counter per consumer, the *level*; 0 means no backoff. A
failed message raises it, a finished one lowers it. As long as it is above 0, the consumer takes
turns between two phases:

    WAITING   no connection may deliver (RDY 0 everywhere) for multiplier * 2 ** level seconds.
              Results that come in meanwhile are of messages from before, and do not count.
    TRYING    one connection may deliver one message. Its result is the next signal.

So a consumer whose database is down asks for one message now and then, and comes back to full
speed in as many successes as it took failures.
"""

from dataclasses import dataclass
from enum import Enum

from nsqx.client.ranges import check_seconds

__all__ = ["Backoff", "BackoffPolicy", "Phase"]


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """
    Settings of the backoff.

    Attributes:
        multiplier_seconds: the unit; a wait at level n is this times 2 ** n.
        longest_seconds: no wait is longer, and the level stops before it would be. 0: no backoff.
        full_jitter: waits are uniformly random between 0 and the above.
    """

    multiplier_seconds: float = 1.0
    longest_seconds: float = 120.0
    full_jitter: bool = False

    def __post_init__(self) -> None:
        for name in ("multiplier_seconds", "longest_seconds"):
            check_seconds(name, getattr(self, name))


class Phase(Enum):
    """What the connections may deliver."""

    OPEN = "open"  # as much as max_in_flight allows
    WAITING = "waiting"  # nothing
    TRYING = "trying"  # one message


class Backoff:
    """The level and phase of one consumer."""

    def __init__(self, policy: BackoffPolicy) -> None:
        self._policy = policy
        self.level = 0
        self.phase = Phase.OPEN
        self.until = 0.0  # end of WAITING

    def failed(self, now: float, random: float) -> bool:
        """A message was requeued. Returns whether the phase changed."""
        if self.phase is Phase.WAITING or self._policy.longest_seconds == 0:
            return False
        if self._seconds(self.level + 1) <= self._policy.longest_seconds:
            self.level += 1
        return self._wait(now, random)

    def finished(self, now: float, random: float) -> bool:
        """A message was finished. Returns whether the phase changed."""
        if self.phase is not Phase.TRYING:
            return False
        self.level -= 1
        if self.level > 0:
            return self._wait(now, random)
        self.phase = Phase.OPEN
        return True

    def passed(self, now: float, random: float) -> bool:
        """A message was requeued on purpose: the level stays. Returns whether the phase changed."""
        return self.phase is Phase.TRYING and self._wait(now, random)

    def expire(self, now: float) -> bool:
        """End a wait whose time is over. Returns whether the phase changed."""
        if self.phase is Phase.WAITING and now >= self.until:
            self.phase = Phase.TRYING
            return True
        return False

    def _wait(self, now: float, random: float) -> bool:
        if self.level == 0:  # even the first wait would be too long
            return False
        seconds = min(self._seconds(self.level), self._policy.longest_seconds)
        self.until = now + (seconds * random if self._policy.full_jitter else seconds)
        self.phase = Phase.WAITING
        return True

    def _seconds(self, level: int) -> float:
        # Bounded, because a multiplier of 0 lets the level rise without end.
        return float(self._policy.multiplier_seconds * 2.0 ** min(level, 63))
