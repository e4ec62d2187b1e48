"""
The files of a node besides its topics: ``nsqd.dat``, the trash, and names that are to be synced.

A topic is there when its folder is, a channel when its checkpoint is; so to make one costs the same
whatever else there is. ``nsqd.dat`` is written once a second at most, for Go's nsqd and for people.
What it names and is not there is taken up, too (it may come from a Go nsqd), unless it was deleted
since: the trash knows that. What is paused stands in the topics' state files, and here.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

from nsqx.nsqd.core.metadata import ChannelEntry, TopicEntry, decode_metadata, encode_metadata
from nsqx.nsqd.core.topic_files import (
    CHANNEL_SUFFIX,
    TOPIC_SUFFIX,
    TOPICS_FOLDER,
    TopicFiles,
    topic_folder,
)
from nsqx.nsqd.log.formats import COMMITS, DataFormat
from nsqx.nsqd.log.replacement import (
    TEMPORARY_SUFFIX,
    folder_of,
    replace_file,
    sync_file,
    write_synced,
)
from nsqx.nsqd.log.segment import SEGMENT_FILE
from nsqx.nsqd.log.storage import NO_ROOM, Storage
from nsqx.nsqd.log.trash import Trash
from nsqx.protocol.names import is_ephemeral, is_valid_name

__all__ = ["METADATA_PATH", "NodeFiles", "TopicNames"]

# A topic, whether it is paused, and the same of its channels.
TopicNames: TypeAlias = tuple[str, bool, list[tuple[str, bool]]]

METADATA_PATH = "nsqd.dat"
# What format 1 had besides: folders about to be removed, and temporary files.
_OLD_DELETED_SUFFIX = ".deleted"
_OLD_TEMPORARIES = ("next", "next.tmp", "tmp")
_OLD_PROBE = "probe"


_APPLE_DOUBLE_PREFIX = "._"
_APPLE_DOUBLE = b"\0\x05\x16\x07"
# What a topic's folder has. Anything else is somebody else's.
_TOPIC_FILE = re.compile(
    rf"{SEGMENT_FILE.pattern}|state|passed|.+\.tmp"
    r"|.+\.channel|.+\.channel\.([0-9]+\.journal|stragglers|bad)"
)


class NodeFiles:
    """Keeps them. What needs the disk raises OSError if it refuses, or tells ``wrote`` later."""

    def __init__(
        self,
        storage: Storage,
        version: str,
        names: Callable[[], list[TopicNames]],
        *,
        random_bits: Callable[[int], int],
        wrote: Callable[[OSError | None], None],
        warn: Callable[[str], None],
    ) -> None:
        """``names`` returns what is there now, without what is ephemeral."""
        self.node_id = ""  # from `load` on
        self._format: DataFormat | None = None  # from `load` on
        self._is_format_saved = True
        self.trash = Trash(storage, self._could_not_delete)
        self._storage = storage
        self._version = version
        self._names = names
        self._random_bits = random_bits
        self._wrote = wrote
        self._warn = warn
        self._saved = b""  # what ``nsqd.dat`` has
        self._is_stale = False
        self._is_saving = False
        self._is_closed = False
        self._new_names: dict[str, None] = {}  # files and folders to be synced, in order
        self._unsynced: dict[TopicFiles, None] = {}
        self._is_syncing = False

    # Start

    def load(self) -> list[TopicEntry]:
        """
        Return the topics and channels that are there.

        A folder of format 1 becomes one of format 2 here. That is written down in one step, and
        what was done before it is right for both.

        Raises:
            DataFormatError: the folder is of a newer format. Nothing was changed.
            MetadataError: ``nsqd.dat`` is damaged. It is left as it is.
        """
        data_format = DataFormat.read(self._storage)
        try:
            self._saved = self._storage.read_file(METADATA_PATH)
        except FileNotFoundError:
            entries = []
        else:
            entries = decode_metadata(self._saved)
        buried = self.trash.open()
        if data_format is None:
            self._upgrade(entries)
            data_format = self._format = DataFormat(f"{self._random_bits(128):032x}")
            self._is_format_saved = False
            self._save_format()
        self._format = data_format
        self.node_id = data_format.node_id
        return self._with_found(entries, buried)

    def _save_format(self) -> None:
        """
        Mark the folder, now or when the disk has room: whoever makes room has to start.

        Until then it is what an upgrade that was broken off leaves behind.
        """
        if not self._is_format_saved:
            assert self._format is not None
            try:
                self._format.write(self._storage)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self._wrote(error)
            else:
                self._is_format_saved = True

    def mark_commits(self, has_files: bool) -> None:
        """
        Note that there are commit files, or none.

        Raises:
            OSError: the disk refused. If there are none, and there is no room to say so, that is
                no error: it is noted when there is.
        """
        assert self._format is not None
        needs = self._format.needs - {COMMITS}
        if has_files:
            needs |= {COMMITS}
        if needs == self._format.needs:
            return
        marked = replace(self._format, needs=needs)
        if has_files:
            marked.write(self._storage)
            self._format, self._is_format_saved = marked, True
        else:
            self._format, self._is_format_saved = marked, False
            self._save_format()

    def _upgrade(self, entries: Iterable[TopicEntry]) -> None:
        """
        Remove what format 1 was about to remove when it ended, and would have done by now.

        It removed the checkpoint of a channel first: what is left without one is none, unless it is
        named. Nothing else has to change, only to be read in the old way where it is old.
        """
        named = {(entry.name, channel.name) for entry in entries for channel in entry.channels}
        for folder in self._storage.list_folders(TOPICS_FOLDER):
            path = f"{TOPICS_FOLDER}/{folder}"
            if folder.endswith(_OLD_DELETED_SUFFIX):
                self.trash.take(path)
                continue
            files = self._storage.list(path)
            for file in files:
                channel, suffix, rest = file.rpartition(f"{CHANNEL_SUFFIX}.")
                checkpoint = channel + CHANNEL_SUFFIX
                is_left = checkpoint not in files
                is_left &= (folder.removesuffix(TOPIC_SUFFIX), channel) not in named
                if suffix and (is_left or rest in _OLD_TEMPORARIES):
                    self.trash.take(f"{path}/{file}")
        self.trash.take(_OLD_PROBE)

    def _with_found(
        self, entries: Iterable[TopicEntry], buried: set[tuple[str, str]]
    ) -> list[TopicEntry]:
        """Add what is on disk and not named, and leave out what was deleted since."""
        known = {entry.name: entry for entry in entries if (entry.name, "") not in buried}
        for entry in known.values():
            entry.channels = [
                each for each in entry.channels if (entry.name, each.name) not in buried
            ]
        folders = set(self._storage.list_folders(TOPICS_FOLDER))
        for name in self._storage.list(TOPICS_FOLDER):
            topic_name = name.removesuffix(TOPIC_SUFFIX)
            if name in folders and name.endswith(TOPIC_SUFFIX) and _is_kept(topic_name):
                entry = known.setdefault(topic_name, TopicEntry(topic_name))
                self._add_channels(entry, buried)
            else:
                known.pop(topic_name, None)  # there is no room for such a topic
                self._warn(f"{TOPICS_FOLDER}/{name} is not a topic's folder; it is left alone")
        return [entry for entry in known.values() if self._is_kept_or_said(entry.name)]

    def _add_channels(self, entry: TopicEntry, buried: set[tuple[str, str]]) -> None:
        """
        Add those that are not named.

        Any file of a channel is one, if it was not deleted; but for one that was being written
        when a crash came, which was to take the place of another.
        """
        named = {channel.name for channel in entry.channels}
        folder = topic_folder(entry.name)
        files = set(self._storage.list_files(folder))
        for file in self._storage.list(folder):
            is_ours = file in files and _TOPIC_FILE.fullmatch(file) is not None
            if not is_ours or self._is_apple_double(folder, file):
                self._warn(f"{folder}/{file} is not a file of nsqd; it is left alone")
                continue
            name, suffix, rest = f"{file}.".rpartition(f"{CHANNEL_SUFFIX}.")
            is_whole = bool(suffix) and not file.endswith(TEMPORARY_SUFFIX)
            is_there = is_whole and (not rest or (entry.name, name) not in buried)
            if is_there and name not in named and _is_kept(name):
                named.add(name)
                entry.channels.append(ChannelEntry(name))

    def _is_apple_double(self, folder: str, file: str) -> bool:
        """Return whether it is what a Mac puts beside a file; its name is one of a channel, too."""
        return file.startswith(_APPLE_DOUBLE_PREFIX) and self._storage.read_file(
            f"{folder}/{file}"
        ).startswith(_APPLE_DOUBLE)

    def _is_kept_or_said(self, name: str) -> bool:
        if not is_valid_name(name):
            self._warn(f"skipping creation of invalid topic {name}")
        return _is_kept(name)

    # nsqd.dat

    def close(self) -> dict[str, bytes]:
        """Return what is to be written at the end, by its path. Nothing is done after that."""
        self._is_closed = True
        return {METADATA_PATH: self._encode(self._names())}

    def save(self) -> None:
        """Write ``nsqd.dat`` if it is not right; if there is no room, `upkeep` tries again."""
        content = self._encode(self._names())
        if content != self._saved:
            try:
                replace_file(self._storage, METADATA_PATH, content)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self._is_stale = True
                self._wrote(error)
                return
        self._is_stale = False
        self._saved = content
        self.trash.unearth(self.trash.take_tombstones())

    def _encode(self, names: list[TopicNames]) -> bytes:
        """Return what ``nsqd.dat`` is to have, sorted; 3 us a name."""
        entries = [
            TopicEntry(topic, is_paused, [ChannelEntry(*channel) for channel in sorted(channels)])
            for topic, is_paused, channels in sorted(names)
        ]
        return encode_metadata(entries, self._version)

    def changed(self) -> None:
        """``nsqd.dat`` is not right any more."""
        self._is_stale = True

    def made(self, path: str) -> None:
        """A topic's folder or a channel's checkpoint is new."""
        self._new_names[path] = None
        self._is_stale = True

    def delete_topic(self, name: str) -> None:
        """Remove the folder of a topic. OSError if the disk refuses: then it is as it was."""
        self.trash.bury(topic_folder(name), name)
        self._is_stale = True

    def sync_deletion(self) -> None:
        """Return when no loss of power can bring a deleted topic back. Blocks; OSError."""
        self._storage.sync_folder(TOPICS_FOLDER)
        self.trash.sync()

    def upkeep(self) -> None:
        """Have ``nsqd.dat`` written and new names synced, off the event loop."""
        try:
            self._save_format()
        except OSError as error:
            self._wrote(error)
        if self._is_stale and not self._is_saving:
            self._is_saving = True
            self._is_stale = False
            self._save_in_background()

    def _save_in_background(self) -> None:
        names, tombstones = self._names(), self.trash.take_tombstones()
        new_names, self._new_names = self._new_names, {}
        temporary = self.trash.new_path()

        def write() -> bytes | None:
            self._sync_names(new_names)
            content = self._encode(names)
            if content == self._saved:
                return None
            write_synced(self._storage, temporary, content)
            return content

        def written(content: bytes | None, error: BaseException | None) -> None:
            if self._is_closed:
                return
            try:
                if error is not None:
                    raise error
                if content is not None:
                    self._storage.rename(temporary, METADATA_PATH)
                    self._saved = content
            except OSError as refusal:
                self.trash.drop(temporary)
                self._new_names = new_names | self._new_names
                failed(refusal)
            else:
                self._storage.submit(sync, synced)

        def sync() -> None:
            self._storage.sync_folder("")
            self.trash.sync()

        def synced(_: None, error: BaseException | None) -> None:
            if isinstance(error, OSError):
                failed(error)
            elif error is not None:
                raise error
            else:
                self._is_saving = False
                self.trash.unearth(tombstones)

        def failed(error: OSError) -> None:
            self._is_saving = False
            self._is_stale = True
            self.trash.put_back(tombstones)
            self._wrote(error)

        self._storage.submit(write, written)

    def _sync_names(self, paths: Iterable[str]) -> None:
        """Have new names survive a loss of power, and what they name."""
        folders: dict[str, None] = {}
        for path in paths:
            try:
                if path.endswith(CHANNEL_SUFFIX):
                    sync_file(self._storage, path)
            except FileNotFoundError:  # deleted meanwhile
                continue
            folders[folder_of(path)] = None
        for folder in folders:
            try:
                self._storage.sync_folder(folder)
            except FileNotFoundError:
                continue

    # Journals

    def written(self, files: TopicFiles) -> None:
        """Channels of a topic wrote something."""
        self._unsynced[files] = None

    def forget(self, files: TopicFiles) -> None:
        """A topic was deleted."""
        self._unsynced.pop(files, None)

    def sync_journals(self) -> None:
        """Have what channels wrote survive a loss of power, off the event loop."""
        if self._is_syncing or not self._unsynced:
            return
        self._is_syncing = True
        unsynced, self._unsynced = self._unsynced, {}
        syncs = {files: files.begin_sync() for files in unsynced}
        failed: list[OSError] = []

        def sync() -> None:
            for sync_one in syncs.values():
                try:
                    sync_one()
                except FileNotFoundError:
                    continue  # deleted meanwhile
                except OSError as error:  # a checkpoint follows, which ends the doubt
                    failed.append(error)

        def synced(_: None, error: BaseException | None) -> None:
            self._is_syncing = False
            if error is not None:
                raise error
            for refusal in failed:
                self._wrote(refusal)

        self._storage.submit(sync, synced)

    def _could_not_delete(self, error: OSError) -> None:
        self._warn(f"failed to remove the files of what was deleted - {error}")


def _is_kept(name: str) -> bool:
    return is_valid_name(name) and not is_ephemeral(name)
