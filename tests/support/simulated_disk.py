"""
A disk in memory that can be crashed, damaged, filled and slowed: `log.storage.Storage` for tests.

Every file has what was written (the page cache) and what survives a loss of power: what was there
at the last sync, plus whatever writes the crash lets through. `power_loss` decides that by a
random source handed in, in pages, so writes are torn and reordered as real disks do it. Names are
durable when their folder was synced: that a file is there, that it was removed, and that it was
renamed, which needs both folders to be synced. Until then a loss of power may undo it.

A sync that fails is told once, as Linux does it: the pages it could not write count as clean
afterwards, so the next sync succeeds without them.
"""

import errno
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, TypeVar

from nsqx.nsqd.log.storage import File, WouldBlockError

__all__ = ["Content", "NothingSurvives", "SimulatedDisk", "SimulatedFile"]

T = TypeVar("T")

PAGE_BYTES = 4096


class NothingSurvives(random.Random):
    """The chance of a loss of power that takes all bytes that were not synced; names stay."""

    def random(self) -> float:
        """Return what lets no page through."""
        return 1.0


@dataclass
class Content:
    """What a file holds; several open files share it."""

    written: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    dirty_pages: set[int] = field(default_factory=set)
    dropped_pages: set[int] = field(default_factory=set)  # by syncs that failed

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
        )

    def drop(self) -> None:
        """Note that a sync failed: what it was to write will never be written."""
        self.dropped_pages |= self.dirty_pages
        self.dirty_pages.clear()


@dataclass(eq=False)
class NameChange:
    """
    Something that happened to names, and is not on stable storage.

    Attributes:
        folders: those that have to be synced for it.
        moved: what has the new name, or had the old one if that was removed; files by path.
        old, new: paths; no old one: it was made; no new one: it was removed.
        replaced: the file that had the new name before.
    """

    folders: set[str]
    moved: dict[str, Content]
    old: str = ""
    new: str = ""
    replaced: Content | None = None
    tree: list[str] = field(default_factory=list)  # folders that were removed with the files

    def copy(self, contents: dict[int, Content]) -> "NameChange":
        """Return the same of other contents, by the identity of these."""
        moved = {path: contents[id(content)] for path, content in self.moved.items()}
        replaced = contents[id(self.replaced)] if self.replaced is not None else None
        return NameChange(set(self.folders), moved, self.old, self.new, replaced, list(self.tree))


