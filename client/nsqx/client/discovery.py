"""Finds the nsqds of a topic, by asking lookupds again and again, and by watching them."""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from nsqx.client.addresses import Address, lookup_url
from nsqx.client.errors import LookupFailed
from nsqx.client.lookup import TIMEOUT_SECONDS, lookup, make_session, parse_lookup
from nsqx.client.lookupds import FoundLookupd, LookupdUrls
from nsqx.client.tasks import start
from nsqx.client.watch import watch, watch_url

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["Discovery", "jittered", "parse_lookup"]

_log = logging.getLogger("nsqx.client")

INTERVAL_SECONDS = 15.0
JITTER = 0.3
# While nothing is found there is nothing else to do, and the topic may appear at any moment.
EAGER_SECONDS = 1.0

Found = Callable[[set[Address], bool], None]
Appeared = Callable[[set[Address]], None]


def _ignore(addresses: set[Address]) -> None:
    """Nobody wants to know."""


class Discovery:
    """
    The task that polls.

    Each poll asks all lookupds at once, so that one that is dead or slow delays nothing but the
    next poll. ``found`` is called with the addresses that any of them named, and with whether all
    of them answered; before, with those of each, as the answers come. Lookupds that can tell of
    changes are watched besides.

    ``appeared`` is called before, with those that a lookupd names and did not name just before:
    an nsqd that was started again, for example.
    """

    def __init__(
        self,
        lookupd: Iterable[str],
        topic: str,
        found: Found,
        interval: float = INTERVAL_SECONDS,
        appeared: Appeared = _ignore,
        *,
        jitter: float = JITTER,
        timeout: float = TIMEOUT_SECONDS,
        token: bytes | None = None,
        is_token_clear: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """
        Begin to poll.

        Args:
            lookupd, topic, found, interval, appeared: as above.
            jitter: what share of the interval is left to chance, half of it less and half more.
            timeout: seconds that a poll may take.
            token: is shown to lookupds, or rather to a proxy before them.
            is_token_clear: whether also to those that are not asked by HTTPS.
            tls: see `make_session`.
        """
        self._urls = LookupdUrls(lookupd, partial(lookup_url, topic=topic))
        self._targets: dict[str, str] = {}  # URLs that are asked now, see `LookupdUrls.resolve`
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._found = found
        self._appeared = appeared
        self._interval = interval
        self._jitter = jitter
        self._timeout = timeout
        self._token = token
        self._is_token_clear = is_token_clear
        self._tls = tls
        self._named: dict[str, set[Address]] = {}  # by the URL that named them last
        self._failing: set[str] = set()  # URLs, so that each outage is logged once
        self._awake = asyncio.Event()
        self._sessions: tuple[ClientSession, ClientSession]  # for HTTPS, and for others
        self._task = start(self._run(), f"nsqx discovery of {topic}")

    def hurry(self) -> None:
        """Poll now."""
        self._awake.set()

    def found_lookupds(self, lookupds: Sequence[FoundLookupd]) -> None:
        """Ask these too, from now on, instead of those found before."""
        self._urls.found(lookupds)
        self.hurry()

    def stop(self) -> asyncio.Task[None]:
        """Poll no more. Returns the task, to be waited for."""
        self._task.cancel()
        return self._task

    async def _run(self) -> None:
        headers = {"Accept": "application/vnd.nsq; version=1.0"}
        shown = dict(headers)
        if self._token is not None:
            shown["Authorization"] = f"Bearer {self._token.decode()}"
        async with (
            make_session(headers, self._tls) as without,
            make_session(shown, self._tls) as session,
        ):
            self._sessions = (session, session if self._is_token_clear else without)
            try:
                while True:
                    self._awake.clear()
                    self._targets = await self._urls.resolve(self._timeout)
                    self._watch_all()
                    await self._poll()
            finally:
                watches = self._watches.values()
                for task in watches:
                    task.cancel()
                await asyncio.gather(*watches, return_exceptions=True)

    def _session_for(self, url: str) -> "ClientSession":
        encrypted, clear = self._sessions
        return encrypted if url.startswith("https:") else clear

    async def _poll(self) -> None:
        targets = self._targets
        answers = await asyncio.gather(*(self._ask(url) for url in targets))
        addresses = {address for answer in answers for address in answer or ()}
        self._found(addresses, bool(targets) and None not in answers)
        await self._pause(eagerly=bool(targets) and not addresses)

    def _watch_all(self) -> None:
        for url in self._watches.keys() - self._targets.keys():
            self._watches.pop(url).cancel()
        for url, host in self._targets.items():
            if url not in self._watches and (watched := watch_url(url)) is not None:
                found = partial(self._watched, url)
                work = watch(self._session_for(url), watched, found, host)
                self._watches[url] = start(work, f"nsqx watch of {url}")

    def _watched(self, url: str, addresses: set[Address]) -> None:
        self._note(url, addresses)
        self._found(addresses, False)

    def _note(self, url: str, addresses: set[Address]) -> None:
        if new := addresses - self._named.get(url, set()):
            self._appeared(new)
        self._named[url] = addresses

    async def _ask(self, url: str) -> set[Address] | None:
        session, host = self._session_for(url), self._targets.get(url, "")
        try:
            addresses, _ = await lookup(session, url, self._timeout, host)
        except LookupFailed as exc:
            if url not in self._failing:
                _log.warning("%s", exc)
            self._failing.add(url)
            self._named.pop(url, None)
            return None
        self._failing.discard(url)
        self._note(url, addresses)
        if len(self._targets) > 1:
            self._found(addresses, False)  # who waits need not wait for the others, which may hang
        return addresses

    async def _pause(self, *, eagerly: bool) -> None:
        seconds = min(self._interval, EAGER_SECONDS) if eagerly else self._interval
        try:
            async with asyncio.timeout(jittered(seconds, self._jitter, random.random())):
                await self._awake.wait()
        except TimeoutError:
            pass


def jittered(seconds: float, share: float, chance: float) -> float:
    """Return seconds, more or less by up to half of ``share``; ``chance`` is from 0 to 1."""
    return seconds * (1 + share * (chance - 0.5))
