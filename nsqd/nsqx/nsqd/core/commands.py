"""
What each command does (protocol section 4): its effect on topics and channels, and its answer.

A command is executed when its session's gate is open (`nsqx.nsqd.core.session`). `execute` is the
one place where the kinds of commands are told apart; mypy checks that it knows all of them.
"""

from typing import TYPE_CHECKING, assert_never

from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.consumer import Consumer
from nsqx.nsqd.core.in_flight import NotInFlightError
from nsqx.protocol.command_parser import FIN, REQ, TOUCH, LoneAnswer
from nsqx.protocol.commands import (
    Auth,
    Close,
    Command,
    FinishRun,
    Identify,
    LineTooLongError,
    MultiPublish,
    MultiPublishStart,
    Nop,
    Publish,
    Ready,
    Requeue,
    Return,
    Subscribe,
    Touch,
    UnknownId,
    Violation,
)
from nsqx.protocol.errors import FatalProtocolError, ProtocolError
from nsqx.protocol.frames import CLOSE_WAIT_FRAME, OK_FRAME
from nsqx.protocol.identify import IdentifyRequest, negotiate
from nsqx.protocol.messages import message_id as encode_id

if TYPE_CHECKING:  # a session executes commands, and they change it
    from nsqx.nsqd.core.session import Session

__all__ = ["execute", "execute_answer", "is_answered"]

MILLISECOND_NS = 1_000_000

# Nothing is sent back to these when all is well.
_WITHOUT_ANSWER = frozenset({Nop, Ready, FinishRun, Touch, Requeue, Return})


def is_answered(command: Command) -> bool:
    """Return whether a command has an answer, which must not overtake another one."""
    return type(command) not in _WITHOUT_ANSWER


def execute(session: "Session", command: Command, now_ns: int) -> None:
    """Do what a client asks for. What is frequent comes first."""
    match command:
        case Publish():
            _publish(session, command, now_ns)
        case FinishRun():
            _finish_run(session, command)
        case MultiPublish():
            _multi_publish(session, command, now_ns)
        case Requeue():
            _requeue(session, command)
        case Touch():
            _touch(session, command, now_ns)
        case Ready():
            _ready(session, command)
        case Return():
            _return(session, command)
        case Nop():
            pass  # being heard was all
        case MultiPublishStart():
            _multi_publish_start(session, command, now_ns)
        case Identify():
            _identify(session, command, now_ns)
        case Auth():
            _auth(session, command)
        case Subscribe():
            _subscribe(session, command, now_ns)
        case Close():
            _close(session)
        case UnknownId():
            _answer_failed(session, command.word, command.id, NotInFlightError)
        case Violation():
            session.fail(command.error)
        case LineTooLongError():
            session.close("a line is too long")
        case _:
            assert_never(command)


def execute_answer(session: "Session", channel: Channel, answer: LoneAnswer, now_ns: int) -> None:
    """Execute a consumer's answer that came alone, and deliver what it makes room for."""
    word, message_id, timeout_ms = answer
    consumer = session.consumer
    assert consumer is not None
    try:
        if word is FIN:
            channel.finish(consumer, message_id)
        elif word is TOUCH:
            channel.touch(consumer, message_id, _msg_timeout_ns(session, consumer), now_ns)
            return  # it makes room for nothing
        elif timeout_ms:
            channel.requeue(consumer, message_id, _due_ns(session, timeout_ms))
        elif channel.requeue_at_once(consumer, message_id, now_ns):
            return
        else:
            channel.requeue(consumer, message_id, 0)
    except LookupError as error:
        _answer_failed(session, word, encode_id(message_id), type(error))
    channel.dispatch(now_ns)


# IDENTIFY and AUTH


def _identify(session: "Session", command: Identify, now_ns: int) -> None:
    current = None if session.first_identified is None else session.identified
    try:
        request = IdentifyRequest.decode(command.body)
        identified = negotiate(request, session.settings.negotiation, current)
    except FatalProtocolError as error:
        session.fail(error)
    else:
        session.identify(request, identified, now_ns)


def _auth(session: "Session", command: Auth) -> None:
    if session.authorization is not None:
        session.fail(FatalProtocolError("E_INVALID", "AUTH already set"))
    elif session.settings.authenticator is None:
        session.fail(FatalProtocolError("E_AUTH_DISABLED", "AUTH disabled"))
    else:
        session.authenticate(command.secret)


def _may(
    session: "Session", word: str, topic: str, channel: str, command: Command, now_ns: int
) -> bool:
    """Return whether a command may go on; if not, it was answered or waits."""
    if session.settings.authenticator is None:
        return True
    authorization = session.authorization
    if authorization is None:
        session.fail(FatalProtocolError("E_AUTH_FIRST", f"AUTH required before {word}"))
        return False
    if now_ns > authorization.expires_ns:
        session.authenticate_again(command)
        return False
    if not authorization.is_allowed(topic, channel):
        detail = f'AUTH failed for {word} on "{topic}" "{channel}"'
        session.fail(FatalProtocolError("E_UNAUTHORIZED", detail))
        return False
    return True


# Publishing


def _publish(session: "Session", command: Publish, now_ns: int) -> None:
    word = "PUB" if command.defer_ms is None else "DPUB"
    if not session.is_anybody_allowed and not _may(
        session, word, command.topic, "", command, now_ns
    ):
        return
    try:
        topic = session.topic_to_publish(command.topic)
    except OSError as error:
        _refuse_publish(session, word, error)
        return
    if command.defer_ms:
        due_ns = _due_ns(session, command.defer_ms)
        session.publish(topic, [command.body], due_ns, word, now_ns)
    else:
        session.publish_one(topic, command.body, word)


