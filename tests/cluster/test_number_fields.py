"""A number that no code names reaches the rows: from ``/stats`` through sums and rates."""

import msgspec

from nsqx.cluster.number_fields import (
    SENT_AS,
    added_values,
    descriptions,
    seldom,
    with_known_fields,
    with_row_fields,
    with_stats_fields,
)
from nsqx.runtime.numbers import Behaviour, Number, Stats, Unit

TABLE = [
    Number("depth", Behaviour.GAUGE, Unit.MESSAGES, "What waits.", row="depth"),
    Number(
        "drop_count", Behaviour.COUNTER, Unit.MESSAGES, "Dropped.", row="dropped", rate="drop_rate"
    ),
    Number("inner_count", Behaviour.COUNTER, Unit.MESSAGES, "Not for rows."),
]


@with_stats_fields(TABLE)
class Counts(msgspec.Struct, gc=False):
    """What a node says."""

    name: str
    depth: int = 0


@with_row_fields(TABLE)
class Row(msgspec.Struct, rename=SENT_AS, gc=False):
    """What is shown."""

    depth: int
    out_rate: float = 0.0


def test_a_class_reads_what_the_table_has_and_it_does_not_name() -> None:
    read = msgspec.json.decode(b'{"name": "n", "drop_count": 3, "inner_count": 4}', type=Counts)
    assert msgspec.to_builtins(read) == {"name": "n", "depth": 0, "drop_count": 3}


def test_a_row_sends_it_with_its_growth() -> None:
    counts = msgspec.json.decode(b'{"name": "n", "drop_count": 3}', type=Counts)
    row = Row(depth=1, **added_values(Row, TABLE, counts, {"drop_rate": 0.5}.__getitem__))
    assert msgspec.to_builtins(row) == {"depth": 1, "out": 0.0, "dropped": 3, "drop_rate": 0.5}


def test_what_is_mostly_0_is_named_where_it_is_not() -> None:
    faults = Number("faults", Behaviour.COUNTER, Unit.NONE, "Faults.", Stats.NOT_ZERO, row="faults")

    @with_known_fields([faults])
    class NodeRow(msgspec.Struct):
        """What is shown of a node."""

    unknown, well, ill = NodeRow(), NodeRow(faults=0), NodeRow(faults=2)
    assert msgspec.to_builtins(unknown) == {"faults": None}
    assert seldom([faults], [unknown, well]) == []
    assert seldom([faults], [well, ill]) == [faults]


def test_the_class_stays_what_it_was() -> None:
    assert (Row.__name__, Row.__doc__, Row.__module__) == ("Row", "What is shown.", __name__)
    assert not Row.__struct_config__.gc
    assert with_row_fields([])(Row) is Row


def test_a_field_is_described_by_the_table() -> None:
    assert descriptions(TABLE) == {
        "depth": "What waits.",
        "dropped": "Dropped.",
        "drop_rate": "Growth a second of: Dropped.",
    }
