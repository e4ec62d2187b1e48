"""
Looks into the log, without any effect on channels (docs/http-api.md).

    GET  /topic/peek      topic, from or before, limit, encoding, body_bytes
    GET  /message         topic, id: what became of it
    GET  /message/body    topic, id: the whole body and nothing else
"""

import asyncio
import base64
from typing import Any

import msgspec
from aiohttp import web

from nsqx.nsqd.core.backlog import MessageState
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.consumer import Consumer
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.edge.steps import in_background
from nsqx.nsqd.http.arguments import existing_topic, topic_name
from nsqx.nsqd.http.log_position import (
    BadPositionError,
    Kind,
    LogPosition,
    read_log,
    requested_position,
    sequence_at,
)
from nsqx.nsqd.http.node import HttpNode
from nsqx.nsqd.log.page import Page, read_page, read_page_before
from nsqx.protocol.messages import body_of, body_size_of, message_id, split_frame
from nsqx.runtime.http.server import (
    JSON_TYPE,
    NSQ_HEADERS,
    Answer,
    ApiError,
    Handler,
    Request,
    Router,
    json_answer,
)
from nsqx.runtime.options.go_values import read_int64

__all__ = ["PeekEndpoints"]

LIMIT_DEFAULT = 10
LIMIT_MAX = 1000
PAGE_BYTES_MAX = 1024 * 1024  # of messages, besides the first one
BODIES_AT_ONCE = 8  # whole bodies that are being sent: each is as large as its message
BODY_SECONDS_MAX = 60.0  # until its client has taken it
_CHARACTER_BYTES_MAX = 4


class PeekEndpoints:
    """What people and tools are shown of messages."""

    def __init__(self, nsqd: HttpNode) -> None:
        self._nsqd = nsqd
        self._bodies = 0  # being sent

    def add_to(self, router: Router[Handler]) -> None:
        """Add the routes."""
        router.add("GET", "/topic/peek", self._peek)
        router.add("GET", "/message", self._message)
        router.add("GET", "/message/body", self._body)

    # Pages

    async def _peek(self, request: Request) -> Answer:
        topic = existing_topic(self._nsqd.broker, topic_name(request))
        limit = _whole(request, "limit", LIMIT_DEFAULT, LIMIT_MAX)
        body_bytes = _whole(request, "body_bytes", None, PAGE_BYTES_MAX)
        encoding = request.query().get("encoding", "auto")
        if encoding not in ("auto", "base64"):
            raise ApiError(400, "INVALID_ARG_ENCODING")
        page = await self._page(topic, request, limit, body_bytes)
        answer = {
            "topic": topic.name,
            "first": topic.log.first,
            "end": topic.log.end,
            "previous": page.first,
            "next": page.end,
            "messages": [_message_json(*message, encoding) for message in page.frames],
            "gaps": [
                {"first": gap.first, "end": gap.end, "reason": gap.reason} for gap in page.gaps
            ],
        }
        # The encoder that writes numbers as Go does would search a megabyte of bodies for them.
        body = msgspec.json.encode(answer)
        return web.Response(body=body, headers={"Content-Type": JSON_TYPE, **NSQ_HEADERS})

    async def _page(
        self, topic: Topic, request: Request, limit: int, body_bytes: int | None
    ) -> Page:
        query, now_ns = request.query(), self._nsqd.broker.clock.wall()
        if "from" in query and "before" in query:
            raise ApiError(400, "INVALID_ARG_BEFORE")
        if "from" in query:
            position = requested_position(request, "from", now_ns)
            is_backward = position.kind is Kind.END  # what is there to see lies before it
        else:
            is_given = "before" in query
            position = requested_position(request, "before", now_ns) if is_given else _END
            is_backward = True
        place = await sequence_at(position, topic, self._nsqd.storage)
        view, hidden = topic.log.view(), topic.emptied.copy()
        read = read_page_before if is_backward else read_page
        return await read_log(
            self._nsqd.storage,
            lambda: read(view, place, limit, PAGE_BYTES_MAX, hidden, body_bytes),
        )

    # One message

    async def _message(self, request: Request) -> Answer:
        topic = existing_topic(self._nsqd.broker, topic_name(request))
        sequence = _requested_message(topic, request)
        page = await self._one(topic, sequence, body_bytes=0)
        frame = _straggler(topic, sequence) or (page.frames[0][1] if page.frames else None)
        channels = sorted(topic.channels.values(), key=_name_of)
        searches = [channel.backlog.search_state(sequence) for channel in channels]
        states = await in_background(self._nsqd.storage, lambda: [search() for search in searches])
        return json_answer(
            {
                "topic": topic.name,
                "id": request.query()["id"],
                "sequence": sequence,
                "timestamp": split_frame(frame)[0] if frame is not None else 0,
                "waits_at_topic": sequence >= topic.passed,
                "channels": [
                    self._state_json(topic, channel, state, sequence)
                    for channel, state in zip(channels, states, strict=True)
                ],
            }
        )

    async def _body(self, request: Request) -> Answer:
        """Send a whole body; only some at a time, since it may be as large as a message can be."""
        topic = existing_topic(self._nsqd.broker, topic_name(request))
        sequence = _requested_message(topic, request)
        if sequence in topic.emptied:
            raise ApiError(404, "MESSAGE_NOT_FOUND")
        if self._bodies >= BODIES_AT_ONCE:
            raise ApiError(429, "TOO_MANY_BODIES")
        self._bodies += 1
        try:
            frame = _straggler(topic, sequence)
            if frame is None:
                page = await self._one(topic, sequence)
                if not page.frames:
                    raise ApiError(410, "MESSAGE_LOST")
                frame = page.frames[0][1]
            async with asyncio.timeout(BODY_SECONDS_MAX):
                return await _send_body(request, body_of(frame))
        finally:
            self._bodies -= 1

    async def _one(self, topic: Topic, sequence: int, *, body_bytes: int | None = None) -> Page:
        """Return the page of one message: empty if that can't be read."""
        view = topic.log.view()

        def read() -> Page:
            page = read_page(view, sequence, 1, 0, None, body_bytes)
            page.frames = [message for message in page.frames if message[0] == sequence]
            return page

        return await read_log(self._nsqd.storage, read)

    def _state_json(
        self, topic: Topic, channel: Channel, state: MessageState, sequence: int
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "channel_name": channel.name,
            "state": _state_word(topic, state, sequence),
            "attempts": state.attempts,
        }
        if state.due_ns:
            answer["deferred_until"] = state.due_ns
        if state.consumer is not None:
            answer["client"] = self._client(state.consumer)
        return answer

    def _client(self, consumer: Consumer) -> dict[str, str] | None:
        """Return who has a message; None if the client is gone and its time-out is waited for."""
        for connection in self._nsqd.tcp_server.connections:
            session = connection.session
            if session.consumer is consumer:
                return {
                    "client_id": session.client_id,
                    "hostname": session.hostname,
                    "remote_address": session.remote_address,
                }
        return None


