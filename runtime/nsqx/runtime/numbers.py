"""
The table of numbers: what an nsqd counts and measures of its topics and channels. No I/O.

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
    "TOPIC",
    "Behaviour",
    "Number",
    "Stats",
    "Text",
    "Unit",
    "counted_rows",
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
        text: how its text form has it; None: not.
        statsd: its last part there; "": not told.
        metric, labels: its family in ``/metrics`` and what tells it from others of the family
            besides topic and channel; "": not told.
        row: its name in the dashboard's rows and in ``/api/v2``; "": not there.
        rate: there, the name of what it grows by a second; "": nobody asks.
        is_summed: a topic's row has the sum of its channels.
        label: what people see above a column or a graph.
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
    ),
    *map(_refused_because, ("disk full", "disk failed", "ending", "fault")),
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


def counted_rows(numbers: Iterable[Number]) -> dict[str, str]:
    """Return which row grows by which rate, by the name of the rate."""
    return {number.rate: number.row for number in numbers if number.rate}
