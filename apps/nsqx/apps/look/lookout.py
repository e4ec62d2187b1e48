"""What no connection tells a consumer: that nobody has the topic, and what was dropped."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import msgspec

from nsqx.apps.complaints import Complaints
from nsqx.apps.security_options import Security
from nsqx.apps.sources import Sources
from nsqx.cluster.http import DaemonError

__all__ = ["Lookout"]

FIRST_LOOK_SECONDS = 1.0  # a topic that somebody is about to publish to is none to speak of
LOOK_SECONDS = 3.0
LAST_LOOK_SECONDS = 1.0


class _Channel(msgspec.Struct):
    channel_name: str
    dropped_count: int = 0


class _Topic(msgspec.Struct):
    topic_name: str
    channels: list[_Channel]


class _Stats(msgspec.Struct):
    topics: list[_Topic]


class Lookout:
    """
    Asks the directories and nodes now and then, and complains once of each thing.

    An async context manager: it looks for as long as the block, and once more at the end.

    Args:
        sources: who says which nodes have a topic; None: nobody, there are only connections.
        channel: that of ours.
        connected: HTTP addresses of the nodes that we are connected to, as far as they are known.
    """

    def __init__(
        self,
        sources: Sources | None,
        topics: Sequence[str],
        channel: str,
        security: Security,
        complaints: Complaints,
        connected: Callable[[], Iterable[str]],
    ) -> None:
        self._sources = sources
        self._topics = topics
        self._channel = channel
        self._complaints = complaints
        self._connected = connected
        self._http = security.http(self._is_lookupd, is_routine=True)
        self._dropped: dict[tuple[str, str], int] = {}  # by node and topic
        self._told_dropped = 0
        self._task: asyncio.Task[None] | None = None

    def _is_lookupd(self, address: str) -> bool:
        return self._sources is not None and self._sources.is_lookupd(address)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._look_on(), name="lookout")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_LOOK_SECONDS):
                    await self._look()
        finally:  # a second signal cancels the last look
            await self._http.close()

    async def _look_on(self) -> None:
        await asyncio.sleep(FIRST_LOOK_SECONDS)
        while True:
            await self._look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        for topic in self._topics:
            for node in dict.fromkeys([*self._connected(), *await self._listed(topic)]):
                await self._count_dropped(node, topic)
        dropped = sum(self._dropped.values())
        if dropped > self._told_dropped:
            self._told_dropped = dropped
            self._complaints.fail(
                f"{dropped:,} messages in all were dropped by nsqd: they came faster than they were"
                " printed; --channel=NAME, not #ephemeral, keeps all"
            )

    async def _listed(self, topic: str) -> list[str]:
        """Return the nodes that are said to have a topic; complain if nobody says so."""
        if self._sources is None:
            return []
        try:
            nodes = await self._sources.with_topic(self._http, topic)
        except DaemonError as exc:
            self._complaints.fail(exc.short)
            return []
        if not nodes:
            self._complaints.fail(f"no nsqd has the topic {topic} yet; waiting for one")
        return nodes

    async def _count_dropped(self, node: str, topic: str) -> None:
        query = {"format": "json", "topic": topic, "channel": self._channel}
        try:
            stats = await self._http.ask(node, f"/stats?{urlencode(query)}", _Stats)
        except DaemonError:
            return  # whoever cannot be asked is told of by its connection
        for each in stats.topics:
            for channel in each.channels:
                if channel.channel_name == self._channel:
                    self._dropped[node, topic] = channel.dropped_count
