"""
Daemons as real processes, on ports the system picks, for tests of what only processes show.

A test takes the ``cluster`` fixture and says what it wants::

    async def test_restart_keeps_messages(cluster: Cluster) -> None:
        lookupd = await cluster.lookupd()
        node = await cluster.nsqd("--msg-timeout=1s", lookupds=[lookupd])
        await node.post("/pub?topic=orders", b"hello")
        await node.kill()               # kill -9
        await node.start()              # the same ports, the same data path
        assert await node.stop() == 0   # SIGTERM; the exit code

The first start asks for port 0 and learns the real ones from the ``TCP: listening on`` lines;
later starts ask for those again, so that whoever knew the daemon's address finds it there. What a
test leaves behind is killed and reaped, and the logs are shown if the test fails.
"""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest_asyncio

from tests.support import fork_server

__all__ = ["Admin", "Cluster", "Daemon", "Lookupd", "Nsqd", "cluster", "eventually", "free_port"]

START_SECONDS_MAX = 60.0  # a full machine takes half of it; nothing waits longer than it has to
STOP_SECONDS_MAX = 20.0
POLL_SECONDS = 0.02

_LISTENING = re.compile(r'(TCP|HTTP|HTTPS): listening on ([^\s"]+)')


class Daemon:
    """
    One daemon and its log, over any number of starts.

    Attributes:
        log: the lines of stderr of all starts, without line ends.
        addresses: ``{"TCP": "127.0.0.1:4150", ...}`` of the last start.
        prefix: a command that runs it (``env``, say), with its words.
    """

    MODULE = ""
    LISTENERS: tuple[str, ...] = ("TCP", "HTTP")

    def __init__(self, name: str, flags: Iterable[str]) -> None:
        self.name = name
        self.flags = list(flags)
        self.log: list[str] = []
        self.addresses: dict[str, str] = {}
        self.prefix: list[str] = []
        self._process: asyncio.subprocess.Process | fork_server.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._log_changed = asyncio.Condition()
        self._log_start = 0  # of the last start
        self._log_ended = False

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def tcp_address(self) -> str:
        return self.addresses["TCP"]

    @property
    def tcp_port(self) -> int:
        return _port(self.addresses["TCP"])

    @property
    def http_address(self) -> str:
        return self.addresses["HTTP"]

    @property
    def http_port(self) -> int:
        return _port(self.addresses["HTTP"])

    def command(self) -> list[str]:
        """The command line of the next start."""
        listen = [
            f"--{kind.lower()}-address={self.addresses.get(kind, '127.0.0.1:0')}"
            for kind in self.LISTENERS
        ]
        return [*self.prefix, sys.executable, "-m", self.MODULE, *listen, *self.flags]

    async def start(self) -> None:
        """
        Start, and return when every listener is open.

        Raises:
            AssertionError: it ended first, or took too long. The message holds its log.
        """
        assert not self.running, f"{self.name} runs already"
        self._log_start = len(self.log)
        self._log_ended = False
        self._process = await _start(self.command())
        assert self._process.stderr is not None
        self._reader = asyncio.create_task(self._read_log(self._process.stderr))
        try:
            for kind in self.LISTENERS:
                line = await self.wait_for_log(rf"\b{kind}: listening on ", START_SECONDS_MAX)
                self._note_address(line)
        except BaseException:
            await self.kill()
            raise

    async def wait_for_log(self, pattern: str, seconds_max: float = STOP_SECONDS_MAX) -> str:
        """
        Return the first log line since the last start that matches, now or when it comes.

        Raises:
            AssertionError: the log ended without it, or it took too long.
        """
        regex = re.compile(pattern)
        try:
            async with asyncio.timeout(seconds_max), self._log_changed:
                while (line := self._find(regex)) is None:
                    assert not self._log_ended, self._failure(f"ended without {pattern!r}")
                    await self._log_changed.wait()
        except TimeoutError:
            raise AssertionError(self._failure(f"no {pattern!r} in {seconds_max} s")) from None
        return line

    async def stop(self, signum: int = signal.SIGTERM) -> int:
        """Ask it to end, as an operator does, and return the exit code."""
        assert self._process is not None
        if self.running:
            self.send_signal(signum)
        return await self.wait()

    async def kill(self) -> None:
        """End it with no chance to clean up (``kill -9``). Does nothing when it is not running."""
        if self.running:
            self.send_signal(signal.SIGKILL)
        if self._process is not None:
            await self.wait()

    async def wait(self, seconds_max: float = STOP_SECONDS_MAX) -> int:
        """
        Wait until it ended by itself, and return the exit code (negative: the signal).

        Raises:
            AssertionError: it did not end in time.
        """
        assert self._process is not None
        assert self._reader is not None
        try:
            async with asyncio.timeout(seconds_max):
                code = await self._process.wait()
                await self._reader
        except TimeoutError:
            raise AssertionError(self._failure(f"did not end in {seconds_max} s")) from None
        return code

    async def restart(self) -> None:
        """``stop`` and ``start``: the same ports and the same data."""
        await self.stop()
        await self.start()

    def send_signal(self, signum: int) -> None:
        """For example SIGSTOP and SIGCONT: a daemon that hangs."""
        assert self._process is not None
        # Not by asyncio: that asks first whether the process has ended, and if it just has, takes
        # the exit code from whoever waits for it.
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signum)

    def url(self, path: str) -> str:
        return f"http://{self.http_address}{path}"

    async def get(self, path: str) -> tuple[int, bytes]:
        """GET ``path``: the status and the body."""
        return await self.request("GET", path)

    async def get_json(self, path: str) -> Any:
        """GET ``path``, which must answer 200: the decoded body."""
        status, body = await self.get(path)
        assert status == 200, (status, body)
        return json.loads(body)

    async def post(self, path: str, body: bytes = b"") -> bytes:
        """POST ``path``, which must answer 200: the body."""
        status, answer = await self.request("POST", path, body)
        assert status == 200, (status, answer)
        return answer

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url(path), data=body) as response,
        ):
            return response.status, await response.read()

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            async with self._log_changed:
                self.log.append(line.decode(errors="replace").rstrip("\r\n"))
                self._log_changed.notify_all()
        async with self._log_changed:
            self._log_ended = True
            self._log_changed.notify_all()

    def _find(self, regex: re.Pattern[str]) -> str | None:
        return next((line for line in self.log[self._log_start :] if regex.search(line)), None)

    def _note_address(self, line: str) -> None:
        match = _LISTENING.search(line)
        assert match is not None, line
        self.addresses[match[1]] = match[2]

    def _failure(self, what: str) -> str:
        return "\n".join([f"{self.name}: {what}; its log:", *self.log[self._log_start :]])


