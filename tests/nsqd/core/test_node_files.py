"""What is made, deleted and made again, on disk: what it costs, and what a crash leaves of it."""

import errno
import random
from collections.abc import Callable
from unittest.mock import patch

import pytest

from nsqx.nsqd.core.metadata import decode_metadata
from tests.support.broker_bench import BrokerBench
from tests.support.simulated_disk import SimulatedDisk

POWER_LOSSES = 40


class CountingDisk(SimulatedDisk):
    """Counts changes, and the looks at folders, which cost what there is."""

    steps = 0
    looks = 0

    def step(self) -> None:
        self.steps += 1

    def list(self, path: str) -> list[str]:
        self.looks += 1
        return super().list(path)


@pytest.fixture
def bench() -> BrokerBench:
    bench = BrokerBench()
    bench.channel()
    return bench


def names(bench: BrokerBench) -> list[str]:
    return [
        name
        for topic in bench.broker.topics.values()
        for name in (topic.name, *(f"{topic.name}/{channel}" for channel in topic.channels))
    ]


def named(bench: BrokerBench) -> list[str]:
    """Return what nsqd.dat names."""
    return [
        name
        for topic in decode_metadata(bench.disk.read_file("nsqd.dat"))
        for name in (topic.name, *(f"{topic.name}/{each.name}" for each in topic.channels))
    ]


def after_power_losses(bench: BrokerBench) -> list[list[str]]:
    """Return what names there are after each of many losses of power at this moment."""
    return [
        names(BrokerBench(disk=bench.disk.power_loss(random.Random(seed))))
        for seed in range(POWER_LOSSES)
    ]


# Making


def test_making_a_channel_costs_the_same_whatever_there_is() -> None:
    disk = CountingDisk()
    bench = BrokerBench(disk=disk)
    topic = bench.topic()
    costs = []
    for number in range(300):
        before = (disk.steps, disk.looks)
        bench.broker.get_channel(topic, f"channel{number}")
        bench.broker.flush()
        costs.append((disk.steps - before[0], disk.looks - before[1]))
    assert costs == [costs[0]] * 300
    assert costs[0][0] < 10, "nothing is written that grows"
    bench.upkeep()
    assert len(named(bench)) == 301


def test_metadata_is_written_once_for_all_that_was_made(bench: BrokerBench) -> None:
    bench.upkeep()
    assert named(bench) == ["orders", "orders/archive"]
    renames = []
    with patch.object(bench.disk, "rename", side_effect=lambda *paths: renames.append(paths)):
        bench.upkeep()
    assert renames == [], "and not again when nothing has changed"


def test_what_was_made_a_moment_ago_survives_a_loss_of_power(bench: BrokerBench) -> None:
    bench.upkeep()
    assert after_power_losses(bench) == [["orders", "orders/archive"]] * POWER_LOSSES
    bench.disk.remove("nsqd.dat")  # not because they are named there
    assert after_power_losses(bench) == [["orders", "orders/archive"]] * POWER_LOSSES


def test_metadata_that_the_disk_refused_is_written_later(bench: BrokerBench) -> None:
    bench.disk.fail_syncs = errno.EIO
    bench.upkeep()
    assert named(bench) == []
    assert bench.broker.health == "NOK - EIO"
    bench.disk.fail_syncs = None
    bench.upkeep()
    assert named(bench) == ["orders", "orders/archive"]


def test_metadata_of_somebody_else_is_taken_up(bench: BrokerBench) -> None:
    """Go's nsqd was started on the folder meanwhile."""
    bench.upkeep()
    bench.disk.replace_file(
        "nsqd.dat", b'{"topics":[{"name":"new","paused":true,"channels":[{"name":"c"}]}]}'
    )
    bench.kill()
    assert sorted(names(bench)) == ["new", "new/c", "orders", "orders/archive"]
    assert bench.topic("new").is_paused


# Deleting


@pytest.mark.parametrize("is_named", [True, False])
def test_a_deleted_topic_does_not_come_back(bench: BrokerBench, is_named: bool) -> None:
    bench.channel("other", topic="other")
    bench.publish(b"x")
    if is_named:
        bench.upkeep()
    bench.broker.delete_topic(bench.topic())
    bench.kill()
    assert names(bench) == ["other", "other/other"]


@pytest.mark.parametrize("is_named", [True, False])
def test_a_deleted_channel_does_not_come_back(bench: BrokerBench, is_named: bool) -> None:
    bench.drained()
    bench.publish(b"x")
    bench.broker.tick()
    if is_named:
        bench.upkeep()
    bench.broker.delete_channel(bench.topic(), bench.channel())
    bench.kill()
    assert names(bench) == ["orders"]


