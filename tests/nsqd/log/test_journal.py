"""The bytes of journals and checkpoints, and what is left of them after damage."""

import errno
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import given, strategies as st

from nsqx.nsqd.log.journal import (
    FINISHED,
    FINISHED_RANGES,
    POSITION,
    REQUEUED,
    Journal,
    decode_checkpoint,
    encode_checkpoint,
    encode_record,
    position_of,
    ranges_of,
    read_records,
    requeues_of,
    sequences_of,
)
from nsqx.nsqd.log.limits import LogLimits
from tests.support.simulated_disk import SimulatedDisk

FOLDER = "topics/orders.topic"
PATH = f"{FOLDER}/archive.channel"
FINISHED_100_TO_102 = bytes.fromhex("9164b18a 00000010 01 0000000000000064 0000000000000003")


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.make_folder(FOLDER)
    return disk


def file_of(number: int) -> str:
    return f"{PATH}.{number}.journal"


def written(disk: SimulatedDisk, number: int = 0) -> list[tuple[int, bytes]]:
    return read_records(bytes(disk.content(file_of(number))))[0]


def read(disk: SimulatedDisk, first: int | None = 0) -> tuple[Journal, list[int]]:
    """Return the journal of the next process, and the single messages it finds finished."""
    journal = Journal(disk, PATH)
    records, _ = journal.read(first)
    return journal, [number for _, payload in records for number in sequences_of(payload)]


# Bytes


def test_a_record_has_just_these_bytes() -> None:
    payload = bytes.fromhex("0000000000000064 0000000000000003")
    assert encode_record(FINISHED_RANGES, payload) == FINISHED_100_TO_102
    assert read_records(FINISHED_100_TO_102) == ([(FINISHED_RANGES, payload)], 25, 0)


def test_a_checkpoint_comes_back() -> None:
    fields = {"cursor": 7, "waiting": b"\0\xff", "messages": [[1, b"x"]]}
    assert decode_checkpoint(encode_checkpoint(fields)) == fields


@given(st.binary(max_size=40))
def test_garbage_is_no_checkpoint(garbage: bytes) -> None:
    assert decode_checkpoint(garbage) is None


def test_a_checkpoint_with_a_changed_bit_is_damaged() -> None:
    content = encode_checkpoint({"cursor": 7, "passed": 9})
    for bit in range(8 * len(content)):
        changed = int.from_bytes(content, "big") ^ 1 << bit
        assert decode_checkpoint(changed.to_bytes(len(content), "big")) is None


@given(st.binary(max_size=100))
def test_garbage_is_read_as_records_or_refused(garbage: bytes) -> None:
    _, size, damaged = read_records(garbage)
    assert 0 <= damaged <= size <= len(garbage)


@pytest.mark.parametrize("cut", range(1, 25))
def test_a_torn_record_is_left_out(cut: int) -> None:
    records, size, damaged = read_records(FINISHED_100_TO_102 * 2 + FINISHED_100_TO_102[:-cut])
    assert (len(records), size, damaged) == (2, 50, 0)


@pytest.mark.parametrize("at", [0, 8, 9, 24])
def test_a_damaged_record_is_left_out_and_the_next_ones_count(at: int) -> None:
    content = bytearray(FINISHED_100_TO_102 * 3)
    content[25 + at] ^= 1
    records, size, damaged = read_records(bytes(content))
    assert (len(records), size, damaged) == (2, 75, 25)


def test_a_damaged_length_ends_a_journal() -> None:
    content = bytearray(FINISHED_100_TO_102 * 3)
    content[25 + 4] = 0xFF
    assert read_records(bytes(content))[1:] == (25, 0)


# Gathering and writing


def test_nothing_is_written_before_a_flush(disk: SimulatedDisk) -> None:
    journal = Journal(disk, PATH)
    assert not journal.is_dirty
    journal.finished(1)
    assert journal.is_dirty
    assert disk.paths() == []
    journal.flush()
    assert not journal.is_dirty
    assert written(disk) == [(FINISHED, (1).to_bytes(8, "big"))]


