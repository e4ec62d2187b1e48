"""
Settings of one topic or channel, by the table of settings (docs/http-api.md).

    GET, POST  /topic/settings    topic, and a parameter for each setting
    GET, POST  /channel/settings  topic, channel, and a parameter for each setting
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.settings import Settings
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.http.arguments import existing_channel, existing_topic, topic_name
from nsqx.nsqd.http.node import HttpNode
from nsqx.runtime.http.server import Answer, ApiError, Handler, Request, Router, json_answer
from nsqx.runtime.settings import Scope, Setting, of_scope

__all__ = ["SettingsEndpoints"]


class SettingsEndpoints:
    """Shows and changes them."""

    def __init__(self, nsqd: HttpNode) -> None:
        self._nsqd = nsqd

    def add_to(self, router: Router[Handler]) -> None:
        """Add the routes."""
        router.add("GET", "/topic/settings", self._get_topic)
        router.add("POST", "/topic/settings", self._set_topic)
        router.add("GET", "/channel/settings", self._get_channel)
        router.add("POST", "/channel/settings", self._set_channel)

    # Topics

    async def _get_topic(self, request: Request) -> Answer:
        return self._topic_answer(existing_topic(self._nsqd.broker, topic_name(request)))

    async def _set_topic(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        topic = existing_topic(broker, topic_name(request))
        if topic.is_ephemeral:
            raise ApiError(400, "EPHEMERAL_TOPIC")
        settings = self._changed(Scope.TOPIC, broker.settings_of(topic), request)
        try:
            broker.configure(topic, settings)
        except OSError as error:
            raise ApiError(503, "DISK_FAILED") from error
        return self._topic_answer(topic)

    def _topic_answer(self, topic: Topic) -> Answer:
        own = self._nsqd.broker.settings_of(topic)
        effective = {**self._effective(Scope.TOPIC, own), "durability": topic.durability.value}
        return json_answer(
            {
                "topic": topic.name,
                "settings": _shown(Scope.TOPIC, own),
                "effective": effective,
            }
        )

    # Channels

    async def _get_channel(self, request: Request) -> Answer:
        return self._channel_answer(*existing_channel(self._nsqd.broker, request))

    async def _set_channel(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        topic, channel = existing_channel(broker, request)
        if topic.is_ephemeral or channel.is_ephemeral:
            raise ApiError(400, "EPHEMERAL_CHANNEL")
        settings = self._changed(Scope.CHANNEL, broker.channel_settings(topic, channel), request)
        try:
            broker.configure_channel(topic, channel, settings)
        except OSError as error:
            raise ApiError(503, "DISK_FAILED") from error
        return self._channel_answer(topic, channel)

    def _channel_answer(self, topic: Topic, channel: Channel) -> Answer:
        own = self._nsqd.broker.channel_settings(topic, channel)
        return json_answer(
            {
                "topic": topic.name,
                "channel": channel.name,
                "settings": _shown(Scope.CHANNEL, own),
                "effective": self._effective(Scope.CHANNEL, own),
            }
        )

    # Both

    def _changed(self, scope: Scope, settings: Settings, request: Request) -> Settings:
        """Return settings with those that a request gives; 400 if one of them is none."""
        query, options = request.query(), asdict(self._nsqd.options)
        changed: dict[str, Any] = dict(settings)
        for setting in of_scope(scope):
            text = query.get(setting.name)
            if text is not None:
                changed[setting.key] = _value(setting, text, options)
        return {key: value for key, value in changed.items() if value is not None}

    def _effective(self, scope: Scope, own: Settings) -> dict[str, Any]:
        options = self._nsqd.options
        return {
            setting.name: own.get(setting.key, getattr(options, setting.name))
            for setting in of_scope(scope)
        }


def _value(setting: Setting, text: str, options: Mapping[str, Any]) -> Any:
    try:
        return setting.parse(text, options)
    except ValueError:
        raise ApiError(400, f"INVALID_ARG_{setting.name.upper()}") from None


def _shown(scope: Scope, own: Settings) -> dict[str, Any]:
    return {setting.name: own.get(setting.key) for setting in of_scope(scope)}
