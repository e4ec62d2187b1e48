"""
What the log needs of a disk. The only way from the core to files.

`nsqx.nsqd.edge.files` implements it on the operating system, the tests on a simulated disk that
forgets what was not synced, tears writes and flips bits. Paths are relative to the data
folder, with ``/`` between parts, and are built from validated names only.
"""

import errno
from collections.abc import Callable
from typing import Protocol, TypeVar

from nsqx.protocol.errors import NsqxError

__all__ = ["NO_ROOM", "File", "Storage", "WouldBlockError"]

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

T = TypeVar("T")


class WouldBlockError(NsqxError):
    """A read that may not block would have to wait for the disk."""


class File(Protocol):
    """One open file. Reads and writes are positioned, so no position is shared."""

    def write_at(self, data: bytes, offset: int) -> None:
        """
        Write all of ``data``.

        Raises:
            OSError: nothing, part or all may have been written.
        """

    def write_synced(self, data: bytes, offset: int) -> None:
        """
        Do what `write_at` and `sync` do, if it can be in one.

        Raises:
            OSError: nobody knows how much of it will be there after a loss of power.
        """

    def read_at(self, size: int, offset: int, *, may_block: bool = True) -> bytes:
        """
        Read up to ``size`` bytes; fewer only at the end of the file.

        Raises:
            WouldBlockError: ``may_block`` is false and the bytes are not in memory.
            OSError: the disk failed.
        """

    def size(self) -> int:
        """Return the length in bytes."""

    def truncate(self, size: int) -> None:
        """Cut the file."""

    def sync(self) -> None:
        """Return when all that was written is on stable storage. Blocks; OSError if it failed."""

    def close(self) -> None:
        """Release the file. It may not be used again."""


class Storage(Protocol):
    """
    A folder of files.

    Attributes:
        weakness: why a loss of power may take names that were synced; empty if it may not.
    """

    weakness: str

    @property
    def free_bytes(self) -> int | None:
        """How much can still be written; None if that is not known. Blocks."""

    def open(self, path: str, *, create: bool = False) -> File:
        """
        Open for reading and writing; with ``create`` a new, empty file if there is none.

        Raises:
            FileNotFoundError: it does not exist and ``create`` is false.
        """

    def read_file(self, path: str) -> bytes:
        """Return the whole content; FileNotFoundError if there is none."""

    def write_file(self, path: str, data: bytes) -> None:
        """
        Make this the content of a file, as a step of `replacement.replace_file`.

        Raises:
            OSError: the disk refused. The file may be there with a part of it.
        """

    def list_folders(self, path: str) -> list[str]:
        """Return the sorted names of the folders in a folder; empty if there is no such folder."""

    def list_files(self, path: str) -> list[str]:
        """Return the sorted names of the regular files in a folder; empty if there is none."""

    def list(self, path: str) -> list[str]:
        """Return the sorted names in a folder; empty if there is no such folder."""

    def make_folder(self, path: str) -> None:
        """Create a folder and its parents, if missing."""

    def rename(self, old: str, new: str) -> None:
        """Rename a file or folder, replacing a file that is there."""

    def remove(self, path: str) -> None:
        """Remove a file; none there is fine."""

    def remove_tree(self, path: str) -> None:
        """Remove a file, or a folder with all it holds; none there is fine. Blocks."""

    def sync_folder(self, path: str) -> None:
        """Return when the names in a folder survive a loss of power. Blocks."""

    def submit(
        self,
        work: Callable[[], T],
        done: Callable[[T | None, BaseException | None], None],
        *,
        is_urgent: bool = False,
    ) -> None:
        """
        Run ``work`` where it may block, then ``done(result, None)`` or ``done(None, error)``.

        What is urgent does not wait for what is not; one such work at a time.
        ``done`` runs like any other event of the core, never while another one runs.
        """
