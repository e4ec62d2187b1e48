"""A topic: gathering, committing, syncing, and what waits for a channel or the end of a pause."""

import errno
from collections.abc import Callable
from typing import NoReturn

import pytest

from nsqx.nsqd.core.acknowledgements import PublishError
from nsqx.nsqd.core.deferred import DUE_NS_MAX
from nsqx.nsqd.core.durability import Durability
from nsqx.nsqd.core.limits import CoreLimits
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.log.limits import LogLimits
from nsqx.nsqd.log.log import PIECE_MESSAGES
from nsqx.nsqd.log.records import RECORD_BYTES
from nsqx.protocol.messages import HEADER_BYTES
from tests.support.broker_bench import SECOND_NS, SETTINGS, BrokerBench


@pytest.fixture
def bench() -> BrokerBench:
    bench = BrokerBench()
    bench.channel()
    return bench


class Answers:
    """Answers to publishes, in the order in which they came."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def to(self, name: str) -> Callable[[PublishError | None], None]:
        return lambda error: self.given.append(f"{name} {'OK' if error is None else error}")


def raise_fault(*arguments: object) -> NoReturn:
    raise ValueError("a fault")


def test_what_many_publish_in_one_turn_is_one_batch(bench: BrokerBench) -> None:
    topic, answers = bench.topic(), Answers()
    assert topic.publish_one(b"a", answers.to("a"))
    assert not topic.publish_one(b"b", answers.to("b"))
    assert not topic.publish([b"c", b"d"], 0, answers.to("cd"), bench.now_ns)
    assert (answers.given, bench.log().end) == ([], 0)
    bench.broker.commit(topic)
    assert answers.given == ["a OK", "b OK", "cd OK"]
    assert len([commit for segment in bench.log()._segments for commit in segment.commits()]) == 1
    assert (topic.message_count, topic.message_bytes) == (4, 4)


def test_what_is_due_at_another_time_is_another_batch(bench: BrokerBench) -> None:
    topic, answers = bench.topic(), Answers()
    for number, due_ns in enumerate([0, 5, 5, 6, 0]):
        topic.publish([b"x"], due_ns, answers.to(str(number)), bench.now_ns)
    bench.broker.commit(topic)
    assert list(bench.log().deferred_batches(0)) == [(1, 3, 5), (3, 4, 6)]
    assert answers.given == ["0 OK", "1 OK", "2 OK", "3 OK", "4 OK"]


def test_a_turn_of_many_bytes_is_committed_before_its_end(bench: BrokerBench) -> None:
    topic, answers = bench.topic(), Answers()
    topic.publish([b"x" * 700_000], 0, answers.to("one"), bench.now_ns)
    topic.publish([b"x" * 700_000], 0, answers.to("two"), bench.now_ns)
    assert bench.log().end == 2
    bench.broker.flush()
    assert answers.given == ["one OK", "two OK"]


def test_a_topic_that_closes_takes_nothing(bench: BrokerBench) -> None:
    topic, answers = bench.topic(), Answers()
    topic.is_closing = True
    topic.publish_one(b"x", answers.to("x"))
    assert answers.given == ["x exiting"]


def test_messages_are_passed_on_before_their_producers_are_answered(bench: BrokerBench) -> None:
    topic, client = bench.topic(), bench.client(ready=10)
    seen: list[list[bytes]] = []
    topic.publish([b"x"], 0, lambda error: seen.append(client.bodies()), bench.now_ns)
    bench.broker.commit(topic)
    assert seen == [[b"x"]]


# Long batches

MANY = 3 * PIECE_MESSAGES + 10


def many(mark: bytes = b"x") -> list[bytes]:
    return [b"%b%d" % (mark, number) for number in range(MANY)]


def publish_many(bench: BrokerBench, answers: Answers, topic: str = "orders") -> None:
    target = bench.topic(topic)
    assert target.publish(many(), 0, answers.to("many"), bench.now_ns)
    bench.broker.mark(target)


def test_a_long_batch_is_written_in_several_turns_and_is_there_at_once(bench: BrokerBench) -> None:
    answers, client = Answers(), bench.client(ready=2 * MANY)
    publish_many(bench, answers)
    for _ in range(4):
        bench.broker.flush()
        assert (answers.given, bench.log().end, client.bodies()) == ([], 0, [])
    assert bench.publish(b"other", topic="other") == "OK"  # in the same turn as the last piece
    assert answers.given == ["many OK"]
    bench.pass_time(0)
    assert client.bodies() == many()
    assert bench.topic().message_count == MANY
    assert bench.topic().message_bytes == sum(map(len, many()))
    assert bench.log().size_bytes == sum(len(body) + HEADER_BYTES for body in many())


def test_what_is_published_behind_a_long_batch_waits_for_it(bench: BrokerBench) -> None:
    answers, topic = Answers(), bench.topic()
    topic.publish_one(b"before", answers.to("before"))
    publish_many(bench, answers)
    topic.publish_one(b"behind", answers.to("behind"))
    while bench.topic().being_written is not None:
        bench.broker.flush()
    assert answers.given == ["before OK", "many OK", "behind OK"]
    assert bench.drained() == [b"before", *many(), b"behind"]


def test_two_long_batches_and_one_that_can_not_wait(bench: BrokerBench) -> None:
    answers = Answers()
    publish_many(bench, answers)
    publish_many(bench, answers)
    bench.broker.commit(bench.topic(), is_whole=True)
    assert answers.given == ["many OK", "many OK"]
    assert bench.log().end == 2 * MANY


def test_a_long_batch_that_a_kill_broke_off_was_never_there(bench: BrokerBench) -> None:
    answers = Answers()
    bench.publish(b"before")
    publish_many(bench, answers)
    bench.broker.flush()
    bench.broker.flush()
    bench.kill()
    assert (answers.given, bench.lost(), bench.log().end) == ([], [], 1)
    assert bench.publish(b"behind") == "OK"
    assert bench.drained() == [b"before", b"behind"]


@pytest.mark.parametrize("pieces", [0, 1, 3, 4])
def test_a_long_batch_that_the_disk_refuses_leaves_nothing(bench: BrokerBench, pieces: int) -> None:
    answers = Answers()
    bench.publish(b"before")
    publish_many(bench, answers)
    for _ in range(pieces):
        bench.broker.flush()
    bench.disk.fail_writes = errno.ENOSPC
    while bench.topic().being_written is not None:
        bench.broker.flush()
    bench.disk.fail_writes = None
    assert answers.given == ["many ENOSPC"]
    assert bench.publish(b"behind") == "OK"
    bench.kill()
    assert bench.drained() == [b"before", b"behind"]


def test_a_long_batch_is_written_before_the_end(bench: BrokerBench) -> None:
    answers = Answers()
    publish_many(bench, answers)
    bench.broker.flush()
    bench.stop()
    assert answers.given == ["many OK"]
    assert len(bench.drained()) == MANY


def test_a_long_batch_of_a_topic_that_is_deleted(bench: BrokerBench) -> None:
    answers = Answers()
    publish_many(bench, answers)
    bench.broker.flush()
    bench.broker.delete_topic(bench.topic())
    assert answers.given == ["many OK"]
    bench.broker.flush()


def test_a_long_batch_to_an_ephemeral_topic() -> None:
    bench, answers = BrokerBench.of(mem_queue_size=2 * MANY), Answers()
    client = bench.client("c", topic="t#ephemeral", ready=2 * MANY)
    publish_many(bench, answers, "t#ephemeral")
    bench.broker.flush()
    assert client.bodies() == []
    while bench.topic("t#ephemeral").being_written is not None:
        bench.broker.flush()
    assert answers.given == ["many OK"]
    bench.pass_time(0)
    assert client.bodies() == many()


# Faults of our own


def test_a_time_that_nothing_can_hold_is_the_latest_that_there_is(bench: BrokerBench) -> None:
    assert bench.publish(b"x", delay_ns=2562047 * 3600 * SECOND_NS) == "OK"
    assert list(bench.channel().backlog.deferred) == [(0, DUE_NS_MAX, 0)]
    client = bench.client(ready=1)
    bench.publish(b"y")
    (message,) = client.take()
    client.requeue(message, 2562047 * 3600 * SECOND_NS)
    bench.pass_time(0)
    bench.kill()
    assert sorted(bench.channel().backlog.deferred) == [(0, DUE_NS_MAX, 0), (1, DUE_NS_MAX, 1)]


def test_a_fault_in_one_topic_costs_no_other_its_commit(
    bench: BrokerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own producers get an error, and those that come next are served."""
    bench.events.expects_failures = True
    faulty, sound, answers = bench.topic("faulty"), bench.topic("sound"), Answers()
    with monkeypatch.context() as patched:
        patched.setattr(faulty.log, "append", raise_fault)
        for topic in (faulty, sound):
            topic.publish([b"x"], 0, answers.to(topic.name), bench.now_ns)
            bench.broker.mark(topic)
        bench.broker.flush()
    assert answers.given == ["faulty internal error", "sound OK"]
    assert [what for what, _ in bench.events.failures] == ["commit to topic faulty"]
    assert bench.broker.failure_count == 1
    assert bench.publish(b"y", topic="faulty") == "OK"


