"""The broker: topics and channels by name, their files, and what a start makes of them."""

import errno
import random

import pytest

from nsqx.nsqd.core.broker import ChannelNotFoundError, TopicNotFoundError
from nsqx.nsqd.core.durability import Durability
from nsqx.nsqd.core.metadata import decode_metadata
from nsqx.nsqd.core.settings import Settings
from tests.support.broker_bench import MSG_TIMEOUT_NS, SECOND_NS, BrokerBench
from tests.support.simulated_disk import SimulatedDisk


@pytest.fixture
def bench() -> BrokerBench:
    bench = BrokerBench()
    bench.channel()
    return bench


def names(bench: BrokerBench) -> list[str]:
    return sorted(
        name
        for topic in bench.broker.topics.values()
        for name in (topic.name, *(f"{topic.name}/{channel}" for channel in topic.channels))
    )


# Names


def test_what_is_not_there_is_not_found(bench: BrokerBench) -> None:
    with pytest.raises(TopicNotFoundError):
        bench.broker.topic("none")
    with pytest.raises(ChannelNotFoundError):
        bench.broker.channel(bench.topic(), "none")


def test_topics_and_channels_are_there_after_a_kill(bench: BrokerBench) -> None:
    bench.channel("other")
    bench.channel("tail#ephemeral")
    bench.channel("x", topic="live#ephemeral")
    bench.kill()
    assert names(bench) == ["orders", "orders/archive", "orders/other"]
    assert bench.events.names == []


def test_names_that_the_metadata_does_not_have_yet_are_found_on_disk(bench: BrokerBench) -> None:
    bench.disk.remove("nsqd.dat")
    bench.kill()
    assert names(bench) == ["orders", "orders/archive"]
    assert b"archive" in bench.disk.read_file("nsqd.dat")


def test_metadata_names_what_is_not_ephemeral(bench: BrokerBench) -> None:
    bench.channel("tail#ephemeral")
    bench.topic("live#ephemeral")
    bench.broker.pause_channel(bench.topic(), bench.channel(), True)
    bench.upkeep()
    (entry,) = decode_metadata(bench.disk.read_file("nsqd.dat"))
    assert (entry.name, entry.is_paused) == ("orders", False)
    assert [(channel.name, channel.is_paused) for channel in entry.channels] == [("archive", True)]


def test_metadata_that_the_disk_refused_is_written_later(bench: BrokerBench) -> None:
    bench.disk.fail_writes = errno.EROFS
    bench.broker.pause_channel(bench.topic(), bench.channel(), True)
    bench.broker.tick()
    bench.disk.fail_writes = None
    bench.broker.tick()
    bench.kill()
    assert bench.channel().is_paused


def test_names_that_no_nsqd_gives_are_left_out() -> None:
    disk = SimulatedDisk()
    disk.replace_file(
        "nsqd.dat",
        b'{"topics":[{"name":"a b","paused":false,"channels":null},'
        b'{"name":"live#ephemeral","channels":[{"name":"x"}]},'
        b'{"name":"good","channels":[{"name":"?"},{"name":"x#ephemeral"},{"name":"x"}]}]}',
    )
    bench = BrokerBench(disk=disk)
    assert names(bench) == ["good", "good/x"]
    assert bench.events.warnings == [
        "skipping creation of invalid topic a b",
        "skipping creation of invalid channel ?",
        "channel good/x: no checkpoint",
    ]


def test_a_deleted_topic_is_gone_after_a_kill(bench: BrokerBench) -> None:
    bench.publish(b"x")
    bench.broker.delete_topic(bench.topic())
    bench.broker.flush()
    for _ in range(2):
        again = BrokerBench(disk=bench.disk.kill())
        assert names(again) == []
        again.upkeep()
        assert again.disk.paths() == ["format.json", "nsqd.dat"]
        bench.run()
    bench.channel()
    assert bench.drained() == []


