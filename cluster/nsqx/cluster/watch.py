"""
What needs attention: for how long, how much weight it has, who knows of it; and the verdict. No
I/O; time is in the snapshot.

``since`` is when a problem was first seen. Most are told only after some seconds. The heaviest come
first: what was lost, then how many messages wait behind it, then how long it lasts. Somebody may
*acknowledge* a problem, until it goes away, or *silence* it for a time: it is still listed, and no
longer part of the verdict.
"""

from typing import Any, Self

import msgspec

from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import ClusterSnapshot
from nsqx.cluster.problems import CRITICAL, FLAGS, WARNING, Problem, find
from nsqx.cluster.registry import Registry
from nsqx.cluster.rows import Attention, ChannelRow, TopicRow, Verdict
from nsqx.cluster.thresholds import Thresholds
from nsqx.cluster.trend import Trend

__all__ = ["FLAGS", "Mark", "Watch", "WatchState"]

FORGET_S = 300.0  # a problem that is gone that long is another one when it comes again


class Mark(msgspec.Struct):
    """That somebody knows of a problem. ``until`` is None while it is only acknowledged."""

    by: str
    at: float
    until: float | None = None


class WatchState(msgspec.Struct):
    """What a watch must know after a restart."""

    t: float
    since: dict[str, float]
    still_since: dict[str, float]
    marks: dict[str, Mark]


class Watch:
    """Judges snapshot after snapshot."""

    def __init__(self, limits: Thresholds | None = None) -> None:
        self._limits = limits or Thresholds()
        self._since: dict[str, float] = {}
        self._seen_at: dict[str, float] = {}
        self._marks: dict[str, Mark] = {}
        self._trend = Trend(self._limits)
        self._t = 0.0
        self._earlier: dict[str, float] = {}  # before the restart
        self._earlier_until = 0.0

    # What it knows

    def state(self) -> WatchState:
        """Return what ``restore`` takes."""
        marks, since = dict(self._marks), dict(self._since)
        return WatchState(self._t, since, dict(self._trend.still_since), marks)

    def restore(self, state: WatchState, now: float) -> Self:
        """Go on where another one has ended, unless that is too long ago."""
        self._marks = dict(state.marks)
        self._seen_at = dict.fromkeys(self._marks, now)
        if now - state.t < FORGET_S:
            # Daemons are asked again only now: what is not seen yet may still be there.
            self._earlier, self._earlier_until = dict(state.since), now + FORGET_S
            self._trend.earlier = dict(state.still_since)
        return self

    def mark(self, id: str, mark: Mark | None) -> bool:
        """Set or remove what is known of a problem; return whether there is such a problem."""
        if id not in self._since and id not in self._marks:
            return False
        if mark is None:
            self._marks.pop(id, None)
        else:
            self._marks[id] = mark
        return True

    # Judging

    def judge(self, snapshot: ClusterSnapshot, registry: Registry) -> None:
        """Fill in attention, verdict and the flags of all rows."""
        self._trend.add(snapshot)
        found = {each.id: each for each in find(snapshot, registry, self._trend, self._limits)}
        now = self._t = snapshot.t
        if self._earlier and now >= self._earlier_until:
            self._earlier, self._trend.earlier = {}, {}
        self._since = {id: self._since.get(id) or self._earlier.pop(id, now) for id in found}
        self._forget(now)
        told = [
            each
            for id, each in found.items()
            if now - self._since[id] >= self._limits.hold_s.get(each.rule, 0.0)
        ]
        told.sort(key=self._weight)
        snapshot.attention = [
            _attention(each, self._since[each.id], self._marks.get(each.id)) for each in told
        ]
        _set_flags(snapshot, snapshot.attention)
        snapshot.verdict = _verdict(snapshot)

    def _weight(self, problem: Problem) -> tuple[Any, ...]:
        is_known = problem.id in self._marks
        is_mild = problem.severity != CRITICAL
        since = self._since[problem.id]
        return is_known, is_mild, -problem.lost, -problem.messages, since, problem.id

    def _forget(self, now: float) -> None:
        """Drop the marks that are over, or whose problem has gone for good."""
        self._seen_at = {
            **{id: at for id, at in self._seen_at.items() if now - at < FORGET_S},
            **dict.fromkeys(self._since, now),
        }
        self._marks = {
            id: mark
            for id, mark in self._marks.items()
            if (id in self._seen_at if mark.until is None else now < mark.until)
        }


def _attention(problem: Problem, since: float, mark: Mark | None) -> Attention:
    return Attention(
        id=problem.id,
        rule=problem.rule,
        severity=problem.severity,
        since=since,
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


def _set_flags(snapshot: ClusterSnapshot, told: list[Attention]) -> None:
    rules: dict[str, set[str]] = {}
    for each in told:
        if each.topic:
            key = f"{each.topic}/{each.channel}" if each.channel else each.topic
            rules.setdefault(key, set()).add(each.rule)
    rows: dict[str, TopicRow | ChannelRow] = {**snapshot.topics, **snapshot.channels}
    for key, row in rows.items():
        if row.paused or row.stale or key in rules:
            flags = rules.get(key, set())
            flags |= {"paused"} if row.paused else set()
            flags |= {"stale"} if row.stale else set()
            row.flags = [flag for flag in FLAGS if flag in flags]
    _pass_flags_on(snapshot)


def _pass_flags_on(snapshot: ClusterSnapshot) -> None:
    """Let a topic say what its channels have: in a list it may stand for them."""
    of_topics: dict[str, set[str]] = {}
    for key, row in snapshot.channels.items():
        if row.flags:
            of_topics.setdefault(key.partition("/")[0], set()).update(row.flags)
    for name, flags in of_topics.items():
        if (topic := snapshot.topics.get(name)) is not None:
            topic.channel_flags = [flag for flag in FLAGS if flag in flags]


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
    text = (
        f"{f'Nothing new, {known:,} known' if known else 'All well'}: "
        f"{totals.topics:,} topic{_s(totals.topics)}, "
        f"{totals.channels:,} channel{_s(totals.channels)} on "
        f"{totals.nodes:,} node{_s(totals.nodes)}"
    )
    return Verdict("ok", text, counts)


def _is_waiting(snapshot: ClusterSnapshot) -> bool:
    states = [each.state for each in snapshot.lookupds.values()]
    states += [each.state for each in snapshot.nodes.values()]
    return all(state == DaemonState.WAITING.value for state in states)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
