"""What a dashboard's collector knows, made by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from nsqx.admin.answers import ChannelStats, NsqdStats, Producer, TopicStats
from nsqx.admin.health import DaemonState
from nsqx.admin.views import ClusterView, LookupdView, NodeView

__all__ = ["NOW", "channel", "cluster_view", "lookupd_view", "node_view", "producer", "topic"]

NOW = 1_795_500_000.0


def channel(name: str = "c", **fields: Any) -> ChannelStats:
    return ChannelStats(name, **fields)


def topic(name: str = "t", *channels: ChannelStats, **fields: Any) -> TopicStats:
    return TopicStats(name, channels=list(channels), **fields)


def node_view(
    address: str = "n1:4151",
    *topics: TopicStats,
    state: DaemonState = DaemonState.OK,
    stats: Mapping[str, Any] | None = None,
    **fields: Any,
) -> NodeView:
    """A node that has answered, with these topics."""
    known = NsqdStats(health="OK", topics=list(topics), **(stats or {}))
    is_ok = state is DaemonState.OK
    return NodeView(
        address=address,
        state=state,
        observed_at=NOW if is_ok else NOW - 14,
        failing_since=None if is_ok else NOW - 13,
        error="" if is_ok else "no answer in time",
        stats=None if state is DaemonState.WAITING else known,
        **fields,
    )


def producer(address: str, topics: Mapping[str, bool]) -> Producer:
    """How a lookupd lists an nsqd; ``topics`` says whether each is tombstoned."""
    host, _, port = address.rpartition(":")
    return Producer(host, 4150, int(port), topics=list(topics), tombstones=list(topics.values()))


def lookupd_view(
    address: str = "l1:4161",
    *producers: Producer,
    topics: Sequence[str] = (),
    state: DaemonState = DaemonState.OK,
    **fields: Any,
) -> LookupdView:
    listed = {name for each in producers for name in each.topics or ()}
    return LookupdView(
        address=address,
        state=state,
        observed_at=NOW,
        failing_since=None,
        error="" if state is DaemonState.OK else "no answer in time",
        producers=producers,
        topics=frozenset({*listed, *topics}),
        **fields,
    )


def cluster_view(
    *nodes: NodeView, lookupds: Sequence[LookupdView] = (), now: float = NOW
) -> ClusterView:
    return ClusterView(now, lookupds, nodes)
