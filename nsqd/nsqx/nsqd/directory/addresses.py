"""
Which addresses the given names of nsqlookupds stand for, now and later.

A host name is looked up when it is given, every half minute, and soon after one of its addresses
failed or was connected. All of its addresses are used: behind a name such as a headless service of
Kubernetes there is one nsqlookupd for each.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterable

from nsqx.net import names
from nsqx.net.addresses import AddressError, TcpAddress, parse_tcp_address
from nsqx.runtime.process import logs, tasks

__all__ = ["PeerAddresses", "Resolve", "resolve"]

AGAIN_S = 30.0
# The resolver is not asked more often than this, whatever fails.
AGAIN_MIN_S = 1.0

_log = logs.get_logger("LOOKUPD")

Resolve = Callable[[str, int], Awaitable[list[TcpAddress]]]


async def resolve(host: str, port: int) -> list[TcpAddress]:
    """
    Return all addresses of a host, in the order the resolver prefers.

    Raises:
        OSError: there are none, or nobody can tell.
    """
    return [TcpAddress(each, port) for each in await names.addresses_of(host, port)]


class PeerAddresses:
    """
    Names in, addresses out.

    ``current`` is what to connect to; ``changed`` is called when it has changed for another reason
    than ``set``. ``is_connected`` tells whether an address is of use at present. Names are looked
    up again each ``again_s``, and not sooner than after ``again_min_s``, more or less.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        is_connected: Callable[[TcpAddress], bool],
        resolve: Resolve = resolve,
        *,
        again_s: float = AGAIN_S,
        again_min_s: float = AGAIN_MIN_S,
    ) -> None:
        self._changed = changed
        self._is_connected = is_connected
        self._resolve = resolve
        self.again_s, self.again_min_s = again_s, again_min_s
        self._fixed: list[TcpAddress] = []
        self._names: dict[TcpAddress, _Name] = {}

    @property
    def current(self) -> dict[TcpAddress, str]:
        """Return the addresses, each with the host that it was given as."""
        named = [
            (address, given.host)
            for given, name in self._names.items()
            for address in name.addresses
        ]
        return {**dict(named), **{address: address.host for address in self._fixed}}

    @property
    def unresolved(self) -> list[TcpAddress]:
        """Return the names that have no address at present."""
        return [given for given, name in self._names.items() if not name.addresses]

    async def settled(self) -> None:
        """Wait until every name was looked up once."""
        for name in list(self._names.values()):
            await name.asked.wait()

    def set(self, texts: Iterable[str]) -> None:
        """Take these ``host:port`` instead of those before. What is none is logged and left out."""
        given = dict.fromkeys(address for text in texts if (address := _parse(text)) is not None)
        self._fixed = [address for address in given if not names.is_name(address.host)]
        named = given.keys() - set(self._fixed)
        for gone in self._names.keys() - named:
            self._names.pop(gone).stop()
        for new in named - self._names.keys():
            self._names[new] = _Name(new, self)

    def noticed(self, address: TcpAddress) -> None:
        """An address was connected or failed: what to make of its name may have changed."""
        for name in self._names.values():
            if address in name.addresses:
                name.hurry()

    def stop(self) -> None:
        """Look nothing up any more."""
        self.set(())

    async def look_up(self, given: TcpAddress, before: list[TcpAddress]) -> list[TcpAddress]:
        """Return the addresses of a name now; OSError if nobody can tell."""
        found = await self._resolve(given.host, given.port)
        return choose(found, before, self._is_connected)

    def changed(self) -> None:
        """One of the names has other addresses."""
        self._changed()


class _Name:
    """The task that looks up one name."""

    def __init__(self, given: TcpAddress, owner: PeerAddresses) -> None:
        self.addresses: list[TcpAddress] = []
        self.asked = asyncio.Event()  # once, with whatever result
        self._given = given
        self._owner = owner
        self._is_failing = False  # so that an outage is logged once
        self._hurry = asyncio.Event()
        self._task = tasks.start(self._run(), f"addresses of {given.host}")

    def hurry(self) -> None:
        self._hurry.set()

    def stop(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            addresses = await self._look_up()
            if addresses != self.addresses:
                self.addresses = addresses
                self._owner.changed()
            self.asked.set()
            await self._pause()

    async def _look_up(self) -> list[TcpAddress]:
        try:
            addresses = await self._owner.look_up(self._given, self.addresses)
        except OSError as error:
            if not self._is_failing:
                _log.error("(%s): name lookup failed - %s; trying on", self._given, error)
            self._is_failing = True
            return self.addresses
        self._is_failing = False
        return addresses

    async def _pause(self) -> None:
        jitter = 0.75 + random.random() / 2
        await asyncio.sleep(self._owner.again_min_s * jitter)
        self._hurry.clear()
        if not self.addresses:
            return
        try:
            async with asyncio.timeout(self._owner.again_s * jitter - self._owner.again_min_s):
                await self._hurry.wait()
        except TimeoutError:
            pass


def choose(
    found: list[TcpAddress],
    before: Collection[TcpAddress],
    is_connected: Callable[[TcpAddress], bool],
) -> list[TcpAddress]:
    """
    Return which addresses of a name to use.

    A family that is connected is kept, an address of it until it fails, because some DNS servers
    name only a few at a time. Else it is the family of ``nsqx.net.names``, and where nothing of
    that answered, all addresses.
    """
    kept = [address for address in before if is_connected(address)]
    if kept:
        is_v6 = all(names.is_ipv6(address.host) for address in kept)
        chosen = [each for each in [*found, *kept] if names.is_ipv6(each.host) is is_v6]
        return list(dict.fromkeys(chosen))
    if before:
        return found
    hosts = set(names.of_one_family(address.host for address in found))
    return [address for address in found if address.host in hosts]


def _parse(text: str) -> TcpAddress | None:
    try:
        return parse_tcp_address(text)
    except AddressError as error:
        _log.error("%s; left out", error)
        return None
