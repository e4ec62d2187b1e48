"""
Finds nsqlookupds on the local network, and lets them be found: DNS-SD over multicast DNS.

    async with Advertiser(cluster="main", tcp_port=4160, http_port=4161, listens_on="0.0.0.0"):
        ...
    async with Finder("main") as finder:
        stop = finder.subscribe(lambda directories: ...)    now, and whenever they change

Both go on in the background: entering waits for nothing, leaving says goodbye.

An nsqlookupd is an instance of ``_nsqlookupd._tcp.local.``; its TXT record says

    cluster   the cluster's name; others are not looked at
    version   of the program
    tcp       port for nsqd, the same as in SRV
    http      port for lookups
    host      only if it must be reached under another address than its interfaces have

One that ends says so and is dropped at once; one that crashed is dropped within two minutes. What
is found is a hint of whoever shares the network, and no authority: who cares uses addresses.

zeroconf is imported when something starts. It sees the interfaces of that moment, so everything is
begun anew when they have changed. IPv4 only: mDNS for IPv6 finds the same hosts again.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Interface
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nsqx.net.host_port import format_host_port
from nsqx.protocol.defaults import DEFAULT_CLUSTER
from nsqx.protocol.version import VERSION
from nsqx.runtime.process.logs import get_logger

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

__all__ = ["Advertiser", "Directory", "Finder", "read_directory"]

SERVICE_TYPE = "_nsqlookupd._tcp.local."

TTL_S = 120
INFO_MS = 3000
INTERFACES_S = 10.0
CLUSTER_BYTES_MAX = 64
CONFIRM_S = 10.0
DIRECTORIES_MAX = 100  # whoever shares the network may make them up
_EVERYWHERE = ("", "0.0.0.0", "::")

_log = get_logger("DISCOVERY")


@dataclass(frozen=True, slots=True)
class Directory:
    """An nsqlookupd that was found."""

    name: str  # its instance, unique on the network
    host: str
    tcp_port: int
    http_port: int
    version: str

    @property
    def tcp_address(self) -> str:
        """Where nsqd registers."""
        return format_host_port(self.host, self.tcp_port)

    @property
    def http_address(self) -> str:
        """Where lookups are answered."""
        return format_host_port(self.host, self.http_port)


Changed = Callable[[list[Directory]], None]


class _Participant:
    """Takes part in mDNS on some interfaces, for as long as they stay the same."""

    def __init__(self, interfaces_s: float = INTERFACES_S) -> None:
        self._interfaces_s = interfaces_s
        self._zeroconf: AsyncZeroconf | None = None
        self._interfaces: list[str] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; without a usable network, as soon as there is one."""
        self._task = asyncio.create_task(self._run(), name="nsqx discovery")
        self._task.add_done_callback(_report_crash)

    async def stop(self) -> None:
        """End, and say so on the network. Fine when it was not started."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            self._task = None
            await self._end()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _run(self) -> None:
        is_first = True
        while True:
            usable = self._usable_interfaces()
            if usable != self._interfaces:
                await self._end()
                await self._begin(usable)
            elif is_first:
                _log.warning("no network to use yet")
            is_first = False
            await asyncio.sleep(self._interfaces_s)

    async def _begin(self, usable: list[str]) -> None:
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncZeroconf

        if not usable:
            return
        try:
            self._zeroconf = AsyncZeroconf(interfaces=list(usable), ip_version=IPVersion.V4Only)
            self._interfaces = usable
            await self._take_part(self._zeroconf)
        except OSError as error:
            _log.warning("multicast DNS can't be used - %s; trying on", error)
            await self._end()

    async def _end(self) -> None:
        self._interfaces = []
        if self._zeroconf is not None:
            zeroconf, self._zeroconf = self._zeroconf, None
            await self._leave(zeroconf)
            await zeroconf.async_close()

    def _usable_interfaces(self) -> list[str]:
        raise NotImplementedError

    async def _take_part(self, zeroconf: "AsyncZeroconf") -> None:
        raise NotImplementedError

    async def _leave(self, zeroconf: "AsyncZeroconf") -> None:
        """Say goodbye."""


class Advertiser(_Participant):
    """
    Lets an nsqlookupd be found.

    ``listens_on`` is the host of its listeners: it is advertised there, or everywhere for
    ``0.0.0.0``. ``host``, if given, is what others connect to instead.

    Raises:
        ValueError: the name of the cluster is no good.
    """

    def __init__(
        self, *, cluster: str, tcp_port: int, http_port: int, listens_on: str, host: str = ""
    ) -> None:
        super().__init__()
        _check_cluster(cluster)
        self._listens_on = listens_on
        self._tcp_port = tcp_port
        self._properties = {
            "cluster": cluster,
            "version": VERSION,
            "tcp": str(tcp_port),
            "http": str(http_port),
            **({"host": host} if host else {}),
        }
        self._info: AsyncServiceInfo | None = None  # once it was announced

    def _usable_interfaces(self) -> list[str]:
        addresses = own_addresses(self._listens_on)
        # What only this host can reach is of use to others only where there is nothing else.
        return [each for each in addresses if not _is_loopback(each)] or addresses

    async def _take_part(self, zeroconf: "AsyncZeroconf") -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        hostname = socket.gethostname().partition(".")[0]
        label = f"{hostname.encode()[:40].decode(errors='ignore')}-{self._tcp_port}"
        info = AsyncServiceInfo(
            SERVICE_TYPE,
            f"{label}.{SERVICE_TYPE}",
            port=self._tcp_port,
            properties=dict(self._properties),
            server=f"{label}.local.",
            addresses=[socket.inet_aton(address) for address in self._interfaces],
            host_ttl=TTL_S,
            other_ttl=TTL_S,
        )
        # Two hosts may have one name.
        announced = await zeroconf.async_register_service(info, allow_name_change=True)
        self._info = info
        await announced
        _log.info("advertised as %s at %s", info.name, ", ".join(self._interfaces))

    async def _leave(self, zeroconf: "AsyncZeroconf") -> None:
        if self._info is not None:
            info, self._info = self._info, None
            said = await zeroconf.async_unregister_service(info)
            await said


class Finder(_Participant):
    """
    Knows the nsqlookupds of one cluster.

    ``listens_on`` limits it to the network of one address, as `Advertiser`'s does. It looks at the
    host's interfaces each ``interfaces_s``; who is not heard of for ``confirm_s`` after they have
    changed is forgotten.

    Raises:
        ValueError: the name of the cluster is no good.
    """

    def __init__(
        self,
        cluster: str = DEFAULT_CLUSTER,
        listens_on: str = "",
        *,
        interfaces_s: float = INTERFACES_S,
        confirm_s: float = CONFIRM_S,
    ) -> None:
        super().__init__(interfaces_s)
        _check_cluster(cluster)
        self._confirm_s = confirm_s
        self.cluster = cluster
        self._listens_on = listens_on
        self._found: dict[str, Directory] = {}
        self._confirmed: set[str] = set()  # names seen since the network was last the same
        self._subscribers: list[Changed] = []
        self._asking: dict[str, asyncio.Task[None]] = {}

    @property
    def directories(self) -> list[Directory]:
        """Return those that are there now, in the order of their names."""
        return [self._found[name] for name in sorted(self._found)]

    def subscribe(self, changed: Changed) -> Callable[[], None]:
        """Call ``changed`` now and after every change; returns what ends that."""
        self._subscribers.append(changed)
        changed(self.directories)

        def unsubscribe() -> None:
            with suppress(ValueError):
                self._subscribers.remove(changed)

        return unsubscribe

    def _usable_interfaces(self) -> list[str]:
        return own_addresses(self._listens_on)

    async def _take_part(self, zeroconf: "AsyncZeroconf") -> None:
        from zeroconf.asyncio import AsyncServiceBrowser

        AsyncServiceBrowser(zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._noticed])
        self._confirmed.clear()
        asyncio.get_running_loop().call_later(self._confirm_s, self._forget_unconfirmed)

    async def _leave(self, zeroconf: "AsyncZeroconf") -> None:
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        self._asking.clear()
        await zeroconf.async_remove_all_service_listeners()

    def _noticed(
        self, zeroconf: "Zeroconf", service_type: str, name: str, state_change: "ServiceStateChange"
    ) -> None:
        from zeroconf import ServiceStateChange

        former = self._asking.pop(name, None)
        if former is not None:
            former.cancel()
        if state_change is ServiceStateChange.Removed:
            self._forget(name)
        elif name in self._found or len(self._found) + len(self._asking) < DIRECTORIES_MAX:
            self._asking[name] = asyncio.create_task(self._ask(zeroconf, name))

    async def _ask(self, zeroconf: "Zeroconf", name: str) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(SERVICE_TYPE, name)
        while not await info.async_request(zeroconf, INFO_MS):
            pass  # it takes its time; whoever has left is cancelled
        self._asking.pop(name, None)
        addresses = info.parsed_addresses()
        directory = read_directory(
            name, info.decoded_properties, addresses, self.cluster, _own_interfaces()
        )
        if directory is None:
            self._forget(name)
            return
        self._confirmed.add(name)
        if directory != self._found.get(name):
            _log.info("found nsqlookupd %s", directory.tcp_address)
            self._found[name] = directory
            self._tell()

    def _forget_unconfirmed(self) -> None:
        for name in self._found.keys() - self._confirmed:
            self._forget(name)

    def _forget(self, name: str) -> None:
        directory = self._found.pop(name, None)
        if directory is not None:
            _log.info("nsqlookupd %s has left", directory.tcp_address)
            self._tell()

    def _tell(self) -> None:
        for changed in list(self._subscribers):
            changed(self.directories)


def read_directory(
    name: str,
    properties: Mapping[str, str | None],
    addresses: Sequence[str],
    cluster: str,
    own: Sequence[IPv4Interface],
) -> Directory | None:
    """
    Return what a TXT record says, or None for one that is damaged or of another cluster.

    Of several addresses the one is taken that is nearest to this host, whose own ones are ``own``.
    """
    if (properties.get("cluster") or "") != cluster:
        return None
    tcp_port, http_port = _port(properties.get("tcp")), _port(properties.get("http"))
    host = properties.get("host") or _nearest(addresses, own)
    if tcp_port is None or http_port is None or not host or not _is_host(host):
        return None
    return Directory(name, host, tcp_port, http_port, properties.get("version") or "")


def _port(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text) if 0 < int(text) < 65536 else None


def _is_host(text: str) -> bool:
    return all(character.isalnum() or character in "-._:" for character in text)


def _nearest(addresses: Sequence[str], own: Sequence[IPv4Interface]) -> str:
    """
    Return one in a network of this host if there is one, "" if there are none at all.

    One that this host has itself comes after those: it may be that of a bridge for containers,
    which has the same address on every host.
    """

    def distance(text: str) -> int:
        address = ipaddress.ip_address(text)
        if any(address == interface.ip for interface in own):
            return 1
        return 0 if any(address in interface.network for interface in own) else 2

    return min(addresses, key=distance, default="")


def own_addresses(listens_on: str) -> list[str]:
    """Return the IPv4 addresses of this host, sorted; only one if only one is listened on."""
    own = [str(interface.ip) for interface in _own_interfaces()]
    if listens_on in _EVERYWHERE:
        return own
    host = "127.0.0.1" if listens_on == "localhost" else listens_on
    return [address for address in own if address == host]


def _own_interfaces() -> list[IPv4Interface]:
    import ifaddr  # comes with zeroconf

    found = {
        IPv4Interface(f"{address.ip}/{address.network_prefix}")
        for adapter in ifaddr.get_adapters()
        for address in adapter.ips
        if isinstance(address.ip, str)  # others are IPv6
    }
    return sorted(found)


def _check_cluster(name: str) -> None:
    if not 0 < len(name.encode()) <= CLUSTER_BYTES_MAX:  # a TXT entry has 255 in all
        raise ValueError(f"the cluster's name must have 1 to {CLUSTER_BYTES_MAX} bytes")


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _report_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s crashed", task.get_name(), exc_info=error)