@pytest.mark.parametrize("later", [lambda bench: None, BrokerBench.run, BrokerBench.upkeep])
def test_a_deletion_survives_a_loss_of_power(
    bench: BrokerBench, later: Callable[[BrokerBench], None]
) -> None:
    bench.channel("kept")
    bench.publish(b"x", topic="gone")
    bench.drained(topic="gone")
    bench.publish(b"y")
    bench.drained()
    bench.upkeep()
    bench.broker.delete_topic(bench.topic("gone"))
    bench.broker.delete_channel(bench.topic(), bench.channel())
    later(bench)
    assert after_power_losses(bench) == [["orders", "orders/kept"]] * POWER_LOSSES


def test_a_channel_without_a_checkpoint_is_deleted_for_good_too(bench: BrokerBench) -> None:
    """It was damaged and is set aside, and the next one is not written yet."""
    bench.upkeep()
    (checkpoint,) = [path for path in bench.disk.paths() if path.endswith("/archive.channel")]
    bench.disk.rename(checkpoint, f"{checkpoint}.bad")
    bench.broker.delete_channel(bench.topic(), bench.channel())
    for _ in range(2):
        assert after_power_losses(bench) == [["orders"]] * POWER_LOSSES
        bench.upkeep()  # nsqd.dat does not name it any more


def test_a_deleted_channel_leaves_nothing_that_a_crash_left_of_it(bench: BrokerBench) -> None:
    bench.upkeep()
    (checkpoint,) = [path for path in bench.disk.paths() if path.endswith("/archive.channel")]
    for suffix in (".tmp", ".stragglers.tmp", ".stragglers", ".bad"):
        bench.disk.replace_file(checkpoint + suffix, b"")
    bench.broker.delete_channel(bench.topic(), bench.channel())
    bench.upkeep()  # nsqd.dat does not name it any more
    assert not [path for path in bench.disk.paths() if path.startswith(checkpoint)]


def test_what_was_to_become_a_checkpoint_is_no_channel(bench: BrokerBench) -> None:
    bench.upkeep()
    (checkpoint,) = [path for path in bench.disk.paths() if path.endswith("/archive.channel")]
    bench.broker.delete_channel(bench.topic(), bench.channel())
    bench.upkeep()
    bench.disk.replace_file(f"{checkpoint}.tmp", b"")
    assert after_power_losses(bench) == [["orders"]] * POWER_LOSSES


def test_a_deletion_that_the_disk_refuses_changes_nothing(bench: BrokerBench) -> None:
    bench.publish(b"x")
    bench.disk.fail_renames = errno.EROFS
    with pytest.raises(OSError, match="EROFS"):
        bench.broker.delete_channel(bench.topic(), bench.channel())
    with pytest.raises(OSError, match="EROFS"):
        bench.broker.delete_topic(bench.topic())
    bench.disk.fail_renames = None
    assert bench.publish(b"y") == "OK"
    bench.kill()
    assert bench.drained() == [b"x", b"y"]


def test_a_deletion_that_could_not_be_made_durable_is_said_to_have_failed(
    bench: BrokerBench,
) -> None:
    bench.disk.fail_syncs = errno.EIO
    with pytest.raises(OSError, match="EIO"):
        bench.broker.delete_topic(bench.topic())
    assert names(bench) == []


def test_what_was_deleted_is_removed_later(bench: BrokerBench) -> None:
    bench.publish(b"x")
    bench.broker.delete_topic(bench.topic())
    bench.upkeep()
    bench.upkeep()
    assert bench.disk.paths() == ["format.json", "nsqd.dat"]
    bench.kill()
    assert bench.disk.paths() == ["format.json", "nsqd.dat"]


def test_files_that_a_crash_kept_from_being_removed_go_at_the_start(bench: BrokerBench) -> None:
    bench.publish(b"x")
    bench.drained()
    bench.upkeep()
    journals = bench.disk.paths(".journal")
    assert journals
    with patch.object(bench.disk, "rename", side_effect=_only_first(bench.disk.rename)):
        bench.broker.delete_channel(bench.topic(), bench.channel())
    bench.kill()
    assert bench.disk.paths(".journal") == []
    assert names(bench) == ["orders"]


def _only_first(rename: Callable[[str, str], None]) -> Callable[[str, str], None]:
    calls = iter([rename])

    def call(old: str, new: str) -> None:
        next(calls, lambda old, new: None)(old, new)

    return call


# Making again


def test_what_is_made_again_is_not_what_metadata_says_of_the_one_before(
    bench: BrokerBench,
) -> None:
    bench.channel("other")
    bench.broker.pause_topic(bench.topic(), True)
    bench.broker.pause_channel(bench.topic(), bench.channel(), True)
    bench.upkeep()
    bench.broker.delete_topic(bench.topic())
    bench.channel()
    bench.kill()
    assert names(bench) == ["orders", "orders/archive"]
    assert not bench.topic().is_paused
    assert not bench.channel().is_paused


