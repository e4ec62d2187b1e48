"""
nsqd as a client of its nsqlookupds (lookupd section 4).

Each nsqlookupd has a connection of its own, so that one that is slow or dead delays nothing but
itself. They are told of every topic and channel, and asked over HTTP which channels a new topic
has elsewhere: these are made before the topic passes on its first message, so that no consumer
misses what is published on a node it has not found yet. Publishing does not wait for that.
"""

import asyncio
import socket
import ssl
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from msgspec import UNSET

from nsqx.net.addresses import TcpAddress, parse_tcp_address
from nsqx.net.tls import TlsFileError, client_context, load_cert_chain
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.directory.addresses import PeerAddresses, Resolve, resolve
from nsqx.nsqd.directory.advertise import parse_advertised
from nsqx.nsqd.directory.connection import LookupConnection
from nsqx.nsqd.directory.known_channels import KnownChannels
from nsqx.nsqd.directory.lookup_peer import Catalogue, LookupPeer, Timing
from nsqx.nsqd.node import Node
from nsqx.nsqd.options import NsqdOptions
from nsqx.protocol.errors import StartupError
from nsqx.protocol.lookup import PeerInfo
from nsqx.protocol.version import NSQ_VERSION, VERSION
from nsqx.runtime.discovery import Directory, Finder
from nsqx.runtime.process import certificates, logs, tasks

__all__ = ["LookupPeers", "PeerState"]

SECOND_NS = 1_000_000_000
# How long a new topic waits for nsqlookupds that were not tried yet, as just after the start, and
# how long after the start it is that none being found yet means nothing.
FIRST_TRY_S = 2.0

_log = logs.get_logger("LOOKUPD")


@dataclass(slots=True, frozen=True)
class PeerState:
    """One nsqlookupd, for whoever watches this node."""

    address: str
    is_connected: bool
    is_complete: bool  # it has confirmed all topics and channels
    knows_of_drain: bool  # it knows whether this node drains


