"""
The lines that go to statsd and their packets (metrics section 1). No I/O.

    line    := prefix name ":" integer "|" ("c" | "g") "\\n"
    packet  := whole lines, up to a size; a line that is longer goes alone

Counters are told as what was added since the last round.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nsqx.nsqd.core.broker import Broker
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.latency import Histogram, LatencyWindow, merged
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.telling.readings import of_channel, of_topic
from nsqx.runtime import numbers
from nsqx.runtime.numbers import Behaviour, Number, Stats

__all__ = ["StatsdReport", "packets", "prefix_of"]

# Of the numbers of `MemoryStats.read`, those told as they are.
_MEMORY_GAUGES = (
    "heap_objects",
    "heap_idle_bytes",
    "heap_in_use_bytes",
    "heap_released_bytes",
    "gc_pause_usec_100",
    "gc_pause_usec_99",
    "gc_pause_usec_95",
    "next_gc_bytes",
)


def _told(table: Iterable[Number]) -> list[Number]:
    """Return what is told, in NSQ's order: what came comes first."""
    told = [number for number in table if number.statsd]
    return sorted(told, key=lambda number: not number.name.startswith("message_"))


_TOPIC = [(number, of_topic(number)) for number in _told(numbers.TOPIC)]
_CHANNEL = [(number, of_channel(number)) for number in _told(numbers.CHANNEL)]


@dataclass(slots=True)
class StatsdReport:
    """Makes the lines of one round after another, and remembers the counters of the last."""

    broker: Broker
    prefix: str
    exclude_ephemeral: bool = False
    quantiles: Sequence[float] = ()
    window_of: Callable[[Channel], LatencyWindow | None] = field(default=lambda channel: None)
    _last: dict[str, int] = field(default_factory=dict, init=False)
    _counted: dict[str, int] = field(default_factory=dict, init=False)

    def lines(self, memory: Mapping[str, int] | None) -> Iterator[str]:
        """Yield the lines of a round, without ``memory`` those of topics and channels only."""
        self._counted = {}
        now_ns = self.broker.clock.monotonic()
        topics = self.broker.topics
        for name in sorted(topics):
            topic = topics.get(name)  # others run between lines: it may be gone
            if topic is not None and not self._is_excluded(topic):
                yield from self._topic_lines(topic, now_ns)
        if memory is not None:
            for name in _MEMORY_GAUGES:
                yield self._gauge(f"mem.{name}", memory[name])
            yield self._counter("mem.gc_runs", memory["gc_total_runs"])
        # Whoever is not in this round any more begins again from 0.
        self._last = self._counted

    def _topic_lines(self, topic: Topic, now_ns: int) -> Iterator[str]:
        key = f"topic.{topic.name}"
        for number, read in _TOPIC:
            yield from self._lines(number, key, read(topic))
        channels = sorted(topic.channels.values(), key=_name_of)
        if channels:
            yield from self._latency_lines(key, channels, now_ns)
        for channel in channels:
            if not self._is_excluded(channel):
                yield from self._channel_lines(f"{key}.channel.{channel.name}", topic, channel)
                yield from self._latency_lines(f"{key}.channel.{channel.name}", [channel], now_ns)

    def _channel_lines(self, key: str, topic: Topic, channel: Channel) -> Iterator[str]:
        for number, read in _CHANNEL:
            yield from self._lines(number, key, read(topic, channel))

    def _latency_lines(self, key: str, channels: Sequence[Channel], now_ns: int) -> Iterator[str]:
        if not self.quantiles:
            return
        windows = [window for channel in channels if (window := self.window_of(channel))]
        samples: Histogram = merged(windows, now_ns)
        values_ns = samples.quantiles_ns(self.quantiles)
        for quantile, value_ns in zip(self.quantiles, values_ns, strict=True):
            # Go's %.0f, halves to even: 0.995 and 1.0 share a name, as in NSQ.
            yield self._gauge(f"{key}.e2e_processing_latency_{quantile * 100:.0f}", value_ns)

    def _is_excluded(self, item: Topic | Channel) -> bool:
        return self.exclude_ephemeral and item.is_ephemeral

    def _lines(self, number: Number, key: str, value: float) -> Iterator[str]:
        if value or number.stats is not Stats.NOT_ZERO:
            tell = self._counter if number.kind is Behaviour.COUNTER else self._gauge
            yield tell(f"{key}.{number.statsd}", int(value))

    def _counter(self, name: str, value: int) -> str:
        self._counted[name] = value
        return f"{self.prefix}{name}:{value - self._last.get(name, 0)}|c\n"

    def _gauge(self, name: str, value: int) -> str:
        return f"{self.prefix}{name}:{value}|g\n"


def packets(lines: Iterable[str], bytes_max: int) -> list[bytes]:
    """Return lines gathered into packets of up to ``bytes_max``; a longer line goes alone."""
    gathered: list[bytes] = []
    packet = b""
    for line in lines:
        encoded = line.encode()
        if packet and len(packet) + len(encoded) > bytes_max:
            gathered.append(packet)
            packet = b""
        packet += encoded
    return [*gathered, packet] if packet else gathered


def prefix_of(pattern: str, node: str) -> str:
    """Return what the names of a node, ``host:port``, begin with, up to a dot."""
    prefix = pattern.replace("%s", node.replace(".", "_").replace(":", "_"))
    return prefix if not prefix or prefix.endswith(".") else prefix + "."


def _name_of(channel: Channel) -> str:
    return channel.name
