"""``/api/v2/topics/T/messages``: looking into a topic, finding a message, publishing."""

import base64
import binascii
import hashlib
import random
import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from nsqx.admin.changed.audit import AuditTrail, NodeResult
from nsqx.admin.changed.runs import ActionResult, Repeats, answered, post_to
from nsqx.admin.guard.access import Role, Visitor
from nsqx.admin.guard.gate import V2Error
from nsqx.admin.known.collector import Collector
from nsqx.admin.nsq_api.notifications import Notifications
from nsqx.admin.shown.hub import Hub
from nsqx.admin.shown.log_places import BadPlaceError, LogPlaces
from nsqx.admin.shown.message_filter import BadFilterError, MessageFilter
from nsqx.admin.shown.message_rows import MessageRow
from nsqx.admin.shown.peek import Peeker
from nsqx.admin.v2.answers import download, json_bytes
from nsqx.cluster.actions import NSQD
from nsqx.cluster.http import DaemonError, DaemonHttp, StatusError
from nsqx.cluster.log_pages import PeekAnswer
from nsqx.cluster.views import NodeView
from nsqx.protocol.names import is_valid_name
from nsqx.runtime.http.server import Answer, Request

__all__ = ["MessageEndpoints", "MessageState", "PublishRequest"]

PUBLISH_BYTES_MAX = 16 << 20
_ID = re.compile("[0-9a-f]{16}")
LIMIT_DEFAULT, LIMIT_MAX = 20, 1000
COUNT_MAX = 1000
DEFER_SECONDS_MAX = 365 * 86400.0
NANOSECONDS = 1_000_000_000


class PublishRequest(msgspec.Struct):
    """The body of a publish."""

    body: str
    encoding: str = "text"
    defer_seconds: float = 0.0
    count: int = 1
    node: str = ""
    idempotency_key: str = ""


class ChannelState(msgspec.Struct):
    """What became of a message on one channel."""

    channel: str
    state: str
    attempts: int
    client: Any
    deferred_until: float | None


class MessageState(msgspec.Struct):
    """Where a message is now."""

    node: str
    message: MessageRow | None
    waits_at_topic: bool
    channels: list[ChannelState]


class _ChannelAnswer(msgspec.Struct):
    channel_name: str
    state: str
    attempts: int = 0
    client: Any = None
    deferred_until: int | None = None


class _MessageAnswer(msgspec.Struct):
    """nsqd's ``/message``."""

    waits_at_topic: bool
    channels: list[_ChannelAnswer]