_END = LogPosition(Kind.END)


def _whole(request: Request, name: str, default: "int | None", most: int) -> Any:
    """Return a whole number from 1 to ``most``, or the default."""
    text = request.query().get(name)
    if text is None:
        return default
    try:
        number = read_int64(text)
    except ValueError:
        number = 0
    if not 1 <= number <= most:
        raise ApiError(400, f"INVALID_ARG_{name.upper()}")
    return number


def _message_json(sequence: int, frame: bytes, encoding: str) -> dict[str, Any]:
    """Describe a message; its body is text if it is UTF-8 and nobody wants it otherwise."""
    timestamp_ns, _, number, body = split_frame(frame)
    size = body_size_of(frame)
    message: dict[str, Any] = {
        "sequence": sequence,
        "id": message_id(number).decode(),
        "timestamp": timestamp_ns,
        "size": size,
    }
    is_cut = len(body) < size
    if is_cut:
        message["is_cut"] = True
    if encoding == "auto":
        text = _text_of(body, is_cut)
        if text is not None:
            return {**message, "body": text}
    return {**message, "body_base64": base64.b64encode(body).decode()}


def _text_of(body: bytes, is_cut: bool) -> str | None:
    """Return a body that is UTF-8 as text, without the beginning of a character at a cut."""
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        if is_cut and error.start > len(body) - _CHARACTER_BYTES_MAX and error.end == len(body):
            return body[: error.start].decode()
        return None


async def _send_body(request: Request, body: bytes) -> Answer:
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length = len(body)
    await response.prepare(request.http)
    await response.write(body)
    await response.write_eof()
    return response


def _requested_message(topic: Topic, request: Request) -> int:
    """Return the message with an id: from the log, or a straggler that the log let go of."""
    text = request.query().get("id")
    if text is None:
        raise ApiError(400, "MISSING_ARG_ID")
    try:
        number = LogPosition.parse(f"id:{text}", 0).value
    except BadPositionError:
        raise ApiError(400, "INVALID_ARG_ID") from None
    sequence = topic.log.sequence_of(number)
    if sequence is not None:
        return sequence
    for channel in topic.channels.values():
        sequence = channel.backlog.straggler_of(number)
        if sequence is not None:
            return sequence
    raise ApiError(404, "MESSAGE_NOT_FOUND")


def _straggler(topic: Topic, sequence: int) -> bytes | None:
    frames = (channel.backlog.straggler(sequence) for channel in topic.channels.values())
    return next((frame for frame in frames if frame is not None), None)


def _state_word(topic: Topic, state: MessageState, sequence: int) -> str:
    """Return what became of a message, by what the topic knows beyond its channel."""
    if state.state in ("finished", "skipped"):
        if topic.is_lost(sequence):
            return "lost"
        if sequence in topic.emptied:
            return "emptied"
        return "finished"
    return state.state


def _name_of(channel: Channel) -> str:
    return channel.name
