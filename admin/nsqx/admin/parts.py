"""Puts the parts of the dashboard together: what needs what, in one place."""

import ssl
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from nsqx.admin.changed.audit import ENTRIES_KEPT, AuditTrail
from nsqx.admin.changed.marks import MarkEndpoint
from nsqx.admin.changed.runs import ActionEndpoint, Repeats
from nsqx.admin.config import AdminConfigEndpoint
from nsqx.admin.guard.access import Access, Role, parse_networks
from nsqx.admin.guard.credentials import Credentials
from nsqx.admin.guard.gate import Gate
from nsqx.admin.known.collector import Collector
from nsqx.admin.known.history import History
from nsqx.admin.known.history_store import HistoryStore
from nsqx.admin.nsq_api.cluster import Cluster
from nsqx.admin.nsq_api.graphite import Graphite
from nsqx.admin.nsq_api.notifications import Notifications
from nsqx.admin.nsq_api.routes import NsqApi
from nsqx.admin.options import AdminOptions
from nsqx.admin.shown.hub import Hub
from nsqx.admin.shown.live import LiveLimits
from nsqx.admin.shown.pages import Pages
from nsqx.admin.shown.static_files import StaticFiles
from nsqx.admin.shown.tail import Tails
from nsqx.admin.v2.documents import DocumentEndpoints
from nsqx.admin.v2.history import HistoryEndpoints
from nsqx.admin.v2.lists import ListEndpoints
from nsqx.admin.v2.messages import MessageEndpoints
from nsqx.admin.v2.routes import V2Api
from nsqx.admin.v2.settings import SettingsEndpoints
from nsqx.client.settings import Settings
from nsqx.cluster.http import DaemonHttp
from nsqx.cluster.merge import ClusterSnapshot
from nsqx.cluster.thresholds import Thresholds
from nsqx.cluster.watch import Watch, WatchState
from nsqx.net.host_port import without_secrets
from nsqx.net.late_authorities import read_when_needed
from nsqx.net.tls import client_context
from nsqx.protocol.version import NSQ_VERSION, VERSION
from nsqx.runtime.durations import SECOND_NS
from nsqx.runtime.http.config_endpoint import parse_addresses
from nsqx.runtime.http.server import Handler, Router
from nsqx.runtime.process import logs

__all__ = ["Parts", "make_http", "make_router"]


STATE_EVERY_S = 10.0
WATCH_STATE = "problems"

_log = logs.get_logger("HISTORY")

HISTORY_SECONDS, HISTORY_SECONDS_STORED = 86_400, 7 * 86_400


class Parts:
    """What lives as long as the dashboard runs."""

    def __init__(
        self,
        options: AdminOptions,
        http: DaemonHttp,
        collector: Collector,
        lookupds: list[str],
        live_limits: LiveLimits,
        tail_settings: Settings,
    ) -> None:
        self.options = options
        self.live_limits = live_limits
        self.http = http
        self.collector = collector
        self.lookupds = lookupds
        self.http_address = options.http_address  # the real one, once it listens
        self.audit = AuditTrail()
        self.watch = Watch(Thresholds(oldest_age_s=options.oldest_age_warning / SECOND_NS))
        self.hub = Hub(collector, self.watch, self.audit)
        self.history = History(self.hub.is_watched)
        self.store = HistoryStore(options.history_path) if options.history_path else None
        self.hub.on_tick = self._record
        collector.on_restart = self.history.restarted
        if self.store is not None:
            self.history.on_minute = self.store.take_minute
            self.audit.on_add = self.store.add_entry
        self._state_kept_at = time.monotonic()
        self.tails = Tails(lambda: self.hub.view, lookupds, tail_settings)
        self.gate = Gate(make_access(options), options.allowed_origin, options.allowed_host)
        self.notifications = Notifications(http, options.notification_http_endpoint)
        self.files = StaticFiles(options.dev_static_dir)

    def _record(self, snapshot: ClusterSnapshot) -> None:
        self.history.record(snapshot)
        now = time.monotonic()
        if now - self._state_kept_at >= STATE_EVERY_S:
            self._state_kept_at = now
            self.keep_state()

    async def restore(self) -> None:
        """Go on where the dashboard before has ended, if that has kept it."""
        if self.store is None:
            return
        self.audit.restore(await self.store.entries(ENTRIES_KEPT))
        if (kept := await self.store.state(WATCH_STATE)) is not None:
            try:
                state = msgspec.json.decode(kept, type=WatchState)
            except msgspec.DecodeError as exc:
                _log.warning("what was known of problems is of another version: %s", exc)
            else:
                self.watch.restore(state, time.time(), time.monotonic())

    def keep_state(self) -> None:
        """Have what is known of problems survive a restart."""
        if self.store is not None:
            self.store.keep_state(WATCH_STATE, msgspec.json.encode(self.watch.state()))


def make_tls(options: AdminOptions) -> ssl.SSLContext:
    """
    Return how nsqds are verified, and what they are shown.

    Raises:
        TlsFileError: a file of certificates cannot be read or holds none.
    """
    with read_when_needed():  # few have nsqds that speak HTTPS
        return client_context(
            options.http_client_tls_root_ca_file,
            cert=options.http_client_tls_cert,
            key=options.http_client_tls_key,
            verify=not options.http_client_tls_insecure_skip_verify,
        )


