"""
The cluster as a whole from what its daemons said: sums over nodes. No I/O; time is in the view.

A node that does not answer counts with what it said last, and is counted in ``stale``.
"""

from collections.abc import Collection, Iterator, Mapping

import msgspec

from .answers import ChannelStats, TopicStats
from .health import DaemonState
from .rates import ChannelRates
from .rows import Attention, ChannelRow, LookupdRow, NodeRow, TopicRow, Totals, Verdict
from .versions import version_key
from .views import ClusterView, LookupdView, NodeView

__all__ = ["ClusterSnapshot", "merge", "node_row", "rounded"]


class ClusterSnapshot(msgspec.Struct):
    """
    The summary document. Complete once ``Watch`` has judged it; nobody changes it afterwards.

    Channels are by ``topic/channel``.
    """

    t: float
    verdict: Verdict
    attention: list[Attention]
    totals: Totals
    lookupds: dict[str, LookupdRow]
    nodes: dict[str, NodeRow]
    topics: dict[str, TopicRow]
    channels: dict[str, ChannelRow]


# The rows of a topic's channels while they are added up.
_ByTopic = dict[str, dict[str, ChannelRow]]


def merge(view: ClusterView) -> ClusterSnapshot:
    """Return the snapshot, not judged yet."""
    newest = max((version_key(node.version) for node in view.nodes), default=())
    nodes: dict[str, NodeRow] = {}
    topics: dict[str, TopicRow] = {
        topic: TopicRow() for lookupd in view.lookupds for topic in lookupd.topics
    }
    by_topic: _ByTopic = {}
    for node in view.nodes:
        row = node_row(node, out_of_date=version_key(node.version) < newest)
        _add_node(node, row, topics, by_topic)
        nodes[node.address] = row
    channels: dict[str, ChannelRow] = {}
    for topic, rows in by_topic.items():
        _add_up(topics[topic], rows.values())
        for channel, channel_row in rows.items():
            channels[f"{topic}/{channel}"] = channel_row
    for node in view.nodes:
        if node.metrics is not None:
            _add_ages(node.metrics.oldest_at, topics, channels)
    _round(topics, channels, nodes)
    lookupds = {lookupd.address: _lookupd_row(lookupd) for lookupd in view.lookupds}
    return ClusterSnapshot(
        t=view.now,
        verdict=Verdict("waiting", "", {}),
        attention=[],
        totals=_totals(lookupds, nodes, topics, channels),
        lookupds=lookupds,
        nodes=nodes,
        topics=dict(sorted(topics.items())),
        channels=channels,
    )


def _lookupd_row(view: LookupdView) -> LookupdRow:
    return LookupdRow(
        address=view.address,
        state=view.state.value,
        observed_at=view.observed_at,
        failing_since=view.failing_since,
        error=view.error,
        version=view.version,
        nodes=len(view.producers),
        topics=len(view.topics),
        found=view.found,
    )


def node_row(view: NodeView, *, out_of_date: bool = False) -> NodeRow:
    """Return a node's row, with its sums still 0."""
    metrics, stats = view.metrics, view.stats
    return NodeRow(
        address=view.address,
        tcp_address=view.tcp_address,
        hostname=view.hostname,
        version=view.version,
        zone=view.zone,
        region=view.region,
        state=view.state.value,
        observed_at=view.observed_at,
        failing_since=view.failing_since,
        error=view.error,
        health=stats.health if stats else "",
        start_time=stats.start_time if stats else 0,
        restarted_at=view.restarted_at,
        out_of_date=out_of_date,
        lookupds=list(view.lookupds),
        is_nsqx=metrics is not None,
        disk_free=metrics.disk_free if metrics else None,
        loop_lag=metrics.loop_lag if metrics else None,
        rss=metrics.rss if metrics else None,
        open_fds=metrics.open_fds if metrics else None,
        fds_max=metrics.fds_max if metrics else None,
        lost_messages=_lost_messages(view),
        answer_ms=view.answer_ms,
    )


def _lost_messages(view: NodeView) -> int | None:
    if view.metrics is None:
        return None
    damage = view.stats.damage if view.stats else None
    return max(view.metrics.lost_messages or 0, damage.lost_messages if damage else 0)


def _add_node(
    view: NodeView, row: NodeRow, topics: dict[str, TopicRow], by_topic: _ByTopic
) -> None:
    """Add what one node has to the rows of topics and channels, and to its own row."""
    if view.stats is None:
        return
    stale = view.state is not DaemonState.OK
    for stats in view.stats.topics or ():
        name = stats.topic_name
        topic = topics.get(name)
        if topic is None:
            topic = topics[name] = TopicRow()
        _add_topic(view, stats, topic, stale=stale)
        channels = by_topic.setdefault(name, {})
        for channel in stats.channels or ():
            _add_channel(channel, channels, row, stale=stale)
        if (rates := view.rates.channels.get(name)) is not None:
            _add_rates(rates, channels, row)
        row.topics += 1
        row.depth += stats.depth
        row.messages += stats.message_count
        row.in_rate += view.rates.topics.get(name, 0.0)


