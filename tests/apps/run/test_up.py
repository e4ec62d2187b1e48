"""``nsqx up`` as a newcomer runs it: real processes, ended by Ctrl-C."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.commands import nsqx, running_nsqx
from tests.support.fork_server import Process
from tests.support.processes import eventually

SECONDS_MAX = 60.0


class Up:
    """A running ``nsqx up``, and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.printed = ""
        self.log = ""

    async def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS_MAX):
            while "nsqx pub" not in self.printed:
                line = await self.process.stdout.readline()
                assert line, f"it ended; printed: {self.printed}"
                self.printed += line.decode()

    def address(self, name: str, kind: str) -> str:
        match = re.search(rf"^  {name} .*\b{kind} ([\d.:]+)", self.printed, re.MULTILINE)
        assert match is not None, self.printed
        return match[1]

    @property
    def dashboard(self) -> str:
        match = re.search(r"^  nsqadmin +(http://\S+)", self.printed, re.MULTILINE)
        assert match is not None, self.printed
        return match[1]

    async def end(self, signum: int = signal.SIGINT) -> int:
        self.process.send_signal(signum)
        return await self.wait()

    async def wait(self) -> int:
        async with asyncio.timeout(SECONDS_MAX):
            _, log = await self.process.communicate()
        self.log += log.decode()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def nsqx_up(data_path: Path, *flags: str) -> AsyncIterator[Up]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nsqx.apps", "up", "--any-ports", f"--data-path={data_path}"),
        *flags,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    up = Up(process)
    try:
        yield up
    finally:
        if process.returncode is None:
            await up.end(signal.SIGTERM)
        sys.stdout.write(up.printed + up.log)


async def get_json(url: str) -> dict[str, object]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        answer = await response.json()
    assert isinstance(answer, dict)
    return answer


async def publish(address: str, topic: str, body: bytes) -> None:
    url = f"http://{address}/pub?topic={topic}"
    async with aiohttp.ClientSession() as session, session.post(url, data=body) as response:
        assert response.status == 200, await response.text()


async def tail(up: Up, topic: str, channel: str, count: int) -> list[str]:
    """The bodies that ``nsqx tail`` prints."""
    command = ["tail", topic, f"--channel={channel}", f"-n{count}"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nsqx.apps", *command),
        f"--lookupd={up.address('nsqlookupd', 'HTTP')}",
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS_MAX):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().splitlines()


async def test_messages_go_through_it_and_survive_its_end(tmp_path: Path) -> None:
    async with nsqx_up(tmp_path) as up:
        await up.wait_until_ready()
        for node in ("nsqd-1", "nsqd-2"):
            await publish(up.address(node, "HTTP"), "greetings", f"first {node}".encode())
        assert sorted(await tail(up, "greetings", "c", 2)) == ["first nsqd-1", "first nsqd-2"]
        for node in ("nsqd-1", "nsqd-2"):
            await publish(up.address(node, "HTTP"), "greetings", f"second {node}".encode())
        assert await up.end() == 0

    async with nsqx_up(tmp_path) as up:
        await up.wait_until_ready()
        assert sorted(await tail(up, "greetings", "c", 2)) == ["second nsqd-1", "second nsqd-2"]


async def test_the_nodes_are_known_to_the_directory_and_on_the_dashboard(tmp_path: Path) -> None:
    async with nsqx_up(tmp_path, "--nodes", "3") as up:
        await up.wait_until_ready()
        expected = {int(up.address(f"nsqd-{n}", "TCP").split(":")[1]) for n in (1, 2, 3)}

        async def all_are_shown() -> bool:
            answer = await get_json(f"{up.dashboard}api/nodes")
            assert isinstance(answer["nodes"], list)
            return {node["tcp_port"] for node in answer["nodes"]} == expected

        await eventually(all_are_shown, "three nodes on the dashboard")


async def test_a_node_that_is_killed_comes_back_with_its_messages(tmp_path: Path) -> None:
    async with nsqx_up(tmp_path, "--nodes", "1") as up:
        await up.wait_until_ready()
        address = up.address("nsqd-1", "HTTP")
        await publish(address, "t", b"kept")
        (pid,) = [pid for pid, line in children(up.process.pid).items() if "nsqx.nsqd" in line]
        os.kill(pid, signal.SIGKILL)

        async def answers() -> bool:
            try:
                return bool(await get_json(f"http://{address}/stats?format=json"))
            except aiohttp.ClientError:
                return False

        await eventually(answers, "the killed node answers again")
        assert await tail(up, "t", "c", 1) == ["kept"]
        assert await up.end() == 0
        assert "nsqd-1     | was ended by SIGKILL; starting it again" in up.log