def test_a_topic_that_is_created_again_begins_anew(bench: BrokerBench) -> None:
    bench.publish(*[b"x"] * 5)
    bench.drained()
    bench.broker.delete_topic(bench.topic())
    bench.channel()
    bench.publish(b"new")
    bench.run()
    bench.kill()
    assert bench.drained() == [b"new"]


def test_a_channel_that_is_created_again_begins_anew(bench: BrokerBench) -> None:
    bench.publish(b"old")
    bench.channel("other")
    bench.broker.delete_channel(bench.topic(), bench.channel())
    bench.channel()
    bench.publish(b"new")
    bench.kill()
    assert bench.drained() == [b"new"]


def test_when_the_last_channel_goes_messages_wait_at_the_topic(bench: BrokerBench) -> None:
    bench.publish(b"seen")
    assert bench.drained() == [b"seen"]
    bench.broker.delete_channel(bench.topic(), bench.channel())
    bench.publish(b"waits")
    bench.kill()
    assert bench.topic().depth == 1
    assert bench.drained() == [b"waits"]


def test_deleting_a_channel_cuts_its_clients_off(bench: BrokerBench) -> None:
    client = bench.client(ready=1)
    bench.broker.delete_channel(bench.topic(), bench.channel())
    assert client.sink.is_closed


# Restarts


def test_in_flight_waiting_deferred_and_finished_after_a_kill(bench: BrokerBench) -> None:
    bench.publish(*[b"%d" % number for number in range(10)])
    bench.publish(b"later", delay_ns=SECOND_NS)
    client = bench.client(ready=6)
    messages = client.take()
    client.ready(0)
    client.finish(*messages[:3])
    client.requeue(messages[3])
    client.requeue(messages[4], 3600 * SECOND_NS)
    bench.broker.tick()
    bench.kill()
    channel = bench.channel()
    assert (channel.depth, channel.in_flight_count, channel.deferred_count) == (6, 0, 2)
    got = {message.body: message.attempts for message in bench.client(ready=100).take()}
    assert got == {b"3": 2, b"5": 1, b"6": 1, b"7": 1, b"8": 1, b"9": 1}
    bench.pass_time(SECOND_NS)
    assert [message for _, _, message in channel.backlog.deferred] == [1]


def test_a_farewell_writes_down_where_everything_stands(bench: BrokerBench) -> None:
    bench.publish(*[b"%d" % number for number in range(4)])
    bench.publish(b"later", delay_ns=SECOND_NS)
    client = bench.client(ready=2)
    first, _ = client.take()
    client.ready(0)
    client.finish(first)
    bench.stop()
    assert bench.disk.paths(".journal") == ["topics/orders.topic/archive.channel.1.journal"]
    assert bench.disk.content(bench.disk.paths(".journal")[0]) == b""
    channel = bench.channel()
    assert (channel.depth, channel.deferred_count) == (3, 1)
    assert [message.attempts for message in bench.client(ready=9).take()] == [2, 1, 1]


def test_many_kills_in_a_row_lose_and_repeat_nothing(bench: BrokerBench) -> None:
    seen: list[bytes] = []
    for number in range(20):
        bench.publish(b"%d" % number)
        if number % 3 == 0:
            bench.channel().backlog.journal.begin_next()  # type: ignore[union-attr]  # not ephemeral
        if number % 2:
            seen += bench.drained()
            bench.broker.tick()
        bench.kill()
    assert seen + bench.drained() == [b"%d" % number for number in range(20)]


def test_what_the_disk_kept_after_a_loss_of_power_is_delivered() -> None:
    """Under fsync all that was acknowledged, whatever else is torn."""
    for seed in range(40):
        bench = BrokerBench.of(durability=Durability.FSYNC, segment_bytes_max=400)
        bench.channel()
        acknowledged = []
        for number in range(20):
            body = b"%d" % number + b"." * (seed % 60)
            if bench.publish(body) == "OK":
                acknowledged.append(body)
        topic = bench.topic()
        topic.publish([b"not acknowledged"], 0, lambda error: None, bench.now_ns)
        topic.commit(bench.now_ns)
        bench.lose_power(random.Random(seed))
        delivered = bench.drained()
        assert [body for body in delivered if body != b"not acknowledged"] == acknowledged
        assert bench.publish(b"after") == "OK"
        assert bench.drained() == [b"after"]


