"""Command line, environment and TOML file of nsqd (options section 2, and what is ours)."""

import socket
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from nsqx.nsqd.core.durability import Durability
from nsqx.protocol.defaults import (
    ADVERTISED_MAX,
    DEFAULT_CLUSTER,
    MAX_BODY_SIZE,
    MAX_MSG_SIZE,
    MAX_RDY_COUNT,
    NSQD_HTTP_PORT,
    NSQD_HTTPS_PORT,
    NSQD_TCP_PORT,
)
from nsqx.protocol.errors import StartupError
from nsqx.runtime.options.flags import (
    DURATION,
    FLOATS,
    INT,
    STRING,
    TLS_MIN_VERSION,
    TLS_REQUIRED,
    DaemonOptions,
    TlsRequired,
    flag,
    list_flags,
)
from nsqx.runtime.settings import SETTINGS, option_of
from nsqx.runtime.statsd_prefix import is_statsd_prefix

__all__ = ["TOPOLOGY_EXPERIMENT", "NsqdOptions"]

TOPOLOGY_EXPERIMENT = "topology-aware-consumption"

_NODE_IDS = 1024
# With 0 of these nobody would be served, or nothing could be waited for.
_ABOVE_0 = (
    "http_client_connect_timeout",
    "http_client_request_timeout",
    "max_rdy_count",
    "max_msg_timeout",
    "e2e_processing_latency_window_time",
)
_STATSD = (
    "statsd_interval",
    "statsd_mem_stats",
    "statsd_prefix",
    "statsd_udp_packet_size",
    "statsd_exclude_ephemeral",
)
_BUFFERING = (
    "output_buffer_timeout",
    "min_output_buffer_timeout",
    "max_output_buffer_timeout",
    "max_output_buffer_size",
)


def default_node_id() -> int:
    """Return what Go's nsqd takes as its node id on this host."""
    import hashlib  # not for --version: it loads OpenSSL

    return zlib.crc32(hashlib.md5(socket.gethostname().encode()).digest()) % _NODE_IDS


_Check = tuple[bool, str]  # whether it is right, and what is wrong otherwise


def _any_port_of(address: str) -> str:
    return f"{address.rpartition(':')[0]}:0"


