"""
The registration database of nsqlookupd (lookupd section 2): who has which topics and channels.

Theory of operation. A producer is one connection of an nsqd; two connections with the same
broadcast address are two producers. A topic entry and the entries of its channels live apart:
they outlive their producers, and a channel's entry may outlive its topic's. Nothing is stored
on disk, because every nsqd registers all it has when it connects.

Time is an argument (``now_ns``) and must not run backwards. It hides producers but changes
nothing: an inactive producer or an ended tombstone is found when a question is asked.

Registering is O(1), whatever the registry holds. A change only drops the answers it makes wrong;
they are made again by ``answers`` when somebody asks. That is why topics and producers have
places for finished answers, and why each answer knows when time alone will make it wrong.

Whoever watches a topic is told by its index: a number that is another one whenever the answer to
its lookup has changed, and never comes back. An unknown topic has index 0.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from nsqx.lookupd.limits import (
    ENTRIES_MAX,
    REGISTRATIONS_PER_ADDRESS_MAX,
    REGISTRATIONS_PER_PRODUCER_MAX,
    UNUSED_MAX,
)
from nsqx.lookupd.networks import Networks, View, parse_network
from nsqx.net.host_port import format_host_port, host_of
from nsqx.protocol.errors import NsqError
from nsqx.protocol.lookup import Advertised, Network, PeerInfo
from nsqx.protocol.names import is_ephemeral

__all__ = [
    "NEVER_NS",
    "Answer",
    "Limits",
    "LookupKey",
    "Producer",
    "Registry",
    "RegistryFullError",
    "Topic",
]

SECOND_NS = 1_000_000_000
INACTIVE_PRODUCER_TIMEOUT_NS = 300 * SECOND_NS
TOMBSTONE_LIFETIME_NS = 45 * SECOND_NS
NEVER_NS = 2**63 - 1


class RegistryFullError(NsqError):
    """A limit was reached; nothing was changed."""


@dataclass(slots=True, frozen=True)
class Limits:
    """What clients may make the registry hold."""

    registrations_per_producer: int = REGISTRATIONS_PER_PRODUCER_MAX
    registrations_per_address: int = REGISTRATIONS_PER_ADDRESS_MAX
    entries: int = ENTRIES_MAX
    unused: int = UNUSED_MAX


@dataclass(slots=True, frozen=True)
class Answer:
    """A finished answer: right from when it was made until ``expires_ns``, without changes."""

    body: bytes
    expires_ns: int


@dataclass(slots=True, eq=False)
class Producer:
    """One connected nsqd, and the names of all entries that hold it."""

    id: str  # the remote ip:port of its connection
    peer: PeerInfo
    last_seen_ns: int
    topics: dict[str, None] = field(default_factory=dict)  # in the order registered
    channels: dict[str, set[str]] = field(default_factory=dict)  # by topic, never empty
    host: str = ""  # that it connects from
    registrations: int = 0  # how many entries hold it
    # Its address in each network that it named, and parts of /nodes by the network chosen.
    addresses: Mapping[Network, Advertised] = field(default_factory=dict)
    node_answers: dict[Network | None, Answer] = field(default_factory=dict)

    @property
    def is_draining(self) -> bool:
        """Whether it is being emptied: who looks for a node to publish to is not told of it."""
        return self.peer.draining is True

    @property
    def node(self) -> str:
        """The address that a tombstone names."""
        return format_host_port(self.peer.broadcast_address, self.peer.http_port)

    def is_node(self, node: str) -> bool:
        """Tell whether ``node`` is how anybody sees it in /nodes."""
        return node == self.node or any(
            node == format_host_port(address.broadcast_address, address.http_port)
            for address in self.addresses.values()
        )


# Who asks, and whether nodes that drain are to be told, too.
LookupKey = tuple[View, bool]


@dataclass(slots=True, eq=False)
class Topic:
    """The entries of one topic name: its own, and those of its channels."""

    name: str
    known: bool = False  # whether the topic itself has an entry
    # Producers of the topic's entry, and since when each is tombstoned (ns).
    producers: dict[Producer, int | None] = field(default_factory=dict)
    channels: dict[str, dict[Producer, None]] = field(default_factory=dict)
    index: int = 0  # of what a lookup answers
    lookup_answers: dict[LookupKey, Answer] = field(default_factory=dict)
    channels_answer: Answer | None = None


class Registry:
    """Topics, channels and their producers. Synchronous: every method is one atomic change."""

    def __init__(
        self,
        *,
        inactive_timeout_ns: int = INACTIVE_PRODUCER_TIMEOUT_NS,
        tombstone_lifetime_ns: int = TOMBSTONE_LIFETIME_NS,
        limits: Limits | None = None,
        first_index: int = 0,
    ) -> None:
        """``first_index`` is above all indices that a registry before this one gave out."""
        self.inactive_timeout_ns = inactive_timeout_ns
        self.tombstone_lifetime_ns = tombstone_lifetime_ns
        self.limits = limits or Limits()
        self.topics: dict[str, Topic] = {}
        self.producers: dict[Producer, None] = {}
        self.registrations = 0  # pairs of an entry and a producer
        self.entries = 0  # of topics and channels
        self.index = first_index  # the last one given out
        self._by_host: dict[str, int] = {}  # registrations
        self._unused: dict[str, None] = {}  # topics that no producer has, the oldest first
        self.on_lookup_changed: Callable[[str], None] = _ignore  # gets the topic's name
        self.topics_answer: Answer | None = None
        self.nodes_answers: dict[View, Answer] = {}
        self.networks = Networks()

    # Connections

    def add_producer(self, id: str, peer: PeerInfo, now_ns: int) -> Producer:
        """Take in an nsqd that identified itself. It has no topics yet."""
        advertised = () if isinstance(peer.advertised, msgspec.UnsetType) else peer.advertised
        addresses = {parse_network(each.network): each for each in advertised}
        producer = Producer(id, peer, last_seen_ns=now_ns, host=host_of(id), addresses=addresses)
        self.networks.add(addresses)
        self.producers[producer] = None
        self.nodes_answers.clear()
        return producer

    def remove_producer(self, producer: Producer) -> None:
        """Forget a producer whose connection is lost. The entries stay, ephemeral ones too."""
        for name in list(producer.topics):
            self._leave_topic(producer, self.topics[name])
        for name, channels in list(producer.channels.items()):
            topic = self.topics[name]
            for channel in list(channels):
                self._leave_channel(producer, topic, channel)
        del self.producers[producer]
        self.networks.remove(producer.addresses)
        self.nodes_answers.clear()

    def ping(self, producer: Producer, now_ns: int) -> None:
        """Note a sign of life; it brings an inactive producer back."""
        was_active = self.is_active(producer, now_ns)
        producer.last_seen_ns = now_ns
        if not was_active:
            self.nodes_answers.clear()
            for name in producer.topics:
                self.lookup_changed(self.topics[name])

    # Registrations

    def register(self, producer: Producer, topic_name: str, channel: str | None) -> None:
        """
        Add a producer to a topic, and to a channel of it if one is named.

        Repeating changes nothing: a tombstone stays.

        Raises:
            RegistryFullError: the producer, or the registry, has too many already.
        """
        missing = self._missing(producer, topic_name, channel)
        if not missing:
            return
        limit = self.limits.registrations_per_producer
        if producer.registrations + missing > limit:
            raise RegistryFullError(f"too many registrations, limit {limit}")
        limit = self.limits.registrations_per_address
        if self._by_host.get(producer.host, 0) + missing > limit:
            raise RegistryFullError(f"too many registrations of one address, limit {limit}")
        self._drop_unused(self.limits.entries - missing, topic_name)
        topic = self._create(topic_name, channel)
        self._join_topic(producer, topic)
        if channel is not None:
            self._join_channel(producer, topic, channel)

    def unregister(self, producer: Producer, topic_name: str, channel: str | None) -> None:
        """Take a producer out of one channel, or out of a topic and all its channels."""
        topic = self.topics.get(topic_name)
        if topic is None:
            return
        if channel is None:
            self._unregister_topic(producer, topic)
        else:
            self._leave_channel(producer, topic, channel)
            if is_ephemeral(channel) and topic.channels.get(channel) == {}:
                self._forget_channel(topic, channel)

    def _unregister_topic(self, producer: Producer, topic: Topic) -> None:
        for channel in list(producer.channels.get(topic.name, ())):
            self._leave_channel(producer, topic, channel)
        self._leave_topic(producer, topic)
        # Its channels stay, ephemeral or not, as in NSQ.
        if topic.known and is_ephemeral(topic.name) and not topic.producers:
            self._forget_topic(topic)

    # Changes by an operator

    def create_topic(self, name: str) -> None:
        """
        Make an entry without producers.

        Raises:
            RegistryFullError: there are too many entries already.
        """
        self._create(name, None)

    def create_channel(self, topic_name: str, channel: str) -> None:
        """
        Make an entry without producers, and one for its topic.

        Raises:
            RegistryFullError: there are too many entries already.
        """
        self._create(topic_name, channel)

    def delete_topic(self, name: str) -> None:
        """
        Forget a topic with its channels. Its producers are not told and stay connected.

        A ``*`` is an unknown name here: the wildcard is for questions only.
        """
        topic = self.topics.get(name)
        if topic is None:
            return
        for channel in list(topic.channels):
            self._drop_channel(topic, channel)
        if topic.known:
            for producer in list(topic.producers):
                self._leave_topic(producer, topic)
            self._forget_topic(topic)

    def delete_channel(self, topic_name: str, channel: str) -> bool:
        """Forget a channel; return False if there is none."""
        topic = self.topics.get(topic_name)
        if topic is None or channel not in topic.channels:
            return False
        self._drop_channel(topic, channel)
        return True

    def tombstone(self, topic_name: str, node: str, now_ns: int) -> None:
        """
        Hide the producers at ``node`` (broadcast address:HTTP port) from lookups of a topic.

        It may be an address for one network, too: that is what /nodes shows there.
        """
        topic = self.topics.get(topic_name)
        if topic is None:
            return
        for producer in topic.producers:
            if producer.is_node(node):
                topic.producers[producer] = now_ns
                self._producers_changed(topic, producer)

    # Questions

    def is_active(self, producer: Producer, now_ns: int) -> bool:
        """Tell whether a producer gave a sign of life within the timeout."""
        return now_ns - producer.last_seen_ns <= self.inactive_timeout_ns

    def is_tombstoned(self, producer: Producer, topic: Topic, now_ns: int) -> bool:
        """Tell whether a producer of a topic is to be hidden from its lookups."""
        since_ns = topic.producers[producer]
        return since_ns is not None and now_ns - since_ns < self.tombstone_lifetime_ns

    def inactive_at_ns(self, producer: Producer) -> int:
        """Return when a producer stops being active, if it gives no further sign of life."""
        return producer.last_seen_ns + self.inactive_timeout_ns + 1

    def tombstone_ends_ns(self, producer: Producer, topic: Topic) -> int:
        """Return when a tombstone ends, or ended; ``NEVER_NS`` if there is none."""
        since_ns = topic.producers[producer]
        return NEVER_NS if since_ns is None else since_ns + self.tombstone_lifetime_ns

    def index_of(self, topic_name: str) -> int:
        """Return the index of a topic's lookup, 0 if it is unknown."""
        topic = self.topics.get(topic_name)
        return topic.index if topic is not None and topic.known else 0

    def known_topics(self) -> Iterator[Topic]:
        """Yield the topics that have an entry of their own."""
        return (topic for topic in self.topics.values() if topic.known)

    # Entries: the only functions that change them, so that counts and answers stay right

    def _create(self, topic_name: str, channel: str | None) -> Topic:
        """Make the entries that are missing, or none of them if there is no room."""
        topic = self.topics.get(topic_name)
        new_topic = topic is None or not topic.known
        new_channel = channel is not None and (topic is None or channel not in topic.channels)
        if self.entries + new_topic + new_channel > self.limits.entries:
            raise RegistryFullError(f"too many topics and channels, limit {self.limits.entries}")
        if topic is None:
            topic = self.topics[topic_name] = Topic(topic_name)
        if new_topic:
            topic.known = True
            self.lookup_changed(topic)
            self.topics_answer = None
            self._note_use(topic)
        if new_channel and channel is not None:
            topic.channels[channel] = {}
            self._channels_changed(topic)
        self.entries += new_topic + new_channel
        while len(self._unused) > self.limits.unused:
            self.delete_topic(next(iter(self._unused)))
        return topic

    def _note_use(self, topic: Topic) -> None:
        if topic.known and not topic.producers:
            self._unused[topic.name] = None
        else:
            self._unused.pop(topic.name, None)

    def _drop_unused(self, entries: int, wanted: str) -> None:
        """Make room for what a producer has: topics that nobody has go, the oldest first."""
        while self.entries > entries and self._unused:
            oldest = next(iter(self._unused))
            if oldest == wanted:
                return
            self.delete_topic(oldest)

    def _forget_topic(self, topic: Topic) -> None:
        topic.known = False
        self._note_use(topic)
        self.lookup_changed(topic)
        self.topics_answer = None
        self.entries -= 1
        self._release(topic)

    def _forget_channel(self, topic: Topic, channel: str) -> None:
        del topic.channels[channel]
        self._channels_changed(topic)
        self.entries -= 1
        self._release(topic)

    def _release(self, topic: Topic) -> None:
        if not topic.known and not topic.channels:
            del self.topics[topic.name]

    def _drop_channel(self, topic: Topic, channel: str) -> None:
        for producer in list(topic.channels[channel]):
            self._leave_channel(producer, topic, channel)
        self._forget_channel(topic, channel)

    def _missing(self, producer: Producer, topic_name: str, channel: str | None) -> int:
        """Count the entries that a registration would add the producer to."""
        missing = int(topic_name not in producer.topics)
        if channel is not None:
            missing += channel not in producer.channels.get(topic_name, ())
        return missing

    def _join_topic(self, producer: Producer, topic: Topic) -> None:
        if producer not in topic.producers:
            topic.producers[producer] = None
            producer.topics[topic.name] = None
            self._note_use(topic)
            self._count_registrations(producer, 1)
            self._producers_changed(topic, producer)

    def _leave_topic(self, producer: Producer, topic: Topic) -> None:
        if producer in topic.producers:
            del topic.producers[producer]
            del producer.topics[topic.name]
            self._note_use(topic)
            self._count_registrations(producer, -1)
            self._producers_changed(topic, producer)

    def _join_channel(self, producer: Producer, topic: Topic, channel: str) -> None:
        holders = topic.channels[channel]
        if producer not in holders:
            holders[producer] = None
            producer.channels.setdefault(topic.name, set()).add(channel)
            self._count_registrations(producer, 1)

    def _leave_channel(self, producer: Producer, topic: Topic, channel: str) -> None:
        holders = topic.channels.get(channel, {})
        if producer in holders:
            del holders[producer]
            names = producer.channels[topic.name]
            names.remove(channel)
            if not names:
                del producer.channels[topic.name]
            self._count_registrations(producer, -1)

    def _count_registrations(self, producer: Producer, change: int) -> None:
        producer.registrations += change
        self.registrations += change
        of_host = self._by_host.get(producer.host, 0) + change
        if of_host:
            self._by_host[producer.host] = of_host
        else:
            self._by_host.pop(producer.host, None)

    def lookup_changed(self, topic: Topic) -> None:
        """A lookup of the topic answers something else now; also called when time did it."""
        topic.lookup_answers.clear()
        self.index += 1
        topic.index = self.index
        self.on_lookup_changed(topic.name)

    def _producers_changed(self, topic: Topic, producer: Producer) -> None:
        self.lookup_changed(topic)
        producer.node_answers.clear()
        self.nodes_answers.clear()

    def _channels_changed(self, topic: Topic) -> None:
        self.lookup_changed(topic)
        topic.channels_answer = None


def _ignore(topic_name: str) -> None:
    """Nobody watches."""
