"""A tick costs what has changed: counted in lines of Python that run, which no clock can blur."""

import itertools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

from nsqx.admin.changed.audit import AuditTrail
from nsqx.admin.known.collector import Collector
from nsqx.admin.shown.hub import Hub
from nsqx.cluster.answers import NsqdStats
from nsqx.cluster.counters import Layouts
from nsqx.cluster.health import DaemonState
from nsqx.cluster.rates import RateWindow
from nsqx.cluster.views import ClusterView, NodeView
from nsqx.cluster.watch import Watch
from tests.support.cluster_views import NOW, channel, cluster_view, topic


class PlayedCollector:
    """One node with as many channels, each with a message ever."""

    interval_s = 1.0
    is_watching_clients = False

    def __init__(self, channels: int) -> None:
        self._window = RateWindow(Layouts())
        self._second = itertools.count()
        self.waiting = 0  # in the first channel
        self.channels = channels

    def answer(self) -> NsqdStats:
        """Return what the node says now; each time in other objects, as with other clients."""
        waiting = [self.waiting, *[0] * (self.channels - 1)]
        topics = [
            topic(f"t{index}", channel(depth=depth, message_count=1 + depth), message_count=1)
            for index, depth in enumerate(waiting)
        ]
        return NsqdStats(health="OK", topics=topics)

    def view(self) -> ClusterView:
        second = next(self._second)
        stats = self.answer()
        self._window.add(float(second), stats)
        node = NodeView(
            "n1:4151",
            DaemonState.OK,
            observed_at=NOW + second,
            failing_since=None,
            error="",
            stats=stats,
            counters=self._window.counters,
            rates=self._window.rates,
        )
        return cluster_view(node, now=NOW + second)


def made_hub(collector: PlayedCollector) -> Hub:
    hub = Hub(cast(Collector, collector), Watch(), AuditTrail())
    for _ in range(2):
        hub.tick()
    return hub


def lines_of(call: Callable[[], None]) -> int:
    """Return how many lines a call runs; a loop's count each time."""
    count = 0

    def trace(_frame: FrameType, event: str, _value: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def tick_of_idle_channels(count: int) -> int:
    collector = PlayedCollector(count)
    hub = made_hub(collector)
    view = collector.view()
    collector.view = lambda: view  # type: ignore[method-assign]  # decoding is not the tick's
    return lines_of(hub.tick)


def test_a_tick_costs_nothing_for_channels_that_stand_still() -> None:
    few = tick_of_idle_channels(20)
    assert tick_of_idle_channels(2000) <= few + 20


def test_what_says_the_same_stays_the_same_objects() -> None:
    hub = made_hub(PlayedCollector(3))
    before = hub.snapshot
    hub.tick()
    assert hub.snapshot is not before
    assert hub.snapshot.topics is before.topics
    assert hub.snapshot.channels is before.channels


def test_flags_come_and_go_on_rows_that_do_not_change() -> None:
    collector = PlayedCollector(3)
    hub = made_hub(collector)
    collector.waiting = 5
    flags = []
    for _ in range(30):
        hub.tick()
        flags.append(hub.snapshot.channels["t0/c"].flags)
    assert (flags[0], flags[-1]) == ([], ["no-consumers"])
    assert hub.snapshot.topics["t0"].channel_flags == ["no-consumers"]
    earlier = hub.snapshot
    collector.waiting = 0
    hub.tick()
    assert hub.snapshot.channels["t0/c"].flags == hub.snapshot.topics["t0"].channel_flags == []
    assert earlier.channels["t0/c"].flags == ["no-consumers"]  # nobody changes what was shown


def test_a_row_that_changes_takes_no_others_flags_away() -> None:
    collector = PlayedCollector(3)
    hub = made_hub(collector)
    collector.waiting = 5
    for _ in range(30):
        hub.tick()
    collector.waiting = 6
    hub.tick()
    assert hub.snapshot.channels["t0/c"].depth == 6
    assert hub.snapshot.channels["t0/c"].flags == ["no-consumers"]