def children(parent: int) -> dict[int, str]:
    """The processes that ``parent`` started, and their command lines."""
    pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in pids}


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_no_process_is_left_after_a_signal(tmp_path: Path, signum: int) -> None:
    async with nsqx_up(tmp_path, "--nodes", "1") as up:
        await up.wait_until_ready()
        pids = children(up.process.pid)
        assert len(pids) == 3
        assert await up.end(signum) == 0
        assert not any(map(is_running, pids))


async def test_a_flag_that_nsqd_refuses_ends_it_all_with_nsqds_own_line(tmp_path: Path) -> None:
    async with nsqx_up(tmp_path, "--", "--no-such-flag") as up:
        assert await up.wait() == 1
        assert "| flag provided but not defined: -no-such-flag" in up.log
        assert up.log.rstrip().splitlines()[-1].startswith("Error: nsqd-")


async def test_a_data_path_that_cannot_be_made_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with nsqx_up(tmp_path / "file" / "data") as up:
        assert await up.wait() == 1
        assert "Not a directory" in up.log.rstrip().splitlines()[-1]


async def test_data_that_no_node_serves_is_pointed_out(tmp_path: Path) -> None:
    unused = tmp_path / "nsqd-2"
    unused.mkdir()
    (unused / "log").write_text("")
    async with nsqx_up(tmp_path, "--nodes=1", "--quiet") as up:
        await up.wait_until_ready()
        assert await up.end() == 0
        assert f"WARNING: {unused} has data and no nsqd" in up.log


async def test_quiet_passes_on_only_what_is_wrong(tmp_path: Path) -> None:
    async with nsqx_up(tmp_path, "--nodes=1", "--quiet") as up:
        await up.wait_until_ready()
        assert await up.end() == 0
        assert " INFO: " not in up.log


async def test_the_example_of_the_readme_loses_nothing(tmp_path: Path) -> None:
    """A tail beside ``seq 100000 | nsqx pub``: all lines, and not a word about lost ones."""
    async with nsqx_up(tmp_path, "--nodes=1") as up:
        await up.wait_until_ready()
        directory = f"--lookupd={up.address('nsqlookupd', 'HTTP')}"
        stats = f"http://{up.address('nsqd-1', 'HTTP')}/stats?format=json&topic=greetings"
        node = f"--nsqd={up.address('nsqd-1', 'TCP')}"
        await nsqx("pub", "greetings", node, "-q", stdin=b"first\n")
        async with running_nsqx("tail", "greetings", directory) as tail:

            async def is_tailed() -> bool:
                topics: Any = (await get_json(stats))["topics"]
                return any(each["client_count"] for each in topics[0]["channels"])

            await eventually(is_tailed, "the tail is there")
            lines = b"".join(b"%d\n" % number for number in range(1, 100_001))
            printing = asyncio.create_task(read_lines(tail, 100_000 - 1))
            done = await nsqx("pub", "greetings", node, "-q", stdin=lines)
            assert done.code == 0
            async with asyncio.timeout(SECONDS_MAX):
                printed = await printing
            tail.send_signal(signal.SIGINT)
            rest, said = await tail.communicate()
    assert said == b""
    assert sorted(map(int, (printed + rest).replace(b"first\n", b"").split())) == list(
        range(1, 100_001)
    )


async def read_lines(process: Process, count: int) -> bytes:
    assert process.stdout is not None
    read = b""
    while read.count(b"\n") <= count:
        part = await process.stdout.read(1 << 20)
        assert part, "it ended"
        read += part
    return read


async def test_nodes_may_share_the_ports_that_producers_use(tmp_path: Path) -> None:
    async with nsqx_up(tmp_path, "--nodes=2", "--reuse-port") as up:
        await up.wait_until_ready()
        entrance = up.address("all nsqd", "HTTP")
        for _ in range(64):  # each by a connection of its own
            await publish(entrance, "t", b"hello")
        nodes = [up.address(name, "HTTP") for name in ("nsqd-1", "nsqd-2")]
        assert len({entrance, *nodes}) == 3
        depths = []
        for node in nodes:
            stats: Any = await get_json(f"http://{node}/stats?format=json")
            depths.append(stats["topics"][0]["depth"])
        assert sum(depths) == 64
        assert await up.end() == 0
