"""How much a broker does in one step, and what its channels keep."""

from dataclasses import dataclass

from nsqx.nsqd.log.limits import LOG_LIMITS, LogLimits

__all__ = ["CORE_LIMITS", "CoreLimits"]


@dataclass(frozen=True, slots=True)
class CoreLimits:
    """
    They are the same for all nodes; tests take smaller ones, in which everything collides.

    A step holds up everybody. Of topics, channels and messages it takes so many that it lasts 1 to
    4 ms; checkpoints and journals 1 ms, and ten on a slow disk.

    Attributes:
        gathered_bytes: of publishes, for one turn of the event loop.
        slice_bytes: that a consumer is handed at a time, before the next one gets its turn.
        stragglers, straggler_bytes: what a channel may copy so that a segment of the log can go.
        window: messages between the oldest and the newest that InFlight keeps two bytes for each.
        slice_ns: deliveries within this time share one, the last one's.
        loop_sync_ns: a lone publisher's sync is done on the event loop while syncs are shorter.
        commit_files_retry_ns: after which commit files that had no room are made after all.
        looks: at messages that were answered meanwhile, which may lie about.
        log: those of the log.
    """

    checkpoints_per_step: int = 25
    journals_per_step: int = 64
    channels_per_step: int = 500
    messages_per_step: int = 1000
    topics_per_step: int = 100
    stores_per_step: int = 2000
    gathered_bytes: int = 1024 * 1024
    slice_bytes: int = 256 * 1024
    stragglers: int = 1000
    straggler_bytes: int = 8 * 1024 * 1024
    window: int = 64 * 1024
    slice_ns: int = 50_000_000
    loop_sync_ns: int = 1_000_000
    commit_files_retry_ns: int = 10_000_000_000
    looks: int = 1000
    log: LogLimits = LOG_LIMITS


CORE_LIMITS = CoreLimits()