def test_a_fault_in_one_channel_costs_no_other_its_messages(
    bench: BrokerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.events.expects_failures = True
    clients = [bench.client(name, ready=10) for name in ("archive", "broken", "mail")]
    monkeypatch.setattr(bench.channel("broken"), "dispatch", raise_fault)
    assert bench.publish(b"x") == "OK"
    assert [client.bodies() for client in clients] == [[b"x"], [], [b"x"]]
    assert [what for what, _ in bench.events.failures] == ["deliver in channel orders/broken"]


def test_a_fault_in_one_connection_costs_no_other_its_answer(bench: BrokerBench) -> None:
    bench.events.expects_failures = True
    topic, answers = bench.topic(), Answers()
    topic.publish_one(b"a", answers.to("a"))
    topic.publish_one(b"b", raise_fault)
    topic.publish_one(b"c", answers.to("c"))
    bench.broker.commit(topic)
    assert answers.given == ["a OK", "c OK"]
    assert [what for what, _ in bench.events.failures] == ["answer a publish"]


# Waiting at the topic


def test_messages_wait_at_a_topic_without_a_channel() -> None:
    bench = BrokerBench()
    bench.publish(b"a", b"b")
    bench.publish(b"later", delay_ns=SECOND_NS)
    assert bench.topic().depth == 3
    bench.kill()
    assert bench.topic().depth == 3
    bench.channel()
    assert (bench.topic().depth, bench.channel().depth) == (0, 2)
    assert bench.channel().deferred_count == 1
    bench.pass_time(SECOND_NS)
    assert sorted(bench.drained()) == [b"a", b"b", b"later"]


def test_a_second_channel_gets_what_comes_from_now_on(bench: BrokerBench) -> None:
    bench.publish(b"old")
    bench.channel("other")
    bench.publish(b"new")
    assert bench.drained("other") == [b"new"]
    assert bench.drained() == [b"old", b"new"]


def test_a_paused_topic_keeps_what_comes_over_restarts(bench: BrokerBench) -> None:
    bench.publish(b"before")
    bench.broker.pause_topic(bench.topic(), True)
    bench.publish(b"during")
    bench.publish(b"later", delay_ns=SECOND_NS)
    for again in (bench.run, bench.kill, bench.stop, bench.kill):
        again()
        assert (bench.topic().depth, bench.channel().depth) == (2, 1)
        assert bench.channel().deferred_count == 0
    bench.broker.pause_topic(bench.topic(), False)
    assert (bench.topic().depth, bench.channel().depth) == (0, 2)
    assert bench.channel().deferred_count == 1
    bench.kill()
    assert (bench.channel().depth, bench.channel().deferred_count) == (2, 1)
    bench.pass_time(SECOND_NS)
    assert sorted(bench.drained()) == [b"before", b"during", b"later"]


def test_a_deferred_message_whose_record_is_damaged_during_a_pause_is_due_at_its_end(
    bench: BrokerBench,
) -> None:
    bench.publish(b"before")
    bench.broker.pause_topic(bench.topic(), True)
    bench.publish(b"later", delay_ns=SECOND_NS)
    bench.publish(b"during")
    bench.publish(b"last", delay_ns=SECOND_NS)
    (index,) = bench.disk.paths(".idx")
    for record in (2, 4):
        bench.disk.content(index)[RECORD_BYTES * record + 24] ^= 0xFF  # one bit would be mended
    bench.broker.pause_topic(bench.topic(), False)
    assert (bench.channel().depth, bench.channel().deferred_count) == (2, 2)
    bench.pass_time(1)
    assert sorted(bench.drained()) == [b"before", b"during", b"last", b"later"]


def test_a_pause_whose_state_the_disk_refused_repeats_nothing(bench: BrokerBench) -> None:
    """The metadata says paused, the state file is of before: channels know better."""
    bench.publish(b"later", delay_ns=SECOND_NS)
    bench.pass_time(SECOND_NS)
    assert bench.drained() == [b"later"]
    bench.stop()
    bench.broker.pause_topic(bench.topic(), True)
    bench.disk.remove("topics/orders.topic/state")
    bench.kill()
    bench.publish(b"new")
    bench.broker.pause_topic(bench.topic(), False)
    bench.pass_time(SECOND_NS)
    assert bench.drained() == [b"new"]


def test_emptying_a_topic_drops_what_waits_at_it_over_restarts(bench: BrokerBench) -> None:
    bench.publish(b"passed on")
    bench.broker.pause_topic(bench.topic(), True)
    bench.publish(b"dropped")
    bench.publish(b"dropped later", delay_ns=SECOND_NS)
    bench.broker.empty_topic(bench.topic())
    assert bench.topic().depth == 0
    bench.publish(b"kept")
    bench.publish(b"kept later", delay_ns=SECOND_NS)
    bench.kill()
    bench.broker.pause_topic(bench.topic(), False)
    bench.kill()
    bench.pass_time(SECOND_NS)
    assert sorted(bench.drained()) == [b"kept", b"kept later", b"passed on"]


def test_a_held_topic_keeps_what_comes_until_it_is_let_go() -> None:
    bench = BrokerBench()
    topic = bench.topic()
    topic.hold()
    bench.publish(b"a")
    bench.channel()
    bench.channel("other")
    assert (topic.depth, bench.channel().depth) == (1, 0)
    topic.let_go(bench.now_ns)
    assert (bench.drained(), bench.drained("other")) == ([b"a"], [b"a"])


def test_what_ephemeral_channels_consumed_does_not_come_again_after_a_kill() -> None:
    bench = BrokerBench()
    bench.topic()
    client = bench.client("tail#ephemeral", ready=100)
    bench.publish(b"seen")
    assert client.bodies() == [b"seen"]
    bench.upkeep()
    bench.kill()
    bench.publish(b"new")
    assert bench.client(ready=100).bodies() == [b"new"]


def test_an_ephemeral_topic_keeps_the_newest_messages_for_its_first_channel() -> None:
    bench = BrokerBench.of(mem_queue_size=3)
    for number in range(10):
        bench.publish(b"%d" % number, topic="live#ephemeral")
    client = bench.client(topic="live#ephemeral", ready=100)
    assert client.bodies() == [b"7", b"8", b"9"]
    assert bench.disk.paths("live#ephemeral") == []


@pytest.mark.parametrize("topic", ["t", "live#ephemeral"])
def test_what_an_ephemeral_channel_drops_is_counted(topic: str) -> None:
    bench = BrokerBench.of(mem_queue_size=3)
    client = bench.client(topic=topic, channel="tail#ephemeral", ready=0)
    for number in range(10):
        bench.publish(b"%d" % number, topic=topic)
    channel = bench.topic(topic).channels["tail#ephemeral"]
    assert (channel.dropped_count, channel.depth) == (7, 3)
    client.ready(100)
    assert client.bodies() == [b"7", b"8", b"9"]
    bench.publish(b"10", topic=topic)
    assert channel.dropped_count == 7


def test_an_ephemeral_topic_lets_go_of_what_was_finished() -> None:
    bench = BrokerBench.of(mem_queue_size=100)
    client = bench.client(topic="live#ephemeral", ready=100)
    for _ in range(3000):
        bench.publish(b"x" * 1000, topic="live#ephemeral")
        client.finish(*client.take())
    log = bench.topic("live#ephemeral").log
    assert log.end == 3000
    assert log.end - log.first < 400


# Syncing


@pytest.fixture
def fsync_bench() -> BrokerBench:
    """Return one whose logs are synced in their place; `test_group_commit` has the other way."""
    limits = CoreLimits(log=LogLimits(commit_file_bytes=0))
    bench = BrokerBench.of(durability=Durability.FSYNC, limits=limits)
    bench.channel()
    bench.run()
    return bench


def publish(bench: BrokerBench, answers: Answers, name: str) -> None:
    topic = bench.topic()
    topic.publish([name.encode()], 0, answers.to(name), bench.now_ns)
    bench.broker.commit(topic)


def test_one_sync_serves_all_that_wait(fsync_bench: BrokerBench) -> None:
    answers = Answers()
    for name in "abc":
        publish(fsync_bench, answers, name)
    assert (answers.given, fsync_bench.channel().depth) == ([], 0)
    assert len(fsync_bench.disk.pending) == 1
    fsync_bench.disk.pending.popleft()()
    assert answers.given == ["a OK"]  # the others came when the first sync had begun
    fsync_bench.disk.pending.popleft()()
    assert answers.given == ["a OK", "b OK", "c OK"]
    assert fsync_bench.drained() == [b"a", b"b", b"c"]


def test_a_fault_in_a_sync_refuses_what_waited_for_it(
    fsync_bench: BrokerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync_bench.events.expects_failures = True
    answers = Answers()
    with monkeypatch.context() as patched:
        patched.setattr(fsync_bench.log(), "begin_sync", raise_fault)
        publish(fsync_bench, answers, "a")
        fsync_bench.run()
    assert answers.given == ["a internal error"]
    publish(fsync_bench, answers, "b")
    fsync_bench.run()
    assert answers.given == ["a internal error", "b OK"]
    assert fsync_bench.drained() == [b"b"]


def test_a_long_batch_that_a_sync_may_have_torn_is_refused(fsync_bench: BrokerBench) -> None:
    """A sync failed while it was being written, and may have dropped its first pieces."""
    answers = Answers()
    fsync_bench.publish(b"before")
    publish(fsync_bench, answers, "before")  # its sync is still to come
    publish_many(fsync_bench, answers)
    fsync_bench.broker.flush()
    fsync_bench.disk.fail_syncs = errno.EIO
    fsync_bench.run()
    fsync_bench.disk.fail_syncs = None
    while fsync_bench.topic().being_written is not None:
        fsync_bench.broker.flush()
    fsync_bench.run()
    assert answers.given == ["before EIO", "many a sync failed"]
    assert fsync_bench.drained() == [b"before"]


def test_a_failed_sync_refuses_all_that_was_appended_meanwhile(fsync_bench: BrokerBench) -> None:
    """Their pages may have been dropped by the same failure; the next sync would not tell."""
    answers = Answers()
    publish(fsync_bench, answers, "before")
    fsync_bench.run()
    publish(fsync_bench, answers, "a")
    publish(fsync_bench, answers, "b")
    fsync_bench.disk.fail_syncs = errno.EIO
    fsync_bench.disk.pending.popleft()()
    fsync_bench.disk.fail_syncs = None
    assert answers.given == ["before OK", "a EIO", "b EIO"]
    publish(fsync_bench, answers, "after")
    fsync_bench.run()
    assert answers.given[-1] == "after OK"
    assert fsync_bench.log().segment_count == 2
    assert fsync_bench.drained() == [b"before", b"after"]


def test_what_a_failed_sync_refused_is_not_delivered_after_a_restart(
    fsync_bench: BrokerBench,
) -> None:
    fsync_bench.disk.fail_syncs = errno.EIO
    assert fsync_bench.publish(b"refused") == "EIO"
    fsync_bench.disk.fail_syncs = None
    assert fsync_bench.publish(b"kept") == "OK"
    fsync_bench.broker.tick()
    fsync_bench.kill()
    assert fsync_bench.drained() == [b"kept"]


def test_a_segment_that_can_not_be_opened_for_its_sync_is_a_failed_sync(
    fsync_bench: BrokerBench,
) -> None:
    answers = Answers()
    fsync_bench.log().segment_bytes_max = 50
    publish(fsync_bench, answers, "a")  # its sync runs while the next ones are appended
    publish(fsync_bench, answers, "b")
    publish(fsync_bench, answers, "c")  # another segment
    log_of_b = "topics/orders.topic/00000000000000000001.log"
    content = fsync_bench.disk._files.pop(log_of_b)
    fsync_bench.run()
    fsync_bench.disk._files[log_of_b] = content
    assert answers.given[0] == "a OK"
    assert [answer.split()[0] for answer in answers.given[1:]] == ["b", "c"]
    assert all("No such file" in answer for answer in answers.given[1:])
    publish(fsync_bench, answers, "d")
    fsync_bench.run()
    assert answers.given[-1] == "d OK"


def test_under_os_a_background_sync_that_fails_costs_no_message(bench: BrokerBench) -> None:
    bench.publish(b"a")
    bench.disk.fail_syncs = errno.EIO
    bench.broker.sync()
    bench.run()
    assert bench.broker.health == "NOK - EIO"
    bench.disk.fail_syncs = None
    bench.publish(b"b")
    assert bench.drained() == [b"a", b"b"]


def test_a_change_to_os_lets_newer_batches_overtake(fsync_bench: BrokerBench) -> None:
    answers = Answers()
    publish(fsync_bench, answers, "a")
    fsync_bench.topic().durability = Durability.OS
    publish(fsync_bench, answers, "b")
    fsync_bench.run()
    assert sorted(answers.given) == ["a OK", "b OK"]
    assert sorted(fsync_bench.drained()) == [b"a", b"b"]


def test_channels_are_asked_only_when_the_log_can_let_go_of_something(
    bench: BrokerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Topic] = []
    release = Topic.release

    def watched(topic: Topic, wall_ns: int) -> None:
        asked.append(topic)
        release(topic, wall_ns)

    client = bench.client(ready=1000)
    bench.upkeep()
    monkeypatch.setattr(Topic, "release", watched)
    bench.publish(b"small")
    client.finish(*client.take())
    bench.upkeep()
    assert not asked
    bench.publish(b"x" * SETTINGS.segment_bytes_max)  # a segment that is to be sealed
    client.finish(*client.take())
    bench.upkeep()
    assert asked
    assert bench.log().first == bench.log().end
