"""
What host names stand for.

Behind a name there may be several daemons, as behind a headless service of Kubernetes: one for each
address of a family. A name with one address of each family stands for one daemon, which must not
be counted twice. So one family is used: the one with more addresses, IPv4 if that tells nothing.

The system's resolver may hang for half a minute, and nothing ends it. So each look-up has a thread
of its own, which nobody waits for: neither for longer than he likes, nor at the end of the program,
nor who needs one of the event loop's few threads. A name is looked up once at a time, whoever asks.
"""

import asyncio
import ipaddress
import os
import socket
import threading
from collections.abc import Iterable
from concurrent.futures import Future

__all__ = ["addresses_of", "is_ipv6", "is_name", "of_one_family"]

LOOK_UP_SECONDS_MAX = 5.0

_LookUp = Future[list[str]]

_under_way: dict[str, _LookUp] = {}  # by host
_lock = threading.Lock()


def is_name(host: str) -> bool:
    """Whether a host is a name, and neither an IP address nor empty, which is this machine."""
    if not host:
        return False
    try:
        ipaddress.ip_address(host.partition("%")[0])  # a zone may follow
    except ValueError:
        return True
    return False


def is_ipv6(host: str) -> bool:
    """Whether an IP address, held without brackets, is of IPv6."""
    return ":" in host


async def addresses_of(host: str, port: int, seconds: float = LOOK_UP_SECONDS_MAX) -> list[str]:
    """
    Return all IP addresses of a host, each once, in the order the system's resolver prefers.

    Args:
        host, port: what to look up.
        seconds: to wait. The look-up goes on behind that, for who asks next.

    Raises:
        OSError: there are none, or nobody can tell.
        TimeoutError: nobody does in time; it is an OSError, too.
    """
    look_up = asyncio.wrap_future(_started(host, port))
    try:
        async with asyncio.timeout(seconds):
            return await look_up
    except TimeoutError:
        raise TimeoutError(f"no answer from DNS within {seconds:g} s") from None


def _started(host: str, port: int) -> _LookUp:
    with _lock:
        look_up = _under_way.get(host)
        if look_up is None:
            look_up = _under_way[host] = Future()
            look_up.set_running_or_notify_cancel()  # who waits no longer ends it for nobody else
            threading.Thread(
                target=_look_up, args=(host, port), name="nsqx look-up", daemon=True
            ).start()
        return look_up


def _look_up(host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(name[0]) for *_, name in found))
    except ValueError as exc:  # a part that is empty or too long, before anybody is asked
        unknown = socket.gaierror(socket.EAI_NONAME, f"no name of a host: {host!r}")
        unknown.__cause__ = exc
        _settle(host).set_exception(unknown)
    except Exception as exc:  # whoever asked is told
        _settle(host).set_exception(exc)
    else:
        _settle(host).set_result(addresses)


def _settle(host: str) -> _LookUp:
    with _lock:
        return _under_way.pop(host)


def _forget_all() -> None:
    """In a process that was forked: the threads are not there."""
    global _lock
    _lock = threading.Lock()
    _under_way.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def of_one_family(found: Iterable[str]) -> list[str]:
    """Return those addresses that stand for one daemon each, in their order."""
    all_found = list(found)
    of_ipv6 = [address for address in all_found if is_ipv6(address)]
    of_ipv4 = [address for address in all_found if not is_ipv6(address)]
    return of_ipv6 if len(of_ipv6) > len(of_ipv4) else of_ipv4
