"""What a start makes of segments that a crash left behind."""

import pytest

from nsqx.nsqd.log.records import RECORD_BYTES
from nsqx.nsqd.log.recovery import CHECKED_BYTES, Recovered, add_damage, recover_segments
from nsqx.nsqd.log.segment import Damage, data_path, index_path, removed_path
from tests.support.opened_log import FOLDER, NOW_NS, deliverable, delivered, open_log, written_log
from tests.support.simulated_disk import SimulatedDisk

LOG = data_path(FOLDER, 0)
INDEX = index_path(FOLDER, 0)
BATCHES = [[b"a", b"b"], [b"c"], [b"d", b"e", b"f"]]
MESSAGES = {0: b"a", 1: b"b", 2: b"c", 3: b"d", 4: b"e", 5: b"f"}
FRAME_BYTES = 35


def recovered(disk: SimulatedDisk) -> Recovered:
    return recover_segments(disk.kill(), FOLDER)


def ranges(found: Recovered) -> list[tuple[int, int, str]]:
    return [(damage.first, damage.end, damage.reason) for damage in found.damages]


@pytest.fixture
def disk() -> SimulatedDisk:
    """The log of a b, c, d e f as a crash leaves it."""
    return written_log(BATCHES)[0]


def test_all_that_was_appended_survives_a_kill(disk: SimulatedDisk) -> None:
    found = recovered(disk)
    assert [(segment.first, segment.end, segment.sealed) for segment in found.segments] == [
        (0, 6, True)
    ]
    assert (found.damages, found.cut_bytes) == ([], 0)
    assert deliverable(disk) == MESSAGES


def test_what_was_recovered_is_trusted_by_the_next_start(disk: SimulatedDisk) -> None:
    killed = disk.kill()
    recover_segments(killed, FOLDER)
    index = bytes(killed.content(INDEX))
    assert recover_segments(killed, FOLDER).segments[0].end == 6
    assert killed.content(INDEX) == index


def test_frames_without_a_record_are_cut(disk: SimulatedDisk) -> None:
    del disk.content(INDEX)[RECORD_BYTES * 3 :]
    found = recovered(disk)
    assert found.segments[0].end == 3
    assert found.cut_bytes == 3 * FRAME_BYTES
    assert found.damages == []


def test_a_record_that_is_incomplete_counts_as_none(disk: SimulatedDisk) -> None:
    del disk.content(INDEX)[RECORD_BYTES * 3 + 20 :]
    assert recovered(disk).segments[0].end == 3


def test_a_segment_that_was_just_being_begun_is_empty(disk: SimulatedDisk) -> None:
    for path in (data_path(FOLDER, 6), index_path(FOLDER, 6)):
        disk.open(path, create=True)
    found = recovered(disk)
    assert [(segment.first, segment.end) for segment in found.segments] == [(0, 6), (6, 6)]
    log = open_log(disk.kill())
    assert (log.first, log.end) == (0, 6)


def test_a_header_alone_is_not_taken_for_a_seal(disk: SimulatedDisk) -> None:
    del disk.content(INDEX)[RECORD_BYTES:]
    disk.content(LOG).clear()
    log = open_log(disk.kill())
    assert (log.first, log.end) == (0, 0)


def test_a_segment_that_could_not_be_begun_and_was_overtaken_is_removed(
    disk: SimulatedDisk,
) -> None:
    """The disk refused to seal its predecessor, and to remove it; then appending went on."""
    for path in (data_path(FOLDER, 3), index_path(FOLDER, 3)):
        disk.open(path, create=True)
    killed = disk.kill()
    found = recover_segments(killed, FOLDER)
    assert [(segment.first, segment.end) for segment in found.segments] == [(0, 6)]
    assert killed.paths() == [INDEX, LOG]


def test_damage_in_the_last_segment_is_reported_and_skipped(disk: SimulatedDisk) -> None:
    disk.flip_bit(LOG, 2 * FRAME_BYTES + 1)
    assert ranges(recovered(disk)) == [(2, 3, "checksum mismatch")]
    assert deliverable(disk) == {key: MESSAGES[key] for key in (0, 1, 3, 4, 5)}