class SimulatedDisk:
    """
    A folder on a simulated disk.

    Attributes:
        free_bytes: how much can still be written; None for no limit.
        fail_writes, fail_syncs, fail_reads, fail_renames: the error number to raise, or None.
        fail_reads_of: the same by path, for reads of open files.
        reads_block: whether reads that may not block find nothing in memory.
        pending: work that was submitted and waits for `run_pending`.
    """

    def __init__(self) -> None:
        self.free_bytes: int | None = None
        self.fail_writes: int | None = None
        self.fail_syncs: int | None = None
        self.fail_reads: int | None = None
        self.fail_renames: int | None = None
        self.fail_reads_of: dict[str, int] = {}
        self.reads_block = False
        self.weakness = ""
        self.pending: deque[Callable[[], None]] = deque()
        self._files: dict[str, Content] = {}
        self._folders: dict[str, bool] = {"": True}  # and whether its name is durable
        self._changes: dict[NameChange, None] = {}  # oldest first
        self._changes_of: dict[str, dict[NameChange, None]] = {}  # by folder that is to be synced

    def step(self) -> None:
        """Called before each change; a subclass may end the process here."""

    def pause(self) -> None:
        """Called before a read that may wait for the disk; a subclass may let others go on."""

    # Faults

    def run_pending(self) -> None:
        """Run what was submitted, and what that submits."""
        while self.pending:
            self.pending.popleft()()

    def kill(self) -> Self:
        """Return the disk as the next process finds it: what was written is there, if not safe."""
        disk = self._new()
        disk._folders = dict(self._folders)
        copies: dict[int, Content] = {}
        there = [*self._files.values()]
        for change in self._changes:
            there += change.moved.values()
            there += [change.replaced] if change.replaced is not None else []
        for content in there:
            copies.setdefault(id(content), content.copy())
        disk._files = {path: copies[id(content)] for path, content in self._files.items()}
        for change in self._changes:
            disk._note(change.copy(copies))
        return disk

    def power_loss(self, chance: random.Random) -> Self:
        """Return the disk as the next boot finds it: of what was not synced, some pages."""
        disk = self.kill()
        # Journals of file systems keep renames in order: none is forgotten but the last ones.
        forgets_renames = True
        for change in reversed(disk._changes):
            is_forgotten = chance.random() < 0.5
            if change.old and change.new:
                is_forgotten = forgets_renames = forgets_renames and is_forgotten
            if is_forgotten:
                disk._undo_removal_of(change.new)
                disk._undo(change)
        disk._changes.clear()
        disk._changes_of.clear()
        for folder, is_durable in list(disk._folders.items()):
            if not is_durable and chance.random() < 0.5:
                disk._forget_folder(folder)
        disk._folders = dict.fromkeys(disk._folders, True)
        survivors = {
            path: self._survivor(disk._files[path], chance) for path in sorted(disk._files)
        }
        disk._files = {
            path: Content(bytearray(survivor), survivor) for path, survivor in survivors.items()
        }
        return disk

    def _survivor(self, content: Content, chance: random.Random) -> bytes:
        kept = bytearray(content.durable)
        for page in sorted(content.dirty_pages):
            if chance.random() < 0.5:
                start = page * PAGE_BYTES
                piece = content.written[start : start + PAGE_BYTES]
                kept.extend(bytes(max(0, start - len(kept))))
                kept[start : start + len(piece)] = piece
        return bytes(kept)

    def _undo_removal_of(self, path: str) -> None:
        """Take back removals of what a forgotten change gave its name: that never was there."""
        for change in self._changes:
            is_inside = change.old == path or change.old.startswith(f"{path}/")
            if path and is_inside and not change.new:
                self._undo(change)

    def _undo(self, change: NameChange) -> None:
        """Take back what happened to names, unless what happened later stands in the way."""
        files = self._files
        if not change.new:  # removed
            if any(folder in self._folders for folder in change.tree):
                return
            self._folders |= dict.fromkeys(change.tree, True)
            for path, content in change.moved.items():
                if path not in files and _parent(path) in self._folders:
                    files[path] = content
            return
        if any(files.get(path) is not content for path, content in change.moved.items()):
            return
        is_folder = change.new in self._folders
        if change.old in files or (change.old and change.old in self._folders):
            return  # made anew
        for path in change.moved:
            del files[path]
        if change.replaced is not None:
            files[change.new] = change.replaced
        if change.old:
            for path, content in change.moved.items():
                files[change.old + path[len(change.new) :]] = content
        if is_folder:
            self._move_folders(change.new, change.old)

    def _note(self, change: NameChange) -> None:
        self._changes[change] = None
        for folder in change.folders:
            self._changes_of.setdefault(folder, {})[change] = None

    def _forget_folder(self, path: str) -> None:
        for name in [*self._files]:
            if name.startswith(f"{path}/"):
                del self._files[name]
        for name in [*self._folders]:
            if name == path or name.startswith(f"{path}/"):
                del self._folders[name]

    def _move_folders(self, old: str, new: str) -> None:
        """Give a folder another name, also in what is still to be synced in it."""

        def moved(path: str) -> str:
            is_inside = path == old or path.startswith(f"{old}/")
            return new + path[len(old) :] if is_inside else path

        self._folders = {moved(path): durable for path, durable in self._folders.items()}
        for folder in [each for each in self._changes_of if moved(each) != each]:
            changes = self._changes_of.pop(folder)
            for change in changes:
                change.folders = {moved(each) for each in change.folders}
                change.moved = {moved(path): each for path, each in change.moved.items()}
                change.old, change.new = moved(change.old), moved(change.new)
            self._changes_of.setdefault(moved(folder), {}).update(changes)

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
        self.pause()
        if path not in self._files:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            self.step()
            self._check_folder(path)
            self._check_write(0)
            self._create(path)
        return SimulatedFile(self, path, self._files[path])

    def read_file(self, path: str) -> bytes:
        """See `Storage.read_file`."""
        if path not in self._files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        self.check_read()
        return bytes(self._files[path].written)

    def _create(self, path: str) -> Content:
        content = self._files[path] = Content()
        self._note(NameChange({_parent(path)}, {path: content}, new=path))
        return content

    def write_file(self, path: str, data: bytes) -> None:
        """See `Storage.write_file`."""
        file = self.open(path, create=True)
        file.truncate(0)
        file.write_at(data, 0)
        file.close()

    def replace_file(self, path: str, data: bytes) -> None:
        """Put a file there, for tests."""
        self.write_file(path, data)
        self._files[path].sync()
        self._sync_names(_parent(path))

    def list_folders(self, path: str) -> list[str]:
        """See `Storage.list_folders`."""
        return sorted(name.rpartition("/")[2] for name in self._folders if _parent(name) == path)

    def list_files(self, path: str) -> list[str]:
        """See `Storage.list_files`."""
        return sorted(name.rpartition("/")[2] for name in self._files if _parent(name) == path)

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
        self._check_folder(new)
        if old not in self._files and old not in self._folders:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", old)
        self._check_rename()
        replaced = self._files.pop(new, None)
        moved: dict[str, Content] = {}
        for path in [old] if old in self._files else list(self._files):
            if path == old or path.startswith(f"{old}/"):
                moved[new + path[len(old) :]] = self._files.pop(path)
        self._files |= moved
        if old in self._folders:
            self._move_folders(old, new)
        self._note(NameChange({_parent(old), _parent(new)}, moved, old, new, replaced))

    def remove(self, path: str) -> None:
        """See `Storage.remove`."""
        self.step()
        content = self._files.pop(path, None)
        if content is not None:
            self._note(NameChange({_parent(path)}, {path: content}, path))

    def remove_tree(self, path: str) -> None:
        """See `Storage.remove_tree`."""
        self.step()
        inside = [name for name in self._files if name == path or name.startswith(f"{path}/")]
        moved = {name: self._files.pop(name) for name in inside}
        tree = [name for name in self._folders if name == path or name.startswith(f"{path}/")]
        self._forget_folder(path)
        if moved or tree:
            self._note(NameChange({_parent(path)}, moved, path, tree=tree))

    def sync_folder(self, path: str) -> None:
        """See `Storage.sync_folder`."""
        self.step()
        if path not in self._folders:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        self.check_sync()
        self._sync_names(path)

    def _sync_names(self, folder: str) -> None:
        for change in self._changes_of.pop(folder, {}):
            change.folders.discard(folder)
            if not change.folders:
                self._changes.pop(change, None)
        for name, is_durable in self._folders.items():
            if not is_durable and _parent(name) == folder:
                self._folders[name] = True

    def _check_rename(self) -> None:
        if self.fail_renames is not None:
            raise OSError(self.fail_renames, errno.errorcode[self.fail_renames])

    def _check_folder(self, path: str) -> None:
        if _parent(path) not in self._folders:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

    def submit(
        self,
        work: Callable[[], T],
        done: Callable[[T | None, BaseException | None], None],
        *,
        is_urgent: bool = False,
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

    def write_synced(self, data: bytes, offset: int) -> None:
        """See `File.write_synced`."""
        self.write_at(data, offset)
        self.sync()

    def read_at(self, size: int, offset: int, *, may_block: bool = True) -> bytes:
        """See `File.read_at`."""
        assert self._is_open
        if may_block:
            self._disk.pause()
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
