"""What ``nsqx top`` shows of a cluster at one moment. No I/O."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import ClusterSnapshot
from nsqx.cluster.number_fields import seldom
from nsqx.cluster.rows import ChannelRow, NodeRow, TopicRow
from nsqx.runtime import numbers
from nsqx.runtime.numbers import Number

__all__ = ["Seen", "SeenChannel", "SeenNode", "seen_of"]


@dataclass(slots=True)
class SeenNode:
    """One nsqd. Rates are messages per second; None: not known."""

    address: str
    version: str = ""
    topics: int | None = None
    clients: int | None = None
    depth: int | None = None
    in_per_second: float | None = None
    problem: str = ""
    others: dict[str, float] = field(default_factory=dict)  # that are mostly 0, and are not here


@dataclass(slots=True)
class SeenChannel:
    """One channel over all nsqds; ``channel`` is empty for a topic that has none."""

    topic: str
    channel: str
    nodes: int = 0
    stale: int = 0  # of them, that do not answer: with what they said last
    depth: int | None = 0
    in_flight: int = 0
    deferred: int = 0
    clients: int = 0
    in_per_second: float | None = None
    done_per_second: float | None = None
    requeued: int = 0
    timed_out: int = 0
    is_paused: bool = False
    others: dict[str, float] = field(default_factory=dict)  # that are mostly 0, and are not here


@dataclass(slots=True)
class Seen:
    """All of it; channels with the greatest depth first."""

    nodes: list[SeenNode]
    channels: list[SeenChannel]

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def seen_of(snapshot: ClusterSnapshot, topics: Iterable[str] = ()) -> Seen:
    """Return what there is to see; of these topics only, if some are given."""
    wanted = frozenset(topics)
    channels = [_channel(key, row) for key, row in snapshot.channels.items()]
    channels += [_bare(name, row) for name, row in snapshot.topics.items() if not row.channels]
    shown = [each for each in channels if not wanted or each.topic in wanted]
    shown.sort(key=lambda each: (-(each.depth or 0), each.topic, each.channel))
    return Seen([_node(row) for row in snapshot.nodes.values()], shown)


def _node(row: NodeRow) -> SeenNode:
    is_up = row.state == DaemonState.OK.value
    health = "" if row.health in ("", "OK") else row.health
    if not is_up:
        return SeenNode(row.address, row.version, problem=row.error)
    return SeenNode(
        row.address,
        row.version,
        row.topics,
        row.clients,
        row.depth,
        row.in_rate,
        health,
        _others(numbers.NODE, row),
    )


def _channel(key: str, row: ChannelRow) -> SeenChannel:
    topic, _, channel = key.partition("/")
    return SeenChannel(
        topic,
        channel,
        nodes=row.nodes,
        stale=row.stale,
        depth=row.depth,
        in_flight=row.in_flight,
        deferred=row.deferred,
        clients=row.clients,
        in_per_second=row.in_rate,
        done_per_second=row.out_rate,
        requeued=row.requeued,
        timed_out=row.timed_out,
        is_paused=row.paused,
        others=_others(numbers.CHANNEL, row),
    )


def _bare(name: str, row: TopicRow) -> SeenChannel:
    return SeenChannel(
        name,
        "",
        nodes=row.nodes,
        stale=row.stale,
        depth=row.depth,
        in_per_second=row.in_rate,
        is_paused=row.paused,
        others=_others(numbers.TOPIC, row),
    )


def _others(table: Iterable[Number], row: msgspec.Struct) -> dict[str, float]:
    return {number.row: getattr(row, number.row) for number in seldom(table, [row])}
