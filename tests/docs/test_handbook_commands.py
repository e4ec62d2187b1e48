"""What the handbook tells operators to type is typed, at a real node."""

import asyncio
import os
import re
import shlex
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from nsqx.net.addresses import bind_shared
from tests.support.processes import Cluster, Daemon, Lookupd, Nsqd, eventually
from tests.support.terminal import Terminal, steps

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def section(title: str) -> list[str]:
    """The shell blocks below a heading."""
    (text,) = re.findall(rf"^## {title}\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    return [command for _, command, _ in steps(text)]


class Host:
    """A node, its directory and a terminal beside them."""

    def __init__(self, cluster: Cluster, lookupd: Lookupd, node: Nsqd) -> None:
        self.cluster = cluster
        self.lookupd = lookupd
        self.node = node
        self.terminal = Terminal(cluster.folder)
        (cluster.folder / "backup").mkdir()
        self.terminal.real = {
            "node:4151": node.http_address,
            "directory:4161": lookupd.http_address,
            "/var/lib/nsqx": str(cluster.folder),
            "/backup": str(cluster.folder / "backup"),
            "nsqd-1": node.name,
        }

    async def run(self, command: str) -> str:
        return await self.terminal.run(command)

    def asks_for_restarts(self) -> Path:
        """Have the page's command write this file, and wait until the test has removed it."""
        asked, script = self.cluster.folder / "asked", self.cluster.folder / "restart"
        script.write_text(f"touch {asked}; while test -e {asked}; do sleep 0.02; done\n")
        self.terminal.real["ssh {host} systemctl restart nsqd@1"] = f"sh {script}"
        return asked

    async def consume(self, count: int) -> list[str]:
        """Take messages of the channel ``billing`` of ``orders``, and finish them."""
        tail = f"nsqx tail orders --channel billing --nsqd {self.node.tcp_address} -n {count}"
        return (await self.run(tail)).splitlines()


@pytest.fixture
async def host(cluster: Cluster) -> Host:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd("--max-bytes-per-file=1000000", lookupds=[lookupd])
    await node.post("/topic/create?topic=orders")
    await node.post("/channel/create?topic=orders&channel=billing")
    for number in range(3):
        await node.post("/pub?topic=orders", str(number).encode())
    return Host(cluster, lookupd, node)


async def test_nodes_of_a_host_share_ports(cluster: Cluster) -> None:
    (start,) = section("Several nodes on a host")
    lookupd = await cluster.lookupd()
    with bind_shared("127.0.0.1:0", "") as tcp, bind_shared("127.0.0.1:0", "") as http:
        shared = [
            f"--{kind}-address=127.0.0.1:{each.getsockname()[1]}"
            for kind, each in (("tcp", tcp), ("http", http))
        ]
        for line in start.splitlines():
            program, *flags, _, _ = shlex.split(line)  # data path and directory are the test's
            assert program == "nsqd"
            here = [re.sub(r"=:\d+", "=127.0.0.1:0", flag) for flag in flags]
            await cluster.nsqd(*here, *shared, lookupds=[lookupd])
        _, *nodes = cluster.daemons
        for _ in range(64):
            await publish(http.getsockname()[1])
        shares = [await depth(each) for each in nodes]
        assert sum(shares) == 64
        assert all(shares)
        tail = f"nsqx tail orders --channel c --lookupd {lookupd.http_address} -n 64"
        assert len((await Terminal(cluster.folder).run(tail)).splitlines()) == 64


async def publish(port: int) -> None:
    """By HTTP, with a connection of its own."""
    url = f"http://127.0.0.1:{port}/pub?topic=orders"
    async with aiohttp.ClientSession() as session, session.post(url, data=b"x") as answer:
        assert answer.status == 200


async def depth(node: Daemon) -> int:
    (topic,) = (await node.get_json("/stats?format=json"))["topics"]
    return int(topic["depth"])


async def test_upgrade_and_emptying(host: Host) -> None:
    doctor, until_ready, roll, drain, undo = section("Upgrade, restart, move")
    with pytest.raises(AssertionError, match="doctor"):
        await host.run(doctor)  # messages wait, and nobody is there to read them
    async with idle_consumer(host.node):
        assert "All is well" in await host.run(doctor)
    assert await host.node.stop() == 0
    await host.node.start()
    assert await host.run(until_ready) == "OK"
    assert host.node.http_address.split(":")[1] in str(await lookup(host.lookupd))

    asked = host.asks_for_restarts()
    rolled, _ = await asyncio.gather(host.run(roll), restarted_when(asked, host.node))
    assert re.fullmatch(r"\S+: restarted in \S+ s, 3 waiting", rolled.strip())

    emptied, bodies = await asyncio.gather(host.run(drain), host.consume(3))
    assert bodies == ["0", "1", "2"]
    example = "empty; 0 waiting, 0 in flight, 0 deferred; hidden at 1 of 1 nsqlookupds"
    assert example in PAGE
    assert emptied.splitlines()[-1] == f"{host.node.http_address}: {example}"
    assert await lookup(host.lookupd) == []
    assert (await host.node.request("POST", "/pub?topic=orders", b"x"))[0] == 503
    await host.run(undo)
    await host.node.post("/pub?topic=orders", b"x")


async def restarted_when(asked: Path, node: Nsqd) -> None:
    async def is_asked() -> bool:
        return asked.name in os.listdir(asked.parent)

    await eventually(is_asked, "the command to restart it runs")
    await node.restart()
    os.unlink(asked)


@asynccontextmanager
async def idle_consumer(node: Nsqd) -> AsyncIterator[None]:
    """A consumer of the channel ``billing`` that takes nothing yet."""
    address, _, port = node.tcp_address.rpartition(":")
    reader, writer = await asyncio.open_connection(address, int(port))
    try:
        writer.write(b"  V2SUB orders billing\n")
        assert await reader.readexactly(10) == b"\0\0\0\6\0\0\0\0OK"
        yield
    finally:
        writer.close()


async def lookup(lookupd: Lookupd) -> object:
    return (await lookupd.get_json("/lookup?topic=orders"))["producers"]


async def test_backup_and_restore(host: Host) -> None:
    back_up, restore = section("Backup and restore")
    assert await host.consume(1) == ["0"]
    assert await host.node.stop() == 0
    await host.run(back_up)
    await host.node.start()
    assert await host.consume(2) == ["1", "2"]
    await host.node.stop()
    await host.run(restore)
    await host.node.start()
    assert await host.consume(2) == ["1", "2"]


async def test_what_to_look_at_and_to_do_when_the_disk_is_full(host: Host) -> None:
    look, find, act = section("When the disk is full")
    await host.node.post("/channel/create?topic=orders&channel=forgotten")
    said = await host.run(look)
    assert said.startswith("OK\n")
    assert 'nsqd_topic_log_bytes{topic="orders"}' in said
    assert "forgotten" in await host.run(find)
    await host.node.post("/topic/settings?topic=orders&retain_time=24h")
    for _ in range(2):
        await host.node.post("/pub?topic=orders", bytes(LARGE_BYTES))
    await host.node.post("/channel/empty?topic=orders&channel=billing")
    assert await log_bytes(host.node) > LARGE_BYTES
    await host.run(act)
    stats = await host.node.get_json("/stats?format=json&topic=orders")
    assert [each["channel_name"] for each in stats["topics"][0]["channels"]] == ["billing"]
    settings = await host.node.get_json("/topic/settings?topic=orders")
    assert settings["effective"]["retain_time"] == settings["effective"]["retain_bytes"] == 0
    # What it is all about: the disk is free again.
    async with asyncio.timeout(30):
        while await log_bytes(host.node) > LARGE_BYTES // 10:  # noqa: ASYNC110  # of a process
            await asyncio.sleep(0.1)


LARGE_BYTES = 1_000_000


async def log_bytes(node: Nsqd) -> int:
    """What a topic has on the disk."""
    metrics = (await node.get("/metrics"))[1].decode()
    (value,) = re.findall(r'^nsqd_topic_log_bytes\{topic="orders"\} (\S+)$', metrics, re.MULTILINE)
    return int(float(value))


async def test_recovery_from_a_damaged_list_of_topics(host: Host) -> None:
    (move_away,) = section("Recovery")
    await host.node.post("/channel/pause?topic=orders&channel=billing")
    await host.node.stop()
    damage(host.node)
    with pytest.raises(AssertionError, match=r"nsqd\.dat is damaged"):
        await host.node.start()
    assert (host.node.data_path / "nsqd.dat").read_bytes().startswith(b"{?")
    await host.run(move_away)
    await host.node.start()
    stats = await host.node.get_json("/stats?format=json&topic=orders")
    assert [each["paused"] for each in stats["topics"][0]["channels"]] == [True]
    await host.node.post("/channel/unpause?topic=orders&channel=billing")
    assert await host.consume(3) == ["0", "1", "2"]


def damage(node: Nsqd) -> None:
    (node.data_path / "nsqd.dat").write_bytes(b"{?")


async def test_the_level_of_the_log(host: Host) -> None:
    (change,) = section("Logs, metrics, probes")
    await host.run(change)
    assert await level(host.node) == "1"


async def level(daemon: Daemon) -> str:
    return (await daemon.get("/config/log_level"))[1].decode()


def test_every_block_of_commands_is_run() -> None:
    titles = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    run = (
        "Several nodes on a host",
        "Upgrade, restart, move",
        "Backup and restore",
        "When the disk is full",
        "Recovery",
        "Logs, metrics, probes",
    )
    assert sum(len(section(title)) for title in run) == len(steps(PAGE))
    assert set(run) < set(titles)
