"""
The cluster as a whole, put together from what its lookupds or nsqds answer.

Keeps nothing: every call asks anew. With lookupds as sources they say which nsqds there are;
without, the given nsqds are all (nsqadmin sections 1 and 2).
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from nsqx.protocol.errors import NsqError

from .answers import (
    ChannelsAnswer,
    ChannelStats,
    LookupAnswer,
    NodesAnswer,
    NsqdInfo,
    NsqdStats,
    Producer,
    TopicsAnswer,
    TopicStats,
)
from .upstream import Answers, Upstream
from .versions import version_key

__all__ = [
    "AllFailed",
    "ChannelTotal",
    "Cluster",
    "Node",
    "NodeState",
    "Overview",
    "TopicTotal",
    "Warnings",
]

LOOKUPD, NSQD = "nsqlookupd", "nsqd"
STATS_PATH = "/stats?format=json&include_clients=false&include_mem=false"

AnswerType = TypeVar("AnswerType")


class AllFailed(NsqError):
    """None of the daemons of one step answered, so there is nothing to show."""


class Warnings:
    """What went wrong on the way to a partial answer, step by step."""

    def __init__(self) -> None:
        self._steps: list[str] = []

    def settle(self, answers: Answers[AnswerType], kind: str) -> dict[str, AnswerType]:
        """
        Note what failed, and return what did not.

        Raises:
            AllFailed: nothing is left.
        """
        failed = "\n".join(map(str, answers.errors.values()))
        if not answers.by_address:
            raise AllFailed(f"failed to query any {kind}: {failed}")
        if failed and failed not in self._steps:
            self._steps.append(failed)
        return answers.by_address

    @property
    def message(self) -> str:
        """For the ``message`` of an answer; empty when all went well."""
        return f"WARNING: {'; '.join(self._steps)}" if self._steps else ""


@dataclass(slots=True)
class Node:
    """An nsqd, in the shape of nsqadmin's NODE (nsqadmin section 4)."""

    producer: Producer | NsqdInfo
    topics: dict[str, bool]  # name to whether it is tombstoned
    remote_addresses: list[str] = field(default_factory=list)  # "lookupd/remote", one each
    out_of_date: bool = False

    @property
    def http_address(self) -> str:
        return f"{self.producer.broadcast_address}:{self.producer.http_port}"

    @property
    def tcp_address(self) -> str:
        return f"{self.producer.broadcast_address}:{self.producer.tcp_port}"

    def as_json(self) -> dict[str, Any]:
        producer = self.producer
        places = {
            "topology_zone": producer.topology_zone,
            "topology_region": producer.topology_region,
        }
        topics = [{"topic": name, "tombstoned": gone} for name, gone in self.topics.items()]
        return {
            "remote_addresses": self.remote_addresses or None,
            "remote_address": getattr(producer, "remote_address", ""),
            "hostname": producer.hostname,
            "broadcast_address": producer.broadcast_address,
            "tcp_port": producer.tcp_port,
            "http_port": producer.http_port,
            "version": producer.version,
            **{key: place for key, place in places.items() if place},
            "topics": topics or None,
            "out_of_date": self.out_of_date,
        }


@dataclass(slots=True)
class NodeState:
    """A node on the page: its statistics, or why there are none."""

    address: str  # HTTP
    node: Node | None
    stats: NsqdStats | None
    error: str


@dataclass(slots=True)
class ChannelTotal:
    """A channel, summed over the nodes that answered."""

    name: str
    depth: int = 0
    in_flight: int = 0
    deferred: int = 0
    requeued: int = 0
    timed_out: int = 0
    messages: int = 0
    clients: int = 0
    paused: bool = False

    def add(self, stats: ChannelStats) -> None:
        self.depth += stats.depth
        self.in_flight += stats.in_flight_count
        self.deferred += stats.deferred_count
        self.requeued += stats.requeue_count
        self.timed_out += stats.timeout_count
        self.messages += stats.message_count
        self.clients += stats.client_count
        self.paused |= stats.paused


@dataclass(slots=True)
class TopicTotal:
    """A topic, summed over the nodes that answered; ``nodes`` is 0 if only lookupds know it."""

    name: str
    nodes: int = 0
    depth: int = 0
    messages: int = 0
    paused: bool = False
    channels: dict[str, ChannelTotal] = field(default_factory=dict)

    def add(self, stats: TopicStats) -> None:
        self.nodes += 1
        self.depth += stats.depth
        self.messages += stats.message_count
        self.paused |= stats.paused
        for channel in stats.channels or ():
            name = channel.channel_name
            self.channels.setdefault(name, ChannelTotal(name)).add(channel)


@dataclass(slots=True)
class Overview:
    """All that the page shows. Daemons that do not answer are a part of it, not a failure."""

    lookupds: dict[str, str]  # address to what is wrong with it, "" if nothing
    nodes: list[NodeState]
    topics: list[TopicTotal]


