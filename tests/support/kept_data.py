"""Data folders as files of the repository, on a simulated disk."""

import tarfile
from pathlib import Path

from tests.support.simulated_disk import SimulatedDisk

__all__ = ["disk_of"]


def disk_of(path: Path, disk: SimulatedDisk | None = None) -> SimulatedDisk:
    """Return a disk with what an archive has; all of it is on stable storage."""
    disk = disk if disk is not None else SimulatedDisk()
    with tarfile.open(path) as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            assert content is not None
            folder = entry.name.rpartition("/")[0]
            if folder:
                disk.make_folder(folder)
            disk.replace_file(entry.name, content.read())
    for folder in ("", "topics"):
        disk.sync_folder(folder)
    return disk
