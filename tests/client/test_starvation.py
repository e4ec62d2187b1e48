"""
Fewer messages in flight than there are nsqds, and all messages on one of them.

Two consumers of the same kind work at the same time, so that what happens on the machine hits both:
one has a connection to the only nsqd it knows, the other one has eight, seven of them idle.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from nsqx.client import Consumer, Producer
from tests.support.node import Node, running_node

NODES = 8
MESSAGES = 200  # of the one with a direct connection
WORK_SECONDS = 0.005  # for each message


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        folders = [tmp_path / f"node{number}" for number in range(NODES)]
        for folder in folders:
            folder.mkdir()
        yield [await stack.enter_async_context(running_node(folder)) for folder in folders]


async def fill(node: Node, topic: str) -> None:
    async with Producer(node.tcp_address) as producer:
        await producer.publish_many(topic, [b"%d" % number for number in range(2 * MESSAGES)])


@asynccontextmanager
async def one_at_a_time(topic: str, nodes: list[Node]) -> AsyncIterator[Consumer]:
    addresses = [node.tcp_address for node in nodes]
    async with Consumer(topic, "c", nsqd=addresses, max_in_flight=1) as consumer:
        await consumer.ready()
        yield consumer


async def work(consumer: Consumer, count: int) -> None:
    done = 0
    async for message in consumer:
        async with message:
            await asyncio.sleep(WORK_SECONDS)
        done += 1
        if done == count:
            break


async def test_one_busy_node_among_idle_ones_is_drained_at_half_the_speed_at_least(
    nodes: list[Node],
) -> None:
    await fill(nodes[0], "direct")
    await fill(nodes[0], "spread")
    async with (
        one_at_a_time("direct", nodes[:1]) as direct,
        one_at_a_time("spread", nodes) as spread,
    ):
        assert spread.stats.connections == NODES
        working = asyncio.create_task(work(spread, 2 * MESSAGES))
        await work(direct, MESSAGES)
        drained = spread.stats.finished
        working.cancel()
        await asyncio.wait((working,))
    assert drained >= MESSAGES / 2


async def test_a_node_that_becomes_busy_is_found(nodes: list[Node]) -> None:
    async with one_at_a_time("orders", nodes) as consumer:
        for number, node in enumerate(nodes):
            await node.post("/pub?topic=orders", b"%d" % number)
            async with asyncio.timeout(10):
                message = await anext(consumer)
            assert message.body == b"%d" % number
            message.finish()
