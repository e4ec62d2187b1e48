"""
The documents about one topic, channel or node (docs/admin-api.md), from what was seen last. No I/O.

Each function returns the sections, or None if there is no such thing.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from nsqx.admin.shown.feed import Document
from nsqx.cluster.answers import ChannelCounts, ClientStats, TopicCounts
from nsqx.cluster.merge import ClusterSnapshot, rounded
from nsqx.cluster.number_fields import added_names, added_values
from nsqx.cluster.rows import (
    Attention,
    ChannelAtNode,
    ChannelRow,
    ClientRow,
    QuantileRow,
    TopicAtNode,
)
from nsqx.cluster.views import ClusterView, NodeView
from nsqx.runtime import numbers

__all__ = [
    "channel_document",
    "clients_of",
    "node_document",
    "summary_document",
    "topic_document",
]

NANOSECONDS = 1_000_000_000
_NOT_TOLD = dict.fromkeys(added_names(TopicAtNode))  # of a node that never answered


def summary_document(snapshot: ClusterSnapshot) -> Document:
    """Return the document of the home page."""
    return {
        "verdict": snapshot.verdict,
        "attention": snapshot.attention,
        "totals": snapshot.totals,
        "lookupds": snapshot.lookupds,
        "nodes": snapshot.nodes,
        "topics": snapshot.topics,
        "channels": snapshot.channels,
    }


def topic_document(view: ClusterView, snapshot: ClusterSnapshot, topic: str) -> Document | None:
    """Return the document of a topic."""
    row = snapshot.topics.get(topic)
    if row is None:
        return None
    nodes: dict[str, TopicAtNode] = {}
    for node in view.nodes_with(topic):
        nodes[node.address] = TopicAtNode(
            node.state.value, node.observed_at, topic in node.tombstoned, **_NOT_TOLD
        )
        for stats in _topics(node):
            if stats.topic_name == topic:
                nodes[node.address] = _topic_at_node(node, stats)
    channels = {
        key.partition("/")[2]: channel
        for key, channel in snapshot.channels.items()
        if key.startswith(f"{topic}/")
    }
    attention = [each for each in snapshot.attention if each.topic == topic]
    return {
        "topic": topic,
        "row": row,
        "channels": channels,
        "nodes": nodes,
        "attention": attention,
    }


def channel_document(
    view: ClusterView, snapshot: ClusterSnapshot, topic: str, channel: str
) -> Document | None:
    """Return the document of a channel, with its clients."""
    row = snapshot.channels.get(f"{topic}/{channel}")
    if row is None:
        return None
    nodes: dict[str, ChannelAtNode] = {}
    clients: dict[str, ClientRow] = {}
    for node in view.nodes:
        if (stats := node.channel(topic, channel)) is not None:
            nodes[node.address] = _channel_at_node(node, topic, stats)
        for client in clients_of(node, topic, channel):
            clients[f"{node.address}/{client.remote_address}"] = client
    attention = [
        each for each in snapshot.attention if (each.topic, each.channel) == (topic, channel)
    ]
    return {
        "topic": topic,
        "channel": channel,
        "row": row,
        "nodes": nodes,
        "clients": clients,
        "drain_seconds": drain_seconds(row),
        "attention": attention,
    }


def drain_seconds(row: ChannelRow) -> float | None:
    """Return when the backlog is gone at the present rates; None: nothing waits, or never."""
    if not row.depth or row.out_rate is None or row.in_rate is None:
        return None
    surplus = row.out_rate - row.in_rate
    if surplus <= 0:
        return None
    return round(row.depth / surplus, 1)


def node_document(view: ClusterView, snapshot: ClusterSnapshot, address: str) -> Document | None:
    """Return the document of a node: its topics, channels and clients."""
    node, row = view.node(address), snapshot.nodes.get(address)
    if node is None or row is None:
        return None
    # That changes each time, so it is asked for with the clients only.
    stats = node.with_clients
    return {
        "node": row,
        "topics": {each.topic_name: _topic_at_node(node, each) for each in _topics(node)},
        "channels": {
            f"{topic.topic_name}/{channel.channel_name}": _channel_at_node(
                node, topic.topic_name, channel
            )
            for topic in _topics(node)
            for channel in topic.channels or ()
        },
        "clients": {client.remote_address: client for client in _all_clients(node)},
        "memory": stats.memory if stats else None,
        "attention": _attention_of_node(snapshot, node),
    }


def _attention_of_node(snapshot: ClusterSnapshot, node: NodeView) -> list[Attention]:
    topics = {topic.topic_name for topic in _topics(node)}
    return [
        each for each in snapshot.attention if each.node == node.address or each.topic in topics
    ]


def _topics(node: NodeView) -> Sequence[TopicCounts]:
    return (node.stats.topics or ()) if node.stats else ()


def _topic_at_node(node: NodeView, stats: TopicCounts) -> TopicAtNode:
    name, metrics = stats.topic_name, node.metrics
    channels = stats.channels or ()
    oldest = [_oldest_at(node, name, channel) for channel in channels]
    of_channels, rates = partial(node.counters.total_of_topic, topic=name), node.rates
    return TopicAtNode(
        state=node.state.value,
        observed_at=node.observed_at,
        tombstoned=name in node.tombstoned,
        depth=stats.depth,
        total_depth=stats.depth + of_channels("depth"),
        backend_depth=stats.backend_depth + of_channels("backend_depth"),
        messages=stats.message_count,
        message_bytes=stats.message_bytes,
        in_rate=_rate(node, "in_rate", name),
        out_rate=None if rates is None else rounded(rates.total_of_topic("out_rate", name)),
        paused=stats.paused,
        channels=len(channels),
        clients=of_channels("clients"),
        oldest_at=min((at for at in oldest if at is not None), default=None),
        log_bytes=metrics.log_bytes.get(name) if metrics else None,
        log_segments=metrics.log_segments.get(name) if metrics else None,
        e2e=_quantiles(node, name),
        is_nsqx=node.is_nsqx,
        **added_values(
            TopicAtNode,
            numbers.TOPIC,
            stats,
            lambda rate: _rate(node, rate, name),
        ),
    )


def _channel_at_node(node: NodeView, topic: str, stats: ChannelCounts) -> ChannelAtNode:
    def rate(name: str) -> float | None:
        return _rate(node, name, topic, stats.channel_name)

    return ChannelAtNode(
        state=node.state.value,
        observed_at=node.observed_at,
        depth=stats.depth,
        backend_depth=stats.backend_depth,
        in_flight=stats.in_flight_count,
        deferred=stats.deferred_count,
        requeued=stats.requeue_count,
        timed_out=stats.timeout_count,
        messages=stats.message_count,
        in_rate=rate("in_rate"),
        out_rate=rate("out_rate"),
        requeues=rate("requeues"),
        timeouts=rate("timeouts"),
        clients=stats.client_count,
        paused=stats.paused,
        oldest_at=_oldest_at(node, topic, stats),
        e2e=_quantiles(node, f"{topic}/{stats.channel_name}"),
        **added_values(
            ChannelAtNode,
            numbers.CHANNEL,
            stats,
            rate,
        ),
    )


def _rate(node: NodeView, name: str, topic: str, channel: str = "") -> float | None:
    """Return what flows now; None if the node does not say."""
    return None if node.rates is None else rounded(node.rates.rate(name, topic, channel))


def _oldest_at(node: NodeView, topic: str, stats: ChannelCounts) -> float | None:
    return node.metrics.oldest_at.get(f"{topic}/{stats.channel_name}") if node.metrics else None


def _quantiles(node: NodeView, key: str) -> list[QuantileRow] | None:
    latency = node.latencies.get(key)
    if latency is None or not latency.percentiles:
        return None
    return [QuantileRow(each.quantile, each.value / NANOSECONDS) for each in latency.percentiles]


def clients_of(node: NodeView, topic: str, channel: str) -> Iterator[ClientRow]:
    """Yield the consumers of a channel at a node."""
    for client, topic_name, channel_name in _clients(node):
        if (topic_name, channel_name) == (topic, channel):
            yield _client_row(node.address, topic, channel, client)


def _all_clients(node: NodeView) -> Iterator[ClientRow]:
    for client, topic, channel in _clients(node):
        yield _client_row(node.address, topic, channel, client)


def _clients(node: NodeView) -> Iterator[tuple[ClientStats, str, str]]:
    for topic in (node.with_clients.topics or ()) if node.with_clients else ():
        for channel in topic.channels or ():
            for client in channel.clients or ():
                yield client, topic.topic_name, channel.channel_name


def _client_row(node: str, topic: str, channel: str, client: ClientStats) -> ClientRow:
    return ClientRow(
        node=node,
        topic=topic,
        channel=channel,
        remote_address=client.remote_address,
        client_id=client.client_id,
        hostname=client.hostname,
        user_agent=client.user_agent,
        version=client.version,
        connected_at=float(client.connect_ts) or None,
        ready=client.ready_count,
        in_flight=client.in_flight_count,
        messages=client.message_count,
        finished=client.finish_count,
        requeued=client.requeue_count,
        sample_rate=client.sample_rate,
        tls=client.tls,
        tls_version=client.tls_version,
        compression="deflate" if client.deflate else "snappy" if client.snappy else "",
        authed=client.authed,
        identity=client.auth_identity,
        identity_url=client.auth_identity_url,
        zone=client.topology_zone,
        region=client.topology_region,
    )
