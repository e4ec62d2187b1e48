"""
Directories and nodes that die, one after another and all directories together: real processes.

Every node has a writer that publishes a message, waits until both channels have got it, and goes
on with the next. So a writer's progress says that its node is consumed, and the time of each round
says whether that ever stopped. At the end, what was acknowledged must have come through both
channels.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from nsqx.client import Consumer, NsqError, Producer
from tests.support.processes import Cluster, Lookupd, Nsqd, eventually

TOPIC, CHANNELS = "orders", ("archive", "billing")
ROUNDS = 20  # of a writer, after which its node counts as consumed
COMPLETE_S = 2.0  # the promise: registrations, after a directory is back
STALL_S = 2.0  # no round of a node that lives takes longer; usually it is a millisecond or two
PAUSE_S = 0.005  # between rounds, to leave the machine to others
PATIENCE_S = 20.0


class Receipts:
    """What came through one channel."""

    def __init__(self) -> None:
        self.bodies: set[bytes] = set()
        self._waiting: dict[bytes, asyncio.Event] = {}

    async def consume(self, consumer: Consumer) -> None:
        async for message in consumer:
            self.bodies.add(message.body)
            message.finish()
            if message.body in self._waiting:
                self._waiting[message.body].set()

    async def wait_for(self, body: bytes) -> None:
        if body not in self.bodies:
            event = self._waiting[body] = asyncio.Event()
            await event.wait()
            del self._waiting[body]


class Writer:
    """Publishes to one node, one message after another, each until it is acknowledged."""

    def __init__(self, node: Nsqd, receipts: Iterable[Receipts]) -> None:
        self.node = node
        self.acknowledged: list[bytes] = []
        self.slowest_s = 0.0  # round since ``forgive``
        self._receipts = list(receipts)
        self._round_done = asyncio.Condition()

    async def run(self) -> None:
        async with Producer(self.node.tcp_address) as producer:
            while True:
                await self._round(producer)
                await asyncio.sleep(PAUSE_S)

    async def _round(self, producer: Producer) -> None:
        body = f"{self.node.name} {len(self.acknowledged)}".encode()
        began = time.monotonic()
        while not await self._publish(producer, body):
            pass
        self.acknowledged.append(body)
        for receipts in self._receipts:
            await receipts.wait_for(body)
        async with self._round_done:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self._round_done.notify_all()

    async def _publish(self, producer: Producer, body: bytes) -> bool:
        try:
            await producer.publish(TOPIC, body)
        except NsqError:  # nobody knows whether it was accepted: it may come twice
            await asyncio.sleep(PAUSE_S)
            return False
        return True

    async def progress(self) -> None:
        """Wait until some more rounds are done."""
        goal = len(self.acknowledged) + ROUNDS
        try:
            async with asyncio.timeout(PATIENCE_S), self._round_done:
                await self._round_done.wait_for(lambda: len(self.acknowledged) > goal)
        except TimeoutError:
            raise AssertionError(f"{self.node.name} is not consumed any more") from None

    def forgive(self) -> None:
        """Forget how long the rounds took while the node itself was away."""
        self.slowest_s = 0.0


class Running:
    """The cluster at work."""

    def __init__(self, lookupds: list[Lookupd], nodes: list[Nsqd]) -> None:
        self.lookupds = lookupds
        self.nodes = nodes
        self.receipts = {channel: Receipts() for channel in CHANNELS}
        self.writers = [Writer(node, self.receipts.values()) for node in nodes]

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Consume and publish for the length of the block."""
        addresses = [lookupd.http_address for lookupd in self.lookupds]
        async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
            for channel, receipts in self.receipts.items():
                consumer = Consumer(TOPIC, channel, lookupd=addresses)
                await stack.enter_async_context(consumer)
                group.create_task(receipts.consume(consumer))
            writing = [group.create_task(writer.run()) for writer in self.writers]
            yield
            for task in writing:
                task.cancel()
            await asyncio.wait(writing)
            await self._wait_for_all()

    async def _wait_for_all(self) -> None:
        """Nothing that was acknowledged is lost."""
        bodies = [body for writer in self.writers for body in writer.acknowledged]
        for channel, receipts in self.receipts.items():
            try:
                async with asyncio.timeout(PATIENCE_S):
                    for body in bodies:
                        await receipts.wait_for(body)
            except TimeoutError:
                missing = sorted(set(bodies) - receipts.bodies)
                raise AssertionError(f"{channel} has not got {missing}") from None

    async def progress(self, *, without: Nsqd | None = None) -> None:
        """Wait until every node, but for one, was consumed for a while."""
        writers = [writer for writer in self.writers if writer.node is not without]
        await asyncio.gather(*(writer.progress() for writer in writers))

    def check_rounds(self, *, without: Nsqd | None = None) -> None:
        """No node stood still since the last check."""
        for writer in self.writers:
            assert writer.node is without or writer.slowest_s < STALL_S, writer.node.name
            writer.forgive()

    async def complete(self, lookupd: Lookupd) -> float:
        """Wait until a directory knows all there is; return how many seconds it took."""
        began = time.monotonic()

        async def is_complete() -> bool:
            return await self._is_complete(lookupd)

        await eventually(is_complete, f"{lookupd.name} knows everything")
        return time.monotonic() - began

    async def _is_complete(self, lookupd: Lookupd) -> bool:
        status, _ = await lookupd.get(f"/lookup?topic={TOPIC}")
        if status != 200:
            return False
        answer = await lookupd.get_json(f"/lookup?topic={TOPIC}")
        ports = {producer["tcp_port"] for producer in answer["producers"]}
        debug = await lookupd.get_json("/debug")
        return ports == {node.tcp_port for node in self.nodes} and all(
            len(debug.get(f"channel:{TOPIC}:{channel}", ())) == len(self.nodes)
            for channel in CHANNELS
        )


