"""
One test for each kind of damage and each way in which a disk refuses.

In all of them: nothing is raised, what can be delivered is delivered, what is lost is reported by
range, and the broker goes on. A broker publishes ten batches of three messages (``0a 0b 0c 1a`` and
so on) in segments of two batches each, and is killed; then the disk is damaged.
"""

import errno

import pytest

from nsqx.nsqd.core.durability import Durability
from nsqx.nsqd.core.metadata import MetadataError
from nsqx.nsqd.log.records import RECORD_BYTES
from tests.support.broker_bench import SECOND_NS, BrokerBench
from tests.support.simulated_disk import SimulatedDisk

FOLDER = "topics/orders.topic"
CHANNEL = f"{FOLDER}/archive.channel"
JOURNAL = f"{CHANNEL}.0.journal"
FRAME_BYTES = 36
BATCHES = 10
SEGMENT_BYTES_MAX = 6 * FRAME_BYTES


def batch(number: int) -> list[bytes]:
    return [b"%d%s" % (number, letter) for letter in (b"a", b"b", b"c")]


ALL = [body for number in range(BATCHES) for body in batch(number)]


def without(*numbers: int) -> list[bytes]:
    """Return what is left when the messages with these sequence numbers are lost."""
    return [body for sequence, body in enumerate(ALL) if sequence not in numbers]


def log_file(first: int) -> str:
    return f"{FOLDER}/{first:020d}.log"


def index_file(first: int) -> str:
    return f"{FOLDER}/{first:020d}.idx"


@pytest.fixture
def bench() -> BrokerBench:
    bench = BrokerBench.of(segment_bytes_max=SEGMENT_BYTES_MAX, memory_bytes_max=1000)
    bench.channel()
    for number in range(BATCHES):
        assert bench.publish(*batch(number)) == "OK"
    assert bench.disk.paths(".log") == [log_file(first) for first in (0, 6, 12, 18, 24)]
    return bench


def goes_on(bench: BrokerBench) -> None:
    """Check that the broker is well: it takes messages, delivers them, restarts."""
    assert bench.publish(b"after") == "OK"
    assert bench.drained() == [b"after"]
    bench.upkeep()
    assert bench.broker.health == "OK"
    bench.kill()
    assert bench.publish(b"after all") == "OK"
    assert bench.drained() == [b"after all"]


# The log


@pytest.mark.parametrize("cut", [1, FRAME_BYTES - 1, FRAME_BYTES, 2 * FRAME_BYTES])
def test_torn_tail_of_the_frames(bench: BrokerBench, cut: int) -> None:
    """A batch of which a part was written, and its record not yet."""
    bench.disk.content(log_file(24)).extend(b"\0" * 3 + b"x" * cut)
    bench.kill()
    assert (bench.lost(), bench.drained()) == ([], ALL)
    assert "cut" in bench.events.warnings[0]
    goes_on(bench)


@pytest.mark.parametrize("left", [0, 1, 20, RECORD_BYTES - 1])
def test_torn_tail_of_the_index(bench: BrokerBench, left: int) -> None:
    """A batch whose record was not written, or in part: nobody was told that it is there."""
    index = bench.disk.content(index_file(24))
    del index[2 * RECORD_BYTES + left :]
    bench.kill()
    assert (bench.lost(), bench.drained()) == ([], ALL[:27])
    goes_on(bench)


@pytest.mark.parametrize("offset", [0, 5, 10, 20, FRAME_BYTES - 1])
def test_flipped_bit_in_the_middle_of_a_segment(bench: BrokerBench, offset: int) -> None:
    """In a sealed segment, in its second batch: found when it is read."""
    bench.disk.flip_bit(log_file(6), 4 * FRAME_BYTES + offset)
    bench.kill()
    assert bench.lost() == []
    assert bench.drained() == without(9, 10, 11)
    assert bench.lost() == [(9, 12, "checksum mismatch")]
    assert "lost messages 9 to 11 (3 in all)" in bench.events.warnings[-1]
    goes_on(bench)


