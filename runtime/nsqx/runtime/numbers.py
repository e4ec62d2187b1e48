"""
The table of numbers: what an nsqd counts and measures of its topics, its channels and itself. No
I/O.

One entry says what a number is, and where it is shown under which name. What shows numbers reads
this table and names none of them: ``/stats`` as JSON and text, ``/metrics``, statsd, the rows of
the dashboard and of ``/api/v2``, its OpenAPI description, the columns of the dashboard's tables,
Grafana's panels, and ``docs/numbers.md``. A new number is an entry here and whatever counts it;
``nsqx.nsqd.telling.readings`` says how to read it if it is no attribute of the same name.

The order is that of NSQ's ``/stats``. What is ours is shown there only where it is not 0, so that
NSQ's own answers stay as they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

__all__ = [
    "CHANNEL",
    "NODE",
    "PROCESS",
    "TOPIC",
    "Behaviour",
    "Number",
    "Stats",
    "Text",
    "Unit",
    "counted_rows",
    "number_of",
    "titles",
]


class Behaviour(Enum):
    """How a number behaves, in Prometheus's words."""

    COUNTER = "counter"  # only grows while the process lives
    GAUGE = "gauge"  # goes up and down
    FLAG = "flag"  # yes or no; a gauge of 1 and 0


class Unit(Enum):
    """What a number counts."""

    MESSAGES = "messages"
    BYTES = "bytes"
    SECONDS = "seconds"
    CLIENTS = "clients"
    FILES = "files"
    NONE = ""


class Stats(Enum):
    """Whether ``/stats`` has a number, and when."""

    ALWAYS = "always"
    NOT_ZERO = "not zero"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Text:
    """How the text form of ``/stats`` shows a number: ``label: value``, padded to a width."""

    label: str
    width: int


@dataclass(frozen=True, slots=True)
class Number:
    """
    One number.

    Attributes:
        name: in ``/stats``, and of the attribute or the reading in nsqd.
        help: one sentence, with a full stop.
        stats: whether ``/stats`` has it; what stands there if not zero, statsd is told if not zero.
            Of such a number, tables show a column only if one of their rows has some.
        text: how its text form has it; None: not.
        statsd: its last part there; "": not told.
        metric, labels: its family in ``/metrics`` and what tells it from others of the family
            besides topic and channel; "": not told.
        row: its name in the dashboard's rows and in ``/api/v2``; "": not there.
        rate: there, the name of what it grows by a second; "": nobody asks.
        is_summed: a topic's row has the sum of its channels.
        label: what people see above a column or a graph.
        rate_label: the same for its growth a second.
    """

    name: str
    kind: Behaviour
    unit: Unit
    help: str
    stats: Stats = Stats.ALWAYS
    text: Text | None = None
    statsd: str = ""
    metric: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    row: str = ""
    rate: str = ""
    is_summed: bool = False
    label: str = ""
    rate_label: str = ""

    def __str__(self) -> str:
        return self.name


def _refused_because(reason: str) -> Number:
    return Number(
        name := f"refused_{reason.replace(' ', '_')}_count",
        Behaviour.COUNTER,
        Unit.MESSAGES,
        "Messages that were published and refused, by reason.",
        stats=Stats.NOT_ZERO,
        statsd=name,
        metric="nsqd_topic_refused_total",
        labels={"reason": reason},
        label="Refused",
    )


