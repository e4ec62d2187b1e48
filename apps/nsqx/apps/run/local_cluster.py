"""
A cluster of processes on this machine: one nsqlookupd, some nsqd, one nsqadmin.

They start in the order in which they need each other and end in the reverse order: a broker that
outlived the directory would only complain about it.
"""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from nsqx.apps.run.child import Child
from nsqx.apps.run.ports import Ports
from nsqx.net.addresses import bind_shared
from nsqx.net.host_port import format_host_port, split_host_port
from nsqx.protocol import defaults
from nsqx.protocol.errors import StartupError

__all__ = ["LocalCluster"]

STOP_SECONDS_MAX = 20.0

LOOKUPD_PORTS = {"TCP": defaults.LOOKUPD_TCP_PORT, "HTTP": defaults.LOOKUPD_HTTP_PORT}
NSQD_PORTS = {"TCP": defaults.NSQD_TCP_PORT, "HTTP": defaults.NSQD_HTTP_PORT}
ADMIN_PORTS = {"HTTP": defaults.ADMIN_HTTP_PORT}

# A wildcard is an address to listen at, not one to connect to.
REACHABLE = {"0.0.0.0": "127.0.0.1", "::": "::1"}

# So many messages wait for a tail before nsqd drops some. They are in the log, not in memory.
MEM_QUEUE_SIZE = "--mem-queue-size=1000000"


