"""
A whole cluster in simulated time: nodes, directories, producers and consumers, from one plan.

Theory of operation. `run` lets the plan's actions happen while clients work, and compares every
broker with the model all the time (`auditor`). Then it ends all faults, lets consumers finish
everything, and demands that nothing is missing. Each part draws from a random source of its own,
so that leaving out an action changes as little as possible of the rest.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nsqx.nsqd.core.topic import Topic
from nsqx.protocol.names import is_ephemeral
from tests.simulation import actions
from tests.simulation.auditor import Auditor, Counts, Violation
from tests.simulation.consumer import Consumer, ConsumerPlan
from tests.simulation.directory import Directory
from tests.simulation.network import Network
from tests.simulation.node import Node, NodePlan
from tests.simulation.node_peers import NodePeers
from tests.simulation.plan import Plan, draw_node
from tests.simulation.producer import Producer
from tests.simulation.scheduler import MILLISECOND_NS, SECOND_NS, START_NS, Scheduler
from tests.simulation.trace import Trace

__all__ = ["Cluster", "Result", "simulate"]

CHECK_NS = 15 * SECOND_NS
CALM_STEP_NS = 5 * SECOND_NS
CALM_MINUTES_MAX = 30
DIRECTORIES_NS = 60 * SECOND_NS


@dataclass(slots=True)
class Result:
    """What came of a simulation."""

    plan: Plan
    violation: Violation | None
    counts: Counts
    faults: dict[str, int]
    simulated_s: float
    digest: str
    lines: list[str]


class Cluster:
    """Everything of one simulation."""

    def __init__(self, plan: Plan, *, is_trace_kept: bool = False) -> None:
        self.plan = plan
        self.scheduler = Scheduler()
        self.trace = Trace(self.scheduler, is_kept=is_trace_kept)
        self.network = Network(self.scheduler, self._chance("network"))
        self.auditor = Auditor(self.scheduler, self.trace)
        self.fault_counts: dict[str, int] = {}
        self.directories = [
            Directory(f"lookupd{number}", self.scheduler, self.network, self.trace)
            for number in range(plan.directories)
        ]
        self.nodes = [self._node(node_plan) for node_plan in plan.nodes]
        self.peers = [self._peers_of(node) for node in self.nodes]
        self.producers = [
            Producer(
                producer_plan,
                self.nodes,
                self.scheduler,
                self.network,
                self.auditor,
                self.trace,
                self._chance(producer_plan.name),
            )
            for producer_plan in plan.producers
        ]
        self.consumers = [self._consumer(consumer_plan) for consumer_plan in plan.consumers]
        self._drained: set[tuple[str, str]] = set()
        self.client_hosts = [producer.plan.name for producer in self.producers]
        self.client_hosts += [consumer.plan.name for consumer in self.consumers]
        self.hosts = [node.name for node in self.nodes]
        self.hosts += [directory.name for directory in self.directories]
        self.hosts += self.client_hosts

    def _chance(self, part: str) -> random.Random:
        return random.Random(f"{self.plan.seed} {part}")

    def _node(self, plan: NodePlan) -> Node:
        return Node(
            plan, self.scheduler, self.network, self.auditor, self.trace, self._chance(plan.name)
        )

    def _peers_of(self, node: Node) -> NodePeers:
        chance = self._chance(f"peers of {node.name}")
        return NodePeers(node, self.directories, self.scheduler, self.network, chance)

    def _consumer(self, plan: ConsumerPlan) -> Consumer:
        return Consumer(
            plan, self._find, self.scheduler, self.network, self.trace, self._chance(plan.name)
        )

    def _find(self, host: str, topic: str, found: Callable[[list[str]], None]) -> None:
        """Find the nodes of a topic: by the directories, or by knowing all."""
        for directory in self.directories:
            directory.ask(host, partial(directory.nodes_of, topic), found)
        if not self.directories:
            found([node.name for node in self.nodes])

    # Running

    def run(self) -> None:
        """
        Let everything happen.

        Raises:
            Violation: a promise was broken.
        """
        for directory in self.directories:
            directory.start()
        for node in self.nodes:
            node.start()
        self.scheduler.after(SECOND_NS // 2, self._create_channels)
        for producer in self.producers:
            self.scheduler.after(SECOND_NS, producer.start)
        for consumer in self.consumers:
            self.scheduler.after(SECOND_NS, consumer.start)
        for action in self.plan.actions:
            at_ns = START_NS + SECOND_NS + action.at_ms * MILLISECOND_NS
            self.scheduler.at(at_ns, partial(actions.apply, self, action))
        self.scheduler.after(CHECK_NS, self._check)
        self.scheduler.run_until(START_NS + SECOND_NS + int(self.plan.minutes * 60) * SECOND_NS)
        self._end()

    def _create_channels(self) -> None:
        for node in self.nodes:
            for topic in self.plan.topics:
                node.run(partial(self._create_topic, node, topic.name, topic.channels))

    def _create_channel(self, node: Node, topic: Topic, name: str) -> None:
        node.broker.get_channel(topic, name)

    def _create_topic(self, node: Node, name: str, channels: tuple[str, ...]) -> None:
        topic = node.broker.get_topic(name)
        for channel in channels:
            node.broker.get_channel(topic, channel)

    def _check(self) -> None:
        for node in self.nodes:
            node.check()
        self.scheduler.after(CHECK_NS, self._check)

    # The end

    def _end(self) -> None:
        self.trace.note("cluster", "all faults end")
        self._heal()
        for producer in self.producers:
            producer.stop()
        for consumer in self.consumers:
            consumer.behave()
        self._wait(self._is_delivered, CALM_MINUTES_MAX * 60 * SECOND_NS)
        owed = self._owed()
        if owed:
            raise Violation(
                "everything_is_delivered",
                f"after {CALM_MINUTES_MAX} quiet minutes: " + "; ".join(owed),
            )
        self._wait(self._is_tidy, DIRECTORIES_NS)
        for node in self.nodes:
            node.check()
            self.auditor.check_end(node)
        self._check_tidy()

    def _heal(self) -> None:
        self.network.heal_all()
        for host in self.client_hosts:
            self.network.resume(host)
        for directory in self.directories:
            self.network.resume(directory.name)
        for node in self.nodes:
            node.disk_is_well()
            node.disk.steps_left = None
            node.clock_offset_ns = node.clock_offset_max_ns  # or what is deferred takes for ever
            node.thaw()
            if node.is_removed:  # what is still on its disk is owed all the same
                node.bring_back()

    def _wait(self, is_done: Callable[[], bool], at_most_ns: int) -> None:
        until_ns = self.scheduler.now_ns + at_most_ns
        while self.scheduler.now_ns < until_ns:
            self.scheduler.run_until(self.scheduler.now_ns + CALM_STEP_NS)
            if is_done():
                return

    def _is_delivered(self) -> bool:
        if not all(node.is_running for node in self.nodes):
            return False
        self._drain()
        return all(producer.is_done for producer in self.producers) and not self._owed()

    def _owed(self) -> list[str]:
        return [
            line
            for node in self.nodes
            for line in (
                self.auditor.undelivered(node) if node.is_running else [f"{node.name} is down"]
            )
        ]

    def _drain(self) -> None:
        """Have a good consumer at each channel, each at all nodes of its topic, nothing paused."""
        for node in self.nodes:
            for topic in list(node.broker.topics.values()):
                # A consumer would make it, too, but maybe when all the others are done.
                for name in sorted(self._channels_of(topic.name) - topic.channels.keys()):
                    node.operate(partial(self._create_channel, node, topic, name))
                self.resume_topic(node, topic.name)
                for name in topic.channels:
                    self.resume_channel(node, topic.name, name)
                    if (topic.name, name) not in self._drained:
                        self._drained.add((topic.name, name))
                        self._add_drainer(topic.name, name)

    def _channels_of(self, topic_name: str) -> set[str]:
        """Return the channels that a topic has at any node."""
        topics = [node.broker.topics.get(topic_name) for node in self.nodes]
        names = {name for topic in topics if topic is not None for name in topic.channels}
        return {name for name in names if not is_ephemeral(name)}

    def _add_drainer(self, topic: str, channel: str) -> None:
        plan = ConsumerPlan(
            f"drainer{len(self._drained)}",
            topic,
            channel,
            max_in_flight=100,
            msg_timeout_ms=10_000,
            work_ms=5,
            requeue_part=0.0,
            delay_part=0.0,
            touch_part=0.0,
            late_part=0.0,
            leave_part=0.0,
            delay_max_ms=1,
            has_backoff=False,
        )
        self._consumer(plan).start()

    def _is_tidy(self) -> bool:
        return not self._untidy()

    def _untidy(self) -> list[tuple[str, str]]:
        problems = [
            ("finished_segments_go", f"{topic.name} at {node.name} keeps segments")
            for node in self.nodes
            for topic in node.broker.topics.values()
            if topic.channels and topic.log.oldest_sealed() is not None and not topic.is_ephemeral
        ]
        for peers, node in zip(self.peers, self.nodes, strict=True):
            for directory in self.directories:
                missing = _missing(node, directory)
                if missing or not peers.is_complete:
                    problems.append(
                        ("directory_is_complete", f"{directory.name} of {node.name}: {missing}")
                    )
        return problems

    def _check_tidy(self) -> None:
        for promise, problem in self._untidy():
            raise Violation(promise, problem)

    # For actions

    def add_node(self) -> None:
        """Start a node that was not there before; clients hear of it."""
        number = len(self.nodes)
        node = self._node(draw_node(self._chance(f"new node {number}"), number))
        self.nodes.append(node)
        self.peers.append(self._peers_of(node))
        self.hosts.append(node.name)
        for producer in self.producers:
            producer.add_node(node)
        node.note("is new")
        node.start()

    def remove_node(self, node: Node) -> None:
        """Stop a node until the end; only what it has not delivered stays with it."""
        node.remove()
        for producer in self.producers:
            producer.remove_node(node)

    def resume_topic(self, node: Node, name: str) -> None:
        """End the pause of a topic, if it is there and paused."""
        topic = node.broker.topics.get(name) if node.is_running else None
        if topic is not None and topic.is_paused:
            node.operate(partial(node.broker.pause_topic, topic, False))

    def resume_channel(self, node: Node, topic_name: str, name: str) -> None:
        """End the pause of a channel, if it is there and paused."""
        topic = node.broker.topics.get(topic_name) if node.is_running else None
        channel = topic.channels.get(name) if topic is not None else None
        if topic is not None and channel is not None and channel.is_paused:
            node.operate(partial(node.broker.pause_channel, topic, channel, False))


def _missing(node: Node, directory: Directory) -> list[str]:
    """Return what a node has and a directory does not know of it."""
    missing = []
    for topic in node.broker.topics.values():
        if node.name not in directory.nodes_of(topic.name):
            missing.append(topic.name)
        known = directory.channels_of(topic.name)
        missing += [f"{topic.name}/{name}" for name in topic.channels if name not in known]
    return missing


def simulate(plan: Plan, *, is_trace_kept: bool = False) -> Result:
    """Run a plan to its end, or to its first broken promise."""
    cluster = Cluster(plan, is_trace_kept=is_trace_kept)
    violation = None
    try:
        cluster.run()
    except Violation as found:
        violation = found
        cluster.trace.note("VIOLATION", str(found))
    for node in cluster.nodes:
        node.let_go()
    return Result(
        plan,
        violation,
        cluster.auditor.counts,
        cluster.fault_counts,
        cluster.scheduler.elapsed_s,
        cluster.trace.digest(),
        cluster.trace.lines,
    )
