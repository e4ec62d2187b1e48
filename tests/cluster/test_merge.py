"""The cluster as a whole: sums over nodes that answer and those that did."""

from dataclasses import replace

import msgspec

from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import merge
from nsqx.cluster.node_metrics import NodeMetrics
from nsqx.cluster.rates import ChannelRates
from nsqx.cluster.rows import TopicRow
from tests.support.cluster_views import (
    NOW,
    channel,
    cluster_view,
    lookupd_view,
    node_view,
    producer,
    rates_of,
    topic,
)


def test_counts_are_summed_over_nodes() -> None:
    one = node_view(
        "n1:1",
        topic("t", channel("c", depth=3, in_flight_count=1, client_count=2), depth=5),
    )
    two = node_view(
        "n2:1", topic("t", channel("c", depth=4, deferred_count=2, paused=True), message_count=9)
    )
    snapshot = merge(cluster_view(one, two))
    row = snapshot.channels["t/c"]
    assert (row.depth, row.in_flight, row.deferred, row.clients) == (7, 1, 2, 2)
    assert (row.nodes, row.stale, row.paused, row.waiting) == (2, 0, True, 10)
    whole = snapshot.topics["t"]
    assert (whole.depth, whole.total_depth, whole.messages, whole.channels) == (5, 12, 9, 1)
    assert (snapshot.totals.depth, snapshot.totals.topics, snapshot.totals.nodes_up) == (12, 1, 2)
    assert (snapshot.nodes["n1:1"].depth, snapshot.nodes["n2:1"].depth) == (8, 4)


def test_a_number_that_only_the_table_names_is_summed_too() -> None:
    nodes = [node_view(f"n{n}:1", topic("t", channel("c"), refused_count=n)) for n in (1, 2)]
    row = msgspec.to_builtins(merge(cluster_view(*nodes)).topics["t"])
    assert (row["refused"], row["refusals"]) == (3, 0.0)


def test_a_node_that_does_not_answer_counts_with_what_it_said_last() -> None:
    alive = node_view("n1:1", topic("t", channel("c", depth=1)))
    frozen = node_view("n2:1", topic("t", channel("c", depth=2)), state=DaemonState.STALE)
    snapshot = merge(cluster_view(alive, frozen))
    row = snapshot.channels["t/c"]
    assert (row.depth, row.nodes, row.stale) == (3, 2, 1)
    assert snapshot.nodes["n2:1"].state == "stale"
    assert snapshot.nodes["n2:1"].observed_at == NOW - 14
    assert snapshot.totals.nodes_up == 1


def test_rates_are_summed_over_nodes_and_channels() -> None:
    rates = rates_of(
        {"t": 10.0},
        {("t", "c"): ChannelRates(10, 8, 1, 0), ("t", "d"): ChannelRates(10, 10, 0, 0.5)},
    )
    one = node_view("n1:1", topic("t", channel("c"), channel("d")), rates=rates)
    two = node_view("n2:1", topic("t", channel("c"), channel("d")), rates=rates)
    snapshot = merge(cluster_view(one, two))
    assert snapshot.channels["t/c"].out_rate == 16
    row = snapshot.topics["t"]
    assert (row.in_rate, row.out_rate, row.requeues, row.timeouts) == (20, 36, 2, 1)
    assert (snapshot.totals.in_rate, snapshot.nodes["n1:1"].out_rate) == (20, 18)


def test_rates_are_rounded_so_that_noise_is_no_change() -> None:
    rates = rates_of({"t": 1.23456}, {("t", "c"): ChannelRates(123.456, 0, 0, 0)})
    snapshot = merge(cluster_view(node_view("n1:1", topic("t", channel("c")), rates=rates)))
    assert snapshot.topics["t"].in_rate == 1.23
    assert snapshot.channels["t/c"].in_rate == 123.5


def test_a_topic_that_only_lookupds_know_is_there_without_nodes() -> None:
    snapshot = merge(cluster_view(lookupds=[lookupd_view(topics=["lonely"])]))
    assert snapshot.topics["lonely"].nodes == 0


def test_topics_are_sorted_whatever_the_order_of_nodes() -> None:
    one, two = node_view("n1:1", topic("b")), node_view("n2:1", topic("a"))
    assert list(merge(cluster_view(one, two)).topics) == ["a", "b"]


def test_the_oldest_message_is_the_oldest_of_all_nodes() -> None:
    def metrics(at: float) -> NodeMetrics:
        return NodeMetrics(oldest_at={"t/c": at}, log_bytes={"t": 10}, disk_free=5)

    one = node_view("n1:1", topic("t", channel("c")), metrics=metrics(NOW - 5))
    two = node_view("n2:1", topic("t", channel("c")), metrics=metrics(NOW - 50))
    snapshot = merge(cluster_view(one, two))
    assert snapshot.channels["t/c"].oldest_at == NOW - 50
    assert snapshot.topics["t"].oldest_at == snapshot.totals.oldest_at == NOW - 50
    assert (snapshot.topics["t"].log_bytes, snapshot.nodes["n1:1"].disk_free) == (20, 5)


def test_what_only_our_nsqd_tells_is_null_for_others() -> None:
    row = merge(cluster_view(node_view("n1:1", topic("t", channel("c"))))).nodes["n1:1"]
    assert (row.is_nsqx, row.disk_free, row.lost_messages) == (False, None, None)


