"""What the collector knows of each daemon: the input of every document. Immutable, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nsqx.cluster.answers import ChannelCounts, Latency, NodeCounts, NsqdStats, Producer
from nsqx.cluster.counters import NOTHING, Table
from nsqx.cluster.health import DaemonState
from nsqx.cluster.node_metrics import NodeMetrics
from nsqx.cluster.node_settings import NodeSettings
from nsqx.cluster.rates import NodeRates

__all__ = ["ClusterView", "LookupdView", "NodeView"]


@dataclass(frozen=True, slots=True)
class LookupdView:
    """One nsqlookupd. ``producers`` are of ``observed_at``."""

    address: str
    state: DaemonState
    observed_at: float | None
    failing_since: float | None
    error: str
    version: str = ""
    found: bool = False  # by discovery
    producers: Sequence[Producer] = ()
    topics: frozenset[str] = frozenset()
    left_out: int = 0  # topics without nodes that are in none of the other fields
    channels: Mapping[str, Sequence[str]] = field(default_factory=dict)  # of topics without nodes


@dataclass(frozen=True, slots=True)
class NodeView:
    """One nsqd. ``stats`` is None until it has answered once; ``counters`` are the same numbers."""

    address: str  # HTTP
    state: DaemonState
    observed_at: float | None
    failing_since: float | None
    error: str
    answer_ms: float = 0.0
    tcp_address: str = ""
    hostname: str = ""
    version: str = ""
    zone: str = ""
    region: str = ""
    restarted_at: float | None = None
    restarted_at_s: float | None = None  # by the clock of ``ClusterView.at_s``
    lookupds: tuple[str, ...] = ()  # that list it
    tombstoned: frozenset[str] = frozenset()  # topics, at any lookupd
    stats: NodeCounts | None = None
    counters: Table = NOTHING
    rates: NodeRates | None = None  # None: not known now
    metrics: NodeMetrics | None = None  # None: unknown, or it has none
    with_clients: NsqdStats | None = None  # seen less often than ``stats``
    finish_rates: Mapping[str, float] = field(default_factory=dict)  # by client's remote address
    settings: NodeSettings | None = None  # None: not told yet
    latencies: Mapping[str, Latency] = field(default_factory=dict)  # by topic, or topic/channel

    @property
    def is_current(self) -> bool:
        return self.state is DaemonState.OK

    @property
    def is_nsqx(self) -> bool | None:
        """Whether it is one of ours; None: it has never answered."""
        if self.stats is None:
            return None
        return bool(self.stats.nsqx_version) or self.metrics is not None

    def channel(self, topic: str, channel: str) -> ChannelCounts | None:
        """Return what the node last said of a channel."""
        for each in (self.stats.topics or ()) if self.stats else ():
            if each.topic_name == topic:
                found = (c for c in each.channels or () if c.channel_name == channel)
                return next(found, None)
        return None

    def has_channels(self, topic: str) -> bool:
        topics = (self.stats.topics or ()) if self.stats else ()
        return any(each.topic_name == topic and each.channels for each in topics)

    def has_topic(self, topic: str) -> bool:
        return any(
            each.topic_name == topic for each in ((self.stats.topics or ()) if self.stats else ())
        )


@dataclass(frozen=True, slots=True)
class ClusterView:
    """
    Everything, at one moment.

    Attributes:
        now: seconds since 1970, as shown.
        at_s: the same moment by a clock that runs evenly, for every interval.
    """

    now: float
    at_s: float
    lookupds: Sequence[LookupdView]
    nodes: Sequence[NodeView]

    def node(self, address: str) -> NodeView | None:
        return next((node for node in self.nodes if node.address == address), None)

    def nodes_with(self, topic: str) -> list[NodeView]:
        """Return the nodes that have a topic: as they said, or as is said of those never heard."""
        unheard = self.unheard()
        return [
            node
            for node in self.nodes
            if node.has_topic(topic) or topic in unheard.get(node.address, ())
        ]

    def unheard(self) -> dict[str, set[str]]:
        """Return the topics that lookupds list at nodes that have never answered, by address."""
        heard = {node.address for node in self.nodes if node.stats is not None}
        found: dict[str, set[str]] = {}
        for lookupd in self.lookupds:
            for producer in lookupd.producers:
                if (address := producer.http_address) not in heard:
                    found.setdefault(address, set()).update(producer.topics or ())
        return found
