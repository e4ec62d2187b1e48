"""A channel: delivery, answers, time, control, stragglers, by example on a broker's core."""

import errno
from array import array

import pytest

from nsqx.nsqd.core.in_flight import NotInFlightError, NotOwnerError
from nsqx.nsqd.core.limits import CORE_LIMITS, CoreLimits
from nsqx.nsqd.log.log import Retention
from tests.support.broker_bench import MSG_TIMEOUT_NS, SECOND_NS, BrokerBench
from tests.support.sinks import Received


@pytest.fixture
def bench() -> BrokerBench:
    bench = BrokerBench()
    bench.channel()
    return bench


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


# Delivery


def test_messages_come_in_order_up_to_the_ready_count(bench: BrokerBench) -> None:
    bench.publish(*numbered(5))
    client = bench.client(ready=3)
    assert client.bodies() == numbered(3)
    assert bench.channel().depth == 2
    client.ready(4)
    assert client.bodies() == [b"3"]


def test_a_message_has_its_time_its_attempts_and_an_id(bench: BrokerBench) -> None:
    bench.publish(b"x")
    (message,) = bench.client(ready=1).take()
    assert (message.timestamp_ns, message.attempts) == (bench.wall_ns, 1)
    assert bench.log().sequence_of(message.id) == 0


def test_consumers_share_what_there_is(bench: BrokerBench) -> None:
    clients = [bench.client(ready=100) for _ in range(4)]
    bench.publish(*numbered(100))
    shares = [len(client.take()) for client in clients]
    assert sum(shares) == 100
    assert min(shares) >= 10


def test_a_finish_makes_room_for_the_next(bench: BrokerBench) -> None:
    bench.publish(*numbered(3))
    client = bench.client(ready=1)
    (first,) = client.take()
    assert client.finish(first) == []
    assert client.bodies() == [b"1"]


def test_a_full_connection_gets_nothing(bench: BrokerBench) -> None:
    client = bench.client(ready=5)
    client.consumer.writable = False
    bench.publish(b"x")
    assert client.take() == []
    client.consumer.writable = True
    client.ready(5)
    assert client.bodies() == [b"x"]


def test_every_channel_gets_every_message(bench: BrokerBench) -> None:
    clients = [bench.client(name, ready=10) for name in ("a", "b", "c")]
    bench.publish(*numbered(4))
    assert [client.bodies() for client in clients] == [numbered(4)] * 3


def test_a_sampled_message_that_is_dropped_is_finished() -> None:
    bench = BrokerBench()
    client = bench.client(ready=1000, sample_rate=50)
    bench.publish(*numbered(200))
    got = client.take()
    assert 50 < len(got) < 150
    client.finish(*got)
    bench.broker.tick()
    bench.kill()
    assert bench.drained() == []


# Answers


def test_finishing_out_of_order_and_in_runs(bench: BrokerBench) -> None:
    client = bench.client(ready=10)
    bench.publish(*numbered(10))
    messages = client.take()
    for run in ([7], [3, 2, 1], [4, 5, 6], [9, 0], [8]):
        assert client.finish(*[messages[number] for number in run]) == []
    assert bench.channel().in_flight_count == 0
    assert client.consumer.finish_count == 10


def test_runs_with_gaps_and_a_message_delivered_again_are_finished(bench: BrokerBench) -> None:
    client = bench.client(ready=20)
    finished: list[tuple[int, int]] = []
    client.channel.on_finished = lambda first, count: finished.append((first, count))
    bench.publish(*numbered(12))
    messages = client.take()
    client.requeue(messages[5])
    messages[5] = client.take()[0]
    order = [0, 1, 2, 4, 5, 6, 8, 9, 11]
    assert client.finish(*[messages[number] for number in order]) == []
    assert finished == [(0, 3), (4, 1), (5, 1), (6, 1), (8, 2), (11, 1)]
    assert client.consumer.finish_count == 9
    assert [client.has(messages[number]) for number in (3, 7, 10)] == [True, True, True]


def test_a_run_with_a_wrong_id_finishes_the_others(bench: BrokerBench) -> None:
    client, other = bench.client(ready=2), bench.client(ready=2)
    bench.publish(*numbered(4))
    mine, theirs = client.take(), other.take()
    failures = client.channel.finish_run(
        client.consumer, array("Q", [mine[0].id, theirs[0].id, mine[1].id, 12345])
    )
    expected: list[tuple[int, type[LookupError]]] = [
        (theirs[0].id, NotOwnerError),
        (12345, NotInFlightError),
    ]
    assert failures == expected
    assert len(client.finish(mine[0])) == 1


