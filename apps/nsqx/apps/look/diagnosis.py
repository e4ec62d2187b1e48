"""
Judges what an examination found: what is wrong, and what to do about it. Pure.

    cluster    nsqlookupds disagree, versions differ, an address leads to another node
    a daemon   cannot be reached, its clock is wrong, it is ill, disk or open files run out
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from nsqx.apps.look.cluster_facts import HANGS, ClusterFacts, LookupdFacts, NsqdFacts, Registration
from nsqx.cluster.http import TLS_FAILED
from nsqx.cluster.problems import CRITICAL, Problem
from nsqx.cluster.thresholds import Thresholds
from nsqx.net.host_port import host_of, is_loopback

__all__ = ["Finding", "Severity", "diagnose"]

LIMITS = Thresholds()
BACKLOGS_MAX = 20  # that are told one by one
NAMED = 3  # of a list that may be long


class Severity(Enum):
    """How bad it is."""

    ERROR = "error"  # somebody is not served, or messages are in danger
    WARNING = "warning"  # not yet


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong."""

    severity: Severity
    subject: str  # who or what
    problem: str
    advice: str


def diagnose(facts: ClusterFacts) -> list[Finding]:
    """Return all that is wrong, the worst first."""
    findings = [
        *_nobody(facts),
        *(finding for lookupd in facts.lookupds for finding in _lookupd(lookupd)),
        *(finding for nsqd in facts.nsqds for finding in _nsqd(nsqd, facts)),
        *_registrars(facts),
        *_disagreements(facts.lookupds),
        *_duplicates(facts.nsqds),
        *_backlogs(facts.backlogs),
        *_versions("nsqlookupd", facts.lookupds),
        *_versions("nsqd", facts.nsqds),
    ]
    return sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR)


def _error(subject: str, problem: str, advice: str) -> Finding:
    return Finding(Severity.ERROR, subject, problem, advice)


def _warning(subject: str, problem: str, advice: str) -> Finding:
    return Finding(Severity.WARNING, subject, problem, advice)


def _nobody(facts: ClusterFacts) -> Iterator[Finding]:
    if not facts.lookupds and not facts.nsqds:
        yield _error("cluster", "nobody was found", "name a daemon by --lookupd or --nsqd.")
    elif not facts.nsqds and any(lookupd.http.is_fine for lookupd in facts.lookupds):
        yield _error(
            "cluster",
            "no nsqd is registered",
            "start nsqd with --lookupd-tcp-address=<each nsqlookupd>.",
        )


# nsqlookupds


def _lookupd(facts: LookupdFacts) -> Iterator[Finding]:
    subject = f"nsqlookupd {facts.name}"
    if not facts.http.is_fine:
        yield _error(
            subject,
            f"cannot be reached by HTTP: {facts.http.problem}",
            "start it, or let port and host through the firewall; if it has moved, correct the"
            " addresses of nsqds and consumers.",
        )
        return
    yield from _clock(subject, facts.clock_skew_s)
    yield from _open_files(subject, facts.open_files, facts.max_files)


def _registrars(facts: ClusterFacts) -> Iterator[Finding]:
    for reach in facts.registrars:
        users = [nsqd for nsqd in facts.nsqds if reach.address in (nsqd.lookupds or ())]
        # Nsqds that can say whether they are connected know it better than we do from here.
        if not reach.is_fine and not any(nsqd.tells_connections for nsqd in users):
            yield _warning(
                f"nsqlookupd {reach.address}",
                f"nsqds register there, and from here it cannot be reached: {reach.problem}",
                f"if it is gone, take it from the configuration of {_some(_names(users))}.",
            )


def _disagreements(lookupds: Iterable[LookupdFacts]) -> Iterator[Finding]:
    for lookupd in lookupds:
        by_node: dict[str, list[Registration]] = defaultdict(list)
        for registration in lookupd.missing:
            by_node[registration[0]].append(registration)
        for node, missing in sorted(by_node.items()):
            names = sorted(
                f"{topic}/{channel}" if channel else topic for _, topic, channel in missing
            )
            yield _error(
                f"nsqlookupd {lookupd.name}",
                f"does not list {_some(names)} of nsqd {node}, as others do",
                "see whether its TCP address is in the nsqd's --lookupd-tcp-address, and what the"
                " nsqd logs about it; a topic deleted at one nsqlookupd only is another cause.",
            )


