"""
The rows of the dashboard's documents, as they are sent (docs/admin-api.md). Never changed once
made.

Times are seconds since 1970, rates are a second. None: not known, or there is none. A rate is known
of nodes that answer; a depth also of those that did.
"""

import msgspec

from nsqx.cluster.number_fields import SENT_AS, with_known_fields, with_row_fields
from nsqx.runtime import numbers

__all__ = [
    "Attention",
    "ChannelAtNode",
    "ChannelRow",
    "ClientRow",
    "LookupdRow",
    "NodeRow",
    "QuantileRow",
    "TopicAtNode",
    "TopicRow",
    "Totals",
    "Verdict",
]


class Verdict(msgspec.Struct):
    """The one line at the top."""

    level: str
    text: str
    counts: dict[str, int]


class Attention(msgspec.Struct):
    """Something that somebody should look at; ``is_older``: it may be there for longer."""

    id: str
    rule: str
    severity: str
    since: float
    text: str
    is_older: bool = False
    topic: str = ""
    channel: str = ""
    node: str = ""
    lookupd: str = ""
    page: str = "/"
    lost: int = 0
    messages: int = 0
    acknowledged_by: str = ""
    silenced_until: float | None = None
    is_known: bool = False


class Totals(msgspec.Struct, rename=SENT_AS):
    """The whole cluster."""

    in_rate: float | None = None
    out_rate: float | None = None
    depth: int | None = None
    in_flight: int | None = None
    deferred: int | None = None
    clients: int | None = None
    requeues: float | None = None
    timeouts: float | None = None
    topics: int | None = None
    channels: int | None = None
    nodes: int | None = None
    nodes_up: int = 0
    lookupds: int = 0
    lookupds_up: int = 0
    oldest_at: float | None = None
    messages: int | None = None


class LookupdRow(msgspec.Struct):
    """One nsqlookupd."""

    address: str
    state: str
    observed_at: float | None
    failing_since: float | None
    error: str
    version: str
    nodes: int | None
    topics: int | None
    found: bool
    left_out: int = 0  # of these, topics without nodes that have no row


@with_known_fields(numbers.NODE)
class NodeRow(msgspec.Struct, rename=SENT_AS):
    """One nsqd."""

    address: str
    tcp_address: str
    hostname: str
    version: str
    zone: str
    region: str
    state: str
    observed_at: float | None
    failing_since: float | None
    error: str
    health: str
    start_time: int | None
    restarted_at: float | None
    out_of_date: bool
    lookupds: list[str]
    is_nsqx: bool | None
    topics: int | None = None
    channels: int | None = None
    clients: int | None = None
    depth: int | None = None
    in_flight: int | None = None
    messages: int | None = None
    in_rate: float | None = None
    out_rate: float | None = None
    disk_free: int | None = None
    loop_lag: float | None = None
    rss: int | None = None
    open_fds: int | None = None
    fds_max: int | None = None
    lost_messages: int | None = None
    draining: bool | None = None
    answer_ms: float | None = None


@with_row_fields(numbers.TOPIC)
class TopicRow(msgspec.Struct, rename=SENT_AS, gc=False):
    """One topic, summed over the nodes that have it."""

    depth: int | None = 0
    total_depth: int | None = 0
    messages: int | None = 0
    message_bytes: int | None = 0
    in_rate: float | None = None
    out_rate: float | None = None
    paused: bool = False
    clients: int | None = 0
    in_flight: int | None = 0
    deferred: int | None = 0
    requeues: float | None = None
    timeouts: float | None = None
    oldest_at: float | None = None
    latency: float | None = None
    channels: int | None = 0
    nodes: int = 0
    stale: int = 0
    log_bytes: int | None = None
    channel_flags: list[str] = []
    flags: list[str] = []


@with_row_fields(numbers.CHANNEL)
class ChannelRow(msgspec.Struct, rename=SENT_AS, gc=False):
    """One channel, summed over the nodes that have it."""

    depth: int = 0
    backend_depth: int = 0
    in_flight: int = 0
    deferred: int = 0
    clients: int = 0
    paused: bool = False
    in_rate: float | None = None
    out_rate: float | None = None
    requeues: float | None = None
    timeouts: float | None = None
    messages: int = 0
    requeued: int = 0
    timed_out: int = 0
    oldest_at: float | None = None
    latency: float | None = None
    nodes: int = 0
    stale: int = 0
    flags: list[str] = []

    @property
    def waiting(self) -> int:
        """All messages that are not finished."""
        return self.depth + self.in_flight + self.deferred


class QuantileRow(msgspec.Struct):
    """A percentile of the time from publish to finish."""

    quantile: float
    seconds: float


@with_row_fields(numbers.TOPIC)
class TopicAtNode(msgspec.Struct, rename=SENT_AS):
    """A topic on one node."""

    state: str
    observed_at: float | None
    tombstoned: bool
    depth: int | None = None
    total_depth: int | None = None
    backend_depth: int | None = None
    messages: int | None = None
    message_bytes: int | None = None
    in_rate: float | None = None
    out_rate: float | None = None
    paused: bool | None = None
    channels: int | None = None
    clients: int | None = None
    oldest_at: float | None = None
    log_bytes: int | None = None
    log_segments: int | None = None
    e2e: list[QuantileRow] | None = None
    is_nsqx: bool | None = None


@with_row_fields(numbers.CHANNEL)
class ChannelAtNode(msgspec.Struct, rename=SENT_AS):
    """A channel on one node."""

    state: str
    observed_at: float | None
    depth: int
    backend_depth: int
    in_flight: int
    deferred: int
    requeued: int
    timed_out: int
    messages: int
    in_rate: float | None
    out_rate: float | None
    requeues: float | None
    timeouts: float | None
    clients: int
    paused: bool
    oldest_at: float | None
    e2e: list[QuantileRow] | None


class ClientRow(msgspec.Struct):
    """A consumer's connection."""

    node: str
    topic: str
    channel: str
    remote_address: str
    client_id: str
    hostname: str
    user_agent: str
    version: str
    connected_at: float | None
    ready: int
    in_flight: int
    messages: int
    finished: int
    requeued: int
    sample_rate: int
    tls: bool
    tls_version: str
    compression: str
    authed: bool
    identity: str
    identity_url: str
    zone: str
    region: str
