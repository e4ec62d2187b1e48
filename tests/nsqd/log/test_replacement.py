"""Files that are replaced: what a loss of power leaves, whenever it comes."""

import random

import pytest

from nsqx.nsqd.log.replacement import replace_file, replace_files, write_synced
from tests.support.simulated_disk import SimulatedDisk

POWER_LOSSES = 60
OLD, NEW = b"old" * 3000, b"new" * 4000  # several pages


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    for folder in ("a", "b"):
        disk.make_folder(folder)
    disk.sync_folder("")
    for path in ("a/x", "b/y"):
        disk.replace_file(path, OLD)
    return disk


def contents(disk: SimulatedDisk, path: str) -> set[bytes]:
    """Return what a file may have after a loss of power now."""
    after = (disk.power_loss(random.Random(seed)) for seed in range(POWER_LOSSES))
    return {each.read_file(path) for each in after}


def test_a_replaced_file_is_the_new_one(disk: SimulatedDisk) -> None:
    replace_file(disk, "a/x", NEW)
    assert contents(disk, "a/x") == {NEW}
    assert contents(disk, "b/y") == {OLD}


def test_several_replaced_files_are_the_new_ones(disk: SimulatedDisk) -> None:
    replace_files(disk, {"a/x": NEW, "b/y": NEW[1:]})
    assert contents(disk, "a/x") == {NEW}
    assert contents(disk, "b/y") == {NEW[1:]}


@pytest.mark.parametrize("name", ["rename", "sync_folder"])
def test_a_crash_in_between_leaves_the_old_or_the_new(
    disk: SimulatedDisk, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CrashError(Exception):
        pass

    def crash(*paths: str) -> None:
        raise CrashError

    monkeypatch.setattr(disk, name, crash)
    with pytest.raises(CrashError):
        replace_file(disk, "a/x", NEW)
    assert contents(disk, "a/x") <= {OLD, NEW}


def test_a_temporary_file_is_whole_before_it_takes_its_place(disk: SimulatedDisk) -> None:
    write_synced(disk, "a/temporary", NEW)
    disk.rename("a/temporary", "b/y")
    assert contents(disk, "b/y") == {OLD, NEW}
    disk.sync_folder("a")
    disk.sync_folder("b")
    assert contents(disk, "b/y") == {NEW}
