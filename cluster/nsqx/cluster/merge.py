"""
The cluster as a whole from what its daemons said: sums over nodes. No I/O; time is in the view.

A node that does not answer counts with what it said last, and is counted in ``stale``. Its rates
are not known; a row of such nodes only has none. A topic of nodes that never answered has nothing
that is known.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeVar

import msgspec

from nsqx.cluster.health import DaemonState
from nsqx.cluster.rates import RATE_COLUMNS
from nsqx.cluster.rows import Attention, ChannelRow, LookupdRow, NodeRow, TopicRow, Totals, Verdict
from nsqx.cluster.sums import Sums, sum_of_channels, sum_of_topics
from nsqx.cluster.versions import version_key
from nsqx.cluster.views import ClusterView, LookupdView, NodeView

__all__ = ["ClusterSnapshot", "merge", "rounded"]

# What nobody knows of a topic whose nodes have never answered.
_UNHEARD = (
    *("depth", "total_depth", "messages", "message_bytes", "clients", "in_flight", "deferred"),
    *("channels", "in_rate", "out_rate", "requeues", "timeouts"),
)

_Row = TypeVar("_Row", TopicRow, ChannelRow)


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


def merge(view: ClusterView) -> ClusterSnapshot:
    """Return the snapshot, not judged yet."""
    out_of_date = _out_of_date(view.nodes)
    nodes = {
        node.address: _node_row(node, out_of_date=node.address in out_of_date)
        for node in view.nodes
    }
    of_channels, owners = sum_of_channels(view)
    of_topics = sum_of_topics(view, of_channels, owners.values())
    topics, channels = _rows(TopicRow, of_topics), _rows(ChannelRow, of_channels)
    for node in view.nodes:
        if node.metrics is not None:
            _add_log_bytes(node.metrics.log_bytes, node.counters.layout.topics, topics)
    _add_ages(view, owners, topics, channels)
    _add_latencies(view, topics, channels)
    _forget_unheard(view, topics)
    lookupds = {lookupd.address: _lookupd_row(lookupd) for lookupd in view.lookupds}
    return ClusterSnapshot(
        t=view.now,
        verdict=Verdict("waiting", "", {}),
        attention=[],
        totals=_totals(lookupds, nodes, topics, len(channels)),
        lookupds=lookupds,
        nodes=nodes,
        topics=topics,
        channels=channels,
    )


def _out_of_date(nodes: Sequence[NodeView]) -> set[str]:
    """Return the addresses of those that speak an older NSQ, or are an older release of ours."""
    newest = max((version_key(node.version) for node in nodes), default=())
    ours = {node.address: node.stats.nsqx_version for node in nodes if node.stats is not None}
    newest_of_ours = max((version_key(version) for version in ours.values()), default=())
    old = {node.address for node in nodes if version_key(node.version) < newest}
    return old | {
        address
        for address, version in ours.items()
        if version and version_key(version) < newest_of_ours
    }


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


def _node_row(view: NodeView, *, out_of_date: bool) -> NodeRow:
    """Return a node's row."""
    metrics, stats = view.metrics, view.stats
    topics, channels = view.counters.topics, view.counters.channels
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
        topics=len(view.counters.layout.topics) if stats else None,
        channels=len(view.counters.layout.channels) if stats else None,
        clients=sum(channels.get("clients", ())) if stats else None,
        depth=sum(topics.get("depth", ())) + sum(channels.get("depth", ())) if stats else None,
        in_flight=sum(channels.get("in_flight", ())) if stats else None,
        messages=sum(topics.get("messages", ())) if stats else None,
        in_rate=_sum_of_rates(view.rates.topics.get("in_rate", ())) if view.rates else None,
        out_rate=_sum_of_rates(view.rates.channels.get("out_rate", ())) if view.rates else None,
        disk_free=metrics.disk_free if metrics else None,
        loop_lag=metrics.loop_lag if metrics else None,
        rss=metrics.rss if metrics else None,
        open_fds=metrics.open_fds if metrics else None,
        fds_max=metrics.fds_max if metrics else None,
        lost_messages=_lost_messages(view),
        answer_ms=view.answer_ms,
    )


def _sum_of_rates(column: Iterable[float]) -> float:
    return rounded(sum(column))


def _lost_messages(view: NodeView) -> int | None:
    if view.metrics is None:
        return None
    damage = view.stats.damage if view.stats else None
    return max(view.metrics.lost_messages or 0, damage.lost_messages if damage else 0)