def test_numbers_that_a_loss_of_power_took_are_not_given_to_others() -> None:
    """The journal knows them as finished: what came under them would be lost."""
    bench = BrokerBench()
    bench.channel()
    bench.publish(*[b"%d" % number for number in range(5)])
    bench.drained()
    bench.broker.tick()
    index = "topics/orders.topic/00000000000000000000.idx"
    del bench.disk.content(index)[48:]
    bench.kill()
    assert bench.lost() == [(0, 5, "missing at the end")]
    bench.publish(b"new")
    for _ in range(2):
        bench.kill()
        assert bench.channel().depth == 1
    assert bench.drained() == [b"new"]


def test_settings_of_a_topic_outlive_the_process(bench: BrokerBench) -> None:
    settings: Settings = {"retain_time_ns": 5, "retain_bytes": 7, "durability": "fsync"}
    bench.broker.configure(bench.topic(), settings)
    bench.kill()
    assert bench.broker.settings_of(bench.topic()) == settings
    assert bench.topic().durability is Durability.FSYNC
    assert bench.log().retention.time_ns == 5


def test_a_stop_that_the_disk_refuses_is_as_good_as_a_kill(bench: BrokerBench) -> None:
    bench.publish(b"a", b"b")
    client = bench.client(ready=1)
    client.finish(*client.take())
    bench.broker.tick()
    bench.disk.fail_writes = errno.EROFS
    with pytest.raises(OSError, match="EROFS"):
        bench.broker.close()
    bench.disk.fail_writes = None
    bench.kill()
    assert bench.drained() == [b"b"]


def test_a_channel_that_the_disk_refused_is_not_in_the_way_of_a_stop(bench: BrokerBench) -> None:
    bench.disk.fail_writes = errno.EROFS
    with pytest.raises(OSError, match="EROFS"):
        bench.broker.get_channel(bench.topic(), "refused")
    bench.disk.fail_writes = None
    bench.stop()
    assert list(bench.topic().channels) == ["archive"]


# Upkeep


def test_journals_become_checkpoints(bench: BrokerBench) -> None:
    client = bench.client(ready=2500)
    for _ in range(20):
        bench.publish(*[b"x"] * 2500)
        for message in client.take()[::2]:
            client.finish(message)
        client.channel.empty()
        bench.broker.tick()
    bench.channel().backlog.journal.size = 10**9  # type: ignore[union-attr]  # not ephemeral
    bench.upkeep()
    assert bench.disk.paths(".journal") == ["topics/orders.topic/archive.channel.1.journal"]
    bench.kill()
    assert bench.channel().depth == 0


def test_finishes_are_noted_before_their_segment_goes() -> None:
    bench = BrokerBench.of(segment_bytes_max=100)
    bench.channel()
    for number in range(10):
        bench.publish(b"%050d" % number)
    client = bench.client(ready=100)
    client.finish(*client.take())
    bench.broker.upkeep()  # no tick before it
    bench.run()
    assert bench.log().first > 5
    bench.kill()
    assert (bench.drained(), bench.lost()) == ([], [])


def test_all_files_are_small_when_all_is_finished() -> None:
    bench = BrokerBench.of(segment_bytes_max=1000)
    bench.channel()
    for _ in range(50):
        bench.publish(*[b"x" * 100] * 5)
    client = bench.client(ready=1000)
    for _ in range(3):
        client.finish(*client.take())
    bench.upkeep()
    assert bench.log().size_bytes < 2000
    assert len(bench.disk.paths(".log")) <= 2


def test_time_outs_are_noticed_by_the_tick(bench: BrokerBench) -> None:
    bench.publish(b"x")
    gone = bench.client(ready=1)
    gone.take()
    gone.leave()
    bench.pass_time(MSG_TIMEOUT_NS)
    bench.kill()
    assert [message.attempts for message in bench.client(ready=1).take()] == [2]
