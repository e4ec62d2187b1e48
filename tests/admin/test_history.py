"""Rates and depths over time, in memory and in a file."""

import math
import sqlite3
import time
from pathlib import Path

import aiohttp
import msgspec
import pytest
from hypothesis import given, strategies as st

from nsqx.admin.daemon import Admin
from nsqx.admin.known.history import (
    METRICS,
    RANGES,
    Averages,
    History,
    Ring,
    Sample,
    filled,
    sample_of,
)
from nsqx.admin.known.history_store import HistoryStore
from nsqx.admin.options import AdminOptions
from nsqx.cluster.answers import Latency, Quantile
from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import ClusterSnapshot, merge
from nsqx.cluster.node_metrics import NodeMetrics
from nsqx.cluster.rates import ChannelRates
from tests.support.cluster_views import (
    channel,
    cluster_view,
    lookupd_view,
    node_view,
    rates_of,
    topic,
)

START = 1_795_500_000  # a multiple of 300


@given(
    st.integers(1, 7),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1000)), max_size=40),
)
def test_a_ring_keeps_the_newest_slots(capacity: int, steps: list[tuple[int, int]]) -> None:
    ring, model = Ring(capacity), dict[int, float]()
    slot = 100
    for gap, value in steps:
        slot += gap
        if slot not in model:
            ring.put(slot, float(value))
            model[slot] = float(value)
    newest = max(model, default=0)
    for wanted in range(90, slot + 5):
        is_kept = newest - capacity < wanted <= newest
        assert ring.get(wanted) == (model.get(wanted) if is_kept else None)


def test_a_clock_that_is_set_back_changes_nothing() -> None:
    ring = Ring(10)
    ring.put(100, 1.0)
    ring.put(90, 2.0)
    assert (ring.get(100), ring.get(90)) == (1.0, None)


def snapshot(at: float, rate: float = 0.0, depth: int = 0) -> ClusterSnapshot:
    rates = rates_of({"t": rate}, {("t", "c"): ChannelRates(rate, rate / 2, 0, 0)})
    node = node_view("n1:1", topic("t", channel("c", depth=depth)), rates=rates)
    return merge(cluster_view(node, now=at))


def run(history: History, seconds: int, rate: float = 10.0, start: int = START) -> float:
    for second in range(seconds):
        history.record(snapshot(start + second + 0.5, rate, depth=second))
    return start + seconds + 0.5


def test_the_total_is_kept_by_the_second() -> None:
    history = History()
    now = run(history, 5)
    values = history.read("total", RANGES["10m"], now)
    assert len(values["in"]) == 600
    assert values["in"][-5:] == [10.0] * 5
    assert values["depth"][-5:] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert values["in"][-6] is None
    assert tuple(values) == METRICS["total"]


def test_others_are_kept_by_the_second_from_when_somebody_looks() -> None:
    history = History()
    now = run(history, 3)
    assert set(history.read("topic:t", RANGES["10m"], now)["in"]) == {None}
    history.watch("topic:t", now)
    now = run(history, 3, start=START + 3)
    assert history.read("topic:t", RANGES["10m"], now)["in"][-4:] == [None, 10.0, 10.0, 10.0]


def test_ten_seconds_and_minutes_are_averages() -> None:
    history = History()
    now = run(history, 130, rate=10.0)
    by_ten_seconds = history.read("channel:t/c", RANGES["1h"], now)
    assert by_ten_seconds["out"][-13:-1] == [5.0] * 12
    by_minute = history.read("topic:t", RANGES["24h"], now)
    assert by_minute["in"][-2:] == [10.0, 10.0]
    assert by_minute["in"][-3] is None
    # Of the second minute, sampled each five seconds: about its middle.
    assert by_minute["depth"][-1] == pytest.approx(90, abs=5)


def test_a_series_that_vanished_has_a_gap() -> None:
    history = History()
    run(history, 20)
    for second in range(40):
        history.record(merge(cluster_view(now=START + 20 + second + 0.5)))
    now = run(history, 21, start=START + 60)
    values = history.read("topic:t", RANGES["1h"], now)["in"]
    # The sample just after the gap is about the five seconds before, as all are.
    assert values[-8:] == [10.0, 10.0, None, None, None, 10.0, 10.0, 10.0]


def test_a_series_that_never_was_is_empty() -> None:
    values = History().read("node:n9:1", RANGES["1h"], float(START))
    assert values == dict.fromkeys(METRICS["node"], [None] * 360)


