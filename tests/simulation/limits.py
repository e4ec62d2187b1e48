"""
Small limits, so that a few thousand messages reach every edge.

With the real ones a simulation would never see a second block, a window that is too long, or a
checkpoint.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nsqx.nsqd.core import backlog, broker, in_flight, topic
from nsqx.nsqd.log import channel_store, memory_log, segment, topic_log

__all__ = ["small_limits"]

_SMALL: tuple[tuple[Any, str, int], ...] = (
    (backlog, "SLICE_BYTES_MAX", 2048),
    (broker, "MESSAGES_PER_STEP", 7),
    (broker, "CHANNELS_PER_STEP", 3),
    (broker, "TOPICS_PER_STEP", 2),
    (broker, "STORES_PER_STEP", 3),
    (backlog, "STRAGGLERS_MAX", 12),
    (backlog, "STRAGGLER_BYTES_MAX", 8192),
    (in_flight, "WINDOW_MAX", 64),
    (topic, "GATHERED_BYTES_MAX", 8192),
    (channel_store, "CHECKPOINT_AFTER_BYTES", 1500),
    (memory_log, "BLOCK_BYTES", 1024),
    (memory_log, "BLOCKS_MAX", 4),
    (segment, "_INDEX_CHUNK_RECORDS", 5),
    (topic_log, "BLOCK_BYTES", 2048),
    (topic_log, "IDLE_ROLL_BYTES", 4096),
)


@contextmanager
def small_limits() -> Iterator[None]:
    """Have small limits inside the block."""
    real = [(module, name, getattr(module, name)) for module, name, _ in _SMALL]
    for module, name, value in _SMALL:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in real:
            setattr(module, name, value)
