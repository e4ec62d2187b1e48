"""``nsqx up``: a whole cluster in the foreground, for trying things and for development."""

import asyncio
import re
import shlex
import shutil
import sys
from pathlib import Path

import click

from nsqx.apps.run.child import ChildEndedError
from nsqx.apps.run.local_cluster import LocalCluster

__all__ = ["up"]

NODES_MAX = 100

_WORTH_TELLING = re.compile(r"\b(WARNING|ERROR|FATAL)\b")

EPILOG = """\b
Examples:
  nsqx up                             two brokers, data in ./data
  nsqx up --nodes 3 --quiet           three, and only their warnings and errors
  nsqx up --nodes 4 --reuse-port      four with one address for producers: a node for each core
  nsqx up -- --msg-timeout=5s         what follows -- goes to every nsqd
"""


@click.command(epilog=EPILOG)
@click.option(
    "--nodes",
    default=2,
    show_default=True,
    type=click.IntRange(1, NODES_MAX),
    help="How many nsqd.",
)
@click.option(
    "--data-path",
    default="data",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that holds a folder for each nsqd. Kept from run to run.",
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen at, of this machine."
)
@click.option("--any-ports", is_flag=True, help="Let the system choose all ports.")
@click.option(
    "--reuse-port",
    is_flag=True,
    help="One TCP and one HTTP port that all nsqd take producers from; each has its own, too.",
)
@click.option("-q", "--quiet", is_flag=True, help="Of the logs, show warnings and errors only.")
@click.argument("nsqd_flags", nargs=-1, type=click.UNPROCESSED, metavar="[-- NSQD_FLAGS...]")
def up(
    nodes: int,
    data_path: Path,
    host: str,
    any_ports: bool,
    reuse_port: bool,
    quiet: bool,
    nsqd_flags: tuple[str, ...],
) -> None:
    """
    Run a cluster here: an nsqlookupd, nsqd brokers, and the nsqadmin dashboard.

    They use NSQ's standard ports where those are free and the next free ones otherwise. Ctrl-C ends
    them all; messages stay in the data path and are there at the next start.
    """
    cluster = LocalCluster(
        host,
        data_path,
        nodes,
        nsqd_flags,
        any_ports=any_ports,
        reuse_port=reuse_port,
        tell=Teller(quiet=quiet),
    )
    try:
        in_order = asyncio.run(cluster.run(announce))
    except (ChildEndedError, OSError) as exc:
        raise click.ClickException(str(exc)) from None
    sys.exit(0 if in_order else 1)


class Teller:
    """Writes log lines to stderr, each marked with whose it is."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def __call__(self, name: str, line: str) -> None:
        if not self._quiet or name == "nsqx" or _WORTH_TELLING.search(line):
            mark = click.style(f"{name:<10} |", fg="cyan")
            click.echo(f"{mark} {line}", err=True)


def announce(cluster: LocalCluster) -> None:
    """Print where everything is, and what to try."""
    click.echo("\n".join(["", *_addresses(cluster), "", *_examples(cluster), ""]))


def _addresses(cluster: LocalCluster) -> list[str]:
    lines = ["The cluster is up; Ctrl-C ends it.", ""]
    for child in [cluster.lookupd, *cluster.nsqds]:
        tcp, http = cluster.address(child, "TCP"), cluster.address(child, "HTTP")
        lines.append(f"  {child.name:<11} TCP {tcp:<17} HTTP {http}")
    if cluster.shared:
        tcp, http = cluster.entrance("TCP"), cluster.entrance("HTTP")
        lines.append(f"  {'all nsqd':<11} TCP {tcp:<17} HTTP {http}  for producers")
    dashboard = f"http://{cluster.address(cluster.admin, 'HTTP')}/"
    return [*lines, f"  {'nsqadmin':<11} {dashboard}"]


def _examples(cluster: LocalCluster) -> list[str]:
    nsqx = _own_command()
    tcp, http = cluster.entrance("TCP"), cluster.entrance("HTTP")
    directory = cluster.address(cluster.lookupd, "HTTP")
    return [
        "Consume (prints what comes; start it first):",
        f"  {nsqx} tail greetings --lookupd {directory}",
        "Publish, by HTTP or by NSQ's own protocol:",
        f"  curl -d 'hello' 'http://{http}/pub?topic=greetings'",
        f"  echo hello | {nsqx} pub greetings --nsqd {tcp}",
    ]


def _own_command() -> str:
    """How this program is called from here, for pasting: its name, or a path when not on PATH."""
    script = Path(sys.executable).with_name("nsqx")
    found = shutil.which("nsqx")
    if found is not None and Path(found).samefile(script):
        return "nsqx"
    if not script.exists():
        return shlex.join([sys.executable, "-m", "nsqx.apps"])
    try:
        return shlex.quote(str(script.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(script))
