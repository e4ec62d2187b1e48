"""Where to connect: addresses of nsqds and URLs of lookupds, as users write them."""

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from nsqx.net.host_port import format_host_port
from nsqx.protocol.defaults import LOOKUPD_HTTP_PORT, NSQD_TCP_PORT

__all__ = ["Address", "lookup_url", "nodes_url", "parse_address", "parse_addresses"]


class Address(NamedTuple):
    """Host and port of an nsqd. An IPv6 host is held without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_host_port(self.host, self.port)


def parse_address(text: str) -> Address:
    """
    Read ``host``, ``host:port``, ``[v6]:port``, each also with ``tcp://`` or ``nsq://`` before it.

    Raises:
        ValueError: it is none of these.
    """
    scheme, separator, rest = text.partition("://")
    if separator and scheme not in ("tcp", "nsq"):
        raise ValueError(f"not an address of an nsqd: {text!r}")
    try:
        parts = urlsplit(f"//{rest if separator else text}")
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(f"not an address of an nsqd: {text!r}: {exc}") from None
    # Of the text: urlsplit drops tabs.
    is_more = parts.path.strip("/") or parts.query or parts.username is not None
    if not host or is_more or not _is_plain(text):
        raise ValueError(f"not an address of an nsqd: {text!r}")
    if port == 0 or (port is None and host.isdigit()):
        raise ValueError(f"not an address of an nsqd: {text!r}: it is host:port")
    return Address(host, port if port is not None else NSQD_TCP_PORT)


def _is_plain(text: str) -> bool:
    """Whether nothing is in it that no name of a host has."""
    return not any(char.isspace() or not char.isprintable() for char in text)


def parse_addresses(nsqd: str | Iterable[str]) -> list[Address]:
    """Read one address or several; those named twice count once."""
    texts = [nsqd] if isinstance(nsqd, str) else nsqd
    return list(dict.fromkeys(map(parse_address, texts)))


def heard_address(host: object, port: object) -> Address:
    """
    Return the address that something in the network claims to have.

    Raises:
        ValueError: nobody can connect to it, or it would not be written as it is.
    """
    if not isinstance(host, str) or not isinstance(port, int):
        raise ValueError(f"no host and port: {host!r}, {port!r}")
    address = Address(host.removeprefix("[").removesuffix("]"), port)
    read = parse_address(str(address))
    if not 1 <= port <= 65535 or read.host != address.host.lower() or read.port != port:
        raise ValueError(f"no address: {address}")
    return address


def lookup_url(lookupd: str, topic: str) -> str:
    """
    Return where a lookupd is asked for the nsqds that have a topic, to consume it.

    Those that are being emptied are wanted, too: a lookupd that knows of such tells them.

    ``lookupd`` is ``host``, ``host:port`` or a URL; ``/lookup`` is its path if it has none.

    Raises:
        ValueError: it is none of these.
    """
    return _lookupd_url(lookupd, "lookup", f"topic={quote(topic, safe='')}&draining=true")


def nodes_url(lookupd: str) -> str:
    """
    Return where a lookupd, named as above, is asked for all nsqds.

    Raises:
        ValueError: it is no address of one.
    """
    return _lookupd_url(lookupd, "nodes", "")


def _lookupd_url(lookupd: str, question: str, argument: str) -> str:
    text = lookupd if "://" in lookupd else f"http://{lookupd}"
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or not _is_plain(lookupd):
        raise ValueError(f"not an address of a lookupd: {lookupd!r}")
    bare_http = parts.port is None and parts.scheme == "http"  # a wrong port is a ValueError here
    netloc = f"{parts.netloc}:{LOOKUPD_HTTP_PORT}" if bare_http else parts.netloc
    path = parts.path if parts.path.strip("/") else "/lookup"
    if path.endswith("/lookup"):
        path = f"{path.removesuffix('lookup')}{question}"
    query = "&".join(filter(None, (parts.query, argument)))
    return urlunsplit((parts.scheme, netloc, path, query, ""))
