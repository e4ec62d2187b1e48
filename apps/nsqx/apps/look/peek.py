"""``nsqx peek``: looks at the messages of a topic without consuming them."""

import asyncio
import base64
import json
import sys
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from nsqx.apps.complaints import Complaints
from nsqx.apps.node_http import NodeHttp, RequestFailed
from nsqx.apps.sources import LOOKUPD, Sources, source_options
from nsqx.protocol.names import is_valid_name

__all__ = ["Peeked", "peek"]

PAGE_MESSAGES_MAX = 1000
NANOSECONDS = 1_000_000_000
UNKNOWN_PATH = "NOT_FOUND"  # what NSQ's own nsqd says

EPILOG = f"""\b
Examples:
  nsqx peek orders                       the last ten messages
  nsqx peek orders --from=start -n 100   the oldest hundred that are kept
  nsqx peek orders --from=time:-5m       from five minutes ago on
  nsqx peek orders --json | jq .body     with all there is to know
  nsqx peek orders --discover            of the cluster on this network

PLACE is start, end, time:-10m (or seconds since 1970, or RFC 3339), seq:NUMBER or id:ID. Finished
messages are shown too, as long as nsqd keeps them. Messages of several nsqds are shown in the order
of their times. Without --lookupd, --nsqd and --discover, the lookupd at {LOOKUPD} is
asked.

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
        return (head + _readable(self.body) + "\n").encode()

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


def _readable(body: bytes) -> str:
    text = body.decode(errors="backslashreplace")
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


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
@click.option("--bodies", is_flag=True, help="Print bodies only, each with a line feed.")
@click.option("--json", "as_json", is_flag=True, help="Print each message as a JSON object.")
def peek(
    topic: str,
    place: str,
    count: int,
    sources: Sources,
    bodies: bool,
    as_json: bool,
) -> None:
    """Show messages of TOPIC, and leave them where they are."""
    if not is_valid_name(topic):
        raise click.BadParameter(f"{topic!r} is no valid name of a topic")
    complaints = Complaints("peek")
    messages, failures = asyncio.run(_peek_all(sources, topic, place, count))
    for failure in failures:
        complaints.fail(failure)
    for message in messages[-count:] if place == "end" else messages[:count]:
        if as_json:
            sys.stdout.buffer.write(message.json_line(topic))
        else:
            sys.stdout.buffer.write(message.body + b"\n" if bodies else message.line())
    sys.exit(1 if failures else 0)


async def _peek_all(
    sources: Sources, topic: str, place: str, count: int
) -> tuple[list[Peeked], list[str]]:
    """Return up to ``count`` messages of each nsqd, in the order of time, and what went wrong."""
    async with sources, NodeHttp() as http:
        try:
            nodes = await sources.with_topic(http, topic)
        except RequestFailed as exc:
            return [], [str(exc)]
        if not nodes:
            return [], [f"no nsqd has the topic {topic}"]
        answers = await asyncio.gather(
            *(_peek_node(http, node, topic, place, count) for node in nodes),
            return_exceptions=True,
        )
    messages: list[Peeked] = []
    failures: list[str] = []
    for answer in answers:
        if isinstance(answer, RequestFailed):
            failures.append(explain(answer))
        elif isinstance(answer, BaseException):
            raise answer
        else:
            messages += answer
    return sorted(messages), failures


def explain(failure: RequestFailed) -> str:
    """Say why an nsqd did not do what only nsqx's can."""
    if failure.status == 404 and failure.reason == UNKNOWN_PATH:
        return f"{failure.address}: this is no nsqd of nsqx, and cannot do that"
    return str(failure)


async def _peek_node(http: NodeHttp, node: str, topic: str, place: str, count: int) -> list[Peeked]:
    """Read page after page; RequestFailed if the nsqd refuses."""
    found: list[Peeked] = []
    if place == "end" and count > PAGE_MESSAGES_MAX:
        page = await _page(http, node, topic, "end", 1)
        place = f"seq:{max(page['end'] - count, 0)}"
    while len(found) < count:
        limit = min(count - len(found), PAGE_MESSAGES_MAX)
        page = await _page(http, node, topic, place, limit)
        found += [_peeked(node, message) for message in page["messages"]]
        if page["next"] >= page["end"]:
            break
        place = f"seq:{page['next']}"
    return found


async def _page(http: NodeHttp, node: str, topic: str, place: str, limit: int) -> Any:
    query: dict[str, str | int] = {"topic": topic, "from": place, "limit": limit}
    return await http.get(node, "/topic/peek", **query)


def _peeked(node: str, message: dict[str, Any]) -> Peeked:
    body = message.get("body")
    data = base64.b64decode(message["body_base64"]) if body is None else str(body).encode()
    return Peeked(message["timestamp"], node, message["sequence"], message["id"], data)
