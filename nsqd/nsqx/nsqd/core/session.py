"""
One client's connection: commands in, effects on topics and channels, frames out.

Theory of operation. `receive` executes every command of a read as one batch; deliveries that the
batch made possible go out once, at its end. Publishes are answered when their topic has committed
them, so commands whose answer must come after that wait in `_held` until all are answered. Under
the class ``os`` the topic is committed at once instead of waiting.

While commands wait, for that or for an auth server, the connection is not read. When the client
has ended its direction the connection ends behind the last answer.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from nsqx.nsqd.core.broker import Broker
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.consumer import Consumer
from nsqx.nsqd.core.in_flight import NotInFlightError
from nsqx.nsqd.core.topic import Acknowledge, Durability, PublishError, Topic
from nsqx.protocol.command_parser import CommandParser, Limits, State
from nsqx.protocol.commands import (
    Auth,
    Close,
    Command,
    Finish,
    FinishRun,
    Identify,
    LineTooLong,
    MultiPublish,
    MultiPublishStart,
    Nop,
    Publish,
    Ready,
    Requeue,
    Subscribe,
    Touch,
    Violation,
)
from nsqx.protocol.errors import FatalProtocolError, ProtocolError
from nsqx.protocol.frames import (
    CLOSE_WAIT_FRAME,
    HEARTBEAT_FRAME,
    OK_FRAME,
    encode_error,
    encode_response,
)
from nsqx.protocol.identify import Identified, IdentifyRequest, NegotiationOptions, negotiate
from nsqx.protocol.messages import message_id

__all__ = ["Authenticator", "Authorization", "Session", "SessionSettings", "SessionSink"]

MILLISECOND_NS = 1_000_000


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


@dataclass(frozen=True, slots=True)
class Authorization:
    """What an auth server allows a client."""

    identity: str
    identity_url: str
    permission_count: int
    expires_ns: int
    answer: bytes  # JSON for the client
    is_allowed: Callable[[str, str], bool]  # (topic, channel); publishing has channel ""


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
    """The state of one connection, and the execution of its commands."""

    def __init__(
        self, broker: Broker, settings: SessionSettings, sink: SessionSink, remote_address: str
    ) -> None:
        self.broker = broker
        self.settings = settings
        self.remote_address = remote_address
        host = remote_address.rpartition(":")[0].strip("[]")
        self.client_id = self.hostname = host
        self.user_agent = ""
        self.topology_region = self.topology_zone = ""
        self.connected_ns = broker.clock()
        self.identified = Identified.without(settings.negotiation)
        # The first IDENTIFY decides on heartbeats and deliveries, a later one does not.
        self._first_identified = self.identified
        self.authorization: Authorization | None = None
        self.auth_secret: bytes | None = None
        self.is_tls = False
        self.tls_common_name = ""
        self.tls_version = self.tls_cipher = ""
        self.topic: Topic | None = None
        self.channel: Channel | None = None
        self.consumer: Consumer | None = None
        self.is_closed = False

        self._sink = sink
        self._send = sink.send
        self._is_open = settings.authenticator is None  # anybody may publish
        self._parser = CommandParser(settings.limits, tls_required=settings.tls_required)
        self._identified_once = False
        self._is_writable = True
        self._unsent_bytes = 0  # while it is not writable, when they last became fewer
        self._unsent_since_ns = 0
        self._is_at_eof = False
        self._held: deque[Command] = deque()
        self._is_held = False  # waiting for the auth server or an upgrade
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
        self._heard_ns = self.connected_ns
        self._next_heartbeat_ns = self.connected_ns + _heartbeat_ns(self.identified)

    @property
    def state(self) -> State:
        """Return where the connection is; the value is that of ``/stats``."""
        return self._parser.state

    # Connection

    def receive(self, data: bytes, now_ns: int) -> None:
        """Execute what ``data`` completes."""
        topic = self._publish_topic
        if topic is not None and not self._held and not self._is_held:
            # A producer that waits for each answer: 0.5 us here, twice that as any command.
            body = self._parser.lone_publish(data, topic.name)
            if body is not None and not topic.is_closing and self._is_open:
                self._heard_ns = now_ns
                self._published += 1
                self._outstanding += 1
                if topic.publish_one(body, self._acknowledge_one):
                    self.broker.mark(topic)
                return
        commands = self._parser.receive_data(data)
        if commands:
            self._heard_ns = now_ns
            self._run(commands, now_ns)

    def receive_eof(self) -> None:
        """Nothing more will come; the connection ends when all that came is answered."""
        self._run(self._parser.receive_eof(), self.broker.clock())
        self._is_at_eof = True
        if self._outstanding and self._publish_topic is not None:
            self._publish_topic.commit(self.broker.clock())
        self._end_if_done()

    def _end_if_done(self) -> None:
        is_waiting = self._held or self._is_held or self._outstanding
        if self._is_at_eof and not is_waiting and not self.is_closed:
            self._close()

    def closed(self) -> None:
        """The connection is gone."""
        if self.is_closed:
            return
        self.is_closed = True
        self._held.clear()
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

    def set_writable(self, is_writable: bool) -> None:
        """The connection's buffer is full, or has room again."""
        self._is_writable = is_writable
        now_ns = self.broker.clock()
        if not is_writable:
            self._unsent_bytes, self._unsent_since_ns = self._sink.unsent_bytes(), now_ns
        self._heard_ns = now_ns  # what it said meanwhile was not read
        if self.consumer is not None and self.channel is not None:
            self.consumer.writable = is_writable
            if is_writable:
                self.channel.refresh(self.consumer)
                self.channel.dispatch(now_ns)

    def tick(self, now_ns: int) -> None:
        """Send a heartbeat if one is due; end a connection that is silent or stuck too long."""
        if self.is_closed:
            return
        deadline_ns = _heartbeat_ns(self.identified)
        if deadline_ns and self._is_dead(now_ns, deadline_ns):
            self._close()
            return
        interval_ns = _heartbeat_ns(self._first_identified)
        if interval_ns and now_ns >= self._next_heartbeat_ns:
            # In step with the connection's start, but never two at once after a pause.
            missed = (now_ns - self._next_heartbeat_ns) // interval_ns
            self._next_heartbeat_ns += (missed + 1) * interval_ns
            if self._is_writable:
                self._sink.send(HEARTBEAT_FRAME)

    def _is_dead(self, now_ns: int, interval_ns: int) -> bool:
        """Return whether the client is silent, or takes nothing of what it is sent (section 7)."""
        if self._is_writable:
            is_read = not self._held and not self._is_held
            return is_read and now_ns - self._heard_ns >= 2 * interval_ns
        unsent_bytes = self._sink.unsent_bytes()
        if unsent_bytes < self._unsent_bytes:
            self._unsent_bytes, self._unsent_since_ns = unsent_bytes, now_ns
        return now_ns - self._unsent_since_ns >= interval_ns

    # Commands

    def _run(self, commands: list[Command], now_ns: int) -> None:
        if self._held or self._is_held:
            self._hold(commands)
            return
        for index, command in enumerate(commands):
            if self._must_wait(command):
                self._hold(commands[index:])
                break
            _EXECUTE[type(command)](self, command, now_ns)
            if self.is_closed:
                return
        if self.channel is not None:
            self.channel.dispatch(now_ns)

    def _must_wait(self, command: Command) -> bool:
        """Return whether a command's answer would overtake that of a publish."""
        if self._is_held:
            return True
        if not self._outstanding or type(command) in _WITHOUT_ANSWER:
            return False
        topic = self._publish_topic
        assert topic is not None
        if (
            isinstance(command, Publish | MultiPublish)
            and command.topic == topic.name
            and self.settings.authenticator is None  # who could refuse it at once
        ):
            return False
        if topic.durability is not Durability.FSYNC:
            topic.commit(self.broker.clock())
        return self._outstanding > 0

    def _hold(self, commands: list[Command]) -> None:
        if commands:
            self._held.extend(commands)
            self._sink.pause_reading(True)

    def _release(self) -> None:
        """Execute what was held, now that it can be."""
        if self._is_held:
            return
        self._heard_ns = self.broker.clock()  # what it said meanwhile was not read
        if self._held:
            commands = list(self._held)
            self._held.clear()
            self._sink.pause_reading(False)
            self._run(commands, self._heard_ns)
        self._end_if_done()

    def _fail(self, error: ProtocolError) -> None:
        self._sink.send(encode_error(error.line))
        if isinstance(error, FatalProtocolError):
            self._close()

    def _close(self) -> None:
        self._sink.close()
        self.closed()

    def _violation(self, command: Violation, now_ns: int) -> None:
        self._fail(command.error)

    def _line_too_long(self, command: LineTooLong, now_ns: int) -> None:
        self._close()

    def _nop(self, command: Nop, now_ns: int) -> None:
        """Being heard was all."""

    # IDENTIFY and AUTH

    def _identify(self, command: Identify, now_ns: int) -> None:
        try:
            request = IdentifyRequest.decode(command.body)
            current = self.identified if self._identified_once else None
            identified = negotiate(request, self.settings.negotiation, current)
        except FatalProtocolError as error:
            self._fail(error)
            return
        self.client_id, self.hostname = request.client_id, request.hostname
        self.user_agent = request.user_agent
        self.topology_region, self.topology_zone = request.topology_region, request.topology_zone
        self.identified = identified
        if not self._identified_once:
            self._identified_once = True
            self._first_identified = identified
            self._next_heartbeat_ns = now_ns + _heartbeat_ns(identified)
        self._parser.heartbeats_enabled = identified.heartbeat_interval_ms is not None
        self._sink.send(encode_response(identified.answer))
        if identified.tls and not self.is_tls:
            self._is_held = True
            self._sink.start_tls(self._parser.take_rest())
        else:
            self._start_compression()

    def tls_established(self, version: str, cipher: str, common_name: str) -> None:
        """The TLS handshake is over."""
        self.is_tls = True
        self.tls_version, self.tls_cipher, self.tls_common_name = version, cipher, common_name
        self._parser.tls_required = False
        self._sink.send(OK_FRAME)
        self._is_held = False
        self._start_compression()
        self._release()

    def tls_failed(self, reason: str) -> None:
        """The TLS handshake failed; the connection ends."""
        self._fail(FatalProtocolError("E_IDENTIFY_FAILED", f"IDENTIFY failed {reason}"))

    def _start_compression(self) -> None:
        if self.identified.snappy:
            self._sink.start_snappy(self._parser.take_rest())
            self._sink.send(OK_FRAME)
        elif self.identified.deflate:
            self._sink.start_deflate(self._parser.take_rest(), self.identified.deflate_level)
            self._sink.send(OK_FRAME)
        self._send = self._sink.send
        self._held.extendleft(reversed(self._parser.resume()))
        self._release()

    def _auth(self, command: Auth, now_ns: int) -> None:
        if self.authorization is not None:
            self._fail(FatalProtocolError("E_INVALID", "AUTH already set"))
            return
        authenticator = self.settings.authenticator
        if authenticator is None:
            self._fail(FatalProtocolError("E_AUTH_DISABLED", "AUTH disabled"))
            return
        self.auth_secret = command.secret
        self._is_held = True
        authenticator.authenticate(command.secret, self, self._authenticated)

    def _authenticated(self, result: Authorization | FatalProtocolError) -> None:
        if self.is_closed:
            return
        self._is_held = False
        if isinstance(result, FatalProtocolError):
            self._fail(result)
        elif not result.permission_count:
            self._fail(FatalProtocolError("E_UNAUTHORIZED", "AUTH no authorizations found"))
        else:
            self.authorization = result
            self._sink.send(encode_response(result.answer))
            self._release()

    def _authorize(
        self, word: str, topic: str, channel: str, command: Command, now_ns: int
    ) -> bool:
        """Return whether a command may go on; if not, it was answered or is held."""
        authenticator = self.settings.authenticator
        if authenticator is None:
            return True
        authorization = self.authorization
        if authorization is None:
            self._fail(FatalProtocolError("E_AUTH_FIRST", f"AUTH required before {word}"))
            return False
        if now_ns > authorization.expires_ns:
            assert self.auth_secret is not None
            self._is_held = True
            self._held.appendleft(command)
            self._sink.pause_reading(True)
            authenticator.authenticate(self.auth_secret, self, self._authorized_again)
            return False
        if not authorization.is_allowed(topic, channel):
            detail = f'AUTH failed for {word} on "{topic}" "{channel}"'
            self._fail(FatalProtocolError("E_UNAUTHORIZED", detail))
            return False
        return True

    def _authorized_again(self, result: Authorization | FatalProtocolError) -> None:
        if self.is_closed:
            return
        self._is_held = False
        if isinstance(result, FatalProtocolError):
            self._fail(FatalProtocolError("E_AUTH_FAILED", "AUTH failed"))
            return
        self.authorization = result
        self._release()

    # Publishing

    def _publish(self, command: Publish, now_ns: int) -> None:
        word = "PUB" if command.defer_ms is None else "DPUB"
        if self.settings.authenticator is not None and not self._authorize(
            word, command.topic, "", command, now_ns
        ):
            return
        topic = self._topic_to_publish(command.topic, word)
        if topic is None:
            return
        self._published += 1
        self._outstanding += 1
        if command.defer_ms:
            due_ns = now_ns + command.defer_ms * MILLISECOND_NS
            is_first = topic.publish([command.body], due_ns, self._acknowledges[word], now_ns)
        else:
            is_first = topic.publish_one(command.body, self._acknowledges[word])
        if is_first:
            self.broker.mark(topic)

    def _multi_publish_start(self, command: MultiPublishStart, now_ns: int) -> None:
        if self._authorize("MPUB", command.topic, "", command, now_ns):
            self._topic_to_publish(command.topic, "MPUB")

    def _multi_publish(self, command: MultiPublish, now_ns: int) -> None:
        if not self._authorize("MPUB", command.topic, "", command, now_ns):
            return
        topic = self._topic_to_publish(command.topic, "MPUB")
        if topic is None:
            return
        self._outstanding += 1
        self._published += len(command.bodies)
        if topic.publish(command.bodies, 0, self._acknowledges["MPUB"], now_ns):
            self.broker.mark(topic)

    def _topic_to_publish(self, name: str, word: str) -> Topic | None:
        topic = self._publish_topic
        if topic is None or topic.name != name or topic.is_closing:
            if self._outstanding and topic is not None:
                topic.commit(self.broker.clock())
            self._publish_counts = self.publish_counts
            try:
                topic = self._publish_topic = self.broker.get_topic(name)
            except OSError as error:
                reason = error.strerror or str(error)
                self._fail(FatalProtocolError(f"E_{word}_FAILED", f"{word} failed {reason}"))
                return None
        return topic

    @property
    def publish_counts(self) -> dict[str, int]:
        """Return how many messages the client has published to each topic."""
        if self._published:
            assert self._publish_topic is not None
            name = self._publish_topic.name
            self._publish_counts[name] = self._publish_counts.get(name, 0) + self._published
            self._published = 0
        return self._publish_counts

    def _acknowledge_pub(self, error: PublishError | None) -> None:
        """Do what `_acknowledge` does for PUB; the fast way when all is well."""
        if error is None and not (self._held or self._is_at_eof or self.is_closed):
            self._outstanding -= 1
            self._send(OK_FRAME)
        else:
            self._acknowledge("PUB", error)

    def _acknowledge(self, word: str, error: PublishError | None) -> None:
        self._outstanding -= 1
        if self.is_closed:
            return
        if error is not None:
            self._fail(FatalProtocolError(f"E_{word}_FAILED", f"{word} failed {error}"))
            return
        self._sink.send(OK_FRAME)
        if not self._outstanding and (self._held or self._is_at_eof):
            self._release()

    # Consuming

    def _subscribe(self, command: Subscribe, now_ns: int) -> None:
        if not self._authorize("SUB", command.topic, command.channel, command, now_ns):
            return
        try:
            topic = self.broker.get_topic(command.topic)
            channel = self.broker.get_channel(topic, command.channel)
        except OSError as error:
            self._refuse_subscription(error.strerror or str(error))
            return
        limit = self.broker.settings.max_channel_consumers
        if limit and len(channel.consumers) >= limit:
            self._refuse_subscription(
                f"consumers for {topic.name}:{channel.name} exceeds limit of {limit}"
            )
            return
        if topic.is_closing:
            self._refuse_subscription("exiting")
            return
        consumer = Consumer(
            self._sink,
            self._first_identified.msg_timeout_ms * MILLISECOND_NS,
            sample_rate=self._first_identified.sample_rate,
            topology_region=self.topology_region,
            topology_zone=self.topology_zone,
        )
        consumer.writable = self._is_writable
        channel.enter(consumer)
        self.topic, self.channel, self.consumer = topic, channel, consumer
        self._sink.send(OK_FRAME)

    def _refuse_subscription(self, reason: str) -> None:
        self._fail(FatalProtocolError("E_SUB_FAILED", f"SUB failed {reason}"))

    def _subscribed(self) -> tuple[Channel, Consumer]:
        # The parser lets no command of a consumer through before SUB.
        assert self.channel is not None
        assert self.consumer is not None
        return self.channel, self.consumer

    def _ready(self, command: Ready, now_ns: int) -> None:
        channel, consumer = self._subscribed()
        consumer.ready_count = command.count
        channel.refresh(consumer)

    def _finish_run(self, command: FinishRun, now_ns: int) -> None:
        channel, consumer = self._subscribed()
        for number, error in channel.finish_run(consumer, command.ids):
            self._answer_failed(b"FIN", message_id(number), error)

    def _finish(self, command: Finish, now_ns: int) -> None:
        self._answer_failed(b"FIN", command.id, NotInFlightError())

    def _requeue(self, command: Requeue, now_ns: int) -> None:
        channel, consumer = self._subscribed()
        number = _number_of(command.id)
        try:
            if number is None:
                raise NotInFlightError
            channel.requeue(consumer, number, command.timeout_ms * MILLISECOND_NS, now_ns)
        except LookupError as error:
            self._answer_failed(b"REQ", command.id, error)

    def _touch(self, command: Touch, now_ns: int) -> None:
        channel, consumer = self._subscribed()
        number = _number_of(command.id)
        try:
            if number is None:
                raise NotInFlightError
            timeout_ns = self.identified.msg_timeout_ms * MILLISECOND_NS
            channel.touch(consumer, number, timeout_ns, now_ns)
        except LookupError as error:
            self._answer_failed(b"TOUCH", command.id, error)

    def _answer_failed(self, word: bytes, raw_id: bytes, error: Exception) -> None:
        reason = (
            b"ID not in flight"
            if isinstance(error, NotInFlightError)
            else b"client does not own message"
        )
        detail = b"%b %b failed %b" % (word, raw_id, reason)
        self._fail(ProtocolError(f"E_{word.decode()}_FAILED", detail))

    def _cls(self, command: Close, now_ns: int) -> None:
        _, consumer = self._subscribed()
        consumer.ready_count = 0
        consumer.closing = True
        self._sink.send(CLOSE_WAIT_FRAME)


def _heartbeat_ns(identified: Identified) -> int:
    """Return the interval, 0 for none."""
    return (identified.heartbeat_interval_ms or 0) * MILLISECOND_NS


def _number_of(raw_id: bytes) -> int | None:
    """Return the number that an id of ours stands for, or None if it is not one of ours."""
    try:
        number = int(raw_id, 16)
    except ValueError:
        return None
    return number if message_id(number) == raw_id else None


_WITHOUT_ANSWER = frozenset({Nop, Ready, FinishRun, Touch, Requeue})

_EXECUTE: dict[type, Callable[..., None]] = {
    Auth: Session._auth,
    Close: Session._cls,
    Finish: Session._finish,
    FinishRun: Session._finish_run,
    Identify: Session._identify,
    LineTooLong: Session._line_too_long,
    MultiPublish: Session._multi_publish,
    MultiPublishStart: Session._multi_publish_start,
    Nop: Session._nop,
    Publish: Session._publish,
    Ready: Session._ready,
    Requeue: Session._requeue,
    Subscribe: Session._subscribe,
    Touch: Session._touch,
    Violation: Session._violation,
}
