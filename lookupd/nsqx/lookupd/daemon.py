"""nsqlookupd as one object that starts and stops: for its own process, and within another's."""

import socket
import ssl
from contextlib import AsyncExitStack
from types import TracebackType

from nsqx.lookupd.answers import Answers
from nsqx.lookupd.clock import Clock
from nsqx.lookupd.http_api import UNLOGGED_PATHS, HttpApi
from nsqx.lookupd.options import LookupdOptions
from nsqx.lookupd.registry import Limits, Registry
from nsqx.lookupd.session import Session
from nsqx.lookupd.tcp import TcpServer
from nsqx.lookupd.watches import Watches
from nsqx.net.addresses import (
    listen_on,
    parse_tcp_address,
    socket_text,
)
from nsqx.net.client_certificates import demanding_context
from nsqx.net.tls import TlsFileError, server_context
from nsqx.protocol import lookup
from nsqx.protocol.errors import StartupError
from nsqx.protocol.version import NSQ_VERSION, RUNTIME, VERSION
from nsqx.runtime.discovery import Advertiser
from nsqx.runtime.http.connection import CONNECTIONS_MAX, HttpLimits
from nsqx.runtime.http.server import ENDED_S, HttpServer
from nsqx.runtime.options.flags import Source
from nsqx.runtime.process import certificates, logs

__all__ = ["PROGRAM", "Lookupd"]

PROGRAM = "nsqlookupd"

_log = logs.get_logger()


class Lookupd:
    """
    A directory that runs from ``start`` to ``stop``, or for the length of an ``async with``.

        async with Lookupd(LookupdOptions(tcp_address="127.0.0.1:0", ...)) as lookupd:
            lookupd.tcp_port, lookupd.http_port

    Attributes:
        registry: what is registered; of use to tests.
        tcp_address, http_address: where it listens, as ``host:port``. Port 0 in the options lets
            the system choose.
        tcp_port, http_port: the same as numbers.
        https_address, https_port: the same, if there is such a listener.
        routes: method and path of what HTTP serves.
    """

    def __init__(self, options: LookupdOptions) -> None:
        self.options = options
        self.clock = Clock()
        self.registry = Registry(
            inactive_timeout_ns=options.inactive_producer_timeout,
            tombstone_lifetime_ns=options.tombstone_lifetime,
            limits=Limits(
                options.max_registrations,
                options.max_registrations_per_address,
                options.max_entries,
            ),
            first_index=self.clock(),  # so that a restart is noticed by whoever watches
        )
        self.tcp_address, self.tcp_port = "", 0
        self.http_address, self.http_port = "", 0
        self.https_address, self.https_port = "", 0
        self._tcp = TcpServer(
            self._make_session,
            self.clock,
            options.max_connections,
            options.max_connections_per_address,
        )
        answers = Answers(self.registry)
        self._watches = Watches(self.registry, answers, self.clock, options.max_watches)
        api = HttpApi(self.registry, answers, self._watches, self.clock)
        self._router = api.router()
        self.routes = self._router.routes
        self._contexts: list[ssl.SSLContext] = []
        self._limits = lookup.LookupLimits(options.max_line_size, options.max_identify_size)
        self._running = AsyncExitStack()

    async def start(self) -> None:
        """
        Open both listeners.

        Raises:
            StartupError: one sentence that says what is wrong. Nothing is left open.
        """
        options = self.options
        tls = _tls_context(options)
        self._contexts = [tls] if tls is not None else []
        async with AsyncExitStack() as stack:
            tcp_listener = _listen(options.tcp_address, "--tcp-address", stack)
            http_listener = _listen(options.http_address, "--http-address", stack)
            https_listener = None
            if options.https_address:
                https_listener = _listen(options.https_address, "--https-address", stack)
                self.https_address, self.https_port = _name(https_listener)
            _log.info("%s v%s (built w/%s)", PROGRAM, NSQ_VERSION, RUNTIME)
            # Both are known before the first nsqd is told of them in the answer to IDENTIFY.
            self.tcp_address, self.tcp_port = _name(tcp_listener)
            self.http_address, self.http_port = _name(http_listener)
            await self._tcp.start(tcp_listener, tls)
            stack.push_async_callback(self._tcp.stop)
            _log.info("TCP: listening on %s", self.tcp_address)
            await self._serve_http("HTTP", http_listener, None, stack)
            if https_listener is not None:
                await self._serve_http("HTTPS", https_listener, _https_context(options), stack)
            stack.callback(self._watches.close)
            if options.advertise:
                await stack.enter_async_context(self._advertiser())
            self._running = stack.pop_all()

    async def _serve_http(
        self, kind: str, listener: socket.socket, tls: ssl.SSLContext | None, stack: AsyncExitStack
    ) -> None:
        server = HttpServer(
            self._router,
            unlogged=UNLOGGED_PATHS,
            refuses_pages=True,
            log=logs.get_logger(kind),
            ends_with_client=True,
            limits=HttpLimits(
                ended_s=ENDED_S, connections=CONNECTIONS_MAX + self.options.max_watches
            ),
        )
        await server.start(listener, tls)
        stack.push_async_callback(server.stop)
        if tls is not None:
            self._contexts.append(tls)
        _log.info("%s: listening on %s", kind, server.address)

    def reload(self) -> None:
        """Use the certificate that is in its files now, for connections from now on."""
        for context in self._contexts:
            certificates.reload(context, self.options.tls_cert, self.options.tls_key)

    async def stop(self) -> None:
        """Close both listeners and every connection. Fine when it is not running."""
        await self._running.aclose()

    async def __aenter__(self) -> "Lookupd":
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _advertiser(self) -> Advertiser:
        options = self.options
        # The host's name is no better than the addresses that are advertised anyway.
        is_chosen = options.source("broadcast_address") is not Source.DEFAULT
        try:
            return Advertiser(
                cluster=options.cluster,
                tcp_port=self.tcp_port,
                http_port=self.http_port,
                listens_on=parse_tcp_address(options.tcp_address).host,
                host=options.broadcast_address if is_chosen else "",
            )
        except ValueError as exc:  # AddressError is one
            raise StartupError(f"failed to instantiate {PROGRAM} - --advertise: {exc}") from exc

    def _make_session(self, remote_address: str) -> Session:
        return Session(
            self.registry,
            remote_address=remote_address,
            identity=self._identity,
            limits=self._limits,
        )

    def _identity(self, peer: lookup.PeerInfo) -> bytes:
        info = lookup.DirectoryInfo(
            broadcast_address=self.options.broadcast_address,
            hostname=socket.gethostname(),
            http_port=self.http_port,
            tcp_port=self.tcp_port,
            version=NSQ_VERSION,
            nsqx_version=VERSION,
            draining=peer.draining,
        )
        return info.encode()


