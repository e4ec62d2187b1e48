"""Prometheus metrics and structlog context, with the real packages."""

import asyncio

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from nsqx.client import Message, PublishFailed
from nsqx.integrations.prometheus import PrometheusMetrics
from nsqx.integrations.structlog import LogContext
from nsqx.testing.cluster import Cluster

WAIT_SECONDS = 10.0


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """All samples as Prometheus would read them, but for histograms' buckets."""
    lines = generate_latest(registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line[0] != "#" and "_bucket" not in line)
    return {name: float(value) for name, value in pairs}


async def test_prometheus(nsq_server: Cluster) -> None:
    registry = CollectorRegistry()
    nsq = nsq_server.client(observers=[PrometheusMetrics(registry)])
    finished = asyncio.Event()

    @nsq.handler("orders", "billing", requeue_delay=0, backoff=False)
    async def bill(message: Message) -> None:
        if message.attempts == 1:
            raise RuntimeError("not yet")
        if message.body == b"last":
            finished.set()

    async with nsq:
        await nsq.publish_many("orders", [b"1", b"2"])
        with pytest.raises(PublishFailed):
            await nsq.publish("orders", b"x" * 2_000_000)
        async with nsq.running(), asyncio.timeout(WAIT_SECONDS):
            await nsq.publish("orders", b"last")
            await finished.wait()
            assert samples(registry)[
                'nsqx_consumer_connections{channel="billing",topic="orders"}'
            ] == len(nsq_server.nodes)
    found = samples(registry)
    channel = '{channel="billing",topic="orders"}'
    assert found['nsqx_published_messages_total{topic="orders"}'] == 3
    assert found['nsqx_publish_errors_total{error="PublishFailed",topic="orders"}'] == 1
    assert found['nsqx_publish_seconds_count{topic="orders"}'] == 2
    assert found[f"nsqx_handler_seconds_count{channel}"] == 6
    assert found[f"nsqx_message_age_seconds_count{channel}"] == 6
    assert (
        found['nsqx_handler_errors_total{channel="billing",error="RuntimeError",topic="orders"}']
        == 3
    )
    # The consumer is closed; what it counted stays.
    assert found[f"nsqx_consumer_received_messages_total{channel}"] == 6
    assert found[f"nsqx_consumer_finished_messages_total{channel}"] == 3
    assert found[f"nsqx_consumer_requeued_messages_total{channel}"] == 3


async def test_structlog(nsq_server: Cluster) -> None:
    nsq = nsq_server.client(observers=[LogContext()])
    context: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
    ids: list[str] = []

    @nsq.handler("orders", "billing")
    async def bill(message: Message) -> None:
        ids.append(message.id.decode())
        context.set_result(structlog.contextvars.get_contextvars())

    async with nsq:
        await nsq.publish("orders", b"x")
        async with nsq.running():
            assert await asyncio.wait_for(context, WAIT_SECONDS) == {
                "topic": "orders",
                "channel": "billing",
                "message_id": ids[0],
                "attempts": 1,
            }
    assert structlog.contextvars.get_contextvars() == {}
