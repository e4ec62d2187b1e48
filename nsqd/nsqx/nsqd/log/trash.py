"""
The trash: what was removed, and temporary files that are on their way to their place.

What is visible changes on the event loop only. To remove something is to rename it into the folder
``trash``; a thread then deletes it there, where nothing of the same name can be made meanwhile. And
a thread writes what is to take a name later to a file in the trash: whatever is left there by a
crash is nobody's.

    ~<number>                      a temporary file, or a file of a topic that goes on
    <topic>~<number>               a deleted topic, a folder
    <topic>~<channel>~<number>     the checkpoint of a deleted channel

The last two are *tombstones*: ``nsqd.dat`` may still name what was deleted, and as long as they are
there, such a name is not taken up again. They go when ``nsqd.dat`` was written anew.
"""

import errno
from collections.abc import Callable, Iterable

from nsqx.nsqd.log.storage import NO_ROOM, Storage

__all__ = ["TRASH_FOLDER", "Trash"]

TRASH_FOLDER = "trash"
_MARK = "~"  # no name of a topic or channel has it


class Trash:
    """Takes what is removed, and has it deleted."""

    def __init__(self, storage: Storage, failed: Callable[[OSError], None]) -> None:
        self._storage = storage
        self._failed = failed
        self._is_made = False
        self._next_number = 0
        self._tombstones: list[str] = []
        self._garbage: list[str] = []
        self._is_emptying = False

    def open(self) -> set[tuple[str, str]]:
        """
        Find what earlier processes left there.

        Returns:
            What was deleted and ``nsqd.dat`` may still name: topics as ``(topic, "")``, channels
            as ``(topic, channel)``.

        Raises:
            OSError: the folder can't be made or read, and that is not for want of room.
        """
        self._make()
        buried: set[tuple[str, str]] = set()
        for name in self._storage.list(TRASH_FOLDER):
            *names, number = name.split(_MARK)
            path = f"{TRASH_FOLDER}/{name}"
            if not names or len(names) > 2 or not number.isdecimal():
                continue  # not ours
            self._next_number = max(self._next_number, int(number) + 1)
            if names[0]:
                self._tombstones.append(path)
                buried.add((names[0], names[1] if len(names) > 1 else ""))
            else:
                self._garbage.append(path)
        return buried

    def _make(self) -> None:
        """Make the folder, now or when the disk has room for it: removing is what makes room."""
        if not self._is_made:
            self._is_made = TRASH_FOLDER in self._storage.list("")
        if not self._is_made:
            try:
                self._storage.make_folder(TRASH_FOLDER)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self._failed(error)
                return
            self._storage.sync_folder("")
            self._is_made = True

    def new_path(self) -> str:
        """Return a path for a temporary file that is used once."""
        self._make()
        return self._path("")

    def take(self, path: str) -> None:
        """Remove a file; none there is fine. OSError if the disk refuses: then nothing happened."""
        self._make()
        if not self._is_made:
            self._storage.remove_tree(path)
            return
        new = self._path("")
        try:
            self._storage.rename(path, new)
        except FileNotFoundError:
            return
        self._garbage.append(new)
        self.empty()

    def drop(self, temporary: str) -> None:
        """Remove a temporary file that nobody needs, if it is there."""
        self._garbage.append(temporary)
        self.empty()

    def bury(self, path: str, topic: str, channel: str = "") -> None:
        """
        Remove a topic's folder or a channel's checkpoint; ``nsqd.dat`` may still name it.

        Raises:
            OSError: the disk refused: then nothing happened.
        """
        self._make()
        if not self._is_made:
            raise OSError(errno.ENOSPC, "there is no room for a folder of what is removed")
        new = self._path(f"{topic}{_MARK}{channel}" if channel else topic)
        try:
            self._storage.rename(path, new)
        except FileNotFoundError:  # it was damaged, and set aside
            self._storage.write_file(new, b"")
        self._tombstones.append(new)

    def sync(self) -> None:
        """Return when what was removed stays so after a loss of power. Blocks."""
        if self._is_made:
            self._storage.sync_folder(TRASH_FOLDER)

    def take_tombstones(self) -> list[str]:
        """Return the tombstones of all that an ``nsqd.dat`` of now does not name any more."""
        tombstones, self._tombstones = self._tombstones, []
        return tombstones

    def put_back(self, tombstones: Iterable[str]) -> None:
        """``nsqd.dat`` could not be written: tombstones stay."""
        self._tombstones += tombstones

    def unearth(self, tombstones: Iterable[str]) -> None:
        """That ``nsqd.dat`` is on stable storage, so these tombstones say nothing any more."""
        self._garbage += tombstones
        self.empty()

    def empty(self) -> None:
        """Delete what is there, off the event loop."""
        if self._is_emptying or not self._garbage:
            return
        self._is_emptying = True
        garbage, self._garbage = self._garbage, []

        def delete() -> None:
            for path in garbage:
                self._storage.remove_tree(path)

        def deleted(_: None, error: BaseException | None) -> None:
            self._is_emptying = False
            if error is None:
                self.empty()
                return
            self._garbage += garbage  # tried again when more comes
            if not isinstance(error, OSError):
                raise error
            self._failed(error)

        self._storage.submit(delete, deleted)

    def _path(self, label: str) -> str:
        number = self._next_number
        self._next_number += 1
        return f"{TRASH_FOLDER}/{label}{_MARK}{number}"