def test_ids_of_before_a_restart_are_finished_along_with_new_ones(bench: BrokerBench) -> None:
    bench.publish(*numbered(3))
    bench.kill()
    bench.publish(*numbered(3, 3))
    client = bench.client(ready=10)
    messages = client.take()
    assert [message.body for message in messages] == numbered(6)
    assert messages[3].id - messages[2].id != 1
    assert client.finish(*messages) == []


def test_a_requeued_message_takes_turns_with_new_ones(bench: BrokerBench) -> None:
    bench.publish(*numbered(3))
    client = bench.client(ready=1)
    (message,) = client.take()
    client.requeue(message)
    (new,) = client.take()  # ansq's own test of time-outs expects it so, and NSQ does it
    assert new.body == numbered(3)[1]
    client.finish(new)
    (again,) = client.take()
    assert again == Received(message.timestamp_ns, 2, message.id, message.body)
    assert (client.consumer.requeue_count, bench.channel().requeue_count) == (1, 1)


def test_one_that_is_always_requeued_keeps_nobody_waiting(bench: BrokerBench) -> None:
    bench.publish(b"poison", *numbered(100))
    client = bench.client(ready=1)
    came: list[bytes] = []
    while len(came) < 202:
        (message,) = client.take()
        came.append(message.body)
        if message.body == b"poison":
            client.requeue(message)
        else:
            client.finish(message)
    assert [body for body in came if body != b"poison"] == numbered(100)
    assert came.count(b"poison") == 102


def test_as_many_bad_ones_as_fit_keep_nobody_waiting(bench: BrokerBench) -> None:
    """Not with time-outs either."""
    bench.publish(*[b"poison"] * 10, *numbered(100))
    client = bench.client(ready=10)
    came: list[bytes] = []
    for _ in range(40):
        messages = client.take()
        came += [message.body for message in messages]
        client.finish(*[message for message in messages if message.body != b"poison"])
        bench.pass_time(MSG_TIMEOUT_NS + SECOND_NS)
    assert set(came) == {b"poison", *numbered(100)}


def test_many_of_both_go_in_halves(bench: BrokerBench) -> None:
    bench.publish(*numbered(50))
    first = bench.client(ready=20)
    first.take()
    first.ready(0)
    bench.pass_time(MSG_TIMEOUT_NS + SECOND_NS)
    messages = bench.client(ready=30).take()
    assert [message.body for message in messages] == [*numbered(15), *numbered(15, 20)]


def test_what_was_given_back_comes_again_as_if_it_had_not_been_delivered(
    bench: BrokerBench,
) -> None:
    bench.publish(b"x")
    client = bench.client(ready=1)
    (message,) = client.take()
    client.give_back(message)
    (again,) = client.take()
    assert again == message
    client.requeue(again)
    (second,) = client.take()
    client.give_back(second)
    (again,) = client.take()
    assert again == second
    assert again.attempts == 2
    assert bench.channel().requeue_count == 1
    assert client.finish(again) == []
    with pytest.raises(NotInFlightError):
        client.give_back(again)


def test_a_restart_knows_that_it_was_given_back(bench: BrokerBench) -> None:
    bench.publish(b"x")
    client = bench.client(ready=1)
    (message,) = client.take()
    client.ready(0)
    client.give_back(message)
    bench.stop()
    bench.start()
    (again,) = bench.client(ready=1).take()
    assert again.attempts == 1


def test_a_delayed_requeue_waits(bench: BrokerBench) -> None:
    bench.publish(b"x")
    client = bench.client(ready=1)
    (message,) = client.take()
    client.requeue(message, 5 * SECOND_NS)
    assert bench.channel().deferred_count == 1
    bench.pass_time(5 * SECOND_NS - 1)
    assert client.take() == []
    bench.pass_time(1)
    assert [(again.id, again.attempts) for again in client.take()] == [(message.id, 2)]