def make_tail_settings(options: AdminOptions, tls: ssl.SSLContext) -> Settings:
    """
    Return how nsqds are spoken to in NSQ's protocol.

    Raises:
        OSError: there is no file with the secret.
    """
    return Settings(
        client_id="nsqadmin",
        user_agent=f"nsqadmin/{NSQ_VERSION} nsqx/{VERSION}",
        tls=tls if options.nsqd_tls else False,
        auth_secret=_read_secret(options.nsqd_auth_secret_file) or None,
    )


def _read_secret(path: str) -> str:
    return Path(path).read_text(errors="replace").strip() if path else ""


def make_http(options: AdminOptions, tls: ssl.SSLContext, lookupds: Collection[str]) -> DaemonHttp:
    """
    Return what asks daemons; ``lookupds`` are the present ones.

    Raises:
        OSError: there is no file with the secret.
    """
    http = DaemonHttp(
        connect_s=options.http_client_connect_timeout / SECOND_NS,
        request_s=options.http_client_request_timeout / SECOND_NS,
        tls=lambda: tls,
        secret=_read_secret(options.nsqd_auth_secret_file),
        is_secret_clear=not options.nsqd_tls,
        is_routine=True,
    )
    http.only_https = lambda address: options.nsqd_tls and address not in lookupds
    return http


def make_access(options: AdminOptions) -> Access:
    """
    Return the rules of who may do what.

    Raises:
        OSError, ValueError: a file of credentials cannot be read or is wrong.
    """
    return Access(
        header=options.acl_http_header,
        trusted=parse_networks(options.acl_trusted_cidr),
        admins=frozenset(options.admin_user),
        operators=frozenset(options.operator_user),
        credentials=Credentials.read(options.auth_token_file, options.auth_basic_file),
        read_only=options.read_only,
        message_role=Role.parse(options.message_role),
    )


def make_router(parts: Parts) -> Router[Handler]:
    """Return all routes."""
    options = parts.options
    facts = {
        "base_path": options.base_path,
        "version": VERSION,
        "has_lookupds": bool(options.lookupd_http_address or options.discover),
        "history_seconds": HISTORY_SECONDS_STORED if parts.store else HISTORY_SECONDS,
        "graphite": _graphite_facts(options),
        "interval": options.poll_interval / SECOND_NS,
    }
    router: Router[Handler] = Router(options.base_path)
    cluster = Cluster(parts.http, parts.lookupds, options.nsqd_http_address)
    NsqApi(
        cluster,
        parts.http,
        parts.gate,
        parts.notifications,
        parts.audit,
        parts.collector.hurry,
    ).add_to(router)
    _add_graphite(router, parts)
    _add_config(router, parts)
    Pages(parts.files, options.base_path, lambda: parts.hub.snapshot).add_to(router, parts.gate)
    _add_v2(router, parts, facts)
    return router


def _without_secrets_of(options: AdminOptions, key: str) -> str:
    return without_secrets(getattr(options, key))


def _graphite_facts(options: AdminOptions) -> dict[str, Any] | None:
    """What a page needs to link to Graphite, as NSQ's page gets it; None: there is none."""
    if not options.graphite_url:
        return None
    return {
        "url": "" if options.proxy_graphite else without_secrets(options.graphite_url),
        "interval": options.statsd_interval / SECOND_NS,
        "prefix": options.statsd_prefix,
        "counter_format": options.statsd_counter_format,
        "gauge_format": options.statsd_gauge_format,
    }


def _add_v2(router: Router[Handler], parts: Parts, facts: dict[str, Any]) -> None:
    acting = (
        parts.hub,
        parts.collector,
        parts.http,
        parts.audit,
        parts.notifications,
        Repeats(),
    )
    api = V2Api(
        parts.gate,
        DocumentEndpoints(parts.hub, parts.tails, parts.gate, facts, parts.live_limits),
        MessageEndpoints(*acting),
        HistoryEndpoints(parts.hub, parts.history, parts.store, parts.audit),
        ActionEndpoint(*acting),
        MarkEndpoint(parts.hub, parts.watch, parts.audit),
        ListEndpoints(parts.hub),
        SettingsEndpoints(parts.hub, parts.http),
    )
    api.add_to(router)


def _add_graphite(router: Router[Handler], parts: Parts) -> None:
    options = parts.options
    interval_s = options.statsd_interval / SECOND_NS
    graphite = Graphite(parts.http, options.graphite_url, interval_s)
    router.add("GET", "/api/graphite", parts.gate.page(graphite.get_rate))
    if options.proxy_graphite:
        router.add("GET", "/render", parts.gate.page(graphite.get_render))


def _add_config(router: Router[Handler], parts: Parts) -> None:
    endpoint = AdminConfigEndpoint(parts.options, parts.gate, parts.audit)
    endpoint.may_show("http_address", lambda: parts.http_address)
    for key in ("notification_http_endpoint", "graphite_url"):
        endpoint.may_show(key, partial(_without_secrets_of, parts.options, key))

    def take(addresses: list[str] | None) -> None:
        parts.lookupds[:] = addresses or ()
        parts.collector.reconcile()

    endpoint.may_set("nsqlookupd_http_addresses", parse_addresses, take)
    endpoint.add_to(router)
