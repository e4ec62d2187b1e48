"""
Topics, channels and clients in the shapes of NSQ's own API (nsqadmin section 4). No I/O.

A node's own entry names the node; a sum over nodes (also over one) is called ``*``. The order of
the keys is NSQ's. Go adds the channels of other nodes into those of the first one, so that the
numbers of that node are wrong there; here each node keeps its own.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nsqx.cluster.answers import ChannelStats, ClientStats, Latency, TopicStats

__all__ = ["NodeFacts", "channel_at_node", "channel_sum", "topic_at_node", "topic_sum"]

JsonObject = dict[str, Any]

NANOSECONDS = 1_000_000_000
SUM = "*"
LOCALITIES = ("zone_local_msg_count", "region_local_msg_count", "global_msg_count")
TOPIC_COUNTS = ("depth", "memory_depth", "backend_depth", "message_count")
CHANNEL_COUNTS = (
    "depth",
    "memory_depth",
    "backend_depth",
    "in_flight_count",
    "deferred_count",
    "requeue_count",
    "timeout_count",
    "message_count",
)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What entries say about the node that they come from."""

    address: str
    hostname: str
    zone: str
    region: str


# --- at one node ---


def topic_at_node(node: NodeFacts, stats: TopicStats, now_s: int) -> JsonObject:
    """Return TOPIC as one node has it."""
    return {
        "node": node.address,
        "hostname": node.hostname,
        "topic_name": stats.topic_name,
        "depth": stats.depth,
        "memory_depth": stats.depth - stats.backend_depth,
        "backend_depth": stats.backend_depth,
        "message_count": stats.message_count,
        "delivery_msg_count": 0,
        "nodes": None,
        "channels": [
            channel_at_node(node, stats.topic_name, channel, now_s)
            for channel in stats.channels or ()
        ],
        "paused": stats.paused,
        "e2e_processing_latency": _latency(stats.e2e_processing_latency),
    }


def channel_at_node(node: NodeFacts, topic: str, stats: ChannelStats, now_s: int) -> JsonObject:
    """Return CHANNEL as one node has it. Clients were not asked for: null."""
    clients = stats.clients
    return {
        "node": node.address,
        "hostname": node.hostname,
        "topic_name": topic,
        "channel_name": stats.channel_name,
        "depth": stats.depth,
        "memory_depth": stats.depth - stats.backend_depth,
        "backend_depth": stats.backend_depth,
        "in_flight_count": stats.in_flight_count,
        "deferred_count": stats.deferred_count,
        "requeue_count": stats.requeue_count,
        "timeout_count": stats.timeout_count,
        "message_count": stats.message_count,
        **_deliveries({name: getattr(stats, name) for name in LOCALITIES}),
        "client_count": stats.client_count,
        "nodes": None,
        "clients": None if clients is None else [_client(node, each, now_s) for each in clients],
        "paused": stats.paused,
        "e2e_processing_latency": _latency(stats.e2e_processing_latency),
    }


def _deliveries(counts: JsonObject) -> JsonObject:
    """Counts of deliveries are left out when they are 0."""
    shown = {"delivery_msg_count": sum(counts.values()), **counts}
    return {name: count for name, count in shown.items() if count}


def _client(node: NodeFacts, stats: ClientStats, now_s: int) -> JsonObject:
    places = {
        "node_topology_region": node.region,
        "node_topology_zone": node.zone,
        "topology_region": stats.topology_region,
        "topology_zone": stats.topology_zone,
    }
    return {
        "node": node.address,
        "remote_address": stats.remote_address,
        "version": stats.version,
        "client_id": stats.client_id,
        "hostname": stats.hostname,
        "user_agent": stats.user_agent,
        "connect_ts": stats.connect_ts,
        "connected": max(0, now_s - stats.connect_ts) * NANOSECONDS,
        "in_flight_count": stats.in_flight_count,
        "ready_count": stats.ready_count,
        "finish_count": stats.finish_count,
        "requeue_count": stats.requeue_count,
        "message_count": stats.message_count,
        "sample_rate": stats.sample_rate,
        "deflate": stats.deflate,
        "snappy": stats.snappy,
        "authed": stats.authed,
        "auth_identity": stats.auth_identity,
        "auth_identity_url": stats.auth_identity_url,
        **{name: place for name, place in places.items() if place},
        "tls": stats.tls,
        "tls_cipher_suite": stats.tls_cipher_suite,
        "tls_version": stats.tls_version,
        "tls_negotiated_protocol": stats.tls_negotiated_protocol,
        "tls_negotiated_protocol_is_mutual": stats.tls_negotiated_protocol_is_mutual,
    }


