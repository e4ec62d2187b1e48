"""Nodes that are killed, hang, or break connections, as clients see them."""

import asyncio
from collections.abc import Callable

import ansq
import pytest

from nsqx.client import ConnectionClosed, Consumer, DeadlineExceeded, Producer
from nsqx.client.sync import Nsq
from nsqx.testing.cluster import Cluster
from nsqx.testing.recorder import Recorder

Published = Callable[[str], Recorder]


def test_what_was_acknowledged_survives_a_kill(
    nsq: Nsq, nsq_server: Cluster, published: Published
) -> None:
    nsq.publish("orders", b"before")
    nsq_server.node.kill()
    assert published("orders").bodies == []
    nsq_server.node.start()
    assert published("orders").bodies == [b"before"]


def test_what_was_unanswered_at_a_kill_comes_again(nsq: Nsq, nsq_server: Cluster) -> None:
    nsq.publish("orders", b"x")
    with nsq.consume("orders", "billing") as messages:
        first = next(messages)
        nsq_server.node.kill()
        nsq_server.node.start()
        second = next(messages)
        assert second.id == first.id
        assert second.finish()
        assert not first.finish()


def test_nobody_listens_after_a_kill(nsq: Nsq, nsq_server: Cluster) -> None:
    nsq_server.node.kill()
    with pytest.raises(DeadlineExceeded, match="cannot connect"):
        nsq.publish("orders", b"x", timeout=0.2)


async def test_a_paused_node_answers_nothing(nsq_server: Cluster) -> None:
    node = nsq_server.node
    async with Producer(node.tcp_address) as producer:
        await producer.publish("orders", b"before")
        with node.paused():
            late = asyncio.create_task(producer.publish("orders", b"late"))
            with pytest.raises(DeadlineExceeded):
                await producer.publish("orders", b"never", timeout=0.2)
            assert not late.done()
        await late


async def test_a_broken_connection_is_made_again(nsq_server: Cluster) -> None:
    node = nsq_server.node
    async with Producer(node.tcp_address, resend=False) as producer:
        await producer.publish("orders", b"1")
        node.disconnect()
        with pytest.raises(ConnectionClosed):
            await producer.publish("orders", b"2")
        await producer.publish("orders", b"3")


def test_a_node_may_be_stopped_and_started(nsq: Nsq, nsq_server: Cluster) -> None:
    nsq.publish("orders", b"x")
    nsq_server.node.restart()
    assert nsq_server.node.stats()["topics"][0]["depth"] == 1


async def test_consumers_find_nodes_that_are_added(nsq_cluster: Callable[..., Cluster]) -> None:
    cluster = nsq_cluster(1)
    async with Consumer("orders", "billing", lookupd=cluster.lookupd_address) as consumer:
        node = cluster.add_node()
        async with Producer(node.tcp_address) as producer:
            await producer.publish("orders", b"new")
        assert (await anext(consumer)).body == b"new"


async def test_other_clients_work_too(nsq_server: Cluster, published: Published) -> None:
    writer = await ansq.create_writer(nsqd_tcp_addresses=nsq_server.nsqd_addresses)
    await writer.pub("orders", "from elsewhere")
    await writer.close()
    assert published("orders").bodies == [b"from elsewhere"]


def test_channels_may_be_made_before(nsq: Nsq, nsq_server: Cluster) -> None:
    nsq_server.create("orders", ["billing", "archive"])
    nsq.publish("orders", b"x")
    for channel in ("billing", "archive"):
        with nsq.consume("orders", channel) as messages, next(messages) as message:
            assert message.body == b"x"
