"""Plain-text tables of results."""

from collections.abc import Iterable, Sequence

from benchmarks.result import Result
from benchmarks.scenarios import Measure, Scenario

_COLUMNS = ("msg/s", "out/s", "us/msg", "kernel", "load us", "RSS MB", "p50 ms", "p99 ms", "max ms")
_NAME_WIDTH, _WIDTH = 26, 10

HEADING = f"{'scenario':<{_NAME_WIDTH}}" + "".join(f"{name:>{_WIDTH}}" for name in _COLUMNS)


def line(scenario: Scenario, result: Result) -> str:
    """One row under HEADING; further figures follow it as ``name=value``."""
    cells = (
        _number(result.rate, 0),
        _number(result.delivered_rate, 0),
        _number(result.cpu_us, 2),
        _number(result.cpu_system_us, 2),
        _number(result.load_cpu_us, 2),
        _number(result.rss_peak_mb, 0),
        _number(result.p50_ms, 3),
        _number(result.p99_ms, 3),
        _number(result.max_ms, 2),
    )
    row = f"{scenario.name:<{_NAME_WIDTH}}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells)
    further = dict(result.notes)
    if result.start_seconds is not None:
        further["start_seconds"] = result.start_seconds
    if result.late_p99_ms is not None:
        further["load late p99 ms"] = result.late_p99_ms
    return row + "".join(f"  {name}={value:,.6g}" for name, value in further.items())


def budget_table(measured: Sequence[tuple[Scenario, Result]]) -> str:
    """Each budget beside what was measured; empty when no scenario has one."""
    rows = list(_budget_rows(measured))
    if not rows:
        return ""
    head = f"{'budget':<{_NAME_WIDTH}}{'measure':<28}{'limit':>10}{'measured':>12}  met"
    return "\n".join(["", head, *rows])


def scenario_table(scenarios: Iterable[Scenario]) -> str:
    rows = [
        f"{item.name:<{_NAME_WIDTH}} {item.kind.value:<8} {item.messages:>9} messages,"
        f" batch {item.batch}, {item.body_bytes} B, {item.publishers} publishers,"
        f" {item.channels} x {item.consumers} consumers"
        for item in scenarios
    ]
    return "\n".join(rows)


def _budget_rows(measured: Iterable[tuple[Scenario, Result]]) -> Iterable[str]:
    for scenario, result in measured:
        for budget in scenario.budgets:
            value = result.value(budget.measure)
            if value is None:
                continue
            sign = ">=" if budget.measure is Measure.RATE else "<="
            yield (
                f"{scenario.name:<{_NAME_WIDTH}}{budget.measure.value:<28}"
                f"{sign:>3}{budget.limit:>7,.6g}{value:>12,.2f}"
                f"  {'yes' if budget.met(value) else 'NO'}"
            )


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
