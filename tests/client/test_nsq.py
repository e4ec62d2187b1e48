"""``Nsq`` against real daemons: publishing, handlers, the end."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from nsqx.client import (
    MSGPACK,
    ClientClosed,
    ConnectFailed,
    Consumer,
    DeadlineExceeded,
    Message,
    Nsq,
    Observer,
    Producer,
)
from nsqx.testing.cluster import Cluster
from nsqx.testing.recorder import Recorder

Published = Callable[[str], Recorder]

WAIT_SECONDS = 10.0


@dataclass
class Order:
    id: int


class Collector:
    """What a handler was called with; ``enough`` waits until it was called so often."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._changed = asyncio.Condition()

    async def add(self, item: object) -> None:
        async with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    async def enough(self, count: int) -> list[Any]:
        async with asyncio.timeout(WAIT_SECONDS), self._changed:
            await self._changed.wait_for(lambda: len(self.items) >= count)
        return self.items


@asynccontextmanager
async def run_in_background(nsq: Nsq) -> AsyncIterator[None]:
    """``nsq.run()`` beside the block, which ends in good order."""
    running = asyncio.create_task(nsq.run(handle_signals=False))
    try:
        yield
    finally:
        nsq.stop()
        async with asyncio.timeout(WAIT_SECONDS):
            await running


@pytest.fixture
def client(nsq_server: Cluster) -> Nsq:
    return nsq_server.client()


# Publishing


async def test_values_are_published(client: Nsq, published: Published) -> None:
    async with client:
        await client.publish("orders", {"id": 1})
        await client.publish("orders", Order(2))
        await client.publish("orders", b"three")
        await client.publish("orders", "four")
        assert await client.publish_many("orders", (Order(number) for number in (5, 6))) == 2
    assert published("orders").bodies == [
        *(b'{"id":1}', b'{"id":2}', b"three", b"four"),
        *(b'{"id":5}', b'{"id":6}'),
    ]


async def test_another_codec(nsq_server: Cluster, published: Published) -> None:
    async with nsq_server.client(codec=MSGPACK) as client:
        await client.publish("orders", [1])
        async with client.consume("orders", "billing") as messages:
            message = await anext(messages)
            assert message.decode(list[int]) == [1]
            message.finish()
    assert published("orders").bodies == [b"\x91\x01"]


async def test_a_delayed_message(client: Nsq) -> None:
    loop = asyncio.get_running_loop()
    async with client, client.consume("orders", "billing") as messages:
        start = loop.time()
        await client.publish("orders", b"later", delay=0.3)
        (await anext(messages)).finish()
        assert loop.time() - start >= 0.29


async def test_publishing_to_all_nodes_that_lookupds_know(
    nsq_cluster: Callable[..., Cluster],
) -> None:
    cluster = nsq_cluster(2)
    async with Nsq(lookupd=cluster.lookupd_address) as nsq, asyncio.timeout(WAIT_SECONDS):
        # To begin with only one of them is connected.
        while not all(node.stats()["topics"] for node in cluster.nodes):
            await nsq.publish("orders", b"x")
        count = len(cluster.published("orders"))
        async with nsq.consume("orders", "billing") as messages:
            for _ in range(count):
                (await anext(messages)).finish()


async def test_without_a_node_publishing_waits_for_one(
    nsq_cluster: Callable[..., Cluster],
) -> None:
    cluster = nsq_cluster(0)
    async with Nsq(lookupd=cluster.lookupd_address) as nsq:
        with pytest.raises(DeadlineExceeded, match="finding an nsqd to publish to"):
            await nsq.publish("orders", b"x", timeout=0.1)
        publishing = asyncio.create_task(nsq.publish("orders", b"x"))
        cluster.add_node()
        await publishing
    assert cluster.published("orders").bodies == [b"x"]


async def test_it_is_open_within_its_block_only(client: Nsq, published: Published) -> None:
    with pytest.raises(ClientClosed):
        await client.publish("orders", b"x")
    for _ in range(2):
        async with client:
            with pytest.raises(ClientClosed):
                await client.__aenter__()
            await client.publish("orders", b"x")
    assert published("orders").bodies == [b"x", b"x"]
    with pytest.raises(ClientClosed):
        await client.publish("orders", b"x")


async def test_a_value_that_cannot_be_encoded(client: Nsq, published: Published) -> None:
    async with client:
        with pytest.raises(TypeError):
            await client.publish("orders", object())
        with pytest.raises(TypeError):
            await client.publish_many("orders", [object()])