TOPIC: Sequence[Number] = (
    Number(
        "depth",
        Behaviour.GAUGE,
        Unit.MESSAGES,
        "Messages that wait at a topic.",
        text=Text("depth", 5),
        statsd="depth",
        metric="nsqd_topic_depth",
        row="depth",
        label="Depth",
    ),
    Number(
        "backend_depth",
        Behaviour.GAUGE,
        Unit.MESSAGES,
        "Those of them that are on disk only.",
        text=Text("be-depth", 5),
        statsd="backend_depth",
        metric="nsqd_topic_backend_depth",
        label="On disk",
    ),
    Number(
        "message_count",
        Behaviour.COUNTER,
        Unit.MESSAGES,
        "Messages published.",
        text=Text("msgs", 8),
        statsd="message_count",
        metric="nsqd_topic_messages_total",
        row="messages",
        rate="in_rate",
        label="Messages",
        rate_label="In",
    ),
    Number(
        "message_bytes",
        Behaviour.COUNTER,
        Unit.BYTES,
        "Bytes of the bodies published.",
        statsd="message_bytes",
        metric="nsqd_topic_message_bytes_total",
        row="message_bytes",
        label="Published",
    ),
    Number(
        "refused_count",
        Behaviour.COUNTER,
        Unit.MESSAGES,
        "Messages that were published and refused.",
        stats=Stats.NOT_ZERO,
        text=Text("refused", 5),
        row="refused",
        rate="refusals",
        label="Refused",
        rate_label="Refusals",
    ),
    *map(_refused_because, ("disk full", "disk failed", "ending", "draining", "fault")),
    Number(
        "paused",
        Behaviour.FLAG,
        Unit.NONE,
        "1 while paused.",
        metric="nsqd_topic_paused",
        row="paused",
        label="Paused",
    ),
    Number(
        "log_bytes",
        Behaviour.GAUGE,
        Unit.BYTES,
        "Bytes of a topic's log on disk.",
        stats=Stats.NEVER,
        metric="nsqd_topic_log_bytes",
        label="Log",
    ),
    Number(
        "log_segments",
        Behaviour.GAUGE,
        Unit.FILES,
        "Files of a topic's log.",
        stats=Stats.NEVER,
        metric="nsqd_topic_log_segments",
        label="Segments",
    ),
)

CHANNEL: Sequence[Number] = (
    Number(
        "depth",
        Behaviour.GAUGE,
        Unit.MESSAGES,
        "Messages that wait in a channel.",
        text=Text("depth", 5),
        statsd="depth",
        metric="nsqd_channel_depth",
        row="depth",
        label="Depth",
    ),
    Number(
        "backend_depth",
        Behaviour.GAUGE,
        Unit.MESSAGES,
        "Those of them that are on disk only.",
        text=Text("be-depth", 5),
        statsd="backend_depth",
        metric="nsqd_channel_backend_depth",
        row="backend_depth",
        label="On disk",
    ),
    Number(
        "in_flight_count",
        Behaviour.GAUGE,
        Unit.MESSAGES,
        "Messages that were delivered and are unanswered.",
        text=Text("inflt", 4),
        statsd="in_flight_count",
        metric="nsqd_channel_in_flight",
        row="in_flight",
        is_summed=True,
        label="In flight",
    ),
    Number(
        "deferred_count",
        Behaviour.GAUGE,
        Unit.MESSAGES,
        "Messages that wait for their time.",
        text=Text("def", 4),
        statsd="deferred_count",
        metric="nsqd_channel_deferred",
        row="deferred",
        is_summed=True,
        label="Deferred",
    ),
    Number(
        "message_count",
        Behaviour.COUNTER,
        Unit.MESSAGES,
        "Messages that came to a channel.",
        text=Text("msgs", 8),
        statsd="message_count",
        metric="nsqd_channel_messages_total",
        row="messages",
        rate="in_rate",
        label="Messages",
        rate_label="In",
    ),
    Number(
        "zone_local_msg_count",
        Behaviour.COUNTER,
        Unit.MESSAGES,
        "Deliveries to consumers in the node's zone.",
        stats=Stats.NOT_ZERO,
        label="To its zone",
    ),
    Number(
        "region_local_msg_count",
        Behaviour.COUNTER,
        Unit.MESSAGES,
        "Deliveries to consumers in another zone of the node's region.",
        stats=Stats.NOT_ZERO,
        label="To its region",
    ),
    Number(
        "global_msg_count",
        Behaviour.COUNTER,
        Unit.MESSAGES,
        "Deliveries to consumers elsewhere.",
        stats=Stats.NOT_ZERO,
        label="Elsewhere",
    ),
    Number(
        "requeue_count",
        Behaviour.COUNTER,
        Unit.MESSAGES,
        "Messages given back by a client (REQ).",
        text=Text("re-q", 5),
        statsd="requeue_count",
        metric="nsqd_channel_requeues_total",
        row="requeued",
        rate="requeues",
        is_summed=True,
        label="Requeued",
        rate_label="Requeues",
    ),
    Number(
        "timeout_count",
        Behaviour.COUNTER,
        Unit.MESSAGES,
        "Deliveries that were not answered in time.",
        text=Text("timeout", 5),
        statsd="timeout_count",
        metric="nsqd_channel_timeouts_total",
        row="timed_out",
        rate="timeouts",
        is_summed=True,
        label="Timed out",
        rate_label="Timeouts",
    ),
    Number(
        "dropped_count",
        Behaviour.COUNTER,
        Unit.MESSAGES,
        "Messages that an ephemeral channel dropped: more than --mem-queue-size waited.",
        stats=Stats.NOT_ZERO,
        metric="nsqd_channel_dropped_total",
        label="Dropped",
    ),
    Number(
        "client_count",
        Behaviour.GAUGE,
        Unit.CLIENTS,
        "Clients that are subscribed.",
        statsd="clients",
        metric="nsqd_channel_clients",
        row="clients",
        is_summed=True,
        label="Consumers",
    ),
    Number(
        "paused",
        Behaviour.FLAG,
        Unit.NONE,
        "1 while paused.",
        metric="nsqd_channel_paused",
        row="paused",
        label="Paused",
    ),
    Number(
        "oldest_unfinished_age",
        Behaviour.GAUGE,
        Unit.SECONDS,
        "Age of the oldest message that is not finished; 0 if all are. It may be that of a finished"
        " message up to 255 before.",
        stats=Stats.NEVER,
        metric="nsqd_channel_oldest_unfinished_age_seconds",
        label="Age of the oldest unfinished",
    ),
)