# nsqds


def _nsqd(facts: NsqdFacts, cluster: ClusterFacts) -> Iterator[Finding]:
    subject = f"nsqd {facts.name}"
    yield from _reach(subject, facts)
    yield from _loopback(subject, facts)
    if not facts.http.is_fine:
        return
    yield from _impostor(subject, facts)
    if facts.illness:
        yield _error(
            subject, f"says that it is not well: {facts.illness}", "look at its log and its disk."
        )
    yield from _clock(subject, facts.clock_skew_s)
    yield from _disk(subject, facts.disk_free_bytes)
    yield from _open_files(subject, facts.open_files, facts.max_files)
    yield from _registering(subject, facts, cluster)
    if facts.is_draining:
        yield _warning(
            subject,
            "drains: it takes no messages, and lookups for publishing do not show it",
            f"remove it when it is empty (nsqx drain {facts.name} says so), or have it take"
            f" messages again: nsqx drain {facts.name} --undo.",
        )
    if facts.damages:
        yield _warning(
            subject,
            f"has found its log damaged in {facts.damages} places, and lost"
            f" {facts.lost_messages} messages",
            "see its log for what and where; check the disk.",
        )


def _reach(subject: str, facts: NsqdFacts) -> Iterator[Finding]:
    reaches = [("HTTP", facts.http)]
    if facts.told_tcp_port:
        reaches.append(("TCP", facts.tcp))
    broken = [(way, reach) for way, reach in reaches if not reach.is_fine]
    if not broken:
        return
    problem = ", ".join(f"by {way} at {reach.address}: {reach.problem}" for way, reach in broken)
    yield _error(subject, f"cannot be reached {problem}", _advice_on_reach(facts))


def _advice_on_reach(facts: NsqdFacts) -> str:
    if facts.answers_at and not is_loopback(facts.answers_at):
        return (
            f"it does answer at {facts.answers_at}: start it with"
            f" --broadcast-address={facts.answers_at}, or with"
            f" --advertise=<network of its clients>={facts.answers_at}."
        )
    if HANGS in facts.tcp.problem:
        return (
            "its host is up, and it is stopped or hangs: look at its log and what it waits for"
            " (disk, memory, a debugger); if it is stopped, kill -CONT, else restart it."
        )
    if TLS_FAILED in (facts.http.problem, facts.tcp.problem):
        return (
            "it runs, and one of the two does not accept the other's certificate: --tls-ca-file"
            " names who has signed that of the nsqd, --tls-cert and --tls-key show ours."
        )
    if not facts.listed_by:
        return "start it, or correct the address."
    return (
        "see whether it runs and which address it tells: --broadcast-address must be one that"
        " clients reach, --advertise=NETWORK=HOST tells those in a network another."
    )


def _loopback(subject: str, facts: NsqdFacts) -> Iterator[Finding]:
    """127.0.0.1 works from the same host, and so in every first try."""
    elsewhere = [name for name in facts.listed_by if not is_loopback(host_of(name))]
    if elsewhere and is_loopback(host_of(facts.tcp.address)):
        yield _error(
            subject,
            "tells an address that only its own host can reach",
            "start it with --broadcast-address=<a name or address that clients reach>.",
        )


def _impostor(subject: str, facts: NsqdFacts) -> Iterator[Finding]:
    if not facts.listed_by or not facts.answering_hostname:
        return
    if facts.answering_hostname != facts.hostname:
        yield _error(
            subject,
            f"was registered by host {facts.hostname}, and host {facts.answering_hostname} answers",
            "give each nsqd an address of its own: see --broadcast-address.",
        )


