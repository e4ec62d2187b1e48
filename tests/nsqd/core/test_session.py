"""
What a connection means, without one: time, order of answers, upgrades, the life of what it uses.

Exact texts and bytes are in the golden replays; here is what takes a clock, a slow disk or a slow
auth server to see.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from nsqx.nsqd.core.durability import Durability
from nsqx.nsqd.core.liveness import NEVER_NS
from nsqx.nsqd.core.session import Authorization, Session, SessionSettings
from nsqx.protocol import commands
from nsqx.protocol.command_parser import Limits
from nsqx.protocol.errors import FatalProtocolError
from nsqx.protocol.frames import ErrorFrame, FrameParser, Message, Response
from nsqx.protocol.identify import NegotiationOptions
from tests.support.broker_bench import SECOND_NS, BrokerBench

MILLISECOND_NS = 10**6


class Connection:
    """A session and what it does with its connection. Is its `SessionSink`."""

    def __init__(self, bench: BrokerBench, settings: SessionSettings, magic: bool = True) -> None:
        self._bench = bench
        self._parser: FrameParser[Message] = FrameParser()
        self.is_closed = False
        self.is_paused = False
        self.unsent = 0
        self.upgrades: list[tuple[str, bytes]] = []
        self.messages: list[Message] = []
        self._answers: list[bytes] = []
        self.due_ns = NEVER_NS
        self.session = Session(bench.broker, settings, self, "192.0.2.1:5000")
        self.schedule()
        if magic:
            self.tell(commands.MAGIC_V2)

    def tell(self, data: bytes) -> None:
        """Let the client send something, and the broker end its turn of the loop."""
        assert not self.is_closed
        self.session.receive(data, self._bench.now_ns)
        self._bench.broker.flush()

    def tick(self, now_ns: int) -> None:
        """Look at the session only when it wants to be looked at, as the edge does."""
        if now_ns >= self.due_ns:
            self.session.tick(now_ns)
            self.due_ns = self.session.due_ns

    def identify(self, **fields: Any) -> None:
        self.tell(commands.identify(json.dumps(fields).encode()))

    def end(self) -> None:
        """Let the client end its direction."""
        self.session.receive_eof()

    def answers(self) -> list[bytes]:
        """Return the responses and errors that came since the last call."""
        answers, self._answers = self._answers, []
        return answers

    # As a sink

    def send(self, data: bytes | bytearray) -> None:
        """See `Sink.send`."""
        assert not self.is_closed
        for frame in self._parser.receive_data(bytes(data)):
            match frame:
                case Message():
                    self.messages.append(frame)
                case Response():
                    self._answers.append(frame.data)
                case ErrorFrame():
                    self._answers.append(frame.line)

    def close(self) -> None:
        """See `Sink.close`."""
        self.is_closed = True

    def start_tls(self, received: bytes) -> None:
        """See `SessionSink.start_tls`."""
        self.upgrades.append(("tls", received))

    def start_snappy(self, received: bytes) -> None:
        """See `SessionSink.start_snappy`."""
        self.upgrades.append(("snappy", received))

    def start_deflate(self, received: bytes, level: int) -> None:
        """See `SessionSink.start_deflate`."""
        self.upgrades.append((f"deflate {level}", received))

    def pause_reading(self, is_paused: bool) -> None:
        """See `SessionSink.pause_reading`."""
        self.is_paused = is_paused

    def unsent_bytes(self) -> int:
        """See `SessionSink.unsent_bytes`."""
        return self.unsent

    def schedule(self) -> None:
        """See `SessionSink.schedule`."""
        self.due_ns = min(self.due_ns, self.session.due_ns)


class SlowAuthenticator:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.secrets: list[bytes] = []
        self._done: list[Callable[[Authorization | FatalProtocolError], None]] = []

    def authenticate(
        self,
        secret: bytes,
        session: Session,
        done: Callable[[Authorization | FatalProtocolError], None],
    ) -> None:
        """See `Authenticator.authenticate`."""
        self.secrets.append(secret)
        self._done.append(done)

    def answer(self, expires_ns: int, *, permission_count: int = 1, topic: str = "t") -> None:
        done = self._done.pop(0)
        done(
            Authorization(
                "me", "", permission_count, expires_ns, b"{}", lambda name, channel: name == topic
            )
        )

    def fail(self) -> None:
        self._done.pop(0)(FatalProtocolError("E_AUTH_FAILED", "AUTH failed"))


class SessionBench(BrokerBench):
    """A broker's core with connections to it."""

    auth: SlowAuthenticator | None = None
    negotiation = NegotiationOptions(version="test", tls=True)
    connections: list[Connection]

    def connect(self, **settings: Any) -> Connection:
        connection = Connection(
            self, SessionSettings(Limits(), self.negotiation, authenticator=self.auth, **settings)
        )
        self.connections.append(connection)
        return connection

    def wait(self, milliseconds: int) -> None:
        """Let time pass, as the broker and its connections see it."""
        for _ in range(milliseconds // 50):
            self.pass_time(50 * MILLISECOND_NS)
            for connection in self.connections:
                connection.tick(self.now_ns)


def bench_of(**settings: Any) -> SessionBench:
    bench = SessionBench.of(**settings)
    assert isinstance(bench, SessionBench)
    bench.connections = []
    return bench


@pytest.fixture
def bench() -> SessionBench:
    return bench_of()


@pytest.fixture
def slow_disk() -> SessionBench:
    """A node that answers OK when a sync has returned, which the test decides."""
    return bench_of(durability=Durability.FSYNC)


@pytest.fixture
def guarded() -> SessionBench:
    """A node with an auth server."""
    bench = bench_of()
    bench.auth = SlowAuthenticator()
    return bench


def auth_of(bench: SessionBench) -> SlowAuthenticator:
    assert bench.auth is not None
    return bench.auth


# Heartbeats and deadlines (section 7)


def test_heartbeats_come_at_their_interval_and_silence_ends_the_connection(
    bench: SessionBench,
) -> None:
    connection = bench.connect()
    connection.identify(heartbeat_interval=1000)
    assert connection.answers() == [b"OK"]
    bench.wait(950)
    assert connection.answers() == []
    bench.wait(50)
    assert connection.answers() == [b"_heartbeat_"]
    bench.wait(950)
    assert not connection.is_closed
    bench.wait(50)
    assert connection.is_closed
    assert connection.answers() == []


def test_any_command_moves_the_deadline_but_not_the_heartbeats(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.identify(heartbeat_interval=1000)
    connection.answers()
    for _ in range(4):
        bench.wait(900)
        connection.tell(commands.nop())
    bench.wait(400)
    assert connection.answers() == [b"_heartbeat_"] * 4
    assert not connection.is_closed


def test_part_of_a_command_does_not_move_the_deadline(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.identify(heartbeat_interval=1000)
    for byte in b"PUB t\n\0\0\0\x10":
        bench.wait(200)
        if not connection.is_closed:
            connection.tell(bytes([byte]))
    assert connection.is_closed


def test_without_identify_the_interval_is_30_s(bench: SessionBench) -> None:
    connection = bench.connect()
    bench.wait(29_950)
    assert connection.answers() == []
    bench.wait(50)
    assert connection.answers() == [b"_heartbeat_"]
    bench.wait(30_000)
    assert connection.is_closed


def test_without_heartbeats_there_are_no_deadlines(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.identify(heartbeat_interval=-1)
    bench.wait(200_000)
    assert connection.answers() == [b"OK"]
    assert not connection.is_closed
    connection.tell(commands.sub("t", "ch"))
    assert connection.answers() == [b"E_INVALID cannot SUB with heartbeats disabled"]


def test_a_second_identify_moves_the_deadline_not_the_heartbeats(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.identify(heartbeat_interval=1000)
    connection.identify(heartbeat_interval=3000)
    assert connection.answers() == [b"OK", b"OK"]
    bench.wait(5950)
    assert connection.answers() == [b"_heartbeat_"] * 5
    bench.wait(50)
    assert connection.is_closed


def test_a_client_that_takes_nothing_is_given_up_after_an_interval(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.identify(heartbeat_interval=1000)
    connection.unsent = 5_000_000
    connection.session.set_writable(False)
    bench.wait(900)
    connection.unsent -= 1  # slow is not dead
    bench.wait(950)
    assert not connection.is_closed
    bench.wait(300)  # it is looked at four times in an interval
    assert connection.is_closed


def test_what_a_client_said_while_it_was_not_read_counts(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.identify(heartbeat_interval=1000)
    connection.unsent = 100
    connection.session.set_writable(False)
    for unsent in range(50, 0, -1):
        connection.unsent = unsent
        bench.wait(100)
    connection.session.set_writable(True)
    bench.wait(1950)
    assert not connection.is_closed


# What the first IDENTIFY decides (section 6)


def test_deliveries_take_their_time_from_the_first_identify(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.identify(msg_timeout=5000)
    connection.identify(msg_timeout=1000)
    connection.tell(commands.sub("t", "ch") + commands.rdy(1) + commands.pub("t", b"x"))
    bench.wait(4900)
    assert [message.attempts for message in connection.messages] == [1]
    bench.wait(300)
    assert [message.attempts for message in connection.messages] == [1, 2]


def test_touch_takes_its_time_from_the_last_identify(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.identify(msg_timeout=1000)
    connection.identify(msg_timeout=5000)
    connection.tell(commands.sub("t", "ch") + commands.rdy(1) + commands.pub("t", b"x"))
    connection.tell(commands.touch(connection.messages[0].id))
    bench.wait(4500)
    assert [message.attempts for message in connection.messages] == [1]
    bench.wait(1000)
    assert [message.attempts for message in connection.messages] == [1, 2]


def test_what_stats_show_is_from_the_last_identify(bench: SessionBench) -> None:
    connection = bench.connect()
    assert connection.session.client_id == "192.0.2.1"
    connection.identify(client_id="a", hostname="b", user_agent="c")
    connection.identify(client_id="d")
    session = connection.session
    assert (session.client_id, session.hostname, session.user_agent) == ("d", "", "")


# Upgrades


def test_what_follows_an_upgrade_belongs_to_its_layer(bench: SessionBench) -> None:
    connection = bench.connect()
    body = b'{"feature_negotiation":true,"snappy":true}'
    connection.tell(commands.identify(body) + b"compressed")
    assert connection.upgrades == [("snappy", b"compressed")]
    answer, ok = connection.answers()
    assert json.loads(answer)["snappy"] is True
    assert ok == b"OK"


def test_compression_comes_after_tls(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.identify(feature_negotiation=True, tls_v1=True, deflate=True, deflate_level=3)
    assert connection.upgrades == [("tls", b"")]
    assert len(connection.answers()) == 1
    connection.session.tls_established("TLS1.3", "Unknown 4865", "worker")
    assert connection.upgrades == [("tls", b""), ("deflate 3", b"")]
    assert connection.answers() == [b"OK", b"OK"]
    connection.tell(commands.pub("t", b"x"))
    assert connection.answers() == [b"OK"]


def test_a_handshake_that_fails_is_told(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.identify(feature_negotiation=True, tls_v1=True)
    connection.answers()
    connection.session.tls_failed("no shared cipher")
    assert connection.answers() == [b"E_IDENTIFY_FAILED IDENTIFY failed no shared cipher"]
    assert connection.is_closed


def test_without_tls_where_it_is_required_only_identify_is_taken(bench: SessionBench) -> None:
    connection = bench.connect(tls_required=True)
    connection.identify(feature_negotiation=True, tls_v1=True)
    connection.session.tls_established("TLS1.3", "Unknown 4865", "")
    connection.answers()
    connection.tell(commands.pub("t", b"x"))
    assert connection.answers() == [b"OK"]


# The order of answers


def test_an_error_does_not_overtake_the_answer_of_a_publish(slow_disk: SessionBench) -> None:
    connection = slow_disk.connect()
    connection.tell(commands.pub("t", b"x") + commands.nop() + b"NONSENSE\n")
    assert connection.answers() == []
    assert connection.is_paused
    slow_disk.run()
    assert connection.answers() == [b"OK", b"E_INVALID invalid command NONSENSE"]
    assert connection.is_closed


def test_publishes_to_one_topic_do_not_wait_for_each_other(slow_disk: SessionBench) -> None:
    connection = slow_disk.connect()
    for _ in range(3):
        connection.tell(commands.pub("t", b"x"))
    connection.tell(commands.mpub("t", [b"a", b"b"]))
    assert not connection.is_paused
    slow_disk.run()
    assert connection.answers() == [b"OK"] * 4


def test_publishes_to_several_topics_are_answered_in_order(slow_disk: SessionBench) -> None:
    connection = slow_disk.connect()
    connection.tell(commands.pub("a", b"1") + commands.pub("b", b"2") + commands.pub("a", b"3"))
    for _ in range(3):
        slow_disk.run()
        slow_disk.broker.flush()
    assert connection.answers() == [b"OK"] * 3
    depths = [slow_disk.topic(name).depth for name in ("a", "b")]
    assert depths == [2, 1]


def test_a_connection_ends_behind_its_last_answer(slow_disk: SessionBench) -> None:
    connection = slow_disk.connect()
    connection.tell(commands.pub("t", b"x"))
    connection.end()
    assert not connection.is_closed
    slow_disk.run()
    assert connection.answers() == [b"OK"]
    assert connection.is_closed


def test_half_a_body_at_the_end_is_told_behind_the_last_answer(slow_disk: SessionBench) -> None:
    connection = slow_disk.connect()
    connection.tell(commands.pub("t", b"x") + b"PUB t\n\0\0\0\5he")
    connection.end()
    slow_disk.run()
    error = b"E_BAD_MESSAGE PUB failed to read message body"
    assert connection.answers() == [b"OK", error]
    assert connection.is_closed


def test_answers_that_come_after_the_end_hurt_nobody(slow_disk: SessionBench) -> None:
    connection = slow_disk.connect()
    connection.tell(commands.pub("t", b"x"))
    connection.close()
    connection.session.closed()
    slow_disk.run()
    assert slow_disk.topic("t").depth == 1


# AUTH (section 8)


def test_commands_wait_for_the_auth_server(guarded: SessionBench) -> None:
    connection = guarded.connect()
    connection.tell(commands.auth(b"secret") + commands.pub("t", b"1"))
    connection.tell(commands.pub("t", b"2"))
    assert connection.answers() == []
    assert connection.is_paused
    auth_of(guarded).answer(guarded.now_ns + SECOND_NS)
    guarded.broker.flush()
    assert connection.answers() == [b"{}", b"OK", b"OK"]
    assert not connection.is_paused


def test_a_publish_in_a_read_of_its_own_waits_too(guarded: SessionBench) -> None:
    connection = guarded.connect()
    connection.tell(commands.auth(b"secret"))
    connection.tell(commands.pub("t", b"1"))
    assert connection.answers() == []
    auth_of(guarded).answer(guarded.now_ns + SECOND_NS)
    guarded.broker.flush()
    assert connection.answers() == [b"{}", b"OK"]


def test_a_slow_auth_server_is_not_the_clients_silence(guarded: SessionBench) -> None:
    connection = guarded.connect()
    connection.identify(heartbeat_interval=1000)
    connection.tell(commands.auth(b"secret"))
    guarded.wait(4000)
    assert not connection.is_closed
    auth_of(guarded).answer(guarded.now_ns + SECOND_NS)
    guarded.wait(1500)
    assert not connection.is_closed


def test_after_its_ttl_the_server_is_asked_again(guarded: SessionBench) -> None:
    connection = guarded.connect()
    connection.tell(commands.auth(b"secret"))
    auth_of(guarded).answer(guarded.now_ns + SECOND_NS)
    guarded.wait(1100)
    connection.tell(commands.pub("t", b"1") + commands.sub("t", "ch"))
    assert auth_of(guarded).secrets == [b"secret", b"secret"]
    assert connection.answers() == [b"{}"]
    auth_of(guarded).answer(guarded.now_ns + SECOND_NS)
    guarded.broker.flush()
    assert connection.answers() == [b"OK", b"OK"]


def test_asked_again_the_server_may_say_no(guarded: SessionBench) -> None:
    connection = guarded.connect()
    connection.tell(commands.auth(b"secret"))
    auth_of(guarded).answer(guarded.now_ns)
    guarded.wait(50)
    connection.answers()
    connection.tell(commands.pub("t", b"1"))
    auth_of(guarded).fail()
    assert connection.answers() == [b"E_AUTH_FAILED AUTH failed"]
    assert connection.is_closed


def test_a_refusal_does_not_overtake_the_answer_of_a_publish(guarded: SessionBench) -> None:
    connection = guarded.connect()
    connection.tell(commands.auth(b"secret"))
    auth_of(guarded).answer(guarded.now_ns + SECOND_NS)
    connection.tell(commands.pub("t", b"1") + commands.pub("other", b"2"))
    assert connection.answers() == [
        b"{}",
        b"OK",
        b'E_UNAUTHORIZED AUTH failed for PUB on "other" ""',
    ]
    assert connection.is_closed


def test_no_permission_at_all_is_told_at_once(guarded: SessionBench) -> None:
    connection = guarded.connect()
    connection.tell(commands.auth(b"secret"))
    auth_of(guarded).answer(guarded.now_ns + SECOND_NS, permission_count=0)
    assert connection.answers() == [b"E_UNAUTHORIZED AUTH no authorizations found"]
    assert connection.is_closed


def test_the_answer_for_a_client_that_has_gone_is_dropped(guarded: SessionBench) -> None:
    connection = guarded.connect()
    connection.tell(commands.auth(b"secret"))
    connection.close()
    connection.session.closed()
    auth_of(guarded).answer(guarded.now_ns + SECOND_NS)


# What a subscription uses (sections 9 and 10)


def test_no_more_consumers_than_allowed() -> None:
    bench = bench_of(max_channel_consumers=1)
    first, second = bench.connect(), bench.connect()
    first.tell(commands.sub("t", "ch"))
    second.tell(commands.sub("t", "ch"))
    assert second.answers() == [b"E_SUB_FAILED SUB failed consumers for t:ch exceeds limit of 1"]
    first.close()
    first.session.closed()
    third = bench.connect()
    third.tell(commands.sub("t", "ch"))
    assert third.answers() == [b"OK"]


def test_an_ephemeral_channel_goes_with_its_last_client(bench: SessionBench) -> None:
    first, second = bench.connect(), bench.connect()
    for connection in (first, second):
        connection.tell(commands.sub("t", "ch#ephemeral"))
    first.session.closed()
    assert list(bench.topic("t").channels) == ["ch#ephemeral"]
    second.session.closed()
    assert list(bench.topic("t").channels) == []


def test_an_ephemeral_topic_goes_with_its_last_channel(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.tell(commands.sub("t#ephemeral", "ch#ephemeral"))
    connection.session.closed()
    assert list(bench.broker.topics) == []


def test_a_plain_channel_of_an_ephemeral_topic_stays(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.tell(commands.sub("t#ephemeral", "ch"))
    connection.session.closed()
    assert list(bench.topic("t#ephemeral").channels) == ["ch"]


def test_deleting_a_channel_cuts_its_clients_off(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.tell(commands.sub("t", "ch"))
    connection.answers()
    topic = bench.topic("t")
    bench.broker.delete_channel(topic, topic.channels["ch"])
    assert connection.is_closed
    assert connection.answers() == []


def test_deleting_a_topic_cuts_consumers_off_and_lets_producers_begin_anew(
    bench: SessionBench,
) -> None:
    consumer, producer = bench.connect(), bench.connect()
    consumer.tell(commands.sub("t", "ch"))
    producer.tell(commands.pub("t", b"1"))
    bench.broker.delete_topic(bench.topic("t"))
    assert consumer.is_closed
    producer.tell(commands.pub("t", b"2"))
    assert producer.answers() == [b"OK", b"OK"]
    assert bench.topic("t").depth == 1


def test_a_closing_client_gets_nothing_more_and_may_finish(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.tell(commands.sub("t", "ch") + commands.rdy(5) + commands.pub("t", b"1"))
    connection.tell(commands.cls() + commands.rdy(5) + commands.pub("t", b"2"))
    assert len(connection.messages) == 1
    connection.tell(commands.fin(connection.messages[0].id))
    assert connection.answers() == [b"OK", b"OK", b"CLOSE_WAIT", b"OK"]
    channel = bench.topic("t").channels["ch"]
    assert (channel.depth, channel.in_flight_count) == (1, 0)
    connection.tell(commands.cls())
    assert connection.answers() == [b"E_INVALID cannot CLS in current state"]


def test_what_a_client_held_waits_for_its_timeout(bench: SessionBench) -> None:
    gone, other = bench.connect(), bench.connect()
    for connection in (gone, other):
        connection.identify(msg_timeout=2000)
        connection.tell(commands.sub("t", "ch"))
    gone.tell(commands.rdy(1) + commands.pub("t", b"x"))
    gone.session.closed()
    other.tell(commands.rdy(1))
    bench.wait(1900)
    assert other.messages == []
    bench.wait(300)
    assert [message.attempts for message in other.messages] == [2]
    assert bench.topic("t").channels["ch"].timeout_count == 1


def test_another_clients_message_can_not_be_finished(bench: SessionBench) -> None:
    owner, other = bench.connect(), bench.connect()
    for connection in (owner, other):
        connection.tell(commands.sub("t", "ch"))
        connection.answers()
    owner.tell(commands.rdy(1) + commands.pub("t", b"x"))
    message_id = owner.messages[0].id
    for word in (b"FIN", b"TOUCH"):
        other.tell(word + b" " + message_id + b"\n")
    other.tell(commands.req(message_id, 0))
    assert other.answers() == [
        b"E_%b_FAILED %b %b failed client does not own message" % (word, word, message_id)
        for word in (b"FIN", b"TOUCH", b"REQ")
    ]
    assert not other.is_closed


def test_a_sampling_client_gets_a_share_and_the_rest_is_gone(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.identify(sample_rate=50)
    connection.tell(commands.sub("t", "ch") + commands.rdy(2500))
    connection.tell(commands.mpub("t", [b"x"] * 400))
    assert 100 < len(connection.messages) < 300
    channel = bench.topic("t").channels["ch"]
    assert channel.depth == 0
    assert channel.in_flight_count == len(connection.messages)
    assert connection.session.consumer is not None
    assert connection.session.consumer.message_count == len(connection.messages)


def test_a_message_that_comes_again_may_be_dropped_too(bench: SessionBench) -> None:
    connection = bench.connect()
    connection.identify(sample_rate=50)
    connection.tell(commands.sub("t", "ch") + commands.rdy(2500))
    connection.tell(commands.mpub("t", [b"x"] * 400))
    first = len(connection.messages)
    for message in list(connection.messages):
        connection.tell(commands.req(message.id, 0))
    again = len(connection.messages) - first
    channel = bench.topic("t").channels["ch"]
    assert first / 4 < again < first * 3 / 4
    assert (channel.depth, channel.in_flight_count) == (0, again)
    bench.wait(50)  # the journal is written
    bench.kill()
    assert bench.topic("t").channels["ch"].depth == again


# Strangers


def test_a_stranger_that_never_says_what_it_came_for_has_a_minute(bench: SessionBench) -> None:
    stranger, client = bench.connect(), bench.connect()
    client.identify(heartbeat_interval=1000)
    for _ in range(59):
        bench.wait(1000)
        for connection in (stranger, client):
            connection.tell(commands.nop())
    assert not stranger.is_closed
    bench.wait(1000)
    assert stranger.is_closed
    client.tell(commands.nop())
    bench.wait(1000)
    assert not client.is_closed


def test_a_client_without_auth_where_it_is_required_has_a_minute(guarded: SessionBench) -> None:
    client = guarded.connect()
    client.identify(heartbeat_interval=-1)
    guarded.wait(59_000)
    assert not client.is_closed
    guarded.wait(1000)
    assert client.is_closed


def test_a_producer_needs_no_identify(bench: SessionBench) -> None:
    producer = bench.connect()
    producer.tell(commands.pub("t", b"x"))
    for _ in range(61):
        bench.wait(1000)
        producer.tell(commands.nop())
    assert not producer.is_closed


def test_what_is_deferred_alike_in_one_turn_is_one_batch(bench: SessionBench) -> None:
    for connection in (bench.connect(), bench.connect()):
        bench.now_ns += 1
        connection.session.receive(commands.dpub("t", 50, b"x"), bench.now_ns)
    bench.broker.flush()
    [(first, end, due_ns)] = list(bench.broker.topics["t"].log.deferred_batches(0))
    assert (first, end) == (0, 2)
    assert 50 * MILLISECOND_NS <= due_ns - bench.wall_ns <= 51 * MILLISECOND_NS


def test_a_connection_that_is_gone_holds_nothing_that_it_had_not_completed(
    bench: SessionBench,
) -> None:
    connection = bench.connect()
    connection.tell(b"PUB t\n" + (100_000).to_bytes(4, "big") + b"x" * 50_000)
    connection.session.closed()
    assert len(connection.session._parser._buffer) == 0
    connection.session.receive(b"x" * 50_000, bench.now_ns)
    assert connection.answers() == []
