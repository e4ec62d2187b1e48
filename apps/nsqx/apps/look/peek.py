"""``nsqx peek``: looks at the messages of a topic without consuming them."""

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import click

from nsqx.apps.complaints import Complaints
from nsqx.apps.security_options import Security, security_options
from nsqx.apps.sources import LOOKUPD, Sources, source_options
from nsqx.apps.terminal import for_terminal, printable
from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.cluster.log_pages import LogPages, MessagePage, PeekAnswer
from nsqx.protocol.names import is_valid_name

__all__ = ["Peeked", "peek"]

NEWEST = -1  # stands for the number behind the newest message, which each nsqd has its own of
NANOSECONDS = 1_000_000_000
NO_PLACE = "that is no place in a log: start, end, time:-10m, seq:NUMBER or id:ID"
SENTENCES = {
    "INVALID_ARG_FROM": NO_PLACE,
    "INVALID_ARG_TO": NO_PLACE,
    "TOPIC_NOT_FOUND": "it does not have the topic",
    "CHANNEL_NOT_FOUND": "it does not have the channel",
    "MESSAGE_NOT_FOUND": "it does not keep that message, any more or yet",
    "DISK_FAILED": "its disk failed; its log says how",
}
UNKNOWN_PATH = "NOT_FOUND"  # what NSQ's own nsqd says

EPILOG = f"""\b
Examples:
  nsqx peek orders                       the last ten messages
  nsqx peek orders --from=start -n 100   the oldest hundred that are kept
  nsqx peek orders --from=time:-5m       from five minutes ago on
  nsqx peek orders --from=before:1200 --nsqd 10.0.0.5:4151    the ten before number 1200
  nsqx peek orders --json | jq .body     with all there is to know
  nsqx peek orders --discover            of the cluster on this network

PLACE is start, end, time:-10m (or seconds since 1970, or RFC 3339), id:ID, seq:NUMBER (from it on)
or before:NUMBER (the last ones before it); each nsqd has its own numbers, so name one by --nsqd.
Finished messages are shown too, as long as nsqd keeps them. Messages of several nsqds are shown in
the order of their times. Without --lookupd, --nsqd and --discover, the lookupd at {LOOKUPD} is
asked. A terminal is shown escapes for control characters; a pipe gets --bodies as they are.

\b
Exit codes: 0 shown, 1 an nsqd could not be asked or nobody has the topic, 2 wrong usage.
"""


class Peeked(NamedTuple):
    """A message that was looked at. Sorts by time."""

    timestamp_ns: int
    node: str
    sequence: int
    id: str
    body: bytes

    def line(self) -> bytes:
        """Return it for eyes: control characters are shown, not sent to the terminal."""
        when = datetime.fromtimestamp(self.timestamp_ns / NANOSECONDS, UTC)
        head = f"{when:%Y-%m-%dT%H:%M:%S.%fZ}  {self.node}  seq:{self.sequence}  {self.id}  "
        body = self.body.decode(errors="backslashreplace")
        return (printable(head + body) + "\n").encode()

    def json_line(self, topic: str) -> bytes:
        """Return it for programs; a body that is not UTF-8 comes as ``body_base64``."""
        fields: dict[str, Any] = {
            "topic": topic,
            "node": self.node,
            "sequence": self.sequence,
            "id": self.id,
            "timestamp_ns": self.timestamp_ns,
        }
        try:
            fields["body"] = self.body.decode()
        except UnicodeDecodeError:
            fields["body_base64"] = base64.b64encode(self.body).decode()
        return json.dumps(fields).encode() + b"\n"


