"""
What ``nsqx top`` shows: a cluster at one moment, from the statistics of its nsqds. No I/O.

A rate needs two polls: ``view`` takes the counters of the one before. Counters begin anew when an
nsqd restarts; a rate is then unknown for one poll, and never negative.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["ChannelView", "ClusterView", "NodeView", "Poll", "view"]

# What is counted: "topic" or "topic channel" by node, each with its counters.
_Counters = dict[tuple[str, str, str], tuple[int, int]]


@dataclass(slots=True)
class Poll:
    """
    The answers to one round of questions.

    Attributes:
        at: seconds on any clock that runs evenly.
        answers: what each nsqd said to ``/stats?format=json``, by its address.
        failures: why an nsqd said nothing, by its address.
    """

    at: float
    answers: Mapping[str, Any]
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class NodeView:
    """One nsqd. Rates are messages per second; None: not known."""

    address: str
    version: str = ""
    topics: int = 0
    clients: int = 0
    depth: int = 0
    in_per_second: float | None = None
    problem: str = ""


@dataclass(slots=True)
class ChannelView:
    """One channel over all nsqds; ``channel`` is empty for a topic that has none."""

    topic: str
    channel: str
    nodes: int = 0
    depth: int = 0
    in_flight: int = 0
    deferred: int = 0
    clients: int = 0
    in_per_second: float | None = None
    done_per_second: float | None = None
    requeued: int = 0
    timed_out: int = 0
    is_paused: bool = False


@dataclass(slots=True)
class ClusterView:
    """All of it; channels with the greatest depth first."""

    nodes: list[NodeView]
    channels: list[ChannelView]

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def view(now: Poll, before: Poll | None, *, topics: Iterable[str] = ()) -> ClusterView:
    """
    Return what there is to see; of these topics only, if some are given.

    Raises:
        KeyError, TypeError: an answer is not that of an nsqd.
    """
    wanted = frozenset(topics)
    old = _counters(before) if before is not None else {}
    seconds = now.at - before.at if before is not None else 0.0
    nodes = [_node(address, answer, old, seconds) for address, answer in now.answers.items()]
    nodes += [NodeView(address, problem=reason) for address, reason in now.failures.items()]
    channels: dict[tuple[str, str], ChannelView] = {}
    for address, topic, channel in _channels(now):
        name = topic["topic_name"]
        if wanted and name not in wanted:
            continue
        key = (name, channel["channel_name"] if channel else "")
        found = channels.setdefault(key, ChannelView(*key))
        _add(found, topic, channel)
        _add_rates(found, address, channel or topic, old, seconds)
    ordered = sorted(channels.values(), key=lambda each: (-each.depth, each.topic, each.channel))
    return ClusterView(sorted(nodes, key=lambda each: each.address), ordered)


def _channels(poll: Poll) -> Iterable[tuple[str, Any, Any]]:
    """Yield node, topic and channel; None for the channel of a topic without any."""
    for address, answer in poll.answers.items():
        for topic in answer["topics"] or ():
            for channel in topic["channels"] or (None,):
                yield address, topic, channel


def _key(address: str, counted: Mapping[str, Any], topic: str) -> tuple[str, str, str]:
    return address, topic, counted.get("channel_name", "")


def _counts(counted: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many messages came, and how many of them are done with."""
    came = counted["message_count"]
    waiting = counted["depth"] + counted.get("in_flight_count", 0)
    return came, came - waiting - counted.get("deferred_count", 0)


def _counters(poll: Poll) -> _Counters:
    counters: _Counters = {}
    for address, topic, channel in _channels(poll):
        counters[_key(address, topic, topic["topic_name"])] = _counts(topic)
        if channel is not None:
            counters[_key(address, channel, topic["topic_name"])] = _counts(channel)
    return counters


def _node(address: str, answer: Any, old: _Counters, seconds: float) -> NodeView:
    topics = answer["topics"] or ()
    channels = [channel for topic in topics for channel in topic["channels"] or ()]
    node = NodeView(
        address,
        version=str(answer.get("version", "")),
        topics=len(topics),
        clients=sum(channel["client_count"] for channel in channels),
        depth=sum(each["depth"] for each in [*topics, *channels]),
        problem="" if answer.get("health", "OK") == "OK" else str(answer["health"]),
    )
    for topic in topics:
        came = _grown(_key(address, topic, topic["topic_name"]), topic, old, seconds)
        if came is not None:
            node.in_per_second = (node.in_per_second or 0.0) + came[0]
    return node


def _add(found: ChannelView, topic: Mapping[str, Any], channel: Mapping[str, Any] | None) -> None:
    counted = topic if channel is None else channel
    found.nodes += 1
    found.depth += counted["depth"]
    found.in_flight += counted.get("in_flight_count", 0)
    found.deferred += counted.get("deferred_count", 0)
    found.clients += counted.get("client_count", 0)
    found.requeued += counted.get("requeue_count", 0)
    found.timed_out += counted.get("timeout_count", 0)
    found.is_paused = found.is_paused or bool(counted["paused"])


def _add_rates(
    found: ChannelView, address: str, counted: Mapping[str, Any], old: _Counters, seconds: float
) -> None:
    grown = _grown(_key(address, counted, found.topic), counted, old, seconds)
    if grown is not None:
        found.in_per_second = (found.in_per_second or 0.0) + grown[0]
        if found.channel:
            found.done_per_second = (found.done_per_second or 0.0) + grown[1]


def _grown(
    key: tuple[str, str, str], counted: Mapping[str, Any], old: _Counters, seconds: float
) -> tuple[float, float] | None:
    """Return both rates; None if they are not known."""
    came, done = _counts(counted)
    if key not in old or seconds <= 0 or came < old[key][0]:
        return None
    # A channel that was moved back has less done than before.
    return (came - old[key][0]) / seconds, max(done - old[key][1], 0) / seconds
