"""
How each number of the table (``nsqx.runtime.numbers``) is read from a topic, a channel or a node.

A number that is an attribute of its own name needs no entry here.
"""

import sys
import time
from collections.abc import Callable
from operator import attrgetter
from typing import Protocol

from nsqx.nsqd.core.broker import Broker
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.topic import Refusal, Topic
from nsqx.nsqd.telling.memory_stats import resident_bytes
from nsqx.runtime import numbers
from nsqx.runtime.numbers import Number, Stats

__all__ = [
    "ChannelReading",
    "NodeReading",
    "Scrape",
    "TopicReading",
    "of_channel",
    "of_node",
    "of_topic",
    "read_channel",
    "read_topic",
]

TopicReading = Callable[[Topic], float]
ChannelReading = Callable[[Topic, Channel], float]


class Scrape(Protocol):
    """What is known of a node when somebody asks for its metrics."""

    @property
    def broker(self) -> Broker: ...
    @property
    def start_time_s(self) -> int: ...
    @property
    def disk_free_bytes(self) -> int: ...
    @property
    def loop_lag_highest_ns(self) -> int: ...


NodeReading = Callable[[Scrape], float]


def of_node(number: Number) -> NodeReading:
    """Return how a number of ``numbers.NODE`` is read, but for those of ``numbers.PROCESS``."""
    return _NODE.get(number.name) or attrgetter(number.name)


def of_topic(number: Number) -> TopicReading:
    """Return how a number of ``numbers.TOPIC`` is read."""
    return _TOPIC.get(number.name) or attrgetter(number.name)


def of_channel(number: Number) -> ChannelReading:
    """Return how a number of ``numbers.CHANNEL`` is read, but for the age: that takes the disk."""
    reading = _CHANNEL.get(number.name)
    if reading is not None:
        return reading
    of_attribute = attrgetter(number.name)
    return lambda _, channel: of_attribute(channel)


def read_topic(topic: Topic) -> dict[str, float]:
    """Return what ``/stats`` has of a topic, by name, in NSQ's order."""
    found: dict[str, float] = {}
    for name, reading, is_always in _TOPIC_STATS:
        value = reading(topic)
        if value or is_always:
            found[name] = value
    return found


def read_channel(topic: Topic, channel: Channel) -> dict[str, float]:
    """Return what ``/stats`` has of a channel, by name, in NSQ's order."""
    found: dict[str, float] = {}
    for name, reading, is_always in _CHANNEL_STATS:
        value = reading(topic, channel)
        if value or is_always:
            found[name] = value
    return found


def _topic_backend_depth(topic: Topic) -> int:
    return max(0, topic.depth - topic.log.count_in_memory(topic.passed, topic.log.end))


def _backend_depth(topic: Topic, channel: Channel) -> int:
    # What waits to be delivered again counts as in memory: the channel keeps its numbers there.
    in_memory = topic.log.count_in_memory(channel.backlog.cursor, topic.passed)
    return max(0, channel.backlog.new_count - in_memory)


def _log_bytes(topic: Topic) -> int:
    return 0 if topic.is_ephemeral else topic.log.size_bytes


def _log_segments(topic: Topic) -> int:
    return topic.log.segment_count


_TOPIC: dict[str, TopicReading] = {
    "backend_depth": _topic_backend_depth,
    "refused_count": lambda topic: sum(topic.refused.values()),
    "refused_disk_full_count": lambda topic: topic.refused[Refusal.DISK_FULL],
    "refused_disk_failed_count": lambda topic: topic.refused[Refusal.DISK_FAILED],
    "refused_ending_count": lambda topic: topic.refused[Refusal.ENDING],
    "refused_draining_count": lambda topic: topic.refused[Refusal.DRAINING],
    "refused_fault_count": lambda topic: topic.refused[Refusal.FAULT],
    "paused": lambda topic: topic.is_paused,
    "log_bytes": _log_bytes,
    "log_segments": _log_segments,
}
_CHANNEL: dict[str, ChannelReading] = {
    "backend_depth": _backend_depth,
    "in_flight_count": lambda _, channel: channel.in_flight_count,
    "deferred_count": lambda _, channel: channel.deferred_count,
    "zone_local_msg_count": lambda _, channel: channel.delivery_counts[0],
    "region_local_msg_count": lambda _, channel: channel.delivery_counts[1],
    "global_msg_count": lambda _, channel: channel.delivery_counts[2],
    "client_count": lambda _, channel: len(channel.consumers),
    "paused": lambda _, channel: channel.is_paused,
}
_NODE: dict[str, NodeReading] = {
    "is_healthy": lambda node: int(node.broker.health == "OK"),
    "is_draining": lambda node: int(node.broker.draining.is_on),
    "topics": lambda node: len(node.broker.topics),
    "channels": lambda node: sum(len(topic.channels) for topic in node.broker.topics.values()),
    "loop_lag_highest": lambda node: node.loop_lag_highest_ns / 1e9,
    "damages": lambda node: len(node.broker.damages),
    "lost_messages": lambda node: sum(each.end - each.first for each in node.broker.damages),
    "unexpected_errors": lambda node: node.broker.failure_count,
    "resident_bytes": lambda _: resident_bytes(),
    "cpu_seconds": lambda _: time.process_time(),
    "allocated_blocks": lambda _: sys.getallocatedblocks(),
}

_TOPIC_STATS = [
    (number.name, of_topic(number), number.stats is Stats.ALWAYS)
    for number in numbers.TOPIC
    if number.stats is not Stats.NEVER
]
_CHANNEL_STATS = [
    (number.name, of_channel(number), number.stats is Stats.ALWAYS)
    for number in numbers.CHANNEL
    if number.stats is not Stats.NEVER
]
