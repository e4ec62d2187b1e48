"""
Asks every lookupd and every nsqd each second, and keeps what they said last.

Theory of operation
    Each daemon has a task of its own: ask, with a deadline that a slow one can keep; note the
    answer or the miss; sleep until the next turn. So a daemon that hangs delays nobody, and no
    request of a viewer ever waits for a daemon: documents are made from what is kept here
    (``view``). What else is asked of a daemon is asked beside that, and may fail or take long.

    Which nsqds there are is what lookupds list, or what was given. One that no lookupd lists any
    more is asked on for ``forget_nodes_after``, since that is what a node that just died looks
    like; then it is forgotten. Tasks begin and end in ``_reconcile``, the only place that does
    either.

    ``/stats`` is asked without clients, which are most of its bytes, and with them each fifth time,
    or each second time while somebody watches clients. Bytes that are those of the last time are
    not even decoded, and numbers that are alike stay the same objects: who has made something of
    them need not do it again. ``/metrics`` of our nsqd is asked each fifth
    time; who answers 404 is not asked again until it was restarted. Options are asked for once a
    minute.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Self, TypeVar
from urllib.parse import quote

from nsqx.cluster.answers import (
    ChannelsAnswer,
    Latency,
    NodeCounts,
    NodesAnswer,
    NsqdInfo,
    NsqdStats,
    Producer,
    TopicsAnswer,
)
from nsqx.cluster.counters import Layouts
from nsqx.cluster.finish_rates import FinishRates
from nsqx.cluster.health import PATIENCE_S, DaemonState, Health
from nsqx.cluster.http import DaemonError, DaemonHttp, HangingError, Kept, StatusError
from nsqx.cluster.node_metrics import NodeMetrics, parse_metrics
from nsqx.cluster.node_settings import (
    FOREIGN_OPTIONS,
    NodeSettings,
    Option,
    OptionsAnswer,
    foreign_option,
)
from nsqx.cluster.rates import RateWindow
from nsqx.cluster.views import ClusterView, LookupdView, NodeView
from nsqx.runtime.process import logs

__all__ = ["Collector"]

JITTER_SHARE = 0.05
BESIDE_S_MAX = 20.0  # NSQ's nsqd is asked for two dozen options, one after the other
CLIENTS_EVERY, CLIENTS_EVERY_WATCHED = 5, 2
METRICS_EVERY = 5
METRICS_KEPT = 5  # as many times of asking in vain, then what was said is not what is
INFO_EVERY = 30
SETTINGS_EVERY = 60
CHANNELS_EVERY = 5
INACTIVE_TOPICS_MAX = 200  # whose channels are asked for
# Topics without a node that are taken up, of one lookupd: whoever reaches it can make them.
UNUSED_TOPICS_MAX = 1000

STATS = "/stats?format=json&include_mem=false&include_clients=false"
STATS_WITH_CLIENTS = "/stats?format=json&include_mem=true&include_clients=true"

_log = logs.get_logger("COLLECTOR")


class _Source:
    """One daemon and the task that asks it."""

    kind = ""

    def __init__(self, collector: "Collector", address: str) -> None:
        self.address = address
        self.health = Health()
        self.polls = 0
        self.wake = asyncio.Event()  # ask now
        self._collector = collector
        self.task: asyncio.Task[None] | None = None
        self.more: asyncio.Task[None] | None = None  # beside it

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            await self.poll()
            self.wake.clear()
            jitter = 1 + random.uniform(-JITTER_SHARE, JITTER_SHARE)
            pause_s = self.health.pause_s(self._collector.interval_s) * jitter
            with suppress(TimeoutError):
                # Who is slow gets a rest, too.
                async with asyncio.timeout(max(pause_s - self.took_s, pause_s / 2)):
                    await self.wake.wait()

    took_s = 0.0

    async def poll(self) -> None:
        """Ask once, and note the answer or the miss."""
        began = time.monotonic()
        was = self.health.state
        try:
            async with asyncio.timeout(self._collector.deadline_s):
                await self.ask()
        except (DaemonError, TimeoutError) as exc:
            hangs = isinstance(exc, HangingError | TimeoutError)
            error = "no answer in time" if hangs else str(exc)
            self.health.missed(time.time(), error, hangs=hangs)
            if hangs:
                self._collector.http.give_up(self.address)
        else:
            self.health.answered(time.time(), time.monotonic() - began)
            if self.more is None or self.more.done():
                self.more = asyncio.create_task(self._ask_beside(), name=f"ask {self.address}")
                self.more.add_done_callback(_tell_failure)
        self.took_s = time.monotonic() - began
        self.polls += 1
        self._tell_changes(was)

    async def ask(self) -> None:
        """What must be answered."""
        raise NotImplementedError

    async def ask_more(self) -> None:
        """What is good to know."""

    async def _ask_beside(self) -> None:
        with suppress(DaemonError, TimeoutError):  # then it is unknown, as before
            async with asyncio.timeout(BESIDE_S_MAX):
                await self.ask_more()

    def _tell_changes(self, was: DaemonState) -> None:
        now = self.health.state
        if now is was or {now, was} == {DaemonState.WAITING, DaemonState.OK}:
            return
        if now is DaemonState.OK:
            _log.info("%s %s answers again", self.kind, self.address)
        else:
            _log.warning("%s %s: %s", self.kind, self.address, self.health.error)


class _Lookupd(_Source):
    """One nsqlookupd."""

    kind = "nsqlookupd"

    def __init__(self, collector: "Collector", address: str, *, found: bool) -> None:
        super().__init__(collector, address)
        self.found = found
        self.version = ""
        self.producers: list[Producer] = []
        self.topics: frozenset[str] = frozenset()
        self.left_out = 0  # topics that are none of these
        self.channels: dict[str, list[str]] = {}
        self._nodes: Kept[NodesAnswer] | None = None
        self._topics: Kept[TopicsAnswer] | None = None

    async def ask(self) -> None:
        http = self._collector.http
        nodes, topics = await asyncio.gather(
            http.ask_again(self.address, "/nodes", NodesAnswer, self._nodes),
            http.ask_again(self.address, "/topics", TopicsAnswer, self._topics),
        )
        if nodes is not self._nodes or topics is not self._topics:
            self._nodes, self._topics = nodes, topics
            self.producers = nodes.answer.nodes
            self._take_topics(topics.answer.topics or ())
        self._collector.reconcile()

    def _take_topics(self, topics: Iterable[str]) -> None:
        """Keep all that have a node, and the first of the others."""
        listed = {topic for producer in self.producers for topic in producer.topics or ()}
        unused = sorted(set(topics) - listed)
        self.left_out = max(0, len(unused) - UNUSED_TOPICS_MAX)
        self.topics = frozenset(topics).difference(unused[UNUSED_TOPICS_MAX:])

    async def ask_more(self) -> None:
        if self.polls % CHANNELS_EVERY == 1:
            await self._ask_channels()
        if self.polls % INFO_EVERY == 1 or not self.version:
            http = self._collector.http
            self.version = (await http.ask(self.address, "/info", _Version)).version

    async def _ask_channels(self) -> None:
        """Channels of topics that have no node are known to lookupds only."""
        listed = {topic for producer in self.producers for topic in producer.topics or ()}
        inactive = sorted(self.topics - listed)[:INACTIVE_TOPICS_MAX]
        channels: dict[str, list[str]] = {}
        for topic in inactive:
            path = f"/channels?topic={quote(topic, safe='')}"
            answer = await self._collector.http.ask(self.address, path, ChannelsAnswer)
            channels[topic] = sorted(answer.channels or ())
        self.channels = channels

    def view(self) -> LookupdView:
        health = self.health
        return LookupdView(
            address=self.address,
            state=health.state,
            observed_at=health.observed_at,
            failing_since=health.failing_since,
            error=health.error,
            version=self.version,
            found=self.found,
            producers=self.producers,
            topics=self.topics,
            left_out=self.left_out,
            channels=self.channels,
        )


class _Version(NsqdInfo):
    """lookupd's ``/info``."""

    broadcast_address: str = ""
    tcp_port: int = 0
    http_port: int = 0


