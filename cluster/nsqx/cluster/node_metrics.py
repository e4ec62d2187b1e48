"""What only our nsqd tells, read from its ``/metrics`` by the table of numbers. No I/O."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields

from nsqx.runtime import numbers
from nsqx.runtime.numbers import Behaviour, Number, Unit

__all__ = ["NodeMetrics", "parse_metrics"]


@dataclass(slots=True)
class NodeMetrics:
    """Sizes are bytes, times are seconds since 1970. None: the node does not say."""

    disk_free: int | None = None
    loop_lag: float | None = None
    rss: int | None = None
    open_fds: int | None = None
    fds_max: int | None = None
    lost_messages: int | None = None
    draining: bool | None = None
    # All other numbers of a node that rows show, by their name there.
    others: dict[str, float] = field(default_factory=dict)
    # When the oldest unfinished message was published, by topic/channel.
    oldest_at: dict[str, float] = field(default_factory=dict)
    log_bytes: dict[str, int] = field(default_factory=dict)  # by topic
    log_segments: dict[str, int] = field(default_factory=dict)


_NAMED = {each.name for each in fields(NodeMetrics)}
_OF_NODE = {number.metric: number for number in numbers.NODE if number.metric and number.row}
_LAG = "nsqd_event_loop_lag_seconds"
_AGE = "nsqd_channel_oldest_unfinished_age_seconds"


def parse_metrics(text: str, now: float) -> NodeMetrics:
    """Return what is of use here; what is missing or strange is left out."""
    metrics, lag = NodeMetrics(), {"sum": 0.0, "count": 0.0}
    take = _takers(metrics, lag, now)
    # A line at a time: each pass of a regular expression over the whole text costs more than this.
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        name, _, labels = series.partition("{")
        if name in take:
            with suppress(ValueError, OverflowError):
                take[name](labels, float(value))
    if lag["count"]:
        metrics.loop_lag = round(lag["sum"] / lag["count"], 6)
    return metrics


_Taker = Callable[[str, float], None]


def _takers(metrics: NodeMetrics, lag: dict[str, float], now: float) -> dict[str, _Taker]:
    """Return what to do with the labels and the value of a line, by the name of its metric."""

    def take(number: Number) -> _Taker:
        read: Callable[[float], float] = float if number.unit is Unit.SECONDS else int
        if number.kind is Behaviour.FLAG:
            read = bool
        if number.row in _NAMED:
            return lambda _labels, value: setattr(metrics, number.row, read(value))
        return lambda _labels, value: metrics.others.update({number.row: read(value)})

    def take_lag(part: str) -> _Taker:
        return lambda _labels, value: lag.update({part: value})

    def take_size(sizes: dict[str, int]) -> _Taker:
        return lambda labels, value: sizes.update({_key(labels): int(value)})

    def take_age(labels: str, age_s: float) -> None:
        if age_s > 0:
            # Whole seconds, so that what stands still does not seem to change.
            metrics.oldest_at[_key(labels)] = float(round(now - age_s))

    return {
        **{metric: take(number) for metric, number in _OF_NODE.items()},
        **{f"{_LAG}_{part}": take_lag(part) for part in lag},
        "nsqd_topic_log_bytes": take_size(metrics.log_bytes),
        "nsqd_topic_log_segments": take_size(metrics.log_segments),
        _AGE: take_age,
    }


def _key(labels: str) -> str:
    """
    Return ``t`` or ``t/c`` of ``topic="t",channel="c"}``. Names need no escapes.

    Raises:
        ValueError: there are other labels.
    """
    if not (labels.startswith('topic="') and labels.endswith('"}')):
        raise ValueError(labels)
    return labels[len('topic="') : -len('"}')].replace('",channel="', "/")