def test_a_paused_channel_that_is_made_again_is_not_paused(bench: BrokerBench) -> None:
    bench.channel("other")
    bench.broker.pause_channel(bench.topic(), bench.channel(), True)
    bench.upkeep()
    bench.broker.delete_channel(bench.topic(), bench.channel())
    bench.channel()
    bench.kill()
    assert not bench.channel().is_paused


def test_a_pause_survives_a_loss_of_power(bench: BrokerBench) -> None:
    bench.broker.pause_channel(bench.topic(), bench.channel(), True)
    for seed in range(POWER_LOSSES):
        again = BrokerBench(disk=bench.disk.power_loss(random.Random(seed)))
        assert not again.broker.topics or again.channel().is_paused


def test_a_topic_that_is_made_again_while_a_segment_goes_keeps_its_files(
    bench: BrokerBench,
) -> None:
    """What syncs the finished is slow, and the new segment has the name of the old one."""
    for _ in range(3):
        bench.publish(*[b"x" * 1000] * 9)
    assert len(bench.drained()) == 27
    bench.broker.upkeep()
    sync_folder = bench.disk.sync_folder

    def slow(path: str) -> None:
        with patch.object(bench.disk, "sync_folder", sync_folder):
            if bench.topic().log.end == 27:
                bench.broker.delete_topic(bench.topic())
                assert bench.publish(b"new") == "OK"
        sync_folder(path)

    with patch.object(bench.disk, "sync_folder", slow):
        bench.run()
    bench.upkeep()
    bench.kill()
    assert bench.drained() == [b"new"]
    assert bench.lost() == []


def test_a_channel_that_is_made_again_during_a_checkpoint_keeps_its_own(
    bench: BrokerBench,
) -> None:
    """Both checkpoints are written at once."""
    bench.publish(b"a", b"b")
    bench.drained()
    topic = bench.topic()
    files = bench.broker._files["orders"]
    for _ in range(2):
        channel, store = bench.channel(), files.stores.get("archive")
        assert store is not None
        store.checkpoint(files.snapshot(channel), _no_failure)
        first = bench.disk.pending.pop()
        bench.broker.delete_channel(topic, channel)
        bench.publish(b"waits at the topic")
        channel = bench.channel()
        store = files.stores["archive"]
        store.checkpoint(files.snapshot(channel), _no_failure)
        bench.disk.pending[-1]()
        first()
        bench.run()
    bench.kill()
    assert bench.events.warnings == []
    assert bench.drained() == [b"waits at the topic"]


def _no_failure(error: OSError) -> None:
    raise AssertionError from error


# Starts that are hard


@pytest.mark.parametrize("is_upgrade", [False, True])
def test_a_node_with_a_full_disk_starts_and_is_drained(
    bench: BrokerBench, is_upgrade: bool
) -> None:
    """Only so can there be room again."""
    for number in range(20):
        bench.publish(b"%d" % number + b"x" * 1000)
    if is_upgrade:
        for path in ("format.json", "nsqd.dat"):
            bench.disk.remove(path)
        bench.disk.remove_tree("trash")
    for _ in range(2):
        bench.disk = bench.disk.kill()
        bench.disk.free_bytes = 0
        bench.start()
        assert bench.lost() == []
    assert len(bench.drained()) == 20
    bench.upkeep()
    bench.upkeep()
    assert len(bench.disk.paths(".log")) == 1, "what is finished goes"
    bench.disk.free_bytes = None
    bench.upkeep()
    bench.upkeep()
    assert bench.broker.health == "OK"
    assert bench.publish(b"after") == "OK"
    bench.kill()
    assert bench.drained() == [b"after"]
    assert {"format.json", "nsqd.dat"} <= set(bench.disk.paths())


PRECIOUS = bytes.fromhex("00051607 00020000")  # what a Mac puts beside a file
STRAYS = (
    "topics/._t.topic",
    "topics/backup.topic",
    "topics/orders.topic/99999.log",
    "topics/orders.topic/99999.idx",
    "topics/orders.topic/._archive.channel",
    "topics/orders.topic/notes.txt",
    "topics/orders.topic/old.channel/0",
    "topics/.DS_Store",
)


def test_what_has_not_our_shape_is_left_alone_and_named(bench: BrokerBench) -> None:
    bench.publish(b"x")
    bench.disk.make_folder("topics/orders.topic/old.channel")
    for path in STRAYS:
        bench.disk.replace_file(path, PRECIOUS)
    for _ in range(2):
        bench.kill()
        bench.upkeep()
        assert names(bench) == ["orders", "orders/archive"]
        assert bench.lost() == []
        for path in STRAYS:
            named = path.removesuffix("/0")
            assert sum(named in warning for warning in bench.events.warnings) == 1, path
            assert bench.disk.read_file(path) == PRECIOUS
    assert bench.drained() == [b"x"]
    bench.channel("new")
    assert bench.publish(b"y", topic="new") == "OK"
