"""
A disk in memory that can be crashed, damaged, filled and slowed: `log.storage.Storage` for tests.

Every file has what was written (the page cache) and what survives a loss of power: what was there
at the last sync, plus whatever writes the crash lets through. `power_loss` decides that by a
random source handed in, in pages, so writes are torn and reordered as real disks do it. Names are
durable when their folder was synced, both that a file is there and that it was removed.

A sync that fails is told once, as Linux does it: the pages it could not write count as clean
afterwards, so the next sync succeeds without them.
"""

import errno
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self, TypeVar

from nsqx.nsqd.log.storage import File, WouldBlockError

__all__ = ["Content", "SimulatedDisk", "SimulatedFile"]

T = TypeVar("T")

PAGE_BYTES = 4096


@dataclass
class Content:
    """What a file holds; several open files share it."""

    written: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    dirty_pages: set[int] = field(default_factory=set)
    dropped_pages: set[int] = field(default_factory=set)  # by syncs that failed
    is_name_durable: bool = False

    def sync(self) -> None:
        """Make all durable but what an earlier sync dropped."""
        if self.dropped_pages:
            durable = bytearray(self.written)
            for page in self.dropped_pages:
                start = page * PAGE_BYTES
                end = min(start + PAGE_BYTES, len(durable))
                if start < end:
                    old = self.durable[start:end]
                    durable[start:end] = old + bytes(end - start - len(old))
            self.durable = bytes(durable)
        else:
            self.durable = bytes(self.written)
        self.dirty_pages.clear()

    def copy(self) -> "Content":
        """Return one that changes for itself."""
        return Content(
            bytearray(self.written),
            self.durable,
            set(self.dirty_pages),
            set(self.dropped_pages),
            self.is_name_durable,
        )

    def drop(self) -> None:
        """Note that a sync failed: what it was to write will never be written."""
        self.dropped_pages |= self.dirty_pages
        self.dirty_pages.clear()


