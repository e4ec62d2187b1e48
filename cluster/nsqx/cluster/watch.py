"""
What needs attention: rules over a snapshot, and the verdict. No I/O; time is in the snapshot.

A rule names its problem by an id that stays the same while the problem lasts; ``since`` is when it
was first seen. Most rules hold for some seconds before they are told, so that what passes by itself
(a consumer that connects again, two lookupds asked half a second apart) is no alarm.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import ClusterSnapshot
from nsqx.cluster.registry import Registry
from nsqx.cluster.rows import Attention, ChannelRow, LookupdRow, NodeRow, TopicRow, Verdict

__all__ = ["FLAGS", "Watch"]

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

HOLD_S = {"no-consumers": 5.0, "no-channels": 10.0, "no-producer": 30.0, "lookupds-disagree": 10.0}
RESTART_S = 60.0
DISK_FREE_BYTES_MIN = 1 << 30
GROWING_DEPTH_MIN = 100
GROWING_SAMPLES = 7  # over a minute
SAMPLE_S = 10.0
STUCK_S = 60.0
SHARE_MAX = 0.1  # of requeues or time-outs among what is finished
RATE_MIN = 1.0  # below that a share says little


@dataclass(slots=True)
class _Found:
    """One problem of this moment."""

    rule: str
    severity: str
    text: str
    topic: str = ""
    channel: str = ""
    node: str = ""
    lookupd: str = ""

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


class Watch:
    """Judges snapshot after snapshot. ``oldest_age_s`` is the age of a message that is too old."""

    def __init__(self, oldest_age_s: float) -> None:
        self._oldest_age_s = oldest_age_s
        self._since: dict[str, float] = {}
        self._trend = _Trend()

    def judge(self, snapshot: ClusterSnapshot, registry: Registry) -> None:
        """Fill in attention, verdict and the flags of all rows."""
        self._trend.add(snapshot)
        found = {each.id: each for each in self._find(snapshot, registry)}
        now = snapshot.t
        self._since = {id: self._since.get(id, now) for id in found}
        told = [
            _attention(each, self._since[id])
            for id, each in found.items()
            if now - self._since[id] >= HOLD_S.get(each.rule, 0.0)
        ]
        told.sort(key=lambda each: (each.severity != CRITICAL, each.since, each.id))
        snapshot.attention = told
        _set_flags(snapshot, told)
        snapshot.verdict = _verdict(snapshot)

    def _find(self, snapshot: ClusterSnapshot, registry: Registry) -> Iterator[_Found]:
        now = snapshot.t
        yield from _lookupd_problems(snapshot.lookupds)
        for node in snapshot.nodes.values():
            yield from _node_problems(node, now)
        yield from _version_problems(snapshot.nodes)
        if any(registry.differing):
            count = sum(1 for _ in registry.differing)
            first = next(registry.differing)
            more = f", and {count - 1:,} more" if count > 1 else ""
            yield _Found("lookupds-disagree", WARNING, f"{first.why}{more}")
        for name, topic in snapshot.topics.items():
            yield from _topic_problems(name, topic)
        for key, channel in snapshot.channels.items():
            if channel.depth or channel.in_flight or channel.requeues or channel.timeouts:
                yield from self._channel_problems(key, channel, now)

    def _channel_problems(self, key: str, row: ChannelRow, now: float) -> Iterator[_Found]:
        topic, _, channel = key.partition("/")
        if row.paused:
            return
        waiting = f"{row.depth:,} message{_s(row.depth)} wait{'' if row.depth != 1 else 's'}"
        if row.depth and not row.clients:
            text = f"{key} has no consumer and {waiting}"
            yield _Found("no-consumers", WARNING, text, topic, channel)
        if self._trend.is_growing(key):
            text = f"{key} grows: {waiting}, {row.in_rate:g} a second come, {row.out_rate:g} go"
            yield _Found("growing", WARNING, text, topic, channel)
        if (still_s := self._trend.still_s(key, now)) >= STUCK_S:
            text = f"{key}: {row.clients} consumer{_s(row.clients)}, nothing finished for "
            yield _Found("stuck", CRITICAL, f"{text}{_time(still_s)}, {waiting}", topic, channel)
        if row.oldest_at is not None and now - row.oldest_at > self._oldest_age_s:
            text = f"{key}: the oldest message is {_time(now - row.oldest_at)} old"
            yield _Found("old", WARNING, text, topic, channel)
        for rule, rate in (("requeues", row.requeues), ("timeouts", row.timeouts)):
            if rate > RATE_MIN and rate > SHARE_MAX * row.out_rate:
                what = "requeued" if rule == "requeues" else "timed out"
                text = f"{key}: {rate:g} a second {what}, {row.out_rate:g} finished"
                yield _Found(rule, WARNING, text, topic, channel)


class _Trend:
    """How the depths of channels went in the last minute; only of those where something waits."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[int]] = {}
        self._still_since: dict[str, float] = {}  # consumers are there and finish nothing
        self._sampled_at = 0.0

    def add(self, snapshot: ClusterSnapshot) -> None:
        waiting = {key: row for key, row in snapshot.channels.items() if row.depth}
        self._still_since = {
            key: self._still_since.get(key, snapshot.t)
            for key, row in waiting.items()
            if row.clients and not row.out_rate and not row.paused and not row.stale
        }
        if snapshot.t - self._sampled_at < SAMPLE_S:
            return
        self._sampled_at = snapshot.t
        samples: dict[str, deque[int]] = {}
        for key, row in waiting.items():
            samples[key] = self._samples.get(key) or deque(maxlen=GROWING_SAMPLES)
            samples[key].append(row.depth)
        self._samples = samples

    def is_growing(self, key: str) -> bool:
        depths = list(self._samples.get(key, ()))
        if len(depths) < GROWING_SAMPLES or depths[-1] < GROWING_DEPTH_MIN:
            return False
        steady = all(later >= earlier for earlier, later in pairwise(depths))
        return steady and depths[-1] > depths[0] * 1.05

    def still_s(self, key: str, now: float) -> float:
        return now - self._still_since.get(key, now)


