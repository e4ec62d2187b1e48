"""
The client against our real nsqd and nsqlookupd.

They are processes where one is killed. Elsewhere an nsqd is as real within the test's own process,
and there at once.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nsqx.client import Consumer, Message, Producer, PublishFailed, Settings
from nsqx.testing.cluster import Cluster as LocalCluster
from tests.support.node import Node, running_node
from tests.support.processes import Cluster, eventually


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with running_node(tmp_path) as node:
        yield node


async def collect(consumer: Consumer, count: int) -> Counter[bytes]:
    """Take and finish so many messages."""
    bodies: Counter[bytes] = Counter()
    async for message in consumer:
        async with message:
            bodies[message.body] += 1
        if bodies.total() == count:
            break
    return bodies


async def test_published_is_consumed(node: Node) -> None:
    expected = Counter(b"%d" % number for number in range(5000))
    async with (
        Producer(node.tcp_address) as producer,
        Consumer("t", "c", nsqd=node.tcp_address, max_in_flight=500) as consumer,
    ):
        await producer.publish_many("t", expected)
        assert await collect(consumer, 5000) == expected


async def test_single_publishes_in_parallel(node: Node) -> None:
    expected = Counter(b"%d" % number for number in range(1000))
    async with (
        Producer(node.tcp_address) as producer,
        Consumer("t", "c", nsqd=node.tcp_address) as consumer,
    ):
        await asyncio.gather(*(producer.publish("t", body) for body in expected))
        assert await collect(consumer, 1000) == expected


async def test_consumers_in_the_zone_of_the_node_come_first(tmp_path: Path) -> None:
    experiment = ["topology-aware-consumption"]
    async with running_node(
        tmp_path, topology_region="north", topology_zone="a", enable_experiment=experiment
    ) as node:
        await publish_near_and_far(node)


async def publish_near_and_far(node: Node) -> None:
    near, far = (
        Consumer(
            "t",
            "c",
            nsqd=node.tcp_address,
            max_in_flight=10,
            settings=Settings(topology_region="north", topology_zone=zone),
        )
        for zone in ("a", "b")
    )

    async def both_have_room() -> bool:
        stats = await node.stats("&topic=t")
        (channel,) = stats["topics"][0]["channels"]
        return [each["ready_count"] > 0 for each in channel["clients"]] == [True, True]

    # The far one is there first, and has room all the time.
    async with Producer(node.tcp_address) as producer, far, near:
        await far.ready()
        await near.ready()
        await eventually(both_have_room, "both take messages")
        for number in range(20):
            await producer.publish("t", b"%d" % number)
            assert await collect(near, 1) == Counter([b"%d" % number])
        assert far.stats.received == 0


def test_where_a_client_is_nsqd_is_told_only_if_it_is_known() -> None:
    assert b"topology" not in Settings().identify_body()
    assert b'"topology_zone":"a"' in Settings(topology_zone="a").identify_body()


async def test_requeue_and_attempts(node: Node) -> None:
    async with (
        Producer(node.tcp_address) as producer,
        Consumer("t", "c", nsqd=node.tcp_address) as consumer,
    ):
        await producer.publish("t", b"again")
        first = await anext(consumer)
        first.requeue(0)
        second = await anext(consumer)
        assert (second.body, second.attempts, second.id) == (b"again", 2, first.id)
        second.finish()


async def test_deferred(node: Node) -> None:
    loop = asyncio.get_running_loop()
    async with (
        Producer(node.tcp_address) as producer,
        Consumer("t", "c", nsqd=node.tcp_address) as consumer,
    ):
        start = loop.time()
        await producer.publish("t", b"later", defer=0.3)
        (await anext(consumer)).finish()
        assert loop.time() - start >= 0.29


async def test_a_refused_publish(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path, max_msg_size=10) as node,
        Producer(node.tcp_address) as producer,
    ):
        with pytest.raises(PublishFailed, match="PUB message too big 11 > 10"):
            await producer.publish("t", b"x" * 11)
        await producer.publish("t", b"x" * 10)


@pytest.mark.parametrize("compression", ["snappy", "deflate"])
async def test_compressed(node: Node, compression: str) -> None:
    settings = Settings(compression=compression)  # type: ignore[arg-type]  # one of the two
    expected = Counter(b"%d" % number * 10 for number in range(2000))
    async with (
        Producer(node.tcp_address, settings=settings) as producer,
        Consumer("t", "c", nsqd=node.tcp_address, settings=settings) as consumer,
    ):
        await producer.publish_many("t", expected)
        assert await collect(consumer, 2000) == expected


async def test_nodes_are_found_through_lookupd(tmp_path: Path) -> None:
    with LocalCluster(nodes=2, folder=tmp_path) as cluster:
        await publish_to_both(cluster)


async def publish_to_both(cluster: LocalCluster) -> None:
    async with (
        Producer(cluster.nsqd_addresses, spread=True) as producer,
        Consumer("t", "c", lookupd=cluster.lookupd_address) as consumer,
    ):
        await producer.ready()
        expected = Counter(b"%d" % number for number in range(1000))
        await asyncio.gather(*(producer.publish("t", body) for body in expected))
        assert await collect(consumer, 1000) == expected
        assert consumer.stats.connections == 2


async def test_a_killed_nsqd_is_found_again(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    async with (
        Producer(node.tcp_address) as producer,
        Consumer("t", "c", nsqd=node.tcp_address) as consumer,
    ):
        await producer.publish("t", b"before")
        (await anext(consumer)).finish()
        await node.kill()
        publish = asyncio.create_task(producer.publish("t", b"after", timeout=30))
        await node.start()
        await publish
        async for message in consumer:
            message.finish()
            if message.body == b"after":
                break


async def test_every_publish_has_an_outcome_while_nsqd_is_killed_again_and_again(
    cluster: Cluster,
) -> None:
    node = await cluster.nsqd()
    outcomes: dict[bytes, BaseException | None] = {}
    milestones = {number: asyncio.Event() for number in (200, 600)}

    async def publish(producer: Producer, body: bytes) -> None:
        try:
            await producer.publish("t", body, timeout=30)
        except Exception as exc:
            outcomes[body] = exc
        else:
            outcomes[body] = None
        if len(outcomes) in milestones:
            milestones[len(outcomes)].set()

    async def publish_all(producer: Producer) -> None:
        for hundred in range(10):
            bodies = [b"%d" % (hundred * 100 + number) for number in range(100)]
            await asyncio.gather(*(publish(producer, body) for body in bodies))

    async with Producer(node.tcp_address) as producer:
        publishing = asyncio.create_task(publish_all(producer))
        for milestone in milestones.values():
            await milestone.wait()
            await node.kill()
            await node.start()
        await publishing
    assert len(outcomes) == 1000
    confirmed = {body for body, error in outcomes.items() if error is None}
    async with Consumer("t", "c", nsqd=node.tcp_address) as consumer:
        seen: set[bytes] = set()
        async for message in consumer:
            message.finish()
            seen.add(message.body)
            if confirmed <= seen:
                break


async def test_handlers_drain_when_closed(node: Node) -> None:
    handled: Counter[bytes] = Counter()
    started = asyncio.Event()

    async def handle(message: Message) -> None:
        started.set()
        await asyncio.sleep(0.01)  # work
        handled[message.body] += 1

    async with Producer(node.tcp_address) as producer:
        await producer.publish_many("t", [b"%d" % number for number in range(100)])
    async with Consumer("t", "c", nsqd=node.tcp_address) as consumer:
        running = asyncio.create_task(consumer.run(handle, concurrency=4))
        await started.wait()
        await consumer.close()
        await running
    # The rest is there at once, for it was returned, and nothing was handled twice.
    async with Consumer("t", "c", nsqd=node.tcp_address) as consumer:
        handled += await collect(consumer, 100 - handled.total())
    assert handled == Counter(b"%d" % number for number in range(100))
