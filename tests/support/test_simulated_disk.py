"""What a loss of power may leave of names on the simulated disk."""

import random

from tests.support.simulated_disk import SimulatedDisk


def test_a_removal_does_not_outlive_the_rename_before_it() -> None:
    """File systems keep renames in order, and with them what was done to the new names."""
    seen: set[tuple[str, ...]] = set()
    for seed in range(200):
        disk = SimulatedDisk()
        disk.make_folder("topic")
        disk.make_folder("trash")
        disk.sync_folder("")
        for path in ("topic/idx", "topic/log"):
            disk.replace_file(path, b"x")
        disk.rename("topic/idx", "topic/removed")
        disk.rename("topic/log", "trash/1")
        disk.remove_tree("trash/1")
        seen.add(tuple(disk.power_loss(random.Random(seed)).paths()))
    assert seen == {
        ("topic/idx", "topic/log"),  # nothing happened
        ("topic/log", "topic/removed"),
        ("topic/removed", "trash/1"),
        ("topic/removed",),
    }


def test_a_folder_comes_back_with_its_files() -> None:
    seen: set[tuple[str, ...]] = set()
    for seed in range(200):
        disk = SimulatedDisk()
        for folder in ("topics/t", "trash"):
            disk.make_folder(folder)
        for folder in ("", "topics"):
            disk.sync_folder(folder)
        disk.replace_file("topics/t/log", b"x")
        disk.rename("topics/t", "trash/t")
        disk.remove_tree("trash/t")
        seen.add(tuple(disk.power_loss(random.Random(seed)).paths()))
    assert seen == {("topics/t/log",), ("trash/t/log",), ()}
