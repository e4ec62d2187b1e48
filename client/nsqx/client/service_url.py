"""
Where the cluster is and how to connect to it, as one line of text.

    nsq://host[:port][,host[:port]...][?name=value&...]             nsqds
    nsq+lookupd://host[:port][,host[:port]...][?name=value&...]     lookupds that know the nsqds

Names are the fields of ``Settings``, and besides: ``lookupd`` (addresses, for ``nsq://``),
``codec`` (``json``, ``msgpack``, ``bytes``), ``timeout`` (seconds of a publish), and for TLS with
files ``tls_root_ca_file``, ``tls_cert``, ``tls_key`` and ``tls_insecure_skip_verify``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from nsqx.client.codecs import CODECS, Codec
from nsqx.client.settings import Settings
from nsqx.net.tls import client_context

__all__ = ["Service", "parse_environment", "parse_service_url"]

TLS_FILES = ("tls_root_ca_file", "tls_cert", "tls_key", "tls_insecure_skip_verify")


@dataclass(frozen=True, slots=True)
class Service:
    """What an ``Nsq`` connects to. None: not said."""

    nsqd: list[str] = field(default_factory=list)
    lookupd: list[str] = field(default_factory=list)
    settings: Settings = field(default_factory=Settings)
    codec: Codec | None = None
    timeout: float | None = None


def parse_service_url(url: str) -> Service:
    """
    Read the form above.

    Raises:
        ValueError: it is something else, or a name or value is unknown.
    """
    parts = urlsplit(url)
    if parts.path.strip("/") or not parts.netloc:
        raise ValueError(f"not the URL of an NSQ cluster: {url!r}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    hosts = parts.netloc.split(",")
    if parts.scheme == "nsq":
        return _service(hosts, _list(options.pop("lookupd", "")), options)
    if parts.scheme == "nsq+lookupd":
        return _service([], hosts, options)
    raise ValueError(f"not the URL of an NSQ cluster: {url!r}")


def parse_environment(environment: Mapping[str, str], prefix: str = "NSQ_") -> Service:
    """
    Read ``NSQ_URL``, or ``NSQ_NSQD`` and ``NSQ_LOOKUPD`` (addresses, separated by commas).

    The names of the URL's query, such as ``NSQ_TLS`` and ``NSQ_AUTH_SECRET``, apply to both, and
    win over the URL.

    Raises:
        ValueError: no address is set, or a value is not understood.
    """
    settings = Settings()
    known = {*_CONVERTERS, *TLS_FILES, "codec", "timeout"}
    options = {
        name: environment[prefix + name.upper()]
        for name in sorted(known)
        if prefix + name.upper() in environment
    }
    if url := environment.get(f"{prefix}URL"):
        service = parse_service_url(url)
        settings = service.settings
    else:
        service = Service(
            _list(environment.get(f"{prefix}NSQD", "")),
            _list(environment.get(f"{prefix}LOOKUPD", "")),
        )
        if not service.nsqd and not service.lookupd:
            raise ValueError(f"set {prefix}URL, {prefix}NSQD or {prefix}LOOKUPD")
    over = _service(service.nsqd, service.lookupd, options, settings)
    return replace(
        over,
        codec=over.codec or service.codec,
        timeout=service.timeout if over.timeout is None else over.timeout,
    )


def _service(
    nsqd: list[str],
    lookupd: list[str],
    options: dict[str, str],
    settings: Settings | None = None,
) -> Service:
    codec_name, timeout = options.pop("codec", None), options.pop("timeout", None)
    if codec_name is not None and codec_name not in CODECS:
        raise ValueError(f"unknown codec {codec_name!r}; there are {', '.join(CODECS)}")
    fields = _tls(options)
    for name, text in options.items():
        if name not in _CONVERTERS:
            raise ValueError(f"unknown setting {name!r}")
        try:
            fields[name] = _CONVERTERS[name](text)
        except ValueError:
            raise ValueError(f"{name} cannot be {text!r}") from None
    return Service(
        nsqd,
        lookupd,
        replace(settings or Settings(), **fields),
        CODECS[codec_name] if codec_name is not None else None,
        float(timeout) if timeout is not None else None,
    )


def _tls(options: dict[str, str]) -> dict[str, Any]:
    """Take the files of TLS out of ``options`` and make a context of them, if there are any."""
    files = {name: options.pop(name) for name in TLS_FILES if name in options}
    if not files:
        return {}
    context = client_context(
        files.get("tls_root_ca_file", ""),
        cert=files.get("tls_cert", ""),
        key=files.get("tls_key", ""),
        verify=not _flag(files.get("tls_insecure_skip_verify", "0")),
    )
    options.pop("tls", None)
    return {"tls": context}


def _flag(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on", ""):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(text)


def _list(text: str) -> list[str]:
    return [item for item in text.split(",") if item]


_CONVERTERS: dict[str, Callable[[str], object]] = {
    "client_id": str,
    "hostname": str,
    "user_agent": str,
    "connect_timeout": float,
    "heartbeat_interval": float,
    "read_timeout": float,
    "reply_timeout": float,
    "write_timeout": float,
    "reconnect_delay": float,
    "reconnect_delay_max": float,
    "msg_timeout": float,
    "output_buffer_size": int,
    "output_buffer_timeout": float,
    "topology_region": str,
    "topology_zone": str,
    "sample_rate": int,
    "tls": _flag,
    "tls_server_name": str,
    "compression": str,
    "deflate_level": int,
    "auth_secret": str,
    "frame_bytes_max": int,
    "extensions": _flag,
}
