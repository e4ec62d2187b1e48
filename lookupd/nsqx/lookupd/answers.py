"""
The bodies of nsqlookupd's HTTP answers (lookupd section 3), kept while they are right. No I/O.

An answer is made when it is asked for and kept at the topic, the producer or the registry it is
about; the registry drops it on change, and time makes it expire. /nodes is joined from one piece
per producer, so that a change at one of a thousand nodes costs making one piece again.

Who asks matters only if nsqds advertise addresses for networks: ``asker`` is an IP address, and
those that see the same addresses share a view and its answers.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from nsqx.lookupd.networks import NO_VIEW, View
from nsqx.lookupd.registry import NEVER_NS, Answer, LookupKey, Producer, Registry, Topic
from nsqx.protocol.lookup import Network
from nsqx.runtime.http.go_json import encode

__all__ = ["Answers"]

WILDCARD = "*"
VIEWS_MAX = 256
NEVER_TOMBSTONED_NS = -6795364578871345152  # what Go prints for a time that was never set


class _ProducerAnswer(msgspec.Struct, frozen=True):
    """A producer as /lookup shows it. Fields in the order sent."""

    remote_address: str
    hostname: str
    broadcast_address: str
    tcp_port: int
    http_port: int
    version: str
    topology_zone: str
    topology_region: str


class _NodeAnswer(_ProducerAnswer, frozen=True):
    """A producer as /nodes shows it: two parallel lists more."""

    tombstones: list[bool]
    topics: list[str]
    # Ours, and not there unless the node said so:
    nsqx_version: str | msgspec.UnsetType = msgspec.UNSET
    draining: bool | msgspec.UnsetType = msgspec.UNSET


class _LookupAnswer(msgspec.Struct, frozen=True):
    channels: list[str]
    producers: list[_ProducerAnswer]


class _DebugAnswer(msgspec.Struct, frozen=True):
    """A producer as one entry of /debug shows it."""

    broadcast_address: str
    hostname: str
    http_port: int
    id: str
    last_update: int
    tcp_port: int
    tombstoned: bool
    tombstoned_at: int
    topology_region: str
    topology_zone: str
    version: str


class Answers:
    """
    Asks a registry and encodes what it knows. All bodies are compact JSON.

    Answers for ``views_max`` views are kept, for each topic.
    """

    def __init__(self, registry: Registry, views_max: int = VIEWS_MAX) -> None:
        self._registry = registry
        self._views_max = views_max

    def topics(self) -> bytes:
        """Return the names of all topics, with or without producers."""
        answer = self._registry.topics_answer
        if answer is None:
            names = [topic.name for topic in self._registry.known_topics()]
            answer = Answer(encode({"topics": names}), NEVER_NS)
            self._registry.topics_answer = answer
        return answer.body

    def channels(self, topic_name: str) -> bytes:
        """Return the channels of a topic; none if it is unknown."""
        if topic_name == WILDCARD:
            return encode({"channels": self._all_channels()})
        topic = self._registry.topics.get(topic_name)
        if topic is None:
            return encode({"channels": []})
        if topic.channels_answer is None:
            body = encode({"channels": list(topic.channels)})
            topic.channels_answer = Answer(body, NEVER_NS)
        return topic.channels_answer.body

    def lookup(
        self, topic_name: str, now_ns: int, asker: str = "", *, with_draining: bool = False
    ) -> bytes | None:
        """
        Return where to find a topic, or None if it is unknown.

        Nodes that drain are told to consumers that ask for them: who else would empty these?
        """
        view = self._registry.networks.view(asker)
        if topic_name == WILDCARD:
            return self._lookup_all(view, now_ns)
        topic = self._known(topic_name)
        if topic is None:
            return None
        return self._lookup_answer(topic, (view, with_draining), now_ns).body

    def lookup_expires_ns(
        self, topic_name: str, asker: str = "", *, with_draining: bool = False
    ) -> int:
        """Return when time alone may change the answer that `lookup` gave last."""
        topic = self._known(topic_name)
        if topic is None:
            return NEVER_NS
        key = (self._registry.networks.view(asker), with_draining)
        kept = topic.lookup_answers.get(key)
        return kept.expires_ns if kept is not None else NEVER_NS

    def nodes(self, now_ns: int, asker: str = "") -> bytes:
        """Return all active producers, tombstoned or not."""
        view = self._registry.networks.view(asker)
        answers = self._registry.nodes_answers
        answer = answers.get(view)
        if answer is None or now_ns >= answer.expires_ns:
            if len(answers) >= self._views_max:
                answers.clear()
            answer = answers[view] = self._make_nodes(view, now_ns)
        return answer.body

    def debug(self) -> Iterator[bytes]:
        """
        Yield all entries that have producers, as one JSON object in pieces, sorted as in NSQ.

        Not kept: costs all that there is. What changes between two pieces is in one of them, or in
        the other, or in none.
        """
        # A producer reads the same in all of its entries, except where it is tombstoned.
        pieces = {
            producer: encode(_debug_answer(producer)) for producer in self._registry.producers
        }
        # A colon follows the name in its key, and sorts behind a dash.
        names = sorted(self._registry.topics, key=_with_colon)
        opening = b"{"
        for key, held in self._debug_entries(names, pieces):
            if held:
                yield b"%b%b:[%b]" % (opening, encode(key), b",".join(held))
                opening = b","
        yield b"{}" if opening == b"{" else b"}"

    def _debug_entries(
        self, names: Sequence[str], pieces: dict[Producer, bytes]
    ) -> Iterator[tuple[str, list[bytes]]]:
        topics = self._registry.topics
        for topic in filter(None, map(topics.get, names)):
            for channel in sorted(topic.channels):
                if channel not in topic.channels:  # deleted meanwhile
                    continue
                yield f"channel:{topic.name}:{channel}", _held(topic.channels[channel], pieces)
        yield "client::", list(pieces.values())
        for topic in filter(None, map(topics.get, names)):
            yield f"topic:{topic.name}:", _held(topic.producers, pieces)

    def _known(self, topic_name: str) -> Topic | None:
        topic = self._registry.topics.get(topic_name)
        return topic if topic is not None and topic.known else None

    def _lookup_answer(self, topic: Topic, key: LookupKey, now_ns: int) -> Answer:
        kept = topic.lookup_answers.get(key)
        if kept is not None and now_ns < kept.expires_ns:
            return kept
        made = self._make_lookup(topic, key, now_ns)
        changed_by_time = kept is not None and kept.body != made.body
        # Answers that are dropped take with them what their index stood for: it needs another.
        if changed_by_time or len(topic.lookup_answers) >= self._views_max:
            self._registry.lookup_changed(topic)
        topic.lookup_answers[key] = made
        return made

    def _make_lookup(self, topic: Topic, key: LookupKey, now_ns: int) -> Answer:
        registry = self._registry
        view, with_draining = key
        listed: list[_ProducerAnswer] = []
        expires_ns = NEVER_NS
        for producer in topic.producers:
            if not registry.is_active(producer, now_ns):
                continue  # its next ping drops this answer
            expires_ns = min(expires_ns, registry.inactive_at_ns(producer))
            if producer.is_draining and not with_draining:
                continue
            if registry.is_tombstoned(producer, topic, now_ns):
                expires_ns = min(expires_ns, registry.tombstone_ends_ns(producer, topic))
            else:
                listed.append(_producer_answer(producer, view))
        return Answer(encode(_LookupAnswer(list(topic.channels), listed)), expires_ns)

    def _lookup_all(self, view: View, now_ns: int) -> bytes | None:
        """Answer ``topic=*``: a quirk that no client uses, so it is made each time."""
        registry = self._registry
        found: dict[Producer, None] = {}
        any_known = False
        for topic in registry.known_topics():
            any_known = True
            for producer in topic.producers:
                hidden = producer.is_draining or registry.is_tombstoned(producer, topic, now_ns)
                if registry.is_active(producer, now_ns) and not hidden:
                    found[producer] = None
        if not any_known:
            return None
        listed = [_producer_answer(producer, view) for producer in found]
        return encode(_LookupAnswer(self._all_channels(), listed))

    def _all_channels(self) -> list[str]:
        return [name for topic in self._registry.topics.values() for name in topic.channels]

    def _make_nodes(self, view: View, now_ns: int) -> Answer:
        pieces: list[bytes] = []
        expires_ns = NEVER_NS
        for producer in self._registry.producers:
            if not self._registry.is_active(producer, now_ns):
                continue  # its next ping drops this answer
            network = _chosen(producer, view)
            piece = producer.node_answers.get(network)
            if piece is None or now_ns >= piece.expires_ns:
                piece = self._make_node(producer, network, now_ns)
                producer.node_answers[network] = piece
            pieces.append(piece.body)
            inactive_at_ns = self._registry.inactive_at_ns(producer)
            expires_ns = min(expires_ns, inactive_at_ns, piece.expires_ns)
        return Answer(b'{"producers":[%b]}' % b",".join(pieces), expires_ns)

    def _make_node(self, producer: Producer, network: Network | None, now_ns: int) -> Answer:
        registry = self._registry
        tombstones: list[bool] = []
        expires_ns = NEVER_NS
        for name in producer.topics:
            topic = registry.topics[name]
            hidden = registry.is_tombstoned(producer, topic, now_ns)
            tombstones.append(hidden or producer.is_draining)
            if hidden:
                expires_ns = min(expires_ns, registry.tombstone_ends_ns(producer, topic))
        fields = _producer_fields(producer, network)
        node = _NodeAnswer(
            **fields,
            tombstones=tombstones,
            topics=list(producer.topics),
            nsqx_version=producer.peer.nsqx_version,
            draining=producer.is_draining or msgspec.UNSET,
        )
        return Answer(encode(node), expires_ns)


def _chosen(producer: Producer, view: View) -> Network | None:
    """Return the smallest network of the asker that the producer has an address for."""
    if not producer.addresses:
        return None
    return next((network for network in view if network in producer.addresses), None)


def _producer_answer(producer: Producer, view: View = NO_VIEW) -> _ProducerAnswer:
    return _ProducerAnswer(**_producer_fields(producer, _chosen(producer, view)))


def _producer_fields(producer: Producer, network: Network | None) -> dict[str, Any]:
    fields = {"remote_address": producer.id, **msgspec.structs.asdict(producer.peer)}
    del fields["nsqx_version"], fields["advertised"], fields["draining"]
    if network is not None:
        fields |= msgspec.structs.asdict(producer.addresses[network])
        del fields["network"]
    return fields


def _with_colon(name: str) -> str:
    return f"{name}:"


def _held(
    producers: Mapping[Producer, int | None], pieces: Mapping[Producer, bytes]
) -> list[bytes]:
    """Return what is shown of an entry's producers; who has just come is left out."""
    return [
        pieces[producer] if since_ns is None else encode(_debug_answer(producer, since_ns))
        for producer, since_ns in producers.items()
        if producer in pieces
    ]


def _debug_answer(producer: Producer, tombstoned_at_ns: int | None = None) -> _DebugAnswer:
    peer = producer.peer
    return _DebugAnswer(
        broadcast_address=peer.broadcast_address,
        hostname=peer.hostname,
        http_port=peer.http_port,
        id=producer.id,
        last_update=producer.last_seen_ns,
        tcp_port=peer.tcp_port,
        tombstoned=tombstoned_at_ns is not None,
        tombstoned_at=NEVER_TOMBSTONED_NS if tombstoned_at_ns is None else tombstoned_at_ns,
        topology_region=peer.topology_region,
        topology_zone=peer.topology_zone,
        version=peer.version,
    )
