"""
Names that stand for several nsqds, such as that of a headless service in Kubernetes.

How many is told by ``nsqx.net.names``. A name that stands for one nsqd stays a name, and is
resolved at each connect.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from nsqx.client.addresses import Address
from nsqx.client.tasks import start
from nsqx.net import names

__all__ = ["Resolver", "is_name", "resolve"]

_log = logging.getLogger("nsqx.client")

Resolved = Callable[[Address, set[Address]], None]


def is_name(address: Address) -> bool:
    """Whether the host is a name, and not an IP address."""
    return names.is_name(address.host)


async def resolve(address: Address, seconds: float = names.LOOK_UP_SECONDS_MAX) -> set[Address]:
    """
    Return the nsqds that a name stands for: ``address`` itself if that is one.

    Raises:
        OSError: the name cannot be resolved, within so many seconds.
    """
    found = await names.addresses_of(address.host, address.port, seconds)
    several = {Address(host, address.port) for host in names.of_one_family(found)}
    return several if len(several) > 1 else {address}


class Resolver:
    """The task that resolves names again and again, and tells what it finds."""

    def __init__(self, names: Iterable[Address], resolved: Resolved, interval: float) -> None:
        self.names = list(names)
        self._resolved = resolved
        self._interval = interval
        self._known: set[Address] = set()  # names that could be resolved once
        self._tried = asyncio.Event()
        self._task = start(self._run(), "nsqx resolver")

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