def test_attempts_stop_at_the_largest_that_fits() -> None:
    bench = BrokerBench()
    bench.channel()
    bench.publish(b"poison")
    client = bench.client(ready=1)
    for expected in range(1, 4):
        (message,) = client.take()
        assert message.attempts == expected
        client.requeue(message)
    (message,) = client.take()
    others = client.channel.backlog.in_flight._others
    consumer, _, delivered_ns, deadline_ns, look_ns = others[0]
    others[0] = consumer, 65_534, delivered_ns, deadline_ns, look_ns
    for _ in range(3):
        client.requeue(message)
        (message,) = client.take()
    assert message.attempts == 65_535
    bench.stop()  # a checkpoint can say that too
    (message,) = bench.client(ready=1).take()
    assert message.attempts == 65_535


# Time


def test_a_message_times_out_and_comes_again(bench: BrokerBench) -> None:
    bench.publish(b"x")
    client = bench.client(ready=1)
    client.take()
    bench.pass_time(MSG_TIMEOUT_NS + SECOND_NS)
    assert [(message.body, message.attempts) for message in client.take()] == [(b"x", 2)]
    assert bench.channel().timeout_count == 1


def test_what_a_gone_client_had_waits_for_its_time_out(bench: BrokerBench) -> None:
    bench.publish(b"x")
    gone = bench.client(ready=1)
    gone.take()
    gone.leave()
    client = bench.client(ready=1)
    assert client.take() == []
    bench.pass_time(MSG_TIMEOUT_NS + SECOND_NS)
    assert client.bodies() == [b"x"]


def test_a_gone_client_is_not_kept(bench: BrokerBench) -> None:
    """A channel without messages never gets to look at those that wait for some."""
    channel = bench.channel()
    for _ in range(100):
        bench.client(ready=1).leave()
    assert len(channel._ready) == 0
    assert len(channel.backlog.in_flight._consumers) == 0


def test_what_was_published_deferred_waits_for_its_time(bench: BrokerBench) -> None:
    client = bench.client(ready=10)
    bench.publish(b"later", delay_ns=5 * SECOND_NS)
    bench.publish(b"now")
    assert client.bodies() == [b"now"]
    channel = bench.channel()
    assert (channel.depth, channel.deferred_count) == (0, 1)
    bench.pass_time(5 * SECOND_NS)
    assert [(message.body, message.attempts) for message in client.take()] == [(b"later", 1)]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_times_nothing_out(bench: BrokerBench, hours: int) -> None:
    bench.publish(b"x")
    client = bench.client(ready=1)
    client.take()
    bench.wall_offset_ns += hours * 3600 * SECOND_NS
    bench.pass_time(MSG_TIMEOUT_NS - 1)
    assert client.take() == []
    bench.pass_time(SECOND_NS)
    assert client.bodies() == [b"x"]


def test_what_is_deferred_is_due_by_the_clock_on_the_wall(bench: BrokerBench) -> None:
    client = bench.client(ready=1)
    bench.publish(b"x", delay_ns=3600 * SECOND_NS)
    bench.wall_offset_ns += 3600 * SECOND_NS
    bench.pass_time(0)
    assert client.bodies() == [b"x"]


# Control


def test_a_paused_channel_delivers_nothing(bench: BrokerBench) -> None:
    client = bench.client(ready=10)
    bench.broker.pause_channel(bench.topic(), bench.channel(), True)
    bench.publish(b"x")
    assert client.take() == []
    bench.broker.pause_channel(bench.topic(), bench.channel(), False)
    assert client.bodies() == [b"x"]


def test_emptying_drops_all_that_waits_is_in_flight_or_deferred(bench: BrokerBench) -> None:
    bench.publish(*numbered(4))
    bench.publish(b"later", delay_ns=SECOND_NS)
    client = bench.client(ready=2)
    held = client.take()
    client.requeue(held[0], SECOND_NS)
    channel = bench.channel()
    bench.broker.empty_channel(bench.topic(), channel)
    assert (channel.depth, channel.in_flight_count, channel.deferred_count) == (0, 0, 0)
    missing: list[type[LookupError]] = [NotInFlightError] * 2
    assert client.finish(*held) == missing
    bench.kill()
    assert bench.drained() == []


def test_seeking_back_replays_what_is_kept(bench: BrokerBench) -> None:
    bench.log().retention = Retention(time_ns=3600 * SECOND_NS)
    bench.publish(*numbered(3))
    bench.publish(b"later", delay_ns=SECOND_NS)
    bench.pass_time(SECOND_NS)
    assert sorted(bench.drained()) == [*numbered(3), b"later"]
    bench.upkeep()
    bench.broker.seek(bench.topic(), bench.channel(), 1)
    bench.pass_time(0)
    assert sorted(bench.drained()) == [b"1", b"2", b"later"]
    bench.broker.seek(bench.topic(), bench.channel(), 0)
    bench.kill()
    assert sorted(bench.drained()) == [*numbered(3), b"later"]


