"""What nsqd says to one nsqlookupd: exact bytes, then any history against a real registry."""

import json
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nsqx.lookupd.registry import Registry
from nsqx.lookupd.session import Session
from nsqx.nsqd.directory.lookup_peer import BEHIND_MAX, UNANSWERED_MAX, LookupPeer, State
from nsqx.protocol.lookup import OK_ANSWER, DirectoryInfo, LookupLimits, PeerInfo, encode_answer

NODE = PeerInfo(
    broadcast_address="10.1.1.1",
    hostname="one",
    http_port=4151,
    tcp_port=4150,
    topology_region="r",
    topology_zone="z",
    version="1.3.0",
)
DIRECTORY = DirectoryInfo(broadcast_address="10.2.2.2", http_port=4161, tcp_port=4160, version="1")
INTRODUCTION = encode_answer(DIRECTORY.encode())


def new_peer(topics: dict[str, list[str]] | None = None) -> LookupPeer:
    return LookupPeer(lambda: NODE, lambda: (topics or {}).items(), answer_bytes_max=1000)


def present_peer(topics: dict[str, list[str]] | None = None) -> LookupPeer:
    """A peer that was connected at 0, and has confirmed all by then."""
    peer = new_peer(topics)
    peer.connected(0.0)
    said = peer.receive_data(INTRODUCTION, 0.0)
    peer.receive_data(OK_ANSWER * said.count(b"\n"), 0.0)
    assert peer.is_complete
    return peer


# What is said


def test_connection_begins_with_magic_and_identify() -> None:
    body = (
        b'{"broadcast_address":"10.1.1.1","hostname":"one","http_port":4151,"tcp_port":4150,'
        b'"topology_region":"r","topology_zone":"z","version":"1.3.0"}'
    )
    assert json.loads(body)
    peer = new_peer()
    assert peer.connected(0.0) == b"  V1IDENTIFY\n" + len(body).to_bytes(4, "big") + body


def test_everything_is_registered_after_the_introduction() -> None:
    peer = new_peer({"alone": [], "shared": ["a", "b#ephemeral"]})
    peer.connected(0.0)
    expected = b"REGISTER alone\nREGISTER shared a\nREGISTER shared b#ephemeral\n"
    assert peer.receive_data(INTRODUCTION, 0.0) == expected
    assert peer.directory == DIRECTORY


@pytest.mark.parametrize("understands", [False, True])
def test_a_node_that_drains_is_no_topics_to_who_would_not_hide_it(understands: bool) -> None:
    node = msgspec.structs.replace(NODE, draining=True)
    topics = {"t": ["c"]}
    peer = LookupPeer(lambda: node, topics.items, answer_bytes_max=1000, in_use=topics.items)
    assert b'"draining":true' in peer.connected(0.0)
    answer = msgspec.structs.replace(DIRECTORY, draining=understands or msgspec.UNSET)
    said = peer.receive_data(encode_answer(answer.encode()), 0.0)
    assert said == (b"REGISTER t c\n" if understands else b"")
    peer.receive_data(OK_ANSWER * said.count(b"\n"), 0.0)
    peer.register("new")
    assert peer.take_output(0.0) == (b"REGISTER new\n" if understands else b"")
    peer.receive_data(OK_ANSWER * understands, 0.0)
    assert peer.tick(15.0) == b"PING\n" + (b"REGISTER t c\n" if understands else b"")


def test_changes_are_said_in_their_order() -> None:
    peer = present_peer()
    peer.register("t")
    peer.register("t", "c")
    peer.unregister("t", "c")
    peer.unregister("t")
    expected = b"REGISTER t\nREGISTER t c\nUNREGISTER t c\nUNREGISTER t\n"
    assert peer.take_output(1.0) == expected


def test_change_before_the_introduction_is_not_said_twice() -> None:
    topics: dict[str, list[str]] = {}
    peer = LookupPeer(lambda: NODE, topics.items, answer_bytes_max=1000)
    peer.connected(0.0)
    topics["t"] = []
    peer.register("t")
    assert peer.take_output(0.0) == b""
    assert peer.receive_data(INTRODUCTION, 0.0) == b"REGISTER t\n"


def test_limited_number_of_commands_waits_for_answers() -> None:
    peer = new_peer({f"t{number}": [] for number in range(UNANSWERED_MAX + 10)})
    peer.connected(0.0)
    assert peer.receive_data(INTRODUCTION, 0.0).count(b"REGISTER") == UNANSWERED_MAX
    assert peer.receive_data(OK_ANSWER * 7, 0.0).count(b"REGISTER") == 7
    assert not peer.is_complete