def test_ranges_that_follow_one_another_are_one(disk: SimulatedDisk) -> None:
    journal = Journal(disk, PATH)
    for first, count in [(100, 1), (101, 2), (200, 5)]:
        journal.finished_range(first, count)
    journal.flush()
    ((kind, payload),) = written(disk)
    assert kind == FINISHED_RANGES
    assert list(ranges_of(payload)) == [(100, 3), (200, 5)]


def test_each_kind_comes_back(disk: SimulatedDisk) -> None:
    journal = Journal(disk, PATH)
    journal.positioned(7)
    journal.requeued(8, -1, 65_535)
    journal.requeued(9, 2**62, 0)
    journal.finished(11)
    journal.finished(10)
    journal.flush()
    kinds = dict(written(disk))
    assert position_of(kinds[POSITION]) == 7
    assert list(requeues_of(kinds[REQUEUED])) == [(8, -1, 65_535), (9, 2**62, 0)]
    assert list(sequences_of(kinds[FINISHED])) == [11, 10]


def test_a_position_discards_what_was_gathered_before_it(disk: SimulatedDisk) -> None:
    journal = Journal(disk, PATH)
    journal.finished_range(0, 9)
    journal.finished(9)
    journal.requeued(10, 0, 1)
    journal.positioned(3)
    journal.finished(3)
    journal.flush()
    assert [kind for kind, _ in written(disk)] == [POSITION, FINISHED]


def test_what_was_gathered_for_long_is_written_in_records_of_bounded_size(
    disk: SimulatedDisk,
) -> None:
    journal = Journal(disk, PATH, LogLimits(entries=4))
    for number in range(10):
        journal.finished(2 * number)
        journal.finished_range(100 + 2 * number, 1)
        journal.requeued(200 + number, 0, 1)
    journal.flush()
    records = written(disk)
    assert [kind for kind, _ in records] == [REQUEUED] * 3 + [FINISHED_RANGES] * 5 + [FINISHED] * 3
    singles = [n for kind, payload in records if kind == FINISHED for n in sequences_of(payload)]
    assert singles == list(range(0, 20, 2))


def test_a_flush_that_fails_is_made_up_for_by_the_next(disk: SimulatedDisk) -> None:
    journal = Journal(disk, PATH)
    journal.finished(1)
    journal.flush()
    journal.finished(2)
    disk.free_bytes = 10
    with pytest.raises(OSError, match="No space"):
        journal.flush()
    assert read(disk.kill())[1] == [1]
    journal.finished(3)
    disk.free_bytes = None
    journal.flush()
    assert read(disk)[1] == [1, 2, 3]


def test_a_journal_whose_sync_failed_is_doubtful_until_a_checkpoint_ends_it(
    disk: SimulatedDisk,
) -> None:
    journal = Journal(disk, PATH)
    flushed(journal, 1)
    disk.fail_syncs = errno.EIO
    with pytest.raises(OSError, match="EIO"):
        journal.sync()
    disk.fail_syncs = None
    assert journal.is_doubtful
    with pytest.raises(OSError, match="earlier sync"):
        journal.sync()
    journal.begin_next()
    journal.remove_before(1)
    assert not journal.is_doubtful


# Numbers


def flushed(journal: Journal, sequence: int) -> None:
    journal.finished(sequence)
    journal.flush()


def test_requeues_do_not_pile_up_while_the_disk_refuses(disk: SimulatedDisk) -> None:
    journal = Journal(disk, PATH, LogLimits(requeues=100))
    disk.free_bytes = 0
    for attempts in range(1, 1000):
        for sequence in range(10):
            journal.requeued(sequence, 0, attempts)
        with pytest.raises(OSError, match="No space"):
            journal.flush()
    disk.free_bytes = None
    journal.flush()
    ((_, payload),) = written(disk)
    noted = list(requeues_of(payload))
    assert len(noted) <= 110
    last = {sequence: attempts for sequence, _, attempts in noted}
    assert last == dict.fromkeys(range(10), 999)


def test_a_journal_goes_on_after_a_kill(disk: SimulatedDisk) -> None:
    flushed(Journal(disk, PATH), 1)
    disk.content(file_of(0)).extend(b"torn")
    journal, found = read(disk)
    flushed(journal, 2)
    assert (found, read(disk)[1]) == ([1], [1, 2])