def _rows(kind: type[_Row], sums: Sums) -> dict[str, _Row]:
    """Return the rows by name."""
    if not sums.names:
        return {}
    columns = {
        name: _rounded(column) if name in RATE_COLUMNS else column
        for name, column in sums.columns.items()
    }
    columns["nodes"] = sums.column("nodes")  # so that one of them has an end
    columns |= _unknown_rates(sums)
    if "paused" in columns:
        columns["paused"] = list(map(bool, columns["paused"]))
    fields = zip(kind.__struct_fields__, kind.__struct_defaults__, strict=True)
    # Lists have no default that can be shared: each row gets one of its own.
    own_lists: Iterable[list[str]] = iter(list, None)
    rows = map(
        kind,
        *(
            own_lists if name.endswith("flags") else columns.get(name) or repeat(default)
            for name, default in fields
        ),
    )
    return dict(zip(sums.names, rows, strict=True))


def _unknown_rates(sums: Sums) -> dict[str, list[float | None]]:
    """Return the columns of rates in which some are not known."""
    rated, nodes = sums.column("rated"), sums.column("nodes")
    if all(rated):
        # What nobody has a number of is 0 then.
        return {name: [0.0] * len(rated) for name in RATE_COLUMNS if name not in sums.columns}
    return {
        name: [
            None if count and not known else rounded(value) if value else 0.0
            for value, count, known in zip(sums.column(name), nodes, rated, strict=True)
        ]
        for name in RATE_COLUMNS
    }


def _forget_unheard(view: ClusterView, topics: Mapping[str, TopicRow]) -> None:
    """Take every number from topics of which only nodes are known that never answered."""
    heard = {node.address for node in view.nodes if node.stats is not None}
    for lookupd in view.lookupds:
        for producer in lookupd.producers:
            if producer.http_address in heard:
                continue
            for name in producer.topics or ():
                if (row := topics.get(name)) is not None and not row.nodes:
                    for number in _UNHEARD:
                        setattr(row, number, None)


def _rounded(column: Iterable[float]) -> list[float]:
    return [rounded(rate) if rate else 0.0 for rate in column]


def _add_log_bytes(
    log_bytes: Mapping[str, int], names: Iterable[str], topics: Mapping[str, TopicRow]
) -> None:
    for name in names:
        row = topics[name]
        row.log_bytes = (row.log_bytes or 0) + log_bytes.get(name, 0)


def _add_ages(
    view: ClusterView,
    owners: Mapping[str, str],
    topics: Mapping[str, TopicRow],
    channels: Mapping[str, ChannelRow],
) -> None:
    oldest: dict[str, float] = {}
    for node in view.nodes:
        for key, at in node.metrics.oldest_at.items() if node.metrics else ():
            if at < oldest.get(key, math.inf):
                oldest[key] = at
    for key in channels.keys() & oldest.keys():
        channels[key].oldest_at = at = oldest[key]
        topic = topics[owners[key]]
        topic.oldest_at = at if topic.oldest_at is None else min(topic.oldest_at, at)


def _add_latencies(
    view: ClusterView, topics: Mapping[str, TopicRow], channels: Mapping[str, ChannelRow]
) -> None:
    """The highest percentile of the slowest node, in seconds: of those that answer."""
    for node in view.nodes:
        if not node.is_current:
            continue
        for key, latency in node.latencies.items():
            row = channels.get(key) if "/" in key else topics.get(key)
            if row is not None:
                slowest = max(each.value for each in latency.percentiles or ()) / 1e9
                row.latency = max(row.latency or 0.0, round(slowest, 4))


def rounded(rate: float) -> float:
    """Return a rate as it is sent: the rest is noise, and makes every row look changed."""
    return round(rate, 2) if rate < 10 else round(rate, 1)


def _totals(
    lookupds: dict[str, LookupdRow],
    nodes: dict[str, NodeRow],
    topics: dict[str, TopicRow],
    channels: int,
) -> Totals:
    rows = topics.values()
    is_heard = not nodes or any(node.depth is not None for node in nodes.values())
    is_rated = not nodes or any(node.in_rate is not None for node in nodes.values())

    def total(name: str) -> Any:
        """Return what is known in all; None if nothing is."""
        return sum(getattr(row, name) or 0 for row in rows) if is_heard else None

    def rate(name: str) -> float | None:
        return _sum_of_rates(getattr(row, name) or 0.0 for row in rows) if is_rated else None

    return Totals(
        in_rate=rate("in_rate"),
        out_rate=rate("out_rate"),
        depth=total("total_depth"),
        in_flight=total("in_flight"),
        deferred=total("deferred"),
        clients=total("clients"),
        requeues=rate("requeues"),
        timeouts=rate("timeouts"),
        topics=len(topics),
        channels=channels,
        nodes=len(nodes),
        nodes_up=sum(node.state == DaemonState.OK.value for node in nodes.values()),
        lookupds=len(lookupds),
        lookupds_up=sum(each.state == DaemonState.OK.value for each in lookupds.values()),
        oldest_at=min((row.oldest_at for row in rows if row.oldest_at is not None), default=None),
        messages=total("messages"),
    )
