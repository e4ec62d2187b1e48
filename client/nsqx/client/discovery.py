"""Finds the nsqds of a topic, by asking lookupds again and again (lookupd section 3)."""

import asyncio
import json
import logging
import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from nsqx.client.addresses import Address, lookup_url
from nsqx.client.errors import LookupFailed

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["Discovery", "parse_lookup"]

_log = logging.getLogger("nsqx.client")

INTERVAL_SECONDS = 15.0
JITTER = 0.3
TIMEOUT_SECONDS = 5.0
# While nothing is found there is nothing else to do, and the topic may appear at any moment.
EAGER_SECONDS = 1.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024

Found = Callable[[set[Address], bool], None]


class Discovery:
    """
    The task that polls.

    Each poll asks all lookupds at once, so that one that is dead or slow delays nothing but the
    next poll. ``found`` is called with the addresses that any of them named, and with whether all
    of them answered.
    """

    def __init__(
        self, lookupd: Iterable[str], topic: str, found: Found, interval: float = INTERVAL_SECONDS
    ) -> None:
        self._urls = list(dict.fromkeys(lookup_url(address, topic) for address in lookupd))
        self._found = found
        self._interval = interval
        self._failing: set[str] = set()  # URLs, so that each outage is logged once
        self._awake = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"nsqx discovery of {topic}")
        self._task.add_done_callback(_report_crash)

    def hurry(self) -> None:
        """Poll now."""
        self._awake.set()

    async def stop(self) -> None:
        """Poll no more."""
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _run(self) -> None:
        # Imported here: it takes longer than all of the client, and direct addresses need no HTTP.
        import aiohttp

        headers = {"Accept": "application/vnd.nsq; version=1.0"}
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            while True:
                self._awake.clear()
                answers = await asyncio.gather(*(self._ask(session, url) for url in self._urls))
                addresses = {address for answer in answers for address in answer or ()}
                self._found(addresses, None not in answers)
                await self._pause(eagerly=not addresses)

    async def _ask(self, session: "ClientSession", url: str) -> set[Address] | None:
        try:
            addresses = await _lookup(session, url)
        except LookupFailed as exc:
            if url not in self._failing:
                _log.warning("%s", exc)
            self._failing.add(url)
            return None
        self._failing.discard(url)
        return addresses

    async def _pause(self, *, eagerly: bool) -> None:
        seconds = min(self._interval, EAGER_SECONDS) if eagerly else self._interval
        try:
            async with asyncio.timeout(seconds * (1 + JITTER * (random.random() - 0.5))):
                await self._awake.wait()
        except TimeoutError:
            pass


async def _lookup(session: "ClientSession", url: str) -> set[Address]:
    """Ask one lookupd; LookupFailed if there is no sensible answer."""
    import aiohttp

    try:
        async with session.get(url) as response:
            if response.status == 404:  # TOPIC_NOT_FOUND: nobody has published to it yet
                return set()
            if response.status != 200:
                raise LookupFailed(url, f"status {response.status}")
            answer = b""
            async for chunk in response.content.iter_chunked(65536):
                answer += chunk
                if len(answer) > ANSWER_BYTES_MAX:
                    raise LookupFailed(url, f"the answer exceeds {ANSWER_BYTES_MAX} bytes")
            return parse_lookup(answer)
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        raise LookupFailed(url, str(exc) or type(exc).__name__) from exc


def parse_lookup(answer: bytes) -> set[Address]:
    """
    Return the addresses in an answer to ``/lookup``, also in the form before NSQ 1.0.

    Raises:
        ValueError: it is not such an answer.
    """
    try:
        content = json.loads(answer)
        return {
            Address(str(producer["broadcast_address"]), int(producer["tcp_port"]))
            for producer in content.get("data", content)["producers"]
        }
    except (AttributeError, KeyError, TypeError) as exc:
        raise ValueError(f"not an answer to a lookup: {answer[:80]!r}") from exc


def _report_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("%s crashed", task.get_name(), exc_info=task.exception())
