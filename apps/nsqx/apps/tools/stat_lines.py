"""The lines that ``nsq_stat`` prints, from the statistics of nsqds (tools section 6). No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from nsqx.cluster.answers import NodeCounts

__all__ = ["HEADER", "ChannelTotals", "line"]

HEADER = (
    "------rate------+----------------depth----------------+--------------metadata---------------\n"
    "ingress  egress |   total     mem    disk inflt   def |     req     t-o         msgs clients\n"
)


@dataclass(slots=True)
class ChannelTotals:
    """The statistics of a channel, added up over all nsqds that have it."""

    depth: int = 0
    backend_depth: int = 0
    in_flight_count: int = 0
    deferred_count: int = 0
    requeue_count: int = 0
    timeout_count: int = 0
    message_count: int = 0
    client_count: int = 0

    @classmethod
    def of(cls, statistics: Iterable[NodeCounts], topic: str, channel: str) -> Self | None:
        """Add up the answers to ``/stats``; None if no nsqd has the channel."""
        found = [
            channel_stats
            for answer in statistics
            for topic_stats in answer.topics or ()
            if topic_stats.topic_name == topic
            for channel_stats in topic_stats.channels or ()
            if channel_stats.channel_name == channel
        ]
        if not found:
            return None
        return cls(*(sum(getattr(one, name) for one in found) for name in cls.__slots__))


def line(before: ChannelTotals, now: ChannelTotals, seconds: float) -> str:
    """Return the report of an interval: its rates, and what is the case at its end."""
    grown = now.message_count - before.message_count
    ingress = int(grown / seconds)
    egress = int((grown - (now.depth - before.depth)) / seconds)
    memory = now.depth - now.backend_depth
    return (
        f"{ingress:7d} {egress:7d} | {now.depth:7d} {memory:7d} {now.backend_depth:7d} "
        f"{now.in_flight_count:5d} {now.deferred_count:5d} | {now.requeue_count:7d} "
        f"{now.timeout_count:7d} {now.message_count:12d} {now.client_count:7d}\n"
    )
