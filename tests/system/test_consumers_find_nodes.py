"""
How soon consumers find nodes through nsqlookupd: real processes, nothing waited for but events.

The consumers poll once in ten minutes, so that what they find in time they were told.
"""

import time
from functools import partial
from statistics import median

from nsqx.client import Consumer
from tests.support.processes import Cluster, Lookupd, Nsqd, eventually

TOPIC, CHANNEL = "orders", "billing"
NEVER_S = 600.0
# Nobody polls, so what comes at all was told of. It takes a tenth of a second where the machine has
# nothing else to do (docs/performance.md); here other tests run at the same time.
NEW_NODE_S = 3.0
# An attempt that was refused is repeated after 0.2 s at most when nsqlookupd names the node again.
RESTARTED_NODE_S = 5.0


def new_consumer(lookupds: list[Lookupd]) -> Consumer:
    addresses = [lookupd.http_address for lookupd in lookupds]
    return Consumer(TOPIC, CHANNEL, lookupd=addresses, lookupd_poll_interval=NEVER_S)


async def is_watched(lookupd: Lookupd) -> bool:
    _, metrics = await lookupd.get("/metrics")
    return b"\nnsqlookupd_watches 1\n" in metrics


async def is_registered(lookupd: Lookupd, node: Nsqd) -> bool:
    nodes = await lookupd.get_json("/nodes")
    return any(producer["tcp_port"] == node.tcp_port for producer in nodes["producers"])


async def publish_and_receive(node: Nsqd, consumer: Consumer) -> float:
    """Publish a message; return how many seconds passed until it was consumed."""
    body = node.name.encode()
    began = time.monotonic()
    await node.post(f"/pub?topic={TOPIC}", body)
    message = await anext(consumer)
    took = time.monotonic() - began
    assert message.body == body
    message.finish()
    return took


async def test_new_nodes_are_consumed_though_nobody_polls(cluster: Cluster) -> None:
    lookupds = [await cluster.lookupd() for _ in range(2)]
    nodes = [await cluster.nsqd(lookupds=lookupds) for _ in range(5)]
    async with new_consumer(lookupds) as consumer:
        for lookupd in lookupds:
            await eventually(partial(is_watched, lookupd), "the consumer watches")
            for node in nodes:
                await eventually(partial(is_registered, lookupd, node), "it is registered")
        # None of them has the topic before: for the topic, each is a new node.
        took = [await publish_and_receive(node, consumer) for node in nodes]
    assert median(took) < NEW_NODE_S, took


async def test_node_that_was_killed_and_restarted_is_consumed_at_once(cluster: Cluster) -> None:
    lookupds = [await cluster.lookupd() for _ in range(2)]
    node = await cluster.nsqd(lookupds=lookupds)
    async with new_consumer(lookupds) as consumer:
        await publish_and_receive(node, consumer)
        took = []
        for _ in range(3):
            await node.kill()
            await node.start()
            took.append(await publish_and_receive(node, consumer))
    assert median(took) < RESTARTED_NODE_S, took


async def test_restarted_node_is_consumed_at_once_beside_a_dead_directory(
    cluster: Cluster,
) -> None:
    """Nobody can say that all directories have forgotten the node, or that all name it again."""
    lookupds = [await cluster.lookupd() for _ in range(2)]
    node = await cluster.nsqd(lookupds=lookupds)
    async with new_consumer(lookupds) as consumer:
        await publish_and_receive(node, consumer)
        await lookupds[0].kill()
        await node.kill()
        await eventually(partial(is_patient, consumer), "attempts have become rare")
        await node.start()
        assert await publish_and_receive(node, consumer) < RESTARTED_NODE_S


async def is_patient(consumer: Consumer) -> bool:
    """Whether the next attempt at the lost node is more than a second and a half away."""
    (link,) = consumer._sources.links.values()
    return link._delays._failures > 5
