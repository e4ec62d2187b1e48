"""What a run measured, and the median of several."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from statistics import median

from benchmarks.scenarios import Measure


@dataclass(slots=True)
class Result:
    """
    Figures of one run, None where they have no meaning.

    ``cpu_us`` is per published message; where nothing was published while measuring, per message
    delivered. Latencies are in ms, memory in MB of 10**6 bytes.
    """

    messages: int
    seconds: float
    rate: float
    delivered_rate: float | None = None
    cpu_us: float | None = None
    cpu_system_us: float | None = None
    load_cpu_us: float | None = None
    rss_peak_mb: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    max_ms: float | None = None
    late_p99_ms: float | None = None
    start_seconds: float | None = None
    notes: dict[str, float] = field(default_factory=dict)

    def value(self, measure: Measure) -> float | None:
        return {
            Measure.CPU_US: self.cpu_us,
            Measure.RATE: self.rate,
            Measure.P99_MS: self.p99_ms,
            Measure.RSS_MB: self.rss_peak_mb,
            Measure.START_SECONDS: self.start_seconds,
        }[measure]

    def as_dict(self) -> dict[str, object]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def median_of(results: Sequence[Result]) -> Result:
    """Each figure's own median. One noisy run of three changes nothing."""
    merged: dict[str, float | None] = {}
    for name in (item.name for item in fields(Result) if item.name != "notes"):
        values = [value for result in results if (value := getattr(result, name)) is not None]
        merged[name] = median(values) if values else None
    messages, seconds, rate = merged.pop("messages"), merged.pop("seconds"), merged.pop("rate")
    assert messages is not None
    assert seconds is not None
    assert rate is not None
    return Result(int(messages), seconds, rate, notes=results[-1].notes, **merged)


def percentile(ordered: Sequence[int], fraction: float) -> int:
    """The smallest value that ``fraction`` of all do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]
