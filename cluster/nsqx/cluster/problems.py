"""
What is wrong in a snapshot: the rules. No I/O; time is in the snapshot.

A rule names its problem by an id that stays the same while the problem lasts. What is not known is
no problem, and no sign that one has gone either.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import ClusterSnapshot
from nsqx.cluster.registry import Registry
from nsqx.cluster.rows import ChannelRow, LookupdRow, NodeRow, TopicRow
from nsqx.cluster.thresholds import Thresholds
from nsqx.cluster.trend import Trend

__all__ = ["CRITICAL", "FLAGS", "WARNING", "Problem", "Suspects", "backlog_problems", "find"]

CRITICAL, WARNING = "critical", "warning"
FLAGS = (
    "paused",
    "no-consumers",
    "growing",
    "stuck",
    "old",
    "requeues",
    "timeouts",
    "no-channels",
    "no-producer",
    "stale",
)


@dataclass(slots=True)
class Problem:
    """
    One problem of this moment.

    Attributes:
        lost: messages that are gone.
        messages: that wait behind it.
    """

    rule: str
    severity: str
    text: str
    topic: str = ""
    channel: str = ""
    node: str = ""
    lookupd: str = ""
    lost: int = 0
    messages: int = 0

    @property
    def id(self) -> str:
        subject = "/".join(filter(None, (self.topic, self.channel, self.node, self.lookupd)))
        return f"{self.rule}:{subject}"

    @property
    def page(self) -> str:
        if self.topic:
            path = f"/topics/{self.topic}/{self.channel}".rstrip("/")
            return path.replace("#", "%23")
        if self.lookupd or self.rule == "lookupds-disagree":
            return "/registry"
        return f"/nodes/{self.node}" if self.node else "/nodes"


class Suspects:
    """
    The rows that may have a problem, or a flag, as they are. Made anew only for other rows.

    Attributes:
        topics, channels: that may have a problem.
        waiting: channels in which something waits.
        marked: topics and channels that are paused, or stale.
    """

    def __init__(self) -> None:
        self.topics: dict[str, TopicRow] = {}
        self.channels: dict[str, ChannelRow] = {}
        self.waiting: dict[str, ChannelRow] = {}
        self.marked: dict[str, TopicRow | ChannelRow] = {}
        self._seen: tuple[object, object] = (None, None)

    def look_at(self, snapshot: ClusterSnapshot) -> None:
        """Find those of a snapshot."""
        topics, channels = snapshot.topics, snapshot.channels
        if topics is self._seen[0] and channels is self._seen[1]:
            return
        self._seen = (topics, channels)
        self.topics = {name: row for name, row in topics.items() if row.depth or not row.nodes}
        self.channels = {
            key: row
            for key, row in channels.items()
            if row.depth or row.in_flight or row.requeues or row.timeouts
        }
        self.waiting = {key: row for key, row in self.channels.items() if row.depth}
        self.marked = {key: row for key, row in topics.items() if row.paused or row.stale}
        self.marked |= {key: row for key, row in channels.items() if row.paused or row.stale}


def find(
    snapshot: ClusterSnapshot,
    suspects: Suspects,
    registry: Registry,
    trend: Trend,
    limits: Thresholds,
) -> Iterator[Problem]:
    """Yield all problems."""
    yield from _lookupd_problems(snapshot.lookupds)
    for node in snapshot.nodes.values():
        restarted_at_s = snapshot.restarts.get(node.address, -math.inf)
        yield from _node_problems(node, snapshot.at_s - restarted_at_s, limits)
    yield from _version_problems(snapshot.nodes)
    yield from _disagreements(registry)
    for name, topic in suspects.topics.items():
        yield from topic_problems(name, topic)
    for key, channel in suspects.channels.items():
        still_s = trend.still_s(key, snapshot.at_s)
        yield from channel_problems(key, channel, snapshot.t, trend, limits, still_s)


def backlog_problems(snapshot: ClusterSnapshot, limits: Thresholds) -> list[Problem]:
    """Return what is wrong with topics and channels, as far as one look tells; heaviest first."""
    trend = Trend(limits)
    found = [each for name, row in snapshot.topics.items() for each in topic_problems(name, row)]
    for key, row in snapshot.channels.items():
        found += channel_problems(key, row, snapshot.t, trend, limits)
    return sorted(found, key=lambda each: (each.severity != CRITICAL, -each.messages, each.id))


def _lookupd_problems(lookupds: dict[str, LookupdRow]) -> Iterator[Problem]:
    failed = [each for each in lookupds.values() if _is_down(each.state)]
    severity = CRITICAL if len(failed) == len(lookupds) else WARNING
    for each in failed:
        text = f"nsqlookupd {each.address} does not answer: {each.error}"
        yield Problem("lookupd-unreachable", severity, text, lookupd=each.address)
    for each in lookupds.values():
        if each.left_out:
            text = f"nsqlookupd {each.address} lists {each.left_out:,} more topics without a node"
            yield Problem("no-producer", WARNING, text, lookupd=each.address)


def _node_problems(node: NodeRow, runs_s: float, limits: Thresholds) -> Iterator[Problem]:
    """Yield what is wrong with a node; ``runs_s``: since when, if its start was seen."""
    name, address, waiting = f"nsqd {node.address}", node.address, node.depth or 0

    def problem(rule: str, severity: str, text: str, lost: int = 0) -> Problem:
        return Problem(rule, severity, text, node=address, lost=lost, messages=waiting)

    if _is_down(node.state):
        text = f"{name} does not answer: {node.error}"
        yield problem("node-unreachable", CRITICAL, text)
    elif node.answer_ms is not None and node.answer_ms > limits.answer_ms:
        text = f"{name} is slow: it takes {node.answer_ms / 1000:.1f} s for its statistics"
        yield problem("node-slow", WARNING, text)
    if node.health not in ("", "OK"):
        yield problem("node-unhealthy", CRITICAL, f"{name} is not healthy: {node.health}")
    if node.draining:
        left = _waiting(waiting) if waiting else "nothing waits there"
        yield problem("node-draining", WARNING, f"{name} drains, and takes no messages: {left}")
    if runs_s < limits.restart_s:
        yield problem("node-restarted", WARNING, f"{name} was restarted")
    if node.disk_free is not None and node.disk_free < limits.disk_free_warning:
        severity = CRITICAL if node.disk_free < limits.disk_free_critical else WARNING
        text = f"{name}: {node.disk_free >> 20:,} MiB are free on its disk"
        yield problem("disk-full", severity, text)
    if node.lost_messages:
        count = node.lost_messages
        text = f"{name}: its log is damaged, {count:,} message{_s(count)} lost"
        yield problem("damage", CRITICAL, text, lost=count)


def _version_problems(nodes: dict[str, NodeRow]) -> Iterator[Problem]:
    versions = sorted({node.version for node in nodes.values() if node.version})
    if len(versions) > 1:
        yield Problem("versions-differ", WARNING, f"nodes run versions {', '.join(versions)}")


def _disagreements(registry: Registry) -> Iterator[Problem]:
    differing = registry.differing
    if differing:
        more = f", and {len(differing) - 1:,} more" if len(differing) > 1 else ""
        yield Problem("lookupds-disagree", WARNING, f"{differing[0].why}{more}")


def topic_problems(name: str, row: TopicRow) -> Iterator[Problem]:
    """Yield what is wrong with a topic."""
    if row.depth is None:
        return  # nobody who has it has answered
    if not row.nodes:
        yield Problem("no-producer", WARNING, f"no node has the topic {name}", name)
    elif row.depth and not row.channels:
        text = f"{name} has no channel and {row.depth:,} message{_s(row.depth)}"
        yield Problem("no-channels", WARNING, text, name, messages=row.depth)
    if row.paused and row.depth:
        text = f"{name} is paused, and {_waiting(row.depth)}"
        yield Problem("paused", WARNING, text, name, messages=row.depth)


def channel_problems(
    key: str,
    row: ChannelRow,
    now: float,
    trend: Trend,
    limits: Thresholds,
    still_s: float = 0.0,
) -> Iterator[Problem]:
    """Yield what is wrong with a channel, ``topic/channel``; ``now`` is wall time, for ages."""
    topic, _, channel = key.partition("/")
    waiting = _waiting(row.depth)

    def problem(rule: str, severity: str, text: str) -> Problem:
        return Problem(rule, severity, text, topic, channel, messages=row.waiting)

    if row.paused:
        if row.depth:
            yield problem("paused", WARNING, f"{key} is paused, and {waiting}")
        return
    if row.depth and not row.clients:
        yield problem("no-consumers", WARNING, f"{key} has no consumer and {waiting}")
    if trend.is_growing(key):
        text = f"{key} grows: {waiting}, {_rate(row.in_rate)} a second come, "
        yield problem("growing", WARNING, f"{text}{_rate(row.out_rate)} go")
    if row.clients and still_s >= limits.stuck_s:
        text = f"{key}: {row.clients} consumer{_s(row.clients)}, nothing finished for "
        yield problem("stuck", CRITICAL, f"{text}{_time(still_s)}, {waiting}")
    if row.oldest_at is not None and now - row.oldest_at > limits.oldest_age_s:
        text = f"{key}: the oldest message is {_time(now - row.oldest_at)} old"
        yield problem("old", WARNING, text)
    for rule, rate, what in (
        ("requeues", row.requeues, "requeued"),
        ("timeouts", row.timeouts, "timed out"),
    ):
        done = row.out_rate or 0.0
        if rate is not None and rate > limits.rate_at_least and rate > limits.share * done:
            text = f"{key}: {rate:g} a second {what}, {_rate(row.out_rate)} finished"
            yield problem(rule, WARNING, text)


def _is_down(state: str) -> bool:
    return state in (DaemonState.STALE.value, DaemonState.UNREACHABLE.value)


def _waiting(depth: int) -> str:
    return f"{depth:,} message{_s(depth)} wait{'' if depth != 1 else 's'}"


def _rate(rate: float | None) -> str:
    return "?" if rate is None else f"{rate:g}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _time(seconds: float) -> str:
    """Return a duration for people, in one unit."""
    for name, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}s"
    return f"{seconds:.0f} s"