class _Node(_Source):
    """One nsqd."""

    kind = "nsqd"

    def __init__(self, collector: "Collector", address: str) -> None:
        super().__init__(collector, address)
        self.about: Producer | NsqdInfo | None = None
        self.listed_at = time.monotonic()  # when a lookupd listed it last
        self.stats: NodeCounts | None = None
        self._counts: Kept[NodeCounts] | None = None
        self.with_clients: NsqdStats | None = None
        self.latencies: dict[str, Latency] = {}
        self.restarted_at: float | None = None
        self.restarted_at_s: float | None = None  # monotonic
        self.metrics: NodeMetrics | None = None
        self._metrics_at = 0  # as of ``polls``
        self.settings: NodeSettings | None = None
        self._has_metrics = True
        self._window = RateWindow(collector.layouts)
        self._finish_rates = FinishRates()

    async def ask(self) -> None:
        every = CLIENTS_EVERY_WATCHED if self._collector.is_watching_clients else CLIENTS_EVERY
        if self.polls % every == 0 or self.with_clients is None:
            stats = await self._collector.http.ask(self.address, STATS_WITH_CLIENTS, NsqdStats)
            self._note(stats)
            self._note_clients(stats)
        else:
            http = self._collector.http
            self._counts = await http.ask_again(self.address, STATS, NodeCounts, self._counts)
            self._note(self._counts.answer)

    async def ask_more(self) -> None:
        if self._collector.asks_nodes_about_themselves and self.polls % INFO_EVERY == 1:
            self.about = await self._collector.http.ask(self.address, "/info", NsqdInfo)
        if self._has_metrics and (self.polls % METRICS_EVERY == 1 or self.metrics is None):
            await self._ask_metrics()
        if self.polls % SETTINGS_EVERY == 1 or self.settings is None:
            await self._ask_settings()

    def _note(self, stats: NodeCounts) -> None:
        now = time.monotonic()
        if self.polls - self._metrics_at > METRICS_EVERY * METRICS_KEPT:
            self.metrics = None
        if self._window.add(now, stats):
            self.restarted_at, self.restarted_at_s = time.time(), now
            self._has_metrics = True
            self.settings = None
            self._collector.on_restart(self.address, self.restarted_at)
        self.stats = stats

    def _note_clients(self, stats: NsqdStats) -> None:
        self.with_clients = stats
        self._finish_rates.add(time.monotonic(), stats)
        latencies = dict(_latencies(stats))
        if latencies != self.latencies:
            self.latencies = latencies

    async def _ask_metrics(self) -> None:
        try:
            text = await self._collector.http.get(self.address, "/metrics")
        except StatusError as exc:
            if exc.status == 404:  # not ours; who says no for another reason may say more later
                self._has_metrics = False
                self.metrics = None
        else:
            self.metrics = parse_metrics(text.decode("utf-8", "replace"), time.time())
            self._metrics_at = self.polls

    async def _ask_settings(self) -> None:
        http = self._collector.http
        try:
            answer = await http.ask(self.address, "/options", OptionsAnswer)
        except HangingError:
            raise
        except DaemonError:
            options = await self._ask_foreign_settings()
        else:
            options = answer.options
        is_complete = options.keys() > FOREIGN_OPTIONS.keys()
        self.settings = NodeSettings(time.time(), options, is_complete)

    async def _ask_foreign_settings(self) -> dict[str, Option]:
        """One question after the other: they are many, and a moment later is soon enough."""
        options: dict[str, Option] = {}
        for name in FOREIGN_OPTIONS:
            with suppress(StatusError):  # another version may not have it
                body = await self._collector.http.get(self.address, f"/config/{name}")
                options[name] = foreign_option(name, body)
        return options

    def view(self, listing: Sequence[tuple[str, Producer]]) -> NodeView:
        """``listing``: the lookupds that list it, and how."""
        health, about = self.health, self.about
        is_ok = health.state is DaemonState.OK
        return NodeView(
            address=self.address,
            state=health.state,
            observed_at=health.observed_at,
            failing_since=health.failing_since,
            error=health.error,
            answer_ms=health.answer_ms,
            tcp_address=about.tcp_address if about else "",
            hostname=about.hostname if about else "",
            version=(about.version if about else "") or (self.stats.version if self.stats else ""),
            zone=about.topology_zone if about else "",
            region=about.topology_region if about else "",
            restarted_at=self.restarted_at,
            restarted_at_s=self.restarted_at_s,
            lookupds=tuple(address for address, _ in listing),
            tombstoned=frozenset(
                topic
                for _, producer in listing
                if True in (producer.tombstones or ())
                for topic, gone in zip(
                    producer.topics or (), producer.tombstones or (), strict=False
                )
                if gone
            ),
            stats=self.stats,
            # What is not heard of flows as it likes.
            counters=self._window.counters,
            rates=self._window.rates if is_ok else None,
            metrics=self.metrics,
            with_clients=self.with_clients,
            finish_rates=self._finish_rates.by_address,
            settings=self.settings,
            latencies=self.latencies,
        )


