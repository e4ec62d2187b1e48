"""
Three brokers, two directories, bad networks: they are killed, stopped, cut off, one at a time.

    async with troubled_cluster(cluster) as troubled:
        Nsq(lookupd=troubled.lookupds)
        async with troubled.trouble(seed=15):
            ...                                  # something is always wrong with one of them

Clients reach all of them through proxies, so that to be cut off is no courtesy of the daemon's: a
network that is gone passes nothing, for seconds, and what was on the way is lost then.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from tests.chaos.proxy import Proxy
from tests.support.processes import Cluster, Daemon, Nsqd

__all__ = ["TroubledCluster", "troubled_cluster"]

NODES = 3
LOOKUPDS = 2
CALM_SECONDS = 0.5  # between two troubles
TROUBLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Victim:
    """A daemon, and the only way to it for clients."""

    daemon: Daemon
    proxy: Proxy

    async def kill(self) -> None:
        await self.daemon.kill()
        await self.daemon.start()

    async def stop(self) -> None:
        self.daemon.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(TROUBLE_SECONDS)
        finally:
            self.daemon.send_signal(signal.SIGCONT)

    async def cut(self) -> None:
        """The network is gone for a while, and with it what was on the way."""
        self.proxy.stall(True)
        try:
            await asyncio.sleep(TROUBLE_SECONDS)
            self.proxy.cut()
        finally:
            self.proxy.stall(False)

    async def reset(self) -> None:
        """All connections break."""
        self.proxy.cut()


@dataclass(slots=True)
class TroubledCluster:
    """
    The daemons, and what they went through.

    Attributes:
        lookupds: addresses of the directories' HTTP, by way of their proxies.
        troubles: how often, by kind.
    """

    lookupds: list[str]
    victims: list[Victim]
    troubles: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def trouble(self, seed: int) -> AsyncIterator[None]:
        """Something is wrong with one of them, again and again."""
        task = asyncio.create_task(self._trouble(random.Random(seed)))
        try:
            yield
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            await asyncio.wait((task,))
            for victim in self.victims:
                if not victim.daemon.running:
                    await victim.daemon.start()

    async def _trouble(self, chance: random.Random) -> None:
        while True:
            await asyncio.sleep(CALM_SECONDS)
            victim = chance.choice(self.victims)
            kind = chance.choice((victim.kill, victim.stop, victim.cut, victim.reset))
            self.troubles[f"{kind.__name__} {type(victim.daemon).__name__}"] += 1
            await kind()


@asynccontextmanager
async def troubled_cluster(cluster: Cluster, *flags: str) -> AsyncIterator[TroubledCluster]:
    """Start the daemons; ``flags`` are for the brokers."""
    async with AsyncExitStack() as stack:

        async def proxy() -> Proxy:
            proxy = Proxy()
            await proxy.start()
            stack.push_async_callback(proxy.stop)
            return proxy

        victims, lookupds = [], []
        for _ in range(LOOKUPDS):
            lookupd = await cluster.lookupd()
            victims.append(Victim(lookupd, await proxy()))
            victims[-1].proxy.target_port = lookupd.http_port
            lookupds.append(lookupd)
        for _ in range(NODES):
            way = await proxy()
            node: Nsqd = await cluster.nsqd(
                f"--broadcast-tcp-port={way.port}", *flags, lookupds=lookupds
            )
            way.target_port = node.tcp_port
            victims.append(Victim(node, way))
        addresses = [f"127.0.0.1:{victim.proxy.port}" for victim in victims[:LOOKUPDS]]
        yield TroubledCluster(addresses, victims)