@pytest.fixture
async def running(cluster: Cluster) -> AsyncIterator[Running]:
    lookupds = [await cluster.lookupd() for _ in range(3)]
    nodes = [await cluster.nsqd(lookupds=lookupds) for _ in range(3)]
    for node in nodes:
        await node.post(f"/topic/create?topic={TOPIC}")
        for channel in CHANNELS:
            await node.post(f"/channel/create?topic={TOPIC}&channel={channel}")
    running = Running(lookupds, nodes)
    async with running.at_work():
        await running.progress()
        running.check_rounds()
        yield running
        await running.progress()


async def test_each_directory_dies_in_turn(running: Running) -> None:
    for lookupd in running.lookupds:
        await lookupd.kill()
        await running.progress()
        await lookupd.start()
        assert await running.complete(lookupd) < COMPLETE_S
        await running.progress()
    running.check_rounds()


async def test_each_node_dies_in_turn(running: Running) -> None:
    for node in running.nodes:
        await node.kill()
        await running.progress(without=node)
        running.check_rounds(without=node)
        await node.start()
        for lookupd in running.lookupds:
            assert await running.complete(lookupd) < COMPLETE_S
        await running.progress()
        running.check_rounds(without=node)


async def test_all_directories_die_together(running: Running) -> None:
    await asyncio.gather(*(lookupd.kill() for lookupd in running.lookupds))
    await running.progress()
    await asyncio.gather(*(lookupd.start() for lookupd in running.lookupds))
    took = await asyncio.gather(*map(running.complete, running.lookupds))
    assert max(took) < COMPLETE_S
    await running.progress()
    running.check_rounds()


async def test_node_dies_while_no_directory_lives(running: Running) -> None:
    await asyncio.gather(*(lookupd.kill() for lookupd in running.lookupds))
    node = running.nodes[0]
    await node.kill()
    await running.progress(without=node)
    running.check_rounds(without=node)
    await node.start()
    await running.progress()
    await asyncio.gather(*(lookupd.start() for lookupd in running.lookupds))
    took = await asyncio.gather(*map(running.complete, running.lookupds))
    assert max(took) < COMPLETE_S
    running.check_rounds(without=node)


async def test_directory_that_hangs_delays_nobody(running: Running) -> None:
    """It accepts connections and answers nothing: nobody is told that it is of no use."""
    lookupd = running.lookupds[0]
    lookupd.send_signal(signal.SIGSTOP)
    node = running.nodes[0]
    await node.kill()
    await running.progress(without=node)
    await node.start()
    await running.progress()
    lookupd.send_signal(signal.SIGCONT)
    assert await running.complete(lookupd) < COMPLETE_S
    running.check_rounds(without=node)
