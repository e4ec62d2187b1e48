"""
The cluster as NSQ's own API shows it: put together anew for every request.

With lookupds as sources they say which nsqds there are; without, the given nsqds are all (nsqadmin
sections 1 and 2). Nobody waits for a daemon that the collector knows to hang: it counts as failed.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from nsqx.admin.nsq_api.shapes import (
    NodeFacts,
    channel_at_node,
    channel_sum,
    topic_at_node,
    topic_sum,
)
from nsqx.cluster.answers import (
    ChannelsAnswer,
    LookupAnswer,
    NodesAnswer,
    NsqdInfo,
    NsqdStats,
    Producer,
    TopicsAnswer,
)
from nsqx.cluster.http import Answers, DaemonError, DaemonHttp
from nsqx.cluster.turns import in_turns
from nsqx.cluster.versions import version_key
from nsqx.protocol.errors import NsqError

__all__ = ["AllFailedError", "Cluster", "Node", "Warnings"]

LOOKUPD, NSQD = "nsqlookupd", "nsqd"

AnswerType = TypeVar("AnswerType")


class AllFailedError(NsqError):
    """None of the daemons of one step answered, so there is nothing to show."""


class Warnings:
    """What went wrong on the way to a partial answer, step by step."""

    def __init__(self) -> None:
        self.steps: list[str] = []  # the errors of each, joined by newlines

    def settle(self, answers: Answers[AnswerType], kind: str) -> dict[str, AnswerType]:
        """
        Note what failed, and return what did not.

        Raises:
            AllFailedError: nothing is left.
        """
        failed = "\n".join(map(str, answers.errors.values()))
        if not answers.by_address:
            raise AllFailedError(f"failed to query any {kind}: {failed}")
        if failed and failed not in self.steps:
            self.steps.append(failed)
        return answers.by_address

    @property
    def message(self) -> str:
        """For the ``message`` of an answer; empty when all went well."""
        return f"WARNING: {'; '.join(self.steps)}" if self.steps else ""


@dataclass(slots=True)
class Node:
    """An nsqd, in the shape of nsqadmin's NODE (nsqadmin section 4)."""

    producer: Producer | NsqdInfo
    topics: dict[str, bool]  # name to whether it is tombstoned
    remote_addresses: list[str] = field(default_factory=list)  # "lookupd/remote", one each
    out_of_date: bool = False

    @property
    def http_address(self) -> str:
        return self.producer.http_address

    @property
    def tcp_address(self) -> str:
        return self.producer.tcp_address

    @property
    def facts(self) -> NodeFacts:
        producer = self.producer
        return NodeFacts(
            self.http_address,
            producer.hostname,
            producer.topology_zone,
            producer.topology_region,
        )

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