def _latencies(stats: NsqdStats) -> Iterator[tuple[str, Latency]]:
    """Yield the latencies of topics and channels that have some."""
    for topic in stats.topics or ():
        if (latency := topic.e2e_processing_latency) is not None and _tells(latency):
            yield topic.topic_name, latency
        for channel in topic.channels or ():
            if (latency := channel.e2e_processing_latency) is not None and _tells(latency):
                yield f"{topic.topic_name}/{channel.channel_name}", latency


def _tells(latency: Latency) -> bool:
    """Whether anything was measured: of nothing, all percentiles are 0."""
    return bool(latency.count and latency.percentiles)


_SourceType = TypeVar("_SourceType", bound=_Source)


class Collector:
    """
    Knows the cluster. Use it as an async context manager.

    Args:
        http: how daemons are asked.
        lookupds: HTTP addresses; the list may change while it runs (then call ``reconcile``).
        nsqds: HTTP addresses, if there are no lookupds.
        interval_s: between two questions to a daemon.
        forget_s: how long a node that no lookupd lists is asked on.
        patience_s: how long an answer is waited for, if that is longer than the interval.
    """

    def __init__(
        self,
        http: DaemonHttp,
        lookupds: list[str],
        nsqds: Sequence[str],
        *,
        interval_s: float = 1.0,
        forget_s: float = 600.0,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.http = http
        self.interval_s = interval_s
        self.deadline_s = max(patience_s, interval_s)
        self.is_watching_clients = False
        self.layouts = Layouts()
        self.asks_nodes_about_themselves = bool(nsqds)
        self.given_lookupds = frozenset(lookupds)
        self.on_restart: Callable[[str, float], None] = lambda _address, _at: None
        self._lookupd_addresses = lookupds
        self._nsqd_addresses = nsqds
        self._forget_s = forget_s
        self._lookupds: dict[str, _Lookupd] = {}
        self._nodes: dict[str, _Node] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.http.hanging = self.is_hanging
        self.reconcile()
        return self

    async def __aexit__(self, *_: object) -> None:
        for source in self._sources():
            self._end(source)
        await asyncio.gather(*self._ending, return_exceptions=True)

    def view(self) -> ClusterView:
        """Return everything that is known now."""
        listings: dict[str, list[tuple[str, Producer]]] = {}
        for lookupd in self._lookupds.values():
            for producer in lookupd.producers:
                address = producer.http_address
                listings.setdefault(address, []).append((lookupd.address, producer))
        nodes = sorted(self._nodes.values(), key=lambda node: node.address)
        return ClusterView(
            now=time.time(),
            at_s=time.monotonic(),
            lookupds=[lookupd.view() for lookupd in self._lookupds.values()],
            nodes=[node.view(listings.get(node.address, ())) for node in nodes],
        )

    def is_hanging(self, address: str) -> bool:
        """Whether it is known not to answer, without that anybody has to try."""
        source = self._nodes.get(address) or self._lookupds.get(address)
        return source is not None and source.health.hangs and source.health.is_open

    def hurry(self) -> None:
        """Ask all that answer at once, since something was changed; do not wait for it."""
        for source in self._sources():
            if not source.health.is_open:
                source.wake.set()

    def reconcile(self) -> None:
        """Begin to ask who is new, and cease to ask who is gone."""
        for address in self._lookupd_addresses:
            if address not in self._lookupds:
                found = address not in self.given_lookupds
                self._begin(self._lookupds, _Lookupd(self, address, found=found))
        for address in self._lookupds.keys() - set(self._lookupd_addresses):
            self._end(self._lookupds.pop(address))
        if self.asks_nodes_about_themselves:
            for address in self._nsqd_addresses:
                if address not in self._nodes:
                    self._begin(self._nodes, _Node(self, address))
            return
        self._reconcile_listed()

    def _reconcile_listed(self) -> None:
        now = time.monotonic()
        for lookupd in self._lookupds.values():
            for producer in lookupd.producers:
                address = producer.http_address
                if address not in self._nodes:
                    self._begin(self._nodes, _Node(self, address))
                node = self._nodes[address]
                node.about, node.listed_at = producer, now
        if not any(each.health.state is DaemonState.OK for each in self._lookupds.values()):
            return  # nobody is there to list them
        for address, node in list(self._nodes.items()):
            if now - node.listed_at > self._forget_s:
                self._end(self._nodes.pop(address))

    def _begin(self, sources: dict[str, _SourceType], source: _SourceType) -> None:
        sources[source.address] = source
        source.task = asyncio.create_task(source.run(), name=f"poll {source.address}")
        source.task.add_done_callback(_tell_failure)

    def _end(self, source: _Source) -> None:
        assert source.task is not None
        source.task.cancel()
        self._ending.add(source.task)
        source.task.add_done_callback(self._ending.discard)
        if source.more is not None:
            source.more.cancel()
            self._ending.add(source.more)
            source.more.add_done_callback(self._ending.discard)

    def _sources(self) -> list[_Source]:
        return [*self._lookupds.values(), *self._nodes.values()]


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (failure := task.exception()) is not None:
        _log.error("%s ended: %r", task.get_name(), failure, exc_info=failure)
