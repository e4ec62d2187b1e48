"""What a dashboard's collector knows, made by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from nsqx.cluster.answers import ChannelStats, NsqdStats, Producer, TopicStats
from nsqx.cluster.counters import Layout, Layouts, table_of
from nsqx.cluster.health import DaemonState
from nsqx.cluster.rates import NO_NODE_RATES, NO_RATES, RATE_COLUMNS, ChannelRates, NodeRates
from nsqx.cluster.views import ClusterView, LookupdView, NodeView

__all__ = [
    "NOW",
    "channel",
    "cluster_view",
    "lookupd_view",
    "node_view",
    "producer",
    "rates_of",
    "seen",
    "topic",
]

NOW = 1_795_500_000.0
NEVER_HEARD = (DaemonState.WAITING, DaemonState.UNREACHABLE)


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
    fields.setdefault("rates", NO_NODE_RATES if is_ok else None)
    return NodeView(
        address=address,
        state=state,
        observed_at=NOW if is_ok else NOW - 14,
        failing_since=None if is_ok else NOW - 13,
        error="" if is_ok else "no answer in time",
        **({} if state in NEVER_HEARD else seen(known)),
        **fields,
    )


def seen(stats: NsqdStats) -> dict[str, Any]:
    """Return what a view has of an answer."""
    return {"stats": stats, "counters": table_of(stats, Layouts())}


def rates_of(
    topics: Mapping[str, float], channels: Mapping[tuple[str, str], ChannelRates]
) -> NodeRates:
    """Return what flows: into topics, and through channels (by topic and channel)."""
    names = tuple(dict.fromkeys([*topics, *(topic for topic, _ in channels)]))
    counts = tuple(sum(topic == name for topic, _ in channels) for name in names)
    ordered = sorted(channels, key=lambda pair: names.index(pair[0]))
    return NodeRates(
        Layout(names, counts, tuple(channel for _, channel in ordered)),
        {"in_rate": [topics.get(name, 0.0) for name in names]},
        {
            column: [channels[pair][index] for pair in ordered]
            for index, column in enumerate(RATE_COLUMNS[: len(NO_RATES)])
        },
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
    *nodes: NodeView,
    lookupds: Sequence[LookupdView] = (),
    now: float = NOW,
    at_s: float | None = None,
) -> ClusterView:
    """``at_s`` is what an even clock says, which is ``now`` as long as nobody sets the other."""
    return ClusterView(now, now if at_s is None else at_s, lookupds, nodes)
