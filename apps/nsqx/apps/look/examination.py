"""
Asks every nsqlookupd and nsqd of a cluster how it is, from where we are. Changes nothing there.

nsqlookupds are asked for nodes first, so that every nsqd is tried at the address that we, as any
client here, are told. What NSQ's own daemons do not say (``/metrics``) is left unknown.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from nsqx.apps.look.cluster_facts import ClusterFacts, LookupdFacts, NsqdFacts, Reach, Registration
from nsqx.apps.look.probes import probe_nsqd, probe_registrar
from nsqx.apps.security_options import PLAIN, Security
from nsqx.client.addresses import Address
from nsqx.cluster.answers import NodeCounts
from nsqx.cluster.http import DaemonError
from nsqx.cluster.merge import merge
from nsqx.cluster.node_metrics import parse_metrics
from nsqx.cluster.observer import Observer
from nsqx.cluster.problems import Problem, backlog_problems
from nsqx.cluster.thresholds import Thresholds
from nsqx.cluster.turns import in_turns
from nsqx.net.host_port import AddressError, format_host_port, host_of, split_host_port

__all__ = ["Examination"]

# Nodes come and go: lookupds that disagree are asked again, and what differs twice is told.
SECOND_LOOK_S = 1.0


@dataclass(slots=True)
class _Answer:
    """To one HTTP request. ``problem`` is empty if its status is 200."""

    body: bytes
    problem: str
    took_s: float = 0.0
    clock_skew_s: float = 0.0

    def json(self) -> Any:
        """Return the decoded body; None if there is none."""
        try:
            return None if self.problem else json.loads(self.body)
        except ValueError:
            return None


class Examination:
    """
    One look at a cluster. ``lookupds`` and ``nsqds`` are HTTP addresses to begin with.

    ``hosts`` has the name and port that requests to some of these addresses are to show.
    """

    def __init__(
        self,
        lookupds: Sequence[Address],
        nsqds: Sequence[Address],
        registrars: Sequence[Address] = (),
        timeout_s: float = 5.0,
        hosts: Mapping[str, str] | None = None,
        second_look_s: float = SECOND_LOOK_S,
        security: Security = PLAIN,
    ) -> None:
        self._security = security
        self._lookupds = lookupds
        self._nsqds = nsqds
        self._registrars = registrars
        self._timeout_s = timeout_s
        self._hosts = hosts or {}
        self._second_look_s = second_look_s
        self._metrics: dict[str, bytes] = {}  # of nsqds, by address

    async def run(self) -> ClusterFacts:
        """Ask all; takes a few timeouts at most."""
        timeout_s = self._timeout_s
        directories = frozenset(map(str, self._lookupds))
        async with self._security.http(
            directories.__contains__, seconds_max=timeout_s
        ) as self._http:
            facts = ClusterFacts()
            facts.lookupds = await in_turns(map(self._examine_lookupd, self._lookupds))
            facts.nsqds = await self._listed_nsqds(facts.lookupds)
            facts.nsqds += await in_turns(map(self._given_nsqd, self._unlisted(facts.nsqds)))
            await in_turns(map(self._examine_nsqd, facts.nsqds))
            facts.registrars = await in_turns(map(self._try_registrar, self._known(facts)))
            await self._compare(facts.lookupds)
            facts.backlogs = await self._backlogs(facts.nsqds)
        return facts

    # nsqlookupds

    async def _examine_lookupd(self, address: Address) -> LookupdFacts:
        ping = await self._get(str(address), "/ping")
        facts = LookupdFacts(Reach(str(address), ping.problem, ping.took_s))
        if ping.problem:
            return facts
        facts.clock_skew_s = ping.clock_skew_s
        if await self._registrations(str(address)) is None:
            facts.http.problem = "it is no nsqlookupd"
        facts.version = _versions(await self._get_object(str(address), "/info"))
        metrics = _read_metrics((await self._get(str(address), "/metrics")).body)
        facts.open_files = _integer(metrics, "process_open_fds")
        facts.max_files = _integer(metrics, "process_max_fds")
        return facts

    async def _registrations(self, address: str) -> frozenset[Registration] | None:
        debug = (await self._get(address, "/debug")).json()
        if not isinstance(debug, dict):
            return None
        return frozenset(
            registration
            for key, producers in debug.items()
            for registration in _read_registrations(key, producers)
        )

    async def _compare(self, lookupds: Sequence[LookupdFacts]) -> None:
        """Find out what some of them list and others do not."""
        if not any((missing := await self._missing(lookupds)).values()):
            return
        await asyncio.sleep(self._second_look_s)
        still_missing = await self._missing(lookupds)
        for facts in lookupds:
            nothing: frozenset[Registration] = frozenset()
            both_times = missing.get(facts.name, nothing) & still_missing.get(facts.name, nothing)
            facts.missing = both_times

    async def _missing(
        self, lookupds: Sequence[LookupdFacts]
    ) -> dict[str, frozenset[Registration]]:
        names = [facts.name for facts in lookupds if facts.http.is_fine]
        answers = await in_turns(map(self._registrations, names))
        listed = {
            name: answer for name, answer in zip(names, answers, strict=True) if answer is not None
        }
        everything = frozenset[Registration]().union(*listed.values())
        return {name: everything - registrations for name, registrations in listed.items()}

    # nsqds

    async def _listed_nsqds(self, lookupds: Iterable[LookupdFacts]) -> list[NsqdFacts]:
        found: dict[tuple[str, str], NsqdFacts] = {}
        for lookupd in lookupds:
            if not lookupd.http.is_fine:
                continue
            nodes = await self._get_object(lookupd.name, "/nodes")
            for node in nodes.get("producers") or ():
                facts = _read_node(node)
                facts = found.setdefault((facts.tcp.address, facts.http.address), facts)
                facts.listed_by.append(lookupd.name)
        return list(found.values())

    def _unlisted(self, nsqds: Iterable[NsqdFacts]) -> list[Address]:
        listed = {nsqd.http.address for nsqd in nsqds}
        return [address for address in self._nsqds if str(address) not in listed]

    async def _given_nsqd(self, address: Address) -> NsqdFacts:
        """Learn from an nsqd that no nsqlookupd lists where its TCP port is."""
        info = await self._get_object(str(address), "/info")
        tcp_port = _integer(info, "tcp_port") or 0
        return NsqdFacts(
            Reach(str(address)),
            Reach(format_host_port(address.host, tcp_port)),
            _text(info, "hostname"),
            _versions(info),
            told_tcp_port=tcp_port,
        )

    async def _examine_nsqd(self, facts: NsqdFacts) -> None:
        await asyncio.gather(self._ask_nsqd(facts), self._talk_to_nsqd(facts))
        if facts.remote_host and not (facts.tcp.is_fine and facts.http.is_fine):
            there = await self._probe(facts.remote_host, facts.told_tcp_port)
            facts.answers_at = facts.remote_host if there.is_fine else ""

    async def _talk_to_nsqd(self, facts: NsqdFacts) -> None:
        if not facts.told_tcp_port:
            return  # it could not be asked for it
        host = host_of(facts.tcp.address)
        facts.tcp = await self._probe(host, facts.told_tcp_port)

    async def _probe(self, host: str, port: int) -> Reach:
        security = self._security
        is_plain = not security.is_tls and not security.auth_secret
        settings = None if is_plain else security.settings("nsqx-doctor")
        return await probe_nsqd(host, port, self._timeout_s, settings)

    async def _ask_nsqd(self, facts: NsqdFacts) -> None:
        address = facts.http.address
        ping = await self._get(address, "/ping")
        facts.http = Reach(address, ping.problem, ping.took_s)
        if ping.problem and ping.body:  # a sick nsqd says so with status 500
            facts.http.problem, facts.illness = "", ping.body.decode(errors="replace").strip()
        if facts.http.problem:
            return
        facts.clock_skew_s = ping.clock_skew_s
        info = await self._get_object(address, "/info")
        facts.version = _versions(info) or facts.version
        facts.answering_hostname = _text(info, "hostname")
        lookupds = (await self._get(address, "/config/nsqlookupd_tcp_addresses")).json()
        if isinstance(lookupds, list):
            facts.lookupds = [text for text in lookupds if isinstance(text, str)]
        self._metrics[address] = (await self._get(address, "/metrics")).body
        _take_metrics(facts, _read_metrics(self._metrics[address]))

    async def _backlogs(self, nsqds: Iterable[NsqdFacts]) -> list[Problem]:
        """Judge topics and channels as the dashboard does, as far as one look tells."""
        answering = [facts.http.address for facts in nsqds if facts.http.is_fine]
        path = "/stats?format=json&include_clients=false"
        stats = await self._http.ask_all(answering, path, NodeCounts)
        now = time.time()
        metrics = {
            address: parse_metrics(text.decode(errors="replace"), now)
            for address, text in self._metrics.items()
        }
        view = Observer().view(time.monotonic(), now, stats.by_address, {}, metrics)
        return backlog_problems(merge(view), Thresholds())

    # Where nsqds register

    def _known(self, facts: ClusterFacts) -> list[Address]:
        texts = [text for nsqd in facts.nsqds for text in nsqd.lookupds or ()]
        addresses = [*self._registrars, *filter(None, map(_parse_host_port, texts))]
        return list(dict.fromkeys(addresses))

    async def _try_registrar(self, address: Address) -> Reach:
        tls = self._security.tls_context() if self._security.is_tls else None
        return await probe_registrar(address.host, address.port, self._timeout_s, tls)

    # HTTP

    async def _get_object(self, address: str, path: str) -> dict[str, Any]:
        """Return the object that a path answers with; an empty one if it does not."""
        content = (await self._get(address, path)).json()
        if not isinstance(content, dict):
            return {}
        wrapped = content.get("data")  # NSQ before 1.0 did that
        return wrapped if isinstance(wrapped, dict) else content

    async def _get(self, address: str, path: str) -> _Answer:
        asked_at = time.time()
        try:
            reply = await self._http.request(
                "GET", address, path, host=self._hosts.get(address, "")
            )
        except DaemonError as exc:
            return _Answer(b"", exc.reason)
        problem = "" if reply.status == 200 else f"status {reply.status}"
        skew_s = _clock_skew(reply.date, asked_at, reply.took_s)
        return _Answer(reply.body, problem, reply.took_s, skew_s)


def _clock_skew(date: str, asked_at: float, took_s: float) -> float:
    """
    Return by how much another clock is certainly ahead of ours (behind: negative), in seconds.

    A Date header is cut to whole seconds and was written while we waited, so it tells the other
    clock to a second and as long as we waited; a skew that this can explain counts as none.
    """
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return 0.0
    least, most = theirs - (asked_at + took_s), theirs + 1 - asked_at
    if least > 0:
        return least
    return min(most, 0.0)


def _read_registrations(key: str, producers: Any) -> Iterable[Registration]:
    category, _, names = key.partition(":")
    topic, _, channel = names.partition(":")
    if category in ("topic", "channel") and isinstance(producers, list):
        for producer in producers:
            yield _read_node(producer).name, topic, channel


def _read_node(node: Any) -> NsqdFacts:
    host = _text(node, "broadcast_address")
    tcp_port = _integer(node, "tcp_port") or 0
    http_port = _integer(node, "http_port") or 0
    return NsqdFacts(
        http=Reach(format_host_port(host, http_port)),
        tcp=Reach(format_host_port(host, tcp_port)),
        hostname=_text(node, "hostname"),
        version=_versions(node),
        remote_host=host_of(_text(node, "remote_address")),
        told_tcp_port=tcp_port,
    )


def _read_metrics(body: bytes) -> dict[str, float]:
    """Return the samples of a Prometheus text; labels stay in the name."""
    samples: dict[str, float] = {}
    for line in body.decode(errors="replace").splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            try:
                samples[name] = float(value)
            except ValueError:
                continue
    return samples


def _take_metrics(facts: NsqdFacts, metrics: dict[str, float]) -> None:
    facts.disk_free_bytes = _integer(metrics, "nsqd_disk_free_bytes")
    facts.open_files = _integer(metrics, "process_open_fds")
    facts.max_files = _integer(metrics, "process_max_fds")
    facts.is_draining = bool(_integer(metrics, "nsqd_draining"))
    facts.damages = _integer(metrics, "nsqd_damages_total") or 0
    facts.lost_messages = _integer(metrics, "nsqd_lost_messages_total") or 0
    prefix = 'nsqd_lookupd_connected{address="'
    facts.tells_connections = any(name.startswith(prefix) for name in metrics)
    facts.unconnected = [
        name.removeprefix(prefix).removesuffix('"}')
        for name, value in metrics.items()
        if name.startswith(prefix) and not value
    ]


def _parse_host_port(text: str) -> Address | None:
    try:
        host, port = split_host_port(text)
    except AddressError:
        return None
    return Address(host or "localhost", port)


def _versions(content: dict[str, Any]) -> str:
    """Return whose protocol is spoken, and of which release of ours it is; of Go's, the one."""
    version, ours = _text(content, "version"), _text(content, "nsqx_version")
    return f"{version} (nsqx {ours})" if ours else version


def _text(content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    return value if isinstance(value, str) else ""


def _integer(content: dict[str, Any], key: str) -> int | None:
    value = content.get(key)
    return int(value) if isinstance(value, int | float) else None
