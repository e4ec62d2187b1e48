"""What happens in a simulation, drawn from its seed before it begins."""

import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import cycle

from nsqx.nsqd.core.durability import Durability
from tests.simulation.consumer import ConsumerPlan
from tests.simulation.node import NodePlan
from tests.simulation.producer import ProducerPlan

__all__ = ["Action", "Plan", "TopicPlan", "draw_node", "plan_of"]

# Kinds of actions with their weights; `actions` says what each does.
FAULTS = {
    "kill": 4,
    "kill_in_step": 8,
    "power": 2,
    "power_in_step": 4,
    "power_all": 1,
    "stop": 2,
    "freeze": 2,
    "disk_full": 2,
    "disk_refuses": 1,
    "sync_fails": 2,
    "read_fails": 1,
    "disk_slow": 2,
    "clock": 2,
    "cut": 3,
    "slow": 1,
    "reset": 2,
    "forget": 1,
    "freeze_client": 2,
    "restarts": 1,
}
DAMAGES = {"flip_log": 2, "flip_index": 2, "flip_journal": 1, "flip_checkpoint": 1}
OPERATIONS = {
    "pause_topic": 2,
    "pause_channel": 2,
    "empty_channel": 1,
    "empty_topic": 1,
    "seek": 2,
    "peek": 1,
    "delete_channel": 1,
    "delete_topic": 1,
    "create_channel": 1,
}
DIRECTORY_FAULTS = {"kill_directory": 2, "freeze_directory": 1}
CHANGES = {"add_node": 2, "remove_node": 2, "cut_others": 1}
PAUSES = {"pause_consumer": 1}

# What came later than most has numbers and a source of chance of its own: the rest of a seed's plan
# is the same with it and without.
FIRST_CHANGE = 1000
FIRST_PAUSE = 2000
SOME = 0.4  # of the seeds have changes, and pauses
CHANGE_MS = 120_000  # on average between two
PAUSE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Action:
    """Something that is done to the cluster. ``node`` and ``other`` count from 0."""

    number: int
    at_ms: int
    kind: str
    node: int
    other: int
    for_ms: int
    value: int  # for what the kind needs besides, from 0 to 2 ** 31 - 1


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic and the channels that are made for it at the beginning."""

    name: str
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a simulation but what its parts draw themselves, each from a source of its own."""

    seed: int
    minutes: float
    nodes: tuple[NodePlan, ...]
    directories: int
    topics: tuple[TopicPlan, ...]
    producers: tuple[ProducerPlan, ...]
    consumers: tuple[ConsumerPlan, ...]
    actions: tuple[Action, ...]
    became: str = ""  # see `become`

    def only(self, numbers: Collection[int]) -> "Plan":
        """Return the plan with these actions alone."""
        return replace(
            self, actions=tuple(action for action in self.actions if action.number in numbers)
        )

    def become(self, kinds: str) -> "Plan":
        """Return the plan with actions of these kinds, in turn; ``kinds`` is cut at commas."""
        turns = cycle(kinds.split(","))
        actions = [
            replace(action, kind=kind) for action, kind in zip(self.actions, turns, strict=False)
        ]
        if not self.directories:
            actions = [action for action in actions if action.kind not in DIRECTORY_FAULTS]
        return replace(self, actions=tuple(actions), became=kinds)

    def until(self, minutes: float) -> "Plan":
        """Return the plan of a shorter time."""
        actions = [action for action in self.actions if action.at_ms < minutes * 60_000]
        return replace(self, minutes=minutes, actions=tuple(actions))