def test_ping_comes_every_15_seconds() -> None:
    peer = present_peer()
    for moment in (15.0, 30.0, 45.0):
        assert peer.next_at == moment
        assert peer.tick(moment - 0.1) == b""
        assert peer.tick(moment) == b"PING\n"
        peer.receive_data(OK_ANSWER, moment)


def test_topics_in_use_are_registered_again_with_each_ping() -> None:
    used = [[("t", ["c"]), ("u", [])], []]
    peer = LookupPeer(lambda: NODE, tuple, answer_bytes_max=1000, in_use=lambda: used.pop(0))
    peer.connected(0.0)
    peer.receive_data(INTRODUCTION, 0.0)
    assert peer.tick(15.0) == b"PING\nREGISTER t c\nREGISTER u\n"
    peer.receive_data(OK_ANSWER * 3, 15.0)
    assert peer.tick(30.0) == b"PING\n"


# What goes wrong


def test_missing_answer_ends_the_connection_after_a_second() -> None:
    peer = present_peer()
    peer.register("t")
    peer.take_output(5.0)
    assert peer.next_at == 6.0
    peer.tick(5.9)
    assert peer.error is None
    peer.tick(6.0)
    assert peer.error == "no answer in 1 s"


def test_each_answer_has_a_second_after_the_one_before() -> None:
    peer = new_peer({f"t{number}": [] for number in range(5)})
    peer.connected(0.0)
    for moment, answer in enumerate([INTRODUCTION, *[OK_ANSWER] * 5]):
        peer.tick(moment * 0.9)
        peer.receive_data(answer, moment * 0.9)
    assert peer.error is None
    assert peer.is_complete


def test_answer_byte_by_byte_does_not_gain_time() -> None:
    peer = new_peer()
    peer.connected(0.0)
    for index in range(10):
        peer.receive_data(INTRODUCTION[index : index + 1], index / 10)
    peer.tick(1.0)
    assert peer.error == "no answer in 1 s"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(encode_answer(b"E_INVALID"), id="before IDENTIFY was invented"),
        pytest.param(encode_answer(b"E_BAD_BODY IDENTIFY missing fields"), id="refused"),
        pytest.param(encode_answer(b"hello"), id="not JSON"),
        pytest.param(encode_answer(b"[]"), id="another shape"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="another protocol"),
        pytest.param(encode_answer(b"x" * 1001), id="too large"),
    ],
)
def test_wrong_introduction_is_an_offence(answer: bytes) -> None:
    peer = new_peer({"t": []})
    peer.connected(0.0)
    assert peer.receive_data(answer, 0.0) == b""
    assert peer.error is not None
    peer.lost(1.0)
    assert peer.state is State.AWAY


def test_size_of_an_answer_is_judged_before_its_body() -> None:
    peer = new_peer()
    peer.connected(0.0)
    peer.receive_data((1001).to_bytes(4, "big"), 0.0)
    assert peer.error is not None


def test_a_refused_registration_takes_nothing_else_out() -> None:
    peer = present_peer()
    peer.register("t")
    peer.take_output(1.0)
    peer.receive_data(encode_answer(b"E_INVALID REGISTER too many registrations"), 1.0)
    assert peer.error is None
    assert peer.refusal == "E_INVALID REGISTER too many registrations"
    assert peer.is_complete


def test_answer_to_nothing_ends_the_connection() -> None:
    peer = present_peer()
    peer.receive_data(OK_ANSWER, 1.0)
    assert peer.error == "an answer to nothing"


def test_changes_that_pile_up_end_the_connection() -> None:
    peer = present_peer()
    for _ in range(BEHIND_MAX + 1):
        peer.register("t")
    assert peer.error == f"{BEHIND_MAX + 1} changes behind"
    assert peer.take_output(1.0) == b""


# Coming back


def test_retries_slow_down_a_little() -> None:
    peer = new_peer()
    assert [peer.lost(1.0) for _ in range(4)] == [0.25, 0.5, 0.75, 0.75]
    assert peer.lost(0.0) == 0.375


def test_offender_is_left_alone_for_longer_and_longer() -> None:
    peer = new_peer()
    delays = []
    for _ in range(8):
        peer.connected(0.0)
        peer.receive_data(encode_answer(b"E_INVALID"), 0.0)
        delays.append(peer.lost(1.0))
    assert delays == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


def test_delays_begin_anew_when_all_was_confirmed() -> None:
    peer = new_peer({"t": []})
    for _ in range(5):
        peer.lost(1.0)
    peer.connected(0.0)
    peer.receive_data(INTRODUCTION, 0.0)
    assert peer.lost(1.0) == 0.75
    peer.connected(0.0)
    peer.receive_data(INTRODUCTION, 0.0)
    peer.receive_data(OK_ANSWER, 0.0)
    assert peer.lost(1.0) == 0.25


