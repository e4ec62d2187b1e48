"""Durations on the command line, in the words of the daemons' options: ``90s``, ``10m``."""

from typing import TYPE_CHECKING, Any

import click

from nsqx.runtime.durations import SECOND_NS, parse_duration

__all__ = ["Duration"]


# Older versions of click take no parameters.
if TYPE_CHECKING:
    _Seconds = click.ParamType[float]
else:
    _Seconds = click.ParamType


class Duration(_Seconds):
    """A positive duration; the command gets seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """See click."""
        if isinstance(value, int | float):
            return float(value)
        try:
            seconds = parse_duration(value) / SECOND_NS
        except ValueError:
            seconds = 0
        if seconds <= 0:
            self.fail(f"{value!r} is no duration, such as 90s or 10m", param, ctx)
        return seconds
