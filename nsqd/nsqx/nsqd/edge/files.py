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
_FILE_MODE = 0o600


class FileStorage:
    """
    A folder on disk.

    What may block runs in threads of its own, so reads, syncs and removals of many topics
    overlap without occupying the event loop.
    """

    def __init__(self, root: Path, loop: AbstractEventLoop, *, threads: int = 4) -> None:
        self.root = root
        self._prefix = f"{root}/"  # joining paths by pathlib costs 30 us, ours are plain
        self._loop = loop
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="storage")

    def open(self, path: str, *, create: bool = False) -> File:
        """See `Storage.open`."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return _OsFile(os.open(self._prefix + path, flags, _FILE_MODE))

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
        try:
            with os.scandir(self.root / path) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
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
        """See `Storage.sync_folder`."""
        _sync_folder(self.root / path)

    def submit(
        self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        """See `Storage.submit`."""

        def finished(future: Future[T]) -> None:
            error = future.exception()
            result = future.result() if error is None else None
            with contextlib.suppress(RuntimeError):  # the loop closed: nobody waits any more
                self._loop.call_soon_threadsafe(done, result, error)

        with contextlib.suppress(RuntimeError):  # closed: nothing new is begun any more
            self._pool.submit(work).add_done_callback(finished)

    def close(self) -> None:
        """Wait for what was submitted."""
        self._pool.shutdown(wait=True)


class _OsFile:
    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write_at(self, data: bytes, offset: int) -> None:
        written = os.pwrite(self._descriptor, data, offset)
        if written != len(data):
            _write_all(self._descriptor, data[written:], offset + written)

    def read_at(self, size: int, offset: int, *, may_block: bool = True) -> bytes:
        if may_block or not _NO_WAIT:
            return _read_all(self._descriptor, size, offset)
        buffer = bytearray(size)
        try:
            count = os.preadv(self._descriptor, [buffer], offset, _NO_WAIT)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
                raise WouldBlockError from None
            raise
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
        os.fdatasync(self._descriptor)

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
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
