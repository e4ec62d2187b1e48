"""
The nsqds that one may publish to: those named by the user, or all that lookupds know.

Theory of operation. A ``Producer`` has a fixed list of nsqds. When lookupds name other nsqds than
before, a new producer takes over; the old one is closed when the last of its users is gone, so a
publish never meets a closed one. Lookupds are asked again and again, and at once when a publish has
failed. An nsqd that has gone is kept while no lookupd answers: an old list is better than none.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from nsqx.client.addresses import nodes_url
from nsqx.client.errors import LookupFailed
from nsqx.client.lookup import lookup
from nsqx.client.producer import Producer

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["Nodes"]

_log = logging.getLogger("nsqx.client")

INTERVAL_SECONDS = 15.0
EAGER_SECONDS = 1.0  # while there is none

MakeProducer = Callable[[Sequence[str]], Producer]


class _Lease:
    """A producer and how many use it now."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self.users = 0
        self.is_retired = False


class Nodes:
    """Lends the producer for the present nsqds."""

    def __init__(
        self, make_producer: MakeProducer, nsqd: Sequence[str], lookupd: Sequence[str]
    ) -> None:
        """``lookupd`` matters only without ``nsqd``."""
        self._make_producer = make_producer
        self._nsqd = list(nsqd)
        self._urls = [] if nsqd else [nodes_url(address) for address in lookupd]
        self._names: set[str] = set()
        self._current: _Lease | None = None
        self._found = asyncio.Event()
        self._awake = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._polling: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[Producer]:
        """Lend a producer; waits while no nsqd is known."""
        if self._current is None:
            await self._find()
        lease = self._current
        assert lease is not None, "there is a producer once nsqds were found"
        lease.users += 1
        try:
            yield lease.producer
        except Exception:
            self._awake.set()
            raise
        finally:
            lease.users -= 1
            if lease.is_retired and not lease.users:
                self._close_soon(lease.producer)

    async def close(self) -> None:
        """Confirm what is under way, and disconnect."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait((self._polling,))
        if self._current is not None:
            self._close_soon(self._current.producer)
            self._current = None
        while self._closing:
            await asyncio.wait(self._closing)

    async def _find(self) -> None:
        if self._nsqd:
            await self._use(set(self._nsqd))
        elif self._polling is None:
            # Only who publishes needs to know all nsqds.
            self._polling = asyncio.create_task(self._poll(), name="nsqx search for nsqds")
        await self._found.wait()

    async def _use(self, names: set[str]) -> None:
        if not names or names == self._names:
            return
        self._names = names
        before = self._current
        producer = self._make_producer(self._nsqd or sorted(names))
        await producer.__aenter__()
        self._current = _Lease(producer)
        self._found.set()
        if before is not None:
            before.is_retired = True
            if not before.users:
                self._close_soon(before.producer)

    def _close_soon(self, producer: Producer) -> None:
        task = asyncio.create_task(producer.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _poll(self) -> None:
        import aiohttp  # see discovery.py

        async with aiohttp.ClientSession() as session:
            while True:
                self._awake.clear()
                await self._use(await self._ask_all(session))
                seconds = INTERVAL_SECONDS if self._names else EAGER_SECONDS
                try:
                    async with asyncio.timeout(seconds):
                        await self._awake.wait()
                except TimeoutError:
                    pass
                else:
                    await asyncio.sleep(EAGER_SECONDS)  # failures may come by the thousand

    async def _ask_all(self, session: "ClientSession") -> set[str]:
        """Return all nsqds; only if every lookupd answered without those we knew before."""
        answers = await asyncio.gather(*(self._ask(session, url) for url in self._urls))
        names = {name for answer in answers for name in answer or ()}
        return names | self._names if None in answers else names

    async def _ask(self, session: "ClientSession", url: str) -> set[str] | None:
        try:
            answer = await lookup(session, url)
        except LookupFailed as exc:
            _log.warning("%s", exc)
            return None
        return {str(address) for address in answer.addresses}
