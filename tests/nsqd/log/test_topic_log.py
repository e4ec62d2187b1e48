"""The log of a topic: appending, ids, segments, reading with little memory, letting go."""

import asyncio
import errno
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from nsqx.nsqd.edge.files import FileStorage
from nsqx.nsqd.edge.steps import in_background
from nsqx.nsqd.log.block import BlockMemory
from nsqx.nsqd.log.log import LogEvents, Retention
from nsqx.nsqd.log.records import RECORD_BYTES
from nsqx.nsqd.log.segment import Damage, data_path, index_path
from nsqx.nsqd.log.topic_log import TopicLog
from nsqx.protocol.messages import id_of, split_frame
from tests.support.opened_log import (
    FOLDER,
    ID_BASE,
    NOW_NS,
    deliverable,
    delivered,
    forget_all,
    open_log,
    written_log,
)
from tests.support.simulated_disk import NothingSurvives, SimulatedDisk

OTHER_BASE = 0x7777_0000_0000_0000


def bodies_of(log: TopicLog, disk: SimulatedDisk) -> list[bytes]:
    return list(delivered(log, disk.run_pending).values())


def test_a_message_is_stored_as_it_goes_out_first() -> None:
    _, log = written_log([[b"a", b"b"]])
    block = log.block(1)
    assert block is not None
    assert split_frame(block.frame(1)) == (NOW_NS, 1, ID_BASE + 1, b"b")


def test_append_returns_the_bytes_of_the_frames() -> None:
    log = open_log(SimulatedDisk())
    assert log.append([b"a", b"bcd"], NOW_NS) == 35 + 37
    assert (log.first, log.end, log.size_bytes) == (0, 2, 72)


def test_every_start_draws_another_base_but_ids_stay(tmp_path: Path) -> None:
    disk, log = written_log([[b"a"], [b"b"]])
    log.close()
    again = open_log(disk, id_base=OTHER_BASE)
    again.append([b"c"], NOW_NS)
    assert [again.id_of(sequence) for sequence in range(3)] == [
        ID_BASE, ID_BASE + 1, OTHER_BASE + 2,
    ]  # fmt: skip
    block = again.block(1)
    assert block is not None
    assert id_of(block.frame(1)) == ID_BASE + 1
    assert [again.sequence_of(number) for number in (ID_BASE, ID_BASE + 1, OTHER_BASE + 2)] == [
        0, 1, 2,
    ]  # fmt: skip
    assert again.sequence_of(ID_BASE + 2) is None
    assert again.sequence_of(OTHER_BASE) is None


def test_a_segment_ends_when_the_next_batch_does_not_fit() -> None:
    disk, log = written_log([[b"x" * 66]] * 7, segment_bytes_max=300)  # 100 bytes each
    assert log.segment_count == 3
    assert disk.paths(".log") == [data_path(FOLDER, first) for first in (0, 3, 6)]


def test_a_batch_larger_than_a_segment_has_one_to_itself() -> None:
    disk, log = written_log([[b"a"], [b"x" * 1000], [b"b"]], segment_bytes_max=100)
    assert disk.paths(".log") == [data_path(FOLDER, first) for first in (0, 1, 2)]
    assert list(delivered(log).values()) == [b"a", b"x" * 1000, b"b"]


def test_numbers_go_on_over_restarts() -> None:
    disk, log = written_log([[b"a", b"b"]])
    log.close()
    again = open_log(disk)
    assert (again.first, again.end) == (0, 2)
    again.append([b"c"], NOW_NS)
    third = open_log(disk.kill())
    assert list(delivered(third)) == [0, 1, 2]


def test_numbers_go_on_when_all_was_consumed_and_removed() -> None:
    disk, log = written_log([[b"x" * 100]] * 3, segment_bytes_max=100)
    log.release(3, NOW_NS)  # the last one, full and finished, is begun anew
    disk.run_pending()
    assert disk.paths(".log") == [data_path(FOLDER, 3)]
    for killed in (disk.kill(), disk):
        again = open_log(killed)
        assert (again.first, again.end) == (3, 3)
        again.append([b"d"], NOW_NS)
        assert list(delivered(again)) == [3]


