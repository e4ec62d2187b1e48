"""
The lookupds to ask: those that the user named, and those that were found.

A name that has several addresses, such as that of a headless service in Kubernetes, stands for as
many lookupds. All of them are asked: one that has just started, or is cut off from some nodes, does
not know what the others know. Names are resolved again each time.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from urllib.parse import SplitResult, urlsplit, urlunsplit

from nsqx.client.addresses import Address
from nsqx.client.resolver import is_name, resolve

__all__ = ["FoundLookupd", "LookupdFinder", "LookupdUrls"]

_log = logging.getLogger("nsqx.client")

TOGETHER_SECONDS = 0.5  # between the first name and the others, before it is used without them

_DEFAULT_PORTS = {"http": 80, "https": 443}


class FoundLookupd(Protocol):
    """A lookupd that nobody named."""

    @property
    def http_address(self) -> str: ...


class LookupdFinder(Protocol):
    """Knows lookupds, such as those on the local network: ``nsqx.runtime.discovery.Finder``."""

    def subscribe(self, changed: Callable[[Sequence[FoundLookupd]], None]) -> Callable[[], None]:
        """Call ``changed`` now and after every change, until what is returned is called."""


class LookupdUrls:
    """Where to ask."""

    def __init__(self, given: Iterable[str], make_url: Callable[[str], str]) -> None:
        """
        Take the addresses that the user named.

        Args:
            given: as the user wrote them.
            make_url: makes an address the URL to ask.

        Raises:
            ValueError: an address is none.
        """
        self._make_url = make_url
        self._given = [make_url(address) for address in given]
        self._found: list[str] = []
        self._resolved: dict[str, dict[str, str]] = {}  # by URL: the last answer for its name

    def found(self, lookupds: Sequence[FoundLookupd]) -> None:
        """
        Ask these too, from now on, instead of those found before.

        What is no address is left out: it may come from anybody on the network.
        """
        self._found.clear()
        for lookupd in lookupds:
            try:
                self._found.append(self._make_url(lookupd.http_address))
            except ValueError as exc:
                _log.warning("a lookupd that was found is left out: %s", exc)

    async def resolve(self, seconds: float) -> dict[str, str]:
        """
        Return the URLs of all lookupds.

        Where a URL holds an address instead of a name, its value is the name with the port, as
        requests and certificates should have it; else it is empty.

        Args:
            seconds: for DNS, and less for those that are later than others. What cannot be
                resolved stays as it was the last time.
        """
        resolving = {url: asyncio.create_task(self._resolve(url, seconds)) for url in self._given}
        if resolving:
            tasks = resolving.values()
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait(tasks, timeout=TOGETHER_SECONDS)
            finally:
                for task in tasks:
                    task.cancel()  # the look-up itself goes on
        targets = dict.fromkeys(self._found, "")
        for url, task in resolving.items():
            targets |= task.result() if task.done() else self._resolved.get(url, {url: ""})
        return targets

    async def _resolve(self, url: str, seconds: float) -> dict[str, str]:
        parts = urlsplit(url)
        port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
        address = Address(parts.hostname or "", port)
        if not is_name(address):
            return {url: ""}
        try:
            addresses = await resolve(address, seconds)
        except OSError:  # TimeoutError is one
            return self._resolved.get(url, {url: ""})  # asking tells what is wrong
        alone = addresses == {address}
        found = {url: ""} if alone else {_at(parts, each): _host(parts) for each in addresses}
        self._resolved[url] = found
        return found


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _at(parts: SplitResult, address: Address) -> str:
    """Return the URL with an address in place of its host."""
    login = parts.netloc.removesuffix(_host(parts))
    return urlunsplit(parts._replace(netloc=f"{login}{address}"))
