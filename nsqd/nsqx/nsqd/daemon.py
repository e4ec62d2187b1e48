"""nsqd as one object that starts and stops: for its own process, and within another's."""

import asyncio
import os
import random
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING

from nsqx.net.addresses import (
    listen_on,
    parse_tcp_address,
    remove_socket_file,
    serve,
    socket_text,
)
from nsqx.net.host_port import format_host_port
from nsqx.net.late_authorities import read_when_needed
from nsqx.nsqd.core.broker import Broker, BrokerSettings
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.clock import Clock
from nsqx.nsqd.core.clockwork import Clockwork
from nsqx.nsqd.core.consumer import Place
from nsqx.nsqd.core.durability import Durability
from nsqx.nsqd.core.metadata import MetadataError
from nsqx.nsqd.core.session import SessionSettings
from nsqx.nsqd.core.timers import NEVER_NS
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.edge.data_folder import DataFolder, advice_for
from nsqx.nsqd.edge.files import FileStorage
from nsqx.nsqd.edge.leave import take_leave
from nsqx.nsqd.edge.loop_lag import LoopLag
from nsqx.nsqd.edge.shared_ports import SharedPorts
from nsqx.nsqd.edge.tcp import ConnectionLimits, TcpServer
from nsqx.nsqd.log.formats import DataFormatError
from nsqx.nsqd.options import TOPOLOGY_EXPERIMENT, NsqdOptions
from nsqx.nsqd.telling.latencies import Latencies
from nsqx.nsqd.telling.memory_stats import MemoryStats
from nsqx.nsqd.telling.recovered import recovery_text
from nsqx.nsqd.tls import server_context
from nsqx.protocol.command_parser import Limits
from nsqx.protocol.errors import StartupError
from nsqx.protocol.identify import NegotiationOptions
from nsqx.protocol.version import NSQ_VERSION, RUNTIME, VERSION
from nsqx.runtime.options.flags import TlsRequired
from nsqx.runtime.process import certificates, logs, open_files

if TYPE_CHECKING:  # what not every node needs, or not before it answers over TCP
    from nsqx.nsqd.directory.peers import LookupPeers
    from nsqx.nsqd.edge.auth import AuthServers
    from nsqx.nsqd.telling.statsd_pusher import StatsdPusher

__all__ = ["Nsqd"]

MILLISECOND_NS = 1_000_000
STALL_NS = 50 * MILLISECOND_NS  # late by more, and the process stood still
READ_NS = MILLISECOND_NS  # until the event loop has read what has come

_log = logs.get_logger()


