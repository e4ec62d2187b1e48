"""The shapes of ``/api/v2``'s answers that are put together from rows: what OpenAPI describes."""

from typing import Any, Generic, NotRequired, TypedDict, TypeVar

from nsqx.admin.changed.audit import AuditEntry
from nsqx.admin.shown.settings import OptionRow, SettingsOfNode
from nsqx.admin.shown.topology import (
    DrawnChannel,
    DrawnClients,
    DrawnEdge,
    DrawnLookupd,
    DrawnNode,
    DrawnProducer,
    DrawnTopic,
)
from nsqx.cluster.registry import Inactive, Registration
from nsqx.cluster.rows import (
    Attention,
    ChannelAtNode,
    ChannelRow,
    ClientRow,
    LookupdRow,
    NodeRow,
    TopicAtNode,
    TopicRow,
    Totals,
    Verdict,
)

__all__ = [
    "ActivityDocument",
    "ChannelDocument",
    "Envelope",
    "Me",
    "NodeDocument",
    "Poll",
    "RegistryDocument",
    "SettingsDocument",
    "SummaryDocument",
    "TopicDocument",
    "TopologyDocument",
]

DocumentType = TypeVar("DocumentType")


class Envelope(TypedDict, Generic[DocumentType]):
    """A version of a document: ``full``, or ``delta`` on the version ``base``."""

    k: str
    boot: str
    seq: int
    t: float
    base: NotRequired[int]
    full: NotRequired[DocumentType | None]
    delta: NotRequired[dict[str, Any]]
    skipped: NotRequired[int]


class Poll(TypedDict):
    """What is new in several documents."""

    t: float
    boot: str
    documents: list[Envelope[dict[str, Any]]]


class GraphiteLink(TypedDict):
    """What is needed to link to it."""

    url: str
    interval: float
    prefix: str
    counter_format: str
    gauge_format: str


class Me(TypedDict):
    """Who asks, and where."""

    user: str
    role: str
    read_only: bool
    may: list[str]
    write_header: str
    base_path: str
    version: str
    has_lookupds: bool
    history_seconds: int
    graphite: GraphiteLink | None
    interval: float


class SummaryDocument(TypedDict):
    """Everything for the home page."""

    verdict: Verdict
    attention: list[Attention]
    totals: Totals
    lookupds: dict[str, LookupdRow]
    nodes: dict[str, NodeRow]
    topics: dict[str, TopicRow]
    channels: dict[str, ChannelRow]


class TopicDocument(TypedDict):
    """A topic, per node."""

    topic: str
    row: TopicRow
    channels: dict[str, ChannelRow]
    nodes: dict[str, TopicAtNode]
    attention: list[Attention]


class ChannelDocument(TypedDict):
    """A channel, per node, with its clients."""

    topic: str
    channel: str
    row: ChannelRow
    nodes: dict[str, ChannelAtNode]
    clients: dict[str, ClientRow]
    drain_seconds: float | None
    attention: list[Attention]


class NodeDocument(TypedDict):
    """A node, its topics and clients. ``memory`` is as in its ``/stats``."""

    node: NodeRow
    topics: dict[str, TopicAtNode]
    channels: dict[str, ChannelAtNode]
    clients: dict[str, ClientRow]
    memory: dict[str, Any] | None
    attention: list[Attention]


class TopologyDocument(TypedDict):
    """Who sends what through where to whom."""

    lookupds: dict[str, DrawnLookupd]
    nodes: dict[str, DrawnNode]
    topics: dict[str, DrawnTopic]
    channels: dict[str, DrawnChannel]
    producers: dict[str, DrawnProducer]
    clients: dict[str, DrawnClients]
    edges: dict[str, DrawnEdge]


class RegistryDocument(TypedDict):
    """What lookupds list, and where they differ from the nodes."""

    lookupds: list[str]
    registrations: dict[str, Registration]
    inactive: dict[str, Inactive]


class SettingsDocument(TypedDict):
    """The options of all nodes beside each other."""

    nodes: dict[str, SettingsOfNode]
    options: dict[str, OptionRow]


class ActivityDocument(TypedDict):
    """Changes, newest first; ``oldest`` is the id of the oldest that is kept."""

    entries: list[AuditEntry]
    oldest: int | None
