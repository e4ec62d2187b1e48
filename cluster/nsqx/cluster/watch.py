"""
What needs attention: for how long, how much weight it has, who knows of it; and the verdict. No
I/O; time is in the snapshot.

``since`` is when a problem was first seen, as the clock on the wall said then; for how long it
lasts is measured by one that runs evenly, so a clock that is set makes no problem old or new. What
is there when the watch begins may be older, and says so (``is_older``). Most are told only after
some seconds. The heaviest come first: what was lost, then how many messages wait behind it, then
how long it lasts. Somebody may *acknowledge* a problem, until it goes away, or *silence* it for a
time: it is still listed, and no longer part of the verdict.

Rows that are the same objects as before are not looked at again: which may have a problem, and what
flags they got, is kept (``Suspects``, ``_Flagged``). So judging costs what is wrong, not what is.
"""

import copy
from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, Self, TypeAlias, TypeVar

import msgspec

from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import ClusterSnapshot
from nsqx.cluster.problems import CRITICAL, FLAGS, WARNING, Problem, Suspects, find
from nsqx.cluster.registry import Registry
from nsqx.cluster.rows import Attention, ChannelRow, TopicRow, Verdict
from nsqx.cluster.thresholds import Thresholds
from nsqx.cluster.trend import Trend

__all__ = ["FLAGS", "Mark", "Watch", "WatchState"]

_Row = TypeVar("_Row", TopicRow, ChannelRow)
_Fields: TypeAlias = Mapping[str, list[str]]

BEGIN_S = 10.0  # for so long what is seen first may have been there before
ALIKE_MAX = 50  # of one rule are told one by one, the heaviest; the rest as one
FORGET_S = 300.0  # a problem that is gone that long is another one when it comes again


class Mark(msgspec.Struct):
    """That somebody knows of a problem. ``until`` is None while it is only acknowledged."""

    by: str
    at: float
    until: float | None = None


class WatchState(msgspec.Struct):
    """What a watch must know after a restart. All times are wall time: no other outlives it."""

    t: float
    since: dict[str, float]
    still_since: dict[str, float]
    marks: dict[str, Mark]
    older: list[str] = []  # problems that may have begun before ``since``


class _Seen(NamedTuple):
    """When a problem was first seen."""

    t: float  # as shown
    at_s: float
    is_older: bool = False  # it may have been there before