def test_seeking_forward_skips(bench: BrokerBench) -> None:
    bench.publish(*numbered(5))
    bench.broker.seek(bench.topic(), bench.channel(), 3)
    bench.kill()
    assert bench.drained() == [b"3", b"4"]


def test_seeking_does_not_bring_back_what_was_emptied(bench: BrokerBench) -> None:
    topic = bench.topic()
    bench.broker.pause_topic(topic, True)
    bench.publish(b"later", delay_ns=SECOND_NS)
    bench.publish(b"x")
    bench.broker.empty_topic(topic)
    bench.broker.pause_topic(topic, False)
    bench.publish(b"y")
    bench.pass_time(2 * SECOND_NS)
    bench.broker.seek(topic, bench.channel(), 0)
    assert bench.drained() == [b"y"]
    bench.kill()
    bench.pass_time(2 * SECOND_NS)
    assert bench.drained() == []


def test_the_state_of_a_message_is_known(bench: BrokerBench) -> None:
    bench.publish(*numbered(5))
    bench.publish(b"later", delay_ns=9 * SECOND_NS)
    client = bench.client(ready=3)
    first, second, _ = client.take()
    client.ready(0)
    client.finish(first)
    client.requeue(second, SECOND_NS)
    channel = bench.channel()
    states = [channel.backlog.search_state(sequence)() for sequence in range(6)]
    assert [state.state for state in states] == [
        "finished", "deferred", "in_flight", "waiting", "waiting", "deferred",
    ]  # fmt: skip
    assert states[1].attempts == 1
    assert states[1].due_ns == bench.wall_ns + SECOND_NS
    assert states[2].consumer is client.consumer
    assert states[5].due_ns == bench.wall_ns + 9 * SECOND_NS


# Counters, as Go's nsqd has them


def test_what_was_emptied_at_the_topic_never_came_to_a_channel(bench: BrokerBench) -> None:
    topic, channel = bench.topic(), bench.channel()
    bench.publish(*numbered(2))
    bench.broker.pause_topic(topic, True)
    bench.publish(*numbered(4))
    bench.broker.empty_topic(topic)
    bench.publish(*numbered(3))
    bench.publish(b"later", delay_ns=SECOND_NS)
    bench.broker.pause_topic(topic, False)
    assert (topic.message_count, channel.message_count) == (10, 6)


def test_only_an_answer_that_counted_is_counted(bench: BrokerBench) -> None:
    bench.publish(*numbered(3))
    client = bench.client(ready=3)
    first, second, third = client.take()
    client.ready(0)
    client.finish(first)
    client.finish(first)  # again
    bench.pass_time(MSG_TIMEOUT_NS + SECOND_NS)
    client.finish(second)  # too late
    with pytest.raises(NotInFlightError):
        client.requeue(third)
    consumer, channel = client.consumer, client.channel
    assert (consumer.message_count, consumer.finish_count, consumer.requeue_count) == (3, 1, 0)
    assert (channel.message_count, channel.requeue_count, channel.timeout_count) == (3, 0, 2)
    bench.broker.seek(bench.topic(), channel, 3)
    client.finish(second)
    assert (consumer.in_flight, consumer.finish_count, channel.depth) == (0, 1, 0)
    assert channel.message_count == 3


def test_a_message_that_sampling_drops_was_neither_sent_nor_finished() -> None:
    bench = BrokerBench()
    client = bench.client(ready=1000, sample_rate=50)
    bench.publish(*numbered(200))
    sent = len(client.take())
    consumer = client.consumer
    assert (consumer.message_count, consumer.finish_count) == (sent, 0)
    assert (client.channel.message_count, client.channel.in_flight_count) == (200, sent)


# Ephemeral channels


def test_an_ephemeral_channel_keeps_the_newest_messages() -> None:
    bench = BrokerBench.of(mem_queue_size=3)
    bench.channel("tail#ephemeral")
    bench.publish(*numbered(10))
    assert bench.channel("tail#ephemeral").depth == 3
    assert bench.client("tail#ephemeral", ready=10).bodies() == [b"7", b"8", b"9"]


