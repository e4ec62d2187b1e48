"""
Small limits, so that a few thousand messages reach every edge.

With the real ones a simulation would never see a second block, a window that is too long, or a
checkpoint.
"""

from nsqx.nsqd.core.limits import CoreLimits
from nsqx.nsqd.log.limits import LogLimits

__all__ = ["SMALL_LIMITS"]

SMALL_LIMITS = CoreLimits(
    channels_per_step=3,
    messages_per_step=7,
    topics_per_step=2,
    stores_per_step=3,
    gathered_bytes=8192,
    slice_bytes=2048,
    loop_sync_ns=8_000_000,
    commit_files_retry_ns=2_000_000_000,
    stragglers=12,
    straggler_bytes=8192,
    window=64,
    log=LogLimits(
        block_bytes=2048,
        idle_roll_bytes=4096,
        index_records=5,
        memory_block_bytes=1024,
        memory_blocks=4,
        checkpoint_bytes=1500,
        commit_file_bytes=4 * 4096,
        pending_bytes=3000,
    ),
)
