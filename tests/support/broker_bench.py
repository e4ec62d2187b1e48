"""A broker's core on a simulated disk, with a clock that the test sets and clients that record."""

import random
from array import array
from dataclasses import dataclass, field, replace

from nsqx.nsqd.core.acknowledgements import PublishError
from nsqx.nsqd.core.broker import Broker, BrokerSettings
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.clock import Clock
from nsqx.nsqd.core.consumer import Consumer
from nsqx.nsqd.core.in_flight import NotInFlightError, NotOwnerError
from nsqx.nsqd.core.limits import CoreLimits
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.log.limits import LogLimits
from nsqx.nsqd.log.topic_log import TopicLog
from tests.support.simulated_disk import SimulatedDisk
from tests.support.sinks import Received, RecordingSink

__all__ = ["MSG_TIMEOUT_NS", "NOW_NS", "SECOND_NS", "BrokerBench", "Client", "Events"]

SECOND_NS = 10**9
MSG_TIMEOUT_NS = 60 * SECOND_NS
NOW_NS = 1_795_500_000 * SECOND_NS  # wall time when a bench begins
UPTIME_NS = 5_000 * SECOND_NS  # monotonic time then
LIMITS = CoreLimits(log=LogLimits(commit_file_bytes=64 * 1024))
SETTINGS = BrokerSettings(
    version="test", segment_bytes_max=10_000, memory_bytes_max=100_000, limits=LIMITS
)


@dataclass
class Events:
    """What the broker tells the edge."""

    warnings: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    expects_failures: bool = False
    failures: list[tuple[str, Exception]] = field(default_factory=list)

    def wake(self) -> None:
        """See `BrokerEvents.wake`."""

    def sooner(self) -> None:
        """See `BrokerEvents.sooner`."""

    def drain_changed(self) -> None:
        """See `BrokerEvents.drain_changed`."""

    def topic_created(self, topic: Topic) -> None:
        """See `BrokerEvents.topic_created`."""
        self.names.append(f"+{topic.name}")

    def topic_deleted(self, topic: Topic) -> None:
        """See `BrokerEvents.topic_deleted`."""
        self.names.append(f"-{topic.name}")

    def channel_created(self, topic: Topic, channel: Channel) -> None:
        """See `BrokerEvents.channel_created`."""
        self.names.append(f"+{topic.name}/{channel.name}")

    def channel_deleted(self, topic: Topic, channel: Channel) -> None:
        """See `BrokerEvents.channel_deleted`."""
        self.names.append(f"-{topic.name}/{channel.name}")

    def warn(self, text: str) -> None:
        """See `BrokerEvents.warn`."""
        self.warnings.append(text)

    def failed(self, what: str, exception: Exception) -> None:
        """See `BrokerEvents.failed`; a test that does not expect it fails."""
        if not self.expects_failures:
            raise exception
        self.failures.append((what, exception))


class Client:
    """A consumer of a channel, with what it was sent."""

    def __init__(
        self, bench: "BrokerBench", topic: Topic, channel: Channel, consumer: Consumer
    ) -> None:
        self._bench = bench
        self.topic = topic
        self.channel = channel
        self.consumer = consumer
        assert isinstance(consumer.sink, RecordingSink)
        self.sink = consumer.sink

    def ready(self, count: int) -> None:
        """Send RDY."""
        self.consumer.ready_count = count
        self.channel.refresh(self.consumer)
        self._dispatch()

    def take(self) -> list[Received]:
        """Return the messages that came since the last time."""
        self._bench.disk.run_pending()
        return self.sink.take()

    def bodies(self) -> list[bytes]:
        """Return the bodies of the messages that came since the last time."""
        return [message.body for message in self.take()]

    def finish(self, *messages: Received) -> list[type[LookupError]]:
        """Send FINs; return what was wrong with them."""
        ids = array("Q", [message.id for message in messages])
        failures = self.channel.finish_run(self.consumer, ids) if ids else []
        self._dispatch()
        return [error for _, error in failures]

    def requeue(self, message: Received, delay_ns: int = 0) -> None:
        """Send REQ."""
        due_ns = self._bench.wall_ns + delay_ns if delay_ns else 0
        self.channel.requeue(self.consumer, message.id, due_ns)
        self._dispatch()

    def give_back(self, message: Received) -> None:
        """Return a message that was not begun with."""
        self.channel.give_back(self.consumer, message.id)
        self._dispatch()

    def touch(self, message: Received) -> None:
        """Send TOUCH."""
        timeout_ns = self.consumer.msg_timeout_ns
        self.channel.touch(self.consumer, message.id, timeout_ns, self._bench.now_ns)

    def has(self, message: Received) -> bool:
        """Return whether a message is in flight to this client."""
        try:
            self.touch(message)
        except (NotInFlightError, NotOwnerError):
            return False
        return True

    def leave(self) -> None:
        """Disconnect."""
        self.sink.is_closed = True
        self._bench.broker.leave(self.topic, self.channel, self.consumer)

    def _dispatch(self) -> None:
        self.channel.dispatch(self._bench.now_ns)


