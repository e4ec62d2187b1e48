"""Options of ``nsqadmin`` (options section 4), one field each, and what makes them wrong."""

import os
import posixpath
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsqx.admin.guard.roles import ROLES
from nsqx.protocol.defaults import ADMIN_HTTP_PORT, DEFAULT_CLUSTER
from nsqx.protocol.errors import StartupError
from nsqx.runtime.options import flags
from nsqx.runtime.options.flags import DURATION, flag
from nsqx.runtime.statsd_prefix import NODE, is_statsd_prefix

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["AdminOptions"]


@dataclass
class AdminOptions(flags.DaemonOptions):
    """Durations are nanoseconds."""

    log_prefix: str = flag("[nsqadmin] ", group="logging", help="text before every log line")
    http_address: str = flag(
        f"0.0.0.0:{ADMIN_HTTP_PORT}", help="<addr>:<port> to listen on for HTTP clients"
    )
    base_path: str = flag("/", help="URL path under which everything is")
    dev_static_dir: str = flag(
        "",
        help="folder to read the page's files from at each request, for development",
    )

    lookupd_http_address: list[str] = flag(
        [],
        config_key="nsqlookupd_http_addresses",
        group="sources",
        help="lookupd HTTP address (may be given several times)",
    )
    nsqd_http_address: list[str] = flag(
        [],
        config_key="nsqd_http_addresses",
        group="sources",
        help="nsqd HTTP address, instead of lookupds (may be given several times)",
    )
    discover: bool = flag(
        False, group="sources", help="ask the lookupds found on the local network too (mDNS)"
    )
    cluster: str = flag(
        DEFAULT_CLUSTER, group="sources", help="`name` of the cluster that is looked for"
    )
    http_client_connect_timeout: int = flag(
        "2s", kind=DURATION, group="sources", help="time to connect to a lookupd or nsqd"
    )
    http_client_request_timeout: int = flag(
        "5s", kind=DURATION, group="sources", help="time for a whole request to a lookupd or nsqd"
    )
    http_client_tls_insecure_skip_verify: bool = flag(
        False, group="sources", help="accept any certificate of an HTTPS nsqd"
    )
    http_client_tls_root_ca_file: str = flag(
        "", group="sources", help="path of the certificates that an HTTPS nsqd's must come from"
    )
    http_client_tls_cert: str = flag(
        "", group="sources", help="path of the certificate to show an HTTPS nsqd"
    )
    http_client_tls_key: str = flag("", group="sources", help="path of that certificate's key")
    nsqd_tls: bool = flag(
        False,
        group="sources",
        help="ask nsqds by HTTPS only, and read tails by TLS, instead of when they demand it",
    )
    nsqd_auth_secret_file: str = flag(
        "", group="sources", help="`file` with the secret for nsqds that have an auth server"
    )

    poll_interval: int = flag(
        "1s",
        kind=DURATION,
        group="sources",
        help="time between two questions to a lookupd or nsqd; a slow one has 2.5 s to answer",
    )
    forget_nodes_after: int = flag(
        "10m",
        kind=DURATION,
        group="sources",
        help="time for which a node that no lookupd lists any more is shown as missing",
    )
    oldest_age_warning: int = flag(
        "15m", kind=DURATION, group="sources", help="age of a waiting message that is a warning"
    )
    history_path: str = flag(
        "", group="sources", help="`file` (SQLite) in which a week of rates and depths is kept"
    )

    notification_http_endpoint: str = flag(
        "", group="changes", help="URL that gets a POST for every change made here"
    )
    allow_config_from_cidr: str = flag(
        "127.0.0.1/8", group="changes", help="network from which /config is open (empty: all)"
    )
    acl_http_header: str = flag(
        "X-Forwarded-User", group="changes", help="request header that names the user"
    )
    admin_user: list[str] = flag(
        [],
        config_key="admin_users",
        group="changes",
        help="user that may change things; without any, all may (may be given several times)",
    )
    operator_user: list[str] = flag(
        [],
        config_key="operator_users",
        group="changes",
        help="user that may do all but delete, empty a topic and tombstone (several times)",
    )
    acl_trusted_cidr: list[str] = flag(
        ["127.0.0.0/8", "::1/128"],
        config_key="acl_trusted_cidrs",
        group="changes",
        help="network of proxies whose --acl-http-header is believed (may be given several times)",
    )
    read_only: bool = flag(False, group="changes", help="refuse every change")
    auth_token_file: str = flag(
        "", group="changes", help="`file` of bearer tokens; then nobody gets in without proof"
    )
    auth_basic_file: str = flag(
        "", group="changes", help="`file` of names and passwords; then nobody gets in without proof"
    )
    message_role: str = flag(
        "operator", group="changes", help="least `role` that may read messages"
    )
    allowed_origin: list[str] = flag(
        [],
        config_key="allowed_origins",
        group="changes",
        help="origin of our pages if a proxy hides it, as https://nsq.example (several times)",
    )

    allowed_host: list[str] = flag(
        [],
        config_key="allowed_hosts",
        group="changes",
        help="`name` under which browsers reach this dashboard, besides IP addresses, localhost "
        "and this machine's (several times; * is any)",
    )

    graphite_url: str = flag("", group="graphs", help="URL of Graphite")
    proxy_graphite: bool = flag(False, group="graphs", help="fetch Graphite's images from here")
    statsd_counter_format: str = flag(
        "stats.counters.%s.count", group="graphs", help="what statsd makes of a counter's key"
    )
    statsd_gauge_format: str = flag(
        "stats.gauges.%s", group="graphs", help="what statsd makes of a gauge's key"
    )
    statsd_prefix: str = flag("nsq.%s", group="graphs", help="--statsd-prefix of the nsqds")
    statsd_interval: int = flag(
        "1m", kind=DURATION, group="graphs", help="--statsd-interval of the nsqds"
    )

    def check(self) -> None:
        """
        Refuse what cannot work, and bring ``base_path`` into its one form.

        Raises:
            StartupError: with NSQ's text.
        """
        try:
            self._check_sources()
            self._check_client_tls()
            self._check_cidr()
            self._check_access()
            self._check_places()
            self._check_names()
        except ValueError as exc:
            raise StartupError(f"failed to instantiate nsqadmin - {exc}") from exc
        self.base_path = posixpath.normpath("/" + self.base_path.lstrip("/"))

    def _check_sources(self) -> None:
        sources = [(each, "--lookupd-http-address") for each in self.lookupd_http_address]
        sources += [(each, "--nsqd-http-address") for each in self.nsqd_http_address]
        if not sources and not self.discover:
            raise ValueError("--nsqd-http-address or --lookupd-http-address required")
        if self.discover and self.nsqd_http_address:
            raise ValueError("use --nsqd-http-address or --discover not both")
        if self.lookupd_http_address and self.nsqd_http_address:
            raise ValueError("use --nsqd-http-address or --lookupd-http-address not both")
        for address, name in sources:
            _check_resolves(address, name)

    def _check_client_tls(self) -> None:
        cert, key = "--http-client-tls-cert", "--http-client-tls-key"
        if self.http_client_tls_cert and not self.http_client_tls_key:
            raise ValueError(f"{key} must be specified with {cert}")
        if self.http_client_tls_key and not self.http_client_tls_cert:
            raise ValueError(f"{cert} must be specified with {key}")

    def _check_cidr(self) -> None:
        if not self.allow_config_from_cidr:
            return
        try:
            _check_network(self.allow_config_from_cidr)
        except ValueError as exc:
            raise ValueError(
                f"failed to parse --allow-config-from-cidr ({self.allow_config_from_cidr}) - {exc}"
            ) from exc

    def _check_access(self) -> None:
        for text in self.acl_trusted_cidr:
            try:
                _check_network(text)
            except ValueError as exc:
                raise ValueError(f"failed to parse --acl-trusted-cidr ({text}) - {exc}") from exc
        if self.message_role not in ROLES:
            raise ValueError(f"--message-role ({self.message_role}) is not one of {ROLES}")
        if self.poll_interval <= 0:
            raise ValueError("--poll-interval must be positive")

    def _check_places(self) -> None:
        """What is named must be there, and be what it is to be."""
        for origin in self.allowed_origin:
            parts = _url(origin, "--allowed-origin")
            if parts.path or parts.query or parts.fragment:
                raise ValueError(f"--allowed-origin ({origin}) has more than scheme and host")
        if self.notification_http_endpoint:
            _url(self.notification_http_endpoint, "--notification-http-endpoint")
        if self.graphite_url:
            _url(self.graphite_url, "--graphite-url")
        elif self.proxy_graphite:
            raise ValueError("--proxy-graphite needs --graphite-url")
        folder = os.path.dirname(self.history_path) or "."
        if self.history_path and not os.path.isdir(folder):
            raise ValueError(f"the folder of --history-path ({folder}) does not exist")
        if self.dev_static_dir and not os.path.isdir(self.dev_static_dir):
            raise ValueError(f"--dev-static-dir ({self.dev_static_dir}) is no folder")
        for name in _POSITIVE:
            if getattr(self, name.replace("-", "_")) <= 0:
                raise ValueError(f"--{name} must be positive")
        for host in self.allowed_host:
            if not host or set(host) & set("/@?# "):
                raise ValueError(f"--allowed-host ({host}) is no host name")

    def _check_names(self) -> None:
        """What is sent or shown as it is given must be what can be sent and shown."""
        if set(self.base_path) & _NO_PATH:
            raise ValueError(f"--base-path ({self.base_path!r}) is no path")
        if not _TOKEN.fullmatch(self.acl_http_header):
            raise ValueError(f"--acl-http-header ({self.acl_http_header!r}) is no header's name")
        for name in ("admin-user", "operator-user"):
            if not all(user.strip() for user in getattr(self, name.replace("-", "_"))):
                raise ValueError(f"--{name} must not be empty")
        if not is_statsd_prefix(self.statsd_prefix):
            raise ValueError(f"--statsd-prefix ({self.statsd_prefix!r}) is not one that nsqd takes")
        for name in ("statsd-counter-format", "statsd-gauge-format"):
            text = getattr(self, name.replace("-", "_"))
            if text.count("%") != 1 or NODE not in text:
                raise ValueError(f"--{name} ({text!r}) must have %s once, where the key belongs")
        if self.history_path and os.path.isdir(self.history_path):
            raise ValueError(f"--history-path ({self.history_path}) is a folder")


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110
_NO_PATH = frozenset("?#\\ \t\r\n")