def _listen(text: str, purpose: str, stack: AsyncExitStack) -> socket.socket:
    try:
        listener = listen_on(text, purpose)
    except StartupError as exc:
        raise StartupError(f"failed to instantiate {PROGRAM} - {exc.message}") from exc
    stack.callback(listener.close)
    return listener


def _tls_context(options: LookupdOptions) -> ssl.SSLContext | None:
    """Return what connections of nsqds are wrapped in, and what they are asked for."""
    try:
        options.check()
        if not options.tls_cert:
            return None
        return demanding_context(
            lambda: _https_context(options),
            options.tls_client_auth_policy,
            options.tls_root_ca_file,
        )
    except StartupError as exc:
        raise StartupError(f"failed to instantiate {PROGRAM} - {exc.message}") from exc
    except TlsFileError as exc:
        reason = str(exc) if "--tls-" in str(exc) else f"{exc} (--tls-cert, --tls-key)"
        raise StartupError(f"failed to instantiate {PROGRAM} - {reason}") from exc


def _https_context(options: LookupdOptions) -> ssl.SSLContext:
    """Return what those are wrapped in who only ask; it demands nothing."""
    return server_context(options.tls_cert, options.tls_key, options.tls_min_version)


def _name(listener: socket.socket) -> tuple[str, int]:
    """Return the address as text, and the port; 0 for a Unix socket."""
    name = listener.getsockname()
    return socket_text(name), name[1] if isinstance(name, tuple) else 0
