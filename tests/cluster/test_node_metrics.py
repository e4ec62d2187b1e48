"""What is read from ``/metrics``, and what is left alone."""

import msgspec

from nsqx.cluster.merge import merge
from nsqx.cluster.node_metrics import NodeMetrics, parse_metrics
from tests.support.cluster_views import cluster_view, node_view

NOW = 1_795_500_000.0
AGE = "nsqd_channel_oldest_unfinished_age_seconds"


def test_gauges_sizes_and_ages() -> None:
    metrics = parse_metrics(
        "# TYPE nsqd_disk_free_bytes gauge\n"
        "nsqd_disk_free_bytes 12345\n"
        "process_open_fds 20.0\n"
        'nsqd_topic_log_bytes{topic="t"} 77\n'
        'nsqd_topic_log_segments{topic="t"} 2\n'
        f'{AGE}{{topic="t",channel="c#ephemeral"}} 60.4\n'
        f'{AGE}{{topic="t",channel="d"}} 0\n',
        NOW,
    )
    assert (metrics.disk_free, metrics.open_fds) == (12345, 20)
    assert (metrics.log_bytes, metrics.log_segments) == ({"t": 77}, {"t": 2})
    assert metrics.oldest_at == {"t/c#ephemeral": NOW - 60}


def test_a_number_of_the_table_that_no_code_names_reaches_the_row_of_the_node() -> None:
    metrics = parse_metrics("nsqd_unexpected_errors_total 3\n", NOW)
    assert metrics.others == {"unexpected_errors": 3}
    snapshot = merge(cluster_view(node_view("n:1", metrics=metrics), node_view("foreign:1")))
    rows = {name: msgspec.to_builtins(row) for name, row in snapshot.nodes.items()}
    assert rows["n:1"]["unexpected_errors"] == 3
    assert rows["foreign:1"]["unexpected_errors"] is None


def test_the_lag_is_the_average() -> None:
    text = "nsqd_event_loop_lag_seconds_sum 0.5\nnsqd_event_loop_lag_seconds_count 100\n"
    assert parse_metrics(text, NOW).loop_lag == 0.005
    assert parse_metrics("nsqd_event_loop_lag_seconds_count 0\n", NOW).loop_lag is None


def test_what_is_strange_is_left_out() -> None:
    text = (
        "nsqd_disk_free_bytes\n"
        "nsqd_disk_free_bytes many\n"
        "process_open_fds +Inf\n"
        "process_max_fds NaN\n"
        'nsqd_topic_log_bytes{node="n",topic="t"} 77\n'
        f"{AGE} 5\n"
        f'{AGE}{{topic="t",channel="c"}} +Inf\n'
        "go_goroutines 12\n\n}{\n"
    )
    assert parse_metrics(text, NOW) == NodeMetrics()
