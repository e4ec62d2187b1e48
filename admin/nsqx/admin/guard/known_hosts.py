"""
Under which names this dashboard may be used by a browser that shows no login.

A page of another site can have its own name lead to our address (DNS rebinding); for the browser,
what it sends then is of one site, ``Origin`` and ``Host`` agree. What it cannot do is to send
another ``Host``. Names that a stranger cannot have are known: addresses, ``localhost``, names
without a dot, this machine's; others are given by ``--allowed-host``.
"""

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from nsqx.runtime.http.server import Request

__all__ = ["KnownHosts"]


class KnownHosts:
    """``hosts`` are those of the option; ``origins`` are known, too."""

    def __init__(self, hosts: Collection[str], origins: Collection[str]) -> None:
        own = {socket.gethostname().lower()}
        given = {host.lower() for host in hosts}
        self._is_any = "*" in given
        self._names = own | given | {urlsplit(origin).hostname or "" for origin in origins}

    def knows(self, request: Request) -> bool:
        """Whether a request was sent to a known name, or not by a browser."""
        is_browser = request.header("Origin") or request.header("Sec-Fetch-Site")
        return self._is_any or not is_browser or self._is_known(name_of(request))

    def _is_known(self, name: str) -> bool:
        return "." not in name or name in self._names or name.endswith(".localhost") or _is_ip(name)


def name_of(request: Request) -> str:
    """Return the name that a request was sent to, without the port."""
    try:
        return (urlsplit(f"//{request.header('Host')}").hostname or "").rstrip(".")
    except ValueError:
        return "."  # nobody's


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
