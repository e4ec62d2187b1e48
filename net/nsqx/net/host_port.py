"""
``host:port``, joined and split: the one place that knows of the brackets around an IPv6 host.

    127.0.0.1:4150    nsq.example:4150    [::1]:4150

Hosts are held without brackets. No I/O.
"""

import ipaddress

from nsqx.protocol.errors import NsqxError

__all__ = [
    "AddressError",
    "format_host_port",
    "host_of",
    "is_loopback",
    "split_host_port",
    "without_secrets",
]


class AddressError(NsqxError, ValueError):
    """The text is no ``host:port``; says what is wrong with it, as Go does where it can."""


def format_host_port(host: str, port: int | str) -> str:
    """Join host and port; IPv6 hosts get brackets, if they have none yet."""
    if host.startswith("["):  # told so by somebody else
        return f"{host}:{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_host_port(text: str) -> tuple[str, int]:
    """
    Return the host and port of ``host:port``, ``[v6]:port`` or ``:port``.

    Raises:
        AddressError: ``address x: missing port in address`` and the like.
    """
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed:
            raise AddressError(f"address {text}: missing ']' in address")
        before, colon, port = rest.partition(":")
        if before or not colon:
            raise AddressError(f"address {text}: missing port in address")
    else:
        host, colon, port = text.rpartition(":")
        if not colon:
            raise AddressError(f"address {text}: missing port in address")
        if ":" in host:
            raise AddressError(f"address {text}: too many colons in address")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise AddressError(f"address {text}: invalid port '{port}' (0 to 65535)")
    return host, int(port)


def host_of(text: str) -> str:
    """Return the host of what somebody wrote down; empty if that is no ``host:port``."""
    try:
        return split_host_port(text)[0]
    except AddressError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def without_secrets(address: str) -> str:
    """Return an address or URL for logs and whoever asks: keys may be before and behind it."""
    scheme, separator, rest = address.rpartition("://")
    host, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
