"""
Addresses to listen on and to connect to, and plain words for what goes wrong with them.

    host:port   127.0.0.1:4150, localhost:4150, [::1]:4150
    :port       all interfaces
    path        a Unix socket: anything without a port, or with a slash
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext

from nsqx.net.acceptor import Acceptor
from nsqx.net.host_port import AddressError, format_host_port, split_host_port
from nsqx.protocol.errors import StartupError

__all__ = [
    "Address",
    "AddressError",
    "TcpAddress",
    "UnixAddress",
    "bind",
    "bind_shared",
    "explain",
    "host_text",
    "listen_on",
    "parse_address",
    "parse_tcp_address",
    "remove_socket_file",
    "serve",
    "socket_text",
]

# Go's default is the system's (4096 on Linux); asyncio's is 100, too few for a burst of consumers.
LISTEN_BACKLOG = 4096

# Go's default, for the first probe and between probes; nine of them may stay without an answer.
KEEPALIVE_SECONDS = 15

_WILDCARDS = ("", "0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class TcpAddress:
    host: str  # "" is all interfaces
    port: int  # 0 is any free one

    def __str__(self) -> str:
        return format_host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class UnixAddress:
    path: str

    def __str__(self) -> str:
        return self.path


Address = TcpAddress | UnixAddress


def parse_address(text: str) -> Address:
    """
    Return the address to listen on; a text without a port is the path of a Unix socket.

    Raises:
        AddressError: if it is empty or its port is no port.
    """
    if not text:
        raise AddressError("the address is empty")
    if "/" in text or (":" not in text and not text.startswith("[")):
        return UnixAddress(text)
    return parse_tcp_address(text)


def parse_tcp_address(text: str) -> TcpAddress:
    """
    Return the host and port of ``host:port``, ``[v6]:port`` or ``:port``.

    Raises:
        AddressError: with Go's text where it has one: ``address x: missing port in address``.
    """
    return TcpAddress(*split_host_port(text))


def host_text(host: str) -> str:
    """Return an IP address as its owner writes it: ``::ffff:127.0.0.1`` is an IPv4 peer."""
    return host.removeprefix("::ffff:") if "." in host else host


def socket_text(name: object) -> str:
    """
    Return ``127.0.0.1:4150`` or a path for what getsockname() or getpeername() gave.

    Peers of a Unix socket have no name: ``@``, as Go shows them.
    """
    if isinstance(name, tuple):
        return format_host_port(host_text(str(name[0])), int(name[1]))
    if isinstance(name, bytes):
        name = name.decode(errors="replace")
    return str(name or "@")


def listen_on(text: str, purpose: str) -> socket.socket:
    """
    Parse an address and return a listening socket; ``bind`` says more.

    Raises:
        StartupError: one sentence with the next step.
    """
    try:
        return bind(parse_address(text), purpose)
    except AddressError as exc:
        raise StartupError(f"listen ({text}) failed - {exc} ({purpose})") from exc


def bind(address: Address, purpose: str) -> socket.socket:
    """
    Return a listening, non-blocking socket.

    ``purpose`` is the flag, such as ``--tcp-address``, for the message. ``0.0.0.0``, ``[::]`` and
    ``:4150`` are all addresses of both families, as in Go. A dead Unix socket's file is replaced.

    Raises:
        StartupError: one sentence with the next step.
    """
    try:
        if isinstance(address, UnixAddress):
            listener = _bind_unix(address)
        else:
            listener = _bind_tcp(address, is_shared=False)
            listener.listen(LISTEN_BACKLOG)
    except OSError as exc:
        raise StartupError(explain(exc, address, purpose)) from exc
    listener.setblocking(False)
    return listener


def bind_shared(text: str, purpose: str) -> socket.socket:
    """
    Return a socket that shares its TCP port with those of other processes of the same user.

    It does not listen, so that it gets no connection before it is served: the system gives each new
    one to any of the sockets that listen.

    Raises:
        StartupError: one sentence with the next step.
    """
    try:
        address = parse_tcp_address(text)
    except AddressError as exc:
        raise StartupError(f"listen ({text}) failed - {exc} ({purpose})") from exc
    try:
        shared = _bind_tcp(address, is_shared=True)
    except OSError as exc:
        raise StartupError(explain(exc, address, purpose)) from exc
    shared.setblocking(False)
    return shared


def _bind_tcp(address: TcpAddress, *, is_shared: bool) -> socket.socket:
    """Bind, for a wildcard to all addresses of both families, as far as the host has them."""
    if address.host not in _WILDCARDS:
        family, host = look_up(address, flags=socket.AI_PASSIVE)
        return _bound(family, (host, address.port), is_shared=is_shared)
    if socket.has_dualstack_ipv6():
        try:
            return _bound(socket.AF_INET6, ("::", address.port), is_shared=is_shared, is_dual=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # IPv6 is turned off
                raise
    return _bound(socket.AF_INET, ("0.0.0.0", address.port), is_shared=is_shared)


def _bound(
    family: socket.AddressFamily, name: tuple[str, int], *, is_shared: bool, is_dual: bool = False
) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Connections of an earlier run that linger are no hindrance.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise OSError(errno.ENOPROTOOPT, "this system shares no ports")
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not is_dual)
        # Connections inherit it: a peer whose machine is gone is found within 150 s, as in Go.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):  # not on every system
            if hasattr(socket, option):
                bound.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), KEEPALIVE_SECONDS)
        bound.bind(name)
    except BaseException:
        bound.close()
        raise
    return bound


def look_up(address: TcpAddress, *, flags: int = 0) -> tuple[socket.AddressFamily, str]:
    """
    Return the first address that a name stands for; blocks, so only where a program starts.

    Raises:
        socket.gaierror: it stands for none.
    """
    host = address.host or "localhost"
    found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=flags)
    family, _, _, _, name = found[0]
    return family, str(name[0])


def _bind_unix(address: UnixAddress) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_dead_socket(address.path)
        listener.bind(address.path)
        listener.listen(LISTEN_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_dead_socket(path: str) -> None:
    """Remove the file of a socket nobody listens on, as a killed daemon leaves it."""
    file = Path(path)
    if not file.exists():
        return
    if not file.is_socket():
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            file.unlink(missing_ok=True)
        except OSError:
            return  # not ours to judge: bind() will say what is wrong


def remove_socket_file(listener: socket.socket) -> None:
    """Remove the file of a Unix socket before it is closed; nothing to do for others."""
    if listener.family == socket.AF_UNIX and listener.fileno() >= 0:
        Path(listener.getsockname()).unlink(missing_ok=True)


def explain(error: OSError, address: Address, purpose: str) -> str:
    """Return one sentence: what failed, why, and what to do next."""
    reason = _REASONS.get(error.errno or 0)
    if isinstance(error, socket.gaierror):
        reason = "the host name is not known; check its spelling or give an IP address"
    if reason is None:
        reason = error.strerror or str(error)
    return f"listen ({address}) failed - {reason} ({purpose})"


_REASONS = {
    errno.EADDRINUSE: "address already in use; stop the program that has it or choose another",
    errno.EACCES: "permission denied; choose a port above 1023 or a folder you may write",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address; use 0.0.0.0 for all",
    errno.ENOENT: "the folder of the socket does not exist; create it first",
    errno.ENOTSOCK: "the file exists and is not a socket; choose another path",
}


def serve(
    factory: Callable[[], asyncio.BaseProtocol],
    listener: socket.socket,
    ssl_context: SSLContext | None = None,
) -> Acceptor:
    """Accept connections on a socket that ``bind`` returned, until what is returned is closed."""
    listener.listen(LISTEN_BACKLOG)
    return Acceptor(factory, listener, ssl_context)
