"""
What the log makes possible and NSQ does not have (docs/http-api.md): moving a channel to any
message that is kept, and settings of a topic. Looks are in `peek`.

    GET  /topic/settings  topic
    POST /topic/settings  topic, retain_time, retain_bytes, durability
    POST /channel/create  topic, channel, from
    POST /channel/seek    topic, channel, to
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from nsqx.nsqd.core.topic import Durability, Topic
from nsqx.nsqd.core.topic_settings import TopicSettings
from nsqx.nsqd.http.arguments import (
    existing_channel,
    existing_topic,
    integer,
    topic_and_channel_names,
    topic_name,
)
from nsqx.nsqd.http.log_position import requested_position, sequence_at
from nsqx.nsqd.http.node import HttpNode
from nsqx.runtime.durations import parse_duration
from nsqx.runtime.http.server import (
    Answer,
    ApiError,
    Handler,
    Request,
    Router,
    empty,
    json_answer,
)

__all__ = ["HistoryEndpoints"]

DEFAULT_WORD = "default"

T = TypeVar("T")


class HistoryEndpoints:
    """Moves in the log, and for how long it is kept."""

    def __init__(self, nsqd: HttpNode) -> None:
        self._nsqd = nsqd

    def add_to(self, router: Router[Handler]) -> None:
        """Add the routes."""
        router.add("GET", "/topic/settings", self._get_settings)
        router.add("POST", "/topic/settings", self._set_settings)
        router.add("POST", "/channel/create", self._create_channel)
        router.add("POST", "/channel/seek", self._seek)

    # Channels

    async def _create_channel(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        topic_text, name = topic_and_channel_names(request)
        topic = existing_topic(broker, topic_text)
        if "from" in request.query() and name not in topic.channels:
            sequence = await self._sequence(topic, request, "from")
            topic = existing_topic(broker, topic_text)  # others ran meanwhile
            if name not in topic.channels:
                broker.seek(topic, broker.get_channel(topic, name), sequence)
        broker.get_channel(topic, name)
        return empty()

    async def _seek(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        topic, _ = existing_channel(broker, request)
        sequence = await self._sequence(topic, request, "to")
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

    async def _sequence(self, topic: Topic, request: Request, name: str) -> int:
        """Return the message at a place; a number beyond what is kept becomes the next one."""
        position = requested_position(request, name, self._nsqd.broker.clock.wall())
        sequence = await sequence_at(position, topic, self._nsqd.storage)
        return min(max(sequence, topic.log.first), topic.log.end)

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


def _settings_json(settings: TopicSettings) -> dict[str, Any]:
    return {
        "retain_time": settings.retain_time_ns,
        "retain_bytes": settings.retain_bytes,
        "durability": settings.durability.value if settings.durability is not None else None,
    }