class MessageEndpoints:
    """The handlers."""

    def __init__(
        self,
        hub: Hub,
        collector: Collector,
        http: DaemonHttp,
        audit: AuditTrail,
        notifications: Notifications,
        repeats: Repeats,
    ) -> None:
        self._hub = hub
        self._collector = collector
        self._http = http
        self._audit = audit
        self._notifications = notifications
        self._repeats = repeats

    # Reading

    async def peek(self, request: Request, visitor: Visitor) -> Answer:
        _check_reader(visitor)
        topic, query = _topic(request), request.query()
        place, node = query.get("from", "end"), query.get("node", "")
        places = _places(place)
        if places.is_of_one_node and not node:
            raise V2Error(400, "MISSING_ARG_NODE", "numbers of messages are those of one node")
        limit = _number(query.get("limit", str(LIMIT_DEFAULT)), "limit", 1, LIMIT_MAX)
        wanted = _filter(query.get("filter", ""), query.get("where", ""))
        addresses = [
            each.address
            for each in self._nodes(topic, node)
            if not places.numbers or each.address in places.numbers
        ]
        peeker = Peeker(self._http, topic)
        is_full = query.get("full") == "true"
        result = await peeker.peek(addresses, places, limit, wanted, is_full=is_full)
        if any(each.error == "INVALID_ARG_FROM" for each in result.nodes.values()):
            raise V2Error(400, "INVALID_ARG_FROM", f"{place[:100]!r} is no place in a log")
        return json_bytes(msgspec.json.encode(result))

    async def find(self, request: Request, visitor: Visitor) -> Answer:
        """Ask every node that has the topic: only one has the message."""
        _check_reader(visitor)
        topic, id = _topic(request), _id(request)
        nodes = [each.address for each in self._nodes(topic, request.query().get("node", ""))]
        query = urlencode({"topic": topic, "id": id})
        answers = await self._http.ask_all(nodes, f"/message?{query}", _MessageAnswer)
        for address, answer in answers.by_address.items():
            return json_bytes(msgspec.json.encode(await self._state(topic, id, address, answer)))
        raise _no_message(answers.errors.values(), "knows")

    async def body(self, request: Request, visitor: Visitor) -> Answer:
        """Give the body of one message as its bytes, whole, to be saved."""
        _check_reader(visitor)
        topic, id = _topic(request), _id(request)
        nodes = [each.address for each in self._nodes(topic, request.query().get("node", ""))]
        query = urlencode({"topic": topic, "from": f"id:{id}", "limit": 1, "encoding": "base64"})
        answers = await self._http.ask_all(nodes, f"/topic/peek?{query}", PeekAnswer)
        for answer in answers.by_address.values():
            for message in answer.messages:
                if message.id == id:
                    return download(message.body_bytes(), f"{topic}-{id}")
        raise _no_message(answers.errors.values(), "keeps")

    async def _state(
        self, topic: str, id: str, address: str, answer: _MessageAnswer
    ) -> MessageState:
        peeked = await Peeker(self._http, topic).peek(
            [address], LogPlaces(False, f"id:{id}"), 1, MessageFilter.parse("", ""), is_full=True
        )
        return MessageState(
            address,
            peeked.messages[0] if peeked.messages else None,
            answer.waits_at_topic,
            [_channel_state(each) for each in answer.channels],
        )

    def _nodes(self, topic: str, node: str) -> list[NodeView]:
        nodes = self._hub.view.nodes_with(topic)
        if node:
            nodes = [each for each in nodes if each.address == node]
        if not nodes:
            raise V2Error(404, "TOPIC_NOT_FOUND", f"no such node has the topic {topic}")
        return nodes

    # Publishing

    async def publish(self, request: Request, visitor: Visitor) -> Answer:
        if not visitor.may(Role.OPERATOR):
            raise V2Error(403, "FORBIDDEN", "publishing needs the role operator")
        topic = _topic(request)
        raw = await request.body(PUBLISH_BYTES_MAX, "BODY_TOO_BIG")
        wanted = _decoded(raw)
        body = _body(wanted)
        if not body:
            raise V2Error(400, "MSG_EMPTY", "a message has at least one byte")

        async def publish() -> bytes:
            results = await self._publish(topic, body, wanted)
            detail = f"{wanted.count} of {len(body):,} bytes"
            return msgspec.json.encode(self._note(request, visitor, topic, detail, results))

        digest = hashlib.sha256(topic.encode() + b"/" + raw).digest()  # bodies may be long
        key = wanted.idempotency_key
        return answered(await self._repeats.once(visitor.user, key, digest, publish))

    def _note(
        self,
        request: Request,
        visitor: Visitor,
        topic: str,
        detail: str,
        results: list[NodeResult],
    ) -> ActionResult:
        entry = self._audit.add(
            "publish",
            user=visitor.user,
            role=visitor.role.word,
            remote=request.remote,
            via="v2",
            topic=topic,
            node=results[-1].node,
            detail=detail,
            results=results,
        )
        self._notifications.tell(request, "publish", topic, node=results[-1].node)
        self._collector.hurry()
        self._hub.tick_soon()
        return ActionResult("publish", False, results[-1].ok, entry.id, results)

    async def _publish(self, topic: str, body: bytes, wanted: PublishRequest) -> list[NodeResult]:
        """Try one node after another, until one takes it (or the first of several was taken)."""
        results: list[NodeResult] = []
        for node in self._publish_order(topic, wanted.node):
            results.append(await self._publish_at(node.address, topic, body, wanted))
            if results[-1].ok or results[-1].answer is not None:
                break
        if not results:
            raise V2Error(503, "NO_NODE", "there is no node to publish to")
        return results

    async def _publish_at(
        self, address: str, topic: str, body: bytes, wanted: PublishRequest
    ) -> NodeResult:
        query = {"topic": topic}
        if wanted.defer_seconds:
            query["defer"] = str(round(wanted.defer_seconds * 1000))
        if wanted.count == 1 or wanted.defer_seconds:
            return await self._publish_singly(address, f"/pub?{urlencode(query)}", body, wanted)
        path = f"/mpub?{urlencode({**query, 'binary': 'true'})}"
        return await post_to(self._http, NSQD, address, path, _frame([body] * wanted.count))

    async def _publish_singly(
        self, address: str, path: str, body: bytes, wanted: PublishRequest
    ) -> NodeResult:
        """/mpub has no delay, so each is a request. If one fails, ``answer`` says how many went."""
        result = await post_to(self._http, NSQD, address, path, body)
        for number in range(1, wanted.count):
            if not result.ok:
                break
            result = await post_to(self._http, NSQD, address, path, body)
            if not result.ok:
                result.answer = {"published": number}
        return result

    def _publish_order(self, topic: str, node: str) -> Sequence[NodeView]:
        nodes = self._hub.view.nodes
        if node:
            named = [each for each in nodes if each.address == node]
            if not named:
                raise V2Error(404, "UNKNOWN_NODE", f"there is no node {node[:100]}")
            return named
        current = [each for each in nodes if each.is_current]
        random.shuffle(current)  # no node gets it all
        return sorted(current, key=lambda each: not each.has_topic(topic))


