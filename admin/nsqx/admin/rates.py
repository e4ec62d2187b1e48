"""
Rates from counters that only grow, until they begin at 0 again. No I/O; time is an argument.

One ``RateWindow`` belongs to one nsqd. It keeps the counters of the last seconds, and a rate is the
growth between the oldest and the newest of them. NSQ counts what came to a channel, and what waits
there; what was finished is the difference.

A restart of the nsqd (another start time, or a topic whose count fell) empties the window: the next
rate is known one observation later, and is never negative or huge. A channel whose count fell was
deleted and made again; only that one begins anew.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from .answers import ChannelStats, NsqdStats

__all__ = ["NO_RATES", "ChannelRates", "NodeRates", "RateWindow"]

WINDOW_S = 5.5  # five polls and some jitter


class ChannelRates(NamedTuple):
    """Messages a second."""

    incoming: float
    finished: float
    requeued: float
    timed_out: float


NO_RATES = ChannelRates(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class NodeRates:
    """What flows through one nsqd. What is not in here does not flow."""

    topics: dict[str, float] = field(default_factory=dict)  # messages a second
    channels: dict[str, dict[str, ChannelRates]] = field(default_factory=dict)  # by topic

    def of(self, topic: str, channel: str) -> ChannelRates:
        """Return the rates of one channel."""
        return self.channels.get(topic, _NO_CHANNELS).get(channel, NO_RATES)


_NO_CHANNELS: dict[str, ChannelRates] = {}

# Messages that came, that are done, that were requeued, that timed out.
_Counts = tuple[int, int, int, int]
_NO_COUNTS: _Counts = (0, 0, 0, 0)


class _Observation:
    """The counters of one moment."""

    __slots__ = ("at_s", "channels", "start_time", "topics")

    def __init__(self, at_s: float, stats: NsqdStats) -> None:
        self.at_s = at_s
        self.start_time = stats.start_time
        self.topics: dict[str, int] = {}
        self.channels: dict[str, dict[str, _Counts]] = {}
        for topic in stats.topics or ():
            self.topics[topic.topic_name] = topic.message_count
            self.channels[topic.topic_name] = {
                channel.channel_name: _counts(channel) for channel in topic.channels or ()
            }


def _counts(channel: ChannelStats) -> _Counts:
    waiting = channel.depth + channel.in_flight_count + channel.deferred_count
    messages = channel.message_count
    return messages, messages - waiting, channel.requeue_count, channel.timeout_count


class RateWindow:
    """The last seconds of one nsqd."""

    def __init__(self) -> None:
        self._observations: deque[_Observation] = deque()
        self.rates = NodeRates()

    def add(self, at_s: float, stats: NsqdStats) -> bool:
        """
        Take in what ``/stats`` said at a monotonic time.

        Returns:
            Whether the nsqd has been restarted since the observation before.
        """
        newest = _Observation(at_s, stats)
        observations = self._observations
        restarted = bool(observations) and _began_anew(observations[-1], newest)
        if restarted:
            observations.clear()
        while observations and at_s - observations[0].at_s > WINDOW_S:
            observations.popleft()
        observations.append(newest)
        self.rates = _growth(observations[0], newest)
        return restarted


def _began_anew(before: _Observation, now: _Observation) -> bool:
    if before.start_time and now.start_time:
        # Go's and ours have it; a topic whose count fell was then deleted and made again.
        return before.start_time != now.start_time
    return any(now.topics.get(name, count) < count for name, count in before.topics.items())


def _growth(then: _Observation, now: _Observation) -> NodeRates:
    seconds = now.at_s - then.at_s
    if seconds <= 0:
        return NodeRates()
    rates = NodeRates()
    for topic, count in now.topics.items():
        if (grown := count - then.topics.get(topic, 0)) > 0:
            rates.topics[topic] = grown / seconds
        before, channels = then.channels.get(topic, {}), now.channels[topic]
        if before != channels:  # most of a large cluster is idle
            rates.channels[topic] = {
                name: _channel_rates(before.get(name, _NO_COUNTS), counts, seconds)
                for name, counts in channels.items()
            }
    return rates


def _channel_rates(then: _Counts, now: _Counts, seconds: float) -> ChannelRates:
    if now[0] < then[0]:  # deleted and made again
        return NO_RATES
    # What was emptied counts as finished. A seek backwards makes finished messages wait again.
    return ChannelRates(
        (now[0] - then[0]) / seconds,
        max(0, now[1] - then[1]) / seconds,
        max(0, now[2] - then[2]) / seconds,
        max(0, now[3] - then[3]) / seconds,
    )
