"""``nsqx doctor``: looks at a whole cluster from here, and says what is wrong and what to do."""

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import click

from nsqx.apps.look.cluster_facts import ClusterFacts, LookupdFacts, NsqdFacts, Reach
from nsqx.apps.look.diagnosis import Finding, Severity, diagnose
from nsqx.apps.look.examination import Examination
from nsqx.apps.security_options import PLAIN, Security, security_options
from nsqx.apps.sources import LOOKUPD, discovery_options
from nsqx.apps.terminal import printable
from nsqx.client.addresses import Address, parse_address
from nsqx.client.resolver import is_name, resolve
from nsqx.protocol.defaults import LOOKUPD_HTTP_PORT, NSQD_HTTP_PORT
from nsqx.runtime.discovery import Finder

__all__ = ["doctor"]

DISCOVER_SECONDS = 3.0

EPILOG = f"""\b
Examples:
  nsqx doctor                                        the cluster of nsqx up
  nsqx doctor --lookupd 10.0.0.1:4161 --lookupd 10.0.0.2:4161
  nsqx doctor --nsqd 10.0.0.5:4151                   one nsqd that nobody lists
  nsqx doctor --discover                             the cluster on this network
  nsqx doctor --json | jq .findings

Every nsqd that a lookupd lists is tried at the address that we, as any client on this host, are
told: by HTTP, and by TCP as a client; with --tls, by HTTPS and TLS. Run it where your clients run.
Without --lookupd, --nsqd and --discover, the lookupd at {LOOKUPD} is asked. NSQ's own daemons do
not tell their disks and open files. Clocks are compared with ours by the Date of an answer, to
about a second.

\b
Exit codes: 0 all is well, 1 something is to be done, 2 wrong usage.
"""


@click.command(epilog=EPILOG)
@click.option(
    "--lookupd",
    "lookupds",
    multiple=True,
    metavar="HOST:PORT",
    help="HTTP address of a lookupd; give all of them, to see whether they agree.",
)
@click.option(
    "--nsqd",
    "nsqds",
    multiple=True,
    metavar="HOST:PORT",
    help="HTTP address of an nsqd, listed or not; may be given several times.",
)
@discovery_options
@security_options
@click.option(
    "--timeout",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="How long to wait for each answer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with all there is.")
def doctor(
    lookupds: tuple[str, ...],
    nsqds: tuple[str, ...],
    discover: bool,
    cluster: str,
    security: Security,
    timeout: float,
    as_json: bool,
) -> None:
    """Check a cluster: is everybody there, reachable, healthy and of one mind?"""
    if not lookupds and not nsqds and not discover:
        lookupds = (LOOKUPD,)
    try:
        finder = Finder(cluster) if discover else None
        lookupd_addresses = _parse(lookupds, LOOKUPD_HTTP_PORT)
        nsqd_addresses = _parse(nsqds, NSQD_HTTP_PORT)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None
    facts = asyncio.run(_examine(lookupd_addresses, nsqd_addresses, finder, timeout, security))
    findings = diagnose(facts)
    if as_json:
        click.echo(json.dumps(_document(facts, findings), indent=2))
    elif sys.stdout.isatty():
        _show(facts, findings)
    else:
        click.echo("\n".join(map(printable, _lines(facts, findings))))
    sys.exit(1 if findings else 0)


def _parse(texts: Iterable[str], default_port: int) -> list[Address]:
    """Read ``host[:port]``, each once; ValueError if it is none."""
    addresses = []
    for text in texts:
        bare = text.removeprefix("http://").rstrip("/")
        host_only = bare.endswith("]") or ":" not in bare
        addresses.append(parse_address(f"{bare}:{default_port}" if host_only else bare))
    return list(dict.fromkeys(addresses))


async def _examine(
    lookupds: list[Address],
    nsqds: list[Address],
    finder: Finder | None,
    timeout_s: float,
    security: Security = PLAIN,
) -> ClusterFacts:
    registrars: list[Address] = []
    if finder is not None:
        async with finder:
            await asyncio.sleep(DISCOVER_SECONDS)  # nobody says that all have been heard
            found = finder.directories
        lookupds += [Address(each.host, each.http_port) for each in found]
        registrars += [Address(each.host, each.tcp_port) for each in found]
    hosts = await _behind_names(lookupds, timeout_s)
    lookupds = list(dict.fromkeys(hosts))
    shown = {str(address): host for address, host in hosts.items() if host}
    return await Examination(lookupds, nsqds, registrars, timeout_s, shown, security=security).run()


