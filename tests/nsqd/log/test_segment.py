"""One segment: what is written, what a refused write leaves, and reading around damage."""

import errno

import pytest

from nsqx.nsqd.log.records import RECORD_BYTES, Header, crc32c
from nsqx.nsqd.log.segment import (
    DamagedError,
    Segment,
    UnreadableError,
    data_path,
    index_path,
    removed_path,
)
from nsqx.nsqd.log.storage import WouldBlockError
from nsqx.protocol.messages import body_of, encode_messages
from tests.support.simulated_disk import SimulatedDisk

FOLDER = "topics/orders.topic"
ID_BASE = 0xABC0_0000_0000_0000
NOW_NS = 1_795_500_000_000_000_000
FRAME_BYTES = 35
LOG = "topics/orders.topic/00000000000000000100.log"
INDEX = "topics/orders.topic/00000000000000000100.idx"


def begin(disk: SimulatedDisk) -> Segment:
    return Segment.create(disk, FOLDER, Header(100, ID_BASE, NOW_NS))


def append(segment: Segment, *bodies: bytes, due_ns: int = 0) -> None:
    now_ns = NOW_NS + segment.end
    frames, _ = encode_messages(bodies, ID_BASE + segment.end, now_ns)
    segment.append(frames, len(bodies), now_ns, due_ns, crc32c(frames))


def bodies_from(segment: Segment, sequence: int, bytes_wanted: int = 10_000) -> dict[int, bytes]:
    block = segment.read(sequence, bytes_wanted, may_block=True)
    return {number: body_of(block.frame(number)) for number in range(block.first, block.end)}


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.make_folder(FOLDER)
    return disk


@pytest.fixture
def segment(disk: SimulatedDisk) -> Segment:
    """Three batches: a b, c, d e f."""
    segment = begin(disk)
    append(segment, b"a", b"b")
    append(segment, b"c")
    append(segment, b"d", b"e", b"f")
    return segment


def test_a_segment_is_named_for_its_first_message() -> None:
    assert (data_path(FOLDER, 100), index_path(FOLDER, 100)) == (LOG, INDEX)


def test_the_files_hold_frames_and_a_record_for_each_batch(disk: SimulatedDisk) -> None:
    segment = begin(disk)
    append(segment, b"a", b"b")
    frames, _ = encode_messages([b"a", b"b"], ID_BASE + 100, NOW_NS + 100)
    assert disk.content(LOG) == frames
    index = disk.content(INDEX)
    assert index[:RECORD_BYTES] == Header(100, ID_BASE, NOW_NS).encode()
    assert index[RECORD_BYTES:].hex(" ", 8) == (
        "0000000000000064 0000000000000000 0000004600000002 "
        f"{NOW_NS + 100:016x} 0000000000000000 {crc32c(frames):08x}" + index[-4:].hex()
    )
    assert (segment.end, segment.size, segment.last_ns) == (102, len(frames), NOW_NS + 100)


def test_the_seal_says_where_the_next_segment_begins(disk: SimulatedDisk, segment: Segment) -> None:
    append(segment, b"g", due_ns=NOW_NS * 2)
    segment.seal()
    assert segment.sealed
    assert (
        disk.content(INDEX)[-RECORD_BYTES:]
        .hex(" ", 8)
        .startswith(
            f"{107:016x} {segment.size:016x} 0000000000000000 {segment.last_ns:016x} {1:016x} "
        )
    )


def test_a_read_returns_the_batch_that_holds_a_message_and_what_follows(segment: Segment) -> None:
    assert bodies_from(segment, 101) == {
        100: b"a", 101: b"b", 102: b"c", 103: b"d", 104: b"e", 105: b"f",
    }  # fmt: skip
    assert bodies_from(segment, 104) == {103: b"d", 104: b"e", 105: b"f"}


def test_a_read_stops_when_it_has_what_was_wanted(segment: Segment) -> None:
    assert list(bodies_from(segment, 100, 1)) == [100, 101]
    assert list(bodies_from(segment, 100, 71)) == [100, 101, 102]


def test_every_message_of_many_batches_is_found(disk: SimulatedDisk) -> None:
    segment = begin(disk)
    for number in range(50):
        append(segment, *[b"%d" % number] * (number % 4 + 1))
    segment.seal()
    for sequence in range(100, segment.end):
        assert sequence in bodies_from(segment, sequence, 1)


def test_a_sealed_segment_is_read_from_files_of_its_own(segment: Segment) -> None:
    segment.seal()
    assert bodies_from(segment, 102, 1) == {102: b"c"}


def test_a_read_that_may_block_survives_that_the_segment_is_sealed_meanwhile(
    disk: SimulatedDisk, segment: Segment
) -> None:
    results: list[dict[int, bytes] | None] = []
    disk.submit(lambda: bodies_from(segment, 102, 1), lambda found, error: results.append(found))
    segment.seal()
    disk.run_pending()
    assert results == [{102: b"c"}]


def test_a_read_that_may_not_block_says_so(disk: SimulatedDisk, segment: Segment) -> None:
    disk.reads_block = True
    with pytest.raises(WouldBlockError):
        segment.read(100, 10, may_block=False)


# Writes that fail


def test_a_batch_that_was_refused_leaves_nothing(disk: SimulatedDisk, segment: Segment) -> None:
    before = bytes(disk.content(LOG)), bytes(disk.content(INDEX))
    disk.free_bytes = 60  # a part of the frames
    with pytest.raises(OSError, match="No space"):
        append(segment, b"x" * 1000)
    disk.free_bytes = 1034 + 20  # the frames and a part of the record
    with pytest.raises(OSError, match="No space"):
        append(segment, b"x" * 1000)
    assert (bytes(disk.content(LOG)), bytes(disk.content(INDEX))) == before
    disk.free_bytes = None
    append(segment, b"g")
    assert bodies_from(segment, 106) == {106: b"g"}


