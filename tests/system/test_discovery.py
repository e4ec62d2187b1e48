"""Two hosts that know nothing of each other find each other; daemons are processes."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest_asyncio

from tests.support.hosts import Host, switched_hosts
from tests.support.processes import Daemon

ANYWHERE = ("--tcp-address=0.0.0.0:0", "--http-address=0.0.0.0:0")
MAIN = "--cluster=main"


class HostedDaemon(Daemon):
    """A daemon on one of the hosts. It listens everywhere, on other ports at each start."""

    def __init__(self, module: str, host: Host, flags: Iterable[str]) -> None:
        super().__init__(f"{module} on {host.address}", [*ANYWHERE, *flags])
        self.MODULE = module
        self.host = host

    def command(self) -> list[str]:
        return self.host.command(*super().command())

    @property
    def address(self) -> str:
        """Where nsqd finds it."""
        return f"{self.host.address}:{self.tcp_port}"


class Hosts:
    """The two hosts, and what runs there."""

    def __init__(self, one: Host, two: Host, folder: Path) -> None:
        self.one, self.two = one, two
        self.folder = folder
        self.daemons: list[HostedDaemon] = []

    async def lookupd(self, host: Host, *flags: str) -> HostedDaemon:
        return await self._start(HostedDaemon("nsqx.lookupd", host, ["--advertise", *flags]))

    async def nsqd(self, host: Host, *flags: str) -> HostedDaemon:
        data_path = self.folder / host.namespace
        data_path.mkdir()
        own = (f"--broadcast-address={host.address}", f"--data-path={data_path}", "--discover")
        return await self._start(HostedDaemon("nsqx.nsqd", host, [*own, *flags]))

    async def _start(self, daemon: HostedDaemon) -> HostedDaemon:
        self.daemons.append(daemon)
        await daemon.start()
        return daemon

    async def run(self, host: Host, *command: str, stdin: bytes = b"") -> bytes:
        """Run Python on a host to its end; return what it wrote."""
        process = await asyncio.create_subprocess_exec(
            *host.command(sys.executable, *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            output, _ = await process.communicate(stdin)
        assert process.returncode == 0
        return output


@asynccontextmanager
async def running_hosts(folder: Path) -> AsyncIterator[Hosts]:
    with switched_hosts(2) as switch:
        one, two = switch.hosts
        hosts = Hosts(one, two, folder)
        try:
            yield hosts
        finally:
            for daemon in hosts.daemons:
                await daemon.kill()
                sys.stdout.writelines(f"{daemon.name} | {line}\n" for line in daemon.log)


@pytest_asyncio.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[Hosts]:
    async with running_hosts(tmp_path) as hosts:
        yield hosts


def connected(lookupd: HostedDaemon) -> str:
    """The line of an nsqd's log."""
    return rf"LOOKUPD: \({re.escape(lookupd.address)}\): connected"


async def test_directories_of_all_hosts_are_used_as_they_come_and_go(hosts: Hosts) -> None:
    far = await hosts.lookupd(hosts.one, MAIN)
    other = await hosts.lookupd(hosts.one, "--cluster=other")
    nsqd = await hosts.nsqd(hosts.two, MAIN)
    await nsqd.wait_for_log(connected(far))
    near = await hosts.lookupd(hosts.two, MAIN)
    await nsqd.wait_for_log(connected(near))

    assert await far.stop() == 0
    await nsqd.wait_for_log(rf"nsqlookupd {re.escape(far.address)} has left")
    await far.start()  # on another port
    await nsqd.wait_for_log(connected(far))
    assert other.address not in "\n".join(nsqd.log)


async def test_message_finds_its_way_without_any_address(hosts: Hosts) -> None:
    lookupd = await hosts.lookupd(hosts.one, MAIN)
    nsqd = await hosts.nsqd(hosts.two, MAIN)
    await nsqd.wait_for_log(connected(lookupd))
    publish = "import sys, urllib.request as r; r.urlopen(sys.argv[1], b'hello').read()"
    url = f"http://127.0.0.1:{nsqd.http_port}/pub?topic=greetings"
    await hosts.run(hosts.two, "-c", publish, url)
    tail = ("-m", "nsqx.apps", "tail", "greetings", "-n1", "--channel=c", "--discover", MAIN)
    assert await hosts.run(hosts.one, *tail) == b"hello\n"