async def _behind_names(addresses: Iterable[Address], timeout_s: float) -> dict[Address, str]:
    """Return the addresses that the names among them stand for, with these names."""
    found: dict[Address, str] = {}
    for given in addresses:
        behind = await _resolve(given, timeout_s) if is_name(given) else {given}
        found |= {each: "" if each == given else str(given) for each in sorted(behind)}
    return found


async def _resolve(name: Address, timeout_s: float) -> set[Address]:
    try:
        async with asyncio.timeout(timeout_s):
            return await resolve(name)
    except (OSError, UnicodeError):  # asking it tells what is wrong
        return {name}


# JSON


def _document(facts: ClusterFacts, findings: Iterable[Finding]) -> dict[str, Any]:
    findings = list(findings)
    return {
        "is_well": not findings,
        "findings": [{**asdict(each), "severity": each.severity.value} for each in findings],
        "lookupds": [{**asdict(each), "missing": sorted(each.missing)} for each in facts.lookupds],
        "nsqds": [asdict(each) for each in facts.nsqds],
        "registrars": [asdict(each) for each in facts.registrars],
    }


# Text


def _lines(facts: ClusterFacts, findings: Sequence[Finding]) -> Iterable[str]:
    for lookupd in facts.lookupds:
        yield f"nsqlookupd {lookupd.name}: {'; '.join(_about_lookupd(lookupd))}"
    for nsqd in facts.nsqds:
        yield f"nsqd {nsqd.name}: {'; '.join(_about_nsqd(nsqd))}"
    for finding in findings:
        yield f"{finding.severity.value.upper()} {finding.subject} {finding.problem}"
        yield f"  {finding.advice}"
    yield _verdict(findings)


def _about_lookupd(facts: LookupdFacts) -> Iterable[str]:
    yield _about_reach("HTTP", facts.http)
    if facts.version:
        yield f"version {facts.version}"


def _about_nsqd(facts: NsqdFacts) -> Iterable[str]:
    if facts.told_tcp_port:
        yield _about_reach(f"TCP {facts.tcp.address}", facts.tcp)
    yield _about_reach("HTTP", facts.http)
    if facts.version:
        yield f"version {facts.version}"
    if facts.disk_free_bytes is not None:
        yield f"{_disk(facts)} free"


def _about_reach(way: str, reach: Reach) -> str:
    return f"{way} {_took(reach)}" if reach.is_fine else f"{way} {reach.problem}"


def _took(reach: Reach) -> str:
    return f"{reach.took_s * 1000:.0f} ms"


def _disk(facts: NsqdFacts) -> str:
    return "" if facts.disk_free_bytes is None else f"{facts.disk_free_bytes / 1e9:,.1f} GB"


def _files(facts: LookupdFacts | NsqdFacts) -> str:
    if facts.open_files is None or facts.max_files is None:
        return ""
    return f"{facts.open_files:,} of {facts.max_files:,}"


def _verdict(findings: Sequence[Finding]) -> str:
    if not findings:
        return "All is well."
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    counts = [(errors, "error"), (len(findings) - errors, "warning")]
    return ", ".join(f"{count} {what}{'s' * (count > 1)}" for count, what in counts if count) + "."


# Terminal


def _show(facts: ClusterFacts, findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    def text(said: str) -> str:
        """What daemons say is no markup, and nothing that a terminal obeys."""
        return escape(printable(said))

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for title in ("", "address", "version", "TCP", "HTTP", "disk free", "open files"):
        table.add_column(title, justify="left" if title in ("", "address", "version") else "right")
    for lookupd in facts.lookupds:
        cells = [text(lookupd.version), "", _cell(lookupd.http), "", _files(lookupd)]
        table.add_row("nsqlookupd", text(lookupd.name), *cells)
    for nsqd in facts.nsqds:
        tcp = _cell(nsqd.tcp) if nsqd.told_tcp_port else ""
        cells = [text(nsqd.version), tcp, _cell(nsqd.http), _disk(nsqd), _files(nsqd)]
        table.add_row("nsqd", text(nsqd.name), *cells)
    console.print(table)
    for finding in findings:
        colour = "red" if finding.severity is Severity.ERROR else "yellow"
        subject = f"[{colour} bold]{text(finding.subject)}[/]"
        console.print(f"\n{subject} {text(finding.problem)}\n  {text(finding.advice)}")
    colour = "green" if not findings else "bold"
    console.print(f"\n[{colour}]{_verdict(findings)}[/]")


def _cell(reach: Reach) -> str:
    return f"[green]{_took(reach)}[/]" if reach.is_fine else "[red]no[/]"