@click.command(epilog=EPILOG)
@click.argument("topic")
@click.option("--from", "place", default="end", show_default=True, metavar="PLACE", help="Where.")
@click.option(
    "-n",
    "--n",
    "count",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many.",
)
@source_options
@security_options
@click.option("--bodies", is_flag=True, help="Print bodies only, each with a line feed.")
@click.option("--json", "as_json", is_flag=True, help="Print each message as a JSON object.")
def peek(
    topic: str,
    place: str,
    count: int,
    sources: Sources,
    security: Security,
    bodies: bool,
    as_json: bool,
) -> None:
    """Show messages of TOPIC, and leave them where they are."""
    if not is_valid_name(topic):
        raise click.BadParameter(f"{topic!r} is no valid name of a topic")
    before = _before(place)
    complaints = Complaints("peek")
    messages, failures = asyncio.run(_peek_all(sources, security, topic, place, before, count))
    write = _writer()
    for message in messages[-count:] if before is not None else messages[:count]:
        if as_json:
            write(message.json_line(topic))
        else:
            write(message.body + b"\n" if bodies else message.line())
    sys.stdout.flush()
    for failure in failures:
        complaints.fail(failure)
    sys.exit(1 if failures else 0)


def _before(place: str) -> int | None:
    """Return the number before which to read, backwards; None for a place from which on to."""
    if place == "end":
        return NEWEST
    kind, _, number = place.partition(":")
    if kind != "before":
        return None
    if not number.isascii() or not number.isdigit():
        raise click.BadParameter(f"{place!r} is no place: before:NUMBER")
    return int(number)


def _writer() -> Callable[[bytes], object]:
    """Return what writes to stdout: bytes as they are, but for a terminal."""
    write = sys.stdout.buffer.write
    if sys.stdout.isatty():
        return lambda data: write(for_terminal(data))
    return write


async def _peek_all(
    sources: Sources,
    security: Security,
    topic: str,
    place: str,
    before: int | None,
    count: int,
) -> tuple[list[Peeked], list[str]]:
    """Return up to ``count`` messages of each nsqd, in the order of time, and what went wrong."""
    async with sources, security.http(sources.is_lookupd) as http:
        try:
            nodes = await sources.with_topic(http, topic)
        except DaemonError as exc:
            return [], [exc.short]
        if not nodes:
            return [], [f"no nsqd has the topic {topic}"]
        readers = [_Reader(http, node, topic) for node in nodes]
        read = (
            reader.after(place, count) if before is None else reader.before(before, count)
            for reader in readers
        )
        failures = [failure for failure in await asyncio.gather(*read) if failure]
    found = sorted(message for reader in readers for message in reader.found)
    return found, failures


class _Reader:
    """
    Reads what is wanted of one nsqd.

    Attributes:
        found: what has come, also if the nsqd fails later.
    """

    def __init__(self, http: DaemonHttp, node: str, topic: str) -> None:
        self.found: list[Peeked] = []
        self._http = http
        self._node = node
        self._topic = topic
        self._pages = LogPages(self._ask)

    async def after(self, place: str, count: int) -> str | None:
        """Read from a place on; return what went wrong."""
        try:
            while len(self.found) < count:
                page = await self._pages.after(place, count - len(self.found))
                self._take(page)
                if page.is_newest or f"seq:{page.end}" == place:
                    break
                place = f"seq:{page.end}"
        except DaemonError as exc:
            return explain(exc)
        return None

    async def before(self, number: int, count: int) -> str | None:
        """Read backwards from before a number; return what went wrong."""
        end = None if number == NEWEST else number
        try:
            while len(self.found) < count:
                page = await self._pages.before(end, count - len(self.found))
                self._take(page)
                if page.is_oldest or page.start == end:
                    break
                end = page.start
        except DaemonError as exc:
            return explain(exc)
        return None

    def _take(self, page: MessagePage) -> None:
        self.found += (
            Peeked(each.timestamp, self._node, each.sequence, each.id, each.body_bytes())
            for each in page.messages
        )

    async def _ask(self, place: str, limit: int) -> PeekAnswer:
        query = urlencode({"topic": self._topic, "from": place, "limit": limit})
        return await self._http.ask(self._node, f"/topic/peek?{query}", PeekAnswer)


def explain(failure: DaemonError) -> str:
    """Say why an nsqd did not do what only nsqx's can."""
    if failure.status == 404 and failure.reason == UNKNOWN_PATH:
        return f"{failure.address}: this is no nsqd of nsqx, and cannot do that"
    if (sentence := SENTENCES.get(failure.reason)) is not None:
        return f"{failure.address}: {sentence} ({failure.reason})"
    return failure.short
