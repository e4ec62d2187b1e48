"""What a channel's files say after a restart."""

import errno
from collections.abc import Iterable

import pytest

from nsqx.nsqd.log.channel_store import ChannelStore, Position, Snapshot
from nsqx.nsqd.log.limits import LOG_LIMITS
from nsqx.nsqd.log.ranges import Ranges
from nsqx.nsqd.log.replacement import replace_files
from nsqx.nsqd.log.trash import TRASH_FOLDER, Trash
from tests.support.simulated_disk import SimulatedDisk

FOLDER = "topics/orders.topic"
PATH = f"{FOLDER}/archive.channel"
NOTHING = Ranges()


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.make_folder(FOLDER)
    return disk


def new_store(disk: SimulatedDisk) -> ChannelStore:
    trash = Trash(disk, no_failure)
    trash.open()
    return ChannelStore(disk, PATH, trash)


def begun(
    disk: SimulatedDisk,
    cursor: int = 0,
    *,
    passed: int | None = None,
    is_clean: bool = True,
    waiting: Iterable[tuple[int, int]] = (),
    deferred: Iterable[tuple[int, int, int]] = (),
) -> ChannelStore:
    store = new_store(disk)
    store.begin(
        Snapshot(cursor, cursor if passed is None else passed, list(waiting), deferred),
        is_clean=is_clean,
    )
    return store


def loaded(disk: SimulatedDisk, *, first: int = 0, skips: Ranges = NOTHING) -> Position:
    return new_store(disk.kill()).load(first, skips)


def remove(disk: SimulatedDisk, store: ChannelStore) -> None:
    disk.remove(PATH)  # it goes first, by another way
    store.remove()


def no_failure(error: OSError) -> None:
    raise AssertionError from error


def test_a_checkpoint_says_where_a_channel_stood(disk: SimulatedDisk) -> None:
    begun(disk, 10, passed=20, waiting=[(3, 1), (4, 65_535)], deferred=[(5, 2**62, 7)])
    position = loaded(disk)
    assert (position.cursor, position.passed) == (10, 20)
    assert position.waiting == [(3, 1), (4, 65_535)]
    assert position.deferred == [(5, 2**62, 7)]
    assert (list(position.finished), position.problems) == ([], [])
    assert position.aside() == {3, 4, 5}
    assert position.end == 20


def test_what_the_journal_passed_and_does_not_mention_was_in_flight(disk: SimulatedDisk) -> None:
    store = begun(disk)
    store.journal.finished_range(3, 2)
    store.journal.finished(7)
    store.flush()
    position = loaded(disk)
    assert position.cursor == 8
    assert position.waiting == [(0, 1), (1, 1), (2, 1), (5, 1), (6, 1)]
    assert list(position.finished) == [(3, 5), (7, 8)]


def test_a_requeue_keeps_its_attempts_and_due_time(disk: SimulatedDisk) -> None:
    store = begun(disk, waiting=[(0, 1)], deferred=[(1, 500, 0)], cursor=2)
    store.journal.requeued(0, 900, 2)
    store.journal.requeued(1, 0, 1)
    store.flush()
    position = loaded(disk)
    assert (position.waiting, position.deferred) == ([(1, 1)], [(0, 900, 2)])


def test_the_last_requeue_of_a_message_counts(disk: SimulatedDisk) -> None:
    store = begun(disk)
    store.journal.requeued(0, 900, 1)
    store.flush()
    store.journal.requeued(0, 0, 2)
    store.flush()
    position = loaded(disk)
    assert (position.waiting, position.deferred) == ([(0, 2)], [])


def test_a_finish_outlasts_a_requeue(disk: SimulatedDisk) -> None:
    store = begun(disk, 3, waiting=[(0, 1), (1, 1), (2, 1)])
    store.journal.requeued(0, 0, 2)
    store.journal.requeued(1, 99, 2)
    store.flush()
    store.journal.finished(0)
    store.journal.finished(1)
    store.flush()
    position = loaded(disk)
    assert (position.waiting, position.deferred) == ([(2, 1)], [])


