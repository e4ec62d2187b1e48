"""``nsqx roll``: restarts nodes one by one, and stops at the first that is not well again."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from nsqx.apps.change.drain import node_address
from nsqx.apps.change.restart import GateError, Node, Plan, Restart, command_words
from nsqx.apps.complaints import Complaints
from nsqx.apps.duration_option import Duration
from nsqx.apps.security_options import Security, security_options
from nsqx.apps.sources import LOOKUPD
from nsqx.apps.terminal import printable
from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.cluster.lookups import list_nodes

__all__ = ["roll"]

INTERRUPTED = 130

EPILOG = f"""\b
Examples:
  nsqx roll --lookupd directory:4161 --command 'ssh {{host}} systemctl restart nsqd@1'
  nsqx roll --lookupd d1:4161 --lookupd d2:4161 --drain 10m --command 'restart-node {{node}}'
  nsqx roll n1:4151 n2:4151 --lookupd directory:4161 --command 'kubectl delete pod {{host}}'
  nsqx roll --dry-run --command 'ssh {{host}} systemctl restart nsqd@1'

Without NODEs, HTTP addresses of nsqds, all are restarted that the nsqlookupds list. The command is
run without a shell; it has {{host}}, {{node}} (host:port, HTTP), {{http_port}} and {{tcp_port}}.
All nodes are looked at before the first is touched. A node has come back when it was started anew,
is healthy, is listed by each nsqlookupd with its topics, and tells what it has. Without --lookupd,
the one at {LOOKUPD} is asked.

\b
Exit codes: 0 all restarted, 1 a node did not come back, or was not well before (a line on stderr
says which; those behind it were not touched), 2 wrong usage, 130 interrupted.
"""


@dataclass(slots=True)
class Report:
    """What became of one node."""

    node: str
    state: str  # restarted, failed, untouched
    seconds: float = 0.0
    waiting: int = 0
    gate: str = ""
    reason: str = ""

    def text(self) -> str:
        if self.state == "restarted":
            return f"{self.node}: restarted in {self.seconds:.1f} s, {self.waiting:,} waiting"
        return f"{self.node}: {self.state}" + (f" ({self.reason})" if self.reason else "")


@click.command(epilog=EPILOG)
@click.argument("nodes", nargs=-1, metavar="[NODE]...")
@click.option(
    "--lookupd",
    "lookupds",
    multiple=True,
    metavar="HOST:PORT",
    help="HTTP address of an nsqlookupd; give all: each must list a node that is back.",
)
@click.option("--command", required=True, help="What restarts a node, and may wait until it has.")
@click.option(
    "--drain",
    type=Duration(),
    metavar="DURATION",
    help="Empty each node before, for so long at most.",
)
@click.option(
    "--timeout",
    type=Duration(),
    default="2m",
    show_default=True,
    metavar="DURATION",
    help="How long to wait for the command, and at each gate.",
)
@click.option("--dry-run", is_flag=True, help="Look at all nodes, print the commands, run none.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each node.")
@security_options
def roll(
    nodes: tuple[str, ...],
    lookupds: tuple[str, ...],
    command: str,
    drain: float | None,
    timeout: float,
    dry_run: bool,
    as_json: bool,
    security: Security,
) -> None:
    """Restart nodes one by one, each when the one before is well again."""
    plan = Plan(command, lookupds or (LOOKUPD,), timeout, drain)
    rolling = _Rolling(plan, as_json=as_json)
    try:
        code = asyncio.run(rolling.run(list(map(node_address, nodes)), security, is_dry=dry_run))
    except KeyboardInterrupt:
        rolling.complaints.fail("interrupted")
        code = INTERRUPTED
    sys.exit(code)


class _Rolling:
    """One run of it."""

    def __init__(self, plan: Plan, *, as_json: bool) -> None:
        self.complaints = Complaints("roll")
        self._plan = plan
        self._as_json = as_json

    async def run(self, addresses: Sequence[str], security: Security, *, is_dry: bool) -> int:
        lookupds = frozenset(self._plan.lookupds)
        async with security.http(lookupds.__contains__) as http:
            try:
                addresses = addresses or await self._listed(http)
                restarts = [self._restart(http, address) for address in addresses]
                for restart in restarts:
                    await self._check(restart)
            except (DaemonError, GateError, ValueError) as error:
                text = error.short if isinstance(error, DaemonError) else str(error)
                self.complaints.fail(f"{text}; no node was touched")
                return 1
            if is_dry:
                self._show_commands(restarts)
                return 0
            return await self._restart_all(restarts)

    async def _listed(self, http: DaemonHttp) -> list[str]:
        found = await list_nodes(http, self._plan.lookupds)
        if not found:
            raise DaemonError(", ".join(self._plan.lookupds), "no node is listed")
        return sorted(each.http_address for each in found)

    def _restart(self, http: DaemonHttp, address: str) -> Restart:
        return Restart(http, self._plan, Node(address), lambda gate: self._progress(address, gate))

    async def _check(self, restart: Restart) -> None:
        """Look at one node before any is touched, and whether the command fits it."""
        try:
            await restart.check()
        except GateError as error:
            raise GateError(restart.node.address, str(error)) from error
        command_words(self._plan.command, restart.node)

    def _progress(self, address: str, gate: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{printable(address)}: {gate}", nl=False, err=True)

    def _show_commands(self, restarts: Sequence[Restart]) -> None:
        for restart in restarts:
            words = command_words(self._plan.command, restart.node)
            fields = {"node": restart.node.address, "command": words}
            text = f"{restart.node.address}: {' '.join(words)}"
            click.echo(json.dumps(fields) if self._as_json else printable(text))

    async def _restart_all(self, restarts: Sequence[Restart]) -> int:
        for index, restart in enumerate(restarts):
            began = time.monotonic()
            address = restart.node.address
            try:
                await restart.run()
            except (GateError, DaemonError) as error:
                gate = error.gate if isinstance(error, GateError) else ""
                self._tell(Report(address, "failed", gate=gate, reason=str(error)))
                for other in restarts[index + 1 :]:
                    self._tell(Report(other.node.address, "untouched"))
                left = len(restarts) - index - 1
                self.complaints.fail(f"{address} - {error}; {left} not touched")
                return 1
            seconds = round(time.monotonic() - began, 3)
            self._tell(Report(address, "restarted", seconds, restart.node.depth))
        return 0

    def _tell(self, report: Report) -> None:
        fields: dict[str, Any] = {
            name: value
            for name in report.__slots__
            if (value := getattr(report, name)) not in ("", None)
        }
        click.echo(json.dumps(fields) if self._as_json else printable(report.text()))
