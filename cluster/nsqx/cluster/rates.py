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
from collections.abc import Mapping
from itertools import repeat
from operator import sub
from typing import NamedTuple

from nsqx.cluster.answers import NodeCounts
from nsqx.cluster.counters import NOTHING, Column, Columns, Layouts, Table, table_of
from nsqx.runtime import numbers
from nsqx.runtime.numbers import counted_rows

__all__ = ["NO_NODE_RATES", "NO_RATES", "RATE_COLUMNS", "ChannelRates", "NodeRates", "RateWindow"]

WINDOW_S = 5.5  # five polls and some jitter


class ChannelRates(NamedTuple):
    """Messages a second."""

    incoming: float
    finished: float
    requeued: float
    timed_out: float


NO_RATES = ChannelRates(0.0, 0.0, 0.0, 0.0)
_OF_TOPIC = counted_rows(numbers.TOPIC)
_OF_CHANNEL = counted_rows(numbers.CHANNEL)
_NAMED = ("in_rate", "out_rate", "requeues", "timeouts")  # of ``ChannelRates``
RATE_COLUMNS = tuple(dict.fromkeys((*_NAMED, *_OF_TOPIC, *_OF_CHANNEL)))


class NodeRates(Table):
    """What flows through one nsqd, in messages a second: ``RATE_COLUMNS``."""

    __slots__ = ()

    def of(self, topic: str, channel: str) -> ChannelRates:
        """Return the rates of one channel."""
        index = self.layout.key_index.get(f"{topic}/{channel}")
        return NO_RATES if index is None else self._of_row(index)

    def of_topic(self, topic: str) -> float:
        """Return what comes into a topic."""
        return self.rate("in_rate", topic)

    def rate(self, name: str, topic: str, channel: str = "") -> float:
        """Return one rate of a channel, or without its name of a topic."""
        if channel:
            index, columns = self.layout.key_index.get(f"{topic}/{channel}"), self.channels
        else:
            index, columns = self.layout.topic_index.get(topic), self.topics
        column = columns.get(name)
        return 0.0 if index is None or column is None else column[index]

    def _of_row(self, index: int) -> ChannelRates:
        columns = (self.channels.get(name) for name in _NAMED)
        return ChannelRates(*(column[index] if column else 0.0 for column in columns))


NO_NODE_RATES = NodeRates(NOTHING.layout, {}, {})


class _Observation:
    """The counters of one moment. Those in ``flows`` bear the names of their rates."""

    __slots__ = ("at_s", "counters", "flows", "start_time")

    def __init__(self, at_s: float, start_time: int, counters: Table, flows: Table) -> None:
        self.at_s = at_s
        self.start_time = start_time
        self.counters = counters
        self.flows = flows


def _flows(counters: Table) -> Table:
    return Table(
        counters.layout,
        _known({rate: counters.topics.get(row) for rate, row in _OF_TOPIC.items()}),
        _known(
            {
                "out_rate": _done(counters.channels),
                **{rate: counters.channels.get(row) for rate, row in _OF_CHANNEL.items()},
            }
        ),
    )


def _known(columns: Mapping[str, Column | None]) -> Columns:
    return {name: column for name, column in columns.items() if column}


def _done(channels: Columns) -> Column | None:
    """Return how many messages each channel is done with: those that came and do not wait."""
    done = channels.get("messages")
    for waiting in ("depth", "in_flight", "deferred"):
        if done and waiting in channels:
            done = tuple(map(sub, done, channels[waiting]))
    return done


class RateWindow:
    """
    The last seconds of one nsqd. What does not change costs nothing, and stays the same object.

    Attributes:
        counters: what the newest answer said.
        rates: of the last seconds; None until there were two observations.
    """

    def __init__(self, layouts: Layouts) -> None:
        self.counters = NOTHING
        self.rates: NodeRates | None = None
        self._layouts = layouts
        self._stats: NodeCounts | None = None  # the newest answer
        self._observations: deque[_Observation] = deque()

    def add(self, at_s: float, stats: NodeCounts) -> bool:
        """
        Take in what ``/stats`` said at a monotonic time.

        Returns:
            Whether the nsqd has been restarted since the observation before.
        """
        observations = self._observations
        newest = _Observation(at_s, stats.start_time, *self._tables(stats))
        self.counters = newest.counters
        restarted = bool(observations) and _began_anew(observations[-1], newest)
        if restarted:
            observations.clear()
        # One is kept in any case: who is asked, or answers, each ten seconds has rates, too.
        while len(observations) > 1 and at_s - observations[0].at_s > WINDOW_S:
            observations.popleft()
        observations.append(newest)
        rates = _growth(observations[0], newest)
        if rates is None or self.rates is None or not rates.says_the_same_as(self.rates):
            self.rates = rates
        return restarted

    def _tables(self, stats: NodeCounts) -> tuple[Table, Table]:
        """Return counters and flows: those of the last answer, if this one says the same."""
        is_known, self._stats = stats is self._stats, stats
        last = self._observations[-1] if self._observations else None
        if last is not None and is_known:
            return last.counters, last.flows
        counters = table_of(stats, self._layouts, self.counters.layout)
        if last is not None and counters.says_the_same_as(last.counters):
            return last.counters, last.flows
        return counters, _flows(counters)


def _began_anew(before: _Observation, now: _Observation) -> bool:
    if before.start_time and now.start_time:
        # Go's and ours have it; a topic whose count fell was then deleted and made again.
        return before.start_time != now.start_time
    if before.flows is now.flows:
        return False
    counts = now.flows.topics.get("in_rate", repeat(0))
    was = before.flows.aligned(now.flows.layout).topics.get("in_rate", ())
    return any(count < earlier for count, earlier in zip(counts, was, strict=False))


def _growth(then: _Observation, now: _Observation) -> NodeRates | None:
    seconds = now.at_s - then.at_s
    if seconds <= 0:
        return None
    layout = now.flows.layout
    if then.flows is now.flows:
        return NodeRates(layout, {}, {})
    before = then.flows.aligned(layout)
    topics = _grown(before.topics, now.flows.topics)
    channels = _grown(before.channels, now.flows.channels)
    incoming = channels.get("in_rate", ())
    if incoming and min(incoming) < 0:  # some were deleted and made again: nothing of them counts
        channels = {
            name: [0 if came < 0 else value for came, value in zip(incoming, column, strict=True)]
            for name, column in channels.items()
        }
    return NodeRates(layout, _per_second(topics, seconds), _per_second(channels, seconds))


def _grown(then: Columns, now: Columns) -> Columns:
    """Return by how much each counter grew; one that is not in ``then`` was 0."""
    return {
        name: list(map(sub, column, then[name])) if name in then else column
        for name, column in now.items()
    }


def _per_second(grown: Columns, seconds: float) -> Columns:
    # What was emptied counts as finished. A seek backwards makes finished messages wait again.
    return {
        name: [value / seconds if value > 0 else 0.0 for value in column]
        for name, column in grown.items()
        if any(column)
    }