def test_numbers_that_somebody_remembers_are_not_given_out_again() -> None:
    disk, _ = written_log([[b"a"], [b"b"]])
    del disk.content(index_path(FOLDER, 0))[2 * RECORD_BYTES :]  # a loss of power took b
    log = open_log(disk)
    log.begin_at(5)
    assert log.damages == [Damage(1, 5, data_path(FOLDER, 1), "missing at the end")]
    log.append([b"c"], NOW_NS)
    assert delivered(log) == {0: b"a", 5: b"c"}
    assert deliverable(disk) == {0: b"a", 5: b"c"}


def test_numbers_below_the_end_need_no_leaving_out() -> None:
    _, log = written_log([[b"a"], [b"b"]])
    log.close()
    log.begin_at(1)
    assert (log.end, log.damages) == (2, [])


# Reading


def test_what_does_not_fit_into_memory_is_read_back() -> None:
    memory = BlockMemory(2000)
    disk = SimulatedDisk()
    log = open_log(disk, memory=memory, segment_bytes_max=5000)
    bodies = [b"%0100d" % number for number in range(300)]
    for start in range(0, 300, 3):
        log.append(bodies[start : start + 3], NOW_NS + start)
    forget_all(memory)
    assert bodies_of(log, disk) == bodies


class Reader:
    """A log whose reads block, and nothing of it is in memory."""

    def __init__(self, batches: list[list[bytes]]) -> None:
        self.readable = 0
        self.memory = BlockMemory(100_000)
        self.disk = SimulatedDisk()
        events = LogEvents(on_readable=self._on_readable)
        self.log = open_log(self.disk, memory=self.memory, segment_bytes_max=600, events=events)
        for bodies in batches:
            self.log.append(bodies, NOW_NS)
        forget_all(self.memory)
        self.disk.reads_block = True

    def _on_readable(self) -> None:
        self.readable += 1


def test_reads_that_block_wait_off_the_event_loop() -> None:
    bodies = [b"%0100d" % number for number in range(30)]
    reader = Reader([[body] for body in bodies])
    assert reader.log.block(0) is None
    assert reader.log.block(0) is None
    assert len(reader.disk.pending) == 1  # it is asked for once
    reader.disk.run_pending()
    assert reader.readable == 1
    assert reader.log.block(0) is not None
    assert bodies_of(reader.log, reader.disk) == bodies


def test_a_segment_may_be_released_while_it_is_read() -> None:
    reader = Reader([[b"%0100d" % number] for number in range(12)])
    log = reader.log
    assert log.block(0) is None
    log.release(4, NOW_NS)
    reader.disk.run_pending()
    assert (log.first, log.damages, len(log.lost)) == (4, [], 0)
    assert len(bodies_of(log, reader.disk)) == 8


def test_a_segment_may_be_sealed_while_it_is_read() -> None:
    reader = Reader([[b"%0100d" % number] for number in range(3)])
    log = reader.log
    assert log.block(0) is None
    for number in range(3, 6):
        log.append([b"%0100d" % number], NOW_NS)
    assert log.segment_count == 2
    reader.disk.run_pending()
    assert log.damages == []
    assert len(bodies_of(log, reader.disk)) == 6


def test_two_readers_of_one_batch_both_get_it() -> None:
    reader = Reader([[b"%0100d" % number for number in range(10)]])
    assert reader.log.block(2) is None
    assert reader.log.block(7) is None
    reader.disk.run_pending()
    assert reader.log.block(2) is reader.log.block(7) is not None


def test_the_memory_follows_the_budget() -> None:
    memory = BlockMemory(100_000)
    disk = SimulatedDisk()
    log = open_log(disk, memory=memory, segment_bytes_max=10_000)
    for _ in range(500):
        log.append([b"x" * 2000], NOW_NS)
    bodies_of(log, disk)
    assert memory.bytes_used < 300_000  # what one block holds, be it more than the budget
    log.close()
    assert memory.bytes_used == 0


# Time


def test_deferred_batches_are_told_from_the_index() -> None:
    disk = SimulatedDisk()
    log = open_log(disk, segment_bytes_max=200)
    for number in range(10):
        log.append([b"%050d" % number] * 2, NOW_NS, NOW_NS + number if number % 3 == 0 else 0)
    expected = [(2 * number, 2 * number + 2, NOW_NS + number) for number in (0, 3, 6, 9)]
    assert list(log.deferred_batches(0))[1:] == expected[1:]
    assert list(log.deferred_batches(7)) == [(7, 8, NOW_NS + 3), *expected[2:]]
    assert list(open_log(disk.kill()).deferred_batches(8)) == expected[2:]