def test_a_position_forgets_what_was_before(disk: SimulatedDisk) -> None:
    store = begun(disk, 50, waiting=[(40, 1)], deferred=[(41, 99, 1)])
    store.journal.finished_range(50, 10)
    store.journal.requeued(60, 0, 1)
    store.flush()
    store.journal.positioned(30)
    store.journal.finished_range(30, 2)
    store.flush()
    position = loaded(disk)
    assert (position.cursor, position.passed) == (32, 30)
    assert (position.waiting, position.deferred) == ([], [])
    assert list(position.finished) == [(30, 32)]


def test_a_deferred_message_that_was_finished_says_nothing_of_those_before(
    disk: SimulatedDisk,
) -> None:
    """They were never delivered: their attempts stay 0, and they stay out of memory."""
    store = begun(disk)
    store.journal.finished_range(0, 2)
    store.journal.finished(900)
    store.journal.requeued(901, 5, 1)
    store.flush()
    position = loaded(disk, skips=Ranges([(900, 902)]))
    assert (position.cursor, position.waiting) == (2, [])
    assert position.deferred == [(901, 5, 1)]


def test_what_is_to_be_skipped_was_not_in_flight(disk: SimulatedDisk) -> None:
    store = begun(disk)
    store.journal.finished(5)
    store.flush()
    assert loaded(disk, skips=Ranges([(1, 4)])).waiting == [(0, 1), (4, 1)]


# Checkpoints


def test_what_is_deferred_was_not_in_flight_even_if_a_damaged_index_forgot_it(
    disk: SimulatedDisk,
) -> None:
    store = begun(disk, 1, passed=3, deferred=[(2, 500, 0)])
    store.journal.finished(3)
    store.flush()
    position = loaded(disk)
    assert position.cursor == 4
    assert (position.waiting, position.deferred) == ([(1, 1)], [(2, 500, 0)])


def test_a_checkpoint_replaces_the_journals_before_it(disk: SimulatedDisk) -> None:
    store = begun(disk)
    store.journal.finished_range(0, 5)
    store.flush()
    store.checkpoint(Snapshot(5, 5, [], []), no_failure)
    store.journal.finished_range(5, 1)
    store.flush()
    assert loaded(disk).cursor == 6  # the old checkpoint and both journals
    disk.run_pending()
    assert disk.paths() == [PATH, f"{PATH}.1.journal"]
    assert (loaded(disk).cursor, list(loaded(disk).finished)) == (6, [(5, 6)])


def test_every_step_of_a_checkpoint_may_be_the_last(disk: SimulatedDisk) -> None:
    store = begun(disk)
    for number in range(3):
        store.journal.finished(2 * number)
        store.flush()
        store.checkpoint(
            Snapshot(2 * number + 1, 9, [(odd, 1) for odd in range(1, 2 * number, 2)], []),
            no_failure,
        )
        while True:
            position = loaded(disk)
            assert (position.cursor, position.waiting) == (
                2 * number + 1,
                [(odd, 1) for odd in range(1, 2 * number, 2)],
            )
            if not disk.pending:
                break
            disk.pending.popleft()()