class SimulatedDisk:
    """
    A folder on a simulated disk.

    Attributes:
        free_bytes: how much can still be written; None for no limit.
        fail_writes, fail_syncs, fail_reads: the error number to raise, or None.
        fail_reads_of: the same by path, for reads of open files.
        reads_block: whether reads that may not block find nothing in memory.
        pending: work that was submitted and waits for `run_pending`.
    """

    def __init__(self) -> None:
        self.free_bytes: int | None = None
        self.fail_writes: int | None = None
        self.fail_syncs: int | None = None
        self.fail_reads: int | None = None
        self.fail_reads_of: dict[str, int] = {}
        self.reads_block = False
        self.pending: deque[Callable[[], None]] = deque()
        self._files: dict[str, Content] = {}
        self._folders: dict[str, bool] = {"": True}  # and whether its name is durable
        self._removed: dict[str, Content] = {}  # may be back after a loss of power

    def step(self) -> None:
        """Called before each change; a subclass may end the process here."""

    # Faults

    def run_pending(self) -> None:
        """Run what was submitted, and what that submits."""
        while self.pending:
            self.pending.popleft()()

    def kill(self) -> Self:
        """Return the disk as the next process finds it: what was written is there, if not safe."""
        disk = self._new()
        disk._folders = dict(self._folders)
        disk._removed = dict(self._removed)
        disk._files = {path: content.copy() for path, content in self._files.items()}
        return disk

    def power_loss(self, chance: random.Random) -> Self:
        """Return the disk as the next boot finds it: of what was not synced, some pages."""

        def survives(content: Content) -> bytes:
            kept = bytearray(content.durable)
            for page in sorted(content.dirty_pages):
                if chance.random() < 0.5:
                    start = page * PAGE_BYTES
                    piece = content.written[start : start + PAGE_BYTES]
                    kept.extend(bytes(max(0, start - len(kept))))
                    kept[start : start + len(piece)] = piece
            return bytes(kept)

        disk = self._new()
        disk._folders = dict.fromkeys(self._folders, True)
        for path, content in self._files.items():
            if content.is_name_durable or chance.random() < 0.5:
                survivor = survives(content)
                disk._files[path] = Content(bytearray(survivor), survivor, is_name_durable=True)
        for folder, is_durable in self._folders.items():
            if not is_durable and chance.random() < 0.5:
                disk.remove_folder(folder)
        for path, content in self._removed.items():
            if path not in self._files and chance.random() < 0.5:
                survivor = survives(content)
                disk._files[path] = Content(bytearray(survivor), survivor, is_name_durable=True)
        return disk

    def _new(self) -> Self:
        """Return an empty disk for what is to survive."""
        return type(self)()

    def paths(self, suffix: str = "") -> list[str]:
        """Return the sorted paths of all files that end so."""
        return sorted(path for path in self._files if path.endswith(suffix))

    def content(self, path: str) -> bytearray:
        """Return the bytes of a file; change them to damage it."""
        return self._files[path].written

    def flip_bit(self, path: str, offset: int, bit: int = 0) -> None:
        """Damage one bit."""
        self._files[path].written[offset] ^= 1 << bit

    # Storage

    def open(self, path: str, *, create: bool = False) -> File:
        """See `Storage.open`."""
        if path not in self._files:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            self.step()
            self._check_folder(path)
            self._check_write(0)
            self._files[path] = Content()
        return SimulatedFile(self, path, self._files[path])

    def read_file(self, path: str) -> bytes:
        """See `Storage.read_file`."""
        if path not in self._files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        self.check_read()
        return bytes(self._files[path].written)

    def replace_file(self, path: str, data: bytes, *, sync: bool = True) -> None:
        """See `Storage.replace_file`."""
        self.step()
        self._check_folder(path)
        self._check_write(len(data))
        if sync:
            self.check_sync()
        before = self._files.get(path)
        content = Content(bytearray(data), bytes(data) if sync else b"", is_name_durable=sync)
        if sync:
            self._sync_names(_parent(path))
        else:
            content.durable = before.durable if before is not None else b""
            content.dirty_pages = set(range(len(data) // PAGE_BYTES + 1))
            content.is_name_durable = before is not None and before.is_name_durable
        self._files[path] = content

    def replace_files(self, contents: Mapping[str, bytes]) -> None:
        """See `Storage.replace_files`."""
        for path, data in contents.items():
            self.replace_file(path, data)

    def list(self, path: str) -> list[str]:
        """See `Storage.list`."""
        prefix = f"{path}/" if path else ""
        names = [*self._files, *self._folders]
        found = {name[len(prefix) :].split("/")[0] for name in names if name.startswith(prefix)}
        return sorted(found - {""})

    def make_folder(self, path: str) -> None:
        """See `Storage.make_folder`."""
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            self._folders.setdefault("/".join(parts[:count]), False)

    def rename(self, old: str, new: str) -> None:
        """See `Storage.rename`."""
        self.step()
        for path in list(self._files):
            if path == old or path.startswith(f"{old}/"):
                self._files[new + path[len(old) :]] = self._files.pop(path)
        self._folders = {
            (new + path[len(old) :] if path == old or path.startswith(f"{old}/") else path): durable
            for path, durable in self._folders.items()
        }

    def remove(self, path: str) -> None:
        """See `Storage.remove`."""
        self.step()
        content = self._files.pop(path, None)
        if content is not None and content.is_name_durable:
            self._removed[path] = content

    def remove_folder(self, path: str) -> None:
        """See `Storage.remove_folder`."""
        for name in list(self._files):
            if name.startswith(f"{path}/"):
                del self._files[name]
        self._folders = {
            name: durable
            for name, durable in self._folders.items()
            if name != path and not name.startswith(f"{path}/")
        }

    def sync_folder(self, path: str) -> None:
        """See `Storage.sync_folder`."""
        self.step()
        if path not in self._folders:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        self.check_sync()
        self._sync_names(path)

    def _sync_names(self, folder: str) -> None:
        for name, content in self._files.items():
            if not content.is_name_durable and _parent(name) == folder:
                content.is_name_durable = True
        for name, is_durable in self._folders.items():
            if not is_durable and _parent(name) == folder:
                self._folders[name] = True
        self._removed = {
            name: content for name, content in self._removed.items() if _parent(name) != folder
        }

    def _check_folder(self, path: str) -> None:
        if _parent(path) not in self._folders:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

    def submit(
        self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        """See `Storage.submit`; runs at `run_pending`."""

        def run() -> None:
            try:
                result = work()
            except Exception as error:
                done(None, error)
            else:
                done(result, None)

        self.pending.append(run)

    # Faults, as files meet them

    def _check_write(self, size: int) -> None:
        if self.fail_writes is not None:
            raise OSError(self.fail_writes, errno.errorcode[self.fail_writes])
        if self.free_bytes is not None:
            if size > self.free_bytes:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.free_bytes -= size

    def write(self, content: Content, data: bytes, offset: int) -> None:
        """Write to a file; what fits is written even if it fails."""
        self.step()
        fits = len(data)
        error: OSError | None = None
        if self.free_bytes is not None and len(data) > self.free_bytes:
            fits = self.free_bytes
            error = OSError(errno.ENOSPC, "No space left on device")
        if self.fail_writes is not None:
            raise OSError(self.fail_writes, errno.errorcode[self.fail_writes])
        if self.free_bytes is not None:
            self.free_bytes -= fits
        content.written.extend(bytes(max(0, offset - len(content.written))))
        content.written[offset : offset + fits] = data[:fits]
        if fits:
            last = (offset + fits - 1) // PAGE_BYTES
            pages = range(offset // PAGE_BYTES, last + 1)
            content.dirty_pages.update(pages)
            content.dropped_pages.difference_update(pages)
        if error is not None:
            raise error

    def check_read(self, path: str = "") -> None:
        """Raise if reads fail."""
        failure = self.fail_reads_of.get(path, self.fail_reads)
        if failure is not None:
            raise OSError(failure, errno.errorcode[failure])

    def check_sync(self) -> None:
        """Raise if syncs fail."""
        if self.fail_syncs is not None:
            raise OSError(self.fail_syncs, errno.errorcode[self.fail_syncs])


class SimulatedFile:
    """An open file of a `SimulatedDisk`."""

    def __init__(self, disk: SimulatedDisk, path: str, content: Content) -> None:
        self._disk = disk
        self._path = path
        self._content = content
        self._is_open = True

    def write_at(self, data: bytes, offset: int) -> None:
        """See `File.write_at`."""
        assert self._is_open
        self._disk.write(self._content, data, offset)

    def read_at(self, size: int, offset: int, *, may_block: bool = True) -> bytes:
        """See `File.read_at`."""
        assert self._is_open
        self._disk.check_read(self._path)
        if self._disk.reads_block and not may_block:
            raise WouldBlockError
        return bytes(self._content.written[offset : offset + size])

    def size(self) -> int:
        """See `File.size`."""
        return len(self._content.written)

    def truncate(self, size: int) -> None:
        """See `File.truncate`."""
        assert self._is_open
        self._disk.step()
        written = self._content.written
        written.extend(bytes(max(0, size - len(written))))
        del written[size:]
        self._content.dirty_pages.add(size // PAGE_BYTES)

    def sync(self) -> None:
        """See `File.sync`."""
        assert self._is_open
        self._disk.step()
        try:
            self._disk.check_sync()
        except OSError:
            self._content.drop()
            raise
        self._content.sync()

    def close(self) -> None:
        """See `File.close`."""
        self._is_open = False


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
