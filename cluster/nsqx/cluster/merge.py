"""
The cluster as a whole from what its daemons said: sums over nodes. No I/O; time is in the view.

A node that does not answer counts with what it said last, and is counted in ``stale``. Its rates
are not known; a row of such nodes only has none. A topic of nodes that never answered has nothing
that is known.

``Merger`` looks again and again: rows stay the same objects as long as what they are made from
does, so a cluster in which nothing moves costs next to nothing, however large it is.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

import msgspec

from nsqx.cluster.health import DaemonState
from nsqx.cluster.number_fields import added_names
from nsqx.cluster.rates import RATE_COLUMNS
from nsqx.cluster.rows import Attention, ChannelRow, LookupdRow, NodeRow, TopicRow, Totals, Verdict
from nsqx.cluster.sums import Sums, sum_of_channels, sum_of_topics
from nsqx.cluster.versions import version_key
from nsqx.cluster.views import ClusterView, LookupdView, NodeView

__all__ = ["ClusterSnapshot", "Merger", "merge", "rounded"]

# What nobody knows of a topic whose nodes have never answered.
_UNHEARD = (
    *("depth", "total_depth", "messages", "message_bytes", "clients", "in_flight", "deferred"),
    *("channels", "in_rate", "out_rate", "requeues", "timeouts"),
    *added_names(TopicRow),
)

_OTHERS = added_names(NodeRow)

_Row = TypeVar("_Row", TopicRow, ChannelRow)


class ClusterSnapshot(msgspec.Struct):
    """
    The summary document. Complete once ``Watch`` has judged it; nobody changes it afterwards.
    Rows, and topics and channels as a whole, are those of the snapshot before if they are alike.

    Channels are by ``topic/channel``. ``t`` is shown; intervals are between ``at_s``, and by that
    clock is when a node began anew, as far as it was seen.
    """

    t: float
    at_s: float
    restarts: dict[str, float]
    verdict: Verdict
    attention: list[Attention]
    totals: Totals
    lookupds: dict[str, LookupdRow]
    nodes: dict[str, NodeRow]
    topics: dict[str, TopicRow]
    channels: dict[str, ChannelRow]


class _Rows(NamedTuple):
    """Of topics and channels, and their totals."""

    topics: dict[str, TopicRow]
    channels: dict[str, ChannelRow]
    totals: Totals


class Merger:
    """Merges one view after another."""

    def __init__(self) -> None:
        self._inputs: list[Any] = []
        self._rows: _Rows | None = None

    def merge(self, view: ClusterView) -> ClusterSnapshot:
        """Return the snapshot, not judged yet."""
        inputs = _inputs_of(view)
        if self._rows is None or inputs != self._inputs:
            self._rows, self._inputs = _merged_rows(view), inputs
        return _snapshot(view, self._rows)


def merge(view: ClusterView) -> ClusterSnapshot:
    """Return the snapshot of one view, not judged yet."""
    return _snapshot(view, _merged_rows(view))


def _inputs_of(view: ClusterView) -> list[Any]:
    """
    Return what rows of topics and channels are made from.

    The collector keeps objects that say the same, and whatever is the same object is equal at once.
    """
    of_nodes = [
        (node.address, node.state, node.stats is None, node.counters, node.rates)
        for node in view.nodes
    ]
    said = [
        (node.latencies, node.metrics and (node.metrics.oldest_at, node.metrics.log_bytes))
        for node in view.nodes
    ]
    listed = [(each.topics, each.producers, each.observed_at is not None) for each in view.lookupds]
    return [of_nodes, said, listed]


def _snapshot(view: ClusterView, rows: _Rows) -> ClusterSnapshot:
    out_of_date = _out_of_date(view.nodes)
    nodes = {
        node.address: _node_row(node, out_of_date=node.address in out_of_date)
        for node in view.nodes
    }
    lookupds = {lookupd.address: _lookupd_row(lookupd) for lookupd in view.lookupds}
    return ClusterSnapshot(
        t=view.now,
        at_s=view.at_s,
        restarts={
            node.address: node.restarted_at_s
            for node in view.nodes
            if node.restarted_at_s is not None
        },
        verdict=Verdict("waiting", "", {}),
        attention=[],
        totals=msgspec.structs.replace(
            rows.totals,
            nodes_up=sum(node.state == DaemonState.OK.value for node in nodes.values()),
            lookupds=len(lookupds),
            lookupds_up=sum(each.state == DaemonState.OK.value for each in lookupds.values()),
        ),
        lookupds=lookupds,
        nodes=nodes,
        topics=rows.topics,
        channels=rows.channels,
    )


def _merged_rows(view: ClusterView) -> _Rows:
    of_channels, owners = sum_of_channels(view)
    of_topics = sum_of_topics(view, of_channels, owners.values())
    topics, channels = _rows(TopicRow, of_topics), _rows(ChannelRow, of_channels)
    for node in view.nodes:
        if node.metrics is not None:
            _add_log_bytes(node.metrics.log_bytes, node.counters.layout.topics, topics)
    _add_ages(view, owners, topics, channels)
    _add_latencies(view, topics, channels)
    _mark_unheard(view, topics)
    return _Rows(topics, channels, _totals(view, topics, len(channels)))


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
        nodes=None if view.observed_at is None else len(view.producers),
        topics=None if view.observed_at is None else len(view.topics) + view.left_out,
        found=view.found,
        left_out=view.left_out,
    )


def _node_row(view: NodeView, *, out_of_date: bool) -> NodeRow:
    """Return a node's row."""
    metrics, stats = view.metrics, view.stats
    counters, rates = view.counters, view.rates
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
        start_time=(stats.start_time or None) if stats else None,
        restarted_at=view.restarted_at,
        out_of_date=out_of_date,
        lookupds=list(view.lookupds),
        is_nsqx=view.is_nsqx,
        topics=len(counters.layout.topics) if stats else None,
        channels=len(counters.layout.channels) if stats else None,
        clients=counters.total("clients") if stats else None,
        depth=counters.total("depth", of_topics=True) + counters.total("depth") if stats else None,
        in_flight=counters.total("in_flight") if stats else None,
        messages=counters.total("messages", of_topics=True) if stats else None,
        in_rate=rounded(rates.total("in_rate", of_topics=True)) if rates else None,
        out_rate=rounded(rates.total("out_rate")) if rates else None,
        disk_free=metrics.disk_free if metrics else None,
        loop_lag=metrics.loop_lag if metrics else None,
        rss=metrics.rss if metrics else None,
        open_fds=metrics.open_fds if metrics else None,
        fds_max=metrics.fds_max if metrics else None,
        lost_messages=_lost_messages(view),
        draining=metrics.draining if metrics else None,
        answer_ms=None if view.observed_at is None else view.answer_ms,
        **{name: metrics.others.get(name) if metrics else None for name in _OTHERS},
    )


