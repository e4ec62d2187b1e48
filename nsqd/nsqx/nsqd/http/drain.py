"""
Emptying the node (docs/http-api.md).

    GET   /node/drain     how far it is
    POST  /node/drain     take no messages from now on; the same answer
    POST  /node/undrain   take messages again; the same answer
"""

from collections.abc import Iterator
from typing import Any

from nsqx.nsqd.core.broker import Broker
from nsqx.nsqd.http.node import HttpNode
from nsqx.runtime.http.server import Answer, ApiError, Handler, Request, Router, json_answer

__all__ = ["DrainEndpoints"]

HOLDERS_MAX = 100  # are told one by one, those with the most messages first


class DrainEndpoints:
    """Begin it, end it, and tell what is left."""

    def __init__(self, nsqd: HttpNode) -> None:
        self._nsqd = nsqd

    def add_to(self, router: Router[Handler]) -> None:
        """Add the routes."""
        router.add("GET", "/node/drain", self._tell)
        router.add("POST", "/node/drain", self._begin)
        router.add("POST", "/node/undrain", self._end)

    async def _begin(self, request: Request) -> Answer:
        self._nsqd.broker.drain()
        return await self._tell(request)

    async def _end(self, request: Request) -> Answer:
        try:
            self._nsqd.broker.end_drain()
        except OSError as error:
            raise ApiError(503, "DISK_REFUSES") from error
        return await self._tell(request)

    async def _tell(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        draining = broker.draining
        holders = list(_holders(broker))
        left = {name: sum(each[name] for each in holders) for name in _COUNTS}
        holders.sort(key=lambda each: -sum(each[name] for name in _COUNTS))
        return json_answer(
            {
                "draining": draining.is_on,
                "since": draining.since_ns // 10**9 if draining.since_ns else None,
                "survives_restart": draining.is_saved,
                "empty": not holders,
                **left,
                "held_by": holders[:HOLDERS_MAX],
                "directories": [
                    {"address": each.address, "hidden": draining.is_on and each.knows_of_drain}
                    for each in self._nsqd.peers.states()
                ],
            }
        )


_COUNTS = ("waiting", "in_flight", "deferred")


def _holders(broker: Broker) -> Iterator[dict[str, Any]]:
    """Yield each topic (channel "") and channel that has messages."""
    for topic in broker.topics.values():
        if depth := topic.depth:
            deferred = topic.count_deferred()
            yield {
                "topic": topic.name,
                "channel": "",
                "waiting": depth - deferred,
                "in_flight": 0,
                "deferred": deferred,
                "clients": 0,
                "paused": topic.is_paused,
            }
        for channel in topic.channels.values():
            counts = (channel.depth, channel.in_flight_count, channel.deferred_count)
            if any(counts):
                yield {
                    "topic": topic.name,
                    "channel": channel.name,
                    **dict(zip(_COUNTS, counts, strict=True)),
                    "clients": len(channel.consumers),
                    "paused": channel.is_paused,
                }