# Handlers


async def test_bodies_are_decoded_as_the_handler_says(client: Nsq, nsq_server: Cluster) -> None:
    nsq_server.create("orders", ["billing", "archive", "count"])
    orders, texts, messages = Collector(), Collector(), Collector()

    @client.handler("orders", "billing", concurrency=2)
    async def bill(order: Order) -> None:
        await orders.add(order)

    @client.handler("orders", "archive")
    async def archive(body: str, message: Message) -> None:
        await texts.add((body, message.attempts))

    @client.handler("orders", "count")
    async def count(message: Message) -> None:
        await messages.add(message)

    async with run_in_background(client):
        async with client_of(client) as publisher:
            await publisher.publish("orders", Order(1))
        assert await orders.enough(1) == [Order(1)]
        assert await texts.enough(1) == [('{"id":1}', 1)]
        assert (await messages.enough(1))[0].decode() == {"id": 1}


@asynccontextmanager
async def client_of(nsq: Nsq) -> AsyncIterator[Nsq]:
    """Another client for the same cluster."""
    async with Nsq(nsqd=nsq._nsqd) as other:
        yield other


async def test_a_plain_function_runs_in_a_thread(client: Nsq) -> None:
    called = Collector()
    loop = asyncio.get_running_loop()
    meeting = threading.Barrier(2, timeout=WAIT_SECONDS)

    @client.handler("orders", "billing", concurrency=2)
    def bill(order: Order) -> None:
        meeting.wait()  # both at the same time
        asyncio.run_coroutine_threadsafe(called.add(order.id), loop).result()

    async with client:
        await client.publish_many("orders", [Order(1), Order(2)])
        async with client.running():
            assert sorted(await called.enough(2)) == [1, 2]


async def test_a_handler_that_fails_gets_the_message_again(client: Nsq) -> None:
    attempts = Collector()

    @client.handler("orders", "billing", requeue_delay=0, backoff=False)
    async def bill(message: Message) -> None:
        await attempts.add(message.attempts)
        if message.attempts < 3:
            raise RuntimeError("not yet")

    async with client:
        await client.publish("orders", b"x")
        async with client.running():
            assert await attempts.enough(3) == [1, 2, 3]


async def test_a_message_is_given_up_at_its_last_attempt(
    client: Nsq, published: Published, nsq_server: Cluster
) -> None:
    attempts = Collector()

    @client.handler(
        *("orders", "billing"), max_attempts=2, dead_letter="dead", requeue_delay=0, backoff=False
    )
    async def bill(message: Message) -> None:
        await attempts.add(message.attempts)
        raise RuntimeError("never")

    async with client:
        await client.publish("orders", b"x")
        async with client.running():
            await published("dead").wait_async()
    assert attempts.items == [1, 2]
    assert published("dead").bodies == [b"x"]
    assert is_drained(nsq_server, "orders")


def is_drained(cluster: Cluster, topic: str) -> bool:
    (found,) = (found for found in cluster.node.stats()["topics"] if found["topic_name"] == topic)
    (channel,) = found["channels"]
    return not (channel["depth"] or channel["deferred_count"] or channel["in_flight_count"])


async def test_what_cannot_be_decoded_is_given_up_at_once(
    client: Nsq, published: Published, nsq_server: Cluster
) -> None:
    called = Collector()

    @client.handler("orders", "billing", dead_letter="dead")
    async def bill(order: Order) -> None:
        await called.add(order)

    async with client:
        await client.publish("orders", b"garbage")
        await client.publish("orders", Order(1))
        async with client.running():
            await called.enough(1)
            await published("dead").wait_async()
    assert published("dead").bodies == [b"garbage"]
    assert is_drained(nsq_server, "orders")


async def test_without_dead_letters_what_cannot_be_decoded_comes_again(client: Nsq) -> None:
    @client.handler("orders", "billing", requeue_delay=0, max_attempts=3, backoff=False)
    async def bill(order: Order) -> None: ...

    async with client:
        watch = Watch()
        client._observers = (watch,)
        await client.publish("orders", b"garbage")
        async with client.running():
            async with asyncio.timeout(WAIT_SECONDS):
                await watch.handled.wait()


