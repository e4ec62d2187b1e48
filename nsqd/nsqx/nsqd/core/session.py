"""
One client's connection: commands in, effects on topics and channels, frames out.

Theory of operation. `Session.receive` executes every command of a read as one batch
(`nsqx.nsqd.core.commands` says what each does); deliveries that the batch made possible go out
once, at its end. Two things are remembered of where a connection is. Its gate is what the next
command waits for:

    OPEN ──IDENTIFY that negotiates TLS───────────────▶ HANDSHAKE ──────tls_established──▶ OPEN
      ├────AUTH, or a command when its answer expired──▶ AUTH_SERVER ───the server answers─▶ OPEN
      └────a command whose answer would overtake────────▶ ANSWERS ──────the last publish is
           that of a publish                                            answered──────────▶ OPEN

Publishes are answered when their topic has committed them. Under the class ``os`` the topic is
committed at once where a command would have to wait for that; so ANSWERS is for ``fsync``. What
comes while the gate is not open waits there, and the connection is not read. Never are two closed
at once: only with no publish unanswered is there a handshake or a question to an auth server.

Its life is what else will come:

    LIVE ──the client ends its direction──▶ ENDING ──the last answer is out──▶ CLOSED
      └────an error, a deadline, the connection is lost────────────────────────▶ CLOSED

What must be heard of a client to keep it is in `nsqx.nsqd.core.liveness`.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Protocol

from nsqx.net.host_port import host_of
from nsqx.nsqd.core import commands
from nsqx.nsqd.core.acknowledgements import Acknowledge, PublishError
from nsqx.nsqd.core.broker import Broker
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.consumer import Consumer
from nsqx.nsqd.core.durability import Durability
from nsqx.nsqd.core.liveness import Liveness, Verdict
from nsqx.nsqd.core.topic import Topic
from nsqx.protocol.command_parser import CommandParser, Limits, State
from nsqx.protocol.commands import Command, MultiPublish, Publish
from nsqx.protocol.errors import FatalProtocolError, ProtocolError
from nsqx.protocol.frames import HEARTBEAT_FRAME, OK_FRAME, encode_error, encode_response
from nsqx.protocol.identify import Identified, IdentifyRequest, NegotiationOptions

__all__ = [
    "Authenticator",
    "Authorization",
    "Gate",
    "Life",
    "Session",
    "SessionSettings",
    "SessionSink",
]

MILLISECOND_NS = 1_000_000
# Who has not shown by then what it came for (see `Session.is_admitted`) is no client.
ADMISSION_NS = 60 * 10**9


class Gate(Enum):
    """What the next command waits for."""

    OPEN = "nothing"
    ANSWERS = "the answers to publishes"
    HANDSHAKE = "the end of a TLS handshake"
    AUTH_SERVER = "an auth server"


class Life(Enum):
    """What else will come."""

    LIVE = "commands"
    ENDING = "answers"
    CLOSED = "nothing"


# Looked at per message: the members of an enum take longer to find.
_OPEN = Gate.OPEN
_LIVE = Life.LIVE
_CLOSED = Life.CLOSED
# A tuple, since `Publish | MultiPublish` would be made anew for each message.
_PUBLISHES = (Publish, MultiPublish)


class SessionSink(Protocol):
    """The connection, as its session uses it."""

    @property
    def send(self) -> Callable[[bytes | bytearray], None]:
        """What sends frames; another one after each upgrade."""

    def close(self) -> None:
        """Send what was handed over, then end the connection."""

    def start_tls(self, received: bytes) -> None:
        """Go on in TLS, ``received`` being its first bytes; `Session.tls_established` follows."""

    def start_snappy(self, received: bytes) -> None:
        """Compress both ways from now on."""

    def start_deflate(self, received: bytes, level: int) -> None:
        """Compress both ways from now on."""

    def pause_reading(self, is_paused: bool) -> None:
        """Read no more, or go on."""

    def unsent_bytes(self) -> int:
        """Return how much the client has yet to take."""

    def schedule(self) -> None:
        """Call `Session.tick` at `Session.due_ns`, which has come nearer."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """What an auth server allows a client."""

    identity: str
    identity_url: str
    permission_count: int
    expires_ns: int  # monotonic
    answer: bytes  # JSON for the client
    is_allowed: Callable[[str, str], bool]  # (topic, channel); publishing has channel ""
    # A topic, by some channel; and whether names do not matter at all. For HTTP.
    may_read: Callable[[str], bool] = lambda topic: False
    is_unlimited: bool = False


class Authenticator(Protocol):
    """Asks the auth server (protocol section 8)."""

    def authenticate(
        self,
        secret: bytes,
        session: "Session",
        done: Callable[[Authorization | FatalProtocolError], None],
    ) -> None:
        """Call ``done`` once, later."""


@dataclass(slots=True)
class SessionSettings:
    """What sessions of a node have in common."""

    limits: Limits
    negotiation: NegotiationOptions
    tls_required: bool = False
    authenticator: Authenticator | None = None


class Session:
    """
    The state of one connection.

    `nsqx.nsqd.core.commands` uses what is under "For commands"; all else is for the connection and
    for those who show what there is.
    """

    # Beyond 30 attributes an object without slots is slower to read, write and call.
    __slots__ = (
        "_acknowledge_one",
        "_acknowledges",
        "_admitted_by_ns",
        "_at_gate",
        "_liveness",
        "_outstanding",
        "_parser",
        "_publish_counts",
        "_publish_topic",
        "_published",
        "_send",
        "auth_secret",
        "authorization",
        "broker",
        "channel",
        "client_id",
        "connected_ns",
        "consumer",
        "end_reason",
        "first_identified",
        "gate",
        "hostname",
        "identified",
        "is_anybody_allowed",
        "is_tls",
        "life",
        "remote_address",
        "settings",
        "sink",
        "tls_cipher",
        "tls_common_name",
        "tls_version",
        "topic",
        "topology_region",
        "topology_zone",
        "user_agent",
    )

    def __init__(
        self, broker: Broker, settings: SessionSettings, sink: SessionSink, remote_address: str
    ) -> None:
        self.broker = broker
        self.settings = settings
        self.sink = sink
        self.remote_address = remote_address
        host = host_of(remote_address)
        self.client_id = self.hostname = host
        self.user_agent = ""
        self.topology_region = self.topology_zone = ""
        self.connected_ns = broker.clock.wall()
        self.identified = Identified.without(settings.negotiation)
        # What the first IDENTIFY said decides on deliveries.
        self.first_identified: Identified | None = None
        self.authorization: Authorization | None = None
        self.auth_secret: bytes | None = None
        self.is_tls = False
        self.tls_common_name = ""
        self.tls_version = self.tls_cipher = ""
        self.topic: Topic | None = None
        self.channel: Channel | None = None
        self.consumer: Consumer | None = None

        self.gate = Gate.OPEN
        self.life = Life.LIVE
        self.end_reason = ""  # for the log; empty while, or if, nobody here has ended it
        self._send = sink.send
        self.is_anybody_allowed = settings.authenticator is None
        self._parser = CommandParser(settings.limits, tls_required=settings.tls_required)
        self._parser.auth_is_missing = settings.authenticator is not None
        self._at_gate: deque[Command] = deque()  # what waits at the gate
        self._outstanding = 0  # publishes that are not answered yet, all at one topic
        self._publish_topic: Topic | None = None
        self._acknowledge_one: Acknowledge = self._acknowledge_pub  # bound once
        self._acknowledges: dict[str, Acknowledge] = {
            "PUB": self._acknowledge_one,
            "MPUB": partial(self._acknowledge, "MPUB"),
            "DPUB": partial(self._acknowledge, "DPUB"),
        }
        self._publish_counts: dict[str, int] = {}
        self._published = 0  # to the present topic, not counted there yet
        self._admitted_by_ns = broker.clock.monotonic() + ADMISSION_NS
        self._liveness = Liveness(broker.clock.monotonic(), _heartbeat_ns(self.identified))

    @property
    def state(self) -> State:
        """Return where the connection is; the value is that of ``/stats``."""
        return self._parser.state

    @property
    def is_closed(self) -> bool:
        """Return whether nothing more will come of it."""
        return self.life is _CLOSED

    # Connection

    def receive(self, data: bytes, now_ns: int) -> None:
        """Execute what ``data`` completes."""
        topic = self._publish_topic
        if topic is not None and self.gate is _OPEN:
            # A producer that waits for each answer: 0.5 us here, twice that as any command.
            body = self._parser.lone_publish(data, topic.name)
            if body is not None and not topic.is_closing and self.is_anybody_allowed:
                self._liveness.heard_ns = now_ns
                self._published += 1
                self._outstanding += 1
                if topic.publish_one(body, self._acknowledge_one):
                    self.broker.mark(topic)
                return
        channel = self.channel
        if channel is not None and self.gate is _OPEN and not self._outstanding:
            # A consumer that answers its messages one by one: half of what any command costs.
            answer = self._parser.lone_answer(data)
            if answer is not None:
                self._liveness.heard_ns = now_ns
                commands.execute_answer(self, channel, answer, now_ns)
                return
        received = self._parser.receive_data(data)
        if received:
            self._liveness.heard_ns = now_ns
            self._run(received, now_ns)

    def receive_eof(self) -> None:
        """Nothing more will come; the connection ends when all that came is answered."""
        self._run(self._parser.receive_eof(), self.broker.clock.monotonic())
        if self.life is _CLOSED:
            return
        self.life = Life.ENDING
        if self._outstanding and self._publish_topic is not None:
            self.broker.commit(self._publish_topic)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self.life is Life.ENDING and self.gate is Gate.OPEN and not self._outstanding:
            self.close("the client closed")

    def closed(self) -> None:
        """The connection is gone."""
        if self.life is _CLOSED:
            return
        self.life = Life.CLOSED
        self._at_gate.clear()
        self._parser.forget()
        # Nothing is published any more; these are of itself, and would hold it.
        self._acknowledge_one = _nobody
        self._acknowledges = {}
        if self.consumer is not None and self.channel is not None and self.topic is not None:
            self.broker.leave(self.topic, self.channel, self.consumer)

    @property
    def is_unanswered(self) -> bool:
        """Return whether a publish waits for its answer."""
        return self._outstanding > 0

    @property
    def holds_messages(self) -> bool:
        """Return whether the client has messages that it did not answer."""
        return self.consumer is not None and self.consumer.in_flight > 0

    def stop_deliveries(self) -> None:
        """Deliver nothing more; what the client has it may still answer."""
        if self.consumer is not None:
            self.consumer.closing = True

    @property
    def is_writable(self) -> bool:
        """Return whether the connection takes more to send."""
        return not self._liveness.is_stuck

    def set_writable(self, is_writable: bool) -> None:
        """The connection's buffer is full, or has room again."""
        now_ns = self.broker.clock.monotonic()
        if is_writable:
            self._liveness.come_loose(now_ns)
        else:
            self._liveness.get_stuck(self.sink.unsent_bytes(), now_ns)
            self.sink.schedule()
        if self.consumer is not None and self.channel is not None:
            self.consumer.writable = is_writable
            if is_writable:
                self.channel.refresh(self.consumer)
                self.channel.dispatch(now_ns)

    @property
    def due_ns(self) -> int:
        """Return when there is something to do in `tick`, at the earliest."""
        due_ns = self._liveness.due_ns
        return due_ns if self.is_admitted else min(due_ns, self._admitted_by_ns)

    @property
    def is_stranger(self) -> bool:
        """Return whether it has not, and nothing of ours is what it waits for."""
        return not self.is_admitted and self.gate is not Gate.AUTH_SERVER

    @property
    def is_admitted(self) -> bool:
        """Return whether it has used what it is allowed to: a stranger may not stay for ever."""
        if self.settings.authenticator is not None:
            return self.authorization is not None
        if self.settings.tls_required and not self.is_tls:
            return False
        used = self.first_identified, self._publish_topic, self.consumer
        return any(each is not None for each in used)

    def tick(self, now_ns: int) -> None:
        """Send a heartbeat if one is due; end a connection that is silent or stuck too long."""
        if self.life is _CLOSED:
            return
        if now_ns >= self._admitted_by_ns and not self.is_admitted:
            self.close(f"it has shown nothing for {ADMISSION_NS // 10**9} s")
            return
        is_read = self.gate is Gate.OPEN
        unsent_bytes = self.sink.unsent_bytes()
        match self._liveness.judge(now_ns, is_read=is_read, unsent_bytes=unsent_bytes):
            case Verdict.HEARTBEAT:
                self.sink.send(HEARTBEAT_FRAME)
            case Verdict.END:
                stuck = self._liveness.is_stuck
                self.close("it takes nothing" if stuck else "two heartbeats were not answered")
            case Verdict.NOTHING:
                pass

    # The gate

    def _run(self, received: list[Command], now_ns: int) -> None:
        if self.gate is not _OPEN:
            self._hold(received)
            return
        for index, command in enumerate(received):
            if self._outstanding and self._must_wait(command):
                self.gate = Gate.ANSWERS
                self._hold(received[index:])
                break
            commands.execute(self, command, now_ns)
            if self.life is _CLOSED:
                return
            if self.gate is not _OPEN:
                self._hold(received[index + 1 :])
                break
        if self.channel is not None:
            self.channel.dispatch(now_ns)

    def _must_wait(self, command: Command) -> bool:
        """Return whether a command's answer would overtake that of a publish."""
        topic = self._publish_topic
        assert topic is not None
        if isinstance(command, _PUBLISHES):
            # Its answer comes behind the others, unless it could be refused at once.
            if command.topic == topic.name and self.is_anybody_allowed:
                return False
        elif not commands.is_answered(command):
            return False
        if topic.durability is not Durability.FSYNC:
            self.broker.commit(topic)
        return self._outstanding > 0

    def _hold(self, received: list[Command]) -> None:
        if received:
            self._at_gate.extend(received)
            self.sink.pause_reading(True)

    def _open(self) -> None:
        """Execute what waited at the gate, now that it can be."""
        self.gate = Gate.OPEN
        now_ns = self.broker.clock.monotonic()
        self._liveness.heard_ns = now_ns  # what it said meanwhile was not read
        if self._at_gate:
            waiting = list(self._at_gate)
            self._at_gate.clear()
            self.sink.pause_reading(False)
            self._run(waiting, now_ns)
        self._end_if_done()

    # For commands

    def send(self, frame: bytes) -> None:
        """Answer."""
        self.sink.send(frame)

    def fail(self, error: ProtocolError) -> None:
        """Answer an error; a fatal one ends the connection."""
        self.sink.send(encode_error(error.line))
        if isinstance(error, FatalProtocolError):
            self.close(error.line.decode(errors="replace"))

    def close(self, reason: str) -> None:
        """End the connection, sending what was handed over."""
        self.end_reason = self.end_reason or reason
        self.sink.close()
        self.closed()

    def identify(self, request: IdentifyRequest, identified: Identified, now_ns: int) -> None:
        """Take up what was negotiated and answer it; upgrades follow."""
        self.client_id, self.hostname = request.client_id, request.hostname
        self.user_agent = request.user_agent
        self.topology_region, self.topology_zone = request.topology_region, request.topology_zone
        self.identified = identified
        interval_ns = _heartbeat_ns(identified)
        self._liveness.deadline_interval_ns = interval_ns
        if self.first_identified is None:
            self.first_identified = identified
            self._liveness.begin(interval_ns, now_ns)
        self.sink.schedule()
        self._parser.heartbeats_enabled = identified.heartbeat_interval_ms is not None
        self._parser.returns_enabled = identified.extensions
        self.sink.send(encode_response(identified.answer))
        if identified.tls and not self.is_tls:
            self.gate = Gate.HANDSHAKE
            self.sink.start_tls(self._parser.take_rest())
        else:
            self._start_compression()

    def authenticate(self, secret: bytes) -> None:
        """Ask an auth server what the client may do, and answer that."""
        authenticator = self.settings.authenticator
        assert authenticator is not None
        self.auth_secret = secret
        self.gate = Gate.AUTH_SERVER
        authenticator.authenticate(secret, self, self._authenticated)

    def authenticate_again(self, command: Command) -> None:
        """Ask once more, and execute a command afterwards."""
        authenticator = self.settings.authenticator
        assert authenticator is not None
        assert self.auth_secret is not None
        self.gate = Gate.AUTH_SERVER
        self._hold([command])
        authenticator.authenticate(self.auth_secret, self, self._authorized_again)

    def publish(
        self, topic: Topic, bodies: list[bytes], due_ns: int, word: str, now_ns: int
    ) -> None:
        """Hand a batch to its topic, which answers when it has it; ``due_ns`` 0 is at once."""
        self._published += len(bodies)
        self._outstanding += 1
        if topic.publish(bodies, due_ns, self._acknowledges[word], now_ns):
            self.broker.mark(topic)

    def publish_one(self, topic: Topic, body: bytes, word: str) -> None:
        """Do what `publish` does for one message at once."""
        self._published += 1
        self._outstanding += 1
        if topic.publish_one(body, self._acknowledges[word]):
            self.broker.mark(topic)

    def topic_to_publish(self, name: str) -> Topic:
        """
        Return a topic, which is created if it must be.

        Raises:
            OSError: it can't be created.
        """
        topic = self._publish_topic
        if topic is None or topic.name != name or topic.is_closing:
            if self._outstanding and topic is not None:
                self.broker.commit(topic)
            self._publish_counts = self.publish_counts
            topic = self._publish_topic = self.broker.topic_to_publish(name)
        return topic

    def subscribe(self, topic: Topic, channel: Channel, consumer: Consumer) -> None:
        """Deliver messages of a channel from now on."""
        channel.enter(consumer)
        self.topic, self.channel, self.consumer = topic, channel, consumer

    # Upgrades

    def tls_established(self, version: str, cipher: str, common_name: str) -> None:
        """The TLS handshake is over."""
        self.is_tls = True
        self.tls_version, self.tls_cipher, self.tls_common_name = version, cipher, common_name
        self._parser.tls_required = False
        self.sink.send(OK_FRAME)
        self._start_compression()

    def tls_failed(self, reason: str) -> None:
        """The TLS handshake failed; the connection ends."""
        self.fail(FatalProtocolError("E_IDENTIFY_FAILED", f"IDENTIFY failed {reason}"))

    def _start_compression(self) -> None:
        if self.identified.snappy:
            self.sink.start_snappy(self._parser.take_rest())
            self.sink.send(OK_FRAME)
        elif self.identified.deflate:
            self.sink.start_deflate(self._parser.take_rest(), self.identified.deflate_level)
            self.sink.send(OK_FRAME)
        self._send = self.sink.send
        # The parser stopped behind IDENTIFY, so nothing waits yet.
        self._at_gate.extend(self._parser.resume())
        self._open()

    # Answers of an auth server

    def _authenticated(self, result: Authorization | FatalProtocolError) -> None:
        if self.life is _CLOSED:
            return
        if isinstance(result, FatalProtocolError):
            self.fail(result)
        elif not result.permission_count:
            self.fail(FatalProtocolError("E_UNAUTHORIZED", "AUTH no authorizations found"))
        else:
            self.authorization = result
            self.sink.send(encode_response(result.answer))
            self._open()

    def _authorized_again(self, result: Authorization | FatalProtocolError) -> None:
        if self.life is _CLOSED:
            return
        if isinstance(result, FatalProtocolError):
            self.fail(FatalProtocolError("E_AUTH_FAILED", "AUTH failed"))
        else:
            self.authorization = result
            self._open()

    # Answers of topics

    def _acknowledge_pub(self, error: PublishError | None) -> None:
        """Do what `_acknowledge` does, for PUB."""
        if error is None and self.gate is _OPEN and self.life is _LIVE:
            self._outstanding -= 1
            self._send(OK_FRAME)
        else:
            self._acknowledge("PUB", error)

    def _acknowledge(self, word: str, error: PublishError | None) -> None:
        self._outstanding -= 1
        if error is None and self.gate is _OPEN and self.life is _LIVE:
            self._send(OK_FRAME)  # as a rule
            return
        if self.life is _CLOSED:
            return
        if error is not None:
            self.fail(FatalProtocolError(f"E_{word}_FAILED", f"{word} failed {error}"))
            return
        self.sink.send(OK_FRAME)
        if not self._outstanding:
            if self.gate is Gate.ANSWERS:
                self._open()
            else:
                self._end_if_done()

    @property
    def publish_counts(self) -> dict[str, int]:
        """Return how many messages the client has published to each topic."""
        if self._published:
            assert self._publish_topic is not None
            name = self._publish_topic.name
            self._publish_counts[name] = self._publish_counts.get(name, 0) + self._published
            self._published = 0
        return self._publish_counts


def _nobody(error: PublishError | None) -> None:
    """Tell nobody what became of a publish."""


def _heartbeat_ns(identified: Identified) -> int:
    """Return the interval, 0 for none."""
    return (identified.heartbeat_interval_ms or 0) * MILLISECOND_NS
