"""``nsqx pub``: every line of a file or of stdin becomes a message."""

import asyncio
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import BinaryIO

import click

from nsqx.apps.complaints import Complaints
from nsqx.apps.lines import LineSplitter, LineTooLongError, read_chunk
from nsqx.apps.security_options import Security, security_options
from nsqx.apps.sources import discovery_options
from nsqx.client.errors import ConnectFailed, NsqError, PartlyPublished
from nsqx.client.nsq import Nsq
from nsqx.client.settings import Settings
from nsqx.protocol.defaults import NSQD_TCP_PORT
from nsqx.protocol.names import is_valid_name
from nsqx.runtime.discovery import Finder
from nsqx.runtime.process import logs
from nsqx.runtime.process.levels import Level

__all__ = ["pub"]

Advance = Callable[[int], None]

INTERRUPTED = 130  # as shells have it: 128 + SIGINT
NSQD = f"127.0.0.1:{NSQD_TCP_PORT}"
FIND_SECONDS = 5.0  # until an nsqd to publish to is known

EPILOG = f"""\b
Examples:
  echo hello | nsqx pub greetings
  nsqx pub events events.jsonl --nsqd 10.0.0.5:4150
  tail -f app.log | nsqx pub logs     each line as it comes
  nsqx pub events events.jsonl --lookupd 10.0.0.1:4161    to all nsqds, in turn
  nsqx pub events events.jsonl --discover                 to those on this network

Without --nsqd, --lookupd and --discover, lines are published to {NSQD}.

\b
Exit codes: 0 all published, 1 something was not (a line on stderr says what), 2 wrong usage,
130 interrupted. The summary counts only what nsqd has acknowledged.
"""


@dataclass(slots=True)
class Summary:
    """What was done. ``published`` counts acknowledged messages only."""

    topic: str
    published: int = 0
    empty_lines: int = 0
    seconds: float = 0.0
    error: str | None = None

    def text(self) -> str:
        rate = f", {self.published / self.seconds:,.0f}/s" if self.seconds > 0 else ""
        skipped = f", {self.empty_lines:,} empty lines left out" if self.empty_lines else ""
        plural = "" if self.published == 1 else "s"
        return f"{self.published:,} message{plural} published to {self.topic}{rate}{skipped}"


@click.command(epilog=EPILOG)
@click.argument("topic")
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--nsqd",
    "nsqds",
    multiple=True,
    metavar="HOST:PORT",
    help="TCP address of an nsqd; given several times, the later ones stand in for the first.",
)
@click.option(
    "--lookupd",
    "lookupds",
    multiple=True,
    metavar="HOST:PORT",
    help="HTTP address of a lookupd: publish to all nsqds that it knows, in turn.",
)
@discovery_options
@security_options
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary.")
def pub(
    topic: str,
    file: BinaryIO,
    nsqds: tuple[str, ...],
    lookupds: tuple[str, ...],
    discover: bool,
    cluster: str,
    security: Security,
    as_json: bool,
    quiet: bool,
) -> None:
    """
    Publish each line of FILE, or of stdin, as a message to TOPIC.

    Empty lines are left out. A line counts as published when nsqd has acknowledged it.
    """
    if not is_valid_name(topic):
        raise click.BadParameter(f"{topic!r} is no valid name of a topic")
    if nsqds and (lookupds or discover):
        raise click.UsageError("--nsqd says where to publish; --lookupd and --discover find out")
    try:
        finder = Finder(cluster) if discover else None
        target = Target(nsqds, lookupds, finder, security.settings("nsqx-pub"))
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None
    complaints = Complaints("pub")
    summary = Summary(topic)
    code = _run(target, file, summary, show_progress=not quiet)
    if summary.error is not None:
        complaints.fail(summary.error)
    if as_json:
        click.echo(json.dumps(asdict(summary)))
    elif not quiet:
        click.echo(summary.text(), err=True)
    sys.exit(code)


class Target:
    """The nsqds to publish to: those named, or those that lookupds know."""

    def __init__(
        self,
        nsqds: Sequence[str],
        lookupds: Sequence[str],
        finder: Finder | None,
        settings: Settings,
    ) -> None:
        """Without anything it is the nsqd of ``nsqx up``. ValueError if an address is none."""
        if not nsqds and not lookupds and finder is None:
            nsqds = (NSQD,)
        self._is_single = len(nsqds) == 1
        self._finder = finder
        self.nsq = Nsq(nsqd=nsqds, lookupd=lookupds, discover=finder, settings=settings)

    async def open(self, stack: AsyncExitStack) -> None:
        """Connect, and fail now rather than at the first message, if there is no hope."""
        if self._finder is not None:
            logs.set_level(Level.WARNING)  # stderr is the user's
            await stack.enter_async_context(self._finder)
        await stack.enter_async_context(self.nsq)
        try:
            await self.nsq.ready(FIND_SECONDS)
        except ConnectFailed:
            if self._is_single:
                raise


def _run(target: Target, file: BinaryIO, summary: Summary, *, show_progress: bool) -> int:
    """Publish, fill in the summary, and return the exit code."""
    started = time.monotonic()
    try:
        with _progress(file.fileno(), show_progress) as advance:
            asyncio.run(_publish_all(target, file.fileno(), summary, advance))
    except (NsqError, OSError, ValueError, LineTooLongError) as exc:
        summary.error = str(exc)
    except KeyboardInterrupt:
        summary.error = "interrupted"
        return INTERRUPTED
    finally:
        summary.seconds = round(time.monotonic() - started, 6)
    return 0 if summary.error is None else 1


async def _publish_all(target: Target, descriptor: int, summary: Summary, advance: Advance) -> None:
    splitter = LineSplitter()
    async with AsyncExitStack() as stack:
        await target.open(stack)
        while chunk := await read_chunk(descriptor):
            await _publish(target.nsq, summary, splitter.receive(chunk))
            summary.empty_lines = splitter.empty
            advance(len(chunk))
        await _publish(target.nsq, summary, splitter.receive_end())


async def _publish(nsq: Nsq, summary: Summary, lines: list[bytes]) -> None:
    try:
        summary.published += await nsq.publish_many(summary.topic, lines)
    except PartlyPublished as exc:
        summary.published += exc.confirmed
        raise


@contextmanager
def _progress(descriptor: int, wanted: bool) -> Iterator[Advance]:
    """Show a bar while the block runs, if a person is watching; it takes the bytes done."""
    if not wanted or not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=_size_of(descriptor))
        yield lambda count: progress.advance(task, count)


def _size_of(descriptor: int) -> int | None:
    """The bytes of a file; None for a pipe or a terminal, which end when they end."""
    status = os.fstat(descriptor)
    return status.st_size if stat.S_ISREG(status.st_mode) else None