class Watch(Observer):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.handled = asyncio.Event()  # without an error

    @contextmanager
    def publishing(self, topic: str) -> Iterator[None]:
        self.events.append(f"publishing {topic}")
        with self._outcome():
            yield

    def published(self, topic: str, messages: int) -> None:
        self.events.append(f"published {topic} {messages}")

    @contextmanager
    def handling(self, message: Message, topic: str, channel: str) -> Iterator[None]:
        self.events.append(f"handling {topic}/{channel} {message.body.decode()}")
        with self._outcome():
            yield
        self.handled.set()

    def consumer_opened(self, consumer: Consumer) -> None:
        self.events.append(f"opened {consumer.topic}/{consumer.channel}")

    def consumer_closed(self, consumer: Consumer) -> None:
        self.events.append(f"closed {consumer.topic}/{consumer.channel}")

    @contextmanager
    def _outcome(self) -> Iterator[None]:
        try:
            yield
        except Exception as exc:
            self.events.append(type(exc).__name__)
            raise


async def test_observers_are_told(nsq_server: Cluster) -> None:
    watch = Watch()
    client = nsq_server.client(observers=[watch])

    @client.handler("orders", "billing", requeue_delay=0, backoff=False)
    async def bill(message: Message) -> None:
        if message.attempts == 1:
            raise RuntimeError("not yet")

    async with client:
        await client.publish("orders", b"x")
        async with client.running(), asyncio.timeout(WAIT_SECONDS):
            await watch.handled.wait()
        with pytest.raises(ValueError, match="needs a body"):
            await client.publish_many("orders", [b""])
    assert watch.events == [
        "publishing orders",
        "published orders 1",
        "opened orders/billing",
        "handling orders/billing x",
        "RuntimeError",
        "handling orders/billing x",
        "closed orders/billing",
        "publishing orders",
        "ValueError",
    ]


# What a handler may be


def test_a_parameter_without_annotation(client: Nsq) -> None:
    with pytest.raises(TypeError, match="annotate 'order' with Message, or with what"):

        @client.handler("orders", "billing")
        async def bill(order) -> None:  # type: ignore[no-untyped-def]  # this is the mistake
            ...


def test_two_bodies(client: Nsq) -> None:
    with pytest.raises(TypeError, match="both 'order' and 'other' would be the body"):

        @client.handler("orders", "billing")
        async def bill(order: Order, other: Order) -> None: ...