def _registering(subject: str, facts: NsqdFacts, cluster: ClusterFacts) -> Iterator[Finding]:
    for address in facts.unconnected:
        yield _error(
            subject,
            f"is not connected to nsqlookupd {address}",
            "start that nsqlookupd, or take it from the nsqd's configuration.",
        )
    if facts.lookupds == []:
        yield _warning(
            subject,
            "knows no nsqlookupd: consumers that ask for its topics do not find it",
            "start it with --lookupd-tcp-address, or with --discover.",
        )
    elif not facts.listed_by and any(lookupd.http.is_fine for lookupd in cluster.lookupds):
        yield _error(
            subject,
            "is listed by none of the nsqlookupds",
            "compare its --lookupd-tcp-address with theirs.",
        )


def _disk(subject: str, free_bytes: int | None) -> Iterator[Finding]:
    if free_bytes is None or free_bytes >= LIMITS.disk_free_warning:
        return
    make = _error if free_bytes < LIMITS.disk_free_critical else _warning
    yield make(
        subject,
        f"has {free_bytes / 1e6:,.0f} MB left on the disk of its data path",
        "see which channel nobody consumes (depth in /stats), retain less, or give it more disk.",
    )


def _duplicates(nsqds: Iterable[NsqdFacts]) -> Iterator[Finding]:
    for nsqd in nsqds:
        twice = [name for name, count in Counter(nsqd.listed_by).items() if count > 1]
        if twice:
            yield _error(
                f"nsqd {nsqd.name}",
                f"is listed more than once by {_some(twice)}",
                "two nsqds tell the same address: give each its own by --broadcast-address and"
                " ports. If one has just lost its network, its old entry goes with time.",
            )


# Topics and channels

_BACKLOG_ADVICE = {
    "no-consumers": "start a consumer, or delete the channel if nobody needs it: it keeps all.",
    "no-channels": "make a channel, or delete the topic: it keeps all until there is one.",
    "paused": "unpause it, if the pause was forgotten.",
    "old": "see whether its consumers keep up, and whether one message fails again and again.",
}


def _backlogs(problems: Sequence[Problem]) -> Iterator[Finding]:
    for each in problems[:BACKLOGS_MAX]:
        make = _error if each.severity == CRITICAL else _warning
        kind = "channel" if each.channel else "topic"
        name = f"{each.topic}/{each.channel}" if each.channel else each.topic
        problem = each.text.removeprefix(name).lstrip(": ")
        advice = _BACKLOG_ADVICE.get(each.rule, "see its page on the dashboard.")
        yield make(f"{kind} {name}", problem, advice)
    if len(problems) > BACKLOGS_MAX:
        more = len(problems) - BACKLOGS_MAX
        yield _warning("cluster", f"{more:,} more backlogs deserve a look", "see the dashboard.")


# All daemons


def _clock(subject: str, skew_s: float) -> Iterator[Finding]:
    if abs(skew_s) > LIMITS.clock_skew_s:
        direction = "ahead of" if skew_s > 0 else "behind"
        yield _warning(
            subject,
            f"has a clock that is {abs(skew_s):.0f} s {direction} ours",
            "synchronise both clocks (NTP): message timestamps and latencies are wrong.",
        )


def _open_files(subject: str, open_files: int | None, max_files: int | None) -> Iterator[Finding]:
    if open_files is None or max_files is None:
        return
    advice = "raise the limit of open files (LimitNOFILE= of systemd, ulimit -n) and restart it."
    if open_files > LIMITS.open_files_share * max_files:
        yield _error(subject, f"has {open_files:,} of at most {max_files:,} files open", advice)
    elif max_files < LIMITS.open_files_at_least:
        yield _warning(subject, f"may open {max_files:,} files only; each client is one", advice)


def _versions(kind: str, daemons: Iterable[LookupdFacts | NsqdFacts]) -> Iterator[Finding]:
    by_version: dict[str, list[str]] = defaultdict(list)
    for daemon in daemons:
        if daemon.version:
            by_version[daemon.version].append(daemon.name)
    if len(by_version) > 1:
        texts = [f"{version} ({_some(names)})" for version, names in sorted(by_version.items())]
        yield _warning(
            "cluster",
            f"{kind} of different versions: {', '.join(texts)}",
            "fine while you change over; then bring all to one version.",
        )


def _names(daemons: Iterable[LookupdFacts | NsqdFacts]) -> list[str]:
    return [daemon.name for daemon in daemons]


def _some(names: list[str]) -> str:
    """Name the first few of a list."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
