"""
Fields of answers and rows that come from the table of numbers (``nsqx.runtime.numbers``). No I/O.

What the code reads by name is written out in a class, so that its type is checked; every other
number of the table is added here, and reaches ``/api/v2`` and the dashboard without being named.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from msgspec.structs import fields

from nsqx.runtime.numbers import Behaviour, Number, Stats, Unit

__all__ = [
    "SENT_AS",
    "added_names",
    "added_values",
    "descriptions",
    "seldom",
    "with_known_fields",
    "with_row_fields",
    "with_stats_fields",
]

_Class = TypeVar("_Class", bound=type[msgspec.Struct])
_Field = tuple[str, Any, Any]

# As rows send these: ``in`` is a word of Python's.
SENT_AS = {"in_rate": "in", "out_rate": "out"}

_added: dict[type, frozenset[str]] = {}  # by the extended class


def with_stats_fields(table: Iterable[Number]) -> Callable[[_Class], _Class]:
    """Let a class read what ``/stats`` has of the numbers that rows show."""
    shown = [number for number in table if number.row and number.stats is not Stats.NEVER]
    return lambda kind: _extended(kind, [_field(number, number.name) for number in shown])


def with_row_fields(table: Iterable[Number]) -> Callable[[_Class], _Class]:
    """Let rows have the numbers of the table (None: not known), and their growth a second."""
    return lambda kind: _extended(kind, _row_fields([number for number in table if number.row]))


def with_known_fields(table: Iterable[Number]) -> Callable[[_Class], _Class]:
    """Let rows have the numbers of the table, each None as long as it is not known."""
    shown = [(number, *_field(number, number.row)) for number in table if number.row]
    return lambda kind: _extended(kind, [(name, type_ | None, None) for _, name, type_, _ in shown])


def added_names(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields of a class that were added here."""
    return _added.get(kind, frozenset())


def seldom(table: Iterable[Number], rows: Iterable[msgspec.Struct]) -> list[Number]:
    """Return the numbers that are mostly 0, and are not in one of the rows: a column for each."""
    listed = list(rows)
    return [
        number
        for number in table
        if number.row
        and number.stats is Stats.NOT_ZERO
        and any(getattr(row, number.row) for row in listed)
    ]


def added_values(
    kind: type[msgspec.Struct],
    table: Iterable[Number],
    stats: msgspec.Struct,
    rate: Callable[[str], float | None],
) -> dict[str, Any]:
    """Return the values of those fields of a row that were added here; ``rate`` is by name."""
    added = added_names(kind)
    found: dict[str, Any] = {}
    for number in table:
        if number.row in added:
            found[number.row] = getattr(stats, number.name)
        if number.rate in added:
            found[number.rate] = rate(number.rate)
    return found


def descriptions(table: Iterable[Number]) -> dict[str, str]:
    """Return what each field of a row is, by its name as it is sent."""
    found: dict[str, str] = {}
    for number in table:
        if number.row:
            found[number.row] = number.help
        if number.rate:
            found[SENT_AS.get(number.rate, number.rate)] = f"Growth a second of: {number.help}"
    return found


def _row_fields(table: Iterable[Number]) -> list[_Field]:
    found = [
        (name, type_ | None, default)
        for name, type_, default in (_field(number, number.row) for number in table)
    ]
    return found + [(number.rate, float | None, 0.0) for number in table if number.rate]


def _field(number: Number, name: str) -> _Field:
    if number.kind is Behaviour.FLAG:
        return name, bool, False
    return (name, float, 0.0) if number.unit is Unit.SECONDS else (name, int, 0)


def _extended(kind: _Class, wanted: Iterable[_Field]) -> _Class:
    """Return the class with the fields that it does not have yet; itself if it has all."""
    known = {each.name for each in fields(kind)}
    new = [each for each in wanted if each[0] not in known]
    if not new:
        return kind
    extended: Any = msgspec.defstruct(
        kind.__name__, new, bases=(kind,), module=kind.__module__, gc=kind.__struct_config__.gc
    )
    extended.__doc__ = kind.__doc__
    _added[extended] = frozenset(name for name, _, _ in new)
    return extended  # type: ignore[no-any-return]  # a class of the same fields, and more
