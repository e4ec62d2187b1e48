"""Command line, environment and TOML file of nsqlookupd (options section 3)."""

import socket
from dataclasses import dataclass

from nsqx.lookupd import limits
from nsqx.protocol.defaults import (
    DEFAULT_CLUSTER,
    LOOKUP_IDENTIFY_BYTES_MAX,
    LOOKUP_LINE_BYTES_MAX,
)
from nsqx.runtime.options.flags import DURATION, STRING, DaemonOptions, flag

__all__ = ["LookupdOptions"]


@dataclass
class LookupdOptions(DaemonOptions):
    """What nsqlookupd can be told. Durations are nanoseconds."""

    log_prefix: str = flag(
        "[nsqlookupd] ", group="logging", help="text before every line of the nsq log format"
    )
    tcp_address: str = flag(
        "0.0.0.0:4160", group="network", help="`address` to listen on for nsqd, host:port"
    )
    http_address: str = flag(
        "0.0.0.0:4161", group="network", help="`address` to listen on for HTTP, host:port"
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
