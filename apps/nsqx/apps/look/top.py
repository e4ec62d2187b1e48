"""``nsqx top``: what goes on in a cluster, again and again."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from nsqx.apps.complaints import Complaints
from nsqx.apps.look.cluster_view import Seen, SeenChannel, SeenNode, seen_of
from nsqx.apps.security_options import Security, security_options
from nsqx.apps.sources import LOOKUPD, Sources, source_options
from nsqx.apps.terminal import printable
from nsqx.cluster.answers import NodeCounts
from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.cluster.merge import merge
from nsqx.cluster.observer import Observer
from nsqx.cluster.views import ClusterView
from nsqx.runtime import numbers
from nsqx.runtime.numbers import titles

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

__all__ = ["lines", "top"]

Show = Callable[[Seen], None]

_OF_CHANNEL = {**titles(numbers.TOPIC), **titles(numbers.CHANNEL)}
_OF_NODE = titles(numbers.NODE)
UNKNOWN = "?"
_IN, _OUT = f"{_OF_CHANNEL['in_rate']}/s", "Out/s"

EPILOG = f"""\b
Examples:
  nsqx top                            the cluster of nsqx up, until Ctrl-C
  nsqx top --lookupd 10.0.0.1:4161 --interval 5
  nsqx top orders                     one topic
  nsqx top --discover                 the cluster on this network
  nsqx top -n 1 | head                once, as plain text
  nsqx top --json | jq .channels      an object a line, for programs

On a terminal it fills the screen; else it prints a table for each interval. Rates are known from
the second poll on, what is not known is a question mark, and stale is what a node said before it
fell silent. Without --lookupd, --nsqd and --discover, the lookupd at {LOOKUPD} is
asked.

\b
Exit codes: 0 after -n polls or a signal, 1 if nobody could be asked at the start, 2 wrong usage.
"""


@click.command(epilog=EPILOG)
@click.argument("topics", nargs=-1, metavar="[TOPIC...]")
@source_options
@security_options
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="Time between polls.",
)
@click.option("-n", "--n", "count", type=click.IntRange(min=1), help="End after N polls.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each poll.")
def top(
    topics: tuple[str, ...],
    sources: Sources,
    security: Security,
    interval: float,
    count: int | None,
    as_json: bool,
) -> None:
    """Show nodes and channels: what waits, what moves, who consumes."""
    complaints = Complaints("top")
    watch = Watch(sources, security, topics, interval, count)
    try:
        with ExitStack() as stack:
            asyncio.run(watch.run(_choose(as_json, stack)))
    except DaemonError as exc:
        complaints.fail(exc.short)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # else Python complains once more at its end
        sys.exit(1)


def _choose(as_json: bool, stack: ExitStack) -> Show:
    if as_json:
        return lambda seen: print(json.dumps(seen.as_json()), flush=True)
    if not sys.stdout.isatty():
        return lambda seen: print("\n".join([*lines(seen), ""]), flush=True)
    # Imported here: only eyes need it.
    from rich.live import Live

    live = stack.enter_context(Live(screen=True, auto_refresh=False))
    return lambda seen: live.update(screen(seen), refresh=True)


class Watch:
    """Polls until it was often enough, or a signal comes."""

    def __init__(
        self,
        sources: Sources,
        security: Security,
        topics: tuple[str, ...],
        interval: float,
        count: int | None,
    ) -> None:
        self._sources = sources
        self._security = security
        self._topics = topics
        self._interval = interval
        self._left = count  # None: no limit

    async def run(self, show: Show) -> None:
        """
        Show one view after another.

        Raises:
            DaemonError: nobody could be asked the first time. Later ones are shown.
        """
        stop = asyncio.Event()
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        observer, has_shown = Observer(), False
        nodes: list[str] = []
        async with self._sources, self._security.http(self._sources.is_lookupd) as http:
            while not stop.is_set() and self._left != 0:
                try:
                    nodes = await self._sources.all(http)
                except DaemonError:
                    if not has_shown:
                        raise
                view = await _look(http, observer, nodes)
                show(seen_of(merge(view), self._topics))
                has_shown = True
                if self._left is not None:
                    self._left -= 1
                if self._left != 0:
                    await _pause(stop, self._interval)


async def _look(http: DaemonHttp, observer: Observer, nodes: list[str]) -> ClusterView:
    path = "/stats?format=json&include_clients=false"
    found = await http.ask_all(nodes, path, NodeCounts)
    failures = {address: error.reason for address, error in found.errors.items()}
    return observer.view(time.monotonic(), time.time(), found.by_address, failures)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


# --- plain text ---


def lines(seen: Seen) -> list[str]:
    """Return the view as text: nodes, then channels, in columns."""
    more = others_of(seen.nodes)
    nodes = _columns(node_columns(more), [node_cells(node, more) for node in seen.nodes])
    more = others_of(seen.channels)
    cells = [channel_cells(each, more) for each in seen.channels]
    return [*nodes, "", *_columns(channel_columns(more), cells)]


def others_of(rows: Iterable[SeenNode | SeenChannel]) -> list[str]:
    """Return which numbers that are mostly 0 have a column now."""
    return list(dict.fromkeys(name for row in rows for name in row.others))


def node_columns(others: Iterable[str]) -> tuple[str, ...]:
    """Return the titles."""
    named = [_OF_NODE[name] for name in ("topics", "clients", "depth")]
    return _heads("nsqd", "version", *named, _IN, *(_OF_NODE[name] for name in others), "")


def channel_columns(others: Iterable[str]) -> tuple[str, ...]:
    """Return the titles."""
    named = [_OF_CHANNEL[name] for name in ("depth", "in_flight", "deferred")]
    rest = [_OF_CHANNEL[name] for name in ("clients", *others)]
    return _heads("topic", "channel", *named, _IN, _OUT, *rest)


def _heads(*titles: str) -> tuple[str, ...]:
    return tuple(title.upper() for title in titles)


def _columns(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]


def node_cells(node: SeenNode, others: Iterable[str] = ()) -> tuple[str, ...]:
    """Return a node's row."""
    counts = map(_count, (node.topics, node.clients, node.depth))
    texts = map(printable, (node.address, node.version))
    more = (_other(node.others.get(name)) for name in others)
    return (*texts, *counts, _rate(node.in_per_second), *more, printable(node.problem))