def test_flipped_bit_in_the_last_segment(bench: BrokerBench) -> None:
    """Found at the start, which checks what was not sealed."""
    bench.disk.flip_bit(log_file(24), FRAME_BYTES)
    bench.kill()
    assert bench.lost() == [(24, 27, "checksum mismatch")]
    assert bench.drained() == without(24, 25, 26)
    goes_on(bench)


@pytest.mark.parametrize("byte", [0, 9, 17, 21, 25, 33, 41, 47])
@pytest.mark.parametrize(("first", "record"), [(6, 1), (6, 2), (6, 3), (24, 1), (24, 2)])
def test_flipped_bit_in_an_index_record(
    bench: BrokerBench, first: int, record: int, byte: int
) -> None:
    """The first and the last of a sealed segment and of the open one; a seal costs nothing."""
    bench.disk.flip_bit(index_file(first), record * RECORD_BYTES + byte, bit=byte % 8)
    bench.kill()
    costs_a_record(bench, first, record)


@pytest.mark.parametrize("record", [1, 2])
@pytest.mark.parametrize("first", [6, 24])
def test_index_record_that_is_zeroed(bench: BrokerBench, first: int, record: int) -> None:
    start = record * RECORD_BYTES
    bench.disk.content(index_file(first))[start : start + RECORD_BYTES] = bytes(RECORD_BYTES)
    bench.kill()
    costs_a_record(bench, first, record)


def costs_a_record(bench: BrokerBench, first: int, record: int) -> None:
    """Check that nothing is lost but the batch of a record; 3 is the seal."""
    lost = range(first + 3 * (record - 1), first + 3 * record) if record < 3 else range(0)
    assert bench.drained() == without(*lost)
    assert bench.lost() == [(lost.start, lost.stop, "damaged index")][: len(lost)]
    goes_on(bench)


def test_truncated_segment(bench: BrokerBench) -> None:
    """A sealed one loses its second batch, and a part of the first."""
    del bench.disk.content(log_file(6))[2 * FRAME_BYTES :]
    bench.kill()
    assert bench.drained() == without(*range(6, 12))
    assert bench.lost() == [(6, 12, "truncated")]
    goes_on(bench)


def test_truncated_last_segment(bench: BrokerBench) -> None:
    del bench.disk.content(log_file(24))[4 * FRAME_BYTES :]
    bench.kill()
    assert bench.lost() == [(27, 30, "truncated")]
    assert bench.drained() == ALL[:27]
    goes_on(bench)


def test_missing_segment(bench: BrokerBench) -> None:
    bench.disk.remove(log_file(6))
    bench.disk.remove(index_file(6))
    bench.kill()
    assert bench.lost() == [(6, 12, "missing segment")]
    assert bench.drained() == without(*range(6, 12))
    goes_on(bench)


def test_missing_last_segment(bench: BrokerBench) -> None:
    """The journal remembers its numbers: they are reported, and not given to other messages."""
    client = bench.client(ready=100)
    client.finish(*client.take())
    bench.broker.tick()
    bench.disk.remove(log_file(24))
    bench.disk.remove(index_file(24))
    bench.kill()
    assert bench.lost() == [(24, 30, "missing at the end")]
    assert bench.log().end == 30
    goes_on(bench)


def test_missing_frames(bench: BrokerBench) -> None:
    """The file of frames of a sealed segment; its index is there."""
    bench.disk.remove(log_file(6))
    bench.kill()
    assert bench.drained() == without(*range(6, 12))
    assert bench.lost() == [(6, 12, "truncated")]
    goes_on(bench)


@pytest.mark.parametrize("first", [0, 6, 24])
def test_missing_index(bench: BrokerBench, first: int) -> None:
    bench.disk.remove(index_file(first))
    bench.kill()
    assert (bench.drained(), bench.lost()) == (ALL, [])
    goes_on(bench)


