"""The counters and rates of all nodes added up, by topic and by channel. No I/O."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import add
from typing import Any

from nsqx.cluster.counters import Columns, Table
from nsqx.cluster.health import DaemonState
from nsqx.cluster.rates import NO_NODE_RATES
from nsqx.cluster.views import ClusterView, NodeView
from nsqx.runtime import numbers

__all__ = ["Sums", "sum_of_channels", "sum_of_topics"]

# A topic's rows have these of its channels: of a counter its growth, of anything else itself.
OF_CHANNELS = (
    "out_rate",
    *(number.rate or number.row for number in numbers.CHANNEL if number.is_summed),
)


class Sums:
    """
    Columns that are added up; a number that nobody has is 0.

    Attributes:
        names: of the rows, each once.
        columns: by name of the column. All are as long as ``names``.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.columns: dict[str, list[Any]] = {}

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    def column(self, name: str) -> list[Any]:
        """Return a column, which may be changed."""
        column = self.columns.get(name)
        if column is None:
            column = self.columns[name] = [0] * len(self.names)
        return column

    def add(self, names: Sequence[str], columns: Columns) -> None:
        """Add columns whose rows are ``names``, all of which are known."""
        if names == self.names:
            for name, column in columns.items():
                total = self.columns.get(name)
                self.columns[name] = list(map(add, total, column)) if total else list(column)
            return
        places = list(map(self._index.__getitem__, names))
        for name, column in columns.items():
            total = self.column(name)
            for place, value in zip(places, column, strict=True):
                total[place] += value


def sum_of_channels(view: ClusterView) -> tuple[Sums, dict[str, str]]:
    """Return the sums of all channels, by ``topic/channel``, and the topic of each."""
    owners: dict[str, str] = {}
    for layout in {node.counters.layout: None for node in view.nodes}:
        owners.update(zip(layout.keys, layout.owners, strict=True))
    sums = Sums(tuple(owners))
    for node in view.nodes:
        columns = {**node.counters.channels, **_rates(node).channels}
        keys = node.counters.layout.keys
        sums.add(keys, {**columns, **_marks(node, len(keys))})
    return sums, owners


def sum_of_topics(view: ClusterView, channels: Sums, owners: Iterable[str]) -> Sums:
    """Return the sums of all topics. ``owners``: the topics of ``channels``."""
    layouts = {node.counters.layout for node in view.nodes}
    known = {topic for layout in layouts for topic in layout.topics}
    sums = Sums(sorted(known.union(*(lookupd.topics for lookupd in view.lookupds))))
    for node in view.nodes:
        columns = {**node.counters.topics, **_rates(node).topics}
        topics = node.counters.layout.topics
        sums.add(topics, {**columns, **_marks(node, len(topics))})
    sums.columns["total_depth"] = list(sums.column("depth"))
    of_channels = {"channels": [1] * len(channels.names)}
    if "depth" in channels.columns:
        of_channels["total_depth"] = channels.columns["depth"]
    of_channels |= {
        name: channels.columns[name] for name in OF_CHANNELS if name in channels.columns
    }
    sums.add(tuple(owners), of_channels)
    return sums


def _rates(node: NodeView) -> Table:
    return NO_NODE_RATES if node.rates is None else node.rates.aligned(node.counters.layout)


def _marks(node: NodeView, count: int) -> Columns:
    """Return who has a row: each node, each whose rates are known, each that does not answer."""
    marks = {"nodes": [1] * count}
    if node.rates is not None:
        marks["rated"] = marks["nodes"]
    if node.state is not DaemonState.OK:
        marks["stale"] = marks["nodes"]
    return marks