class Watch:
    """Judges snapshot after snapshot."""

    def __init__(self, limits: Thresholds | None = None) -> None:
        self._limits = limits or Thresholds()
        self._since: dict[str, _Seen] = {}
        self._folded: dict[str, _Seen] = {}  # what stands for many of one rule
        self._seen_at: dict[str, float] = {}  # what is marked, last; intervals, as the following
        self._marks: dict[str, Mark] = {}
        self._trend = Trend(self._limits)
        self._suspects = Suspects()
        self._topics = _Flagged[TopicRow]()
        self._channels = _Flagged[ChannelRow]()
        self._t, self._at_s = 0.0, 0.0
        self._earlier: dict[str, _Seen] = {}  # before the restart
        self._earlier_until = 0.0
        self._began_s: float | None = None

    # What it knows

    def state(self) -> WatchState:
        """Return what ``restore`` takes."""
        ahead = self._t - self._at_s
        since = {id: seen.at_s + ahead for id, seen in self._since.items()}
        still = {key: at_s + ahead for key, at_s in self._trend.still_since.items()}
        older = [id for id, seen in self._since.items() if seen.is_older]
        return WatchState(self._t, since, still, dict(self._marks), older)

    def restore(self, state: WatchState, now: float, at_s: float) -> Self:
        """
        Go on where another one has ended, unless that is too long ago.

        Args:
            state: what it knew.
            now: seconds since 1970; if that is before it ended, no time has passed.
            at_s: the same moment by the clock of snapshots.
        """
        self._marks = dict(state.marks)
        self._seen_at = dict.fromkeys(self._marks, at_s)
        gone_s = max(0.0, now - state.t)
        if gone_s < FORGET_S:
            # Daemons are asked again only now: what is not seen yet may still be there.
            ages = {id: state.t - since + gone_s for id, since in state.since.items()}
            self._earlier = {
                id: _Seen(now - age_s, at_s - age_s, id in state.older)
                for id, age_s in ages.items()
            }
            self._earlier_until = at_s + FORGET_S
            self._trend.earlier = {
                key: at_s - (state.t - since + gone_s) for key, since in state.still_since.items()
            }
        return self

    def mark(self, id: str, mark: Mark | None) -> bool:
        """Set or remove what is known of a problem; return whether there is such a problem."""
        if id not in self._since and id not in self._folded and id not in self._marks:
            return False
        if mark is None:
            self._marks.pop(id, None)
        else:
            self._marks[id] = mark
        return True

    # Judging

    def judge(self, snapshot: ClusterSnapshot, registry: Registry) -> None:
        """Fill in attention, verdict and the flags of all rows."""
        self._suspects.look_at(snapshot)
        self._trend.add(snapshot.at_s, self._suspects.waiting)
        problems = find(snapshot, self._suspects, registry, self._trend, self._limits)
        found = {each.id: each for each in problems}
        self._t, self._at_s = snapshot.t, snapshot.at_s
        if self._earlier and self._at_s >= self._earlier_until:
            self._earlier, self._trend.earlier = {}, {}
        if self._began_s is None:
            self._began_s = snapshot.at_s
        is_older = snapshot.at_s - self._began_s < BEGIN_S
        now = _Seen(snapshot.t, snapshot.at_s, is_older)
        self._since = {id: self._since.get(id) or self._earlier.pop(id, now) for id in found}
        self._forget()
        told = [
            each
            for id, each in found.items()
            if self._at_s - self._since[id].at_s >= self._limits.hold_s.get(each.rule, 0.0)
        ]
        told.sort(key=self._weight)
        flags = _flags_of(self._suspects, told)
        self._folded = {}
        snapshot.attention = [
            _attention(each, self._seen(each.id), self._marks.get(each.id))
            for each in self._fold(told)
        ]
        of_channels = {key: {"flags": each} for key, each in flags.items() if "/" in key}
        snapshot.topics = self._topics.rows(snapshot.topics, _fields_of_topics(flags))
        snapshot.channels = self._channels.rows(snapshot.channels, of_channels)
        snapshot.verdict = _verdict(snapshot)

    def _fold(self, told: list[Problem]) -> list[Problem]:
        """Of very many that are alike tell the first, and all others as one: nobody reads them."""
        alike: dict[str, list[Problem]] = {}
        for each in told:
            alike.setdefault(each.rule, []).append(each)
        if all(len(of_rule) <= ALIKE_MAX for of_rule in alike.values()):
            return told
        kept = []
        for of_rule in alike.values():
            kept += of_rule[:ALIKE_MAX]
            if rest := of_rule[ALIKE_MAX:]:
                kept.append(_as_one(rest))
                seen = (self._since[each.id] for each in rest)
                self._folded[kept[-1].id] = min(seen, key=lambda each: each.at_s)
        return sorted(kept, key=self._weight)

    def _seen(self, id: str) -> _Seen:
        return self._folded.get(id) or self._since[id]

    def _weight(self, problem: Problem) -> tuple[Any, ...]:
        is_known = problem.id in self._marks
        is_mild = problem.severity != CRITICAL
        since = self._seen(problem.id).at_s
        return is_known, is_mild, -problem.lost, -problem.messages, since, problem.id

    def _forget(self) -> None:
        """Drop the marks that are over, or whose problem has gone for good."""
        at_s = self._at_s
        for id in self._marks:
            if id in self._since or id in self._folded or id not in self._seen_at:
                self._seen_at[id] = at_s
        self._marks = {
            id: mark
            for id, mark in self._marks.items()
            if (at_s - self._seen_at[id] < FORGET_S if mark.until is None else self._t < mark.until)
        }
        self._seen_at = {id: self._seen_at[id] for id in self._marks}


def _attention(problem: Problem, seen: _Seen, mark: Mark | None) -> Attention:
    return Attention(
        id=problem.id,
        rule=problem.rule,
        severity=problem.severity,
        since=round(seen.t, 3),  # the same after a restart
        is_older=seen.is_older,
        text=problem.text,
        topic=problem.topic,
        channel=problem.channel,
        node=problem.node,
        lookupd=problem.lookupd,
        page=problem.page,
        lost=problem.lost,
        messages=problem.messages,
        acknowledged_by=mark.by if mark else "",
        silenced_until=mark.until if mark else None,
        is_known=mark is not None,
    )