class Cluster:
    """Answers questions about the whole; ``lookupds`` and ``nsqds`` are HTTP addresses."""

    def __init__(self, upstream: Upstream, lookupds: list[str], nsqds: list[str]) -> None:
        self._upstream = upstream
        self._lookupds = lookupds
        self._nsqds = nsqds

    async def topics(self, warnings: Warnings) -> list[str]:
        """
        Return the names of all topics, sorted.

        Raises:
            AllFailed: no source answered.
        """
        if self._lookupds:
            answers = await self._ask_lookupds("/topics", TopicsAnswer, warnings)
            return sorted({name for answer in answers for name in answer.topics or ()})
        stats = warnings.settle(await self._ask_stats(self._nsqds), NSQD)
        return sorted({topic.topic_name for each in stats.values() for topic in each.topics or ()})

    async def inactive_topics(self, warnings: Warnings) -> dict[str, list[str]]:
        """
        Return the topics that lookupds know and no nsqd has, with their channels.

        Raises:
            AllFailed: no lookupd answered. Without lookupds, no topic is ever inactive.
        """
        if not self._lookupds:
            return {}
        names = await self.topics(warnings)
        found = await asyncio.gather(*(self._has_producer(name, warnings) for name in names))
        inactive = [name for name, has in zip(names, found, strict=True) if not has]
        channels = await asyncio.gather(*(self._channels(name, warnings) for name in inactive))
        return dict(zip(inactive, channels, strict=True))

    async def nodes(self, warnings: Warnings) -> list[Node]:
        """
        Return all nsqds, by host name.

        Raises:
            AllFailed: no source answered.
        """
        if self._lookupds:
            asked = await self._upstream.ask_all(self._lookupds, "/nodes", NodesAnswer)
            nodes = _merge_nodes(warnings.settle(asked, LOOKUPD))
        else:
            nodes = await self._given_nodes(warnings)
        newest = max((version_key(node.producer.version) for node in nodes), default=())
        for node in nodes:
            node.out_of_date = version_key(node.producer.version) < newest
        return sorted(nodes, key=lambda node: (node.producer.hostname, node.tcp_address))

    async def overview(self) -> Overview:
        """Return everything that can be had now. Never fails."""
        if not self._lookupds:
            return await self._overview_of_given()
        nodes_asked, topics_asked = await asyncio.gather(
            self._upstream.ask_all(self._lookupds, "/nodes", NodesAnswer),
            self._upstream.ask_all(self._lookupds, "/topics", TopicsAnswer),
        )
        errors = nodes_asked.errors | topics_asked.errors
        lookupds = {address: str(errors.get(address, "")) for address in self._lookupds}
        nodes = {node.http_address: node for node in _merge_nodes(nodes_asked.by_address)}
        stats = await self._ask_stats(nodes)
        states = [_state_of(address, node, stats) for address, node in nodes.items()]
        known = [name for each in topics_asked.by_address.values() for name in each.topics or ()]
        return Overview(lookupds, states, _sum_topics(stats.by_address.values(), known))

    async def _overview_of_given(self) -> Overview:
        infos, stats = await asyncio.gather(
            self._upstream.ask_all(self._nsqds, "/info", NsqdInfo), self._ask_stats(self._nsqds)
        )
        nodes = {address: Node(info, {}) for address, info in infos.by_address.items()}
        states = [_state_of(address, nodes.get(address), stats) for address in self._nsqds]
        return Overview({}, states, _sum_topics(stats.by_address.values(), ()))

    async def _given_nodes(self, warnings: Warnings) -> list[Node]:
        infos, stats = await asyncio.gather(
            self._upstream.ask_all(self._nsqds, "/info", NsqdInfo), self._ask_stats(self._nsqds)
        )
        found = warnings.settle(infos, NSQD)
        topics = warnings.settle(stats, NSQD)
        return [
            Node(info, {topic.topic_name: False for topic in topics[address].topics or ()})
            for address, info in found.items()
            if address in topics
        ]

    async def _has_producer(self, topic: str, warnings: Warnings) -> bool:
        path = f"/lookup?topic={quote(topic, safe='')}"
        answers = await self._ask_lookupds(path, LookupAnswer, warnings)
        return any(answer.producers for answer in answers)

    async def _channels(self, topic: str, warnings: Warnings) -> list[str]:
        path = f"/channels?topic={quote(topic, safe='')}"
        answers = await self._ask_lookupds(path, ChannelsAnswer, warnings)
        return sorted({name for answer in answers for name in answer.channels or ()})

    async def _ask_lookupds(
        self, path: str, answer: type[AnswerType], warnings: Warnings
    ) -> list[AnswerType]:
        asked = await self._upstream.ask_all(self._lookupds, path, answer)
        return list(warnings.settle(asked, LOOKUPD).values())

    async def _ask_stats(self, nsqds: Iterable[str]) -> Answers[NsqdStats]:
        return await self._upstream.ask_all(nsqds, STATS_PATH, NsqdStats)


def _merge_nodes(answers: dict[str, NodesAnswer]) -> list[Node]:
    """Several lookupds list the same nsqd: one node, with an address from each."""
    nodes: dict[str, Node] = {}
    for lookupd, answer in answers.items():
        for producer in answer.producers or ():
            key = f"{producer.broadcast_address}:{producer.tcp_port}"
            node = nodes.setdefault(key, Node(producer, _topics_of(producer)))
            node.remote_addresses.append(f"{lookupd}/{producer.remote_address}")
    return list(nodes.values())


def _topics_of(producer: Producer) -> dict[str, bool]:
    names, tombstones = producer.topics or (), producer.tombstones or ()
    return dict(sorted(zip(names, tombstones, strict=False)))


def _state_of(address: str, node: Node | None, stats: Answers[NsqdStats]) -> NodeState:
    error = str(stats.errors.get(address, ""))
    return NodeState(address, node, stats.by_address.get(address), error)


def _sum_topics(stats: Iterable[NsqdStats], known: Iterable[str]) -> list[TopicTotal]:
    totals = {name: TopicTotal(name) for name in known}
    for each in stats:
        for topic in each.topics or ():
            totals.setdefault(topic.topic_name, TopicTotal(topic.topic_name)).add(topic)
    return [totals[name] for name in sorted(totals)]