def test_damages_in_a_row_are_reported_as_one(disk: SimulatedDisk) -> None:
    disk.flip_bit(LOG, 0)
    disk.flip_bit(LOG, 2 * FRAME_BYTES + 1)
    assert ranges(recovered(disk)) == [(0, 3, "checksum mismatch")]


def test_damages_that_differ_stay_apart() -> None:
    damages: list[Damage] = []
    for damage in [
        Damage(0, 2, "a", "torn"),
        Damage(2, 3, "a", "torn"),
        Damage(3, 4, "b", "torn"),
        Damage(4, 5, "b", "lost"),
        Damage(6, 7, "b", "lost"),
    ]:
        add_damage(damages, damage)
    assert [(damage.first, damage.end) for damage in damages] == [(0, 3), (3, 4), (4, 5), (6, 7)]


@pytest.mark.parametrize("garbage", [b"\x00", b"\xff" * 7, b"\x00" * 48, b"\xff" * 100])
def test_bytes_behind_the_seal_do_no_harm(garbage: bytes) -> None:
    disk, log = written_log(BATCHES)
    log.close()
    disk.content(INDEX).extend(garbage)
    assert deliverable(disk) == MESSAGES


def test_a_damaged_record_costs_its_batch_and_is_reported_at_the_start(
    disk: SimulatedDisk,
) -> None:
    disk.flip_bit(INDEX, RECORD_BYTES * 2 + 5)
    found = recovered(disk)
    assert (ranges(found), found.cut_bytes) == ([(2, 3, "damaged index")], 0)
    assert deliverable(disk) == {key: MESSAGES[key] for key in (0, 1, 3, 4, 5)}


def test_damaged_records_at_the_end_are_cut_and_reported(disk: SimulatedDisk) -> None:
    start = RECORD_BYTES * 3
    disk.content(INDEX)[start : start + RECORD_BYTES] = bytes(RECORD_BYTES)
    found = recovered(disk)
    assert ranges(found) == [(3, 6, "damaged index")]
    assert found.cut_bytes == 3 * FRAME_BYTES
    assert found.segments[0].end == 6  # these numbers are not given to other messages
    assert deliverable(disk) == {0: b"a", 1: b"b", 2: b"c"}