def test_what_damaged_records_hold_is_not_known_to_be_deferred() -> None:
    disk = SimulatedDisk()
    log = open_log(disk)
    for due_ns in (0, NOW_NS + 5, 0, NOW_NS + 7):
        log.append([b"x" * 50] * 2, NOW_NS, due_ns)
    (index,) = disk.paths(".idx")
    disk.flip_bit(index, 2 * RECORD_BYTES + 8)  # the first record is the header
    # That record has no bounds of its own: it is what lies between its neighbours.
    assert list(log.deferred_batches(0)) == [(2, 4, 0), (6, 8, NOW_NS + 7)]


def test_messages_are_found_by_time() -> None:
    _, log = written_log([[b"x" * 100]] * 9, segment_bytes_max=300)
    view = log.view()
    assert [view.first_at_or_after(NOW_NS + after) for after in (-1, 0, 1, 4000, 7999, 8001)] == [
        0, 0, 1, 4, 8, 9,
    ]  # fmt: skip
    assert view.time_of(4) == NOW_NS + 4000


# Letting go


def test_segments_that_nobody_needs_go() -> None:
    disk, log = written_log([[b"x" * 100]] * 7, segment_bytes_max=300)
    log.release(5, NOW_NS)
    assert (log.first, log.segment_count) == (4, 2)
    disk.run_pending()
    assert disk.paths(".log") == [data_path(FOLDER, first) for first in (4, 6)]
    assert list(deliverable(disk)) == [4, 5, 6]


def test_segments_are_removed_one_by_one_so_that_a_crash_leaves_no_gap() -> None:
    disk, log = written_log([[b"x" * 100]] * 9, segment_bytes_max=300)
    log.release(8, NOW_NS)
    while disk.pending:
        assert open_log(disk.kill()).damages == []
        assert len(disk.pending) == 1
        disk.pending.popleft()()
    assert log.first == 8


def test_finished_segments_are_retained_for_a_time() -> None:
    _, log = written_log([[b"x" * 100]] * 7, segment_bytes_max=300)
    log.retention = Retention(time_ns=5000)
    log.release(7, NOW_NS + 7000)  # messages came at 0, 1000, ... 6000
    assert log.first == 2
    log.release(7, NOW_NS + 9500)
    assert log.first == 4


def test_a_clock_that_was_ahead_does_not_stop_retention() -> None:
    day_ns = 86_400 * 10**9
    log = open_log(SimulatedDisk(), segment_bytes_max=300)
    log.retention = Retention(time_ns=5000)
    for number in range(4):  # two of them in a segment
        log.append([b"x" * 100], NOW_NS + 2 * day_ns + number)
    for number in range(4):  # with the clock right again
        log.append([b"x" * 100], NOW_NS + number)
    log.release(8, NOW_NS + 4000)
    assert log.first == 0
    log.release(8, NOW_NS + 5000)
    assert log.first == 4


def test_finished_segments_are_retained_up_to_a_size() -> None:
    _, log = written_log([[b"x" * 66]] * 7, segment_bytes_max=200)  # 100 bytes each
    log.retention = Retention(size_bytes=350)
    log.release(7, NOW_NS)
    assert (log.first, log.size_bytes) == (2, 500)


# The disk refuses


def test_an_append_that_fails_appends_nothing() -> None:
    disk, log = written_log([[b"a"]])
    disk.free_bytes = 20
    with pytest.raises(OSError, match="No space"):
        log.append([b"x" * 100], NOW_NS)
    assert log.end == 1
    disk.free_bytes = None
    log.append([b"b"], NOW_NS)
    assert delivered(log) == deliverable(disk) == {0: b"a", 1: b"b"}


def test_a_segment_that_can_not_be_begun_is_begun_later() -> None:
    disk, log = written_log([[b"x" * 200]], segment_bytes_max=100)
    disk.free_bytes = 10
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            log.append([b"y"], NOW_NS)
    assert list(deliverable(disk)) == [0]
    disk.free_bytes = None
    log.append([b"y"], NOW_NS)
    assert list(deliverable(disk).values()) == [b"x" * 200, b"y"]


