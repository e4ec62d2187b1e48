"""Brokers and directories as processes that can be killed, stopped and started again."""

import asyncio
import contextlib
import os
import resource
import shlex
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.proxy import Proxy

__all__ = ["BrokerProcess", "Process", "free_port"]

START_SECONDS_MAX = 20.0
POLL_SECONDS = 0.02
UNLIMITED = resource.RLIM_INFINITY

OUR_BROKER = (
    f"{sys.executable} -m nsqx.nsqd --tcp-address=127.0.0.1:{{tcp}} "
    "--http-address=127.0.0.1:{http} --data-path={data} --broadcast-address=127.0.0.1 "
    "--broadcast-tcp-port={proxy} --lookupd-tcp-address=127.0.0.1:{lookupd}"
)


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A daemon that listens on a TCP port."""

    def __init__(self, command: str, port: int) -> None:
        self.port = port
        self._command = shlex.split(command)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and return when it listens."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(START_SECONDS_MAX):
            while not await self._listens():
                if self._process.returncode is not None:
                    raise RuntimeError(f"it ended at once: {shlex.join(self._command)}")
                await asyncio.sleep(POLL_SECONDS)

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.transport.abort()
        return True

    def send_signal(self, number: int) -> None:
        """Send a signal; fine if it has just ended."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)  # asyncio's way may take the exit code from `wait`

    async def end(self, number: int) -> None:
        """Send a signal that ends it, and wait until it has."""
        if self._process is not None and self._process.returncode is None:
            self.send_signal(signal.SIGCONT)
            self.send_signal(number)
            await self._process.wait()

    def refuse_writes(self, is_refused: bool) -> None:
        """Let every write to a file fail, or none: as a disk that is full and has room again."""
        assert self._process is not None
        limit = 0 if is_refused else UNLIMITED
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (limit, UNLIMITED))


class BrokerProcess(Process):
    """A broker behind a proxy of its own; its data stay over restarts."""

    def __init__(self, template: str, folder: Path, lookupd_ports: Sequence[int]) -> None:
        port = free_port()
        self.proxy = Proxy(port)
        self._template = template
        self._folder = folder
        self._lookupd_ports = lookupd_ports
        super().__init__("true", port)

    async def start(self) -> None:
        """See `Process.start`."""
        if not self.proxy.port:
            await self.proxy.start()
            self._folder.mkdir(parents=True)
            self._command = self._arguments()
        await super().start()

    def _arguments(self) -> list[str]:
        values = {
            "tcp": self.port,
            "http": free_port(),
            "data": self._folder,
            "proxy": self.proxy.port,
        }
        return [
            argument.format(lookupd=port, **values)
            for argument in shlex.split(self._template)
            for port in (self._lookupd_ports if "{lookupd}" in argument else (0,))
        ]
