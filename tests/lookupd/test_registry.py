"""
The registration database, first rule by rule, then against a model.

The model is the table that lookupd section 2 describes: a dictionary from (category, key, subkey)
to producers. It keeps no answers and counts nothing, so what the registry keeps for speed must
agree with it after every step, and with time passing.
"""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)

from nsqx.lookupd.answers import Answers
from nsqx.lookupd.registry import Limits, Producer, Registry, RegistryFullError
from nsqx.protocol.lookup import PeerInfo

TIMEOUT_NS = 10
LIFETIME_NS = 4


def node(number: int = 1) -> PeerInfo:
    return PeerInfo(
        broadcast_address=f"10.1.1.{number}", http_port=4151, tcp_port=4150, version="1.3.0"
    )


class Directory:
    """A registry with its answers, decoded, at a time that the test sets."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.registry = Registry(
            inactive_timeout_ns=TIMEOUT_NS, tombstone_lifetime_ns=LIFETIME_NS, limits=limits
        )
        self.answers = Answers(self.registry)
        self.now_ns = 1000
        self.connections = 0

    def connect(self, number: int = 1) -> Producer:
        self.connections += 1
        id = f"127.0.0.1:{self.connections}"
        return self.registry.add_producer(id, node(number), self.now_ns)

    def topics(self) -> list[str]:
        return sorted(json.loads(self.answers.topics())["topics"])

    def channels(self, topic: str) -> list[str]:
        return sorted(json.loads(self.answers.channels(topic))["channels"])

    def lookup(self, topic: str) -> tuple[list[str], list[str]] | None:
        """Return the channels and the ids of the producers."""
        body = self.answers.lookup(topic, self.now_ns)
        if body is None:
            return None
        answer = json.loads(body)
        ids = [producer["remote_address"] for producer in answer["producers"]]
        return sorted(answer["channels"]), sorted(ids)

    def nodes(self) -> dict[str, dict[str, bool]]:
        """Return the tombstones by topic, by producer id."""
        answer = json.loads(self.answers.nodes(self.now_ns))
        return {
            node["remote_address"]: dict(zip(node["topics"], node["tombstones"], strict=True))
            for node in answer["producers"]
        }

    def debug(self) -> dict[str, list[dict[str, Any]]]:
        entries: dict[str, list[dict[str, Any]]] = json.loads(b"".join(self.answers.debug()))
        return entries


@pytest.fixture
def directory() -> Directory:
    return Directory()


def test_channel_registers_its_topic_too(directory: Directory) -> None:
    producer = directory.connect()
    directory.registry.register(producer, "t", "c")
    assert directory.topics() == ["t"]
    assert directory.lookup("t") == (["c"], [producer.id])
    assert directory.registry.registrations == 2


def test_repeating_a_registration_changes_nothing(directory: Directory) -> None:
    producer = directory.connect()
    directory.registry.register(producer, "t", "c")
    body = directory.answers.lookup("t", directory.now_ns)
    directory.registry.register(producer, "t", "c")
    assert directory.answers.lookup("t", directory.now_ns) is body
    assert directory.registry.registrations == 2


def test_entries_outlive_their_producers(directory: Directory) -> None:
    producer = directory.connect()
    directory.registry.register(producer, "t", "c#ephemeral")
    directory.registry.remove_producer(producer)
    assert directory.lookup("t") == (["c#ephemeral"], [])
    assert directory.nodes() == {}
    assert directory.registry.registrations == 0
    assert directory.registry.entries == 2


def test_ephemeral_channel_is_forgotten_with_its_last_producer(directory: Directory) -> None:
    first, second = directory.connect(1), directory.connect(2)
    for producer in (first, second):
        directory.registry.register(producer, "t", "c#ephemeral")
    directory.registry.unregister(first, "t", "c#ephemeral")
    assert directory.channels("t") == ["c#ephemeral"]
    directory.registry.unregister(second, "t", "c#ephemeral")
    assert directory.channels("t") == []


def test_ephemeral_topic_is_forgotten_and_its_channels_stay(directory: Directory) -> None:
    producer = directory.connect()
    directory.registry.register(producer, "t#ephemeral", "c#ephemeral")
    directory.registry.unregister(producer, "t#ephemeral", None)
    assert directory.topics() == []
    assert directory.lookup("t#ephemeral") is None
    assert directory.channels("t#ephemeral") == ["c#ephemeral"]


def test_two_connections_with_one_address_are_two_producers(directory: Directory) -> None:
    first, second = directory.connect(1), directory.connect(1)
    for producer in (first, second):
        directory.registry.register(producer, "t", None)
    assert directory.lookup("t") == ([], [first.id, second.id])
    directory.registry.remove_producer(first)
    assert directory.lookup("t") == ([], [second.id])


def test_deleted_topic_leaves_its_producer_connected(directory: Directory) -> None:
    producer = directory.connect()
    directory.registry.register(producer, "t", "c")
    directory.registry.delete_topic("t")
    assert directory.lookup("t") is None
    assert directory.nodes() == {producer.id: {}}
    directory.registry.register(producer, "t", None)
    assert directory.lookup("t") == ([], [producer.id])


def test_star_deletes_nothing(directory: Directory) -> None:
    directory.registry.create_topic("t")
    directory.registry.delete_topic("*")
    assert directory.topics() == ["t"]


def test_star_lists_channels_with_repeats_and_each_producer_once(directory: Directory) -> None:
    producer = directory.connect()
    directory.registry.register(producer, "t1", "c")
    directory.registry.register(producer, "t2", "c")
    assert directory.channels("*") == ["c", "c"]
    assert directory.lookup("*") == (["c", "c"], [producer.id])


def test_star_of_nothing_is_unknown(directory: Directory) -> None:
    assert directory.lookup("*") is None
    assert directory.channels("*") == []


def test_producer_is_active_up_to_and_with_the_timeout(directory: Directory) -> None:
    producer = directory.connect()
    directory.registry.register(producer, "t", None)
    directory.now_ns += TIMEOUT_NS
    assert directory.lookup("t") == ([], [producer.id])
    assert list(directory.nodes()) == [producer.id]
    directory.now_ns += 1
    assert directory.lookup("t") == ([], [])
    assert directory.nodes() == {}


def test_ping_brings_an_inactive_producer_back_and_register_does_not(directory: Directory) -> None:
    producer = directory.connect()
    directory.registry.register(producer, "t", None)
    directory.now_ns += TIMEOUT_NS + 1
    directory.registry.register(producer, "t", "c")
    assert directory.lookup("t") == (["c"], [])
    directory.registry.ping(producer, directory.now_ns)
    assert directory.lookup("t") == (["c"], [producer.id])
    assert list(directory.nodes()) == [producer.id]


def test_tombstone_hides_from_lookups_of_one_topic_until_its_lifetime_ends(
    directory: Directory,
) -> None:
    producer = directory.connect()
    for topic in ("t", "other"):
        directory.registry.register(producer, topic, None)
    directory.registry.tombstone("t", "10.1.1.1:4151", directory.now_ns)
    assert directory.lookup("t") == ([], [])
    assert directory.lookup("other") == ([], [producer.id])
    assert directory.nodes() == {producer.id: {"t": True, "other": False}}
    directory.now_ns += LIFETIME_NS - 1
    assert directory.lookup("t") == ([], [])
    directory.now_ns += 1
    assert directory.lookup("t") == ([], [producer.id])
    assert directory.nodes() == {producer.id: {"t": False, "other": False}}


def test_tombstone_names_the_http_port(directory: Directory) -> None:
    producer = directory.connect()
    directory.registry.register(producer, "t", None)
    directory.registry.tombstone("t", "10.1.1.1:4150", directory.now_ns)
    assert directory.lookup("t") == ([], [producer.id])


def test_only_registering_anew_lifts_a_tombstone(directory: Directory) -> None:
    producer = directory.connect()
    directory.registry.register(producer, "t", None)
    directory.registry.tombstone("t", producer.node, directory.now_ns)
    directory.registry.register(producer, "t", "c")
    assert directory.lookup("t") == (["c"], [])
    directory.registry.unregister(producer, "t", None)
    directory.registry.register(producer, "t", None)
    assert directory.lookup("t") == (["c"], [producer.id])


def test_a_node_that_drains_is_told_to_consumers_that_ask_for_it(directory: Directory) -> None:
    peer = msgspec.structs.replace(node(2), draining=True)
    draining = directory.registry.add_producer("127.0.0.1:9", peer, directory.now_ns)
    other = directory.connect()
    for producer in (draining, other):
        directory.registry.register(producer, "t", None)
    lookups = [
        json.loads(directory.answers.lookup("t", directory.now_ns, with_draining=wanted) or b"")
        for wanted in (False, True)
    ]
    assert [[each["remote_address"] for each in lookup["producers"]] for lookup in lookups] == [
        [other.id],
        [draining.id, other.id],
    ]
    assert directory.lookup("*") == ([], [other.id])
    nodes = json.loads(directory.answers.nodes(directory.now_ns))["producers"]
    assert [(each.get("draining"), each["tombstones"]) for each in nodes] == [
        (True, [True]),
        (None, [False]),
    ]


def test_a_node_of_ours_is_listed_with_both_versions(directory: Directory) -> None:
    peer = msgspec.structs.replace(node(2), version="1.3.0", nsqx_version="0.1.0")
    for producer in (
        directory.registry.add_producer("127.0.0.1:9", peer, directory.now_ns),
        directory.connect(),
    ):
        directory.registry.register(producer, "t", None)
    listed = json.loads(directory.answers.nodes(directory.now_ns))["producers"]
    assert [each.get("nsqx_version") for each in listed] == ["0.1.0", None]
    found = directory.answers.lookup("t", directory.now_ns)
    for answer in (found, b"".join(directory.answers.debug())):
        assert b"nsqx_version" not in (answer or b"nsqx_version")  # as in NSQ


def test_debug_shows_when_a_producer_was_tombstoned(directory: Directory) -> None:
    producer = directory.connect()
    directory.registry.register(producer, "t", "c")
    directory.registry.tombstone("t", producer.node, 1000)
    shown = {key: (p["tombstoned"], p["tombstoned_at"]) for key, (p,) in directory.debug().items()}
    never = (False, -6795364578871345152)
    assert shown == {"channel:t:c": never, "client::": never, "topic:t:": (True, 1000)}


def test_answers_escape_what_go_escapes(directory: Directory) -> None:
    peer = PeerInfo(broadcast_address="<&>", http_port=1, tcp_port=1, version="1")
    directory.registry.add_producer("a:1", peer, directory.now_ns)
    assert rb'"broadcast_address":"\u003c\u0026\u003e"' in directory.answers.nodes(1000)


def test_answers_are_kept_until_something_they_show_changes(directory: Directory) -> None:
    first, second = directory.connect(1), directory.connect(2)
    directory.registry.register(first, "t", "c")
    directory.registry.register(second, "other", None)

    def bodies() -> list[bytes | None]:
        answers = directory.answers
        return [answers.topics(), answers.channels("t"), answers.lookup("t", directory.now_ns)]

    before = bodies()
    directory.registry.register(second, "other", "c")
    directory.registry.ping(first, directory.now_ns)
    directory.registry.remove_producer(second)
    assert all(one is other for one, other in zip(before, bodies(), strict=True))


def test_producer_that_registers_too_much_is_refused_and_keeps_what_it_has() -> None:
    directory = Directory(Limits(registrations_per_producer=3))
    producer = directory.connect()
    directory.registry.register(producer, "t", "c1")
    directory.registry.register(producer, "t", "c2")
    with pytest.raises(RegistryFullError, match="too many registrations, limit 3"):
        directory.registry.register(producer, "t", "c3")
    directory.registry.register(producer, "t", "c2")  # it has that one
    assert directory.lookup("t") == (["c1", "c2"], [producer.id])
    directory.registry.unregister(producer, "t", "c1")
    directory.registry.register(producer, "t", "c3")
    assert producer.registrations == 3


def test_full_registry_takes_no_half_of_a_channel_and_its_topic() -> None:
    directory = Directory(Limits(entries=2))
    directory.registry.create_topic("t1")
    with pytest.raises(RegistryFullError, match="too many topics and channels, limit 2"):
        directory.registry.create_channel("t2", "c")
    assert directory.topics() == ["t1"]
    directory.registry.create_channel("t1", "c")
    with pytest.raises(RegistryFullError):
        directory.registry.register(directory.connect(), "t1", "c2")
    assert directory.nodes() == {"127.0.0.1:1": {}}
    directory.registry.delete_topic("t1")
    directory.registry.create_channel("t2", "c")


def test_one_address_registers_so_much_and_no_more() -> None:
    directory = Directory(Limits(registrations_per_address=2))
    first, second = directory.connect(), directory.connect()  # of one address
    directory.registry.register(first, "a", None)
    directory.registry.register(second, "b", None)
    with pytest.raises(RegistryFullError, match="of one address, limit 2"):
        directory.registry.register(second, "c", None)
    directory.registry.remove_producer(first)
    directory.registry.register(second, "c", None)
    assert directory.topics() == ["a", "b", "c"]


def test_what_nobody_has_makes_room_for_what_a_producer_has() -> None:
    directory = Directory(Limits(entries=3))
    producer = directory.connect()
    directory.registry.register(producer, "ours", None)
    directory.registry.create_channel("rubbish", "c")
    directory.registry.register(producer, "new", None)
    assert directory.topics() == ["new", "ours"]
    with pytest.raises(RegistryFullError):
        directory.registry.register(producer, "more", "c")


def test_of_topics_that_nobody_has_only_the_newest_are_kept() -> None:
    directory = Directory(Limits(unused=2))
    producer = directory.connect()
    directory.registry.register(producer, "ours", None)
    for name in ("a", "b", "c"):
        directory.registry.create_topic(name)
    assert directory.topics() == ["b", "c", "ours"]
    directory.registry.remove_producer(producer)  # now nobody has it since a moment
    directory.registry.create_topic("d")
    assert directory.topics() == ["d", "ours"]


Key = tuple[str, str, str]
TOPICS = ("a", "b", "e#ephemeral")
CHANNELS = ("x", "y", "z#ephemeral")


class Model:
    """The table of lookupd section 2: entries hold producers, with when each was tombstoned."""

    def __init__(self) -> None:
        self.entries: dict[Key, dict[Producer, int | None]] = {}
        self.last_seen_ns: dict[Producer, int] = {}

    def of_topic(self, topic: str) -> list[Key]:
        return [key for key in self.entries if key[:2] == ("channel", topic)]

    def is_active(self, producer: Producer, now_ns: int) -> bool:
        return now_ns - self.last_seen_ns[producer] <= TIMEOUT_NS

    def channels(self, topic: str) -> list[str]:
        return sorted(key[2] for key in self.of_topic(topic))

    def lookup(self, topic: str, now_ns: int) -> tuple[list[str], list[str]] | None:
        producers = self.entries.get(("topic", topic, ""))
        if producers is None:
            return None
        listed = [
            producer.id
            for producer, since_ns in producers.items()
            if self.is_active(producer, now_ns) and not _hidden(since_ns, now_ns)
        ]
        return self.channels(topic), sorted(listed)

    def nodes(self, now_ns: int) -> dict[str, dict[str, bool]]:
        return {
            producer.id: {
                key[1]: _hidden(producers[producer], now_ns)
                for key, producers in self.entries.items()
                if key[0] == "topic" and producer in producers
            }
            for producer in self.last_seen_ns
            if self.is_active(producer, now_ns)
        }

    def debug(self) -> dict[str, list[str]]:
        clients = {"client::": sorted(producer.id for producer in self.last_seen_ns)}
        held = {
            ":".join(key): sorted(producer.id for producer in producers)
            for key, producers in self.entries.items()
        }
        return {key: ids for key, ids in {**clients, **held}.items() if ids}


def _hidden(since_ns: int | None, now_ns: int) -> bool:
    return since_ns is not None and now_ns - since_ns < LIFETIME_NS


class RegistryMachine(RuleBasedStateMachine):
    """Few names, so that rules collide."""

    producers: Bundle[Producer] = Bundle("producers")
    topics = st.sampled_from(TOPICS)
    channels = st.sampled_from(CHANNELS)

    def __init__(self) -> None:
        super().__init__()
        self.directory = Directory()
        self.registry = self.directory.registry
        self.model = Model()
        self.answers_by_index: dict[tuple[str, int], object] = {}

    @rule(target=producers, number=st.integers(1, 2))
    def connect(self, number: int) -> Producer:
        producer = self.directory.connect(number)
        self.model.last_seen_ns[producer] = self.directory.now_ns
        return producer

    @rule(producer=consumes(producers))
    def disconnect(self, producer: Producer) -> None:
        self.registry.remove_producer(producer)
        del self.model.last_seen_ns[producer]
        for holders in self.model.entries.values():
            holders.pop(producer, None)

    @rule(producer=producers)
    def ping(self, producer: Producer) -> None:
        self.registry.ping(producer, self.directory.now_ns)
        self.model.last_seen_ns[producer] = self.directory.now_ns

    @rule(producer=producers, topic=topics, channel=st.none() | channels)
    def register(self, producer: Producer, topic: str, channel: str | None) -> None:
        self.registry.register(producer, topic, channel)
        self.model.entries.setdefault(("topic", topic, ""), {}).setdefault(producer, None)
        if channel is not None:
            self.model.entries.setdefault(("channel", topic, channel), {})[producer] = None

    @rule(producer=producers, topic=topics, channel=channels)
    def unregister_channel(self, producer: Producer, topic: str, channel: str) -> None:
        self.registry.unregister(producer, topic, channel)
        key = ("channel", topic, channel)
        self.model.entries.get(key, {}).pop(producer, None)
        if channel.endswith("#ephemeral") and not self.model.entries.get(key):
            self.model.entries.pop(key, None)

    @rule(producer=producers, topic=topics)
    def unregister_topic(self, producer: Producer, topic: str) -> None:
        self.registry.unregister(producer, topic, None)
        key = ("topic", topic, "")
        for each in (*self.model.of_topic(topic), key):
            self.model.entries.get(each, {}).pop(producer, None)
        if topic.endswith("#ephemeral") and not self.model.entries.get(key):
            self.model.entries.pop(key, None)

    @rule(topic=topics, channel=st.none() | channels)
    def create(self, topic: str, channel: str | None) -> None:
        self.model.entries.setdefault(("topic", topic, ""), {})
        if channel is None:
            self.registry.create_topic(topic)
        else:
            self.registry.create_channel(topic, channel)
            self.model.entries.setdefault(("channel", topic, channel), {})

    @rule(topic=topics)
    def delete_topic(self, topic: str) -> None:
        self.registry.delete_topic(topic)
        for key in (*self.model.of_topic(topic), ("topic", topic, "")):
            self.model.entries.pop(key, None)

    @rule(topic=topics, channel=channels)
    def delete_channel(self, topic: str, channel: str) -> None:
        existed = self.model.entries.pop(("channel", topic, channel), None) is not None
        assert self.registry.delete_channel(topic, channel) == existed

    @rule(topic=topics, number=st.integers(1, 2))
    def tombstone(self, topic: str, number: int) -> None:
        self.registry.tombstone(topic, f"10.1.1.{number}:4151", self.directory.now_ns)
        holders = self.model.entries.get(("topic", topic, ""), {})
        for producer in holders:
            if producer.peer.broadcast_address == f"10.1.1.{number}":
                holders[producer] = self.directory.now_ns

    @rule(elapsed_ns=st.sampled_from([1, LIFETIME_NS, TIMEOUT_NS, TIMEOUT_NS + 1]))
    def let_time_pass(self, elapsed_ns: int) -> None:
        self.directory.now_ns += elapsed_ns

    # Asked after every step: an answer that a step should have dropped is found at the next.

    @invariant()
    def answers_about_each_topic_agree(self) -> None:
        for topic in TOPICS:
            assert self.directory.lookup(topic) == self.model.lookup(topic, self.directory.now_ns)
            assert self.directory.channels(topic) == self.model.channels(topic)

    @invariant()
    def answers_with_one_index_are_the_same(self) -> None:
        for topic in TOPICS:
            answer = self.model.lookup(topic, self.directory.now_ns)
            index = self.registry.index_of(topic)
            assert self.answers_by_index.setdefault((topic, index), answer) == answer

    @invariant()
    def answers_about_all_topics_agree(self) -> None:
        known = sorted(key[1] for key in self.model.entries if key[0] == "topic")
        assert self.directory.topics() == known
        channels = Counter(key[2] for key in self.model.entries if key[0] == "channel")
        assert Counter(self.directory.channels("*")) == channels

    @invariant()
    def answer_about_nodes_agrees(self) -> None:
        assert self.directory.nodes() == self.model.nodes(self.directory.now_ns)

    @invariant()
    def debug_shows_every_entry_with_producers(self) -> None:
        shown = {
            key: sorted(producer["id"] for producer in producers)
            for key, producers in self.directory.debug().items()
        }
        assert shown == self.model.debug()

    @invariant()
    def counts_agree(self) -> None:
        entries = self.model.entries
        assert self.registry.entries == len(entries)
        assert self.registry.registrations == sum(map(len, entries.values()))
        for producer in self.model.last_seen_ns:
            held = sum(producer in holders for holders in entries.values())
            assert producer.registrations == held


TestRegistryMachine = RegistryMachine.TestCase
TestRegistryMachine.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
