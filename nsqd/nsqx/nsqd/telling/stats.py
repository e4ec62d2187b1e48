"""
What ``/stats`` answers (HTTP section 6), as JSON and as text, from the broker and its sessions.

Both forms come as pieces, a channel or less each, so that whoever asks can let others run in
between: nobody waits for the statistics of thousands of channels. Nothing here waits or writes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nsqx.net.host_port import format_host_port
from nsqx.nsqd.core.broker import Broker
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.latency import Histogram, LatencyWindow, merged
from nsqx.nsqd.core.session import Session
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.telling.readings import read_channel, read_topic
from nsqx.protocol.version import VERSION
from nsqx.runtime import numbers
from nsqx.runtime.durations import SECOND_NS, format_duration
from nsqx.runtime.http import go_json
from nsqx.runtime.numbers import Number, Text

__all__ = ["Selection", "Stats", "format_latency"]

_DAMAGES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Selection:
    """The parameters of a request. An empty name selects all."""

    topic: str = ""
    channel: str = ""
    include_clients: bool = True
    include_memory: bool = True


@dataclass(slots=True)
class Stats:
    """
    One answer of ``/stats``.

    ``window_of`` gives the latencies of a channel; without ``quantiles`` it is not asked.
    """

    broker: Broker
    sessions: Iterable[Session]
    selection: Selection
    version: str
    runtime: str
    start_time_s: int
    uptime_ns: int
    now_ns: int
    wall_ns: int
    memory: Mapping[str, int]
    quantiles: Sequence[float] = ()
    window_of: Callable[[Channel], LatencyWindow | None] = field(default=lambda channel: None)

    # JSON

    def json(self) -> Iterator[bytes]:
        """Yield the JSON form, piece by piece."""
        yield b'{"version":%b,"nsqx_version":%b,"health":%b,"start_time":%d,"topics":' % (
            go_json.encode(self.version),
            go_json.encode(VERSION),
            go_json.encode(self.broker.health),
            self.start_time_s,
        )
        topics = self._topics()
        if topics is None:
            yield b"null"
        else:
            yield b"["
            yield from _separated(self._topic_json(*each) for each in topics)
            yield b"]"
        if self.selection.include_memory:
            yield b',"memory":' + go_json.encode(self.memory)
        producers = self._producers()
        yield b',"producers":'
        if producers:
            yield b"["
            yield from _separated([self._client_json(producer)] for producer in producers)
            yield b"]"
        else:
            yield b"null"
        if self.broker.damages:
            yield b',"damage":' + go_json.encode(self._damage())
        yield b"}"

    def _topic_json(self, topic: Topic, channels: list[Channel]) -> Iterator[bytes]:
        yield b'{"topic_name":%b,"channels":[' % go_json.encode(topic.name)
        sessions = self._sessions_by_channel(channels)
        yield from _separated(
            self._channel_json(topic, channel, sessions.get(channel, ())) for channel in channels
        )
        latency = self._latency_json(self._latency_of_topic(topic))
        rest = {**read_topic(topic), "e2e_processing_latency": latency}
        yield b"]," + go_json.encode(rest)[1:]

    def _channel_json(
        self, topic: Topic, channel: Channel, sessions: Sequence[Session]
    ) -> Iterator[bytes]:
        known = read_channel(topic, channel)
        paused = known.pop("paused")  # behind the clients, in NSQ's order
        head = {"channel_name": channel.name, **known}
        yield go_json.encode(head)[:-1] + b',"clients":'
        if self.selection.include_clients:
            yield b"["
            yield from _separated([self._client_json(session)] for session in sessions)
            yield b"]"
        else:
            yield b"null"
        latency = self._latency_json(self._latency_of_channel(channel))
        yield (b"," + go_json.encode({"paused": paused, "e2e_processing_latency": latency})[1:])

    def _client_json(self, session: Session) -> bytes:
        consumer = session.consumer
        client: dict[str, Any] = {
            "client_id": session.client_id,
            "hostname": session.hostname,
            "version": "V2",
            "remote_address": session.remote_address,
            "state": session.state.value,
            "ready_count": consumer.ready_count if consumer else 0,
            "in_flight_count": consumer.in_flight if consumer else 0,
            "message_count": consumer.message_count if consumer else 0,
            "finish_count": consumer.finish_count if consumer else 0,
            "requeue_count": consumer.requeue_count if consumer else 0,
            "connect_ts": session.connected_ns // SECOND_NS,
            "sample_rate": session.identified.sample_rate,
            "deflate": session.identified.deflate,
            "snappy": session.identified.snappy,
            "user_agent": session.user_agent,
        }
        if session.authorization is not None:
            client["authed"] = True
            if session.authorization.identity:
                client["auth_identity"] = session.authorization.identity
            if session.authorization.identity_url:
                client["auth_identity_url"] = session.authorization.identity_url
        client["topology_zone"] = session.topology_zone
        client["topology_region"] = session.topology_region
        published = self._published(session)
        if published is not None:
            client["pub_counts"] = [{"topic": published[0], "count": published[1]}]
        client["tls"] = session.is_tls
        client["tls_cipher_suite"] = session.tls_cipher
        client["tls_version"] = session.tls_version
        client["tls_negotiated_protocol"] = ""
        client["tls_negotiated_protocol_is_mutual"] = session.is_tls
        return go_json.encode(client)

    def _latency_json(self, histogram: Histogram | None) -> dict[str, Any]:
        if histogram is None:
            return {"count": 0, "percentiles": None}
        values_ns = histogram.quantiles_ns(self.quantiles)
        return {
            "count": histogram.total,
            "percentiles": [
                {"quantile": quantile, "value": value_ns}
                for quantile, value_ns in zip(self.quantiles, values_ns, strict=True)
            ],
        }

    # Text

    def text(self) -> Iterator[str]:
        """Yield the text form, piece by piece."""
        start = datetime.fromtimestamp(self.start_time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        yield (
            f"nsqd v{self.version} (built w/{self.runtime})\n"
            f"start_time {start}\nuptime {format_duration(self.uptime_ns)}\n"
            f"\nHealth: {self.broker.health}\n"
        )
        if self.broker.damages:
            yield "\nDamage: places: {places}, lost messages: {lost_messages}\n".format(
                **self._damage()
            )
            for damage in self.broker.damages[-_DAMAGES_SHOWN:]:
                yield f"   {damage.path}: {damage.first} to {damage.end - 1}, {damage.reason}\n"
        if self.selection.include_memory:
            lines = [f"   {name:<25}\t{value}\n" for name, value in self.memory.items()]
            yield "\nMemory:\n" + "".join(lines)
        topics = list(self._topics() or ())
        yield "\nTopics:" if topics else "\nTopics: None\n"
        for topic, channels in topics:
            yield from self._topic_text(topic, channels)
        producers = self._producers()
        yield "\nProducers:\n" if producers else "\nProducers: None\n"
        for producer in producers:
            yield f"   {self._client_text(producer)}\n"

    def _topic_text(self, topic: Topic, channels: list[Channel]) -> Iterator[str]:
        mark = "*P" if topic.is_paused else "  "
        yield (
            f"\n{mark} [{topic.name:<15}] {_numbers_text(_TOPIC_TEXTS, read_topic(topic))}"
            f"e2e%: {self._latency_text(self._latency_of_topic(topic))}\n"
        )
        sessions = self._sessions_by_channel(channels)
        for channel in channels:
            mark = "*P" if channel.is_paused else "  "
            yield (
                f"   {mark} [{channel.name:<25}] "
                f"{_numbers_text(_CHANNEL_TEXTS, read_channel(topic, channel))}"
                f"e2e%: {self._latency_text(self._latency_of_channel(channel))}\n"
            )
            if self.selection.include_clients:
                for session in sessions.get(channel, ()):
                    yield f"        {self._client_text(session)}\n"

    def _client_text(self, session: Session) -> str:
        _, _, port = session.remote_address.rpartition(":")  # of a Unix socket's peer: all, "@"
        name = f"{format_host_port(session.hostname, port)} {session.user_agent}"
        connected_ns = self.wall_ns - session.connected_ns // SECOND_NS * SECOND_NS
        connected = format_duration(max(0, connected_ns) // SECOND_NS * SECOND_NS)
        published = self._published(session)
        if published is not None:
            topic, count = published
            return (
                f"[V2 {name:<21}] msgs: {count:<8} topics: {topic}={count} connected: {connected}"
            )
        consumer = session.consumer
        if consumer is None:
            in_flight = ready = finished = requeued = received = 0
        else:
            in_flight, ready = consumer.in_flight, consumer.ready_count
            finished, requeued = consumer.finish_count, consumer.requeue_count
            received = consumer.message_count
        return (
            f"[V2 {name:<21}] state: {session.state.value} inflt: {in_flight:<4} rdy: {ready:<4} "
            f"fin: {finished:<8} re-q: {requeued:<8} msgs: {received:<8} connected: {connected}"
        )

    def _latency_text(self, histogram: Histogram | None) -> str:
        if histogram is None:
            return ""
        return ", ".join(map(format_latency, histogram.quantiles_ns(self.quantiles)))

    # Damage: ours, and shown only where there is some

    def _damage(self) -> dict[str, Any]:
        damages = self.broker.damages
        return {
            "places": len(damages),
            "lost_messages": sum(damage.end - damage.first for damage in damages),
            "latest": damages[-_DAMAGES_SHOWN:],
        }

    # What was asked for

    def _topics(self) -> list[tuple[Topic, list[Channel]]] | None:
        """Return the selected topics with their selected channels; None: no such topic."""
        selection = self.selection
        if selection.topic:
            topic = self.broker.topics.get(selection.topic)
            if topic is None:
                return None
            topics = [topic]
        else:
            topics = sorted(self.broker.topics.values(), key=_name_of)
        if not selection.channel:
            return [(topic, sorted(topic.channels.values(), key=_name_of)) for topic in topics]
        return [
            (topic, [topic.channels[selection.channel]])
            for topic in topics
            if selection.channel in topic.channels
        ]

    def _producers(self) -> list[Session]:
        if not self.selection.include_clients:
            return []
        return [session for session in self.sessions if session.publish_counts]

    def _published(self, session: Session) -> tuple[str, int] | None:
        """Return a topic that a client published to and how much: the selected one, if any is."""
        counts = session.publish_counts
        if not counts:
            return None
        topic = self.selection.topic or next(iter(counts))
        return (topic, counts[topic]) if topic in counts else None

    def _sessions_by_channel(self, channels: list[Channel]) -> dict[Channel, list[Session]]:
        wanted = set(channels) if self.selection.include_clients else set()
        found: dict[Channel, list[Session]] = {}
        for session in self.sessions:
            if session.channel in wanted and not session.is_closed:
                found.setdefault(session.channel, []).append(session)
        return found

    # Latency

    def _latency_of_channel(self, channel: Channel) -> Histogram | None:
        if not self.quantiles:
            return None
        window = self.window_of(channel)
        return merged([window] if window is not None else [], self.now_ns)

    def _latency_of_topic(self, topic: Topic) -> Histogram | None:
        """Return the samples of all channels of a topic; None if it has no channel."""
        if not self.quantiles or not topic.channels:
            return None
        windows = map(self.window_of, topic.channels.values())
        return merged([window for window in windows if window is not None], self.now_ns)


def _texts(table: Iterable[Number]) -> list[tuple[str, Text]]:
    """Return how the text form shows numbers: NSQ's in its order, where ``msgs`` is last; ours."""
    shown = [(number, number.text) for number in table if number.text is not None]
    shown.sort(key=lambda each: (each[0].stats.value, each[0].name == "message_count"))
    return [(number.name, text) for number, text in shown]


_TOPIC_TEXTS = _texts(numbers.TOPIC)
_CHANNEL_TEXTS = _texts(numbers.CHANNEL)


def _numbers_text(texts: Iterable[tuple[str, Text]], known: Mapping[str, float]) -> str:
    """Return the numbers that are known, each with a blank behind it."""
    return "".join(
        f"{text.label}: {known[name]:<{text.width}} " for name, text in texts if name in known
    )


def format_latency(value_ns: float) -> str:
    """Return a duration as the text form shows latencies: ``400.4ms``."""
    for unit, unit_ns in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if value_ns > unit_ns:
            return f"{value_ns / unit_ns:.1f}{unit}"
    return f"{value_ns:.1f}ns"


def _separated(items: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    """Yield the pieces of each item, with a comma between two items."""
    is_first = True
    for item in items:
        if not is_first:
            yield b","
        is_first = False
        yield from item


def _name_of(item: Topic | Channel) -> str:
    return item.name