def test_nothing_is_left_of_a_lost_connection() -> None:
    peer = present_peer()
    peer.receive_data(b"\0\0", 1.0)
    peer.register("gone")
    peer.lost(0.5)
    peer.connected(2.0)
    assert peer.receive_data(INTRODUCTION, 2.0) == b""
    assert peer.is_complete


NAMES = st.sampled_from(["a", "b"])


class PeerMachine(RuleBasedStateMachine):
    """
    Topics and channels come and go, bytes travel in pieces, connections break.

    The other side is our nsqlookupd's session and registry. Whenever the peer says that it has
    said everything, the registry must hold exactly what the node has.
    """

    @initialize()
    def begin(self) -> None:
        self.topics: dict[str, list[str]] = {}
        self.now = 0.0
        self.peer = LookupPeer(lambda: NODE, self.topics.items, answer_bytes_max=1000)
        self.registry = Registry()
        self.session: Session | None = None
        self.to_lookupd = self.to_nsqd = b""

    @rule(topic=NAMES)
    def create_topic(self, topic: str) -> None:
        if topic not in self.topics:
            self.topics[topic] = []
            self.peer.register(topic)

    @rule(topic=NAMES, channel=NAMES)
    def create_channel(self, topic: str, channel: str) -> None:
        self.create_topic(topic)
        if channel not in self.topics[topic]:
            self.topics[topic].append(channel)
            self.peer.register(topic, channel)

    @rule(topic=NAMES, channel=NAMES)
    def delete_channel(self, topic: str, channel: str) -> None:
        if channel in self.topics.get(topic, []):
            self.topics[topic].remove(channel)
            self.peer.unregister(topic, channel)

    @rule(topic=NAMES)
    def delete_topic(self, topic: str) -> None:
        for channel in self.topics.get(topic, []):
            self.peer.unregister(topic, channel)
        if self.topics.pop(topic, None) is not None:
            self.peer.unregister(topic)

    @precondition(lambda self: self.session is None)
    @rule()
    def connect(self) -> None:
        self.session = Session(
            self.registry,
            remote_address="10.1.1.1:5000",
            identity=lambda peer: DIRECTORY.encode(),
            limits=LookupLimits(),
        )
        self.to_lookupd = self.peer.connected(self.now)

    @precondition(lambda self: self.session is not None)
    @rule()
    def break_connection(self) -> None:
        assert self.session is not None
        self.session.close()
        self.session = None
        self.to_lookupd = self.to_nsqd = b""
        self.peer.lost(0.5)

    @precondition(lambda self: self.session is not None)
    @rule(share=st.floats(0, 1))
    def carry(self, share: float) -> None:
        assert self.session is not None
        self.to_lookupd += self.peer.take_output(self.now)
        sent, self.to_lookupd = cut(self.to_lookupd, share)
        self.to_nsqd += self.session.receive_data(sent, 0)
        answered, self.to_nsqd = cut(self.to_nsqd, share)
        self.to_lookupd += self.peer.receive_data(answered, self.now)

    @rule(seconds=st.sampled_from([0.1, 15.0]))
    def let_time_pass(self, seconds: float) -> None:
        for _ in range(20):  # nothing is late: all that is under way arrives first
            if self.session is not None:
                self.carry(1.0)
        self.now += seconds
        if self.session is not None:
            self.to_lookupd += self.peer.tick(self.now)
            assert self.peer.error is None

    @invariant()
    def registry_holds_what_was_confirmed(self) -> None:
        assert self.peer.error is None
        if self.peer.is_complete:
            assert registered(self.registry) == {
                topic: set(channels) for topic, channels in self.topics.items()
            }


def cut(data: bytes, share: float) -> tuple[bytes, bytes]:
    size = round(len(data) * share)
    return data[:size], data[size:]


def registered(registry: Registry) -> dict[str, set[str]]:
    (producer,) = registry.producers
    return {topic: set(producer.channels.get(topic, ())) for topic in producer.topics}


TestPeerMachine = PeerMachine.TestCase
TestPeerMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_catalogue_is_asked_only_when_there_is_somebody_to_tell() -> None:
    def catalogue() -> Iterable[tuple[str, list[str]]]:
        raise AssertionError("too early")

    peer = LookupPeer(lambda: NODE, catalogue, answer_bytes_max=1000)
    peer.connected(0.0)
    peer.lost(0.5)