@pytest.mark.parametrize("hours", [-1, 1, 48])
def test_a_clock_that_is_set_leaves_no_gap_and_loses_nothing(hours: int) -> None:
    history, stored = History(), list[int]()
    history.on_minute = lambda at, _samples: stored.append(at)
    run(history, 120)
    history.restarted("n1:1", START + 100.0)
    moved = 3600 * hours
    for second in range(120, 240):
        even = START + second + 0.5
        view = snapshot(even + moved, 20.0), snapshot(even, 20.0)
        history.record(msgspec.structs.replace(view[0], at_s=view[1].at_s))
    now = START + 240.5 + moved
    fine = history.read("total", RANGES["10m"], now)["in"]
    assert fine[-241:] == [None, *[10.0] * 120, *[20.0] * 120]
    assert history.read("topic:t", RANGES["1h"], now)["in"][-24:-1] == [
        *[10.0] * 11,
        15.0,
        *[20.0] * 11,
    ]
    # Charts end at the time of the wall, and the file has its dates.
    assert history.start_of(RANGES["10m"], now) == START + moved - 360
    assert history.restarts(["n1:1"], since=0.0) == [START + 100.0 + moved]
    assert stored == [START, START + 60 + moved, START + 120 + moved]


def test_restarts_are_told_by_node() -> None:
    history = History()
    history.restarted("n1:1", 100.0)
    history.restarted("n2:1", 200.0)
    assert history.restarts(["n1:1", "n2:1"], since=150.0) == [200.0]
    assert history.restarts(["n1:1"], since=0.0) == [100.0]


def minutes(count: int) -> dict[str, Sample]:
    return {"topic:t": (float(count), 0.0, 1.0, 0.0)}


async def test_a_week_is_in_the_file_and_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    async with HistoryStore(str(path)) as store:
        for minute in range(10):
            store.take_minute(START + 60 * minute, minutes(minute))
    async with HistoryStore(str(path)) as store:
        values = await store.read("topic:t", RANGES["7d"], START + 650.0)
        assert values["in"][-2:] == [2.0, 7.0]
        assert len(values["in"]) == 2016
        assert await store.read("topic:x", RANGES["7d"], START + 650.0) == dict.fromkeys(
            METRICS["topic"], [None] * 2016
        )


async def test_what_is_older_than_a_week_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    week_s = 7 * 86400
    async with HistoryStore(str(path)) as store:
        for start in (START, START + week_s + 600):
            for minute in range(5):
                store.take_minute(start + 60 * minute, minutes(1))
    database = sqlite3.connect(path)
    assert database.execute("SELECT at FROM points").fetchall() == [(START + week_s + 600,)]
    database.close()


async def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    path.write_text("no database" * 100)
    with pytest.raises(OSError, match="history-path"):
        await HistoryStore(str(path)).__aenter__()


async def test_minutes_that_are_no_five_yet_survive_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "history.sqlite")
    for minute in (0, 1):  # stopped after each
        async with HistoryStore(path) as store:
            store.take_minute(START + 60 * minute, minutes(10 * minute))
    async with HistoryStore(path) as store:
        values = await store.read("topic:t", RANGES["7d"], START + 300.0)
        assert values["in"][-1] == 5.0
        assert values["in"][-2] is None


def test_what_was_before_the_start_is_taken_from_longer_steps() -> None:
    minute, coarse = RANGES["24h"], RANGES["7d"]
    now = float(START + 600)
    stored: list[float | None] = [*[None] * (coarse.points - 2), 1.0, 2.0]
    known: list[float | None] = [*[None] * (minute.points - 3), 7.0, None, 9.0]
    values = filled(known, minute, stored, coarse, now=now, until=START + 420.0)
    assert values[-10:] == [1.0] * 5 + [2.0, 2.0, 7.0, None, 9.0]
    assert values[:-10] == [None] * (minute.points - 10)


