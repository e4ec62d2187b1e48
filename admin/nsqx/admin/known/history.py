"""
Rates and depths of the last day, in memory. No I/O; time is in the snapshots.

    step     kept     of
    1 s      10 min   the total, and what somebody has watched in the last ten minutes
    10 s     1 h      everything
    60 s     24 h     everything

A series (the total, a topic, a channel, a node) has a ring of 32-bit floats for each metric and
step; rings grow as they fill, so a metric costs 7 KB after a day. What was not known is NaN there,
and None for the reader. Of what nothing is known, such as a topic that only a directory lists,
there is no series. What is gone is kept as long as it was there (at least ten minutes, at most a
day): so what comes and goes costs no more than as much that stays.

Slots are counted by a clock that runs evenly from the date of the first snapshot, so none is left
out, filled twice or lost when the clock on the wall is set. Whoever reads, reads up to now: charts
end at the time that the wall shows, and what was before keeps its distance from it.

Rates in a snapshot are averages over five seconds. They are sampled each five seconds, and the two
samples of ten seconds averaged: so no message is counted twice or not at all.
"""

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import ClusterSnapshot
from nsqx.cluster.rows import ChannelRow, NodeRow, TopicRow

__all__ = [
    "RANGES",
    "Averages",
    "History",
    "HistoryRange",
    "Ring",
    "Sample",
    "filled",
    "sample_of",
    "samples_of",
]

Sample = tuple[float, ...]  # the values of a series' metrics at one moment

# By name as it is asked for. New ones go to the end: stored columns have no names. ``age`` is that
# of the oldest message, ``latency`` the highest percentile from publish to finish, in seconds.
METRICS = {
    "total": ("in", "out", "depth", "requeues", "clients", "in_flight", "age"),
    "topic": ("in", "out", "depth", "requeues", "in_flight", "age", "latency"),
    "channel": ("in", "out", "depth", "requeues", "in_flight", "age", "latency"),
    "node": ("in", "out", "depth", "in_flight"),
}
TOTAL = "total"
SAMPLE_S = 5
COARSE_STEPS = (10, 60)
WATCHED_S = 600.0
GONE_S_MIN, GONE_S_MAX = 600.0, 86400.0  # a series is kept without its subject
SERIES_MAX = 50_000
RESTARTS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class HistoryRange:
    """A length of time that can be asked for."""

    name: str
    step_s: int
    points: int


RANGES = {
    each.name: each
    for each in (
        HistoryRange("10m", 1, 600),
        HistoryRange("1h", 10, 360),
        HistoryRange("24h", 60, 1440),
        HistoryRange("7d", 300, 2016),
    )
}
_POINTS = {each.step_s: each.points for each in RANGES.values()}


class Ring:
    """The last values of one metric, one for each slot of time. Slots are numbered since 1970."""

    __slots__ = ("_capacity", "_next", "_values")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values = array("f")
        self._next: int | None = None  # the slot behind the newest

    def put(self, slot: int, value: float) -> None:
        """Set the value of a slot. Slots that were left out become NaN; older ones are lost."""
        if self._next is None or slot - self._next >= self._capacity:
            if math.isnan(value):
                return  # nothing is known yet: nothing is kept
            self._values = array("f")
            self._next = slot
        if slot < self._next:  # the clock was set back, or the slot has its value
            return
        while self._next < slot:
            self._append(math.nan)
        self._append(value)

    def _append(self, value: float) -> None:
        assert self._next is not None
        if len(self._values) < self._capacity:
            # While it grows, slots lie in order; a full ring has slot n at n % capacity.
            self._values.append(value)
            if len(self._values) == self._capacity:
                self._rotate()
        else:
            self._values[self._next % self._capacity] = value
        self._next += 1

    def _rotate(self) -> None:
        assert self._next is not None
        shift = (self._next + 1) % self._capacity  # where the oldest belongs
        self._values = self._values[-shift:] + self._values[:-shift] if shift else self._values

    def get(self, slot: int) -> float | None:
        """Return the value of a slot, or None."""
        if self._next is None or not self._next - len(self._values) <= slot < self._next:
            return None
        if len(self._values) < self._capacity:
            value = self._values[slot - self._next + len(self._values)]
        else:
            value = self._values[slot % self._capacity]
        return None if math.isnan(value) else round(value, 3)


class Averages:
    """Averages of what is known of each metric; NaN where nothing is."""

    __slots__ = ("_counts", "_sums")

    def __init__(self, count: int) -> None:
        self._counts, self._sums = [0] * count, [0.0] * count

    def add(self, sample: Sample) -> None:
        """Take in one sample."""
        for index, value in enumerate(sample):
            if value == value:  # not NaN; ``isnan`` is a call
                self._counts[index] += 1
                self._sums[index] += value

    def result(self) -> Sample:
        """Return the averages."""
        return tuple(
            total / count if count else math.nan
            for total, count in zip(self._sums, self._counts, strict=True)
        )


