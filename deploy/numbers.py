"""What is generated from the table of numbers for those who read no Python. No I/O."""

import json
from collections.abc import Iterable

from nsqx.cluster.number_fields import SENT_AS
from nsqx.runtime import numbers
from nsqx.runtime.numbers import Number, Stats

__all__ = ["dashboard_module", "number_reference"]

_HEAD = """\
# Numbers

What an nsqd counts and measures of its topics, its channels and itself, and under which name each
number is shown where. A rate is the growth a second, over the last five seconds. `/stats` and
statsd have numbers marked with * only where they are not 0, and tables a column for them only where
one is not.

This page is generated from the code (`make deploy-files`).
"""
_MODULE_HEAD = """\
/**
 * The numbers that rows of topics, channels and nodes have, by their names there, and what is above
 * the columns of their growth a second. Generated from the table of numbers by `make deploy-files`;
 * not to be changed here.
 */
"""


def number_reference() -> str:
    """Return ``docs/numbers.md``."""
    tables = [_table("Topics", numbers.TOPIC), _table("Channels", numbers.CHANNEL), _node_table()]
    return "\n".join([_HEAD, *tables])


def _table(title: str, table: Iterable[Number]) -> str:
    rows = "\n".join(map(_row, table))
    return (
        f"## {title}\n\n"
        "| meaning | kind | `/stats` | statsd | `/metrics` | dashboard, `/api/v2` | rate |\n"
        f"|---|---|---|---|---|---|---|\n{rows}\n"
    )


def _node_table() -> str:
    rows = "\n".join(map(_node_row, numbers.NODE))
    return (
        "## Nodes\n\n"
        "What has no name in `/metrics` is a sum, or made of several of them.\n\n"
        f"| meaning | kind | `/metrics` | dashboard, `/api/v2` |\n|---|---|---|---|\n{rows}\n"
    )


def _node_row(number: Number) -> str:
    row = f"{number.row}` *" if number.stats is Stats.NOT_ZERO else f"{number.row}`"
    shown = [f"`{number.metric}`" if number.metric else "", f"`{row}" if number.row else ""]
    return "| " + " | ".join([number.help, _kind(number), *shown]) + " |"


def _kind(number: Number) -> str:
    return number.kind.value + (f", {number.unit.value}" if number.unit.value else "")


def _row(number: Number) -> str:
    name = {
        Stats.ALWAYS: f"`{number.name}`",
        Stats.NOT_ZERO: f"`{number.name}` *",
        Stats.NEVER: "",
    }[number.stats]
    labels = "".join(f'{name}="{value}"' for name, value in number.labels.items())
    metric = f"{number.metric}{{{labels}}}" if labels else number.metric
    rate = SENT_AS.get(number.rate, number.rate)
    shown = [f"`{each}`" if each else "" for each in (number.statsd, metric, number.row, rate)]
    return "| " + " | ".join([number.help, _kind(number), name, *shown]) + " |"


def dashboard_module() -> str:
    """Return the module that the dashboard's pages take titles and columns from."""
    tables = {
        "TOPIC_NUMBERS": numbers.TOPIC,
        "CHANNEL_NUMBERS": numbers.CHANNEL,
        "NODE_NUMBERS": numbers.NODE,
    }
    exports = [_export(*each) for each in tables.items()]
    return "\n".join([_MODULE_HEAD.rstrip(), *exports, _rate_titles(tables.values())])


def _rate_titles(tables: Iterable[Iterable[Number]]) -> str:
    found = {
        SENT_AS.get(number.rate, number.rate): number.rate_label
        for table in tables
        for number in table
        if number.rate
    }
    lines = ",\n".join(f"  {rate}: {json.dumps(title)}" for rate, title in found.items())
    return f"export const RATE_TITLES = {{\n{lines},\n}};\n"


def _export(name: str, table: Iterable[Number]) -> str:
    entries = {
        number.row: {
            "title": number.label,
            "unit": number.unit.value,
            "help": number.help,
            "optional": number.stats is Stats.NOT_ZERO,
        }
        for number in table
        if number.row
    }
    lines = ",\n".join(f"  {row}: {json.dumps(entry)}" for row, entry in entries.items())
    return f"export const {name} = {{\n{lines},\n}};\n"
