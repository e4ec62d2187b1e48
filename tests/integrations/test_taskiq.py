"""The taskiq broker under taskiq's own receiver, in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from taskiq.receiver import Receiver

from nsqx.client import Nsq
from nsqx.integrations.taskiq import NsqBroker
from nsqx.testing.cluster import Cluster

WAIT_SECONDS = 10.0


@asynccontextmanager
async def working(broker: NsqBroker) -> AsyncIterator[None]:
    """A worker beside the block."""
    broker.is_worker_process = True
    await broker.startup()
    receiver = Receiver(broker, max_async_tasks=10, run_startup=False)
    finish = asyncio.Event()
    listening = asyncio.create_task(receiver.listen(finish))
    try:
        yield
    finally:
        finish.set()
        await listening
        await broker.shutdown()


def channel_of(cluster: Cluster) -> Any:
    (topic,) = cluster.node.stats()["topics"]
    (channel,) = topic["channels"]
    return channel


async def test_tasks_run_and_are_finished(nsq_server: Cluster) -> None:
    broker = NsqBroker(nsq_server.client(), "tasks")
    results: asyncio.Queue[int] = asyncio.Queue()

    @broker.task
    async def double(number: int) -> None:
        results.put_nowait(2 * number)

    async with working(broker), asyncio.timeout(WAIT_SECONDS):
        for number in range(20):
            await double.kiq(number)
        assert sorted([await results.get() for _ in range(20)]) == list(range(0, 40, 2))
    channel = channel_of(nsq_server)
    assert (channel["depth"], channel["in_flight_count"], channel["requeue_count"]) == (0, 0, 0)


async def test_a_task_that_fails_is_not_run_again(nsq_server: Cluster) -> None:
    broker = NsqBroker(nsq_server.client(), "tasks")
    runs: asyncio.Queue[int] = asyncio.Queue()

    @broker.task
    async def fail() -> None:
        runs.put_nowait(1)
        raise RuntimeError("as intended")

    async with working(broker), asyncio.timeout(WAIT_SECONDS):
        await fail.kiq()
        await runs.get()
    assert channel_of(nsq_server)["depth"] == 0


async def test_a_long_task_is_touched(nsq_server: Cluster) -> None:
    node = nsq_server.add_node(msg_timeout=200_000_000)
    broker = NsqBroker(Nsq(nsqd=node.tcp_address), "tasks")
    runs: asyncio.Queue[int] = asyncio.Queue()

    @broker.task
    async def work() -> None:
        runs.put_nowait(1)
        await asyncio.sleep(0.7)  # longer than nsqd waits
        runs.put_nowait(2)

    async with working(broker), asyncio.timeout(WAIT_SECONDS):
        await work.kiq()
        assert [await runs.get(), await runs.get()] == [1, 2]
    (channel,) = node.stats()["topics"][0]["channels"]
    assert (channel["timeout_count"], channel["depth"], channel["in_flight_count"]) == (0, 0, 0)


async def test_a_delayed_task(nsq_server: Cluster) -> None:
    broker = NsqBroker(nsq_server.client(), "tasks")
    loop = asyncio.get_running_loop()
    ran: asyncio.Future[float] = loop.create_future()

    @broker.task
    async def work() -> None:
        ran.set_result(loop.time())

    async with working(broker):
        start = loop.time()
        await work.kicker().with_labels(delay=0.3).kiq()
        assert await asyncio.wait_for(ran, WAIT_SECONDS) - start >= 0.29