class _Series:
    """The rings of one series, and what is not averaged yet. Times are of the even clock."""

    __slots__ = ("_began", "_rings", "_sums", "_there_until")

    def __init__(self, count: int, steps: Sequence[int], now: float) -> None:
        self._began = self._there_until = now
        self._rings = {step: [Ring(_POINTS[step]) for _ in range(count)] for step in steps}
        self._sums: dict[int, Averages] = {}

    def put(self, step: int, slot: int, sample: Sample) -> None:
        """Take in a sample as it is."""
        for ring, value in zip(self._rings[step], sample, strict=True):
            ring.put(slot, value)

    def is_over(self, now: float) -> bool:
        """Return whether its subject is gone for so long that nobody looks for it any more."""
        kept_s = max(GONE_S_MIN, min(self._there_until - self._began, GONE_S_MAX))
        return now - self._there_until > kept_s

    def add(self, sample: Sample, now: float) -> None:
        """Add a sample to the averages: its subject is there."""
        self._there_until = now
        for step in COARSE_STEPS:
            if step not in self._sums:
                self._sums[step] = Averages(len(sample))
            self._sums[step].add(sample)

    def close_slot(self, step: int, slot: int) -> Sample | None:
        """End a slot: its value is the average of what was added since the one before."""
        averages = self._sums.pop(step, None)
        if averages is None:
            return None
        sample = averages.result()
        self.put(step, slot, sample)
        return sample

    def read(self, step: int, metric: int, slots: range) -> list[float | None]:
        ring = self._rings[step][metric] if step in self._rings else None
        return [ring.get(slot) if ring else None for slot in slots]


class History:
    """
    All series.

    Args:
        is_watched: whether somebody has a series on screen now.
        on_minute: called with the averages of each minute, by series.
    """

    def __init__(self, is_watched: Callable[[str], bool] = lambda _series: False) -> None:
        self._is_watched = is_watched
        self.on_minute: Callable[[int, dict[str, Sample]], None] = lambda _at, _samples: None
        self._series: dict[str, _Series] = {}
        self._fine: dict[str, _Series] = {}
        self._wanted_at: dict[str, float] = {}  # when a fine series was last asked for
        self._restarts: deque[tuple[str, float]] = deque(maxlen=RESTARTS_KEPT)
        self._slots: dict[int, int] = {}  # the slot that is being filled, by step
        self._ahead: float | None = None  # dates of slots, of the even clock of snapshots
        self._set_by = 0  # seconds by which the clock on the wall was set since
        self._began = math.inf

    @property
    def began_at(self) -> float | None:
        """Before that time nothing is known here."""
        return None if self._ahead is None else self._began + self._set_by

    def start_of(self, wanted: HistoryRange, now: float) -> int:
        """Return the time of the first value that ``read`` returns."""
        end = int(now - self._set_by) // wanted.step_s
        return (end - wanted.points) * wanted.step_s + self._set_by

    def record(self, snapshot: ClusterSnapshot) -> None:
        """Take in a snapshot: each second, more or less."""
        if self._ahead is None:
            self._ahead = snapshot.t - snapshot.at_s
            self._began = snapshot.t
        now = snapshot.at_s + self._ahead
        self._set_by = round(snapshot.t - now)
        self._record_fine(snapshot, now)
        if not self._enters_slot(SAMPLE_S, now):
            return
        for name, sample in samples_of(snapshot):
            series = self._series.get(name)
            if series is None:
                if len(self._series) >= SERIES_MAX or all(map(math.isnan, sample)):
                    continue
                series = self._series[name] = _Series(len(sample), COARSE_STEPS, now)
            series.add(sample, now)
        for step in COARSE_STEPS:
            if self._enters_slot(step, now):
                self._close_slots(step, now)

    def _enters_slot(self, step: int, now: float) -> bool:
        slot = int(now) // step
        entered = self._slots.get(step, slot) != slot
        self._slots[step] = slot
        return entered

    def _close_slots(self, step: int, now: float) -> None:
        slot = int(now) // step - 1
        averages = {name: series.close_slot(step, slot) for name, series in self._series.items()}
        if step == COARSE_STEPS[-1]:
            known = {name: sample for name, sample in averages.items() if sample is not None}
            self.on_minute(slot * step + round(self._set_by / step) * step, known)
            self._series = {
                name: series for name, series in self._series.items() if not series.is_over(now)
            }

    def _record_fine(self, snapshot: ClusterSnapshot, now: float) -> None:
        for name in [name for name, at in self._wanted_at.items() if now - at > WATCHED_S]:
            if not self._is_watched(name):
                del self._wanted_at[name]
                self._fine.pop(name, None)
        for name in (TOTAL, *self._wanted_at):
            sample = sample_of(snapshot, name)
            if sample is not None:
                series = self._fine.setdefault(name, _Series(len(sample), (1,), now))
                series.put(1, int(now), sample)

    def watch(self, series: str, now: float) -> None:
        """Keep a series by the second from now on, for a while."""
        if series != TOTAL:
            self._wanted_at[series] = now - self._set_by

    def restarted(self, node: str, at: float) -> None:
        """Note that a node began anew."""
        self._restarts.append((node, at - self._set_by))

    def restarts(self, nodes: Sequence[str], since: float) -> list[float]:
        """Return when any of some nodes began anew."""
        moved = [(node, at + self._set_by) for node, at in self._restarts]
        return [at for node, at in moved if node in nodes and at >= since]

    def read(self, series: str, wanted: HistoryRange, now: float) -> dict[str, list[float | None]]:
        """Return the values of each metric, oldest first; the last slot is the last that ended."""
        end = int(now - self._set_by) // wanted.step_s
        slots = range(end - wanted.points, end)
        kept = self._fine if wanted.step_s == 1 else self._series
        found = kept.get(series)
        return {
            name: found.read(wanted.step_s, index, slots) if found else [None] * wanted.points
            for index, name in enumerate(METRICS[series.partition(":")[0]])
        }


