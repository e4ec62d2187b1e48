"""Medians, percentiles and the tables made of them."""

from benchmarks import report
from benchmarks.result import Result, median_of, percentile
from benchmarks.scenarios import BUDGETED, Budget, Kind, Measure, Scenario, matrix


def test_median_is_taken_figure_by_figure() -> None:
    merged = median_of(
        [
            Result(10, 1.0, 10.0, cpu_us=3.0),
            Result(10, 9.0, 1.1, cpu_us=1.0),
            Result(10, 2.0, 5.0, cpu_us=2.0),
        ]
    )
    assert (merged.seconds, merged.rate, merged.cpu_us, merged.p99_ms) == (2.0, 5.0, 2.0, None)


def test_percentile_of_a_hundred_values() -> None:
    assert percentile(range(1, 101), 0.99) == 100
    assert percentile(range(1, 101), 0.5) == 51
    assert percentile([7], 0.999) == 7


def test_rates_have_to_reach_their_budget_and_costs_to_stay_below() -> None:
    assert Budget(Measure.RATE, 100).met(101)
    assert not Budget(Measure.RATE, 100).met(99)
    assert Budget(Measure.CPU_US, 0.9).met(0.8)
    assert not Budget(Measure.CPU_US, 0.9).met(1.0)


def test_budget_table_says_what_was_missed() -> None:
    scenario = Scenario("s", Kind.PUBLISH, 1, budgets=(Budget(Measure.CPU_US, 0.9),))
    row = report.budget_table([(scenario, Result(1, 1.0, 1.0, cpu_us=1.25))]).splitlines()[-1]
    assert row.split() == ["s", "broker", "CPU", "us", "per", "message", "<=", "0.9", "1.25", "NO"]


def test_scenario_names_are_unique() -> None:
    names = [scenario.name for scenario in [*BUDGETED, *matrix()]]
    assert len(names) == len(set(names))