# Told by whatever part of the program counts them (``runtime.process``), at each daemon.
PROCESS: Sequence[Number] = (
    Number(
        "open_fds",
        Behaviour.GAUGE,
        Unit.FILES,
        "Open files, connections among them.",
        stats=Stats.NEVER,
        metric="process_open_fds",
        row="open_fds",
        label="Open files",
    ),
    Number(
        "fds_max",
        Behaviour.GAUGE,
        Unit.FILES,
        "Most files that may be open.",
        stats=Stats.NEVER,
        metric="process_max_fds",
        row="fds_max",
        label="Files that may be open",
    ),
    Number(
        "dropped_lines",
        Behaviour.COUNTER,
        Unit.NONE,
        "Lines that nobody read in time.",
        stats=Stats.NOT_ZERO,
        metric="log_lines_dropped_total",
        row="dropped_lines",
        label="Lost lines of its log",
    ),
    Number(
        "crashed_tasks",
        Behaviour.COUNTER,
        Unit.NONE,
        "Background tasks that ended by an error.",
        stats=Stats.NOT_ZERO,
        metric="tasks_crashed_total",
        row="crashed_tasks",
        label="Crashed tasks",
    ),
)

# What has no metric is a sum, or made of several of them.
NODE: Sequence[Number] = (
    Number(
        "start_time_s",
        Behaviour.GAUGE,
        Unit.SECONDS,
        "When it started (Unix time).",
        stats=Stats.NEVER,
        metric="nsqd_start_time_seconds",
        label="Started",
    ),
    Number(
        "is_healthy",
        Behaviour.FLAG,
        Unit.NONE,
        "1 unless the disk refused a write, and would not take as much now.",
        stats=Stats.NEVER,
        metric="nsqd_healthy",
        label="Disk takes writes",
    ),
    Number(
        "is_draining",
        Behaviour.FLAG,
        Unit.NONE,
        "1 while the node is being emptied: it takes no messages.",
        stats=Stats.NEVER,
        metric="nsqd_draining",
        row="draining",
        label="Draining",
    ),
    Number(
        "topics",
        Behaviour.GAUGE,
        Unit.NONE,
        "Topics.",
        stats=Stats.NEVER,
        metric="nsqd_topics",
        row="topics",
        label="Topics",
    ),
    Number(
        "channels",
        Behaviour.GAUGE,
        Unit.NONE,
        "Channels.",
        stats=Stats.NEVER,
        metric="nsqd_channels",
        row="channels",
        label="Channels",
    ),
    Number(
        "depth",
        Behaviour.GAUGE,
        Unit.MESSAGES,
        "Messages that wait at a node: at its topics and in its channels.",
        stats=Stats.NEVER,
        row="depth",
        label="Depth",
    ),
    Number(
        "in_flight",
        Behaviour.GAUGE,
        Unit.MESSAGES,
        "Messages that a node has delivered and that are unanswered.",
        stats=Stats.NEVER,
        row="in_flight",
        label="In flight",
    ),
    Number(
        "messages",
        Behaviour.COUNTER,
        Unit.MESSAGES,
        "Messages published to a node.",
        stats=Stats.NEVER,
        row="messages",
        rate="in_rate",
        label="Messages",
        rate_label="In",
    ),
    Number(
        "clients",
        Behaviour.GAUGE,
        Unit.CLIENTS,
        "Clients that are subscribed at a node, once for each channel.",
        stats=Stats.NEVER,
        row="clients",
        label="Consumers",
    ),
    Number(
        "loop_lag",
        Behaviour.GAUGE,
        Unit.SECONDS,
        "How late a node's event loop is, on average since it started.",
        stats=Stats.NEVER,
        row="loop_lag",
        label="Loop lag",
    ),
    Number(
        "loop_lag_highest",
        Behaviour.GAUGE,
        Unit.SECONDS,
        "The largest lag since the last scrape.",
        stats=Stats.NEVER,
        metric="nsqd_event_loop_lag_highest_seconds",
        label="Largest loop lag",
    ),
    Number(
        "disk_free_bytes",
        Behaviour.GAUGE,
        Unit.BYTES,
        "Room on the disk of the data path.",
        stats=Stats.NEVER,
        metric="nsqd_disk_free_bytes",
        row="disk_free",
        label="Disk free",
    ),
    Number(
        "damages",
        Behaviour.COUNTER,
        Unit.NONE,
        "Places where the log was found damaged.",
        stats=Stats.NOT_ZERO,
        metric="nsqd_damages_total",
        row="damages",
        label="Damaged places",
    ),
    Number(
        "lost_messages",
        Behaviour.COUNTER,
        Unit.MESSAGES,
        "Messages lost to damage of the log.",
        stats=Stats.NOT_ZERO,
        metric="nsqd_lost_messages_total",
        row="lost_messages",
        label="Lost messages",
    ),
    Number(
        "unexpected_errors",
        Behaviour.COUNTER,
        Unit.NONE,
        "Faults of nsqd itself; each is in its log.",
        stats=Stats.NOT_ZERO,
        metric="nsqd_unexpected_errors_total",
        row="unexpected_errors",
        label="Faults",
    ),
    Number(
        "resident_bytes",
        Behaviour.GAUGE,
        Unit.BYTES,
        "Resident memory.",
        stats=Stats.NEVER,
        metric="process_resident_memory_bytes",
        row="rss",
        label="Memory",
    ),
    Number(
        "cpu_seconds",
        Behaviour.COUNTER,
        Unit.SECONDS,
        "CPU time, user and system.",
        stats=Stats.NEVER,
        metric="process_cpu_seconds_total",
        label="CPU",
    ),
    Number(
        "allocated_blocks",
        Behaviour.GAUGE,
        Unit.NONE,
        "Blocks that Python's allocator has given out.",
        stats=Stats.NEVER,
        metric="python_allocated_blocks",
        label="Allocated blocks",
    ),
    *PROCESS,
)


def number_of(table: Iterable[Number], name: str) -> Number:
    """Return a number by its name."""
    return next(number for number in table if number.name == name)


def titles(table: Iterable[Number]) -> dict[str, str]:
    """Return what people see above each column, by the name of the number or rate in a row."""
    found: dict[str, str] = {}
    for number in table:
        if number.row:
            found[number.row] = number.label
        if number.rate:
            found[number.rate] = number.rate_label
    return found


def counted_rows(numbers: Iterable[Number]) -> dict[str, str]:
    """Return which row grows by which rate, by the name of the rate."""
    return {number.rate: number.row for number in numbers if number.rate}