class Cluster:
    """Answers questions about the whole; ``lookupds`` and ``nsqds`` are HTTP addresses."""

    def __init__(self, http: DaemonHttp, lookupds: Sequence[str], nsqds: Sequence[str]) -> None:
        self._http = http
        self._lookupds = lookupds
        self._nsqds = nsqds

    @property
    def lookupds(self) -> list[str]:
        return list(self._lookupds)

    # Names

    async def topics(self, warnings: Warnings) -> list[str]:
        """
        Return the names of all topics, sorted.

        Raises:
            AllFailedError: no source answered.
        """
        if self._is_by_lookupds:
            answers = await self._ask_lookupds("/topics", TopicsAnswer, warnings)
            return sorted({name for answer in answers for name in answer.topics or ()})
        stats = warnings.settle(await self._ask_stats(self._nsqds), NSQD)
        return sorted({topic.topic_name for each in stats.values() for topic in each.topics or ()})

    async def inactive_topics(self, warnings: Warnings) -> dict[str, list[str]]:
        """
        Return the topics that lookupds know and no nsqd has, with their channels.

        Raises:
            AllFailedError: no lookupd answered. Without lookupds, no topic is ever inactive.
        """
        if not self._is_by_lookupds:
            return {}
        names = await self.topics(warnings)
        # Who did not say which topics there are is told once, not for each of them again.
        told = Warnings()
        found = await in_turns(self._has_producer(name, told) for name in names)
        inactive = [name for name, has in zip(names, found, strict=True) if not has]
        channels = await in_turns(self._channels(name, told) for name in inactive)
        return dict(zip(inactive, channels, strict=True))

    # Nodes

    async def nodes(self, warnings: Warnings) -> list[Node]:
        """
        Return all nsqds, by host name.

        Raises:
            AllFailedError: no source answered.
        """
        if self._is_by_lookupds:
            asked = await self._http.ask_all(self._lookupds, "/nodes", NodesAnswer)
            nodes = _merge_nodes(warnings.settle(asked, LOOKUPD))
        else:
            nodes = await self._given_nodes(warnings)
        newest = max((version_key(node.producer.version) for node in nodes), default=())
        for node in nodes:
            node.out_of_date = version_key(node.producer.version) < newest
        return sorted(nodes, key=lambda node: (node.producer.hostname, node.tcp_address))

    async def nodes_with(self, topic: str, warnings: Warnings) -> list[Node]:
        """
        Return the nsqds that have a topic; with lookupds, those that are listed for it.

        Raises:
            AllFailedError: no source answered. A lookupd that does not know the topic has failed.
        """
        if not self._is_by_lookupds:
            return await self._given_nodes_with(topic, warnings)
        path = f"/lookup?topic={quote(topic, safe='')}&draining=true"
        answers = await self._ask_lookupds(path, LookupAnswer, warnings)
        nodes: dict[str, Node] = {}
        for answer in answers:
            for producer in answer.producers or ():
                node = Node(producer, {})
                nodes.setdefault(node.http_address, node)
        return list(nodes.values())

    async def node_at(self, address: str) -> Node:
        """
        Return the nsqd at an HTTP address, from what it says itself.

        Raises:
            AllFailedError: it does not answer.
        """
        try:
            return Node(await self._http.ask(address, "/info", NsqdInfo), {})
        except DaemonError as exc:
            raise AllFailedError(f"failed to query any {NSQD}: {exc}") from exc

    # Statistics

    async def topic(self, topic: str, warnings: Warnings) -> dict[str, Any]:
        """
        Return TOPIC, the sum over all nodes.

        Raises:
            AllFailedError: no source answered, or no node has it.
        """
        nodes = await self.nodes_with(topic, warnings)
        stats = await self._stats_of(nodes, warnings, topic)
        now_s = int(time.time())
        entries = [
            topic_at_node(node.facts, each, now_s)
            for node in nodes
            if node.http_address in stats
            for each in stats[node.http_address].topics or ()
        ]
        return topic_sum(topic, entries)

    async def channel(self, topic: str, channel: str, warnings: Warnings) -> dict[str, Any] | None:
        """
        Return CHANNEL, the sum over all nodes; None if none of them has it.

        Raises:
            AllFailedError: no source answered, or no node has the topic.
        """
        nodes = await self.nodes_with(topic, warnings)
        stats = await self._stats_of(nodes, warnings, topic, channel)
        now_s = int(time.time())
        entries = [
            channel_at_node(node.facts, topic, channel_stats, now_s)
            for node in nodes
            if node.http_address in stats
            for topic_stats in stats[node.http_address].topics or ()
            for channel_stats in topic_stats.channels or ()
            if channel_stats.channel_name == channel
        ]
        return channel_sum(topic, channel, entries) if entries else None

    async def node_topics(self, node: Node, warnings: Warnings) -> list[dict[str, Any]]:
        """
        Return TOPIC for each topic of a node, with all clients.

        Raises:
            AllFailedError: it does not answer.
        """
        path = "/stats?format=json&include_mem=false"
        asked = await self._http.ask_all([node.http_address], path, NsqdStats)
        (stats,) = warnings.settle(asked, NSQD).values()
        now_s = int(time.time())
        return [topic_at_node(node.facts, topic, now_s) for topic in stats.topics or ()]

    async def message_counts(self, warnings: Warnings) -> dict[str, dict[str, Any]]:
        """
        Return the entries of ``/api/counter``.

        Raises:
            AllFailedError: no source answered, or there are no nodes.
        """
        nodes = await self.nodes(warnings)
        stats = await self._stats_of(nodes, warnings)
        counts = {
            f"{topic.topic_name}:{channel.channel_name}:{address}": {
                "node": address,
                "topic_name": topic.topic_name,
                "channel_name": channel.channel_name,
                "message_count": channel.message_count,
            }
            for address, each in stats.items()
            for topic in each.topics or ()
            for channel in topic.channels or ()
        }
        return dict(sorted(counts.items()))

    # Asking

    @property
    def _is_by_lookupds(self) -> bool:
        return not self._nsqds

    async def _stats_of(
        self, nodes: Iterable[Node], warnings: Warnings, topic: str = "", channel: str = ""
    ) -> dict[str, NsqdStats]:
        asked = await self._ask_stats([node.http_address for node in nodes], topic, channel)
        return warnings.settle(asked, NSQD)

    async def _ask_stats(
        self, nsqds: Iterable[str], topic: str = "", channel: str = ""
    ) -> Answers[NsqdStats]:
        path = "/stats?format=json&include_mem=false"
        path += f"&topic={quote(topic, safe='')}" if topic else ""
        path += f"&channel={quote(channel, safe='')}" if channel else "&include_clients=false"
        return await self._http.ask_all(nsqds, path, NsqdStats)

    async def _given_nodes(self, warnings: Warnings) -> list[Node]:
        infos, stats = await asyncio.gather(
            self._http.ask_all(self._nsqds, "/info", NsqdInfo), self._ask_stats(self._nsqds)
        )
        found = warnings.settle(infos, NSQD)
        stats.errors = {key: exc for key, exc in stats.errors.items() if key not in infos.errors}
        topics = warnings.settle(stats, NSQD)
        return [
            Node(info, {topic.topic_name: False for topic in topics[address].topics or ()})
            for address, info in found.items()
            if address in topics
        ]

    async def _given_nodes_with(self, topic: str, warnings: Warnings) -> list[Node]:
        stats = warnings.settle(await self._ask_stats(self._nsqds, topic), NSQD)
        having = [
            address
            for address, each in stats.items()
            if any(found.topic_name == topic for found in each.topics or ())
        ]
        if not having:
            return []
        infos = await self._http.ask_all(having, "/info", NsqdInfo)
        return [Node(info, {}) for info in warnings.settle(infos, NSQD).values()]

    async def _has_producer(self, topic: str, warnings: Warnings) -> bool:
        path = f"/lookup?topic={quote(topic, safe='')}&draining=true"
        answers = await self._ask_lookupds(path, LookupAnswer, warnings)
        return any(answer.producers for answer in answers)

    async def _channels(self, topic: str, warnings: Warnings) -> list[str]:
        path = f"/channels?topic={quote(topic, safe='')}"
        answers = await self._ask_lookupds(path, ChannelsAnswer, warnings)
        return sorted({name for answer in answers for name in answer.channels or ()})

    async def _ask_lookupds(
        self, path: str, answer: type[AnswerType], warnings: Warnings
    ) -> list[AnswerType]:
        asked = await self._http.ask_all(self._lookupds, path, answer)
        return list(warnings.settle(asked, LOOKUPD).values())


def _merge_nodes(answers: dict[str, NodesAnswer]) -> list[Node]:
    """Several lookupds list the same nsqd: one node, with an address from each."""
    nodes: dict[str, Node] = {}
    for lookupd, answer in answers.items():
        for producer in answer.producers or ():
            key = producer.tcp_address
            node = nodes.setdefault(key, Node(producer, _topics_of(producer)))
            node.remote_addresses.append(f"{lookupd}/{producer.remote_address}")
    return list(nodes.values())


def _topics_of(producer: Producer) -> dict[str, bool]:
    names, tombstones = producer.topics or (), producer.tombstones or ()
    return dict(sorted(zip(names, tombstones, strict=False)))
