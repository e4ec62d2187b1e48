"""``/metrics``: gathers what has to be waited for, then renders step by step."""

import os
from collections.abc import Iterator

from aiohttp import web

from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.edge.steps import in_background, in_steps
from nsqx.nsqd.http.node import HttpNode
from nsqx.nsqd.log.log import LogView
from nsqx.nsqd.telling.latencies import accepted_ns
from nsqx.nsqd.telling.prometheus import NodeMetrics
from nsqx.protocol.version import VERSION
from nsqx.runtime import metrics
from nsqx.runtime.http.server import Answer, Handler, Request, Router

__all__ = ["MetricsEndpoint"]


class MetricsEndpoint:
    """What Prometheus scrapes."""

    def __init__(self, nsqd: HttpNode) -> None:
        self._nsqd = nsqd

    def add_to(self, router: Router[Handler]) -> None:
        """Add the route."""
        router.add("GET", "/metrics", self._metrics)

    async def _metrics(self, request: Request) -> Answer:
        nsqd = self._nsqd
        oldest_ns = await self._oldest_unfinished()
        disk = await in_background(nsqd.storage, lambda: os.statvfs(nsqd.storage.root))
        scrape = NodeMetrics(
            nsqd.broker,
            [connection.session for connection in nsqd.tcp_server.connections],
            nsqd.peers.states(),
            version=VERSION,
            start_time_s=nsqd.start_time_s,
            now_ns=nsqd.broker.clock.monotonic(),
            wall_ns=nsqd.broker.clock.wall(),
            disk_free_bytes=disk.f_bavail * disk.f_frsize,
            loop_lag=nsqd.loop_lag.durations,
            loop_lag_highest_ns=nsqd.loop_lag.take_highest_ns(),
            oldest_ns=oldest_ns,
            quantiles=nsqd.latencies.quantiles,
            window_of=nsqd.latencies.window_of,
        )
        parts = await in_steps(metrics.render([family]) for family in scrape.families())
        return web.Response(body=b"".join(parts), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _oldest_unfinished(self) -> dict[Channel, int]:
        """Return when the oldest unfinished message of each channel that has one was accepted."""
        found: dict[Channel, int] = {}
        on_disk: list[tuple[Channel, LogView, int]] = []
        for channel, place in await in_steps(self._oldest()):
            if isinstance(place, int):
                found[channel] = place
            else:
                on_disk.append((channel, *place))

        def read() -> dict[Channel, int]:
            return {channel: accepted_ns(view, sequence) for channel, view, sequence in on_disk}

        return found | await in_background(self._nsqd.storage, read) if on_disk else found

    def _oldest(self) -> Iterator[tuple[Channel, int | tuple[LogView, int]]]:
        """Yield when the oldest unfinished message of a channel came, or where to read that."""
        for topic in list(self._nsqd.broker.topics.values()):
            view: LogView | None = None
            for channel in list(topic.channels.values()):
                oldest = channel.backlog.unfinished
                timestamp_ns = channel.backlog.oldest_straggler_ns
                if timestamp_ns is None and oldest >= topic.passed:
                    continue
                block = topic.log.block_in_memory(oldest)
                if timestamp_ns is None and block is not None:
                    timestamp_ns = block.timestamp(oldest)
                if timestamp_ns is not None:
                    yield channel, timestamp_ns
                    continue
                view = view or topic.log.view()
                yield channel, (view, oldest)