class Nsqd(Daemon):
    """A broker. Its data path is its own and stays over restarts."""

    MODULE = "nsqx.nsqd"

    def __init__(self, name: str, data_path: Path, flags: Iterable[str]) -> None:
        self.data_path = data_path
        super().__init__(
            name, ["--broadcast-address=127.0.0.1", f"--data-path={data_path}", *flags]
        )


class Lookupd(Daemon):
    """A directory."""

    MODULE = "nsqx.lookupd"

    def __init__(self, name: str, flags: Iterable[str]) -> None:
        super().__init__(name, ["--broadcast-address=127.0.0.1", *flags])


class Admin(Daemon):
    """A dashboard."""

    MODULE = "nsqx.admin"
    LISTENERS = ("HTTP",)


DaemonType = TypeVar("DaemonType", bound=Daemon)


class Cluster:
    """Makes daemons that know each other, and ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[Daemon] = []
        self.prefix: list[str] = []  # of all that start from now on

    async def nsqd(self, *flags: str, lookupds: Iterable[Lookupd] = ()) -> Nsqd:
        """Start a broker that registers at ``lookupds``; ``flags`` win over the defaults here."""
        name = self._name("nsqd")
        data_path = self.folder / name
        data_path.mkdir()
        known = [f"--lookupd-tcp-address={lookupd.tcp_address}" for lookupd in lookupds]
        return await self._started(Nsqd(name, data_path, [*known, *flags]))

    async def lookupd(self, *flags: str) -> Lookupd:
        """Start a directory."""
        return await self._started(Lookupd(self._name("nsqlookupd"), flags))

    async def admin(
        self, *flags: str, lookupds: Iterable[Lookupd] = (), nsqds: Iterable[Nsqd] = ()
    ) -> Admin:
        """Start a dashboard over ``lookupds`` or over ``nsqds``."""
        sources = [f"--lookupd-http-address={lookupd.http_address}" for lookupd in lookupds]
        sources += [f"--nsqd-http-address={nsqd.http_address}" for nsqd in nsqds]
        return await self._started(Admin(self._name("nsqadmin"), [*sources, *flags]))

    async def close(self) -> None:
        """Kill and reap whatever still runs, stopped processes too."""
        await asyncio.gather(*(daemon.kill() for daemon in self.daemons))

    def logs(self) -> str:
        """The log of every daemon, for whoever has to find out what went wrong."""
        return "\n".join(
            f"{daemon.name} | {line}" for daemon in self.daemons for line in daemon.log
        )

    def _name(self, kind: str) -> str:
        return f"{kind}-{len(self.daemons) + 1}"

    async def _started(self, daemon: DaemonType) -> DaemonType:
        self.daemons.append(daemon)
        daemon.prefix = self.prefix
        await daemon.start()
        return daemon


@asynccontextmanager
async def running_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """A cluster whose daemons end with the block."""
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        await cluster.close()
        # pytest keeps what a test wrote to itself, unless the test failed.
        sys.stdout.write(cluster.logs() + "\n")


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Daemons as processes; see the top of this module."""
    async with running_cluster(tmp_path) as cluster:
        yield cluster


async def eventually(
    check: Callable[[], Awaitable[bool]], what: str, seconds_max: float = START_SECONDS_MAX
) -> None:
    """
    Ask again until ``check`` says yes: for what another process does and tells nobody about.

    Raises:
        AssertionError: it never did; the message is ``what``.
    """
    try:
        async with asyncio.timeout(seconds_max):
            while not await check():  # noqa: ASYNC110 - it is another process's state
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not in {seconds_max} s: {what}") from None


def free_port() -> int:
    """A port nobody has now: for who must be told a port before anything listens there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def _start(command: list[str]) -> asyncio.subprocess.Process | fork_server.Process:
    if command[:2] == [sys.executable, "-m"]:
        return await fork_server.start(*command[2:], stderr=fork_server.PIPE)
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=fork_server.STREAM_LIMIT_BYTES,
    )


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