class CountingDisk(SimulatedDisk):
    """Counts what is read of frames."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def check_read(self, path: str = "") -> None:
        super().check_read(path)
        self.reads += path.endswith(".log")


def test_many_batches_are_read_in_few_pieces() -> None:
    disk = CountingDisk()
    log = open_log(disk, segment_bytes_max=1 << 30)
    for number in range(3000):
        log.append([b"%d" % number], NOW_NS, NOW_NS + 1 if number == 1500 else 0)
    killed = disk.kill()
    found = recover_segments(killed, FOLDER)
    assert killed.reads <= 2
    assert (found.segments[0].end, found.damages) == (3000, [])
    assert found.segments[0].has_deferred


def test_of_a_long_segment_its_last_part_is_checked_at_the_start() -> None:
    """What lies before is as if it were sealed: checked when it is read."""
    disk = CountingDisk()
    log = open_log(disk, segment_bytes_max=1 << 30)
    for number in range(40):
        due_ns = NOW_NS if number < 1 else 0
        log.append([b"%d" % (number % 10) * (1 << 20)], NOW_NS + number, due_ns)
    frame_bytes = (1 << 20) + 34
    disk.flip_bit(LOG, 5 * frame_bytes + 100)
    disk.flip_bit(INDEX, RECORD_BYTES * 9)
    disk.flip_bit(INDEX, RECORD_BYTES * 31)
    disk.flip_bit(LOG, 35 * frame_bytes + 100)
    killed = disk.kill()
    again = open_log(killed)
    assert killed.reads <= CHECKED_BYTES // frame_bytes + 2
    assert [(damage.first, damage.end, damage.reason) for damage in again.damages] == [
        (30, 31, "damaged index"),
        (35, 36, "checksum mismatch"),
    ]
    assert (again.end, again.recovered_cut_bytes) == (40, 0)
    assert next(again.deferred_batches(0)) == (0, 1, NOW_NS)
    found = delivered(again, killed.run_pending)
    assert found.keys() == set(range(40)) - {5, 8, 30, 35}
    assert len(again.damages) == 4


def test_an_index_that_is_gone_is_written_anew(disk: SimulatedDisk) -> None:
    disk.remove(INDEX)
    found = recovered(disk)
    assert (found.segments[0].end, found.damages) == (6, [])
    assert deliverable(disk) == MESSAGES


def test_a_frame_that_makes_no_sense_costs_that_message_without_an_index(
    disk: SimulatedDisk,
) -> None:
    disk.remove(INDEX)
    disk.content(LOG)[2 * FRAME_BYTES : 2 * FRAME_BYTES + 4] = b"\xff\x00\x00\x00"  # c's size
    assert ranges(recovered(disk)) == [(2, 3, "missing batches")]
    assert deliverable(disk) == {key: MESSAGES[key] for key in (0, 1, 3, 4, 5)}


def test_a_damaged_first_frame_costs_that_message_without_an_index(disk: SimulatedDisk) -> None:
    disk.remove(INDEX)
    disk.content(LOG)[0] = 0xFF
    assert ranges(recovered(disk)) == [(0, 1, "missing batches")]
    assert deliverable(disk) == {key: MESSAGES[key] for key in (1, 2, 3, 4, 5)}


def test_a_damaged_header_is_told_from_the_first_sound_batch(disk: SimulatedDisk) -> None:
    disk.content(INDEX)[:RECORD_BYTES] = bytes(RECORD_BYTES)
    disk.flip_bit(LOG, 3)
    found = recovered(disk)
    assert found.segments[0].id_base == recovered(written_log(BATCHES)[0]).segments[0].id_base
    assert ranges(found) == [(0, 2, "checksum mismatch")]


def test_a_damaged_header_does_not_cost_the_due_times() -> None:
    disk, log = written_log(BATCHES)
    log.append([b"later"], NOW_NS, NOW_NS + 500)
    disk.content(INDEX)[:RECORD_BYTES] = bytes(RECORD_BYTES)
    assert list(open_log(disk.kill()).deferred_batches(0)) == [(6, 7, NOW_NS + 500)]


def test_neither_header_nor_a_sound_record_is_an_index_that_is_gone(disk: SimulatedDisk) -> None:
    disk.content(INDEX)[:] = b"\x55" * len(disk.content(INDEX))
    assert deliverable(disk) == MESSAGES


def test_a_missing_segment_is_a_gap() -> None:
    disk, _ = written_log([[b"x" * 100]] * 5, segment_bytes_max=300)  # two batches in each
    for path in (data_path(FOLDER, 2), index_path(FOLDER, 2)):
        disk.remove(path)
    assert ranges(recovered(disk)) == [(2, 4, "missing segment")]
    assert list(deliverable(disk)) == [0, 1, 4]


def test_a_removal_that_a_crash_broke_off_is_finished() -> None:
    disk, _ = written_log([[b"x" * 100]] * 3, segment_bytes_max=100)
    disk.rename(index_path(FOLDER, 0), removed_path(FOLDER, 0))
    for _ in range(2):
        killed = disk.kill()
        assert ranges(recover_segments(killed, FOLDER)) == []
        assert killed.paths(".log") == [data_path(FOLDER, 1), data_path(FOLDER, 2)]
        assert killed.paths(".removed") == []
        disk.remove(data_path(FOLDER, 0))


def test_files_that_are_none_of_ours_are_left_alone(disk: SimulatedDisk) -> None:
    for name in ("notes.log", "x.idx", "12.txt", "00000000000000000009.log.bak"):
        disk.replace_file(f"{FOLDER}/{name}", b"?")
    assert deliverable(disk) == MESSAGES
