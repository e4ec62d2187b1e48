"""
What an OK is worth, on real processes: the table of figures that made this broker necessary.

Each test publishes, kills the broker with ``kill -9``, starts it again on the same data and counts.
Nothing that was answered OK may be missing, and what comes twice was in flight or finished in the
last moments before the kill.
"""

import asyncio
import time

import pytest

from tests.support.processes import Cluster, Nsqd, cluster
from tests.support.wire_client import WireClient

__all__ = ["cluster"]

TOPIC, CHANNEL = "orders", "billing"
JOURNAL_SECONDS_MAX = 0.1  # FINs of so long before the kill may be forgotten
READY_MAX = 2500


def bodies_of(count: int) -> list[bytes]:
    return [b"message %07d" % number for number in range(count)]


async def create_channel(node: Nsqd) -> None:
    await node.post(f"/topic/create?topic={TOPIC}")
    await node.post(f"/channel/create?topic={TOPIC}&channel={CHANNEL}")


async def crash(node: Nsqd) -> None:
    await node.kill()
    await node.start()


async def depth(node: Nsqd) -> int:
    stats = await node.get_json(f"/stats?format=json&topic={TOPIC}&channel={CHANNEL}")
    count: int = stats["topics"][0]["channels"][0]["depth"]
    return count


@pytest.mark.parametrize("count", [5_000, 50_000])
async def test_nothing_published_is_lost(cluster: Cluster, count: int) -> None:
    node = await cluster.nsqd()
    await create_channel(node)
    bodies = bodies_of(count)
    async with WireClient(node.tcp_address) as producer:
        await producer.publish_many(TOPIC, bodies)
    await crash(node)
    assert await depth(node) == count
    async with WireClient(node.tcp_address) as consumer:
        await consumer.subscribe(TOPIC, CHANNEL, READY_MAX)
        received = await consumer.drain(count)
    assert [message.body for message in received] == bodies
    assert {message.attempts for message in received} == {1}


async def test_single_publishes_without_a_channel_survive(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    bodies = bodies_of(500)
    async with WireClient(node.tcp_address) as producer:
        for body in bodies:
            await producer.publish(TOPIC, body)
    await crash(node)
    async with WireClient(node.tcp_address) as consumer:
        await consumer.subscribe(TOPIC, CHANNEL, READY_MAX)
        received = await consumer.drain(len(bodies))
    assert [message.body for message in received] == bodies


async def test_what_was_in_flight_comes_again(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await create_channel(node)
    bodies = bodies_of(5_000)
    async with WireClient(node.tcp_address) as producer:
        await producer.publish_many(TOPIC, bodies)
    async with WireClient(node.tcp_address) as consumer:
        await consumer.subscribe(TOPIC, CHANNEL, READY_MAX)
        held = await consumer.receive(READY_MAX)
        await crash(node)
    async with WireClient(node.tcp_address) as consumer:
        await consumer.subscribe(TOPIC, CHANNEL, READY_MAX)
        received = await consumer.drain(len(bodies))
    assert sorted(message.body for message in received) == bodies
    by_body = {message.body: message.id for message in received}
    assert all(by_body[message.body] == message.id for message in held), "ids stay the same"


async def test_what_was_finished_does_not_come_again(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await create_channel(node)
    bodies = bodies_of(5_000)
    async with WireClient(node.tcp_address) as producer:
        await producer.publish_many(TOPIC, bodies)
    async with WireClient(node.tcp_address) as consumer:
        await consumer.subscribe(TOPIC, CHANNEL, 2_000)
        finished = await consumer.receive(2_000)
        finished_at = time.monotonic()
        consumer.send(b"RDY 0\n")
        consumer.finish(finished)
        while await depth(node) != 3_000 or await in_flight(node):
            pass
        # The promise is about FINs older than the journal's interval: let that pass, no more.
        await asyncio.sleep(max(0.0, finished_at + 2 * JOURNAL_SECONDS_MAX - time.monotonic()))
        await crash(node)
    async with WireClient(node.tcp_address) as consumer:
        await consumer.subscribe(TOPIC, CHANNEL, READY_MAX)
        received = await consumer.drain(3_000)
        received += await consumer.receive_until_quiet(0.5)
    assert sorted(message.body for message in received) == bodies[2_000:]


async def in_flight(node: Nsqd) -> int:
    stats = await node.get_json(f"/stats?format=json&topic={TOPIC}&channel={CHANNEL}")
    count: int = stats["topics"][0]["channels"][0]["in_flight_count"]
    return count


@pytest.mark.parametrize("how", ["kill -9", "SIGTERM"])
async def test_deferred_messages_keep_their_time(cluster: Cluster, how: str) -> None:
    """Go's nsqd loses them or delivers them all at once."""
    node = await cluster.nsqd()
    await create_channel(node)
    bodies = bodies_of(1_000)
    delays_ms = [4_000 + 2 * number for number in range(1_000)]
    due: dict[bytes, float] = {}
    async with WireClient(node.tcp_address) as producer:
        for body, delay_ms in zip(bodies, delays_ms, strict=True):
            due[body] = time.time() + delay_ms / 1000
            await producer.publish_deferred(TOPIC, body, delay_ms)
    if how == "kill -9":
        await crash(node)
    else:
        await node.restart()
    arrivals: dict[bytes, float] = {}
    async with WireClient(node.tcp_address) as consumer:
        await consumer.subscribe(TOPIC, CHANNEL, READY_MAX)
        while len(arrivals) < len(bodies):
            received = await consumer.receive(1)
            consumer.finish(received)
            arrivals.update((message.body, time.time()) for message in received)
    assert min(arrivals[body] - due[body] for body in bodies) >= 0, "early"
    assert max(arrivals[body] - due[body] for body in bodies) < 2.0, "late"


async def test_requeued_messages_keep_their_time_and_attempts(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await create_channel(node)
    async with WireClient(node.tcp_address) as client:
        await client.publish(TOPIC, b"again later")
        await client.subscribe(TOPIC, CHANNEL, 1)
        (first,) = await client.receive(1)
        due = time.time() + 3
        client.send(b"REQ %b 3000\n" % first.id)
        await client.publish("barrier", b"the REQ was executed")
        await asyncio.sleep(2 * JOURNAL_SECONDS_MAX)
        await crash(node)
    async with WireClient(node.tcp_address) as client:
        await client.subscribe(TOPIC, CHANNEL, 1)
        (second,) = await client.receive(1)
    assert time.time() >= due
    assert (second.body, second.attempts, second.id) == (b"again later", 2, first.id)


async def test_a_clean_restart_forgets_nothing_and_repeats_nothing(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await create_channel(node)
    bodies = bodies_of(3_000)
    async with WireClient(node.tcp_address) as client:
        await client.publish_many(TOPIC, bodies)
        await client.subscribe(TOPIC, CHANNEL, 1_000)
        received = await client.receive(1_000)
        client.send(b"RDY 0\n")
        client.finish(received[::2])
        await client.publish("barrier", b"the FINs were executed")
        assert await node.stop() == 0
    await node.start()
    finished = {message.body for message in received[::2]}
    async with WireClient(node.tcp_address) as client:
        await client.subscribe(TOPIC, CHANNEL, READY_MAX)
        again = await client.drain(2_500)
    assert sorted(message.body for message in again) == sorted(set(bodies) - finished)