def test_an_ephemeral_channel_goes_with_its_last_client(bench: BrokerBench) -> None:
    clients = [bench.client("tail#ephemeral") for _ in range(2)]
    clients[0].leave()
    assert "tail#ephemeral" in bench.topic().channels
    clients[1].leave()
    assert "tail#ephemeral" not in bench.topic().channels


# Stragglers: one message must not keep a segment


def bench_with_segments(*, stragglers: int = CORE_LIMITS.stragglers) -> BrokerBench:
    bench = BrokerBench.of(segment_bytes_max=200, limits=CoreLimits(stragglers=stragglers))
    bench.channel()
    return bench


def finish_all_but(bench: BrokerBench, kept: set[bytes]) -> None:
    """Consume all there is, and finish it but for some, which stay in flight."""
    client = bench.client(ready=1000)
    client.finish(*[message for message in client.take() if message.body not in kept])
    client.ready(0)
    client.leave()
    bench.broker.tick()


def test_a_message_in_flight_does_not_keep_its_segment() -> None:
    bench = bench_with_segments()
    for body in numbered(50):
        bench.publish(body)
    finish_all_but(bench, {b"1"})
    bench.upkeep()
    assert bench.log().first > 1
    bench.pass_time(MSG_TIMEOUT_NS + SECOND_NS)
    (message,) = bench.client(ready=10).take()
    assert (message.body, message.attempts) == (b"1", 2)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_straggler_in_flight_survives_a_kill(checkpoint: bool) -> None:
    """Neither the log nor the journal says of it that it was delivered and not finished."""
    bench = bench_with_segments(stragglers=100)
    for body in numbered(9):
        bench.publish(body)
    client = bench.client(ready=1000)
    client.take()  # all in flight, none finished
    bench.upkeep()
    assert bench.log().first > 0
    if checkpoint:
        bench.stop()
    bench.kill()
    assert sorted(bench.drained()) == numbered(9)
    assert bench.lost() == []


def test_a_deferred_straggler_survives_a_kill_with_its_due_time() -> None:
    bench = bench_with_segments()
    bench.publish(b"later", delay_ns=3600 * SECOND_NS)
    for body in numbered(50):
        bench.publish(body)
    finish_all_but(bench, set())
    bench.upkeep()
    assert bench.log().first > 0
    bench.kill()
    assert (bench.channel().depth, bench.channel().deferred_count) == (0, 1)
    bench.pass_time(3600 * SECOND_NS - 1)
    assert bench.drained() == []
    bench.pass_time(1)
    assert bench.drained() == [b"later"]
    assert bench.lost() == []


def test_a_straggler_that_was_finished_does_not_come_back() -> None:
    bench = bench_with_segments()
    for body in numbered(50):
        bench.publish(body)
    client = bench.client(ready=1000)
    messages = client.take()
    client.finish(*messages[:1], *messages[2:])
    bench.upkeep()
    assert client.finish(messages[1]) == []
    bench.broker.tick()
    bench.kill()
    assert bench.drained() == []


def test_stragglers_of_one_channel_keep_their_attempts_over_a_kill() -> None:
    bench = bench_with_segments()
    for body in numbered(50):
        bench.publish(body)
    client = bench.client(ready=1000)
    messages = client.take()
    client.finish(*messages[:1], *messages[2:])
    client.requeue(messages[1])
    (again,) = client.take()
    client.ready(0)
    client.requeue(again)
    client.leave()
    bench.upkeep()
    bench.kill()
    (message,) = bench.client(ready=1).take()
    assert (message.body, message.attempts) == (b"1", 3)


def test_too_many_unfinished_messages_keep_their_segment() -> None:
    bench = bench_with_segments(stragglers=2)
    for body in numbered(50):
        bench.publish(body)
    bench.client(ready=1000).take()
    bench.upkeep()
    assert bench.log().first == 0


def test_without_room_for_copies_the_segment_stays() -> None:
    bench = bench_with_segments()
    for body in numbered(50):
        bench.publish(body)
    finish_all_but(bench, {b"1"})
    bench.disk.fail_writes = errno.ENOSPC
    bench.upkeep()
    assert bench.log().first == 0
    bench.disk.fail_writes = None
    bench.upkeep()
    assert bench.log().first > 0
    bench.kill()
    assert bench.drained() == [b"1"]