def _sum_of_rates(column: Iterable[float]) -> float:
    return rounded(sum(column))


def _lost_messages(view: NodeView) -> int | None:
    if view.metrics is None:
        return None
    damage = view.stats.damage if view.stats else None
    told = (view.metrics.lost_messages, damage.lost_messages if damage else None)
    return max((count for count in told if count is not None), default=None)


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


def _mark_unheard(view: ClusterView, topics: Mapping[str, TopicRow]) -> None:
    """
    Count the nodes that lookupds list and that never answered as those that stopped to.

    A topic of which only such nodes are known has no number. One that is asked for the first time
    will have answered in a moment, and does not count yet.
    """
    failed = {node.address for node in view.nodes if node.state is DaemonState.UNREACHABLE}
    for address, names in view.unheard().items():
        for row in filter(None, map(topics.get, names)):
            if not row.nodes:
                for number in _UNHEARD:
                    setattr(row, number, None)
            if address in failed:
                row.nodes += 1
                row.stale += 1


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


def _totals(view: ClusterView, topics: dict[str, TopicRow], channels: int) -> Totals:
    """Return the totals but for who answers."""
    rows, nodes = topics.values(), view.nodes
    told = [lookupd for lookupd in view.lookupds if lookupd.observed_at is not None]
    # Without nodes there is nothing, if somebody has said so.
    is_known = bool(nodes or told or not view.lookupds)
    is_heard = is_known and (not nodes or any(node.stats is not None for node in nodes))
    is_rated = is_known and (not nodes or any(node.rates is not None for node in nodes))

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
        topics=len(topics) if is_known else None,
        channels=channels if is_heard else None,
        nodes=len(nodes) if is_known else None,
        oldest_at=min((row.oldest_at for row in rows if row.oldest_at is not None), default=None),
        messages=total("messages"),
    )
