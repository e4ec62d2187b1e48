"""
From when on something is wrong: the one table that the dashboard and ``nsqx doctor`` judge by.

Sizes are bytes, times are seconds, rates are a second.
"""

from dataclasses import dataclass, field

__all__ = ["Thresholds"]


def _holds() -> dict[str, float]:
    return {
        "no-consumers": 5.0,
        "no-channels": 10.0,
        "no-producer": 30.0,
        "lookupds-disagree": 10.0,
        "node-slow": 10.0,
        "old": 10.0,  # the clock here may have been set since the age was told
        "paused": 900.0,
    }


@dataclass(frozen=True, slots=True)
class Thresholds:
    """
    What a rule compares with.

    Attributes:
        hold_s: by rule, how long it must hold before it is told: what passes by itself, such as a
            consumer that connects again, is no alarm.
    """

    oldest_age_s: float = 900.0
    disk_free_warning: int = 2 << 30
    disk_free_critical: int = 256 << 20  # two or three segments more
    open_files_share: float = 0.8
    open_files_at_least: int = 4096  # a limit below that is soon reached: each client is a file
    clock_skew_s: float = 2.0
    answer_ms: float = 1000.0
    restart_s: float = 60.0  # how long a restart is told
    stuck_s: float = 60.0
    growing_depth: int = 100
    growing_share: float = 0.05  # in a minute
    growing_messages: int = 1000  # in a minute: of a million that is little, and still too much
    share: float = 0.1  # of requeues or time-outs among what is finished
    rate_at_least: float = 1.0  # below that a share says little
    hold_s: dict[str, float] = field(default_factory=_holds)
