"""Percentiles of a moving window against the sorted samples."""

import math

from hypothesis import given, strategies as st

from nsqx.nsqd.core.latency import Histogram, LatencyWindow, merged

BUCKET_ERROR = 2 ** (1 / 32)
QUANTILES = (1.0, 0.99, 0.5)


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value, 1)
    return histogram


@given(st.lists(st.integers(1, 10**13), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_that_of_the_sorted_samples_but_for_a_buckets_width(
    values: list[int], quantile: float
) -> None:
    exact = sorted(values)[math.ceil(quantile * len(values)) - 1]
    (found,) = filled(values).quantiles_ns([quantile])
    assert exact / BUCKET_ERROR - 1 <= found <= exact * BUCKET_ERROR + 1


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=50))
def test_quantiles_stay_between_the_smallest_and_the_largest(values: list[int]) -> None:
    highest, *others = filled(values).quantiles_ns(QUANTILES)
    assert highest == max(values)
    assert all(min(values) <= value <= max(values) for value in others)


@given(st.lists(st.integers(0, 10**13)), st.lists(st.integers(0, 10**13)))
def test_merging_is_as_if_all_samples_were_in_one(left: list[int], right: list[int]) -> None:
    together = filled(left)
    together.merge(filled(right))
    assert together == filled(left + right)


def test_nothing_is_zero() -> None:
    assert Histogram().quantiles_ns(QUANTILES) == [0, 0, 0]


def test_a_clock_that_was_set_back_counts_as_no_time() -> None:
    histogram = filled([-5])
    assert (histogram.total, histogram.quantiles_ns([1.0])) == (1, [0])


def test_samples_are_forgotten_after_half_to_one_window() -> None:
    window = LatencyWindow(100, now_ns=0)
    window.add(7, 3, now_ns=10)
    assert merged([window], now_ns=60).total == 3
    window.add(9, 1, now_ns=60)
    assert merged([window], now_ns=99).total == 4
    assert merged([window], now_ns=100).total == 1
    assert merged([window], now_ns=150).total == 0


def test_a_long_silence_forgets_everything_at_once() -> None:
    window = LatencyWindow(100, now_ns=0)
    window.add(7, 3, now_ns=40)
    assert merged([window], now_ns=10_000).total == 0


def test_a_topic_has_the_samples_of_all_its_channels() -> None:
    windows = [LatencyWindow(100, now_ns=0) for _ in range(3)]
    for number, window in enumerate(windows):
        window.add(1000 * (number + 1), 1, now_ns=1)
    whole = merged(windows, now_ns=2)
    assert (whole.total, whole.quantiles_ns([1.0])) == (3, [3000])