def test_segment_removed_while_the_broker_runs(bench: BrokerBench) -> None:
    bench.kill()
    client = bench.client(ready=3)
    assert client.finish(*client.take()) == []
    bench.disk.remove(log_file(6))
    bench.disk.remove(index_file(6))
    client.ready(100)
    rest: list[bytes] = []
    for _ in range(10):
        messages = client.take()
        rest += [message.body for message in messages]
        client.finish(*messages)
    assert rest == without(0, 1, 2, *range(6, 12))
    assert bench.lost() == [(6, 12, "missing segment")]


@pytest.mark.parametrize("first", [0, 6, 24])
def test_damaged_index_header(bench: BrokerBench, first: int) -> None:
    bench.disk.content(index_file(first))[:RECORD_BYTES] = b"\xa5" * RECORD_BYTES
    bench.kill()
    assert (bench.drained(), bench.lost()) == (ALL, [])
    goes_on(bench)


def test_damaged_index_header_does_not_make_deferred_messages_early(bench: BrokerBench) -> None:
    bench.publish(b"zz", delay_ns=5 * SECOND_NS)
    first = int(bench.disk.paths(".log")[-1][-24:-4])
    bench.disk.content(index_file(first))[:RECORD_BYTES] = bytes(RECORD_BYTES)
    bench.kill()
    assert bench.drained() == ALL
    bench.pass_time(5 * SECOND_NS)
    assert bench.drained() == [b"zz"]


def test_damage_everywhere(bench: BrokerBench) -> None:
    """Whatever is in the files: no exception, and what is delivered was published."""
    for path in bench.disk.paths():
        if path not in ("nsqd.dat", "format.json"):
            content = bench.disk.content(path)
            content[len(content) // 3 : len(content) // 2] = b"\x5a" * (
                len(content) // 2 - len(content) // 3
            )
    bench.kill()
    assert set(bench.drained()) <= set(ALL)
    assert bench.lost() != []
    goes_on(bench)


# Channels and topics


def consumed(bench: BrokerBench) -> None:
    """Finish batch 0, then 1, then 2, each in a journal record of its own."""
    client = bench.client(ready=3)
    for _ in range(3):
        messages = client.take()
        client.ready(0)
        client.finish(*messages)
        bench.broker.tick()
        client.ready(3)
    client.leave()
    bench.broker.tick()


def test_damaged_checkpoint(bench: BrokerBench) -> None:
    """The journal goes on from the beginning of the log; the file is kept aside."""
    consumed(bench)
    bench.disk.flip_bit(CHANNEL, 10)
    bench.kill()
    assert bench.drained() == ALL[9:]
    assert any("damaged checkpoint" in warning for warning in bench.events.warnings)
    assert f"{CHANNEL}.bad" in bench.disk.paths()
    goes_on(bench)


def test_damaged_checkpoint_whose_journals_are_gone(bench: BrokerBench) -> None:
    """What was finished comes again; nothing is lost."""
    consumed(bench)
    bench.stop()
    bench.disk.flip_bit(CHANNEL, 10)
    bench.kill()
    bench.pass_time(0)
    assert set(bench.drained()) >= set(ALL[9:])
    goes_on(bench)


def test_missing_checkpoint(bench: BrokerBench) -> None:
    consumed(bench)
    bench.disk.remove(CHANNEL)
    bench.kill()
    assert bench.drained() == ALL[9:]
    assert any("no checkpoint" in warning for warning in bench.events.warnings)
    goes_on(bench)


@pytest.mark.parametrize("cut", [1, 10, 24])
def test_damaged_journal_tail(bench: BrokerBench, cut: int) -> None:
    """The last finishes are forgotten: they come again."""
    consumed(bench)
    del bench.disk.content(JOURNAL)[-cut:]
    bench.kill()
    assert sorted(bench.drained()) == ALL[6:]
    assert any("left out" in warning for warning in bench.events.warnings)
    goes_on(bench)


@pytest.mark.parametrize("byte", [0, 9, 15, 24])
def test_damaged_journal_middle(bench: BrokerBench, byte: int) -> None:
    """Costs the record that it hits; the ones after it count."""
    consumed(bench)
    bench.disk.flip_bit(JOURNAL, 25 + byte)
    bench.kill()
    assert sorted(bench.drained()) == ALL[3:6] + ALL[9:]
    goes_on(bench)


