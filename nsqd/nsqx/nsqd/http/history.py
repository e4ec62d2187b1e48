"""
What the log makes possible and NSQ does not have (docs/http-api.md): looking into a topic, moving a
channel to any message that is kept, what became of a message, and settings of a topic.

    GET  /topic/peek      topic, from, limit, encoding
    GET  /topic/settings  topic
    POST /topic/settings  topic, retain_time, retain_bytes, durability
    POST /channel/create  topic, channel, from
    POST /channel/seek    topic, channel, to
    GET  /message         topic, id
"""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from nsqx.nsqd.core.channel import Channel, MessageState
from nsqx.nsqd.core.consumer import Consumer
from nsqx.nsqd.core.topic import Durability, Topic
from nsqx.nsqd.core.topic_settings import TopicSettings
from nsqx.nsqd.edge.steps import in_background
from nsqx.nsqd.http.arguments import (
    existing_channel,
    existing_topic,
    integer,
    topic_and_channel_names,
    topic_name,
)
from nsqx.nsqd.http.log_position import BadPositionError, Kind, LogPosition
from nsqx.nsqd.http.node import HttpNode
from nsqx.nsqd.log.page import read_page
from nsqx.protocol.messages import message_id, split_frame
from nsqx.runtime.durations import parse_duration
from nsqx.runtime.http.server import (
    JSON_TYPE,
    NSQ_HEADERS,
    Answer,
    ApiError,
    Handler,
    Request,
    Router,
    empty,
    json_answer,
)

__all__ = ["HistoryEndpoints"]

PEEK_LIMIT_DEFAULT = 10
PEEK_LIMIT_MAX = 1000
PEEK_BYTES_MAX = 1024 * 1024  # of messages, besides the first one
DEFAULT_WORD = "default"

T = TypeVar("T")


