"""
A cluster over three hosts, started by the scripts of deploy/start, while the network fails.

Each host runs an nsqd, two of them an nsqlookupd. Nothing that was acknowledged may be lost, and
what was cut off must be consumed again as soon as it is back.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.hosts import Host, Switch, switched_hosts

ROOT = Path(__file__).parents[2]
TRAFFIC = Path(__file__).with_name("traffic.py")
WAIT_S = 60.0
SOME = 100  # messages of one node: what tells that it is in use
DIRECTORIES = 2


class Traffic:
    """A producer or a consumer, and what it has told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.bodies: list[str] = []
        self._process = process
        self._changed = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._changed:
                self.bodies.append(line.decode().strip())
                self._changed.notify_all()

    def count(self, host: Host) -> int:
        """How many messages of one node there were."""
        return sum(body.startswith(f"{host.address}:") for body in self.bodies)

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(check)

    async def some_more(self, *hosts: Host) -> None:
        """Wait until there were some more of each of these nodes."""
        wanted = {host: self.count(host) + SOME for host in hosts}
        await self.until(lambda: all(self.count(host) >= n for host, n in wanted.items()))

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(WAIT_S):
            await self._process.wait()
            await self._reader

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader


class ClusterOnHosts:
    """The daemons of all hosts, and the traffic between them."""

    def __init__(self, switch: Switch, folder: Path) -> None:
        self.switch = switch
        self.folder = folder
        self._traffic: list[Traffic] = []
        self._started: list[tuple[Host, str]] = []

    async def start(self, host: Host, name: str, program: str, *flags: str) -> None:
        await self._script(host, "start.sh", name, program, *flags)
        self._started.append((host, name))

    async def start_all(self) -> None:
        hosts = self.switch.hosts
        directories = hosts[:DIRECTORIES]
        for host in directories:
            await self.start(host, "nsqlookupd", "nsqlookupd")
        known = [f"--lookupd-tcp-address={host.address}:4160" for host in directories]
        for host in hosts:
            own = f"--broadcast-address={host.address}"
            await self.start(host, "nsqd", "nsqd", own, "--msg-timeout=3s", *known)

    async def traffic(self, host: Host, *arguments: str) -> Traffic:
        process = await asyncio.create_subprocess_exec(
            *host.command(sys.executable, str(TRAFFIC), *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        traffic = Traffic(process)
        self._traffic.append(traffic)
        return traffic

    async def close(self) -> None:
        for traffic in self._traffic:
            await traffic.kill()
        for host, name in reversed(self._started):
            await self._script(host, "stop.sh", name, "30")

    async def _script(self, host: Host, script: str, *arguments: str) -> None:
        run = self.folder / host.namespace
        environment = {
            **os.environ,
            "NSQX_RUN": str(run / "run"),
            "NSQX_DATA": str(run / "data"),
            "NSQX_BIN": str(Path(sys.executable).parent),
        }
        process = await asyncio.create_subprocess_exec(
            *host.command(str(ROOT / "deploy" / "start" / script), *arguments),
            env=environment,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(WAIT_S):
            _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[ClusterOnHosts]:
    with switched_hosts(3) as switch:
        cluster = ClusterOnHosts(switch, folder)
        try:
            yield cluster
        finally:
            await cluster.close()


@pytest_asyncio.fixture
async def hosted(tmp_path: Path) -> AsyncIterator[ClusterOnHosts]:
    async with running(tmp_path) as cluster:
        await cluster.start_all()
        yield cluster


@pytest.mark.timeout(300)
async def test_nothing_acknowledged_is_lost_by_a_cut_cable_and_lost_packets(
    hosted: ClusterOnHosts,
) -> None:
    switch = hosted.switch
    one, two, three = switch.hosts
    nodes = [f"{host.address}:4150" for host in switch.hosts]
    lookupds = [f"{host.address}:4161" for host in switch.hosts[:DIRECTORIES]]
    producer = await hosted.traffic(one, "publish", *nodes)
    consumer = await hosted.traffic(two, "consume", *lookupds)
    await consumer.some_more(one, two, three)

    with switch.cut(three):
        await consumer.some_more(one, two)  # the others go on
    await consumer.some_more(one, two, three)

    with switch.cut(two):  # the consumer's host, with a directory
        await producer.some_more(one, three)
    await consumer.some_more(one, two, three)

    with switch.lossy(two):
        while not switch.lost_packets(two):
            await consumer.some_more(one, three)
        await consumer.some_more(one, three)
    await consumer.some_more(one, two, three)

    await producer.end()
    acknowledged = set(producer.bodies)
    await consumer.until(lambda: acknowledged <= set(consumer.bodies))
    assert len(acknowledged) > 10 * SOME