def _multi_publish_start(session: "Session", command: MultiPublishStart, now_ns: int) -> None:
    if not _may(session, "MPUB", command.topic, "", command, now_ns):
        return
    try:
        session.topic_to_publish(command.topic)
    except OSError as error:
        _refuse_publish(session, "MPUB", error)


def _multi_publish(session: "Session", command: MultiPublish, now_ns: int) -> None:
    if not session.is_anybody_allowed and not _may(
        session, "MPUB", command.topic, "", command, now_ns
    ):
        return
    try:
        topic = session.topic_to_publish(command.topic)
    except OSError as error:
        _refuse_publish(session, "MPUB", error)
    else:
        session.publish(topic, command.bodies, 0, "MPUB", now_ns)


def _refuse_publish(session: "Session", word: str, error: OSError) -> None:
    reason = error.strerror or str(error)
    session.fail(FatalProtocolError(f"E_{word}_FAILED", f"{word} failed {reason}"))


# Consuming


def _subscribe(session: "Session", command: Subscribe, now_ns: int) -> None:
    if not _may(session, "SUB", command.topic, command.channel, command, now_ns):
        return
    broker = session.broker
    try:
        topic = broker.get_topic(command.topic)
        channel = broker.get_channel(topic, command.channel)
    except OSError as error:
        _refuse_subscription(session, error.strerror or str(error))
        return
    limit = broker.settings.max_channel_consumers
    if limit and len(channel.consumers) >= limit:
        _refuse_subscription(
            session, f"consumers for {topic.name}:{channel.name} exceeds limit of {limit}"
        )
    elif topic.is_closing:
        _refuse_subscription(session, "exiting")
    else:
        session.subscribe(topic, channel, _consumer(session, channel))
        session.send(OK_FRAME)


def _consumer(session: "Session", channel: Channel) -> Consumer:
    identified = session.first_identified or session.identified
    timeout_ns = identified.msg_timeout_ms * MILLISECOND_NS
    if channel.msg_timeout_ns and not identified.asked_msg_timeout:
        timeout_ns = channel.msg_timeout_ns
    consumer = Consumer(
        session.sink,
        timeout_ns,
        sample_rate=identified.sample_rate,
        topology_region=session.topology_region,
        topology_zone=session.topology_zone,
    )
    consumer.writable = session.is_writable
    return consumer


def _refuse_subscription(session: "Session", reason: str) -> None:
    session.fail(FatalProtocolError("E_SUB_FAILED", f"SUB failed {reason}"))


def _subscribed(session: "Session") -> tuple[Channel, Consumer]:
    # The parser lets no command of a consumer through before SUB.
    assert session.channel is not None
    assert session.consumer is not None
    return session.channel, session.consumer


def _ready(session: "Session", command: Ready) -> None:
    channel, consumer = _subscribed(session)
    consumer.ready_count = command.count
    channel.refresh(consumer)


def _finish_run(session: "Session", command: FinishRun) -> None:
    channel, consumer = _subscribed(session)
    for number, error in channel.finish_run(consumer, command.ids):
        _answer_failed(session, FIN, encode_id(number), error)


def _requeue(session: "Session", command: Requeue) -> None:
    channel, consumer = _subscribed(session)
    due_ns = _due_ns(session, command.timeout_ms) if command.timeout_ms else 0
    try:
        channel.requeue(consumer, command.id, due_ns)
    except LookupError as error:
        _answer_failed(session, REQ, encode_id(command.id), type(error))


def _return(session: "Session", command: Return) -> None:
    channel, consumer = _subscribed(session)
    try:
        channel.give_back(consumer, _number_of(command.id))
    except LookupError as error:
        _answer_failed(session, REQ, command.id, type(error))


def _touch(session: "Session", command: Touch, now_ns: int) -> None:
    channel, consumer = _subscribed(session)
    try:
        channel.touch(consumer, command.id, _msg_timeout_ns(session, consumer), now_ns)
    except LookupError as error:
        _answer_failed(session, TOUCH, encode_id(command.id), type(error))


def _msg_timeout_ns(session: "Session", consumer: Consumer) -> int:
    identified = session.identified
    if identified.asked_msg_timeout:  # maybe anew, after SUB
        return identified.msg_timeout_ms * MILLISECOND_NS
    return consumer.msg_timeout_ns


def _due_ns(session: "Session", delay_ms: int) -> int:
    """
    Return when a delay that begins now is over, in wall time; 0 without one.

    At the end of a millisecond: what is published in one turn of the loop with one delay is due
    together, and so it is one batch of the log.
    """
    if delay_ms <= 0:
        return 0
    end_ms = -(-session.broker.clock.wall() // MILLISECOND_NS) + delay_ms
    return end_ms * MILLISECOND_NS


def _answer_failed(
    session: "Session", word: bytes, raw_id: bytes, error: type[LookupError]
) -> None:
    reason = b"ID not in flight" if error is NotInFlightError else b"client does not own message"
    detail = b"%b %b failed %b" % (word, raw_id, reason)
    session.fail(ProtocolError(f"E_{word.decode()}_FAILED", detail))


def _close(session: "Session") -> None:
    _, consumer = _subscribed(session)
    consumer.ready_count = 0
    consumer.closing = True
    session.send(CLOSE_WAIT_FRAME)


def _number_of(raw_id: bytes) -> int:
    """
    Return the number that an id of ours stands for.

    Raises:
        NotInFlightError: it is not one of ours.
    """
    try:
        number = int(raw_id, 16)
    except ValueError as error:
        raise NotInFlightError from error
    if encode_id(number) != raw_id:
        raise NotInFlightError
    return number
