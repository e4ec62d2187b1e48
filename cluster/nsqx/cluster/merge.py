"""
The cluster as a whole from what its daemons said: sums over nodes. No I/O; time is in the view.

A node that does not answer counts with what it said last, and is counted in ``stale``.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import TypeVar

import msgspec

from nsqx.cluster.health import DaemonState
from nsqx.cluster.rates import RATE_COLUMNS
from nsqx.cluster.rows import Attention, ChannelRow, LookupdRow, NodeRow, TopicRow, Totals, Verdict
from nsqx.cluster.sums import Sums, sum_of_channels, sum_of_topics
from nsqx.cluster.versions import version_key
from nsqx.cluster.views import ClusterView, LookupdView, NodeView

__all__ = ["ClusterSnapshot", "merge", "rounded"]

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
        topics=len(view.counters.layout.topics),
        channels=len(view.counters.layout.channels),
        clients=sum(channels.get("clients", ())),
        depth=sum(topics.get("depth", ())) + sum(channels.get("depth", ())),
        in_flight=sum(channels.get("in_flight", ())),
        messages=sum(topics.get("messages", ())),
        in_rate=rounded(sum(view.rates.topics.get("in_rate", ()))),
        out_rate=rounded(sum(view.rates.channels.get("out_rate", ()))),
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


def _rows(kind: type[_Row], sums: Sums) -> dict[str, _Row]:
    """Return the rows by name."""
    if not sums.names:
        return {}
    columns = {
        name: _rounded(column) if name in RATE_COLUMNS else column
        for name, column in sums.columns.items()
    }
    columns["nodes"] = sums.column("nodes")  # so that one of them has an end
    if "paused" in columns:
        columns["paused"] = list(map(bool, columns["paused"]))
    fields = zip(kind.__struct_fields__, kind.__struct_defaults__, strict=True)
    # ``flags`` has no default that can be shared: each row gets a list of its own.
    own_lists: Iterable[list[str]] = iter(list, None)
    rows = map(
        kind,
        *(
            own_lists if name == "flags" else columns.get(name) or repeat(default)
            for name, default in fields
        ),
    )
    return dict(zip(sums.names, rows, strict=True))


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
        channels=channels,
        nodes=len(nodes),
        nodes_up=sum(node.state == DaemonState.OK.value for node in nodes.values()),
        lookupds=len(lookupds),
        lookupds_up=sum(each.state == DaemonState.OK.value for each in lookupds.values()),
        oldest_at=min((row.oldest_at for row in rows if row.oldest_at is not None), default=None),
        messages=sum(row.messages for row in rows),
    )
