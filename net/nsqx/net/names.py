"""
What host names stand for.

Behind a name there may be several daemons, as behind a headless service of Kubernetes: one for each
address of a family. A name with one address of each family stands for one daemon, which must not
be counted twice. So one family is used: the one with more addresses, IPv4 if that tells nothing.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable

__all__ = ["addresses_of", "is_ipv6", "is_name", "of_one_family"]


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


async def addresses_of(host: str, port: int) -> list[str]:
    """
    Return all IP addresses of a host, each once, in the order the system's resolver prefers.

    Raises:
        OSError: there are none, or nobody can tell.
        UnicodeError: a part of the name is too long.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(name[0]) for *_, name in found))


def of_one_family(found: Iterable[str]) -> list[str]:
    """Return those addresses that stand for one daemon each, in their order."""
    all_found = list(found)
    of_ipv6 = [address for address in all_found if is_ipv6(address)]
    of_ipv4 = [address for address in all_found if not is_ipv6(address)]
    return of_ipv6 if len(of_ipv6) > len(of_ipv4) else of_ipv4