def _lookupd_problems(lookupds: dict[str, LookupdRow]) -> Iterator[_Found]:
    failed = [each for each in lookupds.values() if _is_down(each.state)]
    severity = CRITICAL if len(failed) == len(lookupds) else WARNING
    for each in failed:
        text = f"nsqlookupd {each.address} does not answer: {each.error}"
        yield _Found("lookupd-unreachable", severity, text, lookupd=each.address)


def _node_problems(node: NodeRow, now: float) -> Iterator[_Found]:
    name = f"nsqd {node.address}"
    if _is_down(node.state):
        text = f"{name} does not answer: {node.error}"
        yield _Found("node-unreachable", CRITICAL, text, node=node.address)
    if node.health not in ("", "OK"):
        text = f"{name} is not healthy: {node.health}"
        yield _Found("node-unhealthy", CRITICAL, text, node=node.address)
    if node.restarted_at is not None and now - node.restarted_at < RESTART_S:
        yield _Found("node-restarted", WARNING, f"{name} was restarted", node=node.address)
    if node.disk_free is not None and node.disk_free < DISK_FREE_BYTES_MIN:
        text = f"{name}: {node.disk_free >> 20:,} MiB are free on its disk"
        yield _Found("disk-full", WARNING, text, node=node.address)
    if node.lost_messages:
        count = node.lost_messages
        text = f"{name}: its log is damaged, {count:,} message{_s(count)} lost"
        yield _Found("damage", CRITICAL, text, node=node.address)


def _version_problems(nodes: dict[str, NodeRow]) -> Iterator[_Found]:
    versions = sorted({node.version for node in nodes.values() if node.version})
    if len(versions) > 1:
        yield _Found("versions-differ", WARNING, f"nodes run versions {', '.join(versions)}")


def _topic_problems(name: str, row: TopicRow) -> Iterator[_Found]:
    if not row.nodes:
        yield _Found("no-producer", WARNING, f"no node has the topic {name}", name)
    elif row.depth and not row.channels:
        text = f"{name} has no channel and {row.depth:,} message{_s(row.depth)}"
        yield _Found("no-channels", WARNING, text, name)


def _is_down(state: str) -> bool:
    return state in (DaemonState.STALE.value, DaemonState.UNREACHABLE.value)


def _attention(found: _Found, since: float) -> Attention:
    return Attention(
        id=found.id,
        rule=found.rule,
        severity=found.severity,
        since=since,
        text=found.text,
        topic=found.topic,
        channel=found.channel,
        node=found.node,
        lookupd=found.lookupd,
        page=found.page,
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


def _verdict(snapshot: ClusterSnapshot) -> Verdict:
    told = snapshot.attention
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
        f"All well: {totals.topics:,} topic{_s(totals.topics)}, "
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


def _time(seconds: float) -> str:
    """Return a duration for people, in one unit."""
    for name, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}s"
    return f"{seconds:.0f} s"
