"""nsqadmin as one object: starts and stops its listener. For its process, ``nsqx up`` and tests."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType

from nsqx.admin.compression import compress
from nsqx.admin.guard.access import Access
from nsqx.admin.known.collector import Collector
from nsqx.admin.known.history_store import HistoryStore
from nsqx.admin.options import AdminOptions
from nsqx.admin.parts import Parts, make_http, make_router, make_tail_settings, make_tls
from nsqx.admin.shown.live import LiveLimits
from nsqx.admin.shown.pages import secure
from nsqx.client.settings import Settings
from nsqx.cluster.http import DaemonHttp
from nsqx.net.addresses import Address, AddressError, bind, parse_address
from nsqx.net.host_port import host_of, is_loopback
from nsqx.protocol.errors import StartupError
from nsqx.protocol.version import NSQ_VERSION, RUNTIME
from nsqx.runtime.discovery import Directory, Finder
from nsqx.runtime.durations import SECOND_NS
from nsqx.runtime.http.server import Answer, HttpServer, Request
from nsqx.runtime.process import certificates, logs

__all__ = ["Admin"]

_log = logs.get_logger()


class Admin:
    """
    A dashboard that runs from ``start`` to ``stop``, or for the length of an ``async with``.

    Attributes:
        http_address: where it listens, as ``host:port``. Port 0 in the options lets the system
            choose.
        paths, routes: what it serves, once it has started; routes with their methods.
    """

    def __init__(self, options: AdminOptions, live_limits: LiveLimits | None = None) -> None:
        self.options = options
        self._live_limits = live_limits or LiveLimits()
        self.http_address = ""
        self.paths: list[str] = []
        self.routes: list[tuple[str, str]] = []
        self._tls: ssl.SSLContext | None = None
        self._running = AsyncExitStack()

    async def start(self) -> None:
        """
        Check the options and open the listener.

        Raises:
            StartupError: one sentence that says what is wrong. Nothing is left open.
        """
        options = self.options
        options.check()
        async with AsyncExitStack() as stack:
            lookupds = list(options.lookupd_http_address)  # changes while it runs
            try:
                tls = make_tls(options)
                http = await stack.enter_async_context(make_http(options, tls, lookupds))
                tail_settings = make_tail_settings(options, tls)
            except OSError as exc:
                raise StartupError(f"failed to instantiate nsqadmin - {exc}") from exc
            self._tls = tls
            collector = Collector(
                http,
                lookupds,
                options.nsqd_http_address,
                interval_s=options.poll_interval / SECOND_NS,
                forget_s=options.forget_nodes_after / SECOND_NS,
            )
            await stack.enter_async_context(collector)
            parts = _parts(options, http, collector, lookupds, self._live_limits, tail_settings)
            await stack.enter_async_context(parts.notifications)
            if parts.store is not None:
                await stack.enter_async_context(_opened(parts.store))
                await parts.restore()
                stack.callback(parts.keep_state)
            await stack.enter_async_context(parts.hub)
            router = make_router(parts)
            self.paths, self.routes = router.paths, router.routes
            server = HttpServer(router, log=logs.get_logger("HTTP"), on_answer=_finish)
            listener = _listener_address(options.http_address)
            _log.info("nsqadmin v%s (built w/%s)", NSQ_VERSION, RUNTIME)
            await server.start(bind(listener, "--http-address"))
            stack.push_async_callback(server.stop)
            stack.callback(parts.hub.close_watchers)
            self.http_address = parts.http_address = server.address
            _log.info("HTTP: listening on %s", server.address)
            _warn_of_strangers(options, server.address, parts.gate.access)
            if options.discover:
                await self._discover(lookupds, collector, stack)
            self._running = stack.pop_all()

    async def _discover(
        self, lookupds: list[str], collector: Collector, stack: AsyncExitStack
    ) -> None:
        """Keep in ``lookupds`` those that were given and those that are found."""

        def changed(directories: list[Directory]) -> None:
            found = [directory.http_address for directory in directories]
            lookupds[:] = dict.fromkeys([*self.options.lookupd_http_address, *found])
            collector.reconcile()

        finder = await stack.enter_async_context(_finder(self.options))
        finder.subscribe(changed)

    def reload(self) -> None:
        """Show nsqds the certificate that is in its files now, at connections from now on."""
        if self._tls is not None and self.options.http_client_tls_cert:
            cert, key = self.options.http_client_tls_cert, self.options.http_client_tls_key
            certificates.reload(self._tls, cert, key)

    async def stop(self) -> None:
        """Let running requests end, and close. Fine when it is not running."""
        await self._running.aclose()

    async def __aenter__(self) -> "Admin":
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


@asynccontextmanager
async def _opened(store: HistoryStore) -> AsyncIterator[None]:
    try:
        await store.__aenter__()
    except OSError as exc:
        raise StartupError(f"failed to instantiate nsqadmin - {exc}") from exc
    try:
        yield
    finally:
        await store.__aexit__()


def _warn_of_strangers(options: AdminOptions, address: str, access: Access) -> None:
    """NSQ's default is that everybody may do everything. It should at least be said."""
    is_local = ":" not in address or is_loopback(host_of(address))
    if not is_local and access.is_open_to_all:
        _log.warning(
            "everybody who reaches %s may change everything: "
            "see --read-only, --admin-user, --auth-basic-file",
            address,
        )


def _parts(
    options: AdminOptions,
    http: DaemonHttp,
    collector: Collector,
    lookupds: list[str],
    live_limits: LiveLimits,
    tail_settings: Settings,
) -> Parts:
    try:
        return Parts(options, http, collector, lookupds, live_limits, tail_settings)
    except (OSError, ValueError) as exc:
        raise StartupError(f"failed to instantiate nsqadmin - {exc}") from exc


def _finish(request: Request, answer: Answer) -> None:
    secure(request, answer)
    compress(request, answer)


def _finder(options: AdminOptions) -> Finder:
    try:
        return Finder(options.cluster)
    except ValueError as exc:
        raise StartupError(f"failed to instantiate nsqadmin - --discover: {exc}") from exc


def _listener_address(text: str) -> Address:
    try:
        return parse_address(text)
    except AddressError as exc:
        raise StartupError(f"listen ({text}) failed - {exc} (--http-address)") from exc
