"""
The files that ``nsq_to_file`` writes for one topic (tools section 3).

Theory of operation. A message is finished after it was synced, so whatever way the process ends,
what is not in a file is still at nsqd. Three things could break that, and are seen to here:

    a new file's name    is on the disk only after its folder was synced
    a torn last line     left by a process that was killed in a write: the next message would be
                         joined to it, so the line is ended before anything is appended
    a torn gzip member   ends a file; another process begins another file, and each sync ends a
                         member, so all that was finished can be read

Nothing here is asynchronous: calls block, and belong into a thread.
"""

import contextlib
import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nsqx.apps.tools.file_names import FileNames
from nsqx.apps.tools.rotation import Rotation

__all__ = ["FilePlaces", "RollingFile"]

FILE_MODE = 0o666  # less the umask
FOLDER_MODE = 0o770
GZIP_WINDOW_BITS = 31  # zlib's way to say gzip


@dataclass(frozen=True, slots=True)
class FilePlaces:
    """
    Where files are and how they are written.

    Attributes:
        output: folder of the finished files.
        work: folder of the file being written; the same as ``output`` if they do not move.
        gzip_level: 1 to 9; None: not compressed.
        always_new: whether existing files are left alone, and never appended to.
    """

    output: Path
    work: Path
    gzip_level: int | None = None
    always_new: bool = False

    @property
    def moves(self) -> bool:
        """Whether files move when they are closed."""
        return self.work != self.output


class RollingFile:
    """One file after another. Used by one thread at a time."""

    def __init__(
        self,
        names: FileNames,
        rotation: Rotation,
        places: FilePlaces,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._names = names
        self._rotation = rotation
        self._places = places
        self._tell = tell  # what is opened and closed, for the log
        self._descriptor = -1
        self._path = Path()
        self._compressor: zlib._Compress | None = None  # of the member that is begun
        self._has_member = False

    def append(self, bodies: Iterable[bytes], when: datetime, *, sync: bool = False) -> bool:
        """
        Write messages, in as many files as it takes.

        Returns:
            Whether all that was ever appended is on the disk: if ``sync``, or if files changed.

        Raises:
            OSError: some of it may have been written.
        """
        rotation = self._rotation
        stem = self._names.stem(when)
        lines: list[bytes] = []
        for body in bodies:
            # All but the size is the same for the whole batch.
            if rotation.is_full or (not lines and rotation.is_due(stem, when)):
                sync = sync or rotation.is_open
                self._write(lines)
                lines.clear()
                self._roll(stem, when)
            lines += (body, b"\n")
            rotation.wrote(len(body) + 1)
        self._write(lines)
        if sync:
            self.sync()
        return sync

    def sync(self) -> None:
        """Return when all that was appended is on the disk."""
        if not self._rotation.is_open:
            return
        self._end_member()
        os.fsync(self._descriptor)

    def roll_if_due(self, when: datetime, *, skip_empty: bool) -> None:
        """End a file whose time is over, and begin another unless empty ones are not wanted."""
        stem = self._names.stem(when)
        if not self._rotation.is_due(stem, when):
            return
        if skip_empty:
            self.close()
        else:
            self._roll(stem, when)

    def close(self) -> None:
        """Sync and close the file, if one is open, and move it to where it belongs."""
        if not self._rotation.is_open:
            return
        if self._places.gzip_level is not None and not self._has_member:
            self._write([b""])  # no bytes at all would be no gzip file
        self.sync()
        os.close(self._descriptor)
        self._rotation.end()
        if self._places.moves:
            self._move()
        self._tell(f"closed {self._path}")

    # Opening

    def _roll(self, stem: str, when: datetime) -> None:
        self.close()
        revision = self._rotation.next_revision(stem)
        while (size := self._open(stem, revision)) is None:
            revision += 1
        self._rotation.begin(stem, revision, size, when)
        self._tell(f"opened {self._path}")

    def _open(self, stem: str, revision: int) -> int | None:
        """Open the file of a name; return its size, or None if this one is not to be used."""
        name, places = self._names.name(stem, revision), self._places
        if places.moves and (places.output / name).exists():
            return None
        self._path = places.work / name
        make_folder(self._path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            flags |= os.O_EXCL if places.always_new else os.O_APPEND
            descriptor = os.open(self._path, flags, FILE_MODE)
        except FileExistsError:
            return None
        size = os.fstat(descriptor).st_size
        if self._rotation.exceeds(size):
            os.close(descriptor)
            return None
        if size == 0:
            sync_folder(self._path.parent)
        self._descriptor, self._has_member = descriptor, size > 0
        return size + self._end_torn_line(size)

    def _end_torn_line(self, size: int) -> int:
        # It may also be another program's, so it is not cut off.
        if size == 0 or os.pread(self._descriptor, 1, size - 1) == b"\n":
            return 0
        write_all(self._descriptor, b"\n")
        return 1

    # Writing

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        data = b"".join(lines)
        if self._places.gzip_level is not None:
            data = self._compress(data, self._places.gzip_level)
        write_all(self._descriptor, data)

    def _compress(self, data: bytes, level: int) -> bytes:
        if self._compressor is None:
            self._compressor = zlib.compressobj(level, zlib.DEFLATED, GZIP_WINDOW_BITS)
            self._has_member = True
        return self._compressor.compress(data)

    def _end_member(self) -> None:
        if self._compressor is not None:
            write_all(self._descriptor, self._compressor.flush(zlib.Z_FINISH))
            self._compressor = None

    # Moving

    def _move(self) -> None:
        """Link the file into the output folder under a name nothing has, and unlink it here."""
        source, stem, revision = self._path, self._rotation.stem, self._rotation.revision
        while True:
            target = self._places.output / self._names.name(stem, revision)
            make_folder(target.parent)
            try:
                os.link(source, target)
            except FileExistsError:
                revision += 1
            else:
                break
        sync_folder(target.parent)
        source.unlink()
        self._rotation.revision = revision
        self._path = target


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, however many calls that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they survive a crash."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(FOLDER_MODE)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
