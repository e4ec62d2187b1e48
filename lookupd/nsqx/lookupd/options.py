"""Command line, environment and TOML file of nsqlookupd (options section 3)."""

import socket
from dataclasses import dataclass

from nsqx.lookupd import limits
from nsqx.protocol.defaults import (
    DEFAULT_CLUSTER,
    LOOKUP_IDENTIFY_BYTES_MAX,
    LOOKUP_LINE_BYTES_MAX,
    LOOKUPD_HTTP_PORT,
    LOOKUPD_TCP_PORT,
)
from nsqx.protocol.errors import StartupError
from nsqx.runtime.options.flags import (
    DURATION,
    INT,
    STRING,
    TLS_MIN_VERSION,
    DaemonOptions,
    flag,
    list_flags,
)

__all__ = ["LookupdOptions"]

# With 0 of these nobody would be served.
_ABOVE_0 = (
    "inactive_producer_timeout",
    "max_connections",
    "max_connections_per_address",
    "max_registrations",
    "max_registrations_per_address",
    "max_entries",
    "max_line_size",
    "max_identify_size",
)


@dataclass
class LookupdOptions(DaemonOptions):
    """What nsqlookupd can be told. Durations are nanoseconds."""

    log_prefix: str = flag(
        "[nsqlookupd] ", group="logging", help="text before every line of the nsq log format"
    )
    tcp_address: str = flag(
        f"0.0.0.0:{LOOKUPD_TCP_PORT}",
        group="network",
        help="`address` to listen on for nsqd, host:port",
    )
    http_address: str = flag(
        f"0.0.0.0:{LOOKUPD_HTTP_PORT}",
        group="network",
        help="`address` to listen on for HTTP, host:port",
    )
    broadcast_address: str = flag(
        factory=socket.gethostname,
        kind=STRING,
        default_text="the host's name",
        group="network",
        help="`address` of this nsqlookupd, told to every nsqd for its queries over HTTP",
    )
    advertise: bool = flag(
        False, group="network", help="let this nsqlookupd be found on the local network (mDNS)"
    )
    cluster: str = flag(
        DEFAULT_CLUSTER, group="network", help="`name` of the cluster that it is found by"
    )
    tls_cert: str = flag(
        "", group="tls", help="path of a certificate: every nsqd must then use --lookupd-tls"
    )
    tls_key: str = flag("", group="tls", help="path of its key")
    tls_client_auth_policy: str = flag(
        "", group="tls", help="certificates of nsqds: require or require-verify"
    )
    tls_root_ca_file: str = flag(
        "", group="tls", help="path of the certificates that nsqds' must come from"
    )
    tls_min_version: int = flag(
        "tls1.2",
        kind=TLS_MIN_VERSION,
        group="tls",
        help="least version: tls1.0, tls1.1, tls1.2 or tls1.3",
    )
    https_address: str = flag(
        "",
        group="network",
        help="`address` to listen on for HTTPS, host:port, with --tls-cert; clients need no "
        "certificate there",
    )
    inactive_producer_timeout: int = flag(
        "5m",
        kind=DURATION,
        group="producers",
        help="how long an nsqd is listed without a ping",
    )
    tombstone_lifetime: int = flag(
        "45s",
        kind=DURATION,
        group="producers",
        help="how long a tombstoned nsqd is hidden from lookups of the topic",
    )
    max_connections: int = flag(
        limits.CONNECTIONS_MAX, group="limits", help="most connections of nsqds at a time"
    )
    max_connections_per_address: int = flag(
        limits.CONNECTIONS_PER_ADDRESS_MAX,
        group="limits",
        help="most connections of one address at a time",
    )
    max_registrations: int = flag(
        limits.REGISTRATIONS_PER_PRODUCER_MAX,
        group="limits",
        help="most topics and channels that one nsqd may register",
    )
    max_registrations_per_address: int = flag(
        limits.REGISTRATIONS_PER_ADDRESS_MAX,
        group="limits",
        help="most topics and channels that the nsqds at one address may register",
    )
    max_entries: int = flag(
        limits.ENTRIES_MAX, group="limits", help="most topics and channels in all"
    )
    max_watches: int = flag(
        limits.WATCHES_MAX, group="limits", help="most long polls (/watch) at a time"
    )
    max_line_size: int = flag(
        LOOKUP_LINE_BYTES_MAX, group="limits", help="most bytes of a command line"
    )
    max_identify_size: int = flag(
        LOOKUP_IDENTIFY_BYTES_MAX, group="limits", help="most bytes of an IDENTIFY body"
    )

    def check(self) -> None:
        """
        Refuse what would not be what was asked for.

        Raises:
            StartupError: the first thing that is wrong.
        """
        from nsqx.net.client_certificates import POLICIES  # --version needs none of it
        from nsqx.protocol.node_host import is_node_host

        for each in list_flags(LookupdOptions):
            if each.kind in (INT, DURATION) and getattr(self, each.attribute) < 0:
                raise StartupError(f"--{each.name} must not be below 0")
        for name in _ABOVE_0:
            if getattr(self, name) == 0:
                raise StartupError(f"--{name.replace('_', '-')} must be above 0")
        host = self.broadcast_address
        if not is_node_host(host) and host != socket.gethostname():
            raise StartupError(f"--broadcast-address is a host's name or IP address, not {host!r}")
        policy = self.tls_client_auth_policy
        if policy not in ("", *POLICIES):
            raise StartupError(f"--tls-client-auth-policy is {' or '.join(POLICIES)}, not {policy}")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise StartupError("--tls-cert and --tls-key must be given together")
        dependents = {"tls-client-auth-policy": policy, "https-address": self.https_address}
        for name, value in dependents.items():
            if value and not self.tls_cert:
                raise StartupError(f"--{name} needs --tls-cert and --tls-key")
