"""
The programs of the client's guide, on three nodes and two nsqlookupds that are killed and stopped.

Nothing is lost, nothing is given up that never ran; what ran twice is counted, for at least once is
what was promised.
"""

import asyncio
import contextlib
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from nsqx.client import Message, Nsq, Settings, sync
from nsqx.testing.cluster import Cluster as LocalCluster
from tests.support.processes import Cluster, Nsqd

pytestmark = pytest.mark.acceptance

ORDERS = 20_000
LINES = 2_000_000
SECONDS_MAX = 240.0
CHANCE = random.Random(15)


@dataclass
class Order:
    id: int


async def three_nodes(cluster: Cluster) -> tuple[list[Nsqd], list[str]]:
    lookupds = [await cluster.lookupd() for _ in range(2)]
    nodes = [await cluster.nsqd("--msg-timeout=5s", lookupds=lookupds) for _ in range(3)]
    return nodes, [lookupd.http_address for lookupd in lookupds]


@asynccontextmanager
async def hurt(nodes: list[Nsqd]) -> AsyncIterator[None]:
    """Kill one node, or stop it for some seconds, again and again, one at a time."""

    async def again_and_again() -> None:
        while True:
            node = CHANCE.choice(nodes)
            await asyncio.sleep(0.5)
            if CHANCE.random() < 0.5:
                await node.kill()
                await node.start()
            else:
                node.send_signal(signal.SIGSTOP)
                try:
                    await asyncio.sleep(2)
                finally:
                    node.send_signal(signal.SIGCONT)

    task = asyncio.create_task(again_and_again())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        for node in nodes:
            if not node.running:
                await node.start()


async def until_all(done: Counter[int], count: int) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while len(done) < count:  # noqa: ASYNC110 - a counter tells nobody
            await asyncio.sleep(0.1)


@pytest.mark.timeout(2 * SECONDS_MAX)
async def test_a_web_service_and_its_workers_lose_no_order(
    cluster: Cluster, record_property: Callable[[str, object], None]
) -> None:
    nodes, lookupds = await three_nodes(cluster)
    billed: Counter[int] = Counter()
    given_up: list[bytes] = []
    settings = Settings(reply_timeout=3, connect_timeout=2)
    workers = [Nsq(lookupd=lookupds, settings=settings) for _ in range(2)]

    for worker in workers:

        @worker.handler("orders", "billing", concurrency=20, max_attempts=20, dead_letter="dead")
        async def bill(order: Order, message: Message) -> None:
            await asyncio.sleep(0.001)
            billed[order.id] += 1

    web = Nsq(lookupd=lookupds, settings=settings, timeout=60)

    async def post(ids: Iterator[int]) -> None:
        for id in ids:
            await web.publish("orders", Order(id))

    async with web, contextlib.AsyncExitStack() as stack:
        await web.ready()
        for worker in workers:
            await stack.enter_async_context(worker.running())
        async with hurt(nodes):
            ids = iter(range(ORDERS))
            await asyncio.gather(*(post(ids) for _ in range(50)))
        await until_all(billed, ORDERS)
        async with web.consume("dead", "check") as dead:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    given_up += [(await anext(dead)).body]
    assert set(billed) == set(range(ORDERS))
    assert given_up == []
    record_property("billed again", sum(billed.values()) - ORDERS)


@pytest.mark.timeout(4 * SECONDS_MAX)
async def test_a_pipeline_of_lines_into_a_database_loses_none(
    cluster: Cluster, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    nodes, lookupds = await three_nodes(cluster)
    database = sqlite3.connect(tmp_path / "lines.db", isolation_level=None)
    database.execute("pragma synchronous = off")
    database.execute("create table lines (number integer primary key)")
    settings = Settings(reply_timeout=3, connect_timeout=2)
    received = stored = 0

    async def store(nsq: Nsq) -> None:
        nonlocal received, stored
        async with nsq.consume("lines", "database", max_in_flight=2500) as messages:
            async for batch in messages.batches(max=1000):
                rows = [(int(message.body),) for message in batch]
                database.execute("begin")
                added = database.executemany("insert or ignore into lines values (?)", rows)
                database.execute("commit")
                received, stored = received + len(rows), stored + added.rowcount
                for message in batch:
                    message.finish()
                if stored == LINES:
                    return

    async with Nsq(lookupd=lookupds, settings=settings, timeout=60) as nsq:
        await nsq.ready()
        storing = asyncio.create_task(store(nsq))
        async with hurt(nodes):
            lines = (b"%d" % number for number in range(LINES))
            assert await nsq.publish_many("lines", lines) == LINES
        async with asyncio.timeout(SECONDS_MAX):
            await storing
    (count,) = database.execute("select count(*) from lines").fetchone()
    database.close()
    assert count == LINES
    record_property("received again", received - LINES)


def test_the_sync_facade_in_a_suite(nsq: sync.Nsq, nsq_server: LocalCluster) -> None:
    """A node of the plug-in is killed and cut off while plain code publishes and consumes."""
    done: Counter[int] = Counter()
    count = 3000
    with nsq.consume("orders", "billing", max_in_flight=200) as messages:
        for number in range(count):
            nsq.publish("orders", number)
            if number == 1000:
                nsq_server.node.kill()
                nsq_server.node.start()
            if number == 2000:
                nsq_server.node.disconnect()
        while len(done) < count and (message := messages.get(timeout=90)) is not None:
            with message:
                done[message.decode(int)] += 1
    assert set(done) == set(range(count))


@pytest.mark.timeout(2 * SECONDS_MAX)
async def test_jobs_ten_times_longer_than_their_time_run_once(cluster: Cluster) -> None:
    nodes, lookupds = await three_nodes(cluster)
    runs: Counter[int] = Counter()
    done: Counter[int] = Counter()
    workers = [Nsq(lookupd=lookupds, settings=Settings(msg_timeout=1)) for _ in range(2)]
    for worker in workers:

        @worker.handler("jobs", "workers", concurrency=4)
        async def work(job: int, message: Message) -> None:
            runs[job] += 1
            await asyncio.sleep(10)
            done[job] += 1

    async with Nsq(nsqd=[node.tcp_address for node in nodes]) as nsq:
        await nsq.publish_many("jobs", range(24))
    async with contextlib.AsyncExitStack() as stack:
        for worker in workers:
            await stack.enter_async_context(worker.running())
        await until_all(done, 24)
    assert set(runs.values()) == {1}
