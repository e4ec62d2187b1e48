"""
The files of a topic besides its log: where its channels stand, and what the log can't tell.

    state              what was emptied, what is paused, the topic's own settings; synced
    passed             up to where messages were passed on; not synced, see `save_passed`
    NAME.channel*      a channel's, see `ChannelStore`
"""

import contextlib
from collections.abc import Callable
from typing import Any

from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.metadata import TopicEntry
from nsqx.nsqd.core.settings import Settings, kept_settings
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.log.channel_store import STRAGGLERS, ChannelStore, Snapshot
from nsqx.nsqd.log.journal import decode_checkpoint, encode_checkpoint
from nsqx.nsqd.log.limits import LOG_LIMITS, LogLimits
from nsqx.nsqd.log.replacement import replace_file
from nsqx.nsqd.log.storage import Storage
from nsqx.nsqd.log.trash import Trash

__all__ = ["CHANNEL_SUFFIX", "TOPICS_FOLDER", "TOPIC_SUFFIX", "TopicFiles", "topic_folder"]

TOPICS_FOLDER = "topics"
TOPIC_SUFFIX = ".topic"
CHANNEL_SUFFIX = ".channel"
_STATE_NAME = "state"
_PASSED_NAME = "passed"


def topic_folder(name: str) -> str:
    """Return the folder of a topic."""
    return f"{TOPICS_FOLDER}/{name}{TOPIC_SUFFIX}"


def _ignore(files: "TopicFiles") -> None:
    """Nobody syncs."""