def test_nodes_older_than_the_newest_are_out_of_date() -> None:
    nodes = [
        node_view(f"n{number}:1", version=version)
        for number, version in enumerate(["1.10.0", "1.9.3"])
    ]
    rows = merge(cluster_view(*nodes)).nodes
    assert [row.out_of_date for row in rows.values()] == [False, True]


def test_an_older_release_of_ours_is_out_of_date_and_an_nsqd_of_nsq_is_not() -> None:
    nodes = [
        node_view(f"n{number}:1", version="1.3.0", stats={"nsqx_version": ours})
        for number, ours in enumerate(["0.2.0", "0.1.0", ""])
    ]
    rows = merge(cluster_view(*nodes)).nodes
    assert [row.out_of_date for row in rows.values()] == [False, True, False]


def test_rates_are_sent_under_the_names_in_and_out() -> None:
    snapshot = merge(cluster_view(node_view("n1:1", topic("t", channel("c")))))
    plain = msgspec.to_builtins(snapshot)
    for row in (plain["totals"], plain["nodes"]["n1:1"], plain["topics"]["t"]):
        assert {"in", "out"} <= row.keys()
    assert {"in", "out"} <= plain["channels"]["t/c"].keys()


def test_rates_of_a_silent_node_are_unknown_and_not_zero() -> None:
    stats = topic("t", channel("c", depth=3))
    silent = node_view("n1:1", stats, state=DaemonState.STALE)
    snapshot = merge(cluster_view(silent))
    rows = (snapshot.nodes["n1:1"], snapshot.topics["t"], snapshot.channels["t/c"], snapshot.totals)
    for row in rows:
        assert (row.in_rate, row.out_rate, row.depth or 3) == (None, None, 3)
    busy = rates_of({"t": 5.0}, {("t", "c"): ChannelRates(5, 4, 0, 0)})
    both = merge(cluster_view(silent, node_view("n2:1", stats, rates=busy)))
    assert (both.topics["t"].in_rate, both.topics["t"].stale) == (5.0, 1)


def test_of_a_node_that_never_answered_nothing_is_known() -> None:
    hanging = node_view("n1:4151", state=DaemonState.UNREACHABLE)
    lookupd = lookupd_view("l1:1", producer("n1:4151", {"t": False}))
    snapshot = merge(cluster_view(hanging, lookupds=[lookupd]))
    row, node = snapshot.topics["t"], snapshot.nodes["n1:4151"]
    assert (row.depth, row.total_depth, row.clients, row.in_rate) == (None, None, None, None)
    assert (node.depth, node.messages, node.in_rate) == (None, None, None)
    assert (snapshot.totals.depth, snapshot.totals.in_rate) == (None, None)


def test_a_topic_that_no_node_has_is_empty_for_sure() -> None:
    lookupd = lookupd_view("l1:1", topics=["lonely"])
    row = merge(cluster_view(node_view("n1:1"), lookupds=[lookupd])).topics["lonely"]
    assert (row.nodes, row.depth, row.in_rate) == (0, 0, 0.0)


def test_a_topic_of_a_node_that_never_answered_is_known_in_part_only() -> None:
    heard = node_view("n1:4151", topic("t", channel("c", depth=2), depth=1))
    lookupd = lookupd_view("l1:1", producer("n2:4151", {"t": False, "u": False}))

    def rows(state: DaemonState) -> tuple[TopicRow, TopicRow]:
        view = cluster_view(heard, node_view("n2:4151", state=state), lookupds=[lookupd])
        topics = merge(view).topics
        return topics["t"], topics["u"]

    both, alone = rows(DaemonState.UNREACHABLE)
    assert (both.total_depth, both.nodes, both.stale) == (3, 2, 1)
    assert (alone.total_depth, alone.nodes, alone.stale) == (None, 1, 1)
    assert msgspec.to_builtins(alone)["refused"] is None
    asked, _ = rows(DaemonState.WAITING)
    assert (asked.nodes, asked.stale) == (1, 0)


def test_of_a_lookupd_that_never_answered_nothing_is_known() -> None:
    silent = replace(lookupd_view(state=DaemonState.UNREACHABLE), observed_at=None)
    snapshot = merge(cluster_view(lookupds=[silent]))
    row, totals = snapshot.lookupds["l1:4161"], snapshot.totals
    assert (row.nodes, row.topics) == (None, None)
    assert (totals.nodes, totals.topics, totals.channels, totals.messages) == (None,) * 4
    empty = merge(cluster_view(lookupds=[lookupd_view()])).totals
    assert (empty.nodes, empty.topics, empty.channels, empty.messages) == (0, 0, 0, 0)


def test_a_node_that_never_answered_has_no_start_and_took_no_time() -> None:
    view = replace(node_view(state=DaemonState.UNREACHABLE), observed_at=None)
    row = merge(cluster_view(view)).nodes["n1:4151"]
    assert (row.start_time, row.answer_ms, row.is_nsqx) == (None, None, None)
    (row,) = merge(cluster_view(node_view(stats={"nsqx_version": "0.1.0"}))).nodes.values()
    assert (row.start_time, row.is_nsqx, row.lost_messages) == (None, True, None)


def test_that_nobody_has_counted_what_was_lost_is_not_zero() -> None:
    (row,) = merge(cluster_view(node_view(metrics=NodeMetrics()))).nodes.values()
    assert row.lost_messages is None
