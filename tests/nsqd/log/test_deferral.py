"""What stored frames say of their delay, and what becomes of due times when the index is gone."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from nsqx.nsqd.log.deferral import due_of, mark_of
from tests.support.broker_bench import SECOND_NS, BrokerBench

HOUR_NS = 3600 * SECOND_NS
UNIT_NS = 1 << 20
DUE_NS_MAX = (1 << 63) - 1


@pytest.mark.parametrize(
    ("delay_ns", "mark", "latest_ns"),
    [
        (0, 0x8000, 0),
        (1, 0x8001, UNIT_NS),
        (UNIT_NS, 0x8001, UNIT_NS),
        (1023 * UNIT_NS, 0x83FF, 1023 * UNIT_NS),
        (1024 * UNIT_NS, 0x8400, 1024 * UNIT_NS),
        (1_500_000_000, 0x8597, 1431 * UNIT_NS),
        (2047 * UNIT_NS + 1, 0x8800, 2048 * UNIT_NS),
        (4095 * UNIT_NS, 0x8C00, 4096 * UNIT_NS),  # rounded up to the next power of two
        (DUE_NS_MAX, 0xFFFF, DUE_NS_MAX),
    ],
)
def test_a_delay_is_rounded_up(delay_ns: int, mark: int, latest_ns: int) -> None:
    assert mark_of(7, 7 + delay_ns) == mark
    assert due_of(7, mark) == min(7 + latest_ns, DUE_NS_MAX)


def test_a_frame_without_a_delay_is_as_it_is_delivered_first() -> None:
    assert mark_of(7, 0) == 1
    assert due_of(7, 1) == 0


@given(st.integers(0, 1 << 61), st.integers(0, 1 << 60))
def test_no_delay_is_cut_short_nor_much_longer(timestamp_ns: int, delay_ns: int) -> None:
    due_ns = due_of(timestamp_ns, mark_of(timestamp_ns, timestamp_ns + delay_ns))
    assert 0 <= due_ns - (timestamp_ns + delay_ns) <= UNIT_NS + delay_ns // 1000


def is_not_early(bench: BrokerBench) -> None:
    """What was deferred for an hour is not there before, and then it is, or it is gone."""
    assert [body for body in bench.drained() if b"later" in body] == []
    bench.pass_time(HOUR_NS - 1)
    assert bench.drained() == []
    bench.pass_time(HOUR_NS // 1000)
    assert all(b"later" in body for body in bench.drained())


@pytest.fixture
def bench() -> BrokerBench:
    """What is deferred lies between what is not, over some segments."""
    bench = BrokerBench()
    bench.channel()
    for number in range(40):
        bench.publish(b"now %d" % number + b"x" * 400)
        bench.publish(*[b"later %d" % number] * (number % 3 + 1), delay_ns=HOUR_NS)
    return bench


def test_a_loss_of_power_makes_nothing_early(bench: BrokerBench) -> None:
    for seed in range(60):
        is_not_early(BrokerBench(disk=bench.disk.power_loss(random.Random(seed))))


def _remove(bench: BrokerBench, path: str) -> None:
    bench.disk.remove(path)


def _lose_header(bench: BrokerBench, path: str) -> None:
    bench.disk.content(path)[:48] = bytes(48)


def _lose_records(bench: BrokerBench, path: str) -> None:
    index = bench.disk.content(path)
    index[96:-96] = bytes(len(index) - 192)


def _lose_first_record(bench: BrokerBench, path: str) -> None:
    bench.disk.content(path)[48:144] = bytes(96)


@pytest.mark.parametrize("damage", [_lose_records, _lose_first_record])
@pytest.mark.parametrize("is_sealed", [True, False])
def test_damaged_records_make_nothing_early(
    bench: BrokerBench, damage: Callable[[BrokerBench, str], None], is_sealed: bool
) -> None:
    damage(bench, bench.disk.paths(".idx")[0 if is_sealed else -1])
    bench.kill()
    is_not_early(bench)


@pytest.mark.parametrize("damage", [_remove, _lose_header])
@pytest.mark.parametrize("is_sealed", [True, False])
def test_damage_of_an_index_makes_nothing_early_and_loses_nothing(
    bench: BrokerBench, damage: Callable[[BrokerBench, str], None], is_sealed: bool
) -> None:
    damage(bench, bench.disk.paths(".idx")[0 if is_sealed else -1])
    bench.kill()
    assert len(bench.channel().backlog.deferred) == 79
    is_not_early(bench)


def test_a_requeue_is_not_forgotten_once_it_was_synced() -> None:
    """By the sync of each --sync-timeout, in both classes."""
    bench = BrokerBench()
    client = bench.client(ready=2)
    bench.publish(b"again", b"done")
    again, done = client.take()
    bench.broker.sync()
    bench.run()
    client.requeue(again, HOUR_NS)
    client.finish(done)
    bench.broker.tick()
    bench.broker.sync()
    bench.run()
    for seed in range(40):
        after = BrokerBench(disk=bench.disk.power_loss(random.Random(seed)))
        assert after.drained() == []
        after.pass_time(HOUR_NS)
        assert after.drained() == [b"again"]


def test_a_delay_keeps_its_fraction_of_a_second() -> None:
    bench = BrokerBench()
    bench.channel()
    bench.publish(b"x", delay_ns=1_999_999_999)
    for _ in range(2):
        bench.pass_time(999_999_999)
        assert bench.drained() == []
        bench.kill()
    bench.pass_time(1)
    assert bench.drained() == [b"x"]
