"""
The programs of the client's guide, on three nodes and two nsqlookupds that are killed, stopped, and
cut off from their clients.

Nothing is lost, nothing is given up that never ran; what ran twice is counted, for at least once is
what was promised. The counts are printed: ``pytest -s``.
"""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nsqx.client import Message, Nsq, Settings, sync
from nsqx.testing.cluster import Cluster as LocalCluster
from tests.support.processes import Cluster
from tests.support.troubled_cluster import TroubledCluster, troubled_cluster

pytestmark = pytest.mark.acceptance

ORDERS = 20_000
LINES = 2_000_000
SECONDS_MAX = 300.0
SEED = 15
SETTINGS = Settings(reply_timeout=3, connect_timeout=2)


@dataclass
class Order:
    id: int


async def until_all(done: Counter[int], count: int) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while len(done) < count:  # noqa: ASYNC110 - a counter tells nobody
            await asyncio.sleep(0.1)


def report(program: str, count: int, again: int, troubled: TroubledCluster) -> None:
    """Say what came twice, and of how many troubles."""
    troubles = ", ".join(f"{kind} {times}" for kind, times in sorted(troubled.troubles.items()))
    sys.stdout.write(f"{program}: {count}, {again} of them again; {troubles}\n")


@pytest.mark.timeout(2 * SECONDS_MAX)
async def test_a_web_service_and_its_workers_lose_no_order(cluster: Cluster) -> None:
    async with troubled_cluster(cluster, "--msg-timeout=5s") as troubled:
        billed, given_up = await bill_orders(troubled)
    assert set(billed) == set(range(ORDERS))
    assert given_up == []
    report("orders", ORDERS, sum(billed.values()) - ORDERS, troubled)


async def bill_orders(troubled: TroubledCluster) -> tuple[Counter[int], list[bytes]]:
    """Return how often each order was billed, and which were given up."""
    billed: Counter[int] = Counter()
    given_up: list[bytes] = []
    workers = [Nsq(lookupd=troubled.lookupds, settings=SETTINGS) for _ in range(2)]

    for worker in workers:

        @worker.handler("orders", "billing", concurrency=20, max_attempts=20, dead_letter="dead")
        async def bill(order: Order, message: Message) -> None:
            await asyncio.sleep(0.001)
            billed[order.id] += 1

    web = Nsq(lookupd=troubled.lookupds, settings=SETTINGS, timeout=60)

    async def post(ids: Iterator[int]) -> None:
        for id in ids:
            await web.publish("orders", Order(id))

    async with web, contextlib.AsyncExitStack() as stack:
        await web.ready()
        for worker in workers:
            await stack.enter_async_context(worker.running())
        async with troubled.trouble(SEED):
            ids = iter(range(ORDERS))
            await asyncio.gather(*(post(ids) for _ in range(50)))
            await until_all(billed, ORDERS - 100)
        await until_all(billed, ORDERS)
        async with web.consume("dead", "check") as dead:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    given_up += [(await anext(dead)).body]
    return billed, given_up


@pytest.mark.timeout(2 * SECONDS_MAX)
async def test_a_pipeline_of_lines_into_a_database_loses_none(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with troubled_cluster(cluster, "--msg-timeout=5s") as troubled:
        with contextlib.closing(Database(tmp_path / "lines.db")) as database:
            await store_lines(troubled, database)
            assert database.count() == LINES
    report("lines", LINES, database.received - LINES, troubled)


class Database:
    """Numbers, each once."""

    def __init__(self, path: Path) -> None:
        self.received = self.stored = 0
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("pragma synchronous = off")
        self._database.execute("create table lines (number integer primary key)")

    def store(self, batch: list[Message]) -> None:
        rows = [(int(message.body),) for message in batch]
        self._database.execute("begin")
        added = self._database.executemany("insert or ignore into lines values (?)", rows)
        self._database.execute("commit")
        self.received += len(rows)
        self.stored += added.rowcount

    def count(self) -> int:
        (count,) = self._database.execute("select count(*) from lines").fetchone()
        return int(count)

    def close(self) -> None:
        self._database.close()


async def store_lines(troubled: TroubledCluster, database: Database) -> None:
    async def store(nsq: Nsq) -> None:
        async with nsq.consume("lines", "database", max_in_flight=2500) as messages:
            async for batch in messages.batches(max=1000):
                database.store(batch)
                for message in batch:
                    message.finish()
                if database.stored == LINES:
                    return

    async with Nsq(lookupd=troubled.lookupds, settings=SETTINGS, timeout=60) as nsq:
        await nsq.ready()
        async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as group:
            storing = group.create_task(store(nsq))
            async with troubled.trouble(SEED):
                lines = (b"%d" % number for number in range(LINES))
                assert await nsq.publish_many("lines", lines) == LINES
            await storing


SUITE = """
import os
from collections import Counter

import pytest

from nsqx.client import Settings, sync


@pytest.fixture(scope="session")
def nsq():
    settings = Settings(reply_timeout=3, connect_timeout=2)
    with sync.Nsq(lookupd=os.environ["LOOKUPDS"].split(), settings=settings, timeout=60) as nsq:
        yield nsq


@pytest.mark.parametrize("number", range(12))
def test_orders_are_billed(nsq, number):
    topic, done = f"orders{number}", Counter()
    for id in range(100):
        nsq.publish(topic, id)
    assert nsq.publish_many(topic, range(100, 1000)) == 900
    with nsq.consume(topic, "billing", max_in_flight=200) as messages:
        while len(done) < 1000:
            message = messages.get(timeout=60)
            assert message is not None, f"{1000 - len(done)} are missing"
            with message:
                done[message.decode(int)] += 1
    assert set(done) == set(range(1000))
    print("again:", sum(done.values()) - 1000)
"""


@pytest.mark.timeout(2 * SECONDS_MAX)
async def test_a_suite_of_plain_tests_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    suite = tmp_path / "test_suite.py"
    suite.write_text(SUITE)
    async with troubled_cluster(cluster, "--msg-timeout=5s") as troubled, troubled.trouble(SEED):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(suite)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env=os.environ | {"LOOKUPDS": " ".join(troubled.lookupds)},
        )
        output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    again = sum(int(line.partition("again:")[2]) for line in text.splitlines() if "again:" in line)
    report("suite", 12_000, again, troubled)


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


@pytest.mark.parametrize("extensions", [True, False], ids=["negotiated", "without extras"])
@pytest.mark.timeout(2 * SECONDS_MAX)
async def test_jobs_ten_times_longer_than_their_time_run_once(
    cluster: Cluster, *, extensions: bool
) -> None:
    lookupds = [await cluster.lookupd() for _ in range(2)]
    nodes = [await cluster.nsqd("--msg-timeout=1s", lookupds=lookupds) for _ in range(3)]
    runs: Counter[int] = Counter()
    done: Counter[int] = Counter()
    found = [each.http_address for each in lookupds]
    settings = Settings(extensions=extensions)  # all else as it is
    workers = [Nsq(lookupd=found, settings=settings) for _ in range(2)]
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