def plan_of(seed: int, minutes: float) -> Plan:
    """Draw a plan."""
    chance = random.Random(f"plan {seed}")
    node_count = chance.choice((1, 1, 2, 3))
    topics = _topics(chance)
    nodes = tuple(draw_node(chance, number) for number in range(node_count))
    directories = chance.choice((0, 1, 2))
    pairs = [(topic.name, channel) for topic in topics for channel in topic.channels]
    producers = tuple(
        _producer(chance, number, chance.choice(topics).name)
        for number in range(chance.randrange(1, 4))
    )
    consumers = tuple(
        _consumer(chance, number, *chance.choice(pairs)) for number in range(chance.randrange(1, 5))
    )
    actions = _actions(chance, minutes, node_count, directories)
    for what, weights, mean_ms, number in (
        ("changes", CHANGES, CHANGE_MS, FIRST_CHANGE),
        ("pauses", PAUSES, PAUSE_MS, FIRST_PAUSE),
    ):
        others = random.Random(f"{what} {seed}")
        if others.random() < SOME:
            actions += _draw(others, minutes, weights, mean_ms, number, 1)
    return Plan(seed, minutes, nodes, directories, topics, producers, consumers, actions)


def draw_node(chance: random.Random, number: int) -> NodePlan:
    """Draw what a node is like; ``number`` counts from 0."""
    return NodePlan(
        f"nsqd{number}",
        chance.choice((Durability.OS, Durability.FSYNC)),
        segment_bytes_max=chance.choice((2_000, 8_000, 60_000)),
        memory_bytes_max=chance.choice((4_000, 20_000, 1_000_000)),
        reads_block=chance.random() < 0.3,
    )


def _topics(chance: random.Random) -> tuple[TopicPlan, ...]:
    names = ["orders", "clicks", "trace#ephemeral"][: chance.randrange(1, 4)]
    return tuple(
        TopicPlan(name, tuple(["billing", "archive", "tail#ephemeral"][: chance.randrange(1, 4)]))
        for name in names
    )


def _producer(chance: random.Random, number: int, topic: str) -> ProducerPlan:
    return ProducerPlan(
        f"producer{number}",
        topic,
        pause_ms=chance.choice((300, 1000, 4000)),
        batch_max=chance.choice((1, 3, 12)),
        deferred_part=chance.choice((0.0, 0.1, 0.5)),
        delay_max_ms=chance.choice((2_000, 30_000, 120_000)),
    )


def _consumer(chance: random.Random, number: int, topic: str, channel: str) -> ConsumerPlan:
    is_clumsy = chance.random() < 0.6
    return ConsumerPlan(
        f"consumer{number}",
        topic,
        channel,
        max_in_flight=chance.choice((1, 5, 40, 200)),
        msg_timeout_ms=chance.choice((1_000, 3_000, 10_000)),
        work_ms=chance.choice((1, 20, 200)),
        requeue_part=0.03 if is_clumsy else 0.0,
        delay_part=0.04 if is_clumsy else 0.0,
        touch_part=0.02 if is_clumsy else 0.0,
        late_part=0.02 if is_clumsy else 0.0,
        leave_part=0.005 if is_clumsy else 0.0,
        delay_max_ms=chance.choice((500, 20_000, 90_000)),
        has_backoff=chance.random() < 0.2,
    )


def _actions(
    chance: random.Random, minutes: float, node_count: int, directories: int
) -> tuple[Action, ...]:
    """Draw what goes wrong, and how often: from a quiet cluster to one that never rests."""
    weights = dict(FAULTS)
    if chance.random() < 0.4:
        weights |= DAMAGES
    if chance.random() < 0.6:
        weights |= OPERATIONS
    if directories:
        weights |= DIRECTORY_FAULTS
    mean_ms = chance.choice((4_000, 12_000, 40_000))
    return _draw(chance, minutes, weights, mean_ms, 0, node_count)


def _draw(
    chance: random.Random,
    minutes: float,
    weights: dict[str, int],
    mean_ms: int,
    first: int,
    node_count: int,
) -> tuple[Action, ...]:
    kinds, shares = list(weights), list(weights.values())
    actions: list[Action] = []
    at_ms = chance.expovariate(1 / mean_ms)
    while at_ms < minutes * 60_000:
        actions.append(
            Action(
                number=first + len(actions),
                at_ms=int(at_ms),
                kind=chance.choices(kinds, shares)[0],
                node=chance.randrange(node_count),
                other=chance.randrange(16),
                for_ms=int(chance.expovariate(1 / 8_000)) + 1,
                value=chance.randrange(2**31),
            )
        )
        at_ms += chance.expovariate(1 / mean_ms)
    return tuple(actions)