class LookupPeers:
    """
    Tells every nsqlookupd what this node has.

    Attributes:
        addresses: of nsqlookupds, ``host:port`` as they were given.
        timing: of connections that are made from now on; of use to tests.
    """

    def __init__(self, nsqd: Node, resolve: Resolve = resolve) -> None:
        self.addresses: list[str] = list(nsqd.options.lookupd_tcp_address)
        self.timing = Timing()
        options = nsqd.options
        self._nsqd = nsqd
        self._resolve = resolve
        self._finder = _finder(options) if options.discover else None
        self._tls = _tls_context(options)
        self._found: Sequence[str] = ()
        self._found_some = asyncio.Event()
        self._settles_at = 0.0
        self._started = asyncio.Event()
        self._resolved: PeerAddresses | None = None  # from start to stop
        self._connections: dict[TcpAddress, LookupConnection] = {}
        # New topics whose channels are asked for, with those that were deleted meanwhile: what
        # this node itself had registered must not come back by the answer.
        self._asking: dict[Topic, set[str]] = {}
        self._known_channels = KnownChannels(
            connect_s=options.http_client_connect_timeout / SECOND_NS,
            request_s=options.http_client_request_timeout / SECOND_NS,
            ca_file=options.tls_root_ca_file,
        )
        self._tasks: set[asyncio.Task[None]] = set()

    # Start and stop

    def start(self, addresses: Sequence[str]) -> None:
        """Connect. What is known of this node must be known: its ports, its topics."""
        self._resolved = PeerAddresses(self._reconcile, self._is_connected, self._resolve)
        self.set_addresses(addresses)
        if self._finder is not None:
            self._settles_at = asyncio.get_running_loop().time() + FIRST_TRY_S
            self._finder.start()
            self._finder.subscribe(self._discovered)
        self._started.set()

    async def stop(self) -> None:
        """Close all connections; nothing more is said."""
        if self._finder is not None:
            await self._finder.stop()
        if self._resolved is not None:
            self._resolved.stop()
            self._resolved = None
        connections, self._connections = list(self._connections.values()), {}
        for connection in connections:
            await connection.stop()
        for task in list(self._tasks):
            await tasks.stop(task)
        await self._known_channels.close()

    def set_addresses(self, addresses: Iterable[str] | None) -> None:
        """Use these nsqlookupds from now on, besides those that were found."""
        self.addresses = list(addresses or ())
        self._use_addresses()

    def _discovered(self, directories: list[Directory]) -> None:
        self._found = [directory.tcp_address for directory in directories]
        if self._found:
            self._found_some.set()
        self._use_addresses()

    def states(self) -> list[PeerState]:
        """Return each nsqlookupd that this node connects to, connected or not."""
        states = [
            PeerState(
                str(address),
                connection.is_connected,
                connection.peer.is_complete,
                connection.is_connected
                and connection.peer.told_draining == self._nsqd.broker.draining.is_on,
            )
            for address, connection in self._connections.items()
        ]
        unresolved = self._resolved.unresolved if self._resolved is not None else []
        return states + [PeerState(str(name), False, False, False) for name in unresolved]

    def _use_addresses(self) -> None:
        if self._resolved is not None:
            self._resolved.set([*self.addresses, *self._found])
            self._reconcile()

    def _reconcile(self) -> None:
        """Have one connection to each address, and no others."""
        if self._resolved is None:
            return
        wanted = self._resolved.current
        for address in self._connections.keys() - wanted.keys():
            self._start(self._connections.pop(address).stop())
        for address in wanted.keys() - self._connections.keys():
            self._connections[address] = self._connect(address, wanted[address])

    def _connect(self, address: TcpAddress, name: str) -> LookupConnection:
        """Connect to an address; its certificate, if there is one, must have this name."""

        def changed() -> None:
            if self._resolved is not None:
                self._resolved.noticed(address)

        peer = LookupPeer(
            self._identity,
            self._catalogue,
            answer_bytes_max=self._nsqd.options.max_body_size,
            timing=self.timing,
            in_use=self._watch_use(),
        )
        tls = (self._tls, name) if self._tls is not None else None
        return LookupConnection(address, peer, changed, tls)

    def _is_connected(self, address: TcpAddress) -> bool:
        connection = self._connections.get(address)
        return connection is not None and connection.is_connected

    # What this node has

    def _identity(self) -> PeerInfo:
        nsqd, options = self._nsqd, self._nsqd.options
        tcp_port = options.broadcast_tcp_port or nsqd.tcp_port
        http_port = options.broadcast_http_port or nsqd.http_port
        advertised = [parse_advertised(text, tcp_port, http_port) for text in options.advertise]
        return PeerInfo(
            broadcast_address=options.broadcast_address,
            hostname=socket.gethostname(),
            http_port=http_port,
            tcp_port=tcp_port,
            topology_region=options.topology_region,
            topology_zone=options.topology_zone,
            version=NSQ_VERSION,
            nsqx_version=VERSION,
            advertised=tuple(advertised) or UNSET,
            draining=nsqd.broker.draining.is_on or UNSET,
        )

    def _catalogue(self) -> Iterator[tuple[str, Iterable[str]]]:
        for topic in self._nsqd.broker.topics.values():
            yield topic.name, topic.channels

    def _watch_use(self) -> Catalogue:
        """Return what yields the topics that were published to since it was called last."""
        seen: dict[str, int] = {}

        def in_use() -> Iterator[tuple[str, Iterable[str]]]:
            before = seen.copy()
            seen.clear()
            for topic in self._nsqd.broker.topics.values():
                count = seen[topic.name] = topic.message_count
                if count != before.get(topic.name, 0):
                    yield topic.name, topic.channels

        return in_use

    def drain_changed(self) -> None:
        """Have all hide this node, or show it again."""
        for connection in self._connections.values():
            connection.renew()

    def topic_created(self, topic: Topic) -> None:
        """Tell all, and hold the topic until its channels are known. Not called while loading."""
        for connection in self._connections.values():
            connection.register(topic.name)
        if self.addresses or self._found or self._may_find_some:
            topic.hold()
            self._start(self._make_known_channels(topic))

    def topic_deleted(self, topic: Topic) -> None:
        for connection in self._connections.values():
            connection.unregister(topic.name)

    def channel_created(self, topic: Topic, channel: Channel) -> None:
        for connection in self._connections.values():
            connection.register(topic.name, channel.name)

    def channel_deleted(self, topic: Topic, channel: Channel) -> None:
        if topic in self._asking:
            self._asking[topic].add(channel.name)
        for connection in self._connections.values():
            connection.unregister(topic.name, channel.name)

    # Known channels

    @property
    def _may_find_some(self) -> bool:
        """Whether nsqlookupds on the network have not had the time to answer."""
        if self._finder is None or self._found_some.is_set():
            return False
        return asyncio.get_running_loop().time() < self._settles_at

    async def _make_known_channels(self, topic: Topic) -> None:
        deleted = self._asking[topic] = set()
        try:
            for name in await self._ask_for_channels(topic.name):
                if self._is_current(topic) and name not in deleted:
                    self._nsqd.broker.get_channel(topic, name)
        except OSError as error:
            _log.error("failed to create the known channels of %s - %s", topic.name, error)
        finally:
            del self._asking[topic]
            if self._is_current(topic):
                topic.let_go(self._nsqd.broker.clock.monotonic())

    async def _ask_for_channels(self, topic_name: str) -> list[str]:
        await self._first_try()
        directories = [connection.peer.directory for connection in self._connections.values()]
        connected = [directory for directory in directories if directory is not None]
        if not connected:
            _log.warning("no nsqlookupd to ask for the channels of new topic %s", topic_name)
        nsqlookupds = {
            (directory.broadcast_address, directory.http_port)
            for directory in connected
            if directory.broadcast_address
        }
        return await self._known_channels.ask(nsqlookupds, topic_name)

    async def _first_try(self) -> None:
        """Wait until each nsqlookupd was tried once: at the start, none is connected yet."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_TRY_S):
                await self._started.wait()
                if self._may_find_some and not self.addresses:
                    await self._found_some.wait()
                if self._resolved is not None:
                    await self._resolved.settled()
                for connection in list(self._connections.values()):
                    await connection.tried.wait()

    def _is_current(self, topic: Topic) -> bool:
        broker = self._nsqd.broker
        return broker.topics.get(topic.name) is topic and not topic.is_closing

    def reload(self) -> None:
        """Show nsqlookupds the certificate that is in its files now, at connections from now on."""
        options = self._nsqd.options
        if self._tls is not None and options.lookupd_tls_cert:
            certificates.reload(self._tls, options.lookupd_tls_cert, options.lookupd_tls_key)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = tasks.start(work, "nsqlookupd")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _tls_context(options: NsqdOptions) -> ssl.SSLContext | None:
    if not options.lookupd_tls:
        return None
    ca_file = options.lookupd_tls_root_ca_file
    try:
        context = client_context(ca_file, verify=not options.lookupd_tls_insecure_skip_verify)
    except TlsFileError as error:
        raise StartupError(f"{error} (--lookupd-tls-root-ca-file)") from error
    if options.lookupd_tls_cert:
        try:
            load_cert_chain(context, options.lookupd_tls_cert, options.lookupd_tls_key)
        except TlsFileError as error:
            raise StartupError(f"{error} (--lookupd-tls-cert, --lookupd-tls-key)") from error
    return context


def _finder(options: NsqdOptions) -> Finder:
    try:
        return Finder(options.cluster, listens_on=parse_tcp_address(options.tcp_address).host)
    except ValueError as error:  # AddressError is one
        raise StartupError(f"--discover: {error}") from error
