"""Formats of the data folder: what is refused, and what becomes of a folder of format 1."""

import json
import random
from pathlib import Path

import pytest

from nsqx.nsqd.log.formats import DataFormat, DataFormatError
from nsqx.nsqd.log.journal import encode_record
from nsqx.nsqd.log.records import crc32c
from tests.simulation.disk import NodeDisk, ProcessEnded
from tests.support.broker_bench import NOW_NS, SECOND_NS, BrokerBench
from tests.support.kept_data import disk_of
from tests.support.simulated_disk import SimulatedDisk

KEPT = Path(__file__).parents[1] / "format1"
HOUR_NS = 3600 * SECOND_NS
FOLDER = "topics/orders.topic"


class StoppingDisk(NodeDisk):
    """Ends the process after some steps; what is submitted waits."""

    def __init__(self) -> None:
        super().__init__()
        self.run_later = self.pending.append
        self.chance = random.Random(1)


def content_of(disk: SimulatedDisk) -> dict[str, bytes]:
    return {path: bytes(disk.content(path)) for path in disk.paths()}


def bench_with_data() -> BrokerBench:
    bench = BrokerBench()
    bench.channel()
    bench.publish(b"kept")
    bench.drained()
    bench.publish(b"waits")
    bench.upkeep()
    return bench


# What this version does not know


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"format": 3}, "has format 3, and this nsqd knows 2"),
        ({"needs": ["births", "commits", "x"]}, "needs births, x, which this nsqd does not know"),
        ({"format": "new"}, "format.json is damaged"),
        ({"format": None}, "format.json is damaged"),
    ],
)
def test_a_folder_that_it_does_not_know_is_refused_and_left_alone(
    fields: dict[str, object], said: str
) -> None:
    disk = bench_with_data().disk.kill()
    known = json.loads(disk.read_file("format.json"))
    disk.content("format.json")[:] = json.dumps(known | fields).encode()
    before = content_of(disk)
    with pytest.raises(DataFormatError, match=said):
        BrokerBench(disk=disk)
    assert content_of(disk) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"2", b"\0" * 60])
def test_a_damaged_format_is_refused_and_left_alone(content: bytes) -> None:
    disk = bench_with_data().disk.kill()
    disk.content("format.json")[:] = content
    before = content_of(disk)
    with pytest.raises(DataFormatError, match=r"format\.json is damaged"):
        BrokerBench(disk=disk)
    assert content_of(disk) == before
    disk.remove("format.json")  # as the message says
    assert BrokerBench(disk=disk).drained() == [b"waits"]


def test_a_record_of_an_unknown_kind_is_not_damage() -> None:
    disk = bench_with_data().disk.kill()
    (path,) = disk.paths(".journal")
    disk.content(path).extend(encode_record(9, b"something new"))
    before = bytes(disk.content(path))
    with pytest.raises(DataFormatError, match=f"{path} has a record of kind 9"):
        BrokerBench(disk=disk)
    assert bytes(disk.content(path)) == before


def test_an_index_of_an_unknown_version_is_not_damage() -> None:
    disk = bench_with_data().disk.kill()
    (path,) = disk.paths(".idx")
    index = disk.content(path)
    index[11] = 9
    index[44:48] = crc32c(bytes(index[:44])).to_bytes(4, "big")
    before = content_of(disk)
    with pytest.raises(DataFormatError, match=f"{path} has an index of version 9"):
        BrokerBench(disk=disk)
    assert {name: content_of(disk)[name] for name in (path, path[:-3] + "log")} == {
        name: before[name] for name in (path, path[:-3] + "log")
    }


# This version's own


def test_a_new_folder_gets_a_node_id_that_stays() -> None:
    bench = BrokerBench()
    first = DataFormat.read(bench.disk)
    assert first is not None
    assert len(bytes.fromhex(first.node_id)) == 16
    bench.kill()
    assert DataFormat.read(bench.disk) == first
    assert DataFormat.read(BrokerBench(seed=2).disk) != first


# Format 1


def check_kept(bench: BrokerBench) -> None:
    """What `tests/nsqd/format1/make.py.txt` put there is there, and nothing else."""
    assert bench.events.warnings == []
    assert bench.lost() == []
    assert sorted(bench.broker.topics) == ["empty", "orders", "waiting"]
    topic = bench.topic()
    assert sorted(topic.channels) == ["archive", "second"]
    assert bench.broker.settings_of(topic) == {"retain_bytes": 1000}
    assert not bench.channel().is_paused
    second = bench.channel("second")
    assert second.is_paused
    assert sorted(second.backlog.deferred_messages()) == [
        (4, NOW_NS + HOUR_NS // 2, 1),
        (104, NOW_NS + HOUR_NS // 2, 1),
        (200, NOW_NS + HOUR_NS, 0),
        (201, NOW_NS + HOUR_NS, 0),
    ]
    waiting = bench.topic("waiting")
    assert waiting.is_paused
    assert waiting.depth == 3  # one of them is deferred
    bench.broker.pause_topic(waiting, False)
    assert bench.drained("all", "waiting") == [b"kept 0", b"kept 1"]
    bench.broker.pause_channel(topic, second, False)
    assert sorted(body.split(b" ")[0] for body in bench.drained("second")) == [
        b"0-3",
        b"10-3",
        b"19-9",
        b"last",
    ]
    assert bench.drained() == []
    bench.pass_time(HOUR_NS)
    assert len(bench.drained("second")) == 4
    assert bench.drained("all", "waiting") == [b"kept, in an hour"]


@pytest.mark.parametrize("state", ["killed", "stopped"])
def test_a_folder_of_format_1_is_taken_up(state: str) -> None:
    bench = BrokerBench(disk=disk_of(KEPT / f"{state}.tar.gz"))
    assert DataFormat.read(bench.disk) is not None
    check_kept(bench)


@pytest.mark.parametrize("state", ["killed", "stopped"])
def test_an_upgrade_may_be_broken_off_at_each_step(state: str) -> None:
    steps = 0
    is_over = False
    while not is_over:
        steps += 1
        disk = StoppingDisk()
        disk_of(KEPT / f"{state}.tar.gz", disk)
        disk.steps_left = steps
        try:
            BrokerBench(disk=disk)
        except ProcessEnded:
            pass
        else:
            is_over = True
        disk.steps_left = None
        check_kept(BrokerBench(disk=disk.kill()))
        for seed in range(3):
            after = disk.power_loss(random.Random(seed))
            check_kept(BrokerBench(disk=after))
    assert steps > 10


def test_what_format_1_was_about_to_remove_goes() -> None:
    disk = disk_of(KEPT / "killed.tar.gz")
    for path in (
        f"{FOLDER}/gone.channel.3.journal",
        f"{FOLDER}/gone.channel.stragglers",
        f"{FOLDER}/archive.channel.next",
        "topics/old.topic.0a0a0a0a.deleted/00000000000000000000.log",
        "probe",
    ):
        if path.rpartition("/")[0]:
            disk.make_folder(path.rpartition("/")[0])
        disk.replace_file(path, b"x")
    bench = BrokerBench(disk=disk)
    bench.run()
    assert not [path for path in disk.paths() if "gone" in path or "old" in path]
    assert f"{FOLDER}/archive.channel.next" not in disk.paths()
    assert "probe" not in disk.paths()
    check_kept(bench)
