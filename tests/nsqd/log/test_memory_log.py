"""The log of an ephemeral topic: as the one on disk, and no larger than it has to be."""

import sys

import pytest

from nsqx.nsqd.log.log import PIECE_MESSAGES, Log
from nsqx.nsqd.log.memory_log import MemoryLog
from nsqx.protocol.messages import body_of
from tests.support.opened_log import ID_BASE, NOW_NS, open_log
from tests.support.simulated_disk import SimulatedDisk


def bodies_of(log: Log) -> list[bytes]:
    bodies = []
    sequence = log.first
    while sequence < log.end:
        block = log.block(sequence)
        assert block is not None
        bodies += [body_of(block.frame(number)) for number in range(sequence, block.end)]
        sequence = block.end
    return bodies


def test_a_batch_in_pieces_is_the_same_batch_in_both_logs() -> None:
    bodies = [b"%d" % number for number in range(2 * PIECE_MESSAGES + 5)]
    for log in (MemoryLog(lambda: ID_BASE), open_log(SimulatedDisk())):
        log.append([b"before"], NOW_NS)
        steps = log.append_in_pieces(bodies.copy(), NOW_NS, NOW_NS + 5)
        for _ in range(3):
            next(steps)
        with pytest.raises(StopIteration) as over:
            next(steps)
        written = over.value.value
        log.append([b"behind"], NOW_NS)
        assert written == log.size_bytes - 2 * (34 + 6)
        assert bodies_of(log) == [b"before", *bodies, b"behind"]
        deferred = list(log.deferred_batches(0))
        assert (deferred[0][0], deferred[-1][1]) == (1, len(bodies) + 1)
        assert {due_ns for _, _, due_ns in deferred} == {NOW_NS + 5}
        assert log.sequence_of(log.id_of(len(bodies))) == len(bodies)


def test_tiny_messages_cost_at_most_half_more_than_their_frames() -> None:
    log = MemoryLog(lambda: ID_BASE)
    for _ in log.append_in_pieces([b"x"] * 300_000, NOW_NS):
        pass
    memory = 0
    for block in log._blocks:
        memory += sys.getsizeof(block.data) + sys.getsizeof(block.offsets) + sys.getsizeof(block)
    assert memory <= 1.5 * log.size_bytes == 1.5 * 35 * 300_000


def test_bytes_are_counted_as_they_come_and_go() -> None:
    log = MemoryLog(lambda: ID_BASE)
    for _ in range(100):
        log.append([b"x" * 966] * 10, NOW_NS)
    assert log.size_bytes == 1_000_000
    log.release(500, NOW_NS)
    assert log.size_bytes == 1000 * (log.end - log.first)
    assert 0 < log.first <= 500


def test_messages_are_found_by_time() -> None:
    log = MemoryLog(lambda: ID_BASE)
    for number in range(100):
        log.append([b"x" * 2000], NOW_NS + number)
    view = log.view()
    assert [view.first_at_or_after(NOW_NS + number) for number in (-1, 0, 1, 50, 99, 100)] == [
        0, 0, 1, 50, 99, 100,
    ]  # fmt: skip
    assert view.time_of(50) == NOW_NS + 50


def test_what_was_deferred_is_forgotten_with_its_block() -> None:
    log = MemoryLog(lambda: ID_BASE)
    for _ in range(3):
        log.append([b"x" * 70_000], NOW_NS, NOW_NS + 5)
    log.release(2, NOW_NS)
    assert list(log.deferred_batches(0)) == [(2, 3, NOW_NS + 5)]
