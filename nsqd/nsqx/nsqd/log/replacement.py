"""
Small files that are replaced as a whole: after a crash there is the old content or the new one.

The content goes to a temporary file, which is synced and then takes the name. Until the folder was
synced, too, a loss of power may bring the old content back. Without ``sync`` it may leave anything
there: that is for what carries a checksum and can be told in another way.
"""

import contextlib
from collections.abc import Mapping

from nsqx.nsqd.log.storage import Storage

__all__ = ["TEMPORARY_SUFFIX", "replace_file", "replace_files", "sync_file", "write_synced"]

TEMPORARY_SUFFIX = ".tmp"


def replace_file(storage: Storage, path: str, data: bytes, *, sync: bool = True) -> None:
    """Put ``data`` there atomically. OSError if the disk refuses."""
    temporary = _write_temporary(storage, path, data)
    if sync:
        sync_file(storage, temporary)
    storage.rename(temporary, path)
    if sync:
        storage.sync_folder(folder_of(path))


def replace_files(storage: Storage, contents: Mapping[str, bytes]) -> None:
    """Do the same for many files at once, which costs little more than for one."""
    # Writing all before the first sync lets the file system commit them together.
    temporaries = {path: _write_temporary(storage, path, data) for path, data in contents.items()}
    for temporary in temporaries.values():
        sync_file(storage, temporary)
    for path, temporary in temporaries.items():
        storage.rename(temporary, path)
    for folder in dict.fromkeys(map(folder_of, contents)):
        storage.sync_folder(folder)


def write_synced(storage: Storage, path: str, data: bytes) -> None:
    """Write a file that `Storage.rename` puts in its place later. Blocks; for another thread."""
    _write_or_remove(storage, path, data)
    sync_file(storage, path)


def sync_file(storage: Storage, path: str) -> None:
    """Return when the content of a file survives a loss of power. Blocks."""
    file = storage.open(path)
    try:
        file.sync()
    finally:
        file.close()


def folder_of(path: str) -> str:
    """Return the folder that a file is in."""
    return path.rpartition("/")[0]


def _write_temporary(storage: Storage, path: str, data: bytes) -> str:
    temporary = path + TEMPORARY_SUFFIX
    _write_or_remove(storage, temporary, data)
    return temporary


def _write_or_remove(storage: Storage, path: str, data: bytes) -> None:
    try:
        storage.write_file(path, data)
    except OSError:
        with contextlib.suppress(OSError):
            storage.remove(path)  # it would take room that a full disk does not have
        raise
