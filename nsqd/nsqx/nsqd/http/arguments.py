"""The arguments of nsqd's endpoints, checked in NSQ's order (HTTP section 2)."""

from nsqx.nsqd.core.broker import (
    Broker,
    ChannelNotFoundError,
    TooManyError,
    TopicNotFoundError,
)
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.topic import Topic
from nsqx.protocol.names import is_valid_name
from nsqx.runtime.http.server import ApiError, Request

__all__ = [
    "boolean",
    "existing_channel",
    "existing_topic",
    "made_channel",
    "made_topic",
    "topic_and_channel_names",
    "topic_name",
    "valid_topic_name",
]

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def topic_name(request: Request) -> str:
    """Return the ``topic`` parameter, whatever it is; 400 MISSING_ARG_TOPIC without one."""
    try:
        return request.query()["topic"]
    except KeyError:
        raise ApiError(400, "MISSING_ARG_TOPIC") from None


def valid_topic_name(request: Request) -> str:
    """Return the ``topic`` parameter if it may name a topic; else also 400 INVALID_TOPIC."""
    name = topic_name(request)
    if not is_valid_name(name):
        raise ApiError(400, "INVALID_TOPIC")
    return name


def topic_and_channel_names(request: Request) -> tuple[str, str]:
    """Return both names; 400 MISSING_ARG_.. or INVALID_ARG_.. for the first that is wrong."""
    topic = topic_name(request)
    if not is_valid_name(topic):
        raise ApiError(400, "INVALID_ARG_TOPIC")
    channel = request.query().get("channel")
    if channel is None:
        raise ApiError(400, "MISSING_ARG_CHANNEL")
    if not is_valid_name(channel):
        raise ApiError(400, "INVALID_ARG_CHANNEL")
    return topic, channel


def made_topic(broker: Broker, name: str) -> Topic:
    """Return a topic, a new one if there is none; 503 TOO_MANY_TOPICS if there is no room."""
    try:
        return broker.get_topic(name)
    except TooManyError:
        raise ApiError(503, "TOO_MANY_TOPICS") from None


def made_channel(broker: Broker, topic: Topic, name: str) -> Channel:
    """Return a channel, a new one if there is none; 503 TOO_MANY_CHANNELS if there is no room."""
    try:
        return broker.get_channel(topic, name)
    except TooManyError:
        raise ApiError(503, "TOO_MANY_CHANNELS") from None


def existing_topic(broker: Broker, name: str) -> Topic:
    """Return a topic; 404 TOPIC_NOT_FOUND if there is none."""
    try:
        return broker.topic(name)
    except TopicNotFoundError:
        raise ApiError(404, "TOPIC_NOT_FOUND") from None


def existing_channel(broker: Broker, request: Request) -> tuple[Topic, Channel]:
    """Return the topic and the channel that a request names; 404 .._NOT_FOUND."""
    topic_text, channel_text = topic_and_channel_names(request)
    topic = existing_topic(broker, topic_text)
    try:
        return topic, broker.channel(topic, channel_text)
    except ChannelNotFoundError:
        raise ApiError(404, "CHANNEL_NOT_FOUND") from None


def boolean(request: Request, name: str, default: bool) -> bool:
    """Return a flag; what is neither true, 1, false nor 0 counts as true, as in NSQ."""
    text = request.query().get(name)
    return default if text is None else _BOOLEANS.get(text, True)
