"""
Makes the documents once a second and hands each version to all who watch it.

A document is made when its key is watched, or asked for; one version serves everybody. The snapshot
of the whole is made each interval in any case, since the rules of ``Watch`` and the history need
it.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Self

from nsqx.admin.changed.audit import AuditTrail
from nsqx.admin.known.collector import Collector
from nsqx.admin.shown.documents import (
    channel_document,
    node_document,
    summary_document,
    topic_document,
)
from nsqx.admin.shown.feed import Document, Feed
from nsqx.admin.shown.settings import settings_document
from nsqx.admin.shown.topology import topology_document
from nsqx.cluster.merge import ClusterSnapshot, Merger
from nsqx.cluster.registry import Inputs, Registry, inputs_of, registry_of
from nsqx.cluster.views import ClusterView
from nsqx.cluster.watch import Watch
from nsqx.protocol.errors import NsqxError
from nsqx.protocol.names import is_valid_name
from nsqx.runtime.process import logs

__all__ = ["Hub", "UnknownKeyError", "Watcher", "check_key"]

REGISTRY_EVERY = 5  # ticks: it costs the most, if anything has changed
FEED_SECONDS = 120.0  # how long a document that nobody watches can be resumed
FEEDS_MAX = 1000
SOON_S = 0.1  # most answers are here by then

_log = logs.get_logger("HUB")


class UnknownKeyError(NsqxError):
    """No document can have this key."""


class Watcher:
    """Who watches documents: told after each tick, by ``changed``."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self.keys = set(keys)
        self.changed = asyncio.Event()


class Hub:
    """
    The newest version of every document. Use it as an async context manager.

    Attributes:
        boot: names this run; sequence numbers of another mean nothing.
        on_tick: called with each snapshot, for the history.
    """

    def __init__(self, collector: Collector, watch: Watch, audit: AuditTrail) -> None:
        self.boot = secrets.token_hex(4)
        self.on_tick: Callable[[ClusterSnapshot], None] = lambda _snapshot: None
        self._collector = collector
        self._watch = watch
        self._merger = Merger()
        self._audit = audit
        self._feeds: dict[str, Feed] = {}
        self._used_at: dict[str, float] = {}
        self._made_at: dict[str, int] = {}  # the tick of a feed's newest version
        self._watchers: set[Watcher] = set()
        self._ticks = 0
        self._task: asyncio.Task[None] | None = None
        self.is_closing = False
        self.view: ClusterView
        self.snapshot: ClusterSnapshot
        self.registry: Registry
        self._registry_inputs: Inputs = ()
        self.tick()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="hub")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            # A tick that took long does not put off the next one.
            due = max(due + self._collector.interval_s, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            self._safe_tick()

    def tick(self) -> None:
        """Look at the cluster as it is known now, and tell all watchers."""
        self.view = self._collector.view()
        snapshot = self._merger.merge(self.view)
        if self._ticks % REGISTRY_EVERY == 0:
            self._look_at_registry()
        self._watch.judge(snapshot, self.registry)
        self.snapshot = snapshot
        self._ticks += 1
        self.on_tick(snapshot)
        watched = {key for watcher in self._watchers for key in watcher.keys}
        self._collector.is_watching_clients = any(map(_shows_clients, watched))
        for key in watched:
            self.feed(key)
        self._forget()
        for watcher in self._watchers:
            watcher.changed.set()

    def _look_at_registry(self) -> None:
        inputs = inputs_of(self.view)
        if inputs != self._registry_inputs:
            self.registry = registry_of(self.view)
            self._registry_inputs = inputs

    def tick_soon(self) -> None:
        """After a change, for which daemons were asked again: do not wait for the next turn."""
        asyncio.get_running_loop().call_later(SOON_S, self._safe_tick)

    def _safe_tick(self) -> None:
        """A failure of one tick must not end the dashboard."""
        try:
            self.tick()
        except Exception as exc:
            _log.error("tick failed: %r", exc, exc_info=exc)

    def close_watchers(self) -> None:
        """Have every connection that watches end: the server is about to stop."""
        self.is_closing = True
        for watcher in self._watchers:
            watcher.changed.set()

    def subscribe(self, watcher: Watcher) -> None:
        """Tell it of every tick, and keep the documents of its keys fresh."""
        self._watchers.add(watcher)

    def unsubscribe(self, watcher: Watcher) -> None:
        """No more. Fine if it was not subscribed."""
        self._watchers.discard(watcher)

    def feed(self, key: str) -> Feed:
        """
        Return the feed of a document, brought up to date.

        Raises:
            UnknownKeyError: there can be no such document.
        """
        feed = self._feeds.get(key)
        if feed is None:
            check_key(key)
            feed = self._feeds[key] = Feed(key, self.boot)
        self._used_at[key] = time.monotonic()
        # The audit trail changes between ticks.
        if self._made_at.get(key) != self._ticks or key == "activity":
            feed.publish(self._document(key), self.snapshot.t)
            self._made_at[key] = self._ticks
        return feed

    def _document(self, key: str) -> Document | None:
        kind, _, name = key.partition(":")
        match kind:
            case "summary":
                return summary_document(self.snapshot)
            case "topic":
                return topic_document(self.view, self.snapshot, name)
            case "channel":
                topic, _, channel = name.partition("/")
                return channel_document(self.view, self.snapshot, topic, channel)
            case "node":
                return node_document(self.view, self.snapshot, name)
            case "topology":
                return topology_document(self.view, self.snapshot)
            case "settings":
                return settings_document(self.view)
            case "registry":
                self._look_at_registry()  # for the rules, one that is some seconds old will do
                return {
                    "lookupds": self.registry.lookupds,
                    "registrations": self.registry.registrations,
                    "inactive": self.registry.inactive,
                }
            case _:
                return self._audit.document()

    def is_watched(self, key: str) -> bool:
        """Whether somebody has a document on screen."""
        return any(key in watcher.keys for watcher in self._watchers)

    def _forget(self) -> None:
        """Drop the feeds that nobody has used for a while; the longest unused if they are many."""
        now = time.monotonic()
        unused = sorted(self._used_at, key=self._used_at.__getitem__)
        excess = len(unused) - FEEDS_MAX
        for index, key in enumerate(unused):
            if index >= excess and now - self._used_at[key] < FEED_SECONDS:
                return
            del self._feeds[key], self._used_at[key]
            self._made_at.pop(key, None)


def check_key(key: str) -> None:
    """
    Refuse what no document can have as its key.

    Raises:
        UnknownKeyError: with the reason.
    """
    kind, _, name = key.partition(":")
    match kind:
        case "summary" | "topology" | "registry" | "settings" | "activity":
            is_right = kind == key
        case "topic":
            is_right = is_valid_name(name)
        case "channel":
            topic, _, channel = name.partition("/")
            is_right = is_valid_name(topic) and is_valid_name(channel)
        case "node":
            is_right = ":" in name and len(name) <= 300
        case _:
            is_right = False
    if not is_right:
        raise UnknownKeyError(f"no document has the key {key[:300]!r}")


def _shows_clients(key: str) -> bool:
    return key == "topology" or key.startswith(("channel:", "node:"))
