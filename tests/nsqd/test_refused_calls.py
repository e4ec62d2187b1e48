"""
Real processes to which the system refuses a call: by a filter, or by what its file system can't.

There is another way, or it is said what is missing and the node serves what it can.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.processes import Nsqd
from tests.support.refused_calls import can_refuse, refusing
from tests.support.wire_client import WireClient

pytestmark = pytest.mark.skipif(not can_refuse(), reason="system calls of another machine")

BODY = b"x" * 1000


class RefusedNsqd(Nsqd):
    """A broker to which some calls are refused."""

    def __init__(self, folder: Path, calls: str, *flags: str) -> None:
        super().__init__("nsqd", folder, flags)
        self._calls = calls

    def command(self) -> list[str]:
        return [*refusing(self._calls), *super().command()]


@pytest.fixture
async def nodes() -> AsyncIterator[list[Nsqd]]:
    started: list[Nsqd] = []
    yield started
    for node in started:
        await node.kill()


async def started(nodes: list[Nsqd], node: RefusedNsqd) -> RefusedNsqd:
    nodes.append(node)
    await node.start()
    return node


async def made(node: Nsqd, topic: str) -> None:
    """Have the node make a topic with a channel."""
    await node.post(f"/topic/create?topic={topic}")
    await node.post(f"/channel/create?topic={topic}&channel=c")


def refused(folder: Path, calls: str, *flags: str) -> str:
    """Return the last line of a start that is refused."""
    command = [*refusing(calls), sys.executable, "-m", "nsqx.nsqd", f"--data-path={folder}"]
    done = subprocess.run(
        [*command, "--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 1, lines
    assert [line for line in lines if "FATAL" in line] == lines[-1:]
    return lines[-1]


@pytest.mark.parametrize("error", ["EPERM", "EINVAL", "ENOSYS"])
async def test_a_backlog_is_delivered_where_reads_without_waiting_are_refused(
    nodes: list[Nsqd], tmp_path: Path, error: str
) -> None:
    node = await started(nodes, RefusedNsqd(tmp_path, f"preadv2={error}", "--memory-limit=100000"))
    await made(node, "t")
    for _ in range(5):
        await node.post("/mpub?topic=t", b"\n".join([BODY] * 100))
    await node.kill()
    await node.start()
    async with WireClient(node.tcp_address) as client:  # all of it is behind what is in memory
        await client.subscribe("t", "c", 10)
        assert len(await client.drain(500)) == 500
    assert await node.get("/ping") == (200, b"OK")
    assert "\n".join(node.log).count("reads that do not wait are refused") == 1


async def test_a_folder_that_can_not_be_synced_is_said_and_serves(
    nodes: list[Nsqd], tmp_path: Path
) -> None:
    """File systems in user space often can't. Files are synced by another call."""
    node = await started(nodes, RefusedNsqd(tmp_path, "fsync=EINVAL"))
    await made(node, "t")
    await node.post("/pub?topic=t", BODY)
    assert await node.get("/ping") == (200, b"OK")
    assert f"names in {tmp_path} can't be synced (Invalid argument)" in "\n".join(node.log)
    await node.post("/channel/delete?topic=t&channel=c")
    await node.post("/topic/settings?topic=t&durability=fsync")
    status, answer = await node.request("GET", "/ping")
    assert status == 500, "that is more than it can promise"
    assert b"can't be synced" in answer


def test_a_folder_that_can_not_be_synced_is_no_place_for_fsync(tmp_path: Path) -> None:
    line = refused(tmp_path, "fsync=EINVAL", "--durability=fsync")
    assert f"names in {tmp_path} can't be synced" in line
    assert "choose another file system" in line


def test_a_folder_that_fails_to_be_synced_is_named(tmp_path: Path) -> None:
    line = refused(tmp_path, "fsync=EIO")
    assert str(tmp_path) in line
    assert "check the disk" in line


def test_a_file_system_without_locks_is_named(tmp_path: Path) -> None:
    line = refused(tmp_path, "flock=ENOLCK")
    assert f"{tmp_path}: No locks available" in line
    assert "choose a folder on a local disk" in line
    assert list(tmp_path.iterdir()) == []


async def test_what_is_refused_does_not_grow_the_log(nodes: list[Nsqd], tmp_path: Path) -> None:
    node = await started(nodes, RefusedNsqd(tmp_path, "fsync=EINVAL,preadv2=EPERM"))
    for number in range(5):
        await made(node, f"t{number}")
        await node.post(f"/topic/delete?topic=t{number}")
    await asyncio.gather(*(node.get("/ping") for _ in range(5)))
    assert "\n".join(node.log).count("can't be synced") == 1
