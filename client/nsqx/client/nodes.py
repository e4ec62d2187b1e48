"""
The nsqds that one may publish to: those named by the user, or all that lookupds know.

Theory of operation. A ``Producer`` has a fixed list of nsqds. When lookupds name other nsqds than
before, a new producer takes over; the old one is closed when the last of its users is gone, so a
publish never meets a closed one. Lookupds are asked again and again, and at once when a publish has
failed. An nsqd that has gone is kept while no lookupd answers: an old list is better than none.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from nsqx.client.addresses import nodes_url
from nsqx.client.errors import ClientClosed, LookupFailed
from nsqx.client.lookup import TIMEOUT_SECONDS, lookup, make_session, parse_nodes
from nsqx.client.lookupds import FoundLookupd, LookupdFinder, LookupdUrls
from nsqx.client.producer import CLOSE_TIMEOUT_SECONDS, Producer
from nsqx.client.tasks import start

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["Lease", "Nodes"]

_log = logging.getLogger("nsqx.client")

INTERVAL_SECONDS = 15.0
EAGER_SECONDS = 1.0  # while there is none
TOGETHER_SECONDS = 0.05  # between the first answer and the others, before it is used without them

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
        self._nodes.users += 1
        return self._producer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._users -= 1
        nodes = self._nodes
        nodes.users -= 1
        if not nodes.users:
            nodes.idle.set()
        if isinstance(error, Exception):
            nodes.hurry()
        if self.is_retired and not self._nodes.is_closed:
            self.close_if_unused()

    def close(self) -> None:
        """Close the producer now, whoever uses it."""
        self.is_retired = True
        self._nodes.close_soon(self._producer, 0)

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
        close_timeout: float = CLOSE_TIMEOUT_SECONDS,
        interval: float = INTERVAL_SECONDS,
        eager_interval: float = EAGER_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """
        ``lookupd``, and the ``finder`` of further ones, matter only without ``nsqd``.

        They are asked each ``interval`` seconds, and each ``eager_interval`` while they know none;
        ``tls`` is for HTTPS (see `make_session`).
        """
        self._make_producer = make_producer
        self._nsqd = list(nsqd)
        self._urls = LookupdUrls(() if nsqd else lookupd, nodes_url)
        self._finder = finder
        self._close_timeout = close_timeout
        self._interval, self._eager_interval = interval, eager_interval
        self._tls = tls
        self._stop_finding: Callable[[], None] | None = None
        self._names: set[str] = set()
        self.current: Lease | None = None  # None: no nsqd is known yet
        self.last_error: LookupFailed | None = None  # unless all have answered since
        self.users = 0  # who publishes, or waits for that
        self.idle = asyncio.Event()  # set when there is none any more; only kept up during close
        self.is_closed = False
        self._found = asyncio.Event()
        self._awake = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._polling: asyncio.Task[None] | None = None

    async def find(self) -> Lease:
        """
        Return the producer's lease; waits while no nsqd is known.

        Raises:
            ClientClosed: it was closed meanwhile.
        """
        self.users += 1
        try:
            while self.current is None:
                await self._search()
            return self.current
        finally:
            self.users -= 1
            if not self.users:
                self.idle.set()

    async def _search(self) -> None:
        if self.is_closed:
            raise ClientClosed("this Nsq was closed")
        if self._nsqd:
            await self._use(set(self._nsqd))
            return
        if self._polling is None:
            # Only who publishes needs to know all nsqds.
            if self._finder is not None:
                self._stop_finding = self._finder.subscribe(self._found_lookupds)
            self._polling = start(self._poll(), "nsqx search for nsqds")
            self._polling.add_done_callback(lambda task: self._found.set())
        elif self._polling.done():
            raise ClientClosed("the search for nsqds has ended")
        await self._found.wait()

    def _found_lookupds(self, lookupds: Sequence[FoundLookupd]) -> None:
        self._urls.found(lookupds)
        self.hurry()

    def hurry(self) -> None:
        """Ask lookupds now."""
        self._awake.set()

    async def close(self) -> None:
        """
        Wait for what is being published, for ``close_timeout`` at most, and disconnect.

        If this is cancelled, all of that comes to its end by itself.
        """
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._close_timeout):
                    while self.users:  # who has found an nsqd begins to publish only then
                        self.idle.clear()
                        await self.idle.wait()
        finally:
            self.is_closed = True
            self._found.set()
            if self._stop_finding is not None:
                self._stop_finding()
            if self._polling is not None:
                self._polling.cancel()
            if self.current is not None:
                self.current.close()
                self.current = None
        if self._polling is not None:
            await asyncio.wait((self._polling,))
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

    def close_soon(self, producer: Producer, seconds: float | None = None) -> None:
        """Close a producer, and let it wait for so many seconds for what it publishes."""
        task = asyncio.create_task(producer.close(seconds))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _poll(self) -> None:
        async with make_session(tls=self._tls) as session:
            while True:
                self._awake.clear()
                await self._ask_all(session)
                seconds = self._interval if self._names else self._eager_interval
                try:
                    async with asyncio.timeout(seconds):
                        await self._awake.wait()
                except TimeoutError:
                    pass
                else:
                    if self._names:
                        # Failures may come by the thousand.
                        await asyncio.sleep(self._eager_interval)

    async def _ask_all(self, session: "ClientSession") -> None:
        """Use all nsqds that are named; those known before, too, unless every lookupd answers."""
        targets = await self._urls.resolve(TIMEOUT_SECONDS)
        asking = {
            asyncio.create_task(self._ask(session, url, host)) for url, host in targets.items()
        }
        named: set[str] = set()
        left, is_complete = asking, True
        try:
            while left:
                _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                if left:  # mostly they answer together; but one may hang
                    _, left = await asyncio.wait(left, timeout=TOGETHER_SECONDS)
                for task in [task for task in asking if task.done()]:
                    asking.discard(task)
                    names = task.result()
                    named |= names or set()
                    is_complete = is_complete and names is not None
                await self._use(named if is_complete and not left else named | self._names)
            if is_complete:
                self.last_error = None  # not before: who is asked now may never answer
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(self, session: "ClientSession", url: str, host: str) -> set[str] | None:
        try:
            answer = await lookup(session, url, host=host, parse=parse_nodes)
        except LookupFailed as exc:
            _log.warning("%s", exc)
            self.last_error = exc
            return None
        return {str(address) for address in answer.addresses}