async def test_the_day_before_a_restart_of_the_process_is_shown(tmp_path: Path) -> None:
    """The file as a dashboard has left it, and the real endpoint over it."""
    path = str(tmp_path / "history.sqlite")
    now = int(time.time()) // 300 * 300
    async with HistoryStore(path) as store:
        for minute in range(5):
            store.take_minute(now - 3600 + 60 * minute, {"total": (8.0, 6.0, 5.0, 0.0, 2.0)})
    options = AdminOptions(
        http_address="127.0.0.1:0", nsqd_http_address=["127.0.0.1:1"], history_path=path
    )
    async with Admin(options) as admin, aiohttp.ClientSession() as session:
        for name, points in (("7d", 1), ("24h", 5)):
            url = f"http://{admin.http_address}/api/v2/history?series=total&range={name}"
            async with session.get(url) as response:
                answer = await response.json()
            values = answer["series"][0]["metrics"]["in"]
            at = answer["start"]
            known = [at + index * answer["step"] for index, each in enumerate(values) if each]
            assert len(known) == points
            assert known[0] == now - 3600
            assert set(values) == {None, 8.0} or set(values) == {None, 0.0, 8.0}


def test_a_node_that_does_not_answer_has_gaps_and_no_zeros() -> None:
    history = History()
    end = run(history, 20)
    silent = node_view("n1:1", topic("t", channel("c", depth=9)), state=DaemonState.STALE)
    for second in range(40):
        history.record(merge(cluster_view(silent, now=end + second)))
    for series in ("total", "topic:t", "channel:t/c", "node:n1:1"):
        values = history.read(series, RANGES["1h"], end + 40)
        assert values["in"][-2:] == [None, None], series
        assert 10.0 in values["in"]
    assert history.read("node:n1:1", RANGES["1h"], end + 40)["depth"][-1] is None


def test_half_a_slot_that_is_known_is_its_average() -> None:
    averages = Averages(2)
    averages.add((4.0, math.nan))
    averages.add((math.nan, math.nan))
    averages.add((6.0, math.nan))
    known, unknown = averages.result()
    assert (known, math.isnan(unknown)) == (5.0, True)


def test_ages_and_latencies_and_what_is_in_flight_are_kept() -> None:
    metrics = NodeMetrics(oldest_at={"t/c": START - 100.0})
    node = node_view(
        "n1:1",
        topic("t", channel("c", depth=1, in_flight_count=3)),
        metrics=metrics,
        latencies={"t/c": Latency(5, [Quantile(0.99, 2e9), Quantile(0.5, 1e9)])},
    )
    sample = sample_of(merge(cluster_view(node, now=float(START))), "channel:t/c")
    assert sample is not None
    assert dict(zip(METRICS["channel"], sample, strict=True)) == {
        "in": 0.0,
        "out": 0.0,
        "depth": 1,
        "requeues": 0.0,
        "in_flight": 3,
        "age": 100.0,
        "latency": 2.0,
    }


async def test_a_file_with_fewer_columns_gets_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    database = sqlite3.connect(path)
    columns = "series TEXT, at INTEGER, v0 REAL, v1 REAL, v2 REAL, v3 REAL, v4 REAL"
    database.execute(f"CREATE TABLE points ({columns}, PRIMARY KEY (series, at)) WITHOUT ROWID")
    database.execute("INSERT INTO points VALUES ('topic:t', ?, 1, 2, 3, 4, NULL)", (START,))
    database.commit()
    database.close()
    async with HistoryStore(str(path)) as store:
        values = await store.read("topic:t", RANGES["7d"], START + 300.0)
    assert (values["in"][-1], values["in_flight"][-1]) == (1.0, None)


def test_of_silent_nodes_the_total_is_unknown() -> None:
    stats = topic("t", channel("c", depth=3))
    snapshot = merge(cluster_view(node_view("n1:1", stats, state=DaemonState.STALE)))
    assert snapshot.totals.depth == 3  # as it was said
    sample = sample_of(snapshot, "total")
    assert sample is not None
    assert all(map(math.isnan, sample))


def test_of_a_topic_of_which_nothing_is_known_no_series_is_kept() -> None:
    history = History()
    for second in range(0, 30, 5):
        views = [lookupd_view("l:1", topics=["rubbish"])]
        listed = merge(cluster_view(lookupds=views, now=START + second))
        assert "rubbish" in listed.topics
        history.record(listed)
    assert list(history._series) == ["total"]


def test_what_is_gone_is_kept_as_long_as_it_was_there() -> None:
    history = History()
    run_for_s, gone_for_s = 1200, 0
    for second in range(0, run_for_s, 5):
        history.record(snapshot(START + second, 1.0))
    while "topic:t" in history._series:
        gone_for_s += 5
        at = START + run_for_s + gone_for_s
        history.record(merge(cluster_view(node_view("n1:1"), now=at)))
        assert gone_for_s < 2 * run_for_s
    assert run_for_s <= gone_for_s <= run_for_s + 120
    assert "node:n1:1" in history._series
