"""
Who waits for the answer to a lookup to change: the long polls of ``GET /watch``.

A watcher says which index its answer had; it is woken when the topic's index is another one. Many
nodes may appear within a moment, so watchers are woken a little later, once for all of them.
"""

import asyncio
from collections.abc import Callable

from nsqx.lookupd.answers import Answers
from nsqx.lookupd.registry import Registry
from nsqx.protocol.errors import NsqxError

__all__ = ["TooManyWatchesError", "Watches"]

SECOND_NS = 1_000_000_000
GATHER_S = 0.02


class TooManyWatchesError(NsqxError):
    """As many watch as may."""


class Watches:
    """All watchers, by topic."""

    def __init__(
        self, registry: Registry, answers: Answers, clock: Callable[[], int], watches_max: int
    ) -> None:
        self.count = 0
        self._registry = registry
        self._answers = answers
        self._clock = clock
        self._max = watches_max
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._due: set[str] = set()  # topics whose watchers will be woken
        self._is_closed = False
        registry.on_lookup_changed = self._changed

    async def wait(
        self, topic: str, index: int, wait_ns: int, asker: str, *, with_draining: bool = False
    ) -> None:
        """
        Return when the topic's lookup has another index than ``index``, or after ``wait_ns``.

        ``asker`` is the IP address of who waits: what is answered may depend on it.

        Raises:
            TooManyWatchesError: nothing was waited for.
        """
        if self.count >= self._max:
            raise TooManyWatchesError
        woken = asyncio.Event()
        self._waiting.setdefault(topic, set()).add(woken)
        self.count += 1
        try:
            end_ns = self._clock() + wait_ns
            await self._wait(topic, index, end_ns, (asker, with_draining), woken)
        finally:
            self.count -= 1
            self._waiting[topic].remove(woken)
            if not self._waiting[topic]:
                del self._waiting[topic]

    async def _wait(
        self,
        topic: str,
        index: int,
        end_ns: int,
        asking: tuple[str, bool],
        woken: asyncio.Event,
    ) -> None:
        asker, with_draining = asking
        while not self._is_closed:
            woken.clear()
            now_ns = self._clock()
            # Time may have changed it.
            self._answers.lookup(topic, now_ns, asker, with_draining=with_draining)
            if self._registry.index_of(topic) != index or now_ns >= end_ns:
                return
            until_ns = min(
                end_ns,
                self._answers.lookup_expires_ns(topic, asker, with_draining=with_draining),
            )
            try:
                async with asyncio.timeout((until_ns - now_ns) / SECOND_NS):
                    await woken.wait()
            except TimeoutError:
                pass

    def close(self) -> None:
        """Let all go, now and from now on."""
        self._is_closed = True
        for topic in list(self._waiting):
            self._wake(topic)

    def _changed(self, topic: str) -> None:
        if topic in self._waiting and topic not in self._due:
            self._due.add(topic)
            asyncio.get_running_loop().call_later(GATHER_S, self._wake, topic)

    def _wake(self, topic: str) -> None:
        self._due.discard(topic)
        for woken in self._waiting.get(topic, ()):
            woken.set()
