"""
The content of ``nsqd.dat``: which topics and channels exist and which are paused (section 12).

The same file that a Go nsqd keeps. No I/O here.
"""

import json
from dataclasses import dataclass, field

from nsqx.protocol.errors import NsqxError

__all__ = ["ChannelEntry", "MetadataError", "TopicEntry", "decode_metadata", "encode_metadata"]


class MetadataError(NsqxError, ValueError):
    """The content is not that of an ``nsqd.dat``."""


@dataclass(slots=True)
class ChannelEntry:
    """A channel that is not ephemeral."""

    name: str
    is_paused: bool = False


@dataclass(slots=True)
class TopicEntry:
    """A topic that is not ephemeral."""

    name: str
    is_paused: bool = False
    channels: list[ChannelEntry] = field(default_factory=list)


def encode_metadata(topics: list[TopicEntry], version: str) -> bytes:
    """Return the JSON, compact, keys in NSQ's order."""
    entries = [
        {
            "name": topic.name,
            "paused": topic.is_paused,
            "channels": [
                {"name": channel.name, "paused": channel.is_paused} for channel in topic.channels
            ]
            or None,
        }
        for topic in topics
    ]
    content = {"topics": entries or None, "version": version}
    return json.dumps(content, separators=(",", ":")).encode()


def decode_metadata(data: bytes) -> list[TopicEntry]:
    """
    Read the JSON. Names are not judged here.

    Raises:
        MetadataError: what is wrong with it.
    """
    try:
        content = json.loads(data)
        return [_topic_entry(entry) for entry in content["topics"] or ()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MetadataError(f"{type(error).__name__}: {error}") from error


def _topic_entry(entry: dict[str, object]) -> TopicEntry:
    channels = entry.get("channels") or ()
    if not isinstance(channels, list | tuple):
        raise TypeError("channels is not a list")
    return TopicEntry(
        _name_of(entry),
        entry.get("paused") is True,
        [ChannelEntry(_name_of(channel), channel.get("paused") is True) for channel in channels],
    )


def _name_of(entry: dict[str, object]) -> str:
    name = entry["name"]
    if not isinstance(name, str):
        raise TypeError("a name is not a string")
    return name
