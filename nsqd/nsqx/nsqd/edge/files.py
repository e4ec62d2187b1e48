"""Storage on the operating system's files: the real implementation of `log.storage.Storage`."""

import contextlib
import errno
import os
import shutil
from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from nsqx.nsqd.log.storage import File, WouldBlockError

__all__ = ["FileStorage"]

T = TypeVar("T")

_NO_WAIT = getattr(os, "RWF_NOWAIT", 0)
_SYNCED = getattr(os, "RWF_DSYNC", 0)
# Not in this file system, or refused by a filter of system calls.
_UNSUPPORTED = (errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EACCES)
_FILE_MODE = 0o600


def _ignore(text: str) -> None:
    """Nobody is to be told."""


class FileStorage:
    """
    A folder on disk.

    What may block runs in threads of its own, so reads, syncs and removals of many topics
    overlap without occupying the event loop.
    """

    def __init__(
        self,
        root: Path,
        loop: AbstractEventLoop,
        *,
        threads: int = 4,
        warn: Callable[[str], None] = _ignore,
    ) -> None:
        """``warn`` is told, once, what the operating system refuses that there is a way round."""
        self.root = root
        self.weakness = ""
        self._warn = warn
        self._reading = _Reading(self._said_later)
        self._prefix = f"{root}/"  # joining paths by pathlib costs 30 us, ours are plain
        self._loop = loop
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="storage")
        self._urgent = ThreadPoolExecutor(1, thread_name_prefix="commit")

    def open(self, path: str, *, create: bool = False) -> File:
        """See `Storage.open`."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        full_path = self._prefix + path
        return _OsFile(os.open(full_path, flags, _FILE_MODE), full_path, self._reading)

    @property
    def free_bytes(self) -> int:
        """See `Storage.free_bytes`."""
        disk = os.statvfs(self.root)
        return disk.f_bavail * disk.f_frsize

    def read_file(self, path: str) -> bytes:
        """See `Storage.read_file`."""
        with open(self._prefix + path, "rb", buffering=0) as file:
            return file.read()

    def write_file(self, path: str, data: bytes) -> None:
        """See `Storage.write_file`."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(self._prefix + path, flags, _FILE_MODE)
        try:
            _write_all(descriptor, data, 0)
        finally:
            os.close(descriptor)

    def list_folders(self, path: str) -> list[str]:
        """See `Storage.list_folders`."""
        return self._list(path, os.DirEntry.is_dir)

    def list_files(self, path: str) -> list[str]:
        """See `Storage.list_files`."""
        return self._list(path, os.DirEntry.is_file)

    def _list(self, path: str, is_wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
        try:
            with os.scandir(self._prefix + path) as entries:
                return sorted(entry.name for entry in entries if is_wanted(entry))
        except FileNotFoundError:
            return []

    def list(self, path: str) -> list[str]:
        """See `Storage.list`."""
        try:
            return sorted(os.listdir(self.root / path))
        except FileNotFoundError:
            return []

    def make_folder(self, path: str) -> None:
        """See `Storage.make_folder`."""
        (self.root / path).mkdir(parents=True, exist_ok=True)

    def rename(self, old: str, new: str) -> None:
        """See `Storage.rename`."""
        os.replace(self._prefix + old, self._prefix + new)

    def remove(self, path: str) -> None:
        """See `Storage.remove`."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._prefix + path)

    def remove_tree(self, path: str) -> None:
        """See `Storage.remove_tree`."""
        target = self.root / path
        with contextlib.suppress(FileNotFoundError):
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink()

    def sync_folder(self, path: str) -> None:
        """See `Storage.sync_folder`; where folders can't be synced that is a `weakness`."""
        try:
            _sync_folder(self.root / path)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            if not self.weakness:
                self.weakness = (
                    f"names in {error.filename} can't be synced ({error.strerror}), so a loss of "
                    "power may take what was acknowledged; choose another file system"
                )
                self._said_later(self.weakness)

    def submit(
        self,
        work: Callable[[], T],
        done: Callable[[T | None, BaseException | None], None],
        *,
        is_urgent: bool = False,
    ) -> None:
        """See `Storage.submit`."""

        def finished(future: Future[T]) -> None:
            error = future.exception()
            result = future.result() if error is None else None
            with contextlib.suppress(RuntimeError):  # the loop closed: nobody waits any more
                self._loop.call_soon_threadsafe(done, result, error)

        pool = self._urgent if is_urgent else self._pool
        with contextlib.suppress(RuntimeError):  # closed: nothing new is begun any more
            pool.submit(work).add_done_callback(finished)

    def _said_later(self, text: str) -> None:
        """Tell it on the event loop; this may be another thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._warn, text)

    def close(self) -> None:
        """Wait for what was submitted."""
        self._urgent.shutdown(wait=True)
        self._pool.shutdown(wait=True)


class _Reading:
    """Whether the operating system says that a read would have to wait."""

    __slots__ = ("_say", "can_tell")

    def __init__(self, say: Callable[[str], None]) -> None:
        self.can_tell = bool(_NO_WAIT)
        self._say = say

    def refused(self, path: str, error: OSError) -> None:
        """From now on what may wait is always read in a thread."""
        if self.can_tell:
            self.can_tell = False
            self._say(
                f"reads that do not wait are refused (preadv2 of {path}: {error.strerror}), so "
                "older messages are read in threads, which is slower; allow the system call preadv2"
            )


class _OsFile:
    __slots__ = ("_descriptor", "_path", "_reading")

    def __init__(self, descriptor: int, path: str, reading: _Reading) -> None:
        self._descriptor = descriptor
        self._path = path
        self._reading = reading

    def write_at(self, data: bytes, offset: int) -> None:
        written = os.pwrite(self._descriptor, data, offset)
        if written != len(data):
            _write_all(self._descriptor, data[written:], offset + written)

    def write_synced(self, data: bytes, offset: int) -> None:
        try:
            if _SYNCED and os.pwritev(self._descriptor, [data], offset, _SYNCED) == len(data):
                return
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise OSError(error.errno, error.strerror, self._path) from error
        self.write_at(data, offset)
        self.sync()

    def read_at(self, size: int, offset: int, *, may_block: bool = True) -> bytes:
        if may_block or not _NO_WAIT:
            return _read_all(self._descriptor, size, offset)
        if not self._reading.can_tell:
            raise WouldBlockError
        buffer = bytearray(size)
        try:
            count = os.preadv(self._descriptor, [buffer], offset, _NO_WAIT)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                self._reading.refused(self._path, error)
            elif error.errno != errno.EAGAIN:
                raise
            raise WouldBlockError from None
        if count == size:
            return bytes(buffer)
        if offset + count < self.size():
            raise WouldBlockError  # only a part is in memory
        return bytes(buffer[:count])

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from error

    def close(self) -> None:
        os.close(self._descriptor)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    written = os.pwrite(descriptor, data, offset)
    while written < len(data):
        more = os.pwrite(descriptor, data[written:], offset + written)
        if more == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += more


def _read_all(descriptor: int, size: int, offset: int) -> bytes:
    data = os.pread(descriptor, size, offset)
    if len(data) == size or not data:
        return data
    parts = [data]
    received = len(data)
    while received < size and (data := os.pread(descriptor, size - received, offset + received)):
        parts.append(data)
        received += len(data)
    return b"".join(parts)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        os.close(descriptor)
