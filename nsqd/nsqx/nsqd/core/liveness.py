"""
Whether a client lives: heartbeats to it, signs of life from it (protocol section 7).

    READ        its commands are executed as they come: dead after two intervals without one
    WAITING     it is not read, for its commands wait: what it says meanwhile is not heard, so
                silence means nothing
    STUCK       the connection's buffer is full: dead after an interval in which it took nothing

An interval of 0 switches heartbeats and deadlines off. The first IDENTIFY decides on the interval
of heartbeats, the last one on that of the deadlines.
"""

from enum import Enum

__all__ = ["NEVER_NS", "Liveness", "Verdict"]

NEVER_NS = 1 << 63
# At a client that is stuck: so it ends at most a quarter too late.
LOOKS_PER_INTERVAL = 4


class Verdict(Enum):
    """What is to be done."""

    NOTHING = 0
    HEARTBEAT = 1
    END = 2


class Liveness:
    """
    When a client was heard, and what follows.

    Attributes:
        deadline_interval_ns: two of them in silence are too long.
        heard_ns: when it gave a sign of life, or could give none that was heard. Set for each
            read of a connection, so without a call.
        is_stuck: the connection's buffer is full.
    """

    __slots__ = (
        "_heartbeat_interval_ns",
        "_looked_ns",
        "_next_heartbeat_ns",
        "_unsent_bytes",
        "_unsent_since_ns",
        "deadline_interval_ns",
        "heard_ns",
        "is_stuck",
    )

    def __init__(self, now_ns: int, interval_ns: int) -> None:
        self.deadline_interval_ns = interval_ns
        self.is_stuck = False
        self.heard_ns = now_ns
        self._heartbeat_interval_ns = interval_ns
        self._next_heartbeat_ns = now_ns + interval_ns
        self._unsent_bytes = 0  # while it is stuck, when they last became fewer
        self._unsent_since_ns = 0
        self._looked_ns = 0  # at what is unsent

    def begin(self, interval_ns: int, now_ns: int) -> None:
        """Send heartbeats at this interval from now on."""
        self._heartbeat_interval_ns = interval_ns
        self._next_heartbeat_ns = now_ns + interval_ns

    def get_stuck(self, unsent_bytes: int, now_ns: int) -> None:
        """The buffer is full; so many bytes are in it."""
        self.is_stuck = True
        self._unsent_bytes, self._unsent_since_ns = unsent_bytes, now_ns
        self._looked_ns = now_ns

    def come_loose(self, now_ns: int) -> None:
        """There is room again; what it said meanwhile was not read."""
        self.is_stuck = False
        self.heard_ns = now_ns

    @property
    def due_ns(self) -> int:
        """Return when `judge` has something to say, at the earliest; it may be later then."""
        due_ns = self._next_heartbeat_ns if self._heartbeat_interval_ns else NEVER_NS
        if not self.deadline_interval_ns:
            return due_ns
        if self.is_stuck:
            # Nobody tells when it takes something: that is seen by looking.
            look_ns = self._looked_ns + self.deadline_interval_ns // LOOKS_PER_INTERVAL
            return min(due_ns, look_ns, self._unsent_since_ns + self.deadline_interval_ns)
        return min(due_ns, self.heard_ns + 2 * self.deadline_interval_ns)

    def judge(self, now_ns: int, *, is_read: bool, unsent_bytes: int) -> Verdict:
        """Say what is to be done now; ``unsent_bytes`` is what it has yet to take."""
        if self._is_dead(now_ns, is_read, unsent_bytes):
            return Verdict.END
        interval_ns = self._heartbeat_interval_ns
        if not interval_ns or now_ns < self._next_heartbeat_ns:
            return Verdict.NOTHING
        # In step with the connection's start, but never two at once after a pause.
        missed = (now_ns - self._next_heartbeat_ns) // interval_ns
        self._next_heartbeat_ns += (missed + 1) * interval_ns
        return Verdict.NOTHING if self.is_stuck else Verdict.HEARTBEAT

    def _is_dead(self, now_ns: int, is_read: bool, unsent_bytes: int) -> bool:
        interval_ns = self.deadline_interval_ns
        if not interval_ns:
            return False
        if not self.is_stuck:
            return is_read and now_ns - self.heard_ns >= 2 * interval_ns
        self._looked_ns = now_ns
        if unsent_bytes < self._unsent_bytes:
            self._unsent_bytes, self._unsent_since_ns = unsent_bytes, now_ns
        return now_ns - self._unsent_since_ns >= interval_ns
