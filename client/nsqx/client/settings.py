"""What a client tells nsqd about itself, and how long it waits (client-side options of NSQ)."""

import json
import socket
import ssl
from dataclasses import dataclass, field
from typing import Literal

from nsqx.client.ranges import check_count, check_seconds, milliseconds
from nsqx.client.reconnect import FIRST_SECONDS, LONGEST_SECONDS
from nsqx.net.tls import client_context
from nsqx.protocol.version import VERSION

__all__ = ["USER_AGENT", "Settings"]

USER_AGENT = f"nsqx/{VERSION}"


def _host_name() -> str:
    return socket.gethostname()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    Settings of one connection. Durations are seconds.

    Attributes:
        client_id, hostname, user_agent: shown in nsqd's statistics. ``client_id`` None: the
            host name up to its first dot.
        connect_timeout: for the TCP connection and the whole handshake.
        heartbeat_interval: how often nsqd shows that it lives, from 1 to (by default) 60.
        read_timeout: the connection counts as dead after so long without a byte; None: after two
            heartbeat intervals.
        reply_timeout: the connection counts as dead when a command has no answer for so long.
        write_timeout: it counts as dead when it takes no bytes for so long.
        reconnect_delay: before an nsqd that could not be reached, or was lost, is tried again;
            twice as long after each further failure, and up to a half shorter by chance.
        reconnect_delay_max: the longest of them.
        msg_timeout: how long a message may stay unanswered; None or 0: what nsqd is set to.
        output_buffer_size: bytes nsqd collects before it sends; -1: none. None: its default.
        output_buffer_timeout: how long it holds them back; -1: never flushes by time.
        topology_region, topology_zone: where this client is. An nsqd with the experiment
            ``topology-aware-consumption`` prefers consumers near to it, while they have room.
        sample_rate: percent of the messages to deliver, 1 to 99; 0: all.
        tls: ``True`` for a default context, or a context of your own, for example with a client
            certificate. An nsqd that does not offer TLS is then refused.
        lookupd_tls: how lookupds that are asked by HTTPS are verified, and what they are shown;
            None: as nsqds, if ``tls`` is a context, else by the system's certificates.
        tls_server_name: whom the certificate of nsqd must name; None: the host it is reached by.
        compression: used if nsqd offers it.
        deflate_level: 1 to 9.
        auth_secret: sent if nsqd demands authorization.
        authorize_lookups: whether lookupds are shown it too, as a bearer token: for proxies
            before them.
        local_address: host and port (0: any) to connect from; None: the system chooses.
        frame_bytes_max: a larger frame from nsqd ends the connection.
        extensions: whether nsqd is asked for what NSQ does not have; other brokers ignore that.
    """

    client_id: str | None = None
    hostname: str = field(default_factory=_host_name)
    user_agent: str = USER_AGENT
    connect_timeout: float = 5.0
    heartbeat_interval: float = 30.0
    read_timeout: float | None = None
    reply_timeout: float = 10.0
    write_timeout: float = 10.0
    reconnect_delay: float = FIRST_SECONDS
    reconnect_delay_max: float = LONGEST_SECONDS
    msg_timeout: float | None = None
    output_buffer_size: int | None = None
    output_buffer_timeout: float | None = None
    topology_region: str = ""
    topology_zone: str = ""
    sample_rate: int = 0
    tls: bool | ssl.SSLContext = False
    lookupd_tls: ssl.SSLContext | None = None
    tls_server_name: str | None = None
    compression: Literal["snappy", "deflate"] | None = None
    deflate_level: int = 6
    auth_secret: str | bytes | None = field(default=None, repr=False)
    authorize_lookups: bool = False
    local_address: tuple[str, int] | None = None
    frame_bytes_max: int = 64 * 1024 * 1024
    extensions: bool = True

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "heartbeat_interval", "reply_timeout", "write_timeout"):
            check_seconds(name, getattr(self, name), above_zero=True)
        for name in ("reconnect_delay", "reconnect_delay_max"):
            check_seconds(name, getattr(self, name), above_zero=True)
        for name in ("read_timeout", "msg_timeout"):
            if getattr(self, name) is not None:
                check_seconds(name, getattr(self, name))
        for name in ("output_buffer_size", "output_buffer_timeout"):
            if getattr(self, name) not in (None, -1):
                check_seconds(name, getattr(self, name))
        check_count("frame_bytes_max", self.frame_bytes_max, 1)
        check_count("sample_rate", self.sample_rate)
        if not 1 <= check_count("deflate_level", self.deflate_level, 1) <= 9:
            raise ValueError("deflate_level is from 1 to 9")
        if self.read_timeout is not None and self.read_timeout <= self.heartbeat_interval:
            raise ValueError("read_timeout must be more than heartbeat_interval")
        if self.sample_rate > 99:
            raise ValueError("sample_rate is a percentage from 0 to 99")
        if self.compression not in (None, "snappy", "deflate"):
            raise ValueError(f"unknown compression {self.compression!r}")

    @property
    def silence_max(self) -> float:
        """Seconds without a byte after which a connection counts as dead."""
        return 2 * self.heartbeat_interval if self.read_timeout is None else self.read_timeout

    def ssl_context(self) -> ssl.SSLContext:
        """Return the context to use; only asked when ``tls`` is set."""
        return self.tls if isinstance(self.tls, ssl.SSLContext) else client_context()

    def lookupd_context(self) -> ssl.SSLContext | None:
        """Return the context for lookupds; None: the default of who asks them."""
        if self.lookupd_tls is not None:
            return self.lookupd_tls
        return self.tls if isinstance(self.tls, ssl.SSLContext) else None

    def secret(self) -> bytes | None:
        """Return the secret as it is sent."""
        secret = self.auth_secret
        return secret.encode() if isinstance(secret, str) else secret

    def lookup_token(self) -> bytes | None:
        """Return what lookupds are shown; None: nothing."""
        return self.secret() if self.authorize_lookups else None

    def identify_body(self) -> bytes:
        """Return the JSON of IDENTIFY (protocol section 6)."""
        client_id = self.client_id
        fields: dict[str, object] = {
            "client_id": self.hostname.split(".")[0] if client_id is None else client_id,
            "feature_negotiation": True,
            "heartbeat_interval": milliseconds("heartbeat_interval", self.heartbeat_interval),
            "hostname": self.hostname,
            "sample_rate": self.sample_rate,
            "tls_v1": bool(self.tls),
            "user_agent": self.user_agent,
        }
        if self.extensions:
            fields["nsqx_extensions"] = True
        if self.msg_timeout is not None:
            fields["msg_timeout"] = milliseconds("msg_timeout", self.msg_timeout)
        if self.output_buffer_size is not None:
            fields["output_buffer_size"] = self.output_buffer_size
        if self.output_buffer_timeout is not None:
            # -1 is not a duration: it switches the timed flush off.
            name, timeout = "output_buffer_timeout", self.output_buffer_timeout
            fields[name] = -1 if timeout == -1 else milliseconds(name, timeout)
        places = {"topology_region": self.topology_region, "topology_zone": self.topology_zone}
        fields |= {name: place for name, place in places.items() if place}
        if self.compression == "deflate":
            fields |= {"deflate": True, "deflate_level": self.deflate_level}
        elif self.compression == "snappy":
            fields["snappy"] = True
        return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
