"""
Grafana's dashboards, as the documents that Grafana imports. No I/O.

Panels flow in rows of 24 columns. Every metric that a query names exists: a test asks a live node.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nsqx.runtime import numbers
from nsqx.runtime.numbers import Behaviour, Number, Unit

__all__ = ["DASHBOARDS", "dashboard"]

COLUMNS = 24
HEIGHT = 8
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
CHANNEL = 'topic=~"$topic", channel=~"$channel"'
TOPIC = 'topic=~"$topic"'
NODE = 'instance=~"$instance"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph, or with ``kind="stat"`` one number. Queries are (legend, expression)."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    width: int = 8
    kind: str = "timeseries"
    description: str = ""


@dataclass(frozen=True, slots=True)
class Variable:
    """A list at the top of the page: the values of a label."""

    name: str
    metric: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page."""

    uid: str
    title: str
    variables: Sequence[Variable]
    panels: Sequence[Panel]


def dashboard(page: Dashboard) -> dict[str, Any]:
    """Return the document that Grafana imports."""
    return {
        "uid": page.uid,
        "title": page.title,
        "tags": ["nsqx"],
        "editable": True,
        "refresh": "10s",
        "schemaVersion": 39,
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_datasource(), *map(_variable, page.variables)]},
        "panels": list(_laid_out(page.panels)),
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    }


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.metric}, {variable.name})"
    return {
        "name": variable.name,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": variable.name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def _laid_out(panels: Iterable[Panel]) -> Iterable[dict[str, Any]]:
    x = y = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + HEIGHT
        place = {"x": x, "y": y, "w": panel.width, "h": HEIGHT}
        x += panel.width
        yield _panel(panel, number, place)


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend}
        for index, (legend, expression) in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "title": panel.title,
        "description": panel.description,
        "type": panel.kind,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def _stat(title: str, expression: str, unit: str = "short") -> Panel:
    return Panel(title, [("", expression)], unit, width=4, kind="stat")


def _number_panels(table: Iterable[Number], by: str, chosen: str, of: str = "") -> Iterator[Panel]:
    """Yield a panel for each family of the table of numbers; ``of`` ends its title."""
    families: dict[str, list[Number]] = {}
    for number in table:
        if number.metric:
            families.setdefault(number.metric, []).append(number)
    for metric, (first, *_) in families.items():
        by_all = ", ".join([by, *first.labels])
        legend = "/".join(f"{{{{{label}}}}}" for label in by_all.split(", "))
        series = f"{metric}{{{chosen}}}"
        is_counter = first.kind is Behaviour.COUNTER
        value = f"rate({series}[$__rate_interval])" if is_counter else series
        added = "max" if first.unit is Unit.SECONDS else "sum"
        yield Panel(
            f"{first.label}{of}{' a second' if is_counter else ''}",
            [(legend, f"{added} by ({by_all}) ({value})")],
            _unit(first),
            description=first.help,
        )


def _unit(number: Number) -> str:
    """Return Grafana's word."""
    if number.kind is Behaviour.COUNTER:
        return "Bps" if number.unit is Unit.BYTES else "ops"
    return {Unit.BYTES: "bytes", Unit.SECONDS: "s"}.get(number.unit, "short")


def _by_node(metric: str) -> str:
    return f"{metric}{{{NODE}}}"


def _percentile(share: float, histogram: str) -> str:
    buckets = f"rate({histogram}_bucket{{{NODE}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (instance, le) ({buckets}))"


# Of the table of numbers, those of a node that are shown another way.
_PANELS_OF_THEIR_OWN = {
    *("start_time_s", "loop_lag_highest", "cpu_seconds", "open_fds", "fds_max"),
}
_CLIENT = 'topic=~"$topic"'
_BY_CHANNEL = "topic, channel"


def _rate_by(labels: str, metric: str) -> str:
    return f"sum by ({labels}) (rate({metric}{{{_CLIENT}}}[$__rate_interval]))"


