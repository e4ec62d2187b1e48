"""The text that Prometheus reads, byte for byte."""

import math

from nsqx.runtime.metrics import Sample, counter, gauge, histogram, render


def test_number_without_labels() -> None:
    assert render([counter("lookups_total", "Answers.", 12)]) == (
        b"# HELP lookups_total Answers.\n# TYPE lookups_total counter\nlookups_total 12\n"
    )


def test_labels_keep_their_order_and_are_escaped() -> None:
    samples = [Sample(1.5, {"topic": 'a"b\\c\n', "channel": "d"})]
    assert render([gauge("depth", "Back\\slash\nline.", samples)]) == (
        b"# HELP depth Back\\\\slash\\nline.\n"
        b"# TYPE depth gauge\n"
        b'depth{topic="a\\"b\\\\c\\n",channel="d"} 1.5\n'
    )


def test_family_without_samples_is_still_described() -> None:
    assert render([gauge("depth", "Depth.", [])]) == b"# HELP depth Depth.\n# TYPE depth gauge\n"


def test_numbers_beyond_numbers() -> None:
    values = [Sample(value) for value in (math.inf, -math.inf, math.nan, 10**18)]
    lines = render([gauge("x", "X.", values)]).splitlines()[2:]
    assert lines == [b"x +Inf", b"x -Inf", b"x NaN", b"x 1000000000000000000"]


def test_buckets_are_cumulative() -> None:
    family = histogram("t", "T.", {0.1: 2, 1.0: 0, math.inf: 3}, 9.5, {"op": "x"})
    assert render([family]).splitlines()[2:] == [
        b't_bucket{op="x",le="0.1"} 2',
        b't_bucket{op="x",le="1.0"} 2',
        b't_bucket{op="x",le="+Inf"} 5',
        b't_sum{op="x"} 9.5',
        b't_count{op="x"} 5',
    ]