class BrokerBench:
    """
    A broker that is started, killed and started again on one disk.

    What it submits to the disk runs when `run` or a helper that waits for something calls it.
    """

    def __init__(
        self,
        *,
        disk: SimulatedDisk | None = None,
        settings: BrokerSettings = SETTINGS,
        seed: int = 1,
    ) -> None:
        self.disk = disk if disk is not None else SimulatedDisk()
        self.settings = settings
        self.now_ns = UPTIME_NS
        self.wall_offset_ns = NOW_NS - UPTIME_NS
        self.clock = Clock(lambda: self.wall_ns, lambda: self.now_ns)
        self._random = random.Random(seed)
        self.events: Events
        self.broker: Broker
        self.start()

    @classmethod
    def of(cls, *, disk: SimulatedDisk | None = None, **settings: object) -> "BrokerBench":
        """Return a bench whose settings differ in these fields."""
        return cls(disk=disk, settings=replace(SETTINGS, **settings))  # type: ignore[arg-type]  # as named

    # The process

    def start(self) -> None:
        """Start a broker on the disk as it is."""
        self.events = Events()
        self.broker = Broker(
            self.disk,
            self.settings,
            self.events,
            clock=self.clock,
            random_bits=self._random.getrandbits,
        )
        self.broker.load()

    def kill(self) -> None:
        """Kill the broker, and start another one on what it left."""
        self.disk = self.disk.kill()
        self.start()

    def lose_power(self, chance: random.Random) -> None:
        """Lose power, and start again on what the disk kept."""
        self.disk = self.disk.power_loss(chance)
        self.start()

    def stop(self) -> None:
        """End the broker in order, and start again."""
        self.broker.close()
        self.disk.run_pending()
        self.disk = self.disk.kill()
        self.start()

    def run(self) -> None:
        """Let the disk do what was submitted."""
        self.disk.run_pending()

    # Time

    @property
    def wall_ns(self) -> int:
        """Return the wall time."""
        return self.now_ns + self.wall_offset_ns

    def pass_time(self, duration_ns: int) -> None:
        """Let time pass, and the broker notice it."""
        self.now_ns += duration_ns
        self.broker.tick()

    def upkeep(self) -> None:
        """Do what the broker does once a second."""
        self.broker.tick()
        self.broker.upkeep()
        self.run()

    # Topics, channels and clients

    def topic(self, name: str = "orders") -> Topic:
        """Return a topic; a new one if there is none."""
        return self.broker.get_topic(name)

    def log(self, name: str = "orders") -> TopicLog:
        """Return a topic's log on disk."""
        log = self.topic(name).log
        assert isinstance(log, TopicLog)
        return log

    def channel(self, name: str = "archive", topic: str = "orders") -> Channel:
        """Return a channel; a new one if there is none."""
        channel = self.broker.get_channel(self.topic(topic), name)
        self.broker.flush()
        return channel

    def publish(self, *bodies: bytes, topic: str = "orders", delay_ns: int = 0) -> str:
        """Publish a batch and return the answer: OK, or what was wrong; empty if none came."""
        answers: list[PublishError | None] = []
        target = self.topic(topic)
        due_ns = self.wall_ns + delay_ns if delay_ns else 0
        target.publish(list(bodies), due_ns, answers.append, self.now_ns)
        self.broker.mark(target)
        self.broker.flush()
        if target.durability.value == "fsync":
            self.run()
        if not answers:
            return ""
        return "OK" if answers[0] is None else str(answers[0])

    def client(
        self,
        channel: str = "archive",
        *,
        topic: str = "orders",
        ready: int = 0,
        msg_timeout_ns: int = MSG_TIMEOUT_NS,
        sample_rate: int = 0,
    ) -> Client:
        """Subscribe a new client."""
        consumer = Consumer(RecordingSink(), msg_timeout_ns, sample_rate=sample_rate)
        subscribed = self.channel(channel, topic)
        subscribed.enter(consumer)
        client = Client(self, self.topic(topic), subscribed, consumer)
        if ready:
            client.ready(ready)
        return client

    def lost(self) -> list[tuple[int, int, str]]:
        """Return what was reported as lost: ranges and reasons."""
        return [(damage.first, damage.end, damage.reason) for damage in self.broker.damages]

    def drained(self, channel: str = "archive", topic: str = "orders") -> list[bytes]:
        """Return the bodies of all that a channel still delivers, and finish them."""
        client = self.client(channel, topic=topic, ready=2500)
        bodies: list[bytes] = []
        for _ in range(20):
            messages = client.take()
            bodies += [message.body for message in messages]
            assert client.finish(*messages) == []
            self.pass_time(0)
        assert client.take() == []
        client.leave()
        return bodies
