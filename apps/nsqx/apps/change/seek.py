"""``nsqx seek``: moves a channel to any place of its topic, on all nsqds that have it."""

import asyncio
import json
import sys
from typing import Any
from urllib.parse import urlencode

import click

from nsqx.apps.complaints import Complaints
from nsqx.apps.look.peek import explain
from nsqx.apps.security_options import Security, security_options
from nsqx.apps.sources import LOOKUPD, Sources, source_options
from nsqx.apps.terminal import printable
from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.protocol.names import is_valid_name

__all__ = ["seek"]

EPILOG = f"""\b
Examples:
  nsqx seek orders billing time:-1h      deliver again what came in the last hour
  nsqx seek orders billing start         all that is kept
  nsqx seek orders billing end           drop what waits
  nsqx seek orders audit start --create  a new channel, with all that is kept
  nsqx seek orders billing seq:1200 --nsqd 10.0.0.5:4151
  nsqx seek orders billing start --discover

PLACE is start, end, time:-10m (or seconds since 1970, or RFC 3339), seq:NUMBER or id:ID; the last
two are of one nsqd, which --nsqd names. What lies before the place counts as finished, and
everything from it on is delivered, again or for the first time. Without --lookupd, --nsqd and
--discover, the lookupd at {LOOKUPD} is asked.

\b
Exit codes: 0 moved everywhere, 1 not on every nsqd (a line on stderr says which), 2 wrong usage.
"""


@click.command(epilog=EPILOG)
@click.argument("topic")
@click.argument("channel")
@click.argument("place")
@source_options
@security_options
@click.option("--create", is_flag=True, help="Create the channel at the place if it is not there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each nsqd.")
def seek(
    topic: str,
    channel: str,
    place: str,
    sources: Sources,
    security: Security,
    create: bool,
    as_json: bool,
) -> None:
    """Have CHANNEL of TOPIC go on at PLACE."""
    for name in (topic, channel):
        if not is_valid_name(name):
            raise click.BadParameter(f"{name!r} is no valid name")
    is_of_one = place.startswith(("seq:", "id:"))
    if is_of_one and (len(sources.nsqds) != 1 or sources.lookupds or sources.finder is not None):
        raise click.BadParameter(f"{place} is a place of one nsqd: give it by --nsqd alone")
    complaints = Complaints("seek")
    moved, failures = asyncio.run(
        _seek_all(sources, security, topic, channel, place, create=create)
    )
    for node, answer in moved:
        if as_json:
            click.echo(json.dumps({"node": node, **answer}))
        else:
            waiting = f"{answer['depth']:,} waiting, {answer['deferred_count']:,} deferred"
            click.echo(printable(f"{node}: at seq:{answer['sequence']}, {waiting}"))
    for failure in failures:
        complaints.fail(failure)
    sys.exit(1 if failures else 0)


async def _seek_all(
    sources: Sources, security: Security, topic: str, channel: str, place: str, *, create: bool
) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Return what each nsqd says of the channel now, and what went wrong."""
    async with sources, security.http(sources.is_lookupd) as http:
        try:
            nodes = await sources.with_topic(http, topic)
        except DaemonError as exc:
            return [], [exc.short]
        if not nodes:
            return [], [f"no nsqd has the topic {topic}"]
        if create:
            await asyncio.gather(
                *(_create(http, node, topic, channel, place) for node in nodes),
                return_exceptions=True,
            )
        query = urlencode({"topic": topic, "channel": channel, "to": place})
        answers = await asyncio.gather(
            *(http.post(node, f"/channel/seek?{query}") for node in nodes), return_exceptions=True
        )
    moved: list[tuple[str, dict[str, Any]]] = []
    failures: list[str] = []
    for node, answer in zip(nodes, answers, strict=True):
        if isinstance(answer, DaemonError):
            failures.append(explain(answer))
        elif isinstance(answer, BaseException):
            raise answer
        else:
            moved.append((node, json.loads(answer)))
    return moved, failures


async def _create(http: DaemonHttp, node: str, topic: str, channel: str, place: str) -> None:
    query = urlencode({"topic": topic, "channel": channel, "from": place})
    await http.post(node, f"/channel/create?{query}")