def test_damaged_journal_length(bench: BrokerBench) -> None:
    """Where the next record begins is not known: all that follows is forgotten."""
    consumed(bench)
    bench.disk.content(JOURNAL)[25 + 4] = 0xFF
    bench.kill()
    assert sorted(bench.drained()) == ALL[3:]
    goes_on(bench)


def test_damaged_stragglers(bench: BrokerBench) -> None:
    """Copies of messages whose segment is gone: reported by range."""
    client = bench.client(ready=100)
    messages = client.take()
    client.finish(*messages[2:3], *messages[4:])
    bench.upkeep()
    assert bench.log().first > 4
    bench.disk.flip_bit(f"{CHANNEL}.stragglers", 8)
    bench.kill()
    assert bench.lost() == [(0, 2, "missing stragglers"), (3, 4, "missing stragglers")]
    assert bench.drained() == []
    goes_on(bench)


def test_damaged_checkpoint_does_not_cost_the_stragglers(bench: BrokerBench) -> None:
    client = bench.client(ready=100)
    messages = client.take()
    client.finish(*messages[1:])
    bench.upkeep()
    assert bench.log().first > 0
    bench.stop()
    bench.disk.flip_bit(CHANNEL, 10)
    bench.kill()
    assert b"0a" in bench.drained()
    assert bench.lost() == []


def test_damaged_topic_state(bench: BrokerBench) -> None:
    """What was emptied comes again; what was passed on is told by the channels."""
    bench.broker.pause_topic(bench.topic(), True)
    bench.publish(b"emptied")
    bench.broker.empty_topic(bench.topic())
    bench.stop()
    bench.disk.flip_bit(f"{FOLDER}/state", 9)
    bench.kill()
    assert any("damaged and was not used" in warning for warning in bench.events.warnings)
    assert (bench.topic().depth, bench.channel().depth) == (1, 30)
    bench.broker.pause_topic(bench.topic(), False)
    assert bench.drained() == [*ALL, b"emptied"]
    goes_on(bench)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b'{"topics":[{"name":7}]}'])
def test_damaged_metadata_refuses_the_start_and_is_kept(bench: BrokerBench, content: bytes) -> None:
    bench.disk.content("nsqd.dat")[:] = content
    before = {path: bytes(bench.disk.content(path)) for path in bench.disk.paths()}
    with pytest.raises(MetadataError):
        bench.kill()
    assert {path: bytes(bench.disk.content(path)) for path in bench.disk.paths()} == before
    bench.disk.remove("nsqd.dat")  # as the message says: then what is found on disk counts
    bench.kill()
    assert bench.drained() == ALL


# A disk that refuses


def test_full_disk_while_publishing(bench: BrokerBench) -> None:
    client = bench.client(ready=10)
    bench.disk.free_bytes = 20
    assert bench.publish(b"refused") == "No space left on device"
    assert bench.broker.health == "NOK - No space left on device"
    assert [message.body for message in client.take()] == ALL[:10]  # consumers are served
    bench.disk.free_bytes = None
    bench.upkeep()  # and it finds out by itself
    assert bench.broker.health == "OK"
    bench.kill()
    assert bench.drained() == ALL
    goes_on(bench)


def test_full_disk_while_journaling(bench: BrokerBench) -> None:
    client = bench.client(ready=10)
    bench.disk.free_bytes = 5
    served: list[bytes] = []
    for _ in range(4):
        messages = client.take()
        served += [message.body for message in messages]
        assert client.finish(*messages) == []
        bench.broker.tick()
    assert served == ALL
    assert bench.broker.health == "NOK - No space left on device"
    bench.disk.free_bytes = None
    bench.upkeep()
    assert bench.broker.health == "OK"
    bench.kill()
    assert bench.drained() == []
    goes_on(bench)


