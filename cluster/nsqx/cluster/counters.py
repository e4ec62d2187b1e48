"""
The numbers of one nsqd's topics and channels, as columns. No I/O.

Theory of operation
    Ten nodes with 2,000 channels each are 20,000 rows a second. A loop over rows in Python takes a
    microsecond and a half for each; so numbers are kept by column, in lists as long as there are
    topics or channels, and added up and subtracted by ``map``, whose loops run in C: a fifteenth of
    the time (``python -m benchmarks.dashboard --everywhere``).

    Rows have no names of their own: the ``Layout`` has them. As long as an nsqd has the same topics
    and channels its layout is the same object, and nodes that have the same ones share it
    (``Layouts``). So "do these columns fit each other" is a question of identity.

    A column in which all numbers are 0 is left out; most are.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, repeat
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import msgspec
from msgspec.structs import astuple

from nsqx.cluster.answers import ChannelCounts, NodeCounts, TopicCounts
from nsqx.runtime import numbers

__all__ = ["NOTHING", "Column", "Columns", "Layout", "Layouts", "Table", "table_of"]

Column: TypeAlias = Sequence[Any]  # of int, bool or float: as in the row
Columns: TypeAlias = Mapping[str, Column]
_LayoutKey: TypeAlias = tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]]

# Columns bear the names of the rows that they become (``rows.py``).
_TOPIC_COLUMNS = {number.name: number.row for number in numbers.TOPIC if number.row}
_CHANNEL_COLUMNS = {number.name: number.row for number in numbers.CHANNEL if number.row}


class Layout:
    """
    Which topics and channels there are, in the order of the columns. Never changed.

    Attributes:
        topics: names.
        counts: how many channels each topic has.
        channels: names, topic after topic.
    """

    def __init__(
        self, topics: tuple[str, ...], counts: tuple[int, ...], channels: tuple[str, ...]
    ) -> None:
        self.topics = topics
        self.counts = counts
        self.channels = channels

    @cached_property
    def owners(self) -> tuple[str, ...]:
        """The topic of each channel."""
        pairs = zip(self.topics, self.counts, strict=True)
        return tuple(topic for topic, count in pairs for _ in range(count))

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """``topic/channel`` of each channel."""
        pairs = zip(self.owners, self.channels, strict=True)
        return tuple(f"{topic}/{channel}" for topic, channel in pairs)

    @cached_property
    def spans(self) -> dict[str, slice]:
        """Where the channels of each topic are."""
        ends = tuple(accumulate(self.counts))
        return dict(zip(self.topics, map(slice, (0, *ends), ends), strict=True))

    @cached_property
    def topic_index(self) -> dict[str, int]:
        return {topic: index for index, topic in enumerate(self.topics)}

    @cached_property
    def key_index(self) -> dict[str, int]:
        return {key: index for index, key in enumerate(self.keys)}


class Table:
    """
    Columns of one nsqd: one number for each topic, and one for each channel. Never changed.

    As long as an nsqd says the same, its table is the same object, too: whoever has done something
    with it need not do it again.
    """

    __slots__ = ("_totals", "channels", "layout", "topics")

    def __init__(self, layout: Layout, topics: Columns, channels: Columns) -> None:
        self.layout = layout
        self.topics = topics
        self.channels = channels
        self._totals: dict[tuple[str, bool], Any] = {}

    def says_the_same_as(self, other: "Table") -> bool:
        """Whether all rows and numbers are alike."""
        return (
            self.layout is other.layout
            and self.topics == other.topics
            and self.channels == other.channels
        )

    def total(self, name: str, *, of_topics: bool = False) -> Any:
        """Return the sum of a column; added up when it is first asked for."""
        key = (name, of_topics)
        if key not in self._totals:
            columns = self.topics if of_topics else self.channels
            self._totals[key] = sum(columns.get(name, ()))
        return self._totals[key]

    def total_of_topic(self, name: str, topic: str) -> Any:
        """Return the sum of a column over the channels of a topic; 0 if it is not here."""
        span = self.layout.spans.get(topic)
        return 0 if span is None else sum(self.channels.get(name, ())[span])

    def aligned(self, layout: Layout) -> "Table":
        """Return the same numbers in the order of another layout; 0 for what is not here."""
        if layout is self.layout:
            return self
        return Table(
            layout,
            _reordered(self.topics, self.layout.topics, layout.topics),
            _reordered(self.channels, self.layout.keys, layout.keys),
        )


NOTHING = Table(Layout((), (), ()), {}, {})


def _reordered(columns: Columns, names: Sequence[str], wanted: Sequence[str]) -> Columns:
    reordered = {}
    for column, values in columns.items():
        known = dict(zip(names, values, strict=True))
        reordered[column] = list(map(known.get, wanted, repeat(0)))
    return reordered


class Layouts:
    """The layouts in use, each once."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[_LayoutKey, Layout] = WeakValueDictionary()

    def of(
        self, topics: Sequence[str], counts: list[int], channels: Sequence[str], likely: Layout
    ) -> Layout:
        """Return the layout of some names; ``likely`` is one that may be it."""
        key = (tuple(topics), tuple(counts), tuple(channels))
        if key == (likely.topics, likely.counts, likely.channels):
            return likely
        layout = self._known.get(key)
        if layout is None:
            layout = self._known[key] = Layout(*key)
        return layout


def table_of(stats: NodeCounts, layouts: Layouts, likely: Layout = NOTHING.layout) -> Table:
    """Return the counters of what an nsqd answered; ``likely`` is the layout it had before."""
    rows = stats.topics or ()
    topics = _columns(TopicCounts, rows)
    channels = _columns(ChannelCounts, [each for row in rows for each in row.channels or ()])
    layout = layouts.of(
        topics.get("topic_name", ()),
        [len(row.channels or ()) for row in rows],
        channels.get("channel_name", ()),
        likely,
    )
    return Table(layout, _renamed(topics, _TOPIC_COLUMNS), _renamed(channels, _CHANNEL_COLUMNS))


def _columns(kind: type[msgspec.Struct], rows: Iterable[msgspec.Struct]) -> dict[str, Any]:
    """Return the fields of rows as columns. Rows may have more fields, behind those of ``kind``."""
    return dict(zip(kind.__struct_fields__, zip(*map(astuple, rows), strict=True), strict=False))


def _renamed(columns: dict[str, Any], names: Mapping[str, str]) -> Columns:
    known = ((name, columns.get(field, ())) for field, name in names.items())
    return {name: column for name, column in known if any(column)}
