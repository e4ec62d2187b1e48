"""
What nsqds and lookupds answer over HTTP, as far as the dashboard reads it.

Only names that identify something are required, so that nodes of other versions can be read. Go
writes null for an empty list; ``or ()`` where one is read.

``gc=False``: tens of thousands of these are made each second and hold no cycles, so the collector
need not look at them.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from nsqx.cluster.number_fields import with_stats_fields
from nsqx.net.host_port import format_host_port
from nsqx.runtime import numbers

__all__ = [
    "ChannelCounts",
    "ChannelStats",
    "ChannelsAnswer",
    "ClientStats",
    "Damage",
    "Latency",
    "LookupAnswer",
    "NodeCounts",
    "NodesAnswer",
    "NsqdInfo",
    "NsqdStats",
    "Producer",
    "PublishCount",
    "Quantile",
    "TopicCounts",
    "TopicStats",
    "TopicsAnswer",
]


# What a host may look like: whoever reaches a lookupd can say that a node is at "host:1/path?x=".
_HOST = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9_.])?|\[?[0-9A-Fa-f:.]{2,45}(?:%\w{1,32})?\]?"
)
# Where clouds give their machines' secrets to anybody who asks from there: no node.
_METADATA = frozenset({"169.254.169.254", "fd00:ec2::254", "metadata.google.internal"})


class _Addressed(msgspec.Struct, gc=False):
    """Who says where it is to be reached."""

    broadcast_address: str
    tcp_port: int
    http_port: int

    @property
    def http_address(self) -> str:
        return format_host_port(self.broadcast_address, self.http_port)

    @property
    def tcp_address(self) -> str:
        return format_host_port(self.broadcast_address, self.tcp_port)

    @property
    def is_addressable(self) -> bool:
        """Whether the address is one that may be asked."""
        host = self.broadcast_address
        ports = (self.tcp_port, self.http_port)
        return (
            _HOST.fullmatch(host) is not None
            and host.lower().rstrip(".") not in _METADATA
            and all(0 <= port <= 65535 for port in ports)
        )


class Producer(_Addressed, gc=False):
    """An nsqd as a lookupd knows it. ``topics`` and ``tombstones`` are parallel."""

    hostname: str = ""
    remote_address: str = ""
    version: str = ""
    topology_zone: str = ""
    topology_region: str = ""
    topics: list[str] | None = None
    tombstones: list[bool] | None = None


class NodesAnswer(msgspec.Struct):
    """lookupd ``/nodes``."""

    producers: list[Producer] | None = None

    @property
    def nodes(self) -> list[Producer]:
        """Those at an address that may be asked."""
        return [each for each in self.producers or () if each.is_addressable]


class LookupAnswer(NodesAnswer):
    """lookupd ``/lookup``."""


class TopicsAnswer(msgspec.Struct):
    """lookupd ``/topics``."""

    topics: list[str] | None = None


class ChannelsAnswer(msgspec.Struct):
    """lookupd ``/channels``."""

    channels: list[str] | None = None


class NsqdInfo(_Addressed):
    """nsqd ``/info``."""

    hostname: str = ""
    version: str = ""
    topology_zone: str = ""
    topology_region: str = ""


class Quantile(msgspec.Struct, gc=False):
    """One percentile of a latency; ``value`` is nanoseconds."""

    quantile: float = 0.0
    value: float = 0.0


class Latency(msgspec.Struct, gc=False):
    """``e2e_processing_latency``."""

    count: int = 0
    percentiles: list[Quantile] | None = None


class PublishCount(msgspec.Struct, gc=False):
    """What a producer has published to one topic."""

    topic: str = ""
    count: int = 0


class ClientStats(msgspec.Struct, gc=False):
    """A client of a channel, or a producer, in nsqd's ``/stats``."""

    client_id: str = ""
    hostname: str = ""
    version: str = ""
    remote_address: str = ""
    ready_count: int = 0
    in_flight_count: int = 0
    message_count: int = 0
    finish_count: int = 0
    requeue_count: int = 0
    connect_ts: int = 0
    sample_rate: int = 0
    deflate: bool = False
    snappy: bool = False
    user_agent: str = ""
    authed: bool = False
    auth_identity: str = ""
    auth_identity_url: str = ""
    topology_zone: str = ""
    topology_region: str = ""
    tls: bool = False
    tls_cipher_suite: str = ""
    tls_version: str = ""
    tls_negotiated_protocol: str = ""
    tls_negotiated_protocol_is_mutual: bool = False
    pub_counts: list[PublishCount] | None = None


@with_stats_fields(numbers.CHANNEL)
class ChannelCounts(msgspec.Struct, gc=False):
    """A channel in nsqd's ``/stats``: what is read each second."""

    channel_name: str
    depth: int = 0
    backend_depth: int = 0
    in_flight_count: int = 0
    deferred_count: int = 0
    message_count: int = 0
    requeue_count: int = 0
    timeout_count: int = 0
    client_count: int = 0
    paused: bool = False


class ChannelStats(ChannelCounts, gc=False):
    """A channel in nsqd's ``/stats``: all of it."""

    zone_local_msg_count: int = 0
    region_local_msg_count: int = 0
    global_msg_count: int = 0
    clients: list[ClientStats] | None = None
    e2e_processing_latency: Latency | None = None


@with_stats_fields(numbers.TOPIC)
class TopicCounts(msgspec.Struct, gc=False):
    """A topic in nsqd's ``/stats``: what is read each second."""

    topic_name: str
    depth: int = 0
    backend_depth: int = 0
    message_count: int = 0
    message_bytes: int = 0
    paused: bool = False
    channels: Sequence[ChannelCounts] | None = None


class TopicStats(TopicCounts, gc=False):
    """A topic in nsqd's ``/stats``: all of it."""

    channels: Sequence[ChannelStats] | None = None
    e2e_processing_latency: Latency | None = None


class Damage(msgspec.Struct):
    """Ours: where a log was found damaged."""

    places: int = 0
    lost_messages: int = 0


class NodeCounts(msgspec.Struct):
    """
    nsqd ``/stats?format=json``: what is read each second.

    What is not named here costs a third of what it would cost to keep.
    """

    version: str = ""
    nsqx_version: str = ""  # of ours, whose ``version`` is that of the protocol
    health: str = ""
    start_time: int = 0
    topics: Sequence[TopicCounts] | None = None
    memory: dict[str, Any] | None = None
    damage: Damage | None = None


class NsqdStats(NodeCounts):
    """nsqd ``/stats?format=json``: all of it."""

    topics: Sequence[TopicStats] | None = None
    producers: list[ClientStats] | None = None