def test_full_disk_is_made_room_on_by_what_is_finished(bench: BrokerBench) -> None:
    """Segments go although the journal can not say why: that is what makes room."""
    client = bench.client(ready=100)
    messages = client.take()
    bench.disk.free_bytes = 0
    client.finish(*messages)
    bench.upkeep()
    assert bench.log().first >= 24
    bench.kill()
    assert set(bench.drained()) <= set(ALL[24:])


def test_read_only_remount(bench: BrokerBench) -> None:
    client = bench.client(ready=100)
    bench.disk.fail_writes = errno.EROFS
    assert bench.publish(b"refused") == "EROFS"
    messages = client.take()
    assert [message.body for message in messages] == ALL
    assert client.finish(*messages) == []
    bench.upkeep()
    assert bench.broker.health == "NOK - EROFS"
    assert bench.publish(b"refused", topic="new") == "EROFS"
    bench.disk.fail_writes = None
    bench.upkeep()
    assert bench.broker.health == "OK"
    bench.kill()
    assert bench.drained() == []
    goes_on(bench)


def test_read_error_is_tried_again(bench: BrokerBench) -> None:
    bench.kill()
    client = bench.client()
    bench.disk.fail_reads_of[log_file(0)] = errno.EIO
    client.ready(100)
    assert client.take() == []
    assert bench.lost() == []
    del bench.disk.fail_reads_of[log_file(0)]
    bench.pass_time(SECOND_NS)
    assert client.bodies() == ALL


@pytest.mark.parametrize("blocks", [False, True])
def test_read_error_that_stays_is_given_up_by_range(bench: BrokerBench, blocks: bool) -> None:
    bench.kill()
    bench.disk.reads_block = blocks
    bench.disk.fail_reads_of[log_file(6)] = errno.EIO
    client = bench.client(ready=100)
    for _ in range(10):
        bench.pass_time(SECOND_NS // 20)
        bench.run()
    assert client.bodies() == without(*range(6, 12))
    assert bench.lost() == [(6, 12, "input/output error")]
    failures = [warning for warning in bench.events.warnings if "failed to read" in warning]
    assert len(failures) == 1


def test_read_error_of_an_index_gives_up_its_segment(bench: BrokerBench) -> None:
    bench.kill()
    bench.disk.fail_reads_of[index_file(6)] = errno.EIO
    client = bench.client(ready=100)
    for _ in range(10):
        bench.pass_time(SECOND_NS // 20)
    assert client.bodies() == without(*range(6, 12))
    assert bench.lost() == [(6, 12, "input/output error")]


def test_other_read_errors_are_waited_out(bench: BrokerBench) -> None:
    """Too many open files, for example: nothing is given up for that."""
    bench.kill()
    bench.disk.fail_reads = errno.EMFILE
    client = bench.client(ready=100)
    for _ in range(100):
        bench.pass_time(SECOND_NS // 20)
    assert (client.take(), bench.lost()) == ([], [])
    assert len(bench.events.warnings) < 5
    bench.disk.fail_reads = None
    bench.pass_time(SECOND_NS)
    assert client.bodies() == ALL


def test_failed_fsync() -> None:
    bench = BrokerBench.of(durability=Durability.FSYNC)
    client = bench.client(ready=10)
    assert bench.publish(b"before") == "OK"
    bench.disk.fail_syncs = errno.EIO
    assert bench.publish(b"refused") == "EIO"
    assert bench.broker.health == "NOK - EIO"
    bench.disk.fail_syncs = None
    assert bench.publish(b"after") == "OK"
    assert client.bodies() == [b"before", b"after"]
    assert bench.log().segment_count == 2
    bench.broker.tick()
    bench.kill()
    assert bench.drained() == [b"before", b"after"]
    assert bench.lost() == []


def test_a_disk_that_fails_from_the_start_is_reported_as_such() -> None:
    disk = SimulatedDisk()
    disk.fail_writes = errno.EROFS
    with pytest.raises(OSError, match="EROFS"):
        BrokerBench(disk=disk)
