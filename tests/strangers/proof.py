"""A cluster with real clients, while strangers do their worst: what it costs them."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nsqx.client import Consumer, Producer
from nsqx.client.settings import Settings
from tests.support.auth_server import running_auth_server
from tests.support.processes import Cluster, Daemon, running_cluster

__all__ = ["GROWN_KIB_MAX", "Clients", "Guarded", "running_guarded"]

TOPIC, CHANNEL = "orders", "billing"
SECRET = Settings(auth_secret="full")
# What 30 strangers may cost each daemon.
GROWN_KIB_MAX = 50 * 1024
SECONDS_MAX = 60.0
EVERY_S = 0.01  # each of the producers publishes
PRODUCERS = 4


@dataclass
class Clients:
    """
    Producers and a consumer that have the secret.

    Attributes:
        took_s: how long each publish took to be acknowledged.
    """

    published: set[bytes] = field(default_factory=set)
    received: set[bytes] = field(default_factory=set)
    took_s: list[float] = field(default_factory=list)

    async def produce(self, nsqd: str, number: int) -> None:
        async with Producer(nsqd, settings=SECRET) as producer:
            for count in range(1 << 30):
                body = b"%d-%d" % (number, count)
                began = time.perf_counter()
                await producer.publish(TOPIC, body, timeout=SECONDS_MAX)
                self.took_s.append(time.perf_counter() - began)
                self.published.add(body)
                await asyncio.sleep(EVERY_S)

    async def consume(self, lookupd: str) -> None:
        consumer = Consumer(TOPIC, CHANNEL, lookupd=lookupd, settings=SECRET, max_in_flight=100)
        async with consumer:
            async for message in consumer:
                self.received.add(message.body)
                message.finish()

    def p99_s(self, since: int = 0) -> float:
        """Of the publishes from one on."""
        took = sorted(self.took_s[since:])
        return took[len(took) * 99 // 100]

    async def until(self, count: int) -> None:
        """Return when so many publishes were acknowledged."""
        while len(self.took_s) < count:  # noqa: ASYNC110 - by others
            await asyncio.sleep(0.05)

    async def all_received(self) -> None:
        while not self.published <= self.received:  # noqa: ASYNC110 - by another connection
            await asyncio.sleep(0.05)


@dataclass
class Guarded:
    """The daemons. nsqd has an auth server; strangers have no secret."""

    cluster: Cluster
    ports: dict[str, int]
    clients: Clients
    working: list[asyncio.Task[None]]

    def resident_kib(self) -> dict[str, int]:
        """The memory of each daemon."""
        return {daemon.name: _resident_kib(daemon) for daemon in self.cluster.daemons}

    async def nothing_is_lost_or_locked_out(self) -> None:
        """
        Newcomers are served, and all that was acknowledged arrives.

        Raises:
            AssertionError: a client failed. TimeoutError: something does not arrive.
        """
        lookupd, nsqd, admin = self.cluster.daemons
        async with asyncio.timeout(SECONDS_MAX):
            async with Producer(nsqd.tcp_address, settings=SECRET) as newcomer:
                await newcomer.publish(TOPIC, b"newcomer", timeout=SECONDS_MAX)
            self.clients.published.add(b"newcomer")
            for daemon, path in (
                (nsqd, "/ping"),
                (lookupd, f"/lookup?topic={TOPIC}"),
                (admin, "/ping"),
            ):
                assert (await daemon.get(path))[0] == 200, daemon.name
            await self.clients.until(len(self.clients.took_s) + 100)
            for task in self.working:
                assert not task.done(), task
                task.cancel()
            await asyncio.gather(*self.working, return_exceptions=True)
            await self.clients.all_received()

    async def attack(
        self, seconds: float, only: str = "", *, is_idle: bool = False
    ) -> dict[str, int]:
        """
        Let them loose, and return how much each daemon grew meanwhile, in KiB.

        With ``is_idle`` they take no processor time from others, as if they had hosts of their own.
        """
        before, most = self.resident_kib(), self.resident_kib()
        ports = [f"{name}={port}" for name, port in self.ports.items()]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.strangers", "--seconds", str(seconds)),
            *("--only", only, *(["--idle"] if is_idle else []), *ports),
        )
        ended = asyncio.create_task(process.wait())
        while not ended.done():
            await asyncio.wait([ended], timeout=0.1)
            now = self.resident_kib()
            most = {name: max(most[name], now[name]) for name in now}
        assert ended.result() == 0
        return {name: most[name] - before[name] for name in most}


def _resident_kib(daemon: Daemon) -> int:
    text = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


@asynccontextmanager
async def running_guarded(folder: Path, *nsqd_flags: str) -> AsyncIterator[Guarded]:
    """A directory, a broker, a dashboard, and clients that work until the block ends."""
    async with running_auth_server() as auth, running_cluster(folder) as cluster:
        lookupd = await cluster.lookupd()
        nsqd = await cluster.nsqd(
            f"--auth-http-address={auth.url}", *nsqd_flags, lookupds=[lookupd]
        )
        admin = await cluster.admin(lookupds=[lookupd])
        clients = Clients()
        working = [
            asyncio.create_task(clients.produce(nsqd.tcp_address, number))
            for number in range(PRODUCERS)
        ]
        consuming = asyncio.create_task(clients.consume(lookupd.http_address))
        ports = {
            "nsqd": nsqd.tcp_port,
            "nsqd-http": nsqd.http_port,
            "lookupd": lookupd.tcp_port,
            "lookupd-http": lookupd.http_port,
            "admin": admin.http_port,
        }
        while not clients.received:  # noqa: ASYNC110 - by another connection
            await asyncio.sleep(0.05)
        try:
            yield Guarded(cluster, ports, clients, working)
        finally:
            for task in (*working, consuming):
                task.cancel()
            await asyncio.gather(*working, consuming, return_exceptions=True)