class HistoryEndpoints:
    """Reads of the log, and moves in it."""

    def __init__(self, nsqd: HttpNode) -> None:
        self._nsqd = nsqd

    def add_to(self, router: Router[Handler]) -> None:
        """Add the routes."""
        router.add("GET", "/topic/peek", self._peek)
        router.add("GET", "/topic/settings", self._get_settings)
        router.add("POST", "/topic/settings", self._set_settings)
        router.add("POST", "/channel/create", self._create_channel)
        router.add("POST", "/channel/seek", self._seek)
        router.add("GET", "/message", self._message)

    # Looking into a topic

    async def _peek(self, request: Request) -> Answer:
        topic = existing_topic(self._nsqd.broker, topic_name(request))
        limit = _limit(request)
        encoding = request.query().get("encoding", "auto")
        if encoding not in ("auto", "base64"):
            raise ApiError(400, "INVALID_ARG_ENCODING")
        position = self._position(request, "from", "end")
        if position.kind is Kind.END:
            first = max(topic.log.first, topic.log.end - limit)
        else:
            first = await self._sequence(topic, position)
        view = topic.log.view()
        page = await self._read(lambda: read_page(view, first, limit, PEEK_BYTES_MAX))
        answer = {
            "topic": topic.name,
            "first": topic.log.first,
            "end": topic.log.end,
            "next": page.end,
            "messages": [
                _message_json(sequence, frame, encoding)
                for sequence, frame in page.frames
                if sequence not in topic.emptied
            ],
        }
        # The encoder that writes numbers as Go does would search a megabyte of bodies for them.
        body = msgspec.json.encode(answer)
        return web.Response(body=body, headers={"Content-Type": JSON_TYPE, **NSQ_HEADERS})

    # Channels

    async def _create_channel(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        topic_text, name = topic_and_channel_names(request)
        topic = existing_topic(broker, topic_text)
        if "from" in request.query() and name not in topic.channels:
            sequence = await self._sequence(topic, self._position(request, "from"))
            topic = existing_topic(broker, topic_text)  # others ran meanwhile
            if name not in topic.channels:
                broker.seek(topic, broker.get_channel(topic, name), sequence)
        broker.get_channel(topic, name)
        return empty()

    async def _seek(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        topic, _ = existing_channel(broker, request)
        sequence = await self._sequence(topic, self._position(request, "to"))
        topic, channel = existing_channel(broker, request)  # others ran meanwhile
        broker.flush()
        broker.seek(topic, channel, sequence)
        return json_answer(
            {
                "topic": topic.name,
                "channel": channel.name,
                "sequence": channel.cursor,
                "depth": channel.depth,
                "deferred_count": len(channel.deferred),
            }
        )

    def _position(self, request: Request, name: str, default: str | None = None) -> LogPosition:
        text = request.query().get(name, default)
        if text is None:
            raise ApiError(400, f"MISSING_ARG_{name.upper()}")
        try:
            return LogPosition.parse(text, self._nsqd.broker.clock.wall())
        except BadPositionError:
            raise ApiError(400, f"INVALID_ARG_{name.upper()}") from None

    async def _sequence(self, topic: Topic, position: LogPosition) -> int:
        """Return the message at a position; a number beyond what is kept becomes the next one."""
        log = topic.log
        match position.kind:
            case Kind.START:
                return log.first
            case Kind.END:
                return log.end
            case Kind.SEQUENCE:
                return min(max(position.value, log.first), log.end)
            case Kind.ID:
                sequence = log.sequence_of(position.value)
                if sequence is None:
                    raise ApiError(404, "MESSAGE_NOT_FOUND")
                return sequence
            case Kind.TIME:
                view = log.view()
                return await self._read(lambda: view.first_at_or_after(position.value))

    async def _read(self, work: Callable[[], T]) -> T:
        """Run what may block in another thread."""
        try:
            return await in_background(self._nsqd.storage, work)
        except OSError as error:
            raise ApiError(503, "DISK_FAILED") from error

    # One message

    async def _message(self, request: Request) -> Answer:
        topic = existing_topic(self._nsqd.broker, topic_name(request))
        text = request.query().get("id")
        if text is None:
            raise ApiError(400, "MISSING_ARG_ID")
        try:
            number = LogPosition.parse(f"id:{text}", 0).value
        except BadPositionError:
            raise ApiError(400, "INVALID_ARG_ID") from None
        sequence = _find(topic, number)
        if sequence is None:
            raise ApiError(404, "MESSAGE_NOT_FOUND")
        timestamp_ns = await self._accepted_ns(topic, sequence)
        channels = sorted(topic.channels.values(), key=_name_of)
        searches = [channel.search_state(sequence) for channel in channels]
        states = await in_background(self._nsqd.storage, lambda: [search() for search in searches])
        return json_answer(
            {
                "topic": topic.name,
                "id": text,
                "sequence": sequence,
                "timestamp": timestamp_ns,
                "waits_at_topic": sequence >= topic.passed,
                "channels": [
                    self._state_json(topic, channel, state, sequence)
                    for channel, state in zip(channels, states, strict=True)
                ],
            }
        )

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

    async def _accepted_ns(self, topic: Topic, sequence: int) -> int:
        for channel in topic.channels.values():
            frame = channel.straggler(sequence)
            if frame is not None:
                return split_frame(frame)[0]
        view = topic.log.view()
        page = await self._read(lambda: read_page(view, sequence, 1, 0))
        if page.frames and page.frames[0][0] == sequence:
            return split_frame(page.frames[0][1])[0]
        return 0

    # Settings

    async def _get_settings(self, request: Request) -> Answer:
        return self._show_settings(existing_topic(self._nsqd.broker, topic_name(request)))

    async def _set_settings(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        topic = existing_topic(broker, topic_name(request))
        if topic.is_ephemeral:
            raise ApiError(400, "EPHEMERAL_TOPIC")
        settings = broker.settings_of(topic)
        query = request.query()
        if (text := query.get("retain_time")) is not None:
            value = _setting("RETAIN_TIME", text, _not_negative(parse_duration))
            settings = replace(settings, retain_time_ns=value)
        if (text := query.get("retain_bytes")) is not None:
            value = _setting("RETAIN_BYTES", text, _not_negative(integer))
            settings = replace(settings, retain_bytes=value)
        if (text := query.get("durability")) is not None:
            settings = replace(settings, durability=_setting("DURABILITY", text, _durability))
        try:
            broker.configure(topic, settings)
        except OSError as error:
            raise ApiError(503, "DISK_FAILED") from error
        return self._show_settings(topic)

    def _show_settings(self, topic: Topic) -> Answer:
        own, node = self._nsqd.broker.settings_of(topic), self._nsqd.broker.settings
        effective = TopicSettings(
            node.retain_time_ns if own.retain_time_ns is None else own.retain_time_ns,
            node.retain_bytes if own.retain_bytes is None else own.retain_bytes,
            topic.durability,
        )
        return json_answer(
            {
                "topic": topic.name,
                "settings": _settings_json(own),
                "effective": _settings_json(effective),
            }
        )


def _limit(request: Request) -> int:
    text = request.query().get("limit")
    if text is None:
        return PEEK_LIMIT_DEFAULT
    try:
        limit = integer(text)
    except ValueError:
        limit = 0
    if not 1 <= limit <= PEEK_LIMIT_MAX:
        raise ApiError(400, "INVALID_ARG_LIMIT")
    return limit


def _message_json(sequence: int, frame: bytes, encoding: str) -> dict[str, Any]:
    """Describe a message; its body is text if it is UTF-8 and nobody wants it otherwise."""
    timestamp_ns, _, number, body = split_frame(frame)
    message: dict[str, Any] = {
        "sequence": sequence,
        "id": message_id(number).decode(),
        "timestamp": timestamp_ns,
    }
    try:
        if encoding == "auto":
            return {**message, "body": body.decode()}
    except UnicodeDecodeError:
        pass
    return {**message, "body_base64": base64.b64encode(body).decode()}


def _find(topic: Topic, number: int) -> int | None:
    """Return the message with an id: from the log, or a straggler that the log let go of."""
    sequence = topic.log.sequence_of(number)
    if sequence is not None:
        return sequence
    found = (channel.straggler_of(number) for channel in topic.channels.values())
    return next((sequence for sequence in found if sequence is not None), None)


def _state_word(topic: Topic, state: MessageState, sequence: int) -> str:
    """Return what became of a message, by what the topic knows beyond its channel."""
    if state.state in ("finished", "skipped"):
        if topic.is_lost(sequence):
            return "lost"
        if sequence in topic.emptied:
            return "emptied"
        return "finished"
    return state.state


def _setting(name: str, text: str, read: Callable[[str], T]) -> T | None:
    if text == DEFAULT_WORD:
        return None
    try:
        return read(text)
    except ValueError:
        raise ApiError(400, f"INVALID_ARG_{name}") from None


def _not_negative(read: Callable[[str], int]) -> Callable[[str], int]:
    def checked(text: str) -> int:
        number = read(text)
        if number < 0:
            raise ValueError(text)
        return number

    return checked


def _durability(text: str) -> Durability:
    if text not in (Durability.OS.value, Durability.FSYNC.value):
        raise ValueError(text)
    return Durability(text)


def _name_of(channel: Channel) -> str:
    return channel.name


def _settings_json(settings: TopicSettings) -> dict[str, Any]:
    return {
        "retain_time": settings.retain_time_ns,
        "retain_bytes": settings.retain_bytes,
        "durability": settings.durability.value if settings.durability is not None else None,
    }
