"""What only our nsqd tells, read from its ``/metrics``. No I/O."""

import re
from dataclasses import dataclass, field

__all__ = ["NodeMetrics", "parse_metrics"]


@dataclass(slots=True)
class NodeMetrics:
    """Sizes are bytes, ages are seconds. None: the node does not say."""

    disk_free: int | None = None
    loop_lag: float | None = None
    rss: int | None = None
    open_fds: int | None = None
    fds_max: int | None = None
    lost_messages: int | None = None
    oldest_at: dict[str, dict[str, float]] = field(default_factory=dict)  # by topic and channel
    log_bytes: dict[str, int] = field(default_factory=dict)  # by topic
    log_segments: dict[str, int] = field(default_factory=dict)

    def oldest_of_topic(self, topic: str) -> float | None:
        """Return when the oldest message that any channel has not finished was published."""
        return min(self.oldest_at.get(topic, {}).values(), default=None)

    def oldest(self, topic: str, channel: str) -> float | None:
        return self.oldest_at.get(topic, {}).get(channel)


_GAUGES = {
    "nsqd_disk_free_bytes": "disk_free",
    "process_resident_memory_bytes": "rss",
    "process_open_fds": "open_fds",
    "process_max_fds": "fds_max",
    "nsqd_lost_messages_total": "lost_messages",
}
_NAMES = "|".join(_GAUGES)
_PLAIN = re.compile(rf"^({_NAMES}) (\d+)(?:\.0)?$", re.MULTILINE)
_LAG = re.compile(r"^nsqd_event_loop_lag_seconds_(sum|count) ([0-9.e+-]+)$", re.MULTILINE)
# Names of topics and channels need no escapes.
_TOPIC = re.compile(
    r'^nsqd_topic_log_(bytes|segments)\{topic="([^"\\]+)"\} (\d+)(?:\.0)?$', re.MULTILINE
)
_AGE = re.compile(
    r"^nsqd_channel_oldest_unfinished_age_seconds"
    r'\{topic="([^"\\]+)",channel="([^"\\]+)"\} ([0-9.e+-]+)$',
    re.MULTILINE,
)


def parse_metrics(text: str, now: float) -> NodeMetrics:
    """Return what is of use here; what is missing or strange is left out."""
    metrics = NodeMetrics()
    for name, value in _PLAIN.findall(text):
        setattr(metrics, _GAUGES[name], int(value))
    lag = {name: float(value) for name, value in _LAG.findall(text)}
    if lag.get("count"):
        metrics.loop_lag = round(lag["sum"] / lag["count"], 6)
    for kind, topic, value in _TOPIC.findall(text):
        kept = metrics.log_bytes if kind == "bytes" else metrics.log_segments
        kept[topic] = int(value)
    for topic, channel, age in _AGE.findall(text):
        if float(age) > 0:
            # Whole seconds, so that what stands still does not seem to change.
            metrics.oldest_at.setdefault(topic, {})[channel] = float(round(now - float(age)))
    return metrics
