"""``nsqx drain``: empties a node, and says when it is empty."""

import asyncio
import json
import sys
from typing import Any

import click
import msgspec

from nsqx.apps.change.draining import DrainState, NotEmptyError, begin, end, until_empty
from nsqx.apps.complaints import Complaints
from nsqx.apps.duration_option import Duration
from nsqx.apps.look.peek import explain
from nsqx.apps.security_options import Security, security_options
from nsqx.apps.terminal import printable
from nsqx.client.addresses import parse_address
from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.protocol.defaults import NSQD_HTTP_PORT

__all__ = ["drain", "node_address"]

INTERRUPTED = 130
NOT_EMPTY = 3

EPILOG = """\b
Examples:
  nsqx drain 10.0.0.5:4151                 until nothing is left there
  nsqx drain 10.0.0.5:4151 --timeout 10m   for ten minutes at most; it goes on draining
  nsqx drain 10.0.0.5:4151 --no-wait       only begin
  nsqx drain 10.0.0.5:4151 --undo          take messages again
  nsqx drain 10.0.0.5:4151 --json | tail -1 | jq .waiting

NODE is the HTTP address of an nsqd of nsqx. It refuses what is published (producers go elsewhere),
nsqlookupds hide it for as long as it drains, and its consumers get what it has. It goes on draining
when this command ends, also over a restart, until --undo.

\b
Exit codes: 0 empty (with --no-wait: begun; with --undo: it takes messages), 1 it could not be
asked, 2 wrong usage, 3 not empty in time, 130 interrupted.
"""


@click.command(epilog=EPILOG)
@click.argument("node")
@click.option(
    "--timeout",
    type=Duration(),
    metavar="DURATION",
    help="How long to wait until it is empty, such as 10m; else for ever.",
)
@click.option("--no-wait", is_flag=True, help="Begin, and do not wait.")
@click.option("--undo", is_flag=True, help="Have it take messages again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each change.")
@security_options
def drain(
    node: str,
    timeout: float | None,
    no_wait: bool,
    undo: bool,
    as_json: bool,
    security: Security,
) -> None:
    """Empty NODE: no more messages come, those there are go, and this says when none is left."""
    if undo and (no_wait or timeout is not None):
        raise click.UsageError("--undo waits for nothing")
    command = _Command(node_address(node), timeout, as_json=as_json)
    try:
        sys.exit(asyncio.run(command.run(security, undo=undo, no_wait=no_wait)))
    except KeyboardInterrupt:
        command.complaints.fail(f"interrupted; {command.node} goes on draining")
        sys.exit(INTERRUPTED)


def node_address(text: str) -> str:
    """Read the HTTP address of an nsqd: ``host`` or ``host:port``."""
    bare = text.removeprefix("http://").rstrip("/")
    host_only = bare.endswith("]") or ":" not in bare
    try:
        return str(parse_address(f"{bare}:{NSQD_HTTP_PORT}" if host_only else bare))
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None


class _Command:
    """One run of it: what it prints, and how it ends."""

    def __init__(self, node: str, timeout_s: float | None, *, as_json: bool) -> None:
        self.node = node
        self.complaints = Complaints("drain")
        self._timeout_s = timeout_s
        self._as_json = as_json
        self._last = ""
        self._obstacles: set[str] = set()

    async def run(self, security: Security, *, undo: bool, no_wait: bool) -> int:
        async with security.http(lambda _address: False) as http:
            try:
                state = await (end if undo else begin)(http, self.node)
            except DaemonError as error:
                self.complaints.fail(explain(error))
                return 1
            if undo or no_wait:
                self._tell(state, "takes messages" if undo else "draining")
                return 0
            return await self._wait(http, state)

    async def _wait(self, http: DaemonHttp, state: DrainState) -> int:
        if not state.survives_restart:
            self.complaints.fail(f"{self.node} could not note it: a restart would end the drain")
        try:
            state = await until_empty(http, self.node, self._timeout_s, self._told)
        except NotEmptyError as error:
            if error.state is not None and not error.state.draining:
                self.complaints.fail(f"{self.node} drains no more: somebody took that back")
                return 1
            self._give_up(error.state)
            return NOT_EMPTY
        self._tell(state, "empty")
        return 0

    def _told(self, news: DrainState | DaemonError) -> None:
        if isinstance(news, DaemonError):
            self.complaints.fail(f"{news.short}; trying on")
        elif news.draining and not news.is_empty:
            self._tell(news, "draining")
            self._tell_obstacles(news)

    def _tell(self, state: DrainState, word: str) -> None:
        """Print what is new."""
        fields = {"node": self.node, "state": word, **_document(state)}
        line = json.dumps(fields) if self._as_json else f"{self.node}: {word}; {state.text()}"
        if line != self._last:
            self._last = line
            click.echo(line if self._as_json else printable(line))

    def _tell_obstacles(self, state: DrainState) -> None:
        for holder in state.held_by:
            if holder.obstacle and holder.name not in self._obstacles:
                self._obstacles.add(holder.name)
                kept = holder.waiting + holder.in_flight + holder.deferred
                text = f"{holder.name} {holder.obstacle}: {kept:,} messages stay until that changes"
                self.complaints.fail(text)

    def _give_up(self, state: DrainState | None) -> None:
        if state is not None and self._as_json:
            self._tell(state, "not empty")
        left = "it did not answer" if state is None else state.text()
        self.complaints.fail(f"{self.node} is not empty in time, and goes on draining: {left}")


def _document(state: DrainState) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(state)
    return found