def test_a_checkpoint_is_wanted_when_the_journal_is_long(disk: SimulatedDisk) -> None:
    store = begun(disk)
    assert not store.wants_checkpoint
    for number in range(0, LOG_LIMITS.checkpoint_bytes // 8 * 2, 2):
        store.journal.finished(number)
    store.flush()
    assert store.wants_checkpoint
    store.checkpoint(Snapshot(0, 0, [], []), no_failure)
    assert not store.wants_checkpoint


def test_a_checkpoint_that_fails_is_reported_and_the_journals_go_on(disk: SimulatedDisk) -> None:
    store = begun(disk)
    store.journal.finished(0)
    store.flush()
    failures: list[OSError] = []
    store.checkpoint(Snapshot(1, 1, [], []), failures.append)
    disk.fail_syncs = errno.EIO
    disk.run_pending()
    assert [failure.errno for failure in failures] == [errno.EIO]
    store.journal.finished(1)
    store.flush()
    assert list(loaded(disk).finished) == [(0, 2)]
    disk.fail_syncs = None
    store.checkpoint(Snapshot(2, 2, [], []), no_failure)
    disk.run_pending()
    assert (loaded(disk).cursor, disk.paths()) == (2, [PATH, f"{PATH}.2.journal"])


def test_a_channel_that_is_removed_during_a_checkpoint_does_not_come_back(
    disk: SimulatedDisk,
) -> None:
    store = begun(disk)
    store.checkpoint(Snapshot(5, 5, [], []), no_failure)
    remove(disk, store)
    begun(disk, 3)  # and one of its name begins
    disk.run_pending()
    assert loaded(disk).cursor == 3
    assert PATH in disk.paths()


def test_the_last_checkpoint_is_not_overwritten_by_one_under_way(disk: SimulatedDisk) -> None:
    store = begun(disk)
    store.checkpoint(Snapshot(5, 5, [], []), no_failure)
    replace_files(disk, store.last_checkpoint(Snapshot(7, 7, [], [])))
    store.close()
    disk.run_pending()
    assert loaded(disk).cursor == 7
    assert loaded(disk).problems == []


def test_removing_leaves_nothing(disk: SimulatedDisk) -> None:
    store = begun(disk)
    store.journal.finished(1)
    store.flush()
    store.save_stragglers({1: b"x"})
    remove(disk, store)
    disk.run_pending()
    assert disk.paths() == []


def test_a_new_channel_knows_nothing_of_an_old_one_of_its_name(disk: SimulatedDisk) -> None:
    """A crash came between the removals of its files."""
    old = begun(disk)
    old.save_stragglers({1: b"x"})
    for number in range(3):
        old.journal.finished(number)
        old.flush()
        old.journal.begin_next()
    disk.remove(PATH)
    begun(disk, is_clean=False)
    assert list(loaded(disk).finished) == []
    assert new_store(disk).load_stragglers() == {}


# Damage


def test_without_a_checkpoint_a_channel_begins_with_the_log(disk: SimulatedDisk) -> None:
    store = begun(disk, 500)
    store.journal.finished_range(500, 3)
    store.flush()
    disk.remove(PATH)
    position = loaded(disk, first=499)
    assert (position.cursor, position.waiting) == (503, [(499, 1)])
    assert position.problems == ["no checkpoint"]


def test_a_damaged_checkpoint_is_kept_aside(disk: SimulatedDisk) -> None:
    begun(disk, 500)
    disk.flip_bit(PATH, 9)
    position = new_store(disk).load(499, NOTHING)
    assert (position.cursor, position.problems) == (499, ["damaged checkpoint"])
    assert f"{PATH}.bad" in disk.paths()


def test_stragglers_come_back(disk: SimulatedDisk) -> None:
    store = begun(disk)
    assert store.load_stragglers() == {}
    store.save_stragglers({1: b"frame", 2**40: b""})
    assert store.load_stragglers() == {1: b"frame", 2**40: b""}
    disk.flip_bit(f"{PATH}.stragglers", 6)
    assert store.load_stragglers() is None


def test_what_an_earlier_process_did_not_get_to_remove_is_removed(disk: SimulatedDisk) -> None:
    disk.write_file(PATH, b"removed")
    earlier = Trash(disk, no_failure)
    earlier.open()
    earlier.take(PATH)
    (left,) = disk.list(TRASH_FOLDER)
    disk.run_pending()
    disk.write_file(f"{TRASH_FOLDER}/{left}", b"removed")
    later = Trash(disk, no_failure)
    assert later.open() == set()
    later.empty()
    disk.run_pending()
    assert disk.list(TRASH_FOLDER) == []
