"""What is generated from the table of numbers for those who read no Python. No I/O."""

import json
from collections.abc import Iterable

from nsqx.runtime import numbers
from nsqx.runtime.numbers import Number, Stats

__all__ = ["dashboard_module", "number_reference"]

_HEAD = """\
# Numbers

What an nsqd counts and measures of its topics and channels, and under which name each number is
shown where. A rate is the growth a second, over the last five seconds. `/stats` and
statsd have numbers marked with * only where they are not 0.

This page is generated from the code (`make deploy-files`).
"""
_MODULE_HEAD = """\
/**
 * The numbers that rows of topics and channels have, by their names there. Generated from the table
 * of numbers by `make deploy-files`; not to be changed here.
 */
"""


def number_reference() -> str:
    """Return ``docs/numbers.md``."""
    return "\n".join([_HEAD, _table("Topics", numbers.TOPIC), _table("Channels", numbers.CHANNEL)])


def _table(title: str, table: Iterable[Number]) -> str:
    rows = "\n".join(map(_row, table))
    return (
        f"## {title}\n\n"
        "| meaning | kind | `/stats` | statsd | `/metrics` | dashboard, `/api/v2` | rate |\n"
        f"|---|---|---|---|---|---|---|\n{rows}\n"
    )


def _row(number: Number) -> str:
    name = {
        Stats.ALWAYS: f"`{number.name}`",
        Stats.NOT_ZERO: f"`{number.name}` *",
        Stats.NEVER: "",
    }[number.stats]
    labels = "".join(f'{name}="{value}"' for name, value in number.labels.items())
    metric = f"{number.metric}{{{labels}}}" if labels else number.metric
    rate = {"in_rate": "in"}.get(number.rate, number.rate)
    kind = number.kind.value + (f", {number.unit.value}" if number.unit.value else "")
    shown = [f"`{each}`" if each else "" for each in (number.statsd, metric, number.row, rate)]
    return "| " + " | ".join([number.help, kind, name, *shown]) + " |"


def dashboard_module() -> str:
    """Return the module that the dashboard's pages take titles and columns from."""
    tables = {"TOPIC_NUMBERS": numbers.TOPIC, "CHANNEL_NUMBERS": numbers.CHANNEL}
    return "\n".join([_MODULE_HEAD.rstrip(), *(_export(*each) for each in tables.items())])


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