def _client_percentile(share: float, labels: str, histogram: str) -> str:
    buckets = f"rate({histogram}_bucket{{{_CLIENT}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({labels}, le) ({buckets}))"


OVERVIEW = Dashboard(
    "nsqx-overview",
    "nsqx: overview",
    [],
    [
        _stat("Nodes that answer", 'sum(up{job="nsqd"})'),
        _stat("Nodes whose disk refuses", "count(nsqd_healthy == 0) or vector(0)"),
        _stat("Messages waiting", "sum(nsqd_channel_depth)"),
        _stat("In flight", "sum(nsqd_channel_in_flight)"),
        _stat("Oldest unfinished", "max(nsqd_channel_oldest_unfinished_age_seconds)", "s"),
        _stat("Messages lost to damage", "sum(nsqd_lost_messages_total)"),
        Panel(
            "Published a second",
            [("{{topic}}", "sum by (topic) (rate(nsqd_topic_messages_total[$__rate_interval]))")],
            "ops",
            width=12,
        ),
        Panel(
            "Waiting",
            [("{{topic}}/{{channel}}", "topk(20, sum by (topic, channel) (nsqd_channel_depth))")],
            width=12,
        ),
        Panel(
            "Given back and timed out a second",
            [
                ("given back", "sum(rate(nsqd_channel_requeues_total[$__rate_interval]))"),
                ("timed out", "sum(rate(nsqd_channel_timeouts_total[$__rate_interval]))"),
            ],
            "ops",
        ),
        Panel("Connections", [("{{kind}}", "sum by (kind) (nsqd_connections)")]),
        Panel(
            "Topics without a channel",
            [
                (
                    "{{topic}}",
                    "sum by (topic) (nsqd_topic_depth) > 0"
                    " unless sum by (topic) (nsqd_channel_depth) >= 0",
                )
            ],
        ),
    ],
)

CHANNELS = Dashboard(
    "nsqx-channels",
    "nsqx: topics and channels",
    [Variable("topic", "nsqd_topic_depth"), Variable("channel", "nsqd_channel_depth")],
    [
        *_number_panels(numbers.CHANNEL, _BY_CHANNEL, CHANNEL),
        *_number_panels(numbers.TOPIC, "topic", TOPIC, of=" of topics"),
    ],
)

NODES = Dashboard(
    "nsqx-nodes",
    "nsqx: nodes",
    [Variable("instance", "nsqd_info")],
    [
        Panel(
            "Event loop late",
            [
                ("{{instance}} p99", _percentile(0.99, "nsqd_event_loop_lag_seconds")),
                ("{{instance}} highest", _by_node("nsqd_event_loop_lag_highest_seconds")),
            ],
            "s",
            description="What every client waits in addition.",
        ),
        Panel(
            "Commit",
            [
                ("{{instance}} p50", _percentile(0.5, "nsqd_commit_seconds")),
                ("{{instance}} p99", _percentile(0.99, "nsqd_commit_seconds")),
            ],
            "s",
            description="From the commit of a batch to the answer to its producers.",
        ),
        Panel(
            "CPU",
            [("{{instance}}", f"rate(process_cpu_seconds_total{{{NODE}}}[$__rate_interval])")],
            "percentunit",
            description="1 is one core: a node uses no more. Several nodes per host use several.",
        ),
        Panel(
            "Open files",
            [("{{instance}}", f"process_open_fds{{{NODE}}} / process_max_fds{{{NODE}}}")],
            "percentunit",
        ),
        Panel(
            "Registered at nsqlookupd",
            [
                ("{{instance}} at {{address}}", _by_node("nsqd_lookupd_connected")),
                ("{{instance}} complete at {{address}}", _by_node("nsqd_lookupd_complete")),
            ],
        ),
        Panel(
            "Segments", [("{{instance}}", f"sum by (instance) (nsqd_topic_log_segments{{{NODE}}})")]
        ),
        *_number_panels(
            (number for number in numbers.NODE if number.name not in _PANELS_OF_THEIR_OWN),
            "instance",
            NODE,
        ),
    ],
)