class TopicFiles:
    """Reads and writes them. What needs the disk raises OSError if it refuses."""

    def __init__(
        self,
        storage: Storage,
        topic: Topic,
        trash: Trash,
        on_written: Callable[["TopicFiles"], None] = _ignore,
        limits: LogLimits = LOG_LIMITS,
    ) -> None:
        """``on_written`` is told that there is something to be synced by `begin_sync`."""
        self.folder = topic_folder(topic.name)
        self.stores: dict[str, ChannelStore] = {}  # of the channels, by name
        self.settings: Settings = {}
        self.channel_settings: dict[str, Settings] = {}  # of those that have some, by name
        self._storage = storage
        self._topic = topic
        self._trash = trash
        self._on_written = on_written
        self._limits = limits
        self._unsynced: dict[ChannelStore, None] = {}
        self._left_over: set[str] = set()  # channels of which a file could not be removed
        self._with_stragglers: set[str] = set()
        self._saved_passed = 0

    # Channels

    def open_store(self, channel_name: str) -> ChannelStore:
        """Return the store of a channel that is there, or to be put into `stores` once it is."""
        path = f"{self.folder}/{channel_name}{CHANNEL_SUFFIX}"
        store = ChannelStore(self._storage, path, self._trash, self._limits)

        def written() -> None:
            self._unsynced[store] = None
            self._on_written(self)

        store.on_written = written
        return store

    def begin_store(self, channel_name: str) -> ChannelStore:
        """Begin a channel at what was passed on. OSError if the disk refuses."""
        store = self.open_store(channel_name)
        passed = self._topic.passed
        is_clean = channel_name not in self._left_over
        store.begin(Snapshot(passed, passed, [], []), is_clean=is_clean)
        self._left_over.discard(channel_name)
        self.stores[channel_name] = store
        return store

    def bury(self, channel_name: str) -> ChannelStore | None:
        """
        Make a channel one that is not there any more; None if it never had files.

        `remove` follows. OSError if the disk refuses: then the channel is as it was.
        """
        store = self.stores.get(channel_name)
        if store is not None:
            self._trash.bury(store.path, self._topic.name, channel_name)
            del self.stores[channel_name]
            self._unsynced.pop(store, None)
        return store

    def remove(self, channel_name: str, store: ChannelStore) -> None:
        """
        Remove what is left of a channel; when this returns it is gone for good.

        Raises:
            OSError: the disk refused. A loss of power may bring the channel back.
        """
        self._left_over.add(channel_name)
        store.remove()
        self._left_over.discard(channel_name)
        self._storage.sync_folder(self.folder)
        self._trash.sync()

    def snapshot(self, channel: Channel) -> Snapshot:
        """Return where a channel stands."""
        backlog = channel.backlog
        undelivered, deferred = backlog.undelivered(), backlog.deferred_messages()
        return Snapshot(backlog.cursor, self._topic.passed, undelivered, deferred)

    def journals(self) -> dict[str, list[int]]:
        """Return the numbers of the journals that are there, by channel."""
        journals: dict[str, list[int]] = {}
        for name in self._storage.list(self.folder):
            channel, suffix, rest = name.rpartition(f"{CHANNEL_SUFFIX}.")
            number = rest.removesuffix(".journal")
            if suffix and number.isdecimal():
                journals.setdefault(channel, []).append(int(number))
            elif suffix and rest == STRAGGLERS:
                self._with_stragglers.add(channel)
        return journals

    def has_stragglers(self, channel_name: str) -> bool:
        """Return whether `journals` saw a file of stragglers."""
        return channel_name in self._with_stragglers

    def sweep(self, journals: dict[str, list[int]]) -> None:
        """Remove journals of channels that are gone: a crash stopped that before."""
        for channel_name in journals:
            self._left_over.add(channel_name)
            with contextlib.suppress(OSError):  # the next channel of this name tries again
                self.open_store(channel_name).begin_anew()
                self._left_over.discard(channel_name)

    def begin_sync(self) -> Callable[[], None]:
        """
        Return what makes durable, in another thread, what the journals say by now.

        And which segments are gone.
        """
        for store in [each for each in self._unsynced if each.journal.is_synced]:
            del self._unsynced[store]
        syncs = [store.journal.begin_sync() for store in self._unsynced]

        def sync() -> None:
            for sync_one in syncs:
                sync_one()
            self._storage.sync_folder(self.folder)
            self._trash.sync()

        return sync

    # The topic

    def state(self) -> tuple[str, bytes]:
        """Return the path and the content of what can't be told from the log."""
        content = encode_checkpoint(
            {
                "passed": self._topic.passed,
                "emptied": list(self._topic.emptied),
                "settings": dict(self.settings),
                "channels": self._channel_fields(),
                "is_paused": self._topic.is_paused,
                "paused": [name for name in self.stores if self._is_paused(name)],
            }
        )
        return f"{self.folder}/{_STATE_NAME}", content

    def _channel_fields(self) -> dict[str, Any]:
        return {
            name: {"settings": dict(settings)}
            for name, settings in self.channel_settings.items()
            if settings and name in self.stores
        }

    def _is_paused(self, channel_name: str) -> bool:
        channel = self._topic.channels.get(channel_name)
        return channel is not None and channel.is_paused

    def save_state(self) -> None:
        """Keep what can't be told from the log."""
        if not self._topic.is_ephemeral:
            replace_file(self._storage, *self.state())
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
            replace_file(self._storage, f"{self.folder}/{_PASSED_NAME}", content, sync=False)
            self._saved_passed = topic.passed

    def load_state(self, entry: TopicEntry, warn: Callable[[str], None]) -> int:
        """
        Take up what was emptied and set, and put into ``entry`` what is paused.

        Returns:
            Up to where messages had been passed on at least.
        """
        topic = self._topic
        state = self._read(_STATE_NAME, warn)
        self.settings = kept_settings(state.get("settings"))
        self.channel_settings = {
            name: kept_settings(fields.get("settings"))
            for name, fields in (state.get("channels") or {}).items()
        }
        for start, end in state.get("emptied") or ():
            topic.emptied.add(start, end)
            topic.skips.add(start, end)
        if "is_paused" in state:  # else `nsqd.dat` knows it, as in format 1
            entry.is_paused = state["is_paused"]
            paused = set(state["paused"])
            for channel in entry.channels:
                channel.is_paused = channel.name in paused
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
