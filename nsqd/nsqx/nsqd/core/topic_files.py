"""
The files of a topic besides its log: where its channels stand, and what the log can't tell.

    state              what was emptied, the topic's own settings; synced
    passed             up to where messages were passed on; not synced, see `save_passed`
    NAME.channel*      a channel's, see `ChannelStore`
"""

from collections.abc import Callable
from typing import Any

from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.core.topic_settings import TopicSettings
from nsqx.nsqd.log.channel_store import ChannelStore, Snapshot
from nsqx.nsqd.log.journal import decode_checkpoint, encode_checkpoint
from nsqx.nsqd.log.storage import Storage

__all__ = ["CHANNEL_SUFFIX", "TOPICS_FOLDER", "TOPIC_SUFFIX", "TopicFiles", "topic_folder"]

TOPICS_FOLDER = "topics"
TOPIC_SUFFIX = ".topic"
CHANNEL_SUFFIX = ".channel"
_STATE_NAME = "state"
_PASSED_NAME = "passed"


def topic_folder(name: str) -> str:
    """Return the folder of a topic."""
    return f"{TOPICS_FOLDER}/{name}{TOPIC_SUFFIX}"


class TopicFiles:
    """Reads and writes them. What needs the disk raises OSError if it refuses."""

    def __init__(self, storage: Storage, topic: Topic) -> None:
        self.folder = topic_folder(topic.name)
        self.stores: dict[str, ChannelStore] = {}  # of the channels, by name
        self.settings = TopicSettings()
        self._storage = storage
        self._topic = topic
        self._saved_passed = 0

    # Channels

    def new_store(self, channel_name: str) -> ChannelStore:
        """Return a store; it is to be put into `stores` once there is a channel for it."""
        return ChannelStore(self._storage, f"{self.folder}/{channel_name}{CHANNEL_SUFFIX}")

    def snapshot(self, channel: Channel) -> Snapshot:
        """Return where a channel stands."""
        waiting, deferred = channel.waiting(), channel.deferred_messages()
        return Snapshot(channel.cursor, self._topic.passed, waiting, deferred)

    def journals(self) -> dict[str, list[int]]:
        """Return the numbers of the journals that are there, by channel."""
        journals: dict[str, list[int]] = {}
        for name in self._storage.list(self.folder):
            channel, suffix, rest = name.rpartition(f"{CHANNEL_SUFFIX}.")
            number = rest.removesuffix(".journal")
            if suffix and number.isdecimal():
                journals.setdefault(channel, []).append(int(number))
        return journals

    def begin_sync(self) -> Callable[[], None]:
        """Return what makes durable, in another thread, what the journals say by now."""
        syncs = [store.journal.begin_sync() for store in self.stores.values()]

        def sync() -> None:
            for sync_one in syncs:
                sync_one()
            self._storage.sync_folder(self.folder)

        return sync

    # The topic

    def state(self) -> tuple[str, bytes]:
        """Return the path and the content of what can't be told from the log."""
        content = encode_checkpoint(
            {
                "passed": self._topic.passed,
                "emptied": list(self._topic.emptied),
                "settings": self.settings.to_fields(),
            }
        )
        return f"{self.folder}/{_STATE_NAME}", content

    def save_state(self) -> None:
        """Keep what can't be told from the log."""
        if not self._topic.is_ephemeral:
            self._storage.replace_file(*self.state())
        self._topic.is_state_stale = False

    def save_passed(self) -> None:
        """
        Keep up to where messages were passed on, if no channel does.

        Ephemeral channels keep nothing: after a crash the next one would get it all again.
        """
        topic = self._topic
        is_kept = topic.is_ephemeral or self.stores or not topic.channels
        if not is_kept and topic.passed != self._saved_passed:
            content = encode_checkpoint({"passed": topic.passed})
            self._storage.replace_file(f"{self.folder}/{_PASSED_NAME}", content, sync=False)
            self._saved_passed = topic.passed

    def load_state(self, warn: Callable[[str], None]) -> int:
        """
        Take up what was emptied and set.

        Returns:
            Up to where messages had been passed on at least.
        """
        topic = self._topic
        state = self._read(_STATE_NAME, warn)
        self.settings = TopicSettings.from_fields(state.get("settings") or {})
        for start, end in state.get("emptied") or ():
            topic.emptied.add(start, end)
            topic.skips.add(start, end)
        saved = (state, self._read(_PASSED_NAME, warn))
        return max(int(fields.get("passed", 0)) for fields in saved)

    def _read(self, name: str, warn: Callable[[str], None]) -> dict[str, Any]:
        try:
            content = self._storage.read_file(f"{self.folder}/{name}")
        except FileNotFoundError:
            return {}
        state = decode_checkpoint(content)
        if state is None:
            warn(f"topic {self._topic.name}: its file {name} is damaged and was not used")
        return state or {}