def filled(
    values: list[float | None],
    wanted: HistoryRange,
    coarse: list[float | None],
    stored: HistoryRange,
    *,
    now: float,
    until: float,
) -> list[float | None]:
    """
    Return a metric with what is not known before ``until`` taken from one with longer steps.

    Both are as ``History.read`` returns them at ``now``.
    """
    start = (int(now) // wanted.step_s - wanted.points) * wanted.step_s
    first = int(now) // stored.step_s - stored.points
    result = list(values)
    for index, value in enumerate(values):
        at = start + index * wanted.step_s
        slot = at // stored.step_s - first
        if value is None and at < until and 0 <= slot < len(coarse):
            result[index] = coarse[slot]
    return result


def samples_of(snapshot: ClusterSnapshot) -> Iterator[tuple[str, Sample]]:
    """Yield the name and the values of every series."""
    now = snapshot.t
    yield TOTAL, _total(snapshot)
    for name, topic in snapshot.topics.items():
        yield f"topic:{name}", _of_topic(topic, now)
    for key, channel in snapshot.channels.items():
        yield f"channel:{key}", _of_channel(channel, now)
    for address, node in snapshot.nodes.items():
        yield f"node:{address}", _of_node(node)


def sample_of(snapshot: ClusterSnapshot, series: str) -> Sample | None:
    """Return the values of one series, or None if it does not exist."""
    kind, _, name = series.partition(":")
    if kind == TOTAL:
        return _total(snapshot)
    if kind == "topic" and (topic := snapshot.topics.get(name)):
        return _of_topic(topic, snapshot.t)
    if kind == "channel" and (channel := snapshot.channels.get(name)):
        return _of_channel(channel, snapshot.t)
    if kind == "node" and (node := snapshot.nodes.get(name)):
        return _of_node(node)
    return None


def _total(snapshot: ClusterSnapshot) -> Sample:
    row = snapshot.totals
    if row.nodes and not row.nodes_up:
        return (math.nan,) * len(METRICS[TOTAL])
    flows = (row.in_rate, row.out_rate, row.depth, row.requeues, row.clients, row.in_flight)
    return _sample(*flows, _age(row.oldest_at, snapshot.t))


def _of_topic(row: TopicRow, now: float) -> Sample:
    if row.stale == row.nodes:
        return _UNKNOWN  # what was then is not what is; and no node may have it
    flows = (row.in_rate, row.out_rate, row.total_depth, row.requeues, row.in_flight)
    return _sample(*flows, _age(row.oldest_at, now), row.latency)


def _of_channel(row: ChannelRow, now: float) -> Sample:
    if row.stale == row.nodes:
        return _UNKNOWN
    flows = (row.in_rate, row.out_rate, row.depth, row.requeues, row.in_flight)
    return _sample(*flows, _age(row.oldest_at, now), row.latency)


def _of_node(row: NodeRow) -> Sample:
    if row.state != DaemonState.OK.value:
        return _UNKNOWN[: len(METRICS["node"])]
    return _sample(row.in_rate, row.out_rate, row.depth, row.in_flight)


def _age(oldest_at: float | None, now: float) -> float | None:
    return None if oldest_at is None else max(0.0, now - oldest_at)


def _sample(*values: float | None) -> Sample:
    return tuple(math.nan if value is None else value for value in values)


_UNKNOWN = (math.nan,) * len(METRICS["topic"])
assert len(METRICS["topic"]) == len(METRICS["channel"])
