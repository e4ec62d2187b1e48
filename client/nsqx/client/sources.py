"""
The nsqds of a consumer: those it was told, those that names stand for, those that lookupds name.

Each has a ``Link`` from the moment it is known. It is forgotten when nobody names it any more and
it has been lost for long: as long as a connection works, what lookupds say does not matter.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from nsqx.client.addresses import Address, lookup_url, parse_addresses
from nsqx.client.connection import Listener
from nsqx.client.discovery import INTERVAL_SECONDS, JITTER, Discovery
from nsqx.client.errors import ConnectFailed
from nsqx.client.link import Link
from nsqx.client.lookup import TIMEOUT_SECONDS
from nsqx.client.lookupds import LookupdFinder
from nsqx.client.resolver import Resolver, is_name
from nsqx.client.settings import Settings

__all__ = ["FORGET_SECONDS", "Patience", "Sources"]

# An nsqd that was started again is tried sooner than lookupds that are polled name it again.
FORGET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How often nsqds are looked for, and how long lost ones are tried.

    Attributes:
        poll_interval, forget_after: seconds.
        poll_jitter: what share of the interval is left to chance.
        poll_timeout: seconds that a poll may take.
    """

    poll_interval: float = INTERVAL_SECONDS
    poll_jitter: float = JITTER
    poll_timeout: float = TIMEOUT_SECONDS
    forget_after: float = FORGET_SECONDS


class Sources:
    """Where the messages of one topic are."""

    def __init__(
        self,
        topic: str,
        nsqd: str | Iterable[str],
        lookupd: str | Iterable[str],
        finder: LookupdFinder | None,
        settings: Settings,
        patience: Patience,
    ) -> None:
        """
        Nothing is asked yet.

        Raises:
            ValueError: an address is wrong, or there is none.
        """
        self.links: dict[Address, Link] = {}
        self.resolver: Resolver | None = None
        self._topic = topic
        self._nsqd = parse_addresses(nsqd)
        self._lookupd = [lookupd] if isinstance(lookupd, str) else list(lookupd)
        self._finder = finder
        self._settings = settings
        self._patience = patience
        if not self._nsqd and not self._lookupd and finder is None:
            raise ValueError("a consumer needs the address of an nsqd or a lookupd")
        for address in self._lookupd:
            lookup_url(address, topic)  # ValueError here, and not in a task later
        self._forgotten: dict[Address, float] = {}  # by lookupds, and lost: since when (loop time)
        self._resolved: dict[Address, set[Address]] = {}  # names, and the nsqds they stand for
        self._discovery: Discovery | None = None
        self._stop_finding: Callable[[], None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()  # of links that were given up

    def open(
        self, subscribe: Callable[[Address], Listener], connected: Callable[[], set[Address]]
    ) -> None:
        """
        Begin to look for nsqds, and to connect.

        Args:
            subscribe: makes the listener of a connection.
            connected: returns which nsqds are connected now.
        """
        self._subscribe, self._connected = subscribe, connected
        for address in self._nsqd:
            if not is_name(address):
                self._add(address)
        if names := [address for address in self._nsqd if is_name(address)]:
            self.resolver = Resolver(names, self._resolve, self._patience.poll_interval)
        if self._lookupd or self._finder is not None:
            self._discovery = self._discover()
            if self._finder is not None:
                self._stop_finding = self._finder.subscribe(self._discovery.found_lookupds)

    def _discover(self) -> Discovery:
        # Whoever shares the network may be found: those are not shown a secret.
        token = self._settings.lookup_token() if self._finder is None else None
        return Discovery(
            self._lookupd,
            self._topic,
            self._found,
            self._patience.poll_interval,
            self._appeared,
            jitter=self._patience.poll_jitter,
            timeout=self._patience.poll_timeout,
            token=token,
            is_token_clear=not self._settings.tls,
            tls=self._settings.lookupd_context(),
        )

    async def ready(self) -> None:
        """
        Wait until every nsqd that was given by address was tried once.

        Raises:
            ConnectFailed: one of them could not be reached; it is tried on.
        """
        if self.resolver is not None:
            await self._first_names(self.resolver)
        for address in self.given():
            await self.links[address].first_try()

    async def _first_names(self, resolver: Resolver) -> None:
        seconds = self._settings.connect_timeout
        try:
            async with asyncio.timeout(seconds):
                await resolver.first_try()
        except TimeoutError:
            names = ", ".join(map(str, resolver.names))
            raise ConnectFailed(names, f"no answer from DNS within {seconds:g} s") from None

    def hurry(self) -> None:
        """Ask lookupds now: an nsqd was lost."""
        if self._discovery is not None:
            self._discovery.hurry()

    def stop(self) -> list[asyncio.Task[None]]:
        """Look for none, and connect no more. Returns tasks to be waited for."""
        if self._stop_finding is not None:
            self._stop_finding()
        tasks = [*self._stopping, *[link.stop() for link in self.links.values()]]
        if self.resolver is not None:
            tasks.append(self.resolver.stop())
        if self._discovery is not None:
            tasks.append(self._discovery.stop())
        return tasks

    def given(self) -> set[Address]:
        """Return the nsqds that the user named."""
        return set(self._nsqd).difference(self._resolved).union(*self._resolved.values())

    def _add(self, address: Address, server_name: str | None = None) -> None:
        settings = self._settings
        if settings.tls and settings.tls_server_name is None and server_name is not None:
            settings = replace(settings, tls_server_name=server_name)
        self.links[address] = Link(address, settings, lambda: self._subscribe(address))

    def _resolve(self, name: Address, addresses: set[Address]) -> None:
        """Take note of which nsqds a name stands for."""
        self._resolved[name] = addresses
        for address in addresses - self.links.keys():
            self._add(address, name.host)
        if self._discovery is None:  # else its next poll does that
            self._forget(self.links.keys() - self.given())

    def _found(self, addresses: set[Address], is_complete: bool) -> None:
        """Take note of where lookupds say nsqds are."""
        for address in addresses - self.links.keys():
            self._add(address)
        if is_complete:
            self._forget(self.links.keys() - addresses - self.given())

    def _appeared(self, addresses: set[Address]) -> None:
        """Whoever waits longer and longer between attempts at one of these need not wait now."""
        for address in addresses & self.links.keys():
            self.links[address].hurry()

    def _forget(self, unnamed: set[Address]) -> None:
        """Give up those that nobody names and that have been lost for long."""
        lost = unnamed - self._connected()
        now = asyncio.get_running_loop().time()
        self._forgotten = {address: self._forgotten.get(address, now) for address in lost}
        for address, since in list(self._forgotten.items()):
            if now - since >= self._patience.forget_after:
                del self._forgotten[address]
                stopping = self.links.pop(address).stop()
                self._stopping.add(stopping)
                stopping.add_done_callback(self._stopping.discard)