def test_a_segment_that_could_not_be_begun_leaves_no_files(disk: SimulatedDisk) -> None:
    disk.free_bytes = 40  # less than a header
    with pytest.raises(OSError, match="No space"):
        begin(disk)
    assert disk.paths() == []


# Removing


def test_a_removal_that_is_broken_off_is_finished_by_the_next(
    disk: SimulatedDisk, segment: Segment
) -> None:
    segment.seal()
    broken_off = OSError(errno.EIO, "broken off")

    def refuse(path: str) -> None:
        raise broken_off

    with pytest.raises(OSError, match="broken off"):
        segment.remove(refuse)
    assert disk.paths() == [LOG, removed_path(FOLDER, 100)]
    segment.remove(disk.remove)
    assert disk.paths() == []


# Syncing


def test_a_segment_that_is_sealed_during_a_sync_closes_after_it(
    disk: SimulatedDisk, segment: Segment
) -> None:
    files = segment.begin_sync()
    segment.seal()
    for file in files:
        file.sync()  # would fail on a closed file
    segment.end_sync()
    with pytest.raises(AssertionError):
        files[0].sync()


def test_a_sealed_segment_is_opened_for_its_sync(disk: SimulatedDisk, segment: Segment) -> None:
    segment.seal()
    for file in segment.begin_sync():
        file.sync()
    segment.end_sync()
    assert disk.content(LOG)


# Damage


def test_a_damaged_batch_costs_that_batch(disk: SimulatedDisk, segment: Segment) -> None:
    disk.flip_bit(LOG, 36 * 2 + 2)  # in c's frame, behind those of a and b
    assert list(bodies_from(segment, 100)) == [100, 101]
    with pytest.raises(DamagedError) as failed:
        segment.read(102, 10_000, may_block=True)
    damage = failed.value.damage
    assert (damage.first, damage.end, damage.path) == (102, 103, LOG)
    assert damage.reason == "checksum mismatch"
    assert list(bodies_from(segment, 103)) == [103, 104, 105]


def test_damaged_batches_in_a_row_are_one_damage(disk: SimulatedDisk, segment: Segment) -> None:
    del disk.content(LOG)[40:]
    with pytest.raises(DamagedError) as failed:
        segment.read(100, 10_000, may_block=True)
    damage = failed.value.damage
    assert (damage.first, damage.end, damage.reason) == (100, 106, "truncated")


@pytest.mark.parametrize(
    ("damaged", "lost"),
    [
        ({1}, (100, 102)),
        ({2}, (102, 103)),
        ({3}, (103, 106)),
        ({1, 2}, (100, 103)),
        ({2, 3}, (102, 106)),
        ({1, 2, 3}, (100, 106)),
    ],
)
def test_a_damaged_record_costs_its_batch_and_those_in_a_row_are_one_damage(
    disk: SimulatedDisk, segment: Segment, damaged: set[int], lost: tuple[int, int]
) -> None:
    segment.seal()
    for record in damaged:
        disk.flip_bit(INDEX, RECORD_BYTES * record + 13 * record)
    for sequence in range(100, 106):
        if lost[0] <= sequence < lost[1]:
            with pytest.raises(DamagedError) as failed:
                segment.read(sequence, 10_000, may_block=True)
            damage = failed.value.damage
            assert (damage.first, damage.end, damage.reason) == (*lost, "damaged index")
        else:
            assert sequence in bodies_from(segment, sequence, 1)


def test_a_record_that_is_gone_does_not_let_a_body_through_that_nothing_proves(
    disk: SimulatedDisk, segment: Segment
) -> None:
    disk.content(INDEX)[RECORD_BYTES * 2 : RECORD_BYTES * 3] = bytes(RECORD_BYTES)
    disk.content(LOG)[3 * FRAME_BYTES - 1] ^= 1  # the body
    with pytest.raises(DamagedError):
        segment.read(102, 10_000, may_block=True)


def test_an_index_that_ends_too_early_is_no_surprise(disk: SimulatedDisk, segment: Segment) -> None:
    segment.seal()
    del disk.content(INDEX)[RECORD_BYTES * 2 + 10 :]
    assert list(bodies_from(segment, 100)) == [100, 101]
    with pytest.raises(DamagedError) as failed:
        segment.read(104, 10_000, may_block=True)
    assert (failed.value.damage.first, failed.value.damage.end) == (102, 106)


def test_a_read_error_names_the_batch(disk: SimulatedDisk, segment: Segment) -> None:
    disk.fail_reads_of[LOG] = errno.EIO
    with pytest.raises(UnreadableError) as failed:
        segment.read(104, 10_000, may_block=True)
    assert (failed.value.first, failed.value.end, failed.value.errno) == (103, 106, errno.EIO)


# Times


def test_the_time_of_a_message_is_that_of_its_batch(segment: Segment) -> None:
    assert [segment.time_of(sequence) - NOW_NS for sequence in range(100, 106)] == [
        100, 100, 102, 103, 103, 103,
    ]  # fmt: skip


@pytest.mark.parametrize(("after_ns", "found"), [(0, 100), (101, 102), (103, 103), (104, 106)])
def test_the_first_message_at_or_after_a_time_begins_a_batch(
    segment: Segment, after_ns: int, found: int
) -> None:
    assert segment.first_at_or_after(NOW_NS + after_ns) == found


def test_commits_can_begin_at_a_message(segment: Segment) -> None:
    commits = [commit for _, commit in segment.commits(sequence=102)]
    assert [commit.first for commit in commits if commit is not None] == [102, 103]