class _Flagged(Generic[_Row]):
    """Rows with their flags: those as they were merged, and copies where there are flags."""

    def __init__(self) -> None:
        self._bare: dict[str, _Row] = {}
        self._rows: dict[str, _Row] = {}
        self._flags: Mapping[str, _Fields] = {}

    def rows(self, bare: dict[str, _Row], flags: Mapping[str, _Fields]) -> dict[str, _Row]:
        """Return the rows; all, or each, as returned last if they are alike."""
        if bare is not self._bare:
            self._bare, self._rows, self._flags = bare, bare, {}
        if flags != self._flags:
            self._rows = dict(self._rows)
            for key in flags.keys() | self._flags.keys():
                if key in bare and flags.get(key) != self._flags.get(key):
                    self._rows[key] = _with_fields(bare[key], flags.get(key, {}))
            self._flags = flags
        return self._rows


def _with_fields(row: _Row, fields: _Fields) -> _Row:
    row = copy.copy(row)
    for name, value in fields.items():
        setattr(row, name, value)
    return row


def _as_one(alike: list[Problem]) -> Problem:
    """Let one problem, without a subject, stand for several of a rule."""
    first = alike[0]
    return Problem(
        first.rule,
        CRITICAL if any(each.severity == CRITICAL for each in alike) else WARNING,
        f"{len(alike):,} more are like these; one of them: {first.text}",
        lost=sum(each.lost for each in alike),
        messages=sum(each.messages for each in alike),
    )


def _flags_of(suspects: Suspects, told: list[Problem]) -> dict[str, list[str]]:
    """Return the flags of topics and channels that have some."""
    flags: dict[str, set[str]] = {}
    for each in told:
        if each.topic:
            key = f"{each.topic}/{each.channel}" if each.channel else each.topic
            flags.setdefault(key, set()).add(each.rule)
    for key, row in suspects.marked.items():
        of_row = flags.setdefault(key, set())
        of_row |= {"paused"} if row.paused else set()
        of_row |= {"stale"} if row.stale else set()
    return {key: _sorted(of_row) for key, of_row in flags.items()}


def _fields_of_topics(flags: Mapping[str, list[str]]) -> dict[str, _Fields]:
    """Let a topic say what its channels have: in a list it may stand for them."""
    of_channels: dict[str, set[str]] = {}
    for key, of_row in flags.items():
        topic, is_channel, _ = key.partition("/")
        if is_channel:
            of_channels.setdefault(topic, set()).update(of_row)
    fields: dict[str, _Fields] = {
        topic: {"flags": of_row} for topic, of_row in flags.items() if "/" not in topic
    }
    for topic, of_rows in of_channels.items():
        fields[topic] = {**fields.get(topic, {}), "channel_flags": _sorted(of_rows)}
    return fields


def _sorted(flags: set[str]) -> list[str]:
    return [flag for flag in FLAGS if flag in flags]


def _verdict(snapshot: ClusterSnapshot) -> Verdict:
    told = [each for each in snapshot.attention if not each.is_known]
    known = len(snapshot.attention) - len(told)
    counts = {
        severity: sum(each.severity == severity for each in told)
        for severity in (CRITICAL, WARNING)
    }
    if _is_waiting(snapshot):
        return Verdict("waiting", "Asking the cluster for the first time", counts)
    if told:
        level = CRITICAL if counts[CRITICAL] else WARNING
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        return Verdict(level, f"{told[0].text}{more}", counts)
    totals = snapshot.totals
    numbers = ((totals.topics, "topic"), (totals.channels, "channel"), (totals.nodes, "node"))
    if any(number is None for number, _ in numbers):
        return Verdict("waiting", "Nobody who was asked has answered yet", counts)
    topics, channels, nodes = (f"{number:,} {noun}{_s(number or 0)}" for number, noun in numbers)
    well = f"Nothing new, {known:,} known" if known else "All well"
    return Verdict("ok", f"{well}: {topics}, {channels} on {nodes}", counts)


def _is_waiting(snapshot: ClusterSnapshot) -> bool:
    states = [each.state for each in snapshot.lookupds.values()]
    states += [each.state for each in snapshot.nodes.values()]
    return all(state == DaemonState.WAITING.value for state in states)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