def test_crashes_in_a_row_between_a_new_journal_and_its_checkpoint(disk: SimulatedDisk) -> None:
    """The checkpoint names journal 0 each time, and all that followed it count."""
    for number in range(4):
        journal, found = read(disk)
        assert found == list(range(2 * number))
        flushed(journal, 2 * number)
        journal.begin_next()
        flushed(journal, 2 * number + 1)
    assert [path for path in disk.paths() if disk.content(path)] == [
        file_of(number) for number in range(5)
    ]
    assert read(disk, 3)[1] == [5, 6, 7]


def test_a_new_journal_does_not_begin_with_what_an_old_one_left(disk: SimulatedDisk) -> None:
    disk.open(file_of(1), create=True).write_at(FINISHED_100_TO_102, 0)
    journal = Journal(disk, PATH)
    journal.begin_next()
    assert disk.content(file_of(1)) == b""


def test_journals_before_a_checkpoint_are_removed_oldest_first(disk: SimulatedDisk) -> None:
    journal = Journal(disk, PATH)
    for number in range(3):
        flushed(journal, number)
        journal.begin_next()
    removed: list[str] = []
    with patch.object(disk, "remove", removed.append):
        journal.remove_before(3)
    assert removed == [file_of(0), file_of(1), file_of(2)]


def test_what_a_crash_left_of_their_removal_goes_with_the_next(disk: SimulatedDisk) -> None:
    for number in (1, 2, 3):
        disk.open(file_of(number), create=True)
    journal, _ = read(disk, 3)
    journal.begin_next()
    journal.remove_before(4)
    assert disk.paths() == [file_of(4)]


def test_without_a_checkpoint_the_oldest_journal_is_the_first(disk: SimulatedDisk) -> None:
    journal = Journal(disk, PATH)
    journal.begin_next()
    flushed(journal, 1)
    journal.begin_next()
    flushed(journal, 2)
    disk.remove(file_of(0))
    disk.replace_file(f"{PATH}.channel.7.journal", FINISHED_100_TO_102)  # of another channel
    assert read(disk, None)[1] == [1, 2]


@pytest.mark.parametrize("first", [9, None])
def test_journals_of_another_past_go(disk: SimulatedDisk, first: int | None) -> None:
    """A loss of power brought them back: with nothing but them a deleted channel would, too."""
    for number in (2, 4, 6, 8, 9):
        disk.open(file_of(number), create=True)
    if first is not None:
        disk.open(file_of(12), create=True)
    journal, _ = read(disk, first)
    assert disk.paths() == [file_of(8), file_of(9)]
    journal.remove(disk.remove)
    assert disk.paths() == []


def test_a_new_channel_removes_what_an_old_one_of_its_name_left(disk: SimulatedDisk) -> None:
    other = f"{FOLDER}/other.channel.0.journal"
    for path in (file_of(0), file_of(7), other):
        disk.open(path, create=True)
    Journal(disk, PATH).begin()
    assert disk.paths() == [other]


def test_removing_a_journal_removes_all_its_files(disk: SimulatedDisk) -> None:
    journal = Journal(disk, PATH)
    for number in range(3):
        flushed(journal, number)
        journal.begin_next()
    journal.remove(disk.remove)
    assert disk.paths() == []


def test_a_next_journal_that_the_disk_refuses_leaves_the_old_one(disk: SimulatedDisk) -> None:
    journal = Journal(disk, PATH)
    flushed(journal, 1)
    disk.fail_writes = errno.EROFS
    with pytest.raises(OSError, match="EROFS"):
        journal.begin_next()
    disk.fail_writes = None
    flushed(journal, 2)
    assert read(disk)[1] == [1, 2]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5), st.integers(0, 400))
def test_any_cut_leaves_the_records_before_it(numbers: list[int], cut: int) -> None:
    content = b"".join(encode_record(FINISHED, number.to_bytes(8, "big")) for number in numbers)
    records, size, damaged = read_records(content[:cut])
    assert list(_numbers(records)) == numbers[: min(cut, len(content)) // 17]
    assert (size, damaged) == (17 * len(records), 0)


def _numbers(records: list[tuple[int, bytes]]) -> Iterator[int]:
    for _, payload in records:
        yield from sequences_of(payload)
