"""
A cluster of processes on this machine: one nsqlookupd, some nsqd, one nsqadmin.

They start in the order in which they need each other and end in the reverse order: a broker that
outlived the directory would only complain about it.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from nsqx.apps.run.child import Child
from nsqx.apps.run.ports import Ports
from nsqx.net.host_port import format_host_port, split_host_port
from nsqx.protocol import defaults

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
        tell: Callable[[str, str], None],
    ) -> None:
        self._host = host.strip("[]")
        self._data_path = data_path
        self._nsqd_count = nsqd_count
        self._nsqd_flags = nsqd_flags
        self._ports = None if any_ports else Ports(host)
        self._tell = tell
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
        return in_order

    def address(self, child: Child, listener: str) -> str:
        """Return where a client on this machine reaches a listener, ``host:port``."""
        host, port = split_host_port(child.addresses[listener])
        return format_host_port(REACHABLE.get(host, host), port)

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
        return self._make(name, "nsqx.nsqd", NSQD_PORTS, flags)

    def _make(self, name: str, module: str, ports: dict[str, int], flags: list[str]) -> Child:
        listen = {kind: self._listen_at(port) for kind, port in ports.items()}
        return Child(name, [sys.executable, "-m", module, *flags], listen, self._tell)

    def _listen_at(self, wanted: int) -> str:
        port = 0 if self._ports is None else self._ports.take(wanted)
        return format_host_port(self._host, port)

    def _broadcast(self) -> list[str]:
        # At a wildcard, the daemon's own choice (its host name) is the better one.
        return [] if self._host in REACHABLE else [f"--broadcast-address={self._host}"]
