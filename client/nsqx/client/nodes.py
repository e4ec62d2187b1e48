"""
The nsqds that one may publish to: those named by the user, or all that lookupds know.

Theory of operation. A ``Producer`` has a fixed list of nsqds. When lookupds name other nsqds than
before, a new producer takes over; the old one is closed when the last of its users is gone, so a
publish never meets a closed one. Lookupds are asked again and again, and at once when a publish has
failed. An nsqd that has gone is kept while no lookupd answers: an old list is better than none.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from nsqx.client.addresses import nodes_url
from nsqx.client.errors import LookupFailed
from nsqx.client.lookup import TIMEOUT_SECONDS, lookup
from nsqx.client.lookupds import FoundLookupd, LookupdFinder, LookupdUrls
from nsqx.client.producer import Producer

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["Lease", "Nodes"]

_log = logging.getLogger("nsqx.client")

INTERVAL_SECONDS = 15.0
EAGER_SECONDS = 1.0  # while there is none

MakeProducer = Callable[[Sequence[str]], Producer]


class Lease:
    """A producer that is not closed within ``with``."""

    __slots__ = ("_nodes", "_producer", "_users", "is_retired")

    def __init__(self, nodes: "Nodes", producer: Producer) -> None:
        self._nodes = nodes
        self._producer = producer
        self._users = 0
        self.is_retired = False

    def __enter__(self) -> Producer:
        self._users += 1
        return self._producer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._users -= 1
        if isinstance(error, Exception):
            self._nodes.hurry()
        if self.is_retired:
            self.close_if_unused()

    def close_if_unused(self) -> None:
        """Close the producer, now or when its last user has gone."""
        self.is_retired = True
        if not self._users:
            self._nodes.close_soon(self._producer)


class Nodes:
    """Lends the producer of the present nsqds."""

    def __init__(
        self,
        make_producer: MakeProducer,
        nsqd: Sequence[str],
        lookupd: Sequence[str],
        finder: LookupdFinder | None = None,
    ) -> None:
        """``lookupd``, and the ``finder`` of further ones, matter only without ``nsqd``."""
        self._make_producer = make_producer
        self._nsqd = list(nsqd)
        self._urls = LookupdUrls(() if nsqd else lookupd, nodes_url)
        self._finder = finder
        self._stop_finding: Callable[[], None] | None = None
        self._names: set[str] = set()
        self.current: Lease | None = None  # None: no nsqd is known yet
        self._found = asyncio.Event()
        self._awake = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._polling: asyncio.Task[None] | None = None

    async def find(self) -> Lease:
        """Return the producer's lease; waits while no nsqd is known."""
        while self.current is None:
            if self._nsqd:
                await self._use(set(self._nsqd))
            else:
                if self._polling is None:
                    # Only who publishes needs to know all nsqds.
                    if self._finder is not None:
                        self._stop_finding = self._finder.subscribe(self._found_lookupds)
                    polling = asyncio.create_task(self._poll(), name="nsqx search for nsqds")
                    self._polling = polling
                await self._found.wait()
        return self.current

    def _found_lookupds(self, lookupds: Sequence[FoundLookupd]) -> None:
        self._urls.found(lookupds)
        self.hurry()

    def hurry(self) -> None:
        """Ask lookupds now."""
        self._awake.set()

    async def close(self) -> None:
        """Confirm what is under way, and disconnect."""
        if self._stop_finding is not None:
            self._stop_finding()
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait((self._polling,))
        if self.current is not None:
            self.current.close_if_unused()
            self.current = None
        while self._closing:
            await asyncio.wait(self._closing)

    async def _use(self, names: set[str]) -> None:
        if not names or names == self._names:
            return
        self._names = names
        producer = self._make_producer(self._nsqd or sorted(names))
        await producer.__aenter__()
        before, self.current = self.current, Lease(self, producer)
        self._found.set()
        if before is not None:
            before.close_if_unused()

    def close_soon(self, producer: Producer) -> None:
        """Close a producer that nobody uses any more."""
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
                    if self._names:
                        await asyncio.sleep(EAGER_SECONDS)  # failures may come by the thousand

    async def _ask_all(self, session: "ClientSession") -> set[str]:
        """Return all nsqds; only if every lookupd answered without those we knew before."""
        targets = await self._urls.resolve(TIMEOUT_SECONDS)
        asking = [self._ask(session, url, host) for url, host in targets.items()]
        answers = await asyncio.gather(*asking)
        names = {name for answer in answers for name in answer or ()}
        return names | self._names if None in answers else names

    async def _ask(self, session: "ClientSession", url: str, host: str) -> set[str] | None:
        try:
            answer = await lookup(session, url, host=host)
        except LookupFailed as exc:
            _log.warning("%s", exc)
            return None
        return {str(address) for address in answer.addresses}