@pytest.mark.parametrize(
    "wrong",
    [
        {"topic": "no spaces"},
        {"channel": ""},
        {"dead_letter": "no spaces"},
        {"concurrency": 0},
        {"max_attempts": 0},
    ],
)
def test_wrong_arguments_are_refused_at_once(client: Nsq, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not a valid name|at least 1"):
        client.handler(**{"topic": "orders", "channel": "billing", **wrong})


async def test_the_function_stays_what_it_was(client: Nsq) -> None:
    @client.handler("orders", "billing")
    async def double(number: int) -> int:
        return 2 * number

    assert await double(2) == 4


# The end


async def test_sigterm_drains(client: Nsq, nsq_server: Cluster, published: Published) -> None:
    started, may_end = asyncio.Event(), asyncio.Event()

    @client.handler("orders", "billing")
    async def bill(order: Order) -> None:
        started.set()
        await may_end.wait()
        await client.publish("done", order)  # it is still open

    async with client_of(client) as publisher:
        await publisher.publish("orders", Order(1))
    running = asyncio.create_task(client.run())
    await started.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    assert client._stop is not None
    await client._stop.wait()
    may_end.set()
    async with asyncio.timeout(WAIT_SECONDS):
        await running
    assert published("done").values == [{"id": 1}]
    assert is_drained(nsq_server, "orders")
    assert not client.is_open


async def test_a_handler_that_does_not_end_is_cancelled(client: Nsq, nsq_server: Cluster) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    @client.handler("orders", "billing", drain_timeout=0.1)
    async def bill(message: Message) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with client_of(client) as publisher:
        await publisher.publish("orders", b"x")
    async with run_in_background(client):
        await started.wait()
    assert cancelled.is_set()
    (topic,) = nsq_server.node.stats()["topics"]
    assert topic["channels"][0]["depth"] == 1  # it was returned


async def test_ready(nsq_server: Cluster, nsq_cluster: Callable[..., Cluster]) -> None:
    async with nsq_server.client() as client:
        await client.ready()
        nsq_server.node.stop()
    async with nsq_server.client() as client:
        with pytest.raises(ConnectFailed):
            await client.ready()
    async with Nsq(lookupd=nsq_cluster(0).lookupd_address) as client:
        with pytest.raises(DeadlineExceeded):
            await client.ready(0.05)


class Failing(Observer):
    """Fails wherever it may."""

    def __init__(self, fails_at: str) -> None:
        self._fails_at = fails_at

    def _fail(self, where: str) -> None:
        if where == self._fails_at:
            raise KeyError(where)

    @contextmanager
    def _watch(self, what: str) -> Iterator[None]:
        self._fail(f"before {what}")
        try:
            yield
        finally:
            self._fail(f"after {what}")

    def publishing(self, topic: str) -> AbstractContextManager[object]:
        self._fail("publishing")
        return self._watch("publishing")

    def published(self, topic: str, messages: int) -> None:
        self._fail("published")

    def handling(
        self, message: Message, topic: str, channel: str
    ) -> AbstractContextManager[object]:
        self._fail("handling")
        return self._watch("handling")

    def consumer_opened(self, consumer: Consumer) -> None:
        self._fail("opened")

    def consumer_closed(self, consumer: Consumer) -> None:
        self._fail("closed")


PLACES = [
    *("publishing", "before publishing", "after publishing", "published"),
    *("handling", "before handling", "after handling", "opened", "closed"),
]


async def test_an_observer_that_fails_is_logged_and_changes_nothing(
    nsq_server: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch()  # which is told, wherever the others fail
    client = nsq_server.client(observers=[*map(Failing, PLACES), watch])
    attempts: list[int] = []

    @client.handler("t", "c", requeue_delay=0, backoff=False)
    async def handle(message: Message) -> None:
        attempts.append(message.attempts)
        if message.attempts == 1:
            raise RuntimeError("not yet")

    async with client:
        await client.publish("t", b"x")
        assert await client.publish_many("t", []) == 0
        with pytest.raises(ValueError, match="empty"):
            await client.publish("t", b"")
        async with client.running(), asyncio.timeout(WAIT_SECONDS):
            await watch.handled.wait()
    assert attempts == [1, 2]
    assert "closed t/c" in watch.events
    for place in PLACES:
        assert f"KeyError: '{place}'" in caplog.text


async def test_more_in_flight_than_an_nsqd_gives_is_told_once(
    nsq_cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    node = nsq_cluster(1, max_rdy_count=10).node
    async with Consumer("t", "c", nsqd=node.tcp_address, max_in_flight=10) as consumer:
        await consumer.ready()
        consumer.max_in_flight = 30
        consumer.max_in_flight = 30
        async with Nsq(nsqd=node.tcp_address) as client:
            await client.publish("t", b"x")
        (await anext(consumer)).finish()
        node.disconnect()
        async with Nsq(nsqd=node.tcp_address) as client:
            await client.publish("t", b"y")
        (await anext(consumer)).finish()
    told = [each for each in caplog.messages if "max_rdy_count" in each]
    sentence = f"t/c: max_in_flight is 30, but nsqd {node.tcp_address} gives 10 at most"
    assert told == [f"{sentence} (max_rdy_count)"]


async def test_another_event_loop_is_refused_at_once(nsq_server: Cluster) -> None:
    """asyncio would wait there for what is set here, and that without an end."""

    async def use(client: Nsq, producer: Producer, consumer: Consumer) -> None:
        for work in (
            client.publish("t", b"x"),
            producer.publish("t", b"x"),
            producer.publish_many("t", [b"x"]),
            anext(consumer),
        ):
            with pytest.raises(ClientClosed, match="in another event loop"):
                await work

    address = nsq_server.tcp_address
    async with (
        Nsq(nsqd=address) as client,
        Producer(address) as producer,
        Consumer("t", "c", nsqd=address) as consumer,
    ):
        await asyncio.to_thread(asyncio.run, use(client, producer, consumer))
        await client.publish("t", b"x")
        await producer.publish("t", b"x")


def test_who_was_open_in_a_loop_that_has_ended_may_be_opened_again(nsq_server: Cluster) -> None:
    client = Nsq(nsqd=nsq_server.tcp_address)

    async def publish() -> None:
        async with client:
            await client.publish("t", b"x")

    asyncio.run(client.__aenter__())  # nobody closes it
    asyncio.run(publish())
    assert nsq_server.published("t").bodies == [b"x"]