DIRECTORIES = Dashboard(
    "nsqx-directories",
    "nsqx: nsqlookupd",
    [],
    [
        Panel("Topics", [("{{instance}}", "nsqlookupd_topics")]),
        Panel("Channels", [("{{instance}}", "nsqlookupd_channels")]),
        Panel("Nodes", [("{{instance}} {{state}}", "nsqlookupd_producers")]),
        Panel("Registrations", [("{{instance}}", "nsqlookupd_registrations")]),
        Panel("Tombstones", [("{{instance}}", "nsqlookupd_tombstones")]),
        Panel(
            "Lookups a second",
            [("{{instance}} {{result}}", "rate(nsqlookupd_lookups_total[$__rate_interval])")],
            "ops",
        ),
        Panel("Watches", [("{{instance}}", "nsqlookupd_watches")]),
    ],
)

CLIENTS = Dashboard(
    "nsqx-clients",
    "nsqx: clients",
    [Variable("topic", "nsqx_publish_seconds_count")],
    [
        Panel(
            "Published a second",
            [("{{topic}}", _rate_by("topic", "nsqx_published_messages_total"))],
            "ops",
            description="By applications with nsqx.integrations.prometheus; so is all here.",
        ),
        Panel(
            "Until nsqd had accepted it",
            [
                ("{{topic}} p50", _client_percentile(0.5, "topic", "nsqx_publish_seconds")),
                ("{{topic}} p99", _client_percentile(0.99, "topic", "nsqx_publish_seconds")),
            ],
            "s",
        ),
        Panel(
            "Failed publishes a second",
            [("{{topic}} {{error}}", _rate_by("topic, error", "nsqx_publish_errors_total"))],
            "ops",
        ),
        Panel(
            "Handled a second",
            [("{{topic}}/{{channel}}", _rate_by(_BY_CHANNEL, "nsqx_handler_seconds_count"))],
            "ops",
        ),
        Panel(
            "Time of handlers",
            [
                (
                    "{{topic}}/{{channel}} p50",
                    _client_percentile(0.5, _BY_CHANNEL, "nsqx_handler_seconds"),
                ),
                (
                    "{{topic}}/{{channel}} p99",
                    _client_percentile(0.99, _BY_CHANNEL, "nsqx_handler_seconds"),
                ),
            ],
            "s",
        ),
        Panel(
            "Failed handlers a second",
            [
                (
                    "{{topic}}/{{channel}} {{error}}",
                    _rate_by(f"{_BY_CHANNEL}, error", "nsqx_handler_errors_total"),
                )
            ],
            "ops",
        ),
        Panel(
            "Age at the handler",
            [
                (
                    "{{topic}}/{{channel}} p99",
                    _client_percentile(0.99, _BY_CHANNEL, "nsqx_message_age_seconds"),
                )
            ],
            "s",
            description="From when nsqd had accepted a message; attempts before count in.",
        ),
        Panel(
            "Given up and expired a second",
            [
                (
                    "{{topic}}/{{channel}} given up",
                    _rate_by(_BY_CHANNEL, "nsqx_consumer_given_up_messages_total"),
                ),
                (
                    "{{topic}}/{{channel}} expired",
                    _rate_by(_BY_CHANNEL, "nsqx_consumer_expired_messages_total"),
                ),
            ],
            "ops",
            description="Expired: nsqd had taken the message back before it was answered.",
        ),
        Panel(
            "Connections to nsqds",
            [
                (
                    "{{topic}}/{{channel}}",
                    f"sum by ({_BY_CHANNEL}) (nsqx_consumer_connections{{{_CLIENT}}})",
                )
            ],
        ),
    ],
)

DASHBOARDS = {
    "overview": OVERVIEW,
    "channels": CHANNELS,
    "nodes": NODES,
    "nsqlookupd": DIRECTORIES,
    "clients": CLIENTS,
}