def _latency(latency: Latency | None) -> JsonObject:
    count = latency.count if latency else 0
    percentiles = (latency.percentiles if latency else None) or []
    shown = [
        {
            "average": each.value,
            "count": count,
            "max": each.value,
            "min": each.value,
            "quantile": each.quantile,
            "value": each.value,
        }
        for each in percentiles
    ]
    return {"count": count, "percentiles": shown or None, "topic": "", "channel": "", "host": ""}


# --- sums over nodes ---


def topic_sum(topic: str, nodes: Sequence[JsonObject]) -> JsonObject:
    """Return TOPIC over all nodes that have it, from their own entries."""
    # Of a single node NSQ shows the channels as that node has them, and not as sums over one.
    channels = nodes[0]["channels"] if len(nodes) == 1 else _channel_sums(topic, nodes)
    return {
        "node": SUM,
        "hostname": "",
        "topic_name": topic,
        **_add(nodes, TOPIC_COUNTS),
        "delivery_msg_count": 0,
        "nodes": list(nodes),
        "channels": channels or None,
        "paused": any(node["paused"] for node in nodes),
        "e2e_processing_latency": _latency_sum(nodes, topic, ""),
    }


def _channel_sums(topic: str, nodes: Sequence[JsonObject]) -> list[JsonObject]:
    by_channel: dict[str, list[JsonObject]] = {}
    for node in nodes:
        for channel in node["channels"]:
            by_channel.setdefault(channel["channel_name"], []).append(channel)
    return [channel_sum(topic, name, each) for name, each in by_channel.items()]


def channel_sum(topic: str, channel: str, nodes: Sequence[JsonObject]) -> JsonObject:
    """Return CHANNEL over all nodes that have it, from their own entries."""
    clients = [client for node in nodes for client in node["clients"] or ()]
    return {
        "node": SUM,
        "hostname": "",
        "topic_name": topic,
        "channel_name": channel,
        **_add(nodes, CHANNEL_COUNTS),
        **_deliveries(_add(nodes, LOCALITIES)),
        "client_count": sum(node["client_count"] for node in nodes),
        "nodes": list(nodes),
        "clients": sorted(clients, key=_nearest_first) or None,
        "paused": any(node["paused"] for node in nodes),
        "e2e_processing_latency": _latency_sum(nodes, topic, channel),
    }


def _add(entries: Iterable[JsonObject], names: Iterable[str]) -> JsonObject:
    listed = list(entries)
    return {name: sum(entry.get(name, 0) for entry in listed) for name in names}


def _nearest_first(client: JsonObject) -> tuple[str, bool, bool]:
    def differs(place: str) -> bool:
        own = client.get(f"topology_{place}", "")
        return not own or own != client.get(f"node_topology_{place}", "")

    return client["node"], differs("zone"), differs("region")


def _latency_sum(nodes: Iterable[JsonObject], topic: str, channel: str) -> JsonObject:
    """
    Add up latencies as NSQ does.

    Averages are weighted by count. ``min`` is no minimum: NSQ compares the last value with the
    largest, so it is the last one.
    """
    count = 0
    sums: dict[float, JsonObject] = {}
    for node in nodes:
        latency = node["e2e_processing_latency"]
        count += latency["count"]
        for each in latency["percentiles"] or ():
            total = sums.setdefault(
                each["quantile"],
                {"average": 0, "count": 0, "max": 0, "min": 0, "quantile": each["quantile"]},
            )
            total["max"] = max(total["max"], each["max"])
            total["min"] = min(each["max"], total["max"])
            total["count"] += each["count"]
            if total["count"]:
                step = (each["average"] - total["average"]) * each["count"] / total["count"]
                total["average"] += step if math.isfinite(step) else 0
    percentiles = sorted(sums.values(), key=lambda each: -each["quantile"])
    return {
        "count": count,
        "percentiles": percentiles or None,
        "topic": topic,
        "channel": channel,
        "host": SUM,
    }
