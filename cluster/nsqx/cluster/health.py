"""
Whether one daemon answers, and when to ask it next: a circuit breaker. No I/O; time is an argument.

A daemon that takes its time is *slow*, and fine: an answer is waited for as long as ``PATIENCE_S``.
One that has not answered then, or refuses the connection, is *stale*: what is shown is what it said
last. When it hangs again it is asked each five seconds only, so that what hangs costs little, and
is back within five seconds.
"""

from enum import StrEnum

__all__ = ["PATIENCE_S", "PROBE_S", "DaemonState", "Health"]

MISSES_OPEN = 2
PATIENCE_S = 2.5  # a node with many channels takes a second or two for its statistics
PROBE_S = 5.0


class DaemonState(StrEnum):
    """As in docs/admin-api.md."""

    WAITING = "waiting"  # nothing is known yet
    OK = "ok"
    STALE = "stale"  # what is known is from before it failed
    UNREACHABLE = "unreachable"  # it failed, and never answered


class Health:
    """Times are seconds since 1970, as shown."""

    __slots__ = ("answer_ms", "error", "failing_since", "hangs", "misses", "observed_at")

    def __init__(self) -> None:
        self.observed_at: float | None = None  # of the last answer
        self.failing_since: float | None = None
        self.error = ""
        self.misses = 0
        self.hangs = False  # it takes connections and says nothing
        self.answer_ms = 0.0

    def answered(self, now: float, took_s: float) -> None:
        """It is fine."""
        self.observed_at = now
        self.failing_since = None
        self.error = ""
        self.misses = 0
        self.hangs = False
        self.answer_ms = round(took_s * 1000, 1)

    def missed(self, now: float, error: str, *, hangs: bool) -> None:
        """It gave no answer, or a wrong one; ``hangs`` if the deadline passed."""
        self.misses += 1
        self.failing_since = now if self.failing_since is None else self.failing_since
        self.error = error
        self.hangs = hangs

    @property
    def state(self) -> DaemonState:
        if self.observed_at is None:
            return DaemonState.UNREACHABLE if self.misses else DaemonState.WAITING
        return DaemonState.STALE if self.misses else DaemonState.OK

    @property
    def is_open(self) -> bool:
        """Whether the breaker is open: nobody should wait for this daemon."""
        return self.misses >= MISSES_OPEN

    def pause_s(self, interval_s: float) -> float:
        """Return how long after the last question the next one is due."""
        return max(PROBE_S, interval_s) if self.is_open else interval_s