class LocalCluster:
    """
    Starts, watches and ends the processes. For one ``run``.

    Args:
        host: the address that all listen at.
        data_path: where each nsqd gets a folder of its own.
        nsqd_count: how many of them.
        nsqd_flags: given to each of them.
        any_ports: let the system choose the ports, instead of NSQ's own or the next free ones.
        reuse_port: one TCP and one HTTP port for all nsqd together; each has its own, too.
        tell: called with a name and a line of log.
    """

    def __init__(
        self,
        host: str,
        data_path: Path,
        nsqd_count: int,
        nsqd_flags: tuple[str, ...],
        *,
        any_ports: bool,
        reuse_port: bool = False,
        tell: Callable[[str, str], None],
    ) -> None:
        self._host = host.strip("[]")
        self._data_path = data_path
        self._nsqd_count = nsqd_count
        self._nsqd_flags = nsqd_flags
        self._ports = None if any_ports else Ports(host)
        self._tell = tell
        self._reuse_port = reuse_port
        self._reserved: list[socket.socket] = []
        self.shared: dict[str, str] = {}  # addresses of what all nsqd share
        self._work: asyncio.Task[None] | None = None
        self._groups: list[list[Child]] = []  # in the order of their start
        self.lookupd: Child
        self.nsqds: list[Child]
        self.admin: Child

    async def run(self, on_ready: Callable[["LocalCluster"], None]) -> bool:
        """
        Run until SIGINT, SIGTERM or SIGHUP; ``on_ready`` is called when everything listens.

        Returns:
            Whether every process ended in order.

        Raises:
            ChildEndedError: one of them did not start. The others were ended.
            OSError: a data folder cannot be made, or no port is free.
        """
        self._work = asyncio.create_task(self._start_and_watch(on_ready))
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(signum, self._on_signal)
        try:
            await self._work
        except asyncio.CancelledError:
            self._tell("nsqx", "ending; a second Ctrl-C kills what is left")
        finally:
            in_order = await self._end()
            for reserved in self._reserved:
                reserved.close()
        return in_order

    def address(self, child: Child, listener: str) -> str:
        """Return where a client on this machine reaches a listener, ``host:port``."""
        return _reachable(child.addresses[listener])

    def entrance(self, listener: str) -> str:
        """Return where a producer on this machine reaches an nsqd: any of them, if they share."""
        if self.shared:
            return _reachable(self.shared[listener])
        return self.address(self.nsqds[0], listener)

    def _on_signal(self) -> None:
        assert self._work is not None
        if not self._work.done():
            self._work.cancel()
            return
        for child in self._children():
            child.kill()

    def _children(self) -> list[Child]:
        return [child for group in self._groups for child in group]

    async def _start_and_watch(self, on_ready: Callable[["LocalCluster"], None]) -> None:
        """Never returns."""
        self.lookupd = self._make("nsqlookupd", "nsqx.lookupd", LOOKUPD_PORTS, self._broadcast())
        await self._start([self.lookupd])
        if self._reuse_port:
            self.shared = {kind: self._share(port) for kind, port in NSQD_PORTS.items()}
        self.nsqds = [self._make_nsqd(number) for number in range(1, self._nsqd_count + 1)]
        await self._start(self.nsqds)
        source = f"--lookupd-http-address={self.address(self.lookupd, 'HTTP')}"
        self.admin = self._make("nsqadmin", "nsqx.admin", ADMIN_PORTS, [source])
        await self._start([self.admin])
        self._warn_of_unused_data()
        on_ready(self)
        await asyncio.gather(*(child.keep_running() for child in self._children()))

    async def _start(self, group: list[Child]) -> None:
        self._groups.append(group)
        results = await asyncio.gather(*(child.start() for child in group), return_exceptions=True)
        for failure in filter(None, results):
            raise failure

    async def _end(self) -> bool:
        in_order = True
        for group in reversed(self._groups):
            results = await asyncio.gather(*(child.stop(STOP_SECONDS_MAX) for child in group))
            in_order = in_order and all(results)
        return in_order

    def _warn_of_unused_data(self) -> None:
        """Messages of an earlier run with more nodes are not lost, but nobody serves them now."""
        used = {child.name for child in self.nsqds}
        for folder in sorted(self._data_path.glob("nsqd-*")):
            if folder.name not in used and any(folder.iterdir()):
                self._tell("nsqx", f"WARNING: {folder} has data and no nsqd; more --nodes serve it")

    def _make_nsqd(self, number: int) -> Child:
        name = f"nsqd-{number}"
        folder = self._data_path / name
        folder.mkdir(parents=True, exist_ok=True)
        flags = [
            *self._broadcast(),
            f"--data-path={folder}",
            MEM_QUEUE_SIZE,
            f"--lookupd-tcp-address={self.address(self.lookupd, 'TCP')}",
            *self._nsqd_flags,
        ]
        if not self.shared:
            return self._make(name, "nsqx.nsqd", NSQD_PORTS, flags)
        flags += [f"--{kind.lower()}-address={each}" for kind, each in self.shared.items()]
        return self._make(name, "nsqx.nsqd", NSQD_PORTS, [*flags, "--reuse-port"], "own-")

    def _make(
        self,
        name: str,
        module: str,
        ports: dict[str, int],
        flags: list[str],
        flag_prefix: str = "",
    ) -> Child:
        listen = {kind: self._listen_at(port) for kind, port in ports.items()}
        command = [sys.executable, "-m", module, *flags]
        return Child(name, command, listen, self._tell, flag_prefix=flag_prefix)

    def _share(self, wanted: int) -> str:
        """Hold a port for the nsqds, and listen on it with none of our own."""
        try:
            reserved = bind_shared(self._listen_at(wanted), "--reuse-port")
        except StartupError as error:
            raise OSError(str(error)) from error
        self._reserved.append(reserved)
        return format_host_port(self._host, reserved.getsockname()[1])

    def _listen_at(self, wanted: int) -> str:
        port = 0 if self._ports is None else self._ports.take(wanted)
        return format_host_port(self._host, port)

    def _broadcast(self) -> list[str]:
        # At a wildcard, the daemon's own choice (its host name) is the better one.
        return [] if self._host in REACHABLE else [f"--broadcast-address={self._host}"]


def _reachable(address: str) -> str:
    host, port = split_host_port(address)
    return format_host_port(REACHABLE.get(host, host), port)