def channel_cells(channel: SeenChannel, others: Iterable[str] = ()) -> tuple[str, ...]:
    """Return a channel's row."""
    marks = [
        word for word, is_so in (("paused", channel.is_paused), ("stale", channel.stale)) if is_so
    ]
    name = f"{channel.channel} ({', '.join(marks)})" if marks else channel.channel
    return (
        printable(channel.topic),
        printable(name) or "-",
        _count(channel.depth),
        f"{channel.in_flight:,}",
        f"{channel.deferred:,}",
        _rate(channel.in_per_second),
        _rate(channel.done_per_second),
        f"{channel.clients:,}",
        *(_other(channel.others.get(name)) for name in others),
    )


def _count(number: float | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"


def _other(number: float | None) -> str:
    """Return a number that most do not have."""
    return "" if number is None else f"{number:,}"


def _rate(per_second: float | None) -> str:
    return UNKNOWN if per_second is None else f"{per_second:,.0f}"


# --- a terminal ---


def screen(seen: Seen) -> "Group":
    """Return the view as tables; what deserves a look is coloured."""
    from rich.console import Group
    from rich.text import Text  # no markup: what nodes say is text

    more = others_of(seen.nodes)
    nodes = _table(node_columns(more))
    for node in seen.nodes:
        style = "bold red" if node.problem else None
        nodes.add_row(*map(Text, node_cells(node, more)), style=style)
    more = others_of(seen.channels)
    channels = _table(channel_columns(more))
    for channel in seen.channels:
        is_alone = channel.depth and channel.channel and not channel.clients
        cells = map(Text, channel_cells(channel, more))
        channels.add_row(*cells, style="yellow" if is_alone else None)
    return Group(nodes, "", channels)


def _table(head: tuple[str, ...]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True)
    for index, title in enumerate(head):
        table.add_column(title, justify="left" if index < 2 else "right", no_wrap=True)
    return table