_POSITIVE = (
    "http-client-connect-timeout",
    "http-client-request-timeout",
    "forget-nodes-after",
    "oldest-age-warning",
    "statsd-interval",
)


def _check_network(text: str) -> None:
    import ipaddress  # --version needs none of what is imported below

    ipaddress.ip_network(text, strict=False)


def _url(text: str, name: str) -> "SplitResult":
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # a wrong one is a ValueError here
    except ValueError as exc:
        raise ValueError(f"{name} ({text}) is no URL - {exc}") from exc
    if not is_right:
        raise ValueError(f"{name} ({text}) is no URL, such as https://nsq.example")
    return parts


def _without_scheme(address: str) -> str:
    """Return ``host:port`` of an address, which may be a URL: that of a proxy, or HTTPS."""
    if not address.startswith(("http://", "https://")):
        return address
    from urllib.parse import urlsplit

    from nsqx.net.host_port import AddressError, format_host_port

    parts = urlsplit(address)
    if parts.path.strip("/") or parts.query or parts.username is not None:
        raise AddressError(f"address {address}: more than scheme, host and port")
    return format_host_port(parts.hostname or "", parts.port or _PORTS[parts.scheme])


_PORTS = {"http": 80, "https": 443}


def _check_resolves(address: str, name: str) -> None:
    from nsqx.net import addresses
    from nsqx.net.host_port import AddressError

    try:
        addresses.look_up(addresses.parse_tcp_address(_without_scheme(address)))
    except (AddressError, socket.gaierror) as exc:
        reason = exc.strerror if isinstance(exc, socket.gaierror) else exc
        raise ValueError(f"failed to resolve {name} ({address}) - {reason}") from exc
