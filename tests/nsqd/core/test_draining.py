"""A node that is being emptied: what it refuses, what it delivers, what a restart remembers."""

import pytest

from nsqx.nsqd.core.broker import DrainingError
from nsqx.nsqd.core.draining import DRAINING_PATH
from nsqx.nsqd.core.topic import Refusal
from tests.support.broker_bench import BrokerBench


@pytest.fixture
def bench() -> BrokerBench:
    bench = BrokerBench()
    bench.channel()
    return bench


def answers(bench: BrokerBench, *batches: list[bytes]) -> list[str]:
    """Publish; what the producers are told."""
    told: list[str] = []
    topic = bench.topic()
    for bodies in batches:
        topic.publish(
            bodies, 0, lambda error: told.append(str(error or "OK")), bench.broker.clock.monotonic()
        )
    topic.publish_one(b"one", lambda error: told.append(str(error or "OK")))
    bench.broker.commit(topic, is_whole=True)
    return told


def test_what_is_published_is_refused_and_what_was_stays(bench: BrokerBench) -> None:
    assert answers(bench, [b"a", b"b"]) == ["OK", "OK"]
    bench.broker.drain()
    assert answers(bench, [b"a", b"b"], [b"x"] * 5000) == ["draining"] * 3
    assert bench.topic().refused[Refusal.DRAINING] == 5003
    assert bench.channel().depth == 3
    bench.broker.end_drain()
    assert answers(bench, [b"a"]) == ["OK", "OK"]


def test_what_was_published_before_is_accepted(bench: BrokerBench) -> None:
    told: list[object] = []
    bench.topic().publish_one(b"just before", told.append)
    bench.broker.drain()
    assert told == [None]


def test_no_topic_is_made_for_a_publish_but_consumers_may_come(bench: BrokerBench) -> None:
    bench.broker.drain()
    with pytest.raises(DrainingError, match="draining"):
        bench.broker.topic_to_publish("new")
    assert bench.broker.topic_to_publish(bench.topic().name) is bench.topic()
    bench.broker.get_topic("consumed")


def test_a_restart_goes_on_with_it(bench: BrokerBench) -> None:
    bench.broker.drain()
    again = BrokerBench(disk=bench.disk)
    assert answers(again) == ["draining"]
    assert again.broker.draining.since_ns == bench.broker.draining.since_ns > 0
    again.broker.end_drain()
    assert again.broker.draining.since_ns == 0
    assert not BrokerBench(disk=bench.disk).broker.draining.is_on


def test_a_file_that_can_not_be_read_says_that_it_drains(bench: BrokerBench) -> None:
    bench.disk.write_file(DRAINING_PATH, b"\0")
    draining = BrokerBench(disk=bench.disk).broker.draining
    assert (draining.is_on, draining.since_ns) == (True, 0)


def test_deferred_messages_of_a_topic_without_channels_are_counted() -> None:
    bench = BrokerBench()
    topic = bench.topic()
    wall_ns, now_ns = bench.broker.clock.wall(), bench.broker.clock.monotonic()
    topic.publish([b"a", b"b"], wall_ns + 10**12, lambda error: None, now_ns)
    bench.broker.commit(topic)
    assert (topic.depth, topic.count_deferred()) == (2, 2)
    topic.empty()
    assert (topic.depth, topic.count_deferred()) == (0, 0)
