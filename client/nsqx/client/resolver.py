"""
Names that stand for several nsqds, such as that of a headless service in Kubernetes.

A name with several addresses of a family stands for as many nsqds. One with a single address, or
with one of each family, stands for one nsqd: it stays a name, and is resolved at each connect.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

from nsqx.client.addresses import Address

__all__ = ["Resolver", "is_name", "resolve"]

_log = logging.getLogger("nsqx.client")

Resolved = Callable[[Address, set[Address]], None]


def is_name(address: Address) -> bool:
    """Whether the host is a name, and not an IP address."""
    try:
        ip_address(address.host.partition("%")[0])  # a zone may follow
    except ValueError:
        return True
    return False


async def resolve(address: Address) -> set[Address]:
    """
    Return the nsqds that a name stands for: ``address`` itself if that is one.

    Raises:
        OSError: the name cannot be resolved.
    """
    found = await getaddrinfo(address.host, address.port)
    families: dict[int, set[Address]] = {}
    for family, *_, sockaddr in found:
        families.setdefault(family, set()).add(Address(str(sockaddr[0]), address.port))
    several = max(families.values(), key=len, default=set())
    return several if len(several) > 1 else {address}


async def getaddrinfo(host: str, port: int) -> list[Any]:
    """Ask the system."""
    loop = asyncio.get_running_loop()
    return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Resolver:
    """The task that resolves names again and again, and tells what it finds."""

    def __init__(self, names: Iterable[Address], resolved: Resolved, interval: float) -> None:
        self.names = list(names)
        self._resolved = resolved
        self._interval = interval
        self._known: set[Address] = set()  # names that could be resolved once
        self._tried = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="nsqx resolver")

    async def first_try(self) -> None:
        """Wait until every name was resolved once, or could not be."""
        await self._tried.wait()

    def stop(self) -> asyncio.Task[None]:
        """Resolve no more. Returns the task, to be waited for."""
        self._task.cancel()
        return self._task

    async def _run(self) -> None:
        while True:
            await asyncio.gather(*map(self._resolve, self.names))
            self._tried.set()
            await asyncio.sleep(self._interval)

    async def _resolve(self, name: Address) -> None:
        try:
            addresses = await resolve(name)
        except OSError as exc:
            if name in self._known:
                _log.warning("%s: %s", name, exc)
                return  # what was found before is the best that is known
            addresses = {name}  # connecting tells what is wrong, and tries again
        else:
            self._known.add(name)
        self._resolved(name, addresses)