class Nsqd:
    """
    A broker that runs from ``start`` to ``stop``, or for the length of an ``async with``.

    Attributes:
        broker: the topics; of use to tests.
        tcp_address, http_address, https_address: where it listens, as ``host:port`` or a socket's
            path.
        tcp_port, http_port, https_port: the ports; -1 for a socket's path, 0 without a listener.
    """

    def __init__(self, options: NsqdOptions) -> None:
        self.options = options
        self.broker: Broker
        self.peers: LookupPeers
        self._has_peers = False
        self.tcp_server: TcpServer
        self.shared_ports: SharedPorts
        self.latencies: Latencies
        self.loop_lag: LoopLag
        self.storage: FileStorage
        self.memory = MemoryStats()
        self.start_time_s = int(time.time())
        self.started_ns = time.monotonic_ns()
        self.tcp_address = self.http_address = self.https_address = ""
        self.tcp_port = self.http_port = self.https_port = 0
        self._loop: asyncio.AbstractEventLoop
        self._tls: ssl.SSLContext | None = None
        self.auth_servers: AuthServers | None = None
        self.is_stopping = False
        self._is_woken = False
        self._clockwork: Clockwork | None = None
        self._next_run: asyncio.TimerHandle | None = None  # of the clockwork
        self._next_run_ns = NEVER_NS
        self._planned_ns = NEVER_NS
        self._running = AsyncExitStack()

    # Start and stop

    async def start(self) -> None:
        """
        Take up the data folder and open the listeners.

        Raises:
            StartupError: one sentence that says what is wrong. Nothing is left open.
        """
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            try:
                self.options.check()
                self._tls = server_context(self.options)
                self.auth_servers = self._auth_servers()
                listeners = self._bind(stack)
                folder = DataFolder(Path(self.options.data_path or os.getcwd()))
            except StartupError as error:
                raise StartupError(f"failed to instantiate nsqd - {error}") from error
            stack.callback(folder.release)
            storage = FileStorage(folder.path, self._loop, warn=self.warn)
            stack.callback(storage.close)
            self.storage = storage
            self.broker = Broker(
                storage,
                self._broker_settings(),
                self,
                clock=Clock(time.time_ns, time.monotonic_ns),
                random_bits=random.SystemRandom().getrandbits,
            )
            self.latencies = Latencies(
                self.options.e2e_processing_latency_percentile,
                self.options.e2e_processing_latency_window_time,
                storage=storage,
                clock=self.broker.clock,
            )
            if self._knows_of_peers:
                self._make_peers()
            self._load()
            stack.callback(self._close_broker)
            await self._serve(listeners, stack)
            self._running = stack.pop_all()

    async def stop(self) -> None:
        """
        Take leave of all clients, then write down where everything stands.

        No connection is accepted and nothing delivered any more. Clients get the answers to what
        they sent, have ``--drain-timeout`` to finish the messages they hold, and are disconnected.
        """
        await self._running.aclose()

    def reload(self) -> None:
        """Use the certificate that is in its files now, for connections from now on."""
        if self._tls is not None:
            certificates.reload(self._tls, self.options.tls_cert, self.options.tls_key)
        if self._has_peers:
            self.peers.reload()

    async def __aenter__(self) -> "Nsqd":
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _bind(self, stack: AsyncExitStack) -> dict[str, socket.socket]:
        """Open all sockets before anything else, so that a taken port changes nothing."""
        self.shared_ports = SharedPorts(self.options.shared_addresses())
        stack.callback(self.shared_ports.release)
        listeners: dict[str, socket.socket] = {}
        for kind, (text, purpose) in self.options.own_addresses().items():
            if not text or (kind == "HTTPS" and self._tls is None):
                continue
            listener = listen_on(text, purpose)
            stack.callback(listener.close)
            stack.callback(remove_socket_file, listener)  # if nothing was served on it
            listeners[kind] = listener
        self.tcp_address, self.tcp_port = _name(listeners["TCP"])
        if "HTTP" in listeners:
            self.http_address, self.http_port = _name(listeners["HTTP"])
        if "HTTPS" in listeners:
            self.https_address, self.https_port = _name(listeners["HTTPS"])
        return listeners

    @property
    def broadcast_tcp_port(self) -> int:
        """Return the port that others are told to connect to."""
        return self.options.broadcast_tcp_port or self.tcp_port

    @property
    def broadcast_http_port(self) -> int:
        """Return the port that others are told to ask over HTTP."""
        return self.options.broadcast_http_port or self.http_port

    @property
    def statsd_prefix(self) -> str:
        """Return what all names in statsd begin with."""
        from nsqx.nsqd.telling.statsd import prefix_of

        node = format_host_port(self.options.broadcast_address, self.broadcast_http_port)
        return prefix_of(self.options.statsd_prefix, node)

    def _load(self) -> None:
        started_ns = time.monotonic_ns()
        try:
            self.storage.sync_folder("")
            self._check_durability()
            self.broker.load()
        except MetadataError as error:
            raise StartupError(
                f"failed to load metadata - {self.options.data_path}/nsqd.dat is damaged "
                f"({error}); it was left as it is: repair it, or move it away to start with "
                "the topics found on disk"
            ) from error
        except DataFormatError as error:
            raise StartupError(f"failed to load data from {self.storage.root} - {error}") from error
        except OSError as error:
            raise StartupError(f"failed to load data - {error}; {advice_for(error)}") from error
        # Not before: a start that is refused says one thing.
        _log.info("NSQ: data path %s", self.storage.root)
        for topic in self.broker.topics.values():
            for channel in topic.channels.values():
                self.latencies.watch(topic, channel)
        _log.info("NSQ: %s", recovery_text(self.broker, time.monotonic_ns() - started_ns))
        if self.broker.draining.is_on:
            _log.warning("NSQ: draining, as before the start: no messages are taken")

    def _check_durability(self) -> None:
        if self.storage.weakness and self.options.durability == Durability.FSYNC.value:
            raise StartupError(f"failed to promise --durability=fsync - {self.storage.weakness}")

    async def _serve(self, listeners: dict[str, socket.socket], stack: AsyncExitStack) -> None:
        self.tcp_server = TcpServer(
            self.broker,
            self._session_settings(),
            ssl_context=self._tls,
            busy_poll_ns=self.options.busy_poll,
            limits=self._connection_limits(),
        )
        _log.info("nsqd v%s (built w/%s)", NSQ_VERSION, RUNTIME)
        self._watch(stack)
        stack.push_async_callback(self._stop_peers)
        if self.auth_servers is not None:
            stack.push_async_callback(self.auth_servers.stop)
        # Closed before HTTP, and opened before it, too: clients first, as in NSQ.
        http = await stack.enter_async_context(AsyncExitStack())
        server = serve(self.tcp_server.make_connection, listeners["TCP"])
        stack.callback(self._close_clients)
        _log.info("TCP: listening on %s", self.tcp_address)
        if self._has_peers:
            self.peers.start(self.options.lookupd_tcp_address)
        if self.options.statsd_address:
            statsd = self._statsd()
            statsd.start()
            stack.push_async_callback(statsd.stop)
        self._start_clockwork(stack)
        # The first to be unwound, while the clockwork still runs.
        stack.push_async_callback(self._take_leave)
        stack.push_async_callback(server.close)
        stack.callback(remove_socket_file, listeners["TCP"])
        stack.push_async_callback(self.shared_ports.close)
        await self.share("TCP", self.tcp_server.make_connection)
        # In a thread: clients are answered meanwhile.
        http_listeners = await asyncio.to_thread(_import_http)
        if not self._has_peers:  # some can be named over HTTP
            self._make_peers()
            self.peers.start(())
        await http_listeners.serve_http(self, listeners, self._tls, http)

    async def share(self, kind: str, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Serve what comes to the port that this node shares with others, if it does."""
        is_draining = self.broker.draining.is_on
        await self.shared_ports.serve(kind, factory, is_draining=is_draining)

    # Nsqlookupds and auth servers

    @property
    def _knows_of_peers(self) -> bool:
        options = self.options
        return bool(options.lookupd_tcp_address or options.discover or options.lookupd_tls)

    def _make_peers(self) -> None:
        from nsqx.nsqd.directory.peers import LookupPeers

        self.peers = LookupPeers(self)
        self._has_peers = True

    async def _stop_peers(self) -> None:
        if self._has_peers:
            await self.peers.stop()

    def _auth_servers(self) -> "AuthServers | None":
        if not self.options.auth_http_address:
            return None
        from nsqx.nsqd.edge.auth import AuthServers

        return AuthServers.of(self.options)

    async def _take_leave(self) -> None:
        self.is_stopping = True
        self.broker.flush()
        await take_leave(self.tcp_server, self.options.drain_timeout / 1e9)

    def _close_clients(self) -> None:
        """The start failed, or a client was faster than the end of listening."""
        self.broker.flush()
        self.tcp_server.close_all()

    def _watch(self, stack: AsyncExitStack) -> None:
        """Measure this process."""
        self.memory.start()
        stack.callback(self.memory.stop)
        self.loop_lag = LoopLag(self._loop)
        self.loop_lag.start()
        stack.callback(self.loop_lag.stop)

    def _statsd(self) -> "StatsdPusher":
        from nsqx.nsqd.telling.statsd import StatsdReport
        from nsqx.nsqd.telling.statsd_pusher import StatsdPusher

        options = self.options
        report = StatsdReport(
            self.broker,
            self.statsd_prefix,
            exclude_ephemeral=options.statsd_exclude_ephemeral,
            quantiles=self.latencies.quantiles,
            window_of=self.latencies.window_of,
        )
        return StatsdPusher(
            report,
            parse_tcp_address(options.statsd_address),
            interval_s=options.statsd_interval / 1e9,
            packet_bytes_max=options.statsd_udp_packet_size,
            memory=self.memory.read if options.statsd_mem_stats else lambda: None,
        )

    def _close_broker(self) -> None:
        _log.info("NSQ: closing topics")
        try:
            self.broker.close()
        except OSError as error:
            _log.error("failed to write down where everything stands - %s", error)
        _log.info("NSQ: bye")

    # The clockwork

    def _start_clockwork(self, stack: AsyncExitStack) -> None:
        sync_interval_ns = self.options.sync_timeout
        self._clockwork = Clockwork(self.broker, self.tcp_server, sync_interval_ns=sync_interval_ns)
        self.tcp_server.deadlines.on_sooner = self.sooner
        self.sooner()
        stack.callback(self._stop_clockwork)

    def _stop_clockwork(self) -> None:
        self._clockwork = None
        if self._next_run is not None:
            self._next_run.cancel()

    def sooner(self) -> None:
        """See `BrokerEvents.sooner`."""
        clockwork = self._clockwork
        if clockwork is None:
            return
        next_ns = clockwork.next_ns
        if next_ns >= self._next_run_ns:
            return
        if self._next_run is not None:
            self._next_run.cancel()
        self._next_run_ns = next_ns
        delay_ns = max(0, next_ns - self.broker.clock.monotonic())
        self._run_after(delay_ns)

    def _run_after(self, delay_ns: int) -> None:
        self._planned_ns = self.broker.clock.monotonic() + delay_ns
        self._next_run = self._loop.call_later(delay_ns / 1e9, self._run_clockwork)

    def _run_clockwork(self) -> None:
        """
        Do what is due.

        When this process stood still, what clients sent meanwhile comes first, or it would count
        as late. uvloop runs timers before it reads.
        """
        assert self._clockwork is not None
        late_ns = self.broker.clock.monotonic() - self._planned_ns
        if late_ns > STALL_NS and self._next_run_ns:
            self._next_run_ns = 0  # so this happens once
            self._run_after(READ_NS)
            return
        self._next_run_ns = 0  # whatever is due sooner meanwhile is seen below
        try:
            self._clockwork.run()
        finally:
            self._next_run_ns = NEVER_NS
            self.sooner()

    # Options, in the core's units

    def _broker_settings(self) -> BrokerSettings:
        options = self.options
        return BrokerSettings(
            version=NSQ_VERSION,
            mem_queue_size=options.mem_queue_size,
            segment_bytes_max=options.max_bytes_per_file,
            memory_bytes_max=options.memory_limit,
            sync_every=options.sync_every,
            max_msg_timeout_ns=options.max_msg_timeout,
            max_channel_consumers=options.max_channel_consumers,
            max_topics=options.max_topics,
            max_channels=options.max_channels,
            durability=Durability(options.durability),
            retain_time_ns=options.retain_time,
            retain_bytes=options.retain_bytes,
            place=self._place(),
        )

    def _place(self) -> Place | None:
        if TOPOLOGY_EXPERIMENT not in self.options.enable_experiment:
            return None
        return Place(self.options.topology_region, self.options.topology_zone)

    def _connection_limits(self) -> ConnectionLimits:
        """Return what was set, or what leaves files for HTTP, the log, and other addresses."""
        files = open_files.limit()
        in_all = self.options.max_connections or files * 4 // 5
        return ConnectionLimits(in_all, self.options.max_connections_per_address or in_all * 3 // 4)

    def _session_settings(self) -> SessionSettings:
        options = self.options
        limits = Limits(
            max_msg_size=options.max_msg_size,
            max_body_size=options.max_body_size,
            max_rdy_count=options.max_rdy_count,
            max_req_timeout_ms=options.max_req_timeout // MILLISECOND_NS,
        )
        negotiation = NegotiationOptions(
            version=NSQ_VERSION,
            nsqx_version=VERSION,
            max_rdy_count=options.max_rdy_count,
            max_heartbeat_interval_ms=options.max_heartbeat_interval // MILLISECOND_NS,
            msg_timeout_ms=options.msg_timeout // MILLISECOND_NS,
            max_msg_timeout_ms=options.max_msg_timeout // MILLISECOND_NS,
            max_output_buffer_size=options.max_output_buffer_size,
            output_buffer_timeout_ms=options.output_buffer_timeout // MILLISECOND_NS,
            min_output_buffer_timeout_ms=options.min_output_buffer_timeout // MILLISECOND_NS,
            max_output_buffer_timeout_ms=options.max_output_buffer_timeout // MILLISECOND_NS,
            max_deflate_level=options.max_deflate_level,
            snappy=options.snappy,
            deflate=options.deflate,
            tls=self._tls is not None,
            auth_required=self.auth_servers is not None,
            topology_region=options.topology_region,
            topology_zone=options.topology_zone,
            max_msg_size=limits.max_msg_size,
            max_body_size=limits.max_body_size,
            max_req_timeout_ms=limits.max_req_timeout_ms,
            http_port=max(0, self.broadcast_http_port),  # -1: a socket's path
        )
        return SessionSettings(
            limits,
            negotiation,
            tls_required=options.tls_required is not TlsRequired.NO,
            authenticator=self.auth_servers,
        )

    # As the broker's `BrokerEvents`

    def wake(self) -> None:
        """See `BrokerEvents.wake`."""
        if not self._is_woken:
            self._is_woken = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_woken = False
        self.broker.flush()

    def drain_changed(self) -> None:
        """See `BrokerEvents.drain_changed`."""
        _log.info("NSQ: %s", "draining" if self.broker.draining.is_on else "draining no more")
        self.shared_ports.drain_changed(is_draining=self.broker.draining.is_on)
        if self._has_peers:
            self.peers.drain_changed()

    def topic_created(self, topic: Topic) -> None:
        """See `BrokerEvents.topic_created`."""
        _log.info("TOPIC(%s): created", topic.name)
        if self._has_peers:
            self.peers.topic_created(topic)

    def topic_deleted(self, topic: Topic) -> None:
        """See `BrokerEvents.topic_deleted`."""
        _log.info("TOPIC(%s): deleted", topic.name)
        if self._has_peers:
            self.peers.topic_deleted(topic)

    def channel_created(self, topic: Topic, channel: Channel) -> None:
        """See `BrokerEvents.channel_created`."""
        _log.info("TOPIC(%s): new channel(%s)", topic.name, channel.name)
        self.latencies.watch(topic, channel)
        if self._has_peers:
            self.peers.channel_created(topic, channel)

    def channel_deleted(self, topic: Topic, channel: Channel) -> None:
        """See `BrokerEvents.channel_deleted`."""
        _log.info("TOPIC(%s): deleted channel(%s)", topic.name, channel.name)
        if channel.dropped_count:
            _log.warning(
                "TOPIC(%s): channel(%s) dropped %d messages: more than --mem-queue-size waited",
                topic.name,
                channel.name,
                channel.dropped_count,
            )
        self.latencies.forget(channel)
        if self._has_peers:
            self.peers.channel_deleted(topic, channel)

    def warn(self, text: str) -> None:
        """See `BrokerEvents.warn`."""
        _log.warning("%s", text)

    def failed(self, what: str, exception: Exception) -> None:
        """See `BrokerEvents.failed`."""
        _log.error("failed to %s - an unexpected error", what, exc_info=exception)


def _import_http() -> ModuleType:
    with read_when_needed():
        from nsqx.nsqd.http import listeners

    return listeners


def _name(listener: socket.socket) -> tuple[str, int]:
    """Return where a socket listens, and its port, -1 for a path."""
    name = listener.getsockname()
    return socket_text(name), name[1] if isinstance(name, tuple) else -1
