"""A real disk that is full, under a real process: a small one, in a namespace of its own."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.processes import Nsqd, eventually
from tests.support.wire_client import WireClient

DISK_BYTES = 2_000_000
FILLER_BYTES = 1_000_000
BODY = b"x" * 10_000
FULL = "NOK - No space left on device"


class SmallDisk:
    """A file system that other processes may enter, until it is ended."""

    def __init__(self, folder: Path, holder: asyncio.subprocess.Process) -> None:
        self.folder = folder
        self._holder = holder

    @property
    def enter(self) -> list[str]:
        """What a command begins with that runs where the disk is."""
        pid = str(self._holder.pid)
        return ["nsenter", "--target", pid, "--user", "--mount", "--preserve-credentials"]

    async def run(self, command: str) -> None:
        """Run a shell command in the folder."""
        script = f'cd "{self.folder}" && {command}'
        process = await asyncio.create_subprocess_exec(*self.enter, "sh", "-c", script)
        assert await process.wait() == 0, command

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            self._holder.kill()
        await self._holder.wait()


class NsqdThere(Nsqd):
    """A broker whose data path is such a disk."""

    def __init__(self, disk: SmallDisk) -> None:
        super().__init__("nsqd", disk.folder, [])
        self._disk = disk

    def command(self) -> list[str]:
        return [*self._disk.enter, *super().command()]


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[SmallDisk]:
    script = f'mount -t tmpfs -o size={DISK_BYTES} tmpfs "$0" && echo mounted && exec sleep 600'
    try:
        holder = await asyncio.create_subprocess_exec(
            *["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    assert holder.stdout is not None
    found = SmallDisk(tmp_path, holder)
    if await holder.stdout.readline() != b"mounted\n":
        await found.end()
        pytest.skip("file systems can not be mounted here")
    yield found
    await found.end()


@pytest.fixture
async def node(disk: SmallDisk) -> AsyncIterator[Nsqd]:
    await disk.run(f"head -c {FILLER_BYTES} /dev/zero > filler")
    node = NsqdThere(disk)
    await node.start()
    yield node
    await node.kill()


async def publish_until_full(node: Nsqd) -> int:
    """Publish until it is refused; how many were acknowledged."""
    for count in range(DISK_BYTES // len(BODY)):
        status, answer = await node.request("POST", "/pub?topic=t", BODY)
        if status != 200:
            assert (status, answer) == (503, b'{"message":"EXITING"}')
            return count
    raise AssertionError("the disk took more than it holds")


async def is_well(node: Nsqd) -> bool:
    return await node.request("GET", "/ping") == (200, b"OK")


async def test_it_refuses_serves_recovers_and_forgets_nothing(disk: SmallDisk, node: Nsqd) -> None:
    await node.post("/topic/create?topic=t")
    for channel in ("read", "unread"):
        await node.post(f"/channel/create?topic=t&channel={channel}")
    count = await publish_until_full(node)
    assert count > 10
    assert await node.request("GET", "/ping") == (500, FULL.encode())
    assert (await node.get_json("/stats?format=json"))["health"] == FULL

    # What is little still fits, and makes nothing well.
    await node.post("/pub?topic=t", b"little")
    assert await node.request("GET", "/ping") == (500, FULL.encode())

    # What was acknowledged is delivered, and finished without room to note it.
    async with WireClient(node.tcp_address) as client:
        await client.subscribe("t", "read", 10)
        received = await client.drain(count + 1)
    assert [message.body for message in received] == [*[BODY] * count, b"little"]

    await disk.run("rm filler")
    await eventually(lambda: is_well(node), "it finds out by itself that there is room")
    await node.post("/pub?topic=t", b"after")

    await node.kill()
    await node.start()
    for channel, left in (("unread", count + 2), ("read", 1)):
        async with WireClient(node.tcp_address) as client:
            await client.subscribe("t", channel, 10)
            received = await client.drain(left)
            assert received[-1].body == b"after"
            received += await client.receive_until_quiet(0.3)
        assert len(received) == left, channel
    (topic,) = (await node.get_json("/stats?format=json"))["topics"]
    assert "damage" not in topic


async def test_it_starts_on_a_full_disk_and_what_it_has_is_drained(
    disk: SmallDisk, node: Nsqd
) -> None:
    await node.post("/topic/create?topic=t")
    await node.post("/channel/create?topic=t&channel=read")
    count = await publish_until_full(node)
    await node.kill()
    await disk.run("cat /dev/zero > brim 2>/dev/null || true")
    await node.start()
    async with WireClient(node.tcp_address) as client:
        await client.subscribe("t", "read", 10)
        assert [message.body for message in await client.drain(count)] == [BODY] * count
    status, answer = await node.request("POST", "/pub?topic=t", BODY)
    assert (status, answer) != (200, b"OK")
    await disk.run("rm filler brim")
    await eventually(lambda: is_well(node), "it finds out by itself that there is room")
    await node.post("/pub?topic=t", b"after")