def test_a_log_without_messages_that_can_not_go_on_knows_where_it_was() -> None:
    disk, log = written_log([[b"x" * 100]] * 3, segment_bytes_max=100)
    log.release(3, NOW_NS)
    disk.run_pending()
    log = open_log(disk)  # its empty segment is to be begun again
    disk.fail_writes = errno.EROFS
    for _ in range(3):
        with pytest.raises(OSError, match="EROFS"):
            log.append([b"y"], NOW_NS)
    disk.fail_writes = None
    again = open_log(disk.kill())
    assert (again.first, again.end, again.damages) == (3, 3, [])
    log.append([b"y"], NOW_NS)
    assert deliverable(disk) == {3: b"y"}


@given(room=st.integers(0, 400))
def test_wherever_the_room_ends_nothing_half_written_is_there(room: int) -> None:
    disk, log = written_log([[b"x" * 100]], segment_bytes_max=100)
    disk.free_bytes = room
    appended = 1
    for number in range(4):
        try:
            log.append([b"%0100d" % number], NOW_NS)
        except OSError:
            continue
        appended += 1
    assert log.end == appended
    assert len(deliverable(disk)) == len(delivered(log)) == appended
    disk.free_bytes = None
    log.append([b"more"], NOW_NS)
    assert len(deliverable(disk)) == appended + 1


def test_after_a_failed_sync_a_new_segment_is_begun() -> None:
    disk, log = written_log([[b"a"]])
    sync = log.begin_sync()
    disk.fail_syncs = errno.EIO
    with pytest.raises(OSError, match="EIO"):
        sync()
    log.end_sync(is_done=False)
    log.abandon_segment()
    disk.fail_syncs = None
    log.append([b"b"], NOW_NS)
    assert log.segment_count == 2
    log.begin_sync()()
    log.end_sync(is_done=True)
    assert deliverable(disk) == {0: b"a", 1: b"b"}


def test_a_failed_sync_of_an_empty_segment_begins_it_again() -> None:
    disk, log = written_log([[b"x" * 100]], segment_bytes_max=100)
    disk.free_bytes = 100  # a header, but no batch
    with pytest.raises(OSError, match="No space"):
        log.append([b"y" * 100], NOW_NS)
    disk.free_bytes = None
    sync = log.begin_sync()
    log.abandon_segment()
    log.append([b"b"], NOW_NS)
    sync()  # on the files it began with
    log.end_sync(is_done=True)
    log.append([b"c"], NOW_NS)
    assert list(delivered(log)) == [0, 1, 2]
    assert list(deliverable(disk)) == [0, 1, 2]


def test_a_sync_covers_what_was_sealed_since_the_last() -> None:
    disk, log = written_log([[b"x" * 100]] * 5, segment_bytes_max=300)
    log.begin_sync()()
    log.end_sync(is_done=True)
    log.append([b"x" * 100], NOW_NS)
    log.append([b"x" * 100], NOW_NS)
    assert list(deliverable(disk.power_loss(NothingSurvives()))) == [0, 1, 2, 3, 4]


def test_a_sync_that_failed_is_made_up_for_by_the_next() -> None:
    disk, log = written_log([[b"x" * 100]] * 5, segment_bytes_max=300)
    disk.fail_syncs = errno.EIO
    with pytest.raises(OSError, match="EIO"):
        log.begin_sync()()
    log.end_sync(is_done=False)
    log.abandon_segment()
    disk.fail_syncs = None
    log.append([b"y"], NOW_NS)
    log.begin_sync()()
    log.end_sync(is_done=True)
    after = open_log(disk.power_loss(NothingSurvives()), id_base=OTHER_BASE)
    assert delivered(after)[5] == b"y"


# On real files


async def test_real_files_do_the_same(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path, asyncio.get_running_loop(), threads=1)
    memory = BlockMemory(2000)
    log = open_log(storage, memory=memory, segment_bytes_max=5000)
    bodies = [b"%0100d" % number for number in range(300)]
    for body in bodies:
        log.append([body], NOW_NS)
    forget_all(memory)
    assert list(delivered(log).values()) == bodies
    again = open_log(storage, id_base=OTHER_BASE)  # as after a kill: the first is still open
    assert list(delivered(again).values()) == bodies
    log.release(200, NOW_NS)
    first = log.first
    assert 100 < first <= 200
    for _ in range(300):  # one removal leads to the next
        await in_background(storage, lambda: None)
    assert min((tmp_path / FOLDER).glob("*.log")) == tmp_path / data_path(FOLDER, first)
    assert list(delivered(open_log(storage))) == list(range(first, 300))
    storage.close()
