"""Commit files on a disk that loses what was not synced."""

import errno
import random
from collections.abc import Iterator

import pytest

from nsqx.nsqd.log import commit_files
from nsqx.nsqd.log.commit_files import CommitFiles, Part, replay
from nsqx.nsqd.log.records import RECORD_BYTES, Header
from nsqx.nsqd.log.segment import data_path, index_path
from nsqx.nsqd.log.storage import File
from tests.support.simulated_disk import NothingSurvives, SimulatedDisk, SimulatedFile

FOLDER = "topics/orders.topic"
HEADER = Header(0, 1000, 5)
FILE_BYTES = 3 * 4096
RECORD = b"r" * RECORD_BYTES


class Bench:
    """Two files and a segment, whose header is on stable storage and nothing else of it."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk()
        self.disk.make_folder(FOLDER)
        self.put_segment(HEADER)
        self.files: CommitFiles[str] = CommitFiles(self.disk, size=FILE_BYTES, generation=77)
        self.files.make()
        self.files.use()
        self.written = 0  # bytes of frames
        self.commits = 0

    def put_segment(self, header: Header) -> None:
        for folder in ("", "topics"):
            self.disk.sync_folder(folder)
        self.disk.replace_file(data_path(FOLDER, header.first), b"")
        self.disk.replace_file(index_path(FOLDER, header.first), header.encode())

    def part(self, frames: bytes) -> Part:
        """Return what follows the parts before it."""
        index_offset = RECORD_BYTES * (1 + self.commits)
        part = Part(FOLDER, HEADER, self.written, index_offset)
        part.add(frames, RECORD)
        self.written += len(frames)
        self.commits += 1
        return part

    def commit(self, frames: bytes, owner: str = "orders") -> bool:
        """Commit something; return whether there was room for it."""
        work = self.files.begin([(owner, self.part(frames))])
        if work is None:
            return False
        try:
            work()
        except OSError:
            self.files.end(is_done=False)
            raise
        self.files.end(is_done=True)
        return True

    def catch_up(self, owner: str = "orders") -> None:
        self.files.caught_up(owner, self.files.marks(owner))


def frames_after(disk: SimulatedDisk) -> bytes:
    """Return the frames that are there after a loss of power and a replay."""
    disk = disk.power_loss(NothingSurvives())
    replay(disk)
    # It is in its place for good.
    disk = disk.power_loss(NothingSurvives())
    frames = bytes(disk.content(data_path(FOLDER, 0)))
    records = bytes(disk.content(index_path(FOLDER, 0)))[RECORD_BYTES:]
    assert records.replace(RECORD, b"") == b""
    return frames


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_was_committed_is_put_in_its_place(bench: Bench) -> None:
    assert bench.commit(b"first")
    assert bench.commit(b"second")
    assert frames_after(bench.disk) == b"firstsecond"


def test_what_is_not_synced_is_not_there(bench: Bench) -> None:
    bench.commit(b"first")
    bench.files.begin([("orders", bench.part(b"second"))])
    assert frames_after(bench.disk) == b"first"


def test_parts_of_many_logs_go_with_one_sync(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[None] = []
    monkeypatch.setattr(bench.disk, "check_sync", lambda: syncs.append(None))
    work = bench.files.begin([(str(n), bench.part(b"%d" % n)) for n in range(5)])
    assert work is not None
    work()
    assert len(syncs) == 1
    assert frames_after(bench.disk) == b"01234"


def fill(bench: Bench) -> bytes:
    """Commit until there is no room; return the frames."""
    frames = b""
    for letter in letters():
        if not bench.commit(letter):
            bench.written -= len(letter)  # as the log is then: it is synced in its place
            bench.commits -= 1
            return frames
        frames += letter
    raise AssertionError("there is always room")


def letters() -> Iterator[bytes]:
    for number in range(50):
        yield bytes([ord("A") + number]) * 10


def test_a_file_is_written_over_when_all_logs_have_caught_up(bench: Bench) -> None:
    frames = fill(bench)
    assert len(frames) == 60  # two files with three records each
    assert frames_after(bench.disk) == frames
    bench.catch_up()
    assert bench.commit(b"more")


def test_who_has_not_caught_up_keeps_a_file(bench: Bench) -> None:
    bench.commit(b"x", owner="other")
    fill(bench)
    bench.catch_up()
    assert len(fill(bench)) == 30  # the other file alone
    bench.catch_up("other")
    assert len(fill(bench)) == 30
    assert not bench.commit(b"no room")


def test_a_sync_that_began_before_a_commit_does_not_free_its_file(bench: Bench) -> None:
    bench.commit(b"x")
    marks = bench.files.marks("orders")
    fill(bench)
    bench.files.caught_up("orders", marks)
    assert not bench.commit(b"no room")


def test_who_could_not_be_synced_in_its_place_never_catches_up(bench: Bench) -> None:
    bench.commit(b"x" * 9)
    bench.files.spoil("orders")
    bench.catch_up()
    assert len(fill(bench)) == 50
    bench.catch_up()
    assert not bench.commit(b"no room")  # whatever it has later is as doubtful
    assert not bench.files.close()  # the next start needs them
    assert frames_after(bench.disk).startswith(b"x" * 9)


def test_who_was_never_committed_can_not_spoil_a_file(bench: Bench) -> None:
    bench.files.spoil("orders")
    bench.commit(b"x")
    assert bench.files.close()


def test_a_deleted_topic_keeps_no_file(bench: Bench) -> None:
    bench.commit(b"x")
    bench.files.spoil("orders")
    fill(bench)
    bench.files.forget("orders")
    assert bench.commit(b"room")


def test_what_an_earlier_generation_left_is_none_of_this_ones(bench: Bench) -> None:
    fill(bench)
    index = HEADER.encode() + RECORD * bench.commits
    bench.disk.replace_file(data_path(FOLDER, 0), bytes(bench.written))
    bench.disk.replace_file(index_path(FOLDER, 0), index)
    bench.catch_up()
    bench.commit(b"new")
    # Of the first file one record is of now; of the two behind it nothing is written any more.
    assert frames_after(bench.disk) == bytes(30) + b"DDDDDDDDDDEEEEEEEEEEFFFFFFFFFF" + b"new"


def test_a_segment_with_another_header_is_left_alone(bench: Bench) -> None:
    bench.commit(b"old")
    bench.put_segment(Header(0, 2000, 9))
    assert frames_after(bench.disk) == b""


def test_a_segment_that_is_gone_stays_so(bench: Bench) -> None:
    bench.commit(b"old")
    bench.disk.remove(data_path(FOLDER, 0))
    bench.disk.remove(index_path(FOLDER, 0))
    bench.disk.sync_folder(FOLDER)
    disk = bench.disk.kill()
    assert replay(disk) == 0
    assert disk.paths(".log") == []


def test_damage_costs_one_record(bench: Bench) -> None:
    for frames in (b"first", b"second", b"third"):
        bench.commit(frames)
    bench.disk.flip_bit("commits/0.commits", 4096 + 100)
    disk = bench.disk.kill()
    assert replay(disk) == len(b"firstthird")
    assert bytes(disk.content(data_path(FOLDER, 0))) == b"first" + bytes(6) + b"third"


def test_a_file_whose_write_failed_takes_nothing_more(bench: Bench) -> None:
    bench.commit(b"first")
    bench.disk.fail_syncs = errno.EIO
    with pytest.raises(OSError, match="EIO"):
        bench.commit(b"second")
    bench.disk.fail_syncs = None
    bench.written -= len(b"second")
    bench.commits -= 1
    assert bench.commit(b"third")  # to the other file
    assert frames_after(bench.disk) == b"firstthird"
    bench.catch_up()
    assert len(fill(bench)) == 20
    bench.catch_up()
    assert len(fill(bench)) == 30


def test_what_is_longer_than_a_file_is_not_taken(bench: Bench) -> None:
    assert not bench.commit(b"x" * FILE_BYTES)
    bench.written = bench.commits = 0
    assert bench.commit(b"y" * (FILE_BYTES - 200))
    assert len(frames_after(bench.disk)) == FILE_BYTES - 200


def test_no_room_for_the_files(bench: Bench) -> None:
    assert bench.files.close()
    files: CommitFiles[str] = CommitFiles(bench.disk, size=FILE_BYTES, generation=1)
    bench.disk.free_bytes = 8 * FILE_BYTES - 1
    with pytest.raises(OSError, match="for messages"):
        files.make()
    bench.disk.free_bytes, bench.disk.fail_syncs = None, errno.ENOSPC
    with pytest.raises(OSError, match="ENOSPC"):
        files.make()
    bench.disk.fail_syncs = None
    files.use()
    assert files.begin([("orders", bench.part(b"x"))]) is None
    assert bench.disk.paths(".commits") == []


def test_the_end_removes_what_nobody_needs(bench: Bench) -> None:
    bench.commit(b"x")
    assert bench.files.close()
    assert bench.disk.paths(".commits") == []
    assert not bench.files.close()


def record_of(generation: int, frames: bytes) -> bytes:
    """Return a whole record as somebody could send it in a message."""
    part = Part(FOLDER, HEADER, 0, RECORD_BYTES)
    part.add(frames, RECORD)
    return commit_files._encode_record(generation, 0, [part])


def test_a_message_that_looks_like_a_record_is_none(bench: Bench) -> None:
    """Neither in a sound record, nor in one that was written over in part."""
    forged = record_of(2**63, b"forged")
    fixed = record_of(1, b"").rstrip(b"\0").index(RECORD)
    body = bytes(4096 - fixed) + forged  # at a multiple of 4096 bytes
    assert bench.commit(body)
    assert bench.disk.content("commits/0.commits")[4096 : 4096 + 16] == forged[:16]
    assert frames_after(bench.disk) == body
    fill(bench)
    bench.catch_up()
    later_at = bench.written
    assert bench.commit(b"later")  # in the place of the first half of that record
    assert bench.disk.content("commits/0.commits")[4096 : 4096 + 16] == forged[:16]
    disk = bench.disk.kill()
    replay(disk)
    written = bytes(disk.content(data_path(FOLDER, 0)))
    assert written[later_at:] == b"later"
    assert not written.startswith(b"forged")


def test_of_a_segment_that_is_half_removed_no_file_stays_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.commit(b"old")
    bench.disk.remove(index_path(FOLDER, 0))
    opened: list[File] = []
    disk = bench.disk.kill()
    open_one = disk.open

    def opens(path: str, *, create: bool = False) -> File:
        opened.append(open_one(path, create=create))
        return opened[-1]

    monkeypatch.setattr(disk, "open", opens)
    assert replay(disk) == 0
    assert opened
    assert not any(file._is_open for file in opened if isinstance(file, SimulatedFile))


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_file_puts_nothing_else_into_a_log(bench: Bench, seed: int) -> None:
    """Whatever bits of it are wrong: each part is put in its place as it was, or not at all."""
    frames = fill(bench)
    sound = bench.disk.power_loss(NothingSurvives())
    chance = random.Random(seed)
    for _ in range(60):
        disk = sound.kill()
        for path in disk.paths(".commits"):
            block = chance.randrange(FILE_BYTES // 4096) * 4096
            for _ in range(chance.randrange(3)):
                disk.flip_bit(path, block + chance.randrange(170), chance.randrange(8))
        replay(disk)
        written = bytes(disk.content(data_path(FOLDER, 0)))
        records = bytes(disk.content(index_path(FOLDER, 0)))[RECORD_BYTES:]
        for at in range(0, len(written), 10):
            assert written[at : at + 10] in (frames[at : at + 10], bytes(10))
        for at in range(0, len(records), RECORD_BYTES):
            assert records[at : at + RECORD_BYTES] in (RECORD, bytes(RECORD_BYTES))


@pytest.mark.parametrize("seed", range(20))
def test_a_replay_can_be_broken_off(bench: Bench, seed: int) -> None:
    """By losses of power at each of its steps, one after the other."""

    class EndedError(Exception):
        pass

    class Disk(SimulatedDisk):
        left = 0

        def step(self) -> None:
            self.left -= 1
            if not self.left:
                raise EndedError

    frames = fill(bench)
    chance = random.Random(seed)
    disk: SimulatedDisk = bench.disk.power_loss(NothingSurvives())
    disk.__class__ = Disk
    for steps in range(1, 40):
        disk.left = steps  # type: ignore[attr-defined]  # it is one of ours by now
        try:
            replay(disk)
        except EndedError:
            disk = disk.power_loss(chance)
        else:
            break
    else:
        raise AssertionError("it never ended")
    assert bytes(disk.content(data_path(FOLDER, 0))) == frames
