"""
What nsqds and lookupds answer over HTTP, as far as the dashboard reads it.

Only names that identify something are required, so that nodes of other versions can be read. Go
writes null for an empty list; ``or ()`` where one is read.
"""

import msgspec

__all__ = [
    "ChannelStats",
    "ChannelsAnswer",
    "LookupAnswer",
    "NodesAnswer",
    "NsqdInfo",
    "NsqdStats",
    "Producer",
    "TopicStats",
    "TopicsAnswer",
]


class Producer(msgspec.Struct):
    """An nsqd as a lookupd knows it. ``topics`` and ``tombstones`` are parallel."""

    broadcast_address: str
    tcp_port: int
    http_port: int
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


class LookupAnswer(msgspec.Struct):
    """lookupd ``/lookup``."""

    producers: list[Producer] | None = None


class TopicsAnswer(msgspec.Struct):
    """lookupd ``/topics``."""

    topics: list[str] | None = None


class ChannelsAnswer(msgspec.Struct):
    """lookupd ``/channels``."""

    channels: list[str] | None = None


class NsqdInfo(msgspec.Struct):
    """nsqd ``/info``."""

    broadcast_address: str
    tcp_port: int
    http_port: int
    hostname: str = ""
    version: str = ""
    topology_zone: str = ""
    topology_region: str = ""


class ChannelStats(msgspec.Struct):
    """A channel in nsqd's ``/stats``."""

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


class TopicStats(msgspec.Struct):
    """A topic in nsqd's ``/stats``."""

    topic_name: str
    depth: int = 0
    backend_depth: int = 0
    message_count: int = 0
    paused: bool = False
    channels: list[ChannelStats] | None = None


class NsqdStats(msgspec.Struct):
    """nsqd ``/stats?format=json``."""

    version: str = ""
    health: str = ""
    start_time: int = 0
    topics: list[TopicStats] | None = None
