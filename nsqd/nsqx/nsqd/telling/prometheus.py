"""
What ``/metrics`` tells Prometheus. No I/O: what has to be read from a disk is handed in.

Counters begin at 0 with the process. Each family is made when its turn comes, so that whoever
renders them can let others run in between.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nsqx.nsqd.core.broker import Broker
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.latency import LatencyWindow, merged
from nsqx.nsqd.core.session import Session
from nsqx.nsqd.core.time_counts import TimeCounts
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.directory.peers import PeerState
from nsqx.nsqd.telling.readings import of_channel, of_node, of_topic
from nsqx.runtime import numbers
from nsqx.runtime.metrics import Family, Sample, gauge, histogram, told
from nsqx.runtime.numbers import Number
from nsqx.runtime.process import logs, open_files, tasks

__all__ = ["NodeMetrics"]

_SECOND_NS = 1e9


@dataclass(slots=True)
class NodeMetrics:
    """One scrape of a node."""

    broker: Broker
    sessions: Sequence[Session]
    peers: Iterable[PeerState]
    version: str
    start_time_s: int
    now_ns: int
    wall_ns: int
    disk_free_bytes: int
    loop_lag: TimeCounts
    loop_lag_highest_ns: int  # since the last scrape
    oldest_ns: Mapping[Channel, int]  # when the oldest unfinished message was accepted
    quantiles: Sequence[float] = ()
    window_of: Callable[[Channel], LatencyWindow | None] = field(default=lambda channel: None)

    def families(self) -> Iterator[Family]:
        """Yield all families."""
        yield from self._node()
        yield from self._topics()
        yield from self._channels()
        if self.quantiles:
            yield self._end_to_end_latency()

    # Node

    def _node(self) -> Iterator[Family]:
        broker = self.broker
        yield gauge("nsqd_info", "Which nsqd this is.", [Sample(1, {"version": self.version})])
        for number in numbers.NODE:
            if number.metric and number not in numbers.PROCESS:
                yield told(number, of_node(number)(self))
        yield self._connections()
        yield histogram(
            "nsqd_commit_seconds",
            "Time from the commit of a batch of messages to the answer to its producers.",
            broker.commit_times.by_bound(),
            broker.commit_times.total_ns / _SECOND_NS,
            {},
        )
        yield histogram(
            "nsqd_event_loop_lag_seconds",
            "How late the event loop was, measured twice a second.",
            self.loop_lag.by_bound(),
            self.loop_lag.total_ns / _SECOND_NS,
            {},
        )
        yield from self._lookupds()
        yield from open_files.families()
        yield from logs.families()
        yield from tasks.families()

    def _connections(self) -> Family:
        kinds = {"consumer": 0, "producer": 0, "other": 0}
        for session in self.sessions:
            if session.consumer is not None:
                kinds["consumer"] += 1
            else:
                kinds["producer" if session.publish_counts else "other"] += 1
        return gauge(
            "nsqd_connections",
            "Connections: those that subscribed, those that only published, and the rest.",
            [Sample(count, {"kind": kind}) for kind, count in kinds.items()],
        )

    def _lookupds(self) -> Iterator[Family]:
        peers = list(self.peers)
        yield gauge(
            "nsqd_lookupd_connected",
            "1 while registered at an nsqlookupd.",
            [Sample(int(peer.is_connected), {"address": peer.address}) for peer in peers],
        )
        yield gauge(
            "nsqd_lookupd_complete",
            "1 when an nsqlookupd has confirmed all topics and channels.",
            [Sample(int(peer.is_complete), {"address": peer.address}) for peer in peers],
        )

    # Topics and channels: all families of the table of numbers

    def _topics(self) -> Iterator[Family]:
        for first, *more in _families(numbers.TOPIC):
            yield told(first, self._topic_samples([first, *more]))

    def _topic_samples(self, family: Sequence[Number]) -> Iterator[Sample]:
        for number in family:
            read = of_topic(number)
            for topic in list(self.broker.topics.values()):
                yield Sample(read(topic) + 0, {"topic": topic.name, **number.labels})

    def _channels(self) -> Iterator[Family]:
        for first, *more in _families(numbers.CHANNEL):
            yield told(first, self._channel_samples([first, *more]))

    def _channel_samples(self, family: Sequence[Number]) -> Iterator[Sample]:
        for number in family:
            is_age = number.name == "oldest_unfinished_age"
            read = self._oldest_age_s if is_age else of_channel(number)
            for topic in list(self.broker.topics.values()):
                for channel in topic.channels.values():
                    labels = {"topic": topic.name, "channel": channel.name, **number.labels}
                    yield Sample(read(topic, channel) + 0, labels)

    def _oldest_age_s(self, topic: Topic, channel: Channel) -> float:
        oldest_ns = self.oldest_ns.get(channel, 0)
        return max(0, self.wall_ns - oldest_ns) / _SECOND_NS if oldest_ns else 0

    def _end_to_end_latency(self) -> Family:
        samples: list[Sample] = []
        for topic in self.broker.topics.values():
            for channel in topic.channels.values():
                window = self.window_of(channel)
                latency = merged([window] if window is not None else [], self.now_ns)
                values_ns = latency.quantiles_ns(self.quantiles)
                samples += [
                    Sample(
                        value_ns / _SECOND_NS,
                        {
                            "topic": topic.name,
                            "channel": channel.name,
                            "quantile": f"{quantile:g}",
                        },
                    )
                    for quantile, value_ns in zip(self.quantiles, values_ns, strict=True)
                ]
        return gauge(
            "nsqd_channel_e2e_latency_seconds",
            "Time from publish to FIN, over --e2e-processing-latency-window-time.",
            samples,
        )


def _families(table: Iterable[Number]) -> list[list[Number]]:
    """Return the numbers that are told, those of a family together."""
    families: dict[str, list[Number]] = {}
    for number in table:
        if number.metric:
            families.setdefault(number.metric, []).append(number)
    return list(families.values())