def _add_topic(view: NodeView, stats: TopicStats, topic: TopicRow, *, stale: bool) -> None:
    topic.depth += stats.depth
    topic.messages += stats.message_count
    topic.message_bytes += stats.message_bytes
    topic.in_rate += view.rates.topics.get(stats.topic_name, 0.0)
    topic.paused |= stats.paused
    topic.nodes += 1
    topic.stale += stale
    if view.metrics is not None:
        size = view.metrics.log_bytes.get(stats.topic_name, 0)
        topic.log_bytes = size + (topic.log_bytes or 0)


def _add_channel(
    stats: ChannelStats, channels: dict[str, ChannelRow], row: NodeRow, *, stale: bool
) -> None:
    """Called for each channel of each node each second: half of what the dashboard costs."""
    channel = channels.get(stats.channel_name)
    if channel is None:
        channel = channels[stats.channel_name] = ChannelRow()
    depth, in_flight, clients = stats.depth, stats.in_flight_count, stats.client_count
    channel.nodes += 1
    channel.stale += stale
    channel.messages += stats.message_count
    row.channels += 1
    # Most are 0, and to look is cheaper than to add.
    if depth:
        channel.depth += depth
        row.depth += depth
    if in_flight:
        channel.in_flight += in_flight
        row.in_flight += in_flight
    if clients:
        channel.clients += clients
        row.clients += clients
    if stats.backend_depth:
        channel.backend_depth += stats.backend_depth
    if stats.deferred_count:
        channel.deferred += stats.deferred_count
    if stats.requeue_count:
        channel.requeued += stats.requeue_count
    if stats.timeout_count:
        channel.timed_out += stats.timeout_count
    if stats.paused:
        channel.paused = True


def _add_rates(
    rates: Mapping[str, ChannelRates], channels: dict[str, ChannelRow], row: NodeRow
) -> None:
    for name, (incoming, finished, requeued, timed_out) in rates.items():
        channel = channels[name]
        channel.in_rate += incoming
        channel.out_rate += finished
        channel.requeues += requeued
        channel.timeouts += timed_out
        row.out_rate += finished


def _add_up(topic: TopicRow, channels: Collection[ChannelRow]) -> None:
    """Add the sums of a topic's channels to its own."""
    topic.channels = len(channels)
    topic.total_depth = topic.depth + sum(row.depth for row in channels)
    for row in channels:
        topic.clients += row.clients
        topic.in_flight += row.in_flight
        topic.deferred += row.deferred
        topic.out_rate += row.out_rate
        topic.requeues += row.requeues
        topic.timeouts += row.timeouts


def _add_ages(
    oldest_at: dict[str, dict[str, float]],
    topics: dict[str, TopicRow],
    channels: dict[str, ChannelRow],
) -> None:
    for topic_name, ages in oldest_at.items():
        for channel_name, at in ages.items():
            for row in (topics.get(topic_name), channels.get(f"{topic_name}/{channel_name}")):
                if row is not None:
                    row.oldest_at = at if row.oldest_at is None else min(row.oldest_at, at)


def rounded(rate: float) -> float:
    """Return a rate as it is sent: the rest is noise, and makes every row look changed."""
    return round(rate, 2) if rate < 10 else round(rate, 1)


def _round(
    topics: dict[str, TopicRow], channels: dict[str, ChannelRow], nodes: dict[str, NodeRow]
) -> None:
    rows: Iterator[TopicRow | ChannelRow] = iter((*topics.values(), *channels.values()))
    for row in rows:
        if row.in_rate or row.out_rate or row.requeues or row.timeouts:
            row.in_rate, row.out_rate = rounded(row.in_rate), rounded(row.out_rate)
            row.requeues, row.timeouts = rounded(row.requeues), rounded(row.timeouts)
    for node in nodes.values():
        node.in_rate, node.out_rate = rounded(node.in_rate), rounded(node.out_rate)


def _totals(
    lookupds: dict[str, LookupdRow],
    nodes: dict[str, NodeRow],
    topics: dict[str, TopicRow],
    channels: dict[str, ChannelRow],
) -> Totals:
    rows = topics.values()
    return Totals(
        in_rate=rounded(sum(row.in_rate for row in rows)),
        out_rate=rounded(sum(row.out_rate for row in rows)),
        depth=sum(row.total_depth for row in rows),
        in_flight=sum(row.in_flight for row in rows),
        deferred=sum(row.deferred for row in rows),
        clients=sum(row.clients for row in rows),
        requeues=rounded(sum(row.requeues for row in rows)),
        timeouts=rounded(sum(row.timeouts for row in rows)),
        topics=len(topics),
        channels=len(channels),
        nodes=len(nodes),
        nodes_up=sum(node.state == DaemonState.OK.value for node in nodes.values()),
        lookupds=len(lookupds),
        lookupds_up=sum(each.state == DaemonState.OK.value for each in lookupds.values()),
        oldest_at=min((row.oldest_at for row in rows if row.oldest_at is not None), default=None),
        messages=sum(row.messages for row in rows),
    )
