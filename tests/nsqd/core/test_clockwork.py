"""What a node does without being asked: when, and what it does not look at."""

import errno
from typing import Any
from unittest.mock import patch

import pytest

from nsqx.nsqd.core.agenda import Agenda
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.clockwork import STEP_NS, UPKEEP_NS, Clockwork
from nsqx.nsqd.core.limits import CoreLimits
from nsqx.nsqd.core.timers import NEVER_NS
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.log.limits import LogLimits
from tests.support.broker_bench import MSG_TIMEOUT_NS, SECOND_NS, BrokerBench

SYNC_NS = 2 * SECOND_NS


class NoClients:
    next_ns = NEVER_NS

    def tick(self) -> None:
        """Nobody is connected."""


class ClockworkBench(BrokerBench):
    """A broker whose clockwork runs by itself while time passes."""

    clockwork: Clockwork

    def begin(self) -> None:
        self.channel()
        self.clockwork = Clockwork(self.broker, NoClients(), sync_interval_ns=SYNC_NS)
        self.let_pass(3 * SECOND_NS)

    def let_pass(self, duration_ns: int) -> int:
        """Let time pass; return how often the clockwork ran."""
        end_ns = self.now_ns + duration_ns
        runs = 0
        while (next_ns := self.clockwork.next_ns) <= end_ns:
            self.now_ns = max(self.now_ns, next_ns)
            self.clockwork.run()
            self.run()
            runs += 1
        self.now_ns = end_ns
        return runs


def begun(**limits: Any) -> ClockworkBench:
    bench = ClockworkBench.of(limits=CoreLimits(**limits))
    assert isinstance(bench, ClockworkBench)
    bench.begin()
    return bench


@pytest.fixture
def bench() -> ClockworkBench:
    return begun()


def test_an_idle_node_runs_once_a_second(bench: ClockworkBench) -> None:
    bench.client(ready=10)
    assert bench.let_pass(60 * SECOND_NS) <= 90  # the upkeep, and syncs between


def test_idle_channels_and_topics_are_not_looked_at(bench: ClockworkBench) -> None:
    clients = []
    for number in range(50):
        clients.append(bench.client(f"c{number}", topic=f"t{number % 5}", ready=100))
        bench.publish(b"x", topic=f"t{number % 5}")
    for client in clients:
        assert client.finish(*client.take()) == []
    bench.let_pass(MSG_TIMEOUT_NS + SECOND_NS)
    with (
        patch.object(Channel, "tick", side_effect=AssertionError),
        patch.object(Topic, "release", side_effect=AssertionError),
        patch.object(Topic, "sync_in_background", side_effect=AssertionError),
    ):
        bench.let_pass(3600 * SECOND_NS)


def test_what_was_answered_is_written_within_a_step(bench: ClockworkBench) -> None:
    client = bench.client(ready=1)
    bench.publish(b"x")
    client.finish(*client.take())
    bench.let_pass(STEP_NS)
    bench.kill()
    assert bench.drained() == []


def test_it_runs_when_something_times_out_or_is_due(bench: ClockworkBench) -> None:
    client = bench.client(ready=2)
    bench.publish(b"x")
    bench.publish(b"later", delay_ns=5 * SECOND_NS)
    assert client.bodies() == [b"x"]
    bench.let_pass(5 * SECOND_NS - 1)
    assert client.bodies() == []
    bench.let_pass(STEP_NS)
    assert client.bodies() == [b"later"]
    bench.let_pass(MSG_TIMEOUT_NS - 5 * SECOND_NS)
    assert client.bodies() == [b"x"]


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_set_is_noticed_within_a_second(bench: ClockworkBench, hours: int) -> None:
    client = bench.client(ready=1)
    bench.publish(b"later", delay_ns=3600 * SECOND_NS)
    bench.let_pass(SECOND_NS)
    bench.wall_offset_ns += hours * 3600 * SECOND_NS
    bench.let_pass(UPKEEP_NS + STEP_NS)
    assert client.bodies() == ([b"later"] if hours > 0 else [])
    bench.let_pass(4 * 3600 * SECOND_NS)
    assert len(client.take()) > 0  # at last, or again


def test_many_time_outs_are_taken_back_in_steps() -> None:
    bench = begun(messages_per_step=100)
    client = bench.client(ready=2500)
    bench.publish(*[b"x"] * 2500)
    assert len(client.take()) == 2500
    client.ready(0)
    client.leave()
    channel = bench.channel()
    bench.let_pass(MSG_TIMEOUT_NS - 3 * SECOND_NS)
    before = channel.in_flight_count
    assert before == 2500
    bench.now_ns += 5 * SECOND_NS
    bench.clockwork.run()
    assert channel.in_flight_count == 2400
    assert bench.clockwork.next_ns <= bench.now_ns  # at once
    assert bench.let_pass(STEP_NS) >= 24
    assert (channel.in_flight_count, channel.depth, channel.timeout_count) == (0, 2500, 2500)


@pytest.mark.parametrize("what", ["topics", "checkpoints"])
def test_a_disk_that_refuses_is_tried_again_with_pauses(what: str) -> None:
    """More of what fails than one step takes is no reason to go on at once, and for ever."""
    bench = begun(
        topics_per_step=2 if what == "topics" else 100,
        checkpoints_per_step=2,
        log=LogLimits(checkpoint_bytes=1),
    )
    topics = [bench.topic(f"t{number}") for number in range(5)]
    for topic in topics:
        client = bench.client(topic=topic.name, ready=1)
        bench.publish(b"x", topic=topic.name)
        assert client.finish(*client.take()) == []
    bench.let_pass(SECOND_NS)
    bench.disk.fail_writes = errno.EIO
    bench.broker.pause_topic(topics[0], True)
    began_ns = bench.now_ns
    for _ in range(1000):
        bench.now_ns = max(bench.now_ns, bench.clockwork.next_ns)
        bench.clockwork.run()
        bench.run()
    assert bench.now_ns - began_ns > 30 * SECOND_NS
    bench.disk.fail_writes = None
    bench.let_pass(3 * SECOND_NS)
    assert bench.broker.write_error is None
    assert not topics[0].is_state_stale
    stores = [bench.channel(topic=topic.name).backlog.store for topic in topics]
    assert not any(store is None or store.wants_checkpoint for store in stores)


def test_who_is_gone_is_not_held_until_its_times_come() -> None:
    agenda: Agenda[str] = Agenda(BrokerBench().broker.clock)
    agenda.timers.set("gone", SECOND_NS)
    agenda.due.set("gone", SECOND_NS)
    agenda.change("gone")
    agenda.forget("gone")
    assert (len(agenda.timers), len(agenda.due), agenda.take_changed()) == (0, 0, [])
    assert agenda.next_ns == NEVER_NS


def test_what_is_due_by_the_wall_clock_is_looked_at_then() -> None:
    clock = BrokerBench().broker.clock
    agenda: Agenda[str] = Agenda(clock)
    agenda.due.set("later", clock.wall() + SECOND_NS)
    assert agenda.next_ns == clock.monotonic() + SECOND_NS
    agenda.timers.set("sooner", clock.monotonic() + 1)
    assert agenda.next_ns == clock.monotonic() + 1