@dataclass
class NsqdOptions(DaemonOptions):
    """What nsqd can be told. Durations are nanoseconds, sizes bytes unless the name says it."""

    log_prefix: str = flag("[nsqd] ", group="logging", help="text before every log line")
    node_id: int = flag(
        factory=default_node_id,
        kind=INT,
        default_text="from the host's name",
        config_key="id",
        help="number of this node, 0 to 1023",
        no_effect="ids of messages begin with a number that the log drew",
    )
    worker_id: bool = flag(
        False,
        config_key=None,
        help="does nothing, kept for old command lines",
        no_effect="as --node-id",
    )

    tcp_address: str = flag(
        f"0.0.0.0:{NSQD_TCP_PORT}",
        group="network",
        help="`address` for clients, host:port or a socket's path",
    )
    http_address: str = flag(
        f"0.0.0.0:{NSQD_HTTP_PORT}",
        group="network",
        help="`address` for HTTP, host:port or a socket's path; empty for none",
    )
    https_address: str = flag(
        f"0.0.0.0:{NSQD_HTTPS_PORT}",
        group="network",
        help="`address` for HTTPS, used with a certificate only",
    )
    reuse_port: bool = flag(
        False,
        group="network",
        help="share the ports of --tcp-address and --http-address with other nodes of this host, "
        "for producers; each node has its own, too",
    )
    own_tcp_address: str = flag(
        "",
        group="network",
        help="`address` of this node alone, for consumers, with --reuse-port; any port of the host "
        "of --tcp-address if empty",
    )
    own_http_address: str = flag(
        "",
        group="network",
        help="`address` for HTTP of this node alone, with --reuse-port; any port of the host of "
        "--http-address if empty",
    )
    broadcast_address: str = flag(
        factory=socket.gethostname,
        kind=STRING,
        default_text="the host's name",
        group="network",
        help="`address` under which others reach this node, told to every nsqlookupd",
    )
    broadcast_tcp_port: int = flag(
        0, group="network", help="TCP port told to every nsqlookupd; 0 for the real one"
    )
    broadcast_http_port: int = flag(
        0, group="network", help="HTTP port told to every nsqlookupd; 0 for the real one"
    )
    advertise: list[str] = flag(
        [],
        group="network",
        help="`NETWORK=HOST[:TCP[:HTTP]]`: what nsqlookupd tells those in that network (several)",
    )
    lookupd_tcp_address: list[str] = flag(
        [],
        config_key="nsqlookupd_tcp_addresses",
        group="network",
        help="`address` of an nsqlookupd (may be given several times)",
    )
    lookupd_tls: bool = flag(
        False, group="tls", help="speak TLS to every nsqlookupd (NSQ's own can't)"
    )
    lookupd_tls_root_ca_file: str = flag(
        "",
        group="tls",
        help="path of the certificates that nsqlookupds' must come from; the system's if empty",
    )
    lookupd_tls_insecure_skip_verify: bool = flag(
        False, group="tls", help="accept any certificate of an nsqlookupd"
    )
    lookupd_tls_cert: str = flag(
        "", group="tls", help="path of the certificate to show nsqlookupds"
    )
    lookupd_tls_key: str = flag("", group="tls", help="path of its key")
    discover: bool = flag(
        False, group="network", help="use the nsqlookupds found on the local network too (mDNS)"
    )
    cluster: str = flag(
        DEFAULT_CLUSTER, group="network", help="`name` of the cluster that is looked for"
    )
    auth_http_address: list[str] = flag(
        [],
        config_key="auth_http_addresses",
        group="auth",
        help="`address` or URL of an auth server (may be given several times)",
    )
    auth_http_request_method: str = flag(
        "get", group="auth", help="how the auth server is asked: get or post"
    )
    http_auth: bool = flag(
        True,
        group="auth",
        help="with an auth server, let it judge HTTP requests that change or publish something "
        "or read messages; NSQ lets everybody",
    )
    http_client_connect_timeout: int = flag(
        "2s", kind=DURATION, group="network", help="time to connect to auth servers and nsqlookupds"
    )
    http_client_request_timeout: int = flag(
        "5s", kind=DURATION, group="network", help="time for a whole request to them"
    )
    topology_region: str = flag("", group="topology", help="region of this node")
    topology_zone: str = flag("", group="topology", help="zone of this node")

    data_path: str = flag("", group="disk", help="`folder` of all data; the current one if empty")
    mem_queue_size: int = flag(
        10000,
        group="disk",
        help="messages that an ephemeral topic or channel keeps; all others are on disk",
    )
    max_bytes_per_file: int = flag(
        104857600, group="disk", help="bytes of a log segment before the next one begins"
    )
    sync_every: int = flag(2500, group="disk", help="messages after which a topic is synced")
    sync_timeout: int = flag(
        "2s", kind=DURATION, group="disk", help="time after which a topic is synced"
    )
    durability: str = option_of("durability")
    memory_limit: int = flag(
        8388608, group="disk", help="bytes of recent messages kept in memory, all topics together"
    )
    retain_time: int = option_of("retain_time")
    retain_bytes: int = option_of("retain_bytes")
    queue_scan_worker_pool_max: int = flag(
        4,
        group="disk",
        help="workers that look for time-outs",
        no_effect="all channels are looked at in one pass",
    )
    queue_scan_selection_count: int = flag(
        20,
        group="disk",
        help="channels that one scan looks at",
        no_effect="every scan looks at all channels",
    )

    msg_timeout: int = option_of("msg_timeout")
    max_msg_timeout: int = flag(
        "15m", kind=DURATION, group="messages", help="most time a client may ask for"
    )
    max_msg_size: int = flag(MAX_MSG_SIZE, group="messages", help="bytes of the largest message")
    max_req_timeout: int = flag(
        "1h", kind=DURATION, group="messages", help="longest delay of a message"
    )
    max_body_size: int = flag(
        MAX_BODY_SIZE, group="messages", help="bytes of the largest command body"
    )

    max_heartbeat_interval: int = flag(
        "1m", kind=DURATION, group="clients", help="longest heartbeat interval of a client"
    )
    max_rdy_count: int = flag(
        MAX_RDY_COUNT, group="clients", help="most messages a client may ask for"
    )
    max_output_buffer_size: int = flag(
        65536, group="clients", help="largest output buffer a client may ask for, bytes"
    )
    max_output_buffer_timeout: int = flag(
        "30s", kind=DURATION, group="clients", help="longest output buffer timeout of a client"
    )
    min_output_buffer_timeout: int = flag(
        "25ms", kind=DURATION, group="clients", help="shortest output buffer timeout of a client"
    )
    output_buffer_timeout: int = flag(
        "250ms",
        kind=DURATION,
        group="clients",
        help="output buffer timeout told to clients; messages go out at once whatever it is",
    )
    drain_timeout: int = flag(
        "0s",
        kind=DURATION,
        group="clients",
        help="time that clients have at a stop to finish the messages they hold",
    )
    max_connections: int = flag(
        0, group="clients", help="most clients; 0 for four fifths of the files that may be open"
    )
    max_connections_per_address: int = flag(
        0, group="clients", help="most clients of one address; 0 for three quarters of all"
    )
    max_channel_consumers: int = flag(
        0, group="clients", help="most consumers of a channel on this node; 0 for no limit"
    )
    max_topics: int = flag(
        10_000, group="clients", help="most topics that clients may make; 0 for no limit"
    )
    max_channels: int = flag(
        50_000, group="clients", help="most channels, of all topics together; 0 for no limit"
    )
    busy_poll: int = flag(
        "60us",
        kind=DURATION,
        group="clients",
        help="time to look for more traffic before sleeping; 0 saves CPU, costs latency",
    )

    statsd_address: str = flag("", group="metrics", help="UDP `address` of a statsd daemon")
    statsd_interval: int = flag(
        "1m", kind=DURATION, group="metrics", help="time between two pushes to statsd"
    )
    statsd_mem_stats: bool = flag(True, group="metrics", help="push memory statistics too")
    statsd_prefix: str = flag(
        "nsq.%s", group="metrics", help="prefix of statsd keys; %s becomes this node"
    )
    statsd_udp_packet_size: int = flag(508, group="metrics", help="bytes of a statsd packet")
    statsd_exclude_ephemeral: bool = flag(
        False, group="metrics", help="leave ephemeral topics and channels out of statsd"
    )
    e2e_processing_latency_percentile: list[float] = flag(
        [],
        kind=FLOATS,
        config_key="e2e_processing_latency_percentiles",
        group="metrics",
        help="percentiles of the time from publish to finish, e.g. 0.99 (several, or commas)",
    )
    e2e_processing_latency_window_time: int = flag(
        "10m", kind=DURATION, group="metrics", help="time that these percentiles cover"
    )

    tls_cert: str = flag("", group="tls", help="path of the certificate")
    tls_key: str = flag("", group="tls", help="path of its key")
    tls_client_auth_policy: str = flag(
        "", group="tls", help="client certificates: require or require-verify"
    )
    tls_root_ca_file: str = flag(
        "", group="tls", help="path of the certificates that clients' must come from"
    )
    tls_required: TlsRequired = flag(
        "false", kind=TLS_REQUIRED, group="tls", help="require TLS: true, false or tcp-https"
    )
    tls_min_version: int = flag(
        "tls1.2",
        kind=TLS_MIN_VERSION,
        group="tls",
        help="least version: tls1.0, tls1.1, tls1.2 or tls1.3",
    )
    deflate: bool = flag(True, group="compression", help="let clients ask for deflate")
    max_deflate_level: int = flag(
        6, group="compression", help="highest deflate level that a client may ask for, 1 to 9"
    )
    snappy: bool = flag(True, group="compression", help="let clients ask for snappy")
    enable_experiment: list[str] = flag(
        [], help="`name` of an experiment: topology-aware-consumption (several)"
    )

    def check(self) -> None:
        """
        Judge what can be judged without the machine, and draw what conclusions follow.

        Raises:
            StartupError: the first thing that is wrong, and what would be right.
        """
        if self.tls_client_auth_policy and self.tls_required is TlsRequired.NO:
            self.tls_required = TlsRequired.YES
        checks = chain(
            self._words(), self._pairs(), self._numbers(), self._bounds(), self._addresses()
        )
        for is_right, message in checks:
            if not is_right:
                raise StartupError(message)
        self._check_advertised()
        for address in self.lookupd_tcp_address:
            _check_address("lookupd-tcp-address", address)
        if self.statsd_address:
            _check_address("statsd-address", self.statsd_address)
        for address in self.auth_http_address:
            _check_url("auth-http-address", address)

    def own_addresses(self) -> dict[str, tuple[str, str]]:
        """Return where this node alone listens, of each kind, and the flag that says so."""
        addresses = {
            "TCP": (self.tcp_address, "--tcp-address"),
            "HTTP": (self.http_address, "--http-address"),
            "HTTPS": (self.https_address, "--https-address"),
        }
        if self.reuse_port:
            own = self.own_tcp_address or _any_port_of(self.tcp_address)
            addresses["TCP"] = (own, "--own-tcp-address")
            if self.http_address:
                own = self.own_http_address or _any_port_of(self.http_address)
                addresses["HTTP"] = (own, "--own-http-address")
        return addresses

    def shared_addresses(self) -> dict[str, tuple[str, str]]:
        """Return where other nodes listen, too, of each kind, and the flag that says so."""
        if not self.reuse_port:
            return {}
        shared = {
            "TCP": (self.tcp_address, "--tcp-address"),
            "HTTP": (self.http_address, "--http-address"),
        }
        return {kind: each for kind, each in shared.items() if each[0]}

    def _words(self) -> Iterator[_Check]:
        """Of what may be one of some words."""
        from nsqx.net.client_certificates import POLICIES  # --version needs none of it

        policy = self.tls_client_auth_policy
        yield (
            policy in ("", *POLICIES),
            f"--tls-client-auth-policy={policy} asks for no certificate; "
            f"those that do: {', '.join(POLICIES)}",
        )
        yield (
            self.auth_http_request_method in ("get", "post"),
            "--auth-http-request-method must be post or get",
        )
        yield (
            self.durability in (Durability.OS.value, Durability.FSYNC.value),
            f"--durability must be os or fsync, not {self.durability}",
        )

    def _pairs(self) -> Iterator[_Check]:
        """Of what must go together."""
        yield (
            self.tls_required is TlsRequired.NO or bool(self.tls_cert and self.tls_key),
            "cannot require TLS client connections without TLS key and cert",
        )
        yield (
            bool(self.tls_cert) == bool(self.tls_key),
            "--tls-cert and --tls-key must be given together",
        )
        yield (
            bool(self.lookupd_tls_cert) == bool(self.lookupd_tls_key),
            "--lookupd-tls-cert and --lookupd-tls-key must be given together",
        )
        yield (
            self.max_output_buffer_timeout >= self.min_output_buffer_timeout,
            "--max-output-buffer-timeout must not be below --min-output-buffer-timeout",
        )

    def _numbers(self) -> Iterator[_Check]:
        """Of numbers with a range of their own."""
        from nsqx.protocol.identify import HEARTBEAT_INTERVAL_MS_MIN

        yield 0 <= self.node_id < _NODE_IDS, f"--node-id must be [0,{_NODE_IDS})"
        yield 1 <= self.max_deflate_level <= 9, "--max-deflate-level must be [1,9]"
        for value in self.e2e_processing_latency_percentile:
            yield 0 < value <= 1, f"invalid E2E processing latency percentile: {value:g}"
        yield (
            self.max_heartbeat_interval >= HEARTBEAT_INTERVAL_MS_MIN * 1_000_000,
            "--max-heartbeat-interval must be at least 1s",
        )

    def _bounds(self) -> Iterator[_Check]:
        """Of numbers that only must be large or small enough."""
        for name in ("max_bytes_per_file", "max_msg_size", "max_body_size"):
            yield getattr(self, name) > 0, f"--{name.replace('_', '-')} must be above 0"
        for each in list_flags(NsqdOptions):
            if each.kind in (INT, DURATION):
                is_right = getattr(self, each.attribute) >= 0
                yield is_right, f"--{each.name} must not be below 0"
        for name in ("sync_timeout", "statsd_interval", *_ABOVE_0):
            yield getattr(self, name) > 0, f"--{name.replace('_', '-')} must be above 0"
        for name in ("broadcast_tcp_port", "broadcast_http_port"):
            yield getattr(self, name) <= 65535, f"--{name.replace('_', '-')} must be [0,65535]"
        for setting in SETTINGS:
            yield (
                setting.least is None or getattr(self, setting.name) >= setting.least,
                f"--{setting.name.replace('_', '-')} is too small",
            )

    def _addresses(self) -> Iterator[_Check]:
        """Of where the node is, and how it is called."""
        from nsqx.protocol.node_host import is_node_host

        for name in ("own_tcp_address", "own_http_address"):
            yield (
                self.reuse_port or not getattr(self, name),
                f"--{name.replace('_', '-')} is for nodes that share ports: it needs --reuse-port",
            )
        for text, purpose in self.shared_addresses().values():
            yield (
                ":" in text and not text.endswith(":0"),
                f"{purpose}={text} cannot be shared: --reuse-port needs a host and a port",
            )
        yield bool(self.tcp_address), "--tcp-address must not be empty"
        yield (
            is_node_host(self.broadcast_address) or self.broadcast_address == socket.gethostname(),
            f"--broadcast-address is a host's name or IP address, not {self.broadcast_address!r}",
        )
        yield (
            is_statsd_prefix(self.statsd_prefix),
            f"--statsd-prefix ({self.statsd_prefix!r}) is no prefix of statsd's keys: %s is the"
            " node, and there is no other format, no blank, colon or bar",
        )

    def notices(self) -> list[str]:
        """Return a sentence for all that was given and has no effect."""
        notices = super().notices()
        for needed, is_there, idle in self._dependents():
            if not is_there:
                given = [f"--{name.replace('_', '-')}" for name in idle if self.is_given(name)]
                notices += [f"{name} has no effect without {needed}" for name in given]
        notices += [
            f"--{name.replace('_', '-')} is only told to clients: messages go out at once"
            for name in _BUFFERING
            if self.is_given(name)
        ]
        unknown = [name for name in self.enable_experiment if name != TOPOLOGY_EXPERIMENT]
        if unknown:
            notices.append(
                f"unknown to --enable-experiment, ignored: {', '.join(unknown)}; "
                f"there is {TOPOLOGY_EXPERIMENT}"
            )
        return notices

    def _dependents(self) -> list[tuple[str, bool, tuple[str, ...]]]:
        """Return what is needed, whether it is there, and the options that do nothing without."""
        tls, auth = bool(self.tls_cert), bool(self.auth_http_address)
        return [
            ("--tls-cert", tls or not self.https_address, ("https_address",)),
            ("--tls-cert or --auth-http-address", tls or auth, ("tls_min_version",)),
            (
                "--tls-client-auth-policy or --auth-http-address",
                bool(self.tls_client_auth_policy) or auth,
                ("tls_root_ca_file",),
            ),
            ("--auth-http-address", auth, ("auth_http_request_method", "http_auth")),
            ("--statsd-address", bool(self.statsd_address), _STATSD),
            (
                "--e2e-processing-latency-percentile",
                bool(self.e2e_processing_latency_percentile),
                ("e2e_processing_latency_window_time",),
            ),
            ("--deflate", self.deflate, ("max_deflate_level",)),
            ("--discover", self.discover, ("cluster",)),
            (
                "--lookupd-tls",
                self.lookupd_tls,
                (
                    "lookupd_tls_root_ca_file",
                    "lookupd_tls_insecure_skip_verify",
                    "lookupd_tls_cert",
                    "lookupd_tls_key",
                ),
            ),
        ]

    def _check_advertised(self) -> None:
        if not self.advertise:
            return
        from nsqx.nsqd.directory.advertise import parse_advertised  # few starts need it

        if len(self.advertise) > ADVERTISED_MAX:
            raise StartupError(f"more than {ADVERTISED_MAX} times --advertise")
        for text in self.advertise:
            try:
                parse_advertised(text, tcp_port=1, http_port=1)
            except ValueError as error:
                raise StartupError(f"invalid --advertise - {error}") from error


def _check_url(name: str, address: str) -> None:
    """Refuse what no request can be sent to. Keys in it are not shown."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_right = is_right and parts.port != 0  # ValueError if it is none
    except ValueError:
        is_right = False
    if not is_right:
        raise StartupError(f"invalid --{name} - neither host:port nor an http or https URL")


def _check_address(name: str, address: str) -> None:
    from nsqx.net.addresses import AddressError, parse_tcp_address  # nor of asyncio

    try:
        parse_tcp_address(address)
    except AddressError as error:
        raise StartupError(f"invalid --{name} - {error}") from error
