"""
Channels on a topic on a log on a disk, against a dictionary of what became of each message.

The model knows for each channel and message whether it waits, is in flight (with whom, until
when), deferred (until when) or finished. Where a crash leaves a choice, the model says which: a
finish that was not in the journal yet may be forgotten, a requeue's delay too, and what was not
acknowledged may be there or not. Everything else is exact: nothing else is delivered, nothing is
delivered before it is due, nothing that was acknowledged is lost, and attempts count up.

Segments, blocks and checkpoints are tiny, so that a few messages meet all of them.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from nsqx.nsqd.core.durability import Durability
from nsqx.nsqd.core.limits import CoreLimits
from nsqx.nsqd.log.limits import LogLimits
from nsqx.nsqd.log.page import read_page
from tests.simulation.disk import NodeDisk, ProcessEnded
from tests.support.broker_bench import SECOND_NS, BrokerBench, Client
from tests.support.sinks import Received

TOPIC = "orders"
CHANNELS = ("a", "b")
TIMEOUT_NS = 3 * SECOND_NS
MAX_TIMEOUT_NS = 5 * SECOND_NS

WAITING = "waiting"
IN_FLIGHT = "in flight"
DEFERRED = "deferred"
FINISHED = "finished"

SECONDS = st.integers(1, 4).map(lambda seconds: seconds * SECOND_NS)
CHANNEL = st.sampled_from(CHANNELS)
PICK = st.integers(0, 5)


@dataclass
class Fate:
    """What became of one message in one channel."""

    number: int  # in the log; also its body
    state: str = WAITING
    attempts: int = 0  # deliveries so far
    attempts_min: int = 0  # what a restart may have made of that
    due_ns: int = 0
    due_min_ns: int = 0  # it may come from here on, it must from due_ns on
    may_be_gone: bool = False  # an unacknowledged publish, or an unnoted finish before a crash
    client: Client | None = None
    delivered_ns: int = 0
    deadline_ns: int = 0
    message: Received | None = None
    # What the journal knows: the attempts at the last requeue, and those that wait for a flush.
    noted_attempts: int = 0
    to_note: int = 0
    is_noted: bool = True

    def change(self, state: str) -> None:
        """Something happened that the journal is to note."""
        self.state, self.to_note, self.is_noted = state, self.attempts_min, False


@dataclass
class ChannelModel:
    """The fates in one channel, by number."""

    fates: dict[int, Fate] = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)
    is_paused: bool = False

    def of(self, *states: str) -> list[Fate]:
        return [fate for fate in self.fates.values() if fate.state in states]


@dataclass
class Published:
    number: int
    due_ns: int
    may_be_gone: bool = False


class CrashingDisk(NodeDisk):
    """Ends the process in the middle of a change; what is submitted waits."""

    def __init__(self) -> None:
        super().__init__()
        self.run_later = self.pending.append
        self.chance = random.Random(1)


class BrokerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.channels = {name: ChannelModel() for name in CHANNELS}
        self.waiting_at_topic: list[Published] = []
        self.published: dict[int, Published] = {}  # all that is in the log, or may be
        self.is_topic_paused = False
        self.next_body = 0

    @initialize(
        durability=st.sampled_from(["os", "fsync"]),
        stragglers=st.sampled_from([1, 1000]),
        checkpoint_bytes=st.sampled_from([60, 10**6]),
    )
    def begin(self, durability: str, stragglers: int, checkpoint_bytes: int) -> None:
        self.bench = BrokerBench.of(
            disk=CrashingDisk(),
            segment_bytes_max=120,
            memory_bytes_max=600,
            durability=Durability(durability),
            max_msg_timeout_ns=MAX_TIMEOUT_NS,
            limits=CoreLimits(
                slice_ns=0,  # deadlines to the nanosecond
                window=4,
                stragglers=stragglers,
                log=LogLimits(block_bytes=150, checkpoint_bytes=checkpoint_bytes),
            ),
        )
        self.is_fsync = durability == "fsync"
        for name in CHANNELS:
            self.bench.channel(name)

    # Helpers

    @property
    def now_ns(self) -> int:
        return self.bench.now_ns

    @property
    def wall_ns(self) -> int:
        return self.bench.wall_ns

    def settle(self) -> None:
        """Let the disk work, and take note of what was delivered."""
        self.bench.run()
        for model in self.channels.values():
            for client in model.clients:
                for message in client.sink.take():
                    self.delivered(model, client, message)

    def delivered(self, model: ChannelModel, client: Client, message: Received) -> None:
        fate = model.fates.get(int(message.body))
        assert fate is not None, f"{message} was never published here"
        assert fate.state in (WAITING, DEFERRED), f"{message} is {fate.state}"
        if fate.state == DEFERRED:
            assert fate.due_min_ns <= self.wall_ns, f"{message} is early"
        assert not model.is_paused
        assert fate.attempts_min < message.attempts <= fate.attempts + 1
        if fate.message is not None:
            assert message.id == fate.message.id
            assert message.timestamp_ns == fate.message.timestamp_ns
        fate.state, fate.client, fate.message = IN_FLIGHT, client, message
        fate.attempts = fate.attempts_min = message.attempts
        fate.may_be_gone = False
        fate.delivered_ns = self.now_ns
        fate.deadline_ns = self.now_ns + client.consumer.msg_timeout_ns

    def pass_on(self) -> None:
        """Move what waits at the topic into the channels."""
        if self.is_topic_paused:
            return
        for published in self.waiting_at_topic:
            for model in self.channels.values():
                self.enter(model, published)
        self.waiting_at_topic = []

    def enter(self, model: ChannelModel, published: Published) -> None:
        model.fates[published.number] = Fate(
            published.number,
            DEFERRED if published.due_ns else WAITING,
            due_ns=published.due_ns,
            due_min_ns=published.due_ns,
            may_be_gone=published.may_be_gone,
        )

    def note(self) -> None:
        """The journals were flushed."""
        for model in self.channels.values():
            for fate in model.fates.values():
                if not fate.is_noted:
                    fate.is_noted, fate.noted_attempts = True, fate.to_note

    def a_client(self, name: str, pick: int) -> Client | None:
        clients = self.channels[name].clients
        return clients[pick % len(clients)] if clients else None

    def in_flight_to(self, name: str, client: Client) -> list[Fate]:
        return [fate for fate in self.channels[name].of(IN_FLIGHT) if fate.client is client]

    # Publishing

    @rule(count=st.integers(1, 4), pad=st.sampled_from([0, 60]))
    def publish(self, count: int, pad: int) -> None:
        self._publish(count, pad, 0)

    @rule(count=st.integers(1, 3), delay_ns=SECONDS)
    def publish_deferred(self, count: int, delay_ns: int) -> None:
        self._publish(count, 0, delay_ns)

    def _publish(self, count: int, pad: int, delay_ns: int) -> None:
        due_ns = self.wall_ns + delay_ns if delay_ns else 0
        answer = self.bench.publish(*self._bodies(count, pad), delay_ns=delay_ns)
        assert answer == "OK"
        self._remember(count, due_ns, may_be_gone=False)
        self.pass_on()
        self.settle()

    def _bodies(self, count: int, pad: int) -> list[bytes]:
        numbers = range(self.next_body, self.next_body + count)
        return [b"%0*d" % (pad + 1, number) for number in numbers]

    def _remember(self, count: int, due_ns: int, *, may_be_gone: bool) -> None:
        for _ in range(count):
            published = Published(self.next_body, due_ns, may_be_gone)
            self.published[self.next_body] = published
            self.waiting_at_topic.append(published)
            self.next_body += 1

    # Consuming

    @rule(
        name=CHANNEL, ready=st.integers(0, 9), timeout_ns=st.sampled_from([TIMEOUT_NS, SECOND_NS])
    )
    def connect(self, name: str, ready: int, timeout_ns: int) -> None:
        if len(self.channels[name].clients) < 3:
            client = self.bench.client(name, msg_timeout_ns=timeout_ns)
            self.channels[name].clients.append(client)
            if ready:
                client.ready(ready)
            self.settle()

    @rule(name=CHANNEL, pick=PICK, ready=st.integers(0, 4))
    def ready(self, name: str, pick: int, ready: int) -> None:
        client = self.a_client(name, pick)
        if client is not None:
            client.ready(ready)
            self.settle()

    @rule(name=CHANNEL, pick=PICK, start=PICK, count=st.integers(1, 4), backwards=st.booleans())
    def finish(self, name: str, pick: int, start: int, count: int, backwards: bool) -> None:
        client = self.a_client(name, pick)
        if client is None:
            return
        fates = self.in_flight_to(name, client)
        chosen = fates[start % len(fates) :][:count] if fates else []
        if backwards:
            chosen.reverse()
        messages = [fate.message for fate in chosen if fate.message is not None]
        assert client.finish(*messages) == []
        for fate in chosen:
            fate.change(FINISHED)
        self.settle()

    @rule(name=CHANNEL, besides=st.integers(-1, 3))
    def finish_all_but_one(self, name: str, besides: int) -> None:
        """Leave a straggler behind, or none."""
        for client in self.channels[name].clients:
            for number, fate in enumerate(self.in_flight_to(name, client)):
                if number != besides and fate.state == IN_FLIGHT:
                    assert fate.message is not None
                    assert client.finish(fate.message) == []
                    fate.change(FINISHED)
        self.settle()

    @rule(name=CHANNEL, pick=PICK, number=PICK)
    def finish_what_is_not_ours(self, name: str, pick: int, number: int) -> None:
        client = self.a_client(name, pick)
        others = [
            fate
            for fate in self.channels[name].fates.values()
            if fate.message is not None and (fate.state != IN_FLIGHT or fate.client is not client)
        ]
        if client is not None and others:
            message = others[number % len(others)].message
            assert message is not None
            assert len(client.finish(message)) == 1
            self.settle()

    @rule(name=CHANNEL, pick=PICK, number=PICK, delay_ns=st.just(0) | SECONDS)
    def requeue(self, name: str, pick: int, number: int, delay_ns: int) -> None:
        client = self.a_client(name, pick)
        fates = self.in_flight_to(name, client) if client is not None else []
        if client is None or not fates:
            return
        fate = fates[number % len(fates)]
        assert fate.message is not None
        fate.change(DEFERRED if delay_ns else WAITING)
        fate.due_ns = fate.due_min_ns = self.wall_ns + delay_ns if delay_ns else 0
        client.requeue(fate.message, delay_ns)
        self.settle()

    @rule(name=CHANNEL, pick=PICK, number=PICK)
    def touch(self, name: str, pick: int, number: int) -> None:
        client = self.a_client(name, pick)
        fates = self.in_flight_to(name, client) if client is not None else []
        if client is not None and fates:
            fate = fates[number % len(fates)]
            assert fate.message is not None
            client.touch(fate.message)
            fate.deadline_ns = min(
                self.now_ns + client.consumer.msg_timeout_ns, fate.delivered_ns + MAX_TIMEOUT_NS
            )

    @rule(name=CHANNEL, pick=PICK)
    def disconnect(self, name: str, pick: int) -> None:
        client = self.a_client(name, pick)
        if client is not None:
            self.channels[name].clients.remove(client)
            client.leave()
            self.settle()

    @rule(duration_ns=st.just(0) | SECONDS)
    def let_time_pass(self, duration_ns: int) -> None:
        now_ns, wall_ns = self.now_ns + duration_ns, self.wall_ns + duration_ns
        for model in self.channels.values():
            for fate in model.of(IN_FLIGHT):
                if fate.deadline_ns <= now_ns:
                    fate.change(WAITING)
            for fate in model.of(DEFERRED):
                if fate.due_ns <= wall_ns:
                    fate.state = WAITING
        self.bench.pass_time(duration_ns)
        self.note()
        self.settle()

    @rule(hours=st.integers(1, 24))
    def set_wall_clock(self, hours: int) -> None:
        """What is due comes by it, and nothing times out. (Set back: see the simulator.)"""
        self.bench.wall_offset_ns += hours * 3600 * SECOND_NS
        self.let_time_pass(0)

    # Control

    @rule(name=CHANNEL, is_paused=st.booleans())
    def pause_channel(self, name: str, is_paused: bool) -> None:
        self.channels[name].is_paused = is_paused
        self.bench.broker.pause_channel(self.bench.topic(), self.bench.channel(name), is_paused)
        self.settle()

    @rule(is_paused=st.booleans())
    def pause_topic(self, is_paused: bool) -> None:
        self.is_topic_paused = is_paused
        self.pass_on()
        self.bench.broker.pause_topic(self.bench.topic(), is_paused)
        self.settle()

    @rule()
    def empty_topic(self) -> None:
        self.bench.broker.empty_topic(self.bench.topic())
        for published in self.waiting_at_topic:
            del self.published[published.number]
        self.waiting_at_topic = []

    @rule(name=CHANNEL)
    def empty_channel(self, name: str) -> None:
        self.bench.broker.empty_channel(self.bench.topic(), self.bench.channel(name))
        for fate in self.channels[name].fates.values():
            fate.state, fate.is_noted = FINISHED, True
        self.settle()

    @rule(name=CHANNEL, back=st.integers(0, 8))
    def seek(self, name: str, back: int) -> None:
        topic = self.bench.topic()
        target = max(topic.passed - back, topic.log.first)
        self.bench.broker.seek(topic, self.bench.channel(name), target)
        waiting = {published.number for published in self.waiting_at_topic}
        model = self.channels[name]
        for fate in model.fates.values():
            fate.state, fate.is_noted = FINISHED, True
        for number, published in self.published.items():
            sequence = self.sequences().get(number)
            if sequence is not None and sequence >= target and number not in waiting:
                message = model.fates[number].message if number in model.fates else None
                self.enter(model, published)
                model.fates[number].message = message
                model.fates[number].may_be_gone = False
        self.let_time_pass(0)

    def sequences(self) -> dict[int, int]:
        """Return where in the log each message is that is there."""
        log = self.bench.log()
        page = read_page(log.view(), log.first, 10_000, 10_000_000)
        return {int(frame[34:]): sequence for sequence, frame in page.frames}

    @rule()
    def recreate_channel(self) -> None:
        model = self.channels["b"]
        for client in model.clients:
            client.leave()
        topic = self.bench.topic()
        self.bench.broker.delete_channel(topic, self.bench.channel("b"))
        self.bench.channel("b")
        self.channels["b"] = ChannelModel()
        self.settle()

    @rule()
    def upkeep(self) -> None:
        self.let_time_pass(0)
        self.bench.broker.upkeep()
        self.note()
        self.settle()

    @rule()
    def use_up_the_memory(self) -> None:
        self.bench.broker._memory.bytes_max = 0
        topic_log_tail = self.bench.publish(b"x" * 10, topic="other")
        assert topic_log_tail == "OK"
        self.bench.broker._memory.bytes_max = 600

    @rule(blocks=st.booleans())
    def reads_block(self, blocks: bool) -> None:
        self.bench.disk.reads_block = blocks

    # Crashes

    @rule(work=st.integers(0, 3))
    def kill(self, work: int) -> None:
        self._crash(work)

    @rule(work=st.integers(0, 3), count=st.integers(1, 2), delay_ns=st.just(0) | SECONDS)
    def kill_while_publishing(self, work: int, count: int, delay_ns: int) -> None:
        """What is not acknowledged may be there or not, but in whole batches."""
        topic = self.bench.topic()
        due_ns = self.wall_ns + delay_ns if delay_ns else 0
        topic.publish(self._bodies(count, 0), due_ns, lambda error: None, self.now_ns)
        if work:
            self.bench.broker.mark(topic)
            self.bench.broker.flush()
        self._remember(count, due_ns, may_be_gone=True)
        self._crash(work)

    @rule()
    def upkeep_and_kill_in_the_middle(self) -> None:
        self.bench.broker.upkeep()
        self.note()
        self._crash(1)

    @rule(steps=st.integers(1, 25))
    def kill_in_upkeep(self, steps: int) -> None:
        self.crash_in(steps, lambda: self.bench.upkeep())
        self._crash(0)

    @rule(steps=st.integers(1, 25))
    def kill_in_a_stop(self, steps: int) -> None:
        self.crash_in(steps, lambda: self.bench.broker.close())
        self._crash(0)

    @rule(steps=st.integers(1, 25), count=st.integers(1, 3), delay_ns=st.just(0) | SECONDS)
    def kill_in_a_publish(self, steps: int, count: int, delay_ns: int) -> None:
        answers: list[str] = []
        bodies = self._bodies(count, 0)
        self.crash_in(steps, lambda: answers.append(self.bench.publish(*bodies, delay_ns=delay_ns)))
        due_ns = self.wall_ns + delay_ns if delay_ns else 0
        self._remember(count, due_ns, may_be_gone=answers != ["OK"])
        if answers:
            self.pass_on()
        self._crash(0)

    @rule(steps=st.integers(1, 25), name=CHANNEL)
    def kill_while_emptying(self, steps: int, name: str) -> None:
        topic, channel = self.bench.topic(), self.bench.channel(name)
        is_done = self.crash_in(steps, lambda: self.bench.broker.empty_channel(topic, channel))
        for fate in self.channels[name].fates.values():
            if is_done:
                fate.state, fate.is_noted = FINISHED, True
            elif fate.state != FINISHED:
                fate.may_be_gone = True
        self._crash(0)

    @rule(steps=st.integers(1, 25))
    def kill_in_a_change_of_the_pause(self, steps: int) -> None:
        topic, wanted = self.bench.topic(), not self.is_topic_paused
        self.crash_in(steps, lambda: self.bench.broker.pause_topic(topic, wanted))
        self._crash(0, is_pause_known=False)

    def crash_in(self, steps: int, action: Callable[[], None]) -> bool:
        """Do something while the process ends after some changes; return whether it got through."""
        disk = self.bench.disk
        assert isinstance(disk, CrashingDisk)
        disk.steps_left = steps
        try:
            action()
        except ProcessEnded:
            return False
        finally:
            disk.steps_left = None
        return True

    def _crash(self, work: int, *, is_pause_known: bool = True) -> None:
        for _ in range(min(work, len(self.bench.disk.pending))):
            self.bench.disk.pending.popleft()()
        for model in self.channels.values():
            for client in model.clients:
                for message in client.sink.take():  # went out, and was not seen by anybody
                    fate = model.fates.get(int(message.body))
                    if fate is not None:
                        fate.attempts += 1
            model.clients.clear()
            for fate in model.fates.values():
                self._forget(fate)
        self.bench.kill()
        if not is_pause_known:
            topic = self.bench.topic()
            self.is_topic_paused = topic.is_paused and topic.passed < topic.log.end
            self.pass_on()  # they were, if the pause ended or just had begun
            self.is_topic_paused = topic.is_paused
        self._paused_as_before()
        self.pass_on()
        self.let_time_pass(0)  # what was due already is taken up again

    def _forget(self, fate: Fate) -> None:
        """Make of a fate what the next process may know of it."""
        fate.attempts_min = min(fate.attempts_min, fate.noted_attempts)
        if fate.state == IN_FLIGHT:
            fate.state, fate.client = WAITING, None
        elif fate.state == FINISHED and not fate.is_noted:
            fate.state, fate.may_be_gone = WAITING, True
        elif fate.state == DEFERRED and not fate.is_noted:
            fate.due_min_ns = 0
        fate.is_noted = True

    @rule()
    def stop_and_start(self) -> None:
        for model in self.channels.values():
            for client in model.clients:
                client.leave()
            model.clients.clear()
            for fate in model.of(IN_FLIGHT):
                fate.state, fate.client = WAITING, None
            for fate in model.fates.values():
                fate.is_noted, fate.noted_attempts = True, fate.attempts_min
        self.bench.stop()
        self._paused_as_before()
        self.let_time_pass(0)

    def _paused_as_before(self) -> None:
        assert self.bench.topic().is_paused == self.is_topic_paused
        for name, model in self.channels.items():
            assert self.bench.channel(name).is_paused == model.is_paused

    # What must hold

    @invariant()
    def whoever_has_room_is_served(self) -> None:
        if not hasattr(self, "bench"):
            return
        for model in self.channels.values():
            certain = [fate for fate in model.of(WAITING) if not fate.may_be_gone]
            if certain and not model.is_paused:
                assert all(client.consumer.room <= 0 for client in model.clients), certain

    @invariant()
    def the_numbers_are_right(self) -> None:
        if not hasattr(self, "bench"):
            return
        for name, model in self.channels.items():
            channel = self.bench.channel(name)
            assert channel.in_flight_count == len(model.of(IN_FLIGHT))
            fates = model.fates.values()
            if any(fate.may_be_gone or fate.due_min_ns != fate.due_ns for fate in fates):
                continue
            assert channel.depth == len(model.of(WAITING)), name
            assert channel.deferred_count == len(model.of(DEFERRED)), name

    @invariant()
    def nothing_is_reported_as_lost(self) -> None:
        if hasattr(self, "bench"):
            assert self.bench.lost() == []
            assert self.bench.broker.health == "OK"

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self._drain()

    def _drain(self) -> None:
        """In the end everything is delivered, and nothing is kept of it."""
        self.pause_topic(False)
        for name in CHANNELS:
            self.pause_channel(name, False)
            for client in self.channels[name].clients:
                client.ready(0)
            self.channels[name].clients.append(self.bench.client(name, ready=1000))
        self.settle()
        for _ in range(3):
            self.let_time_pass(100 * SECOND_NS)
            for model in self.channels.values():
                for fate in model.of(IN_FLIGHT):
                    assert fate.client is model.clients[-1]
                    assert fate.message is not None
                    assert fate.client.finish(fate.message) == []
                    fate.state = FINISHED
        for model in self.channels.values():
            left = [fate for fate in model.fates.values() if fate.state != FINISHED]
            assert all(fate.may_be_gone for fate in left), left
        self.upkeep()
        for name in CHANNELS:
            channel = self.bench.channel(name)
            assert (channel.depth, channel.in_flight_count, channel.deferred_count) == (0, 0, 0)
            assert channel.backlog.unfinished >= channel.backlog.cursor
            assert (channel.backlog._stragglers, channel.backlog._aside) == ({}, {})
        assert self.bench.log().segment_count <= 1


TestBroker = BrokerMachine.TestCase
