"""
The picture of the cluster: lookupds, nodes, topics, channels, clients, and what flows. No I/O.

Clients of a channel are counted by host, so that a thousand workers on ten hosts are ten boxes.
"""

import msgspec

from nsqx.admin.shown.feed import Document
from nsqx.cluster.merge import ClusterSnapshot, rounded
from nsqx.cluster.views import ClusterView, NodeView
from nsqx.net.host_port import host_of

__all__ = [
    "DrawnChannel",
    "DrawnClients",
    "DrawnEdge",
    "DrawnLookupd",
    "DrawnNode",
    "DrawnProducer",
    "DrawnTopic",
    "topology_document",
]


class DrawnLookupd(msgspec.Struct):
    state: str


class DrawnNode(msgspec.Struct, rename={"in_rate": "in"}):
    state: str
    hostname: str
    in_rate: float | None


class DrawnTopic(msgspec.Struct, rename={"in_rate": "in"}):
    in_rate: float | None
    depth: int | None
    flags: list[str]


class DrawnChannel(msgspec.Struct, rename={"out_rate": "out"}):
    out_rate: float | None
    depth: int
    flags: list[str]


class DrawnProducer(msgspec.Struct):
    topic: str
    host: str
    node: str
    messages: int = 0


class DrawnClients(msgspec.Struct, rename={"out_rate": "out"}):
    channel: str
    host: str
    count: int = 0
    in_flight: int = 0
    ready: int = 0
    out_rate: float | None = 0.0


class DrawnEdge(msgspec.Struct):
    rate: float | None


def topology_document(view: ClusterView, snapshot: ClusterSnapshot) -> Document:
    """Return the document."""
    producers: dict[str, DrawnProducer] = {}
    clients: dict[str, DrawnClients] = {}
    edges: dict[str, DrawnEdge] = {}
    for node in view.nodes:
        _add_flows(node, edges)
        _add_clients(node, clients)
        _add_producers(node, producers, edges)
    for key, channel in snapshot.channels.items():
        edges[f"{key.partition('/')[0]}>{key}"] = DrawnEdge(channel.in_rate)
    for key, group in clients.items():
        group.out_rate = None if group.out_rate is None else rounded(group.out_rate)
        edges[f"{group.channel}>{key}"] = DrawnEdge(group.out_rate)
    return {
        "lookupds": {key: DrawnLookupd(row.state) for key, row in snapshot.lookupds.items()},
        "nodes": {
            key: DrawnNode(row.state, row.hostname, row.in_rate)
            for key, row in snapshot.nodes.items()
        },
        "topics": {
            key: DrawnTopic(row.in_rate, row.depth, row.flags)
            for key, row in snapshot.topics.items()
        },
        "channels": {
            key: DrawnChannel(row.out_rate, row.depth, row.flags)
            for key, row in snapshot.channels.items()
        },
        "producers": producers,
        "clients": clients,
        "edges": edges,
    }


def _add_flows(node: NodeView, edges: dict[str, DrawnEdge]) -> None:
    for lookupd in node.lookupds:
        edges[f"{lookupd}>{node.address}"] = DrawnEdge(None)
    for topic in (node.stats.topics or ()) if node.stats else ():
        rate = None if node.rates is None else rounded(node.rates.of_topic(topic.topic_name))
        edges[f"{node.address}>{topic.topic_name}"] = DrawnEdge(rate)


def _add_clients(node: NodeView, clients: dict[str, DrawnClients]) -> None:
    for topic in (node.with_clients.topics or ()) if node.with_clients else ():
        for channel in topic.channels or ():
            channel_key = f"{topic.topic_name}/{channel.channel_name}"
            for client in channel.clients or ():
                host = client.hostname or host_of(client.remote_address)
                key = f"{channel_key}@{host}"
                group = clients.setdefault(key, DrawnClients(channel_key, host))
                group.count += 1
                group.in_flight += client.in_flight_count
                group.ready += client.ready_count
                rate = node.finish_rates.get(client.remote_address)
                is_known = node.is_current and rate is not None and group.out_rate is not None
                group.out_rate = (group.out_rate or 0.0) + (rate or 0.0) if is_known else None


def _add_producers(
    node: NodeView, producers: dict[str, DrawnProducer], edges: dict[str, DrawnEdge]
) -> None:
    for producer in (node.with_clients.producers or ()) if node.with_clients else ():
        host = producer.hostname or host_of(producer.remote_address)
        for published in producer.pub_counts or ():
            key = f"{published.topic}@{host}"
            row = producers.setdefault(key, DrawnProducer(published.topic, host, node.address))
            row.messages += published.count
            edges[f"{key}>{node.address}"] = DrawnEdge(None)
