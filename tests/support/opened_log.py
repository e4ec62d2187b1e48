"""A topic's log on a simulated disk, and what its readers get."""

import itertools
from array import array
from collections.abc import Callable

from nsqx.nsqd.log.block import Block, BlockCache, BlockMemory
from nsqx.nsqd.log.log import LogEvents
from nsqx.nsqd.log.storage import Storage
from nsqx.nsqd.log.topic_log import TopicLog
from nsqx.protocol.messages import body_of
from tests.support.simulated_disk import SimulatedDisk

__all__ = [
    "FOLDER",
    "ID_BASE",
    "NOW_NS",
    "deliverable",
    "delivered",
    "forget_all",
    "open_log",
    "written_log",
]

FOLDER = "topics/orders.topic"
NOW_NS = 1_795_500_000_000_000_000
ID_BASE = 0x0123_4567_0000_0000


def open_log(
    storage: Storage,
    *,
    segment_bytes_max: int = 1024 * 1024,
    memory: BlockMemory | None = None,
    id_base: int = ID_BASE,
    events: LogEvents | None = None,
) -> TopicLog:
    """Open the log; each one draws another base."""
    return TopicLog(
        storage,
        FOLDER,
        memory if memory is not None else BlockMemory(1024 * 1024),
        lambda: id_base,
        segment_bytes_max=segment_bytes_max,
        events=events,
    )


def forget_all(memory: BlockMemory) -> None:
    """Use up the memory, so that all messages have to be read from disk."""
    BlockCache(memory).add(Block(0, bytearray(memory.bytes_max), array("Q", (0, 1)), 0), 0)


def written_log(
    batches: list[list[bytes]], *, segment_bytes_max: int = 1024 * 1024
) -> tuple[SimulatedDisk, TopicLog]:
    """Return a disk with a log of these batches, a microsecond apart, not closed."""
    disk = SimulatedDisk()
    log = open_log(disk, segment_bytes_max=segment_bytes_max)
    for number, bodies in enumerate(batches):
        log.append(bodies, NOW_NS + 1000 * number)
    return disk, log


def delivered(log: TopicLog, run_pending: Callable[[], None] = lambda: None) -> dict[int, bytes]:
    """Return all that a reader gets, by sequence number, as it steps over what is lost."""
    bodies: dict[int, bytes] = {}
    sequence = log.first
    waits = 0
    while sequence < log.end:
        block = log.block(sequence)
        if block is not None:
            waits = 0
            bodies[sequence] = body_of(block.frame(sequence))
            sequence += 1
        elif sequence in log.lost:
            sequence += 1
        else:
            waits += 1
            assert waits < 100, f"message {sequence} neither comes nor is lost"
            run_pending()
    return bodies


def deliverable(disk: SimulatedDisk) -> dict[int, bytes]:
    """Return what the next process delivers of what is on a disk."""
    return delivered(open_log(disk.kill(), id_base=ID_BASE + next(_bases)))


_bases = itertools.count(1 << 40, 1 << 40)