def _check_reader(visitor: Visitor) -> None:
    if not visitor.reads_messages:
        raise V2Error(403, "FORBIDDEN", "you may not read messages")


def _filter(text: str, expression: str) -> MessageFilter:
    try:
        return MessageFilter.parse(text, expression)
    except BadFilterError as exc:
        raise V2Error(400, "INVALID_ARG_FILTER", str(exc)) from exc


def _no_message(errors: Iterable[DaemonError], verb: str) -> V2Error:
    # What failed otherwise than by not having it may well have it.
    if failures := [each for each in errors if not _knows_nothing(each)]:
        return V2Error(502, "UPSTREAM", str(failures[0]))
    return V2Error(404, "MESSAGE_NOT_FOUND", f"no node {verb} this message, any more or yet")


def _knows_nothing(error: DaemonError) -> bool:
    return isinstance(error, StatusError) and error.status == 404


def _places(text: str) -> LogPlaces:
    try:
        return LogPlaces.parse(text)
    except BadPlaceError as exc:
        raise V2Error(400, "INVALID_ARG_FROM", str(exc)) from exc


def _id(request: Request) -> str:
    id = request.parameters["id"]
    if not _ID.fullmatch(id):
        raise V2Error(400, "INVALID_ARG_ID", f"{id[:100]!r} is no message's id: 16 hex digits")
    return id


def _topic(request: Request) -> str:
    topic = request.parameters["topic"]
    if not is_valid_name(topic):
        raise V2Error(400, "INVALID_TOPIC", f"{topic[:100]!r} is no valid name")
    return topic


def _number(text: str, name: str, least: int, most: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise V2Error(400, f"INVALID_ARG_{name.upper()}", f"{name} is {least} to {most}")
    return number


def _channel_state(answer: _ChannelAnswer) -> ChannelState:
    until = answer.deferred_until
    return ChannelState(
        answer.channel_name,
        answer.state,
        answer.attempts,
        answer.client,
        until / NANOSECONDS if until is not None else None,
    )


def _decoded(body: bytes) -> PublishRequest:
    try:
        wanted = msgspec.json.decode(body, type=PublishRequest)
    except msgspec.DecodeError as exc:
        raise V2Error(400, "INVALID_BODY", str(exc)) from exc
    if not 1 <= wanted.count <= COUNT_MAX:
        raise V2Error(400, "INVALID_ARG_COUNT", f"count is 1 to {COUNT_MAX}")
    if not 0 <= wanted.defer_seconds <= DEFER_SECONDS_MAX:
        raise V2Error(400, "INVALID_ARG_DEFER_SECONDS", "defer_seconds is 0 to a year")
    return wanted


def _body(wanted: PublishRequest) -> bytes:
    match wanted.encoding:
        case "text":
            return wanted.body.encode("utf-8", "surrogatepass")
        case "base64":
            try:
                return base64.b64decode(wanted.body, validate=True)
            except binascii.Error as exc:
                raise V2Error(400, "INVALID_ARG_BODY", "the body is no base64") from exc
        case _:
            raise V2Error(400, "INVALID_ARG_ENCODING", "encoding is text or base64")


def _frame(bodies: Iterable[bytes]) -> bytes:
    """Return the binary form of /mpub: the count, then size and bytes of each."""
    listed = list(bodies)
    parts = [len(listed).to_bytes(4, "big")]
    for body in listed:
        parts += [len(body).to_bytes(4, "big"), body]
    return b"".join(parts)
