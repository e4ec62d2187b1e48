"""
``nsq_to_file`` as a process, with a real nsqd.

What it promises is that no message is lost, whatever ends it. So it is killed in the middle of its
work, again and again, and then every message must be in the files. What a file holds behind the
last sync may be torn; a torn line is no message.
"""

import asyncio
import gzip
import random
import signal
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from nsqx.client import Producer
from tests.support.commands import nsqx, running_nsqx
from tests.support.fork_server import Process
from tests.support.processes import Cluster, Nsqd, eventually, free_port
from tests.support.recording_servers import RecordingNsqd

KILLS = 20
MESSAGES = 100_000
# What a killed process had in flight is delivered again after this.
AFTER_A_KILL = "--msg-timeout=2s"
LOOK_SECONDS = 0.001  # how often the size of the files is looked at


@asynccontextmanager
async def to_file(node: Nsqd, folder: Path, *flags: str) -> AsyncIterator[Process]:
    addresses = [f"--nsqd-tcp-address={node.tcp_address}", f"--output-dir={folder}"]
    async with running_nsqx("to-file", "--topic=t", *addresses, *flags) as process:
        yield process


async def stop(process: Process) -> None:
    """End it as an operator does."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        _, log = await process.communicate()
    assert process.returncode == 0, log.decode()


async def publish(node: Nsqd, *bodies: bytes) -> None:
    await node.post("/mpub?topic=t", b"\n".join(bodies))


async def channel_stats(node: Nsqd) -> dict[str, int]:
    stats = await node.get_json("/stats?format=json&topic=t&channel=nsq_to_file")
    channels = [channel for topic in stats["topics"] for channel in topic["channels"]]
    return channels[0] if channels else {"depth": -1, "in_flight_count": -1}


async def until_in_flight(node: Nsqd, count: int) -> None:
    async def are_in_flight() -> bool:
        return (await channel_stats(node))["in_flight_count"] == count

    await eventually(are_in_flight, f"{count} messages are in flight")


async def until_taken(node: Nsqd) -> None:
    async def are_taken() -> bool:
        stats = await channel_stats(node)
        return stats["depth"] == 0 == stats["deferred_count"] and stats["in_flight_count"] < 200

    await eventually(are_taken, "nsqd has delivered everything", 60)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


# --- no loss ---


def distinct_messages(count: int, source: random.Random) -> Iterator[bytes]:
    """Now and then one that is long enough to be torn by a kill, and none that compresses well."""
    for number in range(count):
        length = source.randrange(10_000, 30_000) if source.random() < 0.002 else 20
        yield b"%d:%s" % (number, source.randbytes(length).hex().encode())


def size_of(folder: Path) -> int:
    """Of all files; one that is moved meanwhile counts at the next look."""
    size = 0
    for path in folder.rglob("*.log*"):
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


async def until_written(process: Process, folder: Path, size: int) -> None:
    """Return when there is so much in the files; any moment will do, it should only be random."""
    async with asyncio.timeout(60):
        while size_of(folder) < size and process.returncode is None:  # noqa: ASYNC110 - a file
            await asyncio.sleep(LOOK_SECONDS)


async def kill_at(sizes: list[int], node: Nsqd, folder: Path, output: Path, *flags: str) -> None:
    """Start it and kill it, each time when there is so much in the files below ``folder``."""
    for size in sorted(sizes):
        async with to_file(node, output, *flags) as process:
            await until_written(process, folder, size)
            assert process.returncode is None, "it ended by itself"
            process.kill()
            await process.communicate()


@pytest.mark.timeout(240)
async def test_every_message_is_in_the_files_after_20_kills(
    cluster: Cluster, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown if the test fails
    source = random.Random(seed)
    node = await cluster.nsqd(AFTER_A_KILL)
    bodies = list(distinct_messages(MESSAGES, source))
    async with Producer(node.tcp_address) as producer:
        assert await producer.publish_many("t", bodies) == MESSAGES
    folder = tmp_path / "files"
    folder.mkdir()
    total = sum(len(body) + 1 for body in bodies)
    sizes = [source.randrange(total) for _ in range(KILLS)]
    await kill_at(sizes, node, folder, folder)
    async with to_file(node, folder) as process:
        await until_taken(node)
        await stop(process)
    lines = b"".join(contents(folder).values()).split(b"\n")
    assert not set(bodies) - set(lines)
    stats = await channel_stats(node)
    assert (stats["depth"], stats["in_flight_count"]) == (0, 0)
    # Only what was not synced at a kill came again.
    assert len(lines) < MESSAGES + (KILLS + 1) * 400


@pytest.mark.timeout(240)
async def test_every_message_is_in_compressed_files_of_a_work_folder_after_kills(
    cluster: Cluster, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown if the test fails
    source = random.Random(seed)
    node = await cluster.nsqd(AFTER_A_KILL)
    bodies = list(distinct_messages(20_000, source))
    async with Producer(node.tcp_address) as producer:
        assert await producer.publish_many("t", bodies) == len(bodies)
    folder = tmp_path / "files"
    output, work = folder / "out", folder / "work"
    output.mkdir(parents=True)
    flags = ["--gzip", "--gzip-level=1", f"--work-dir={work}", "--rotate-size=200000"]
    # Hexadecimal digits are compressed to somewhat more than half.
    sizes = [source.randrange(sum(map(len, bodies)) // 2) for _ in range(5)]
    await kill_at(sizes, node, folder, output, *flags)
    async with to_file(node, output, *flags) as process:
        await until_taken(node)
        await stop(process)
    found = [*contents(output).values(), *contents(work).values()]
    lines = [line for data in found for line in b"".join(members(data)).split(b"\n")]
    assert not set(bodies) - set(lines)


def members(data: bytes) -> Iterator[bytes]:
    """Decompress one gzip member after another, the torn one at the end as far as it goes."""
    while data:
        decompressor = zlib.decompressobj(31)
        yield decompressor.decompress(data)
        data = decompressor.unused_data


async def test_messages_are_not_finished_before_they_are_synced(
    cluster: Cluster, tmp_path: Path
) -> None:
    node = await cluster.nsqd()
    await publish(node, b"one", b"two")
    async with to_file(node, tmp_path / "out") as process:
        await until_in_flight(node, 2)
        assert (await channel_stats(node))["in_flight_count"] == 2
        await stop(process)
    assert (await channel_stats(node))["in_flight_count"] == 0


async def test_a_disk_that_fails_ends_it_and_gives_the_messages_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    node = await cluster.nsqd()
    await publish(node, b"one", b"two")
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    async with to_file(node, in_the_way) as process, asyncio.timeout(30):
        _, log = await process.communicate()
    assert process.returncode == 1
    assert b"FATAL: " in log
    stats = await channel_stats(node)
    assert (stats["depth"], stats["in_flight_count"]) == (2, 0)


async def test_no_number_of_failures_makes_it_give_up(cluster: Cluster, tmp_path: Path) -> None:
    node = await cluster.nsqd()
    await publish(node, b"one")
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    for _ in range(6):  # a service manager starts it again; NSQ's client gives up after 5 attempts
        async with to_file(node, in_the_way) as process, asyncio.timeout(30):
            await process.communicate()
    async with to_file(node, tmp_path / "out", "--filename-format=f") as process:
        await until_in_flight(node, 1)
        await stop(process)
    assert contents(tmp_path / "out") == {"f": b"one\n"}


async def test_it_gives_up_if_it_is_told_to(tmp_path: Path) -> None:
    flags = (f"--output-dir={tmp_path}", "--consumer-opt=max_attempts,1")
    with RecordingNsqd(attempts=2) as nsqd:
        address = f"--nsqd-tcp-address={nsqd.address}"
        async with running_nsqx("to-file", "--topic=t", address, *flags) as process:
            await asyncio.to_thread(nsqd.wait_for, "FIN")
            await stop(process)
    assert contents(tmp_path) == {}


# --- everyday work ---


async def test_a_full_batch_is_synced_at_once(cluster: Cluster, tmp_path: Path) -> None:
    node = await cluster.nsqd()
    await publish(node, *(b"%d" % number for number in range(10)))
    async with to_file(node, tmp_path, "--max-in-flight=10", "--filename-format=f") as process:

        async def are_finished() -> bool:
            stats = await channel_stats(node)
            return stats["depth"] == 0 == stats["in_flight_count"]

        await eventually(are_finished, "the messages are finished")
        assert (tmp_path / "f").read_bytes().split() == [b"%d" % number for number in range(10)]
        await stop(process)


async def test_the_sync_interval_finishes_what_is_pending(cluster: Cluster, tmp_path: Path) -> None:
    node = await cluster.nsqd()
    await publish(node, b"one")
    async with to_file(node, tmp_path, "--sync-interval=50ms") as process:

        async def is_finished() -> bool:
            stats = await channel_stats(node)
            return stats["depth"] == 0 == stats["in_flight_count"]

        await eventually(is_finished, "the message is finished")
        await stop(process)


async def test_sighup_closes_the_file(cluster: Cluster, tmp_path: Path) -> None:
    node = await cluster.nsqd()
    await publish(node, b"one")
    flags = ["--filename-format=<TOPIC><REV>.log", "--rotate-size=1000"]
    async with to_file(node, tmp_path, *flags) as process:
        await until_in_flight(node, 1)
        process.send_signal(signal.SIGHUP)
        await until_in_flight(node, 0)
        await publish(node, b"after")
        await until_in_flight(node, 1)
        await stop(process)
    assert contents(tmp_path) == {"t-000000.log": b"one\n", "t-000001.log": b"after\n"}


async def test_gzip(cluster: Cluster, tmp_path: Path) -> None:
    node = await cluster.nsqd()
    await publish(node, b"one", b"two")
    flags = ["--gzip", "--filename-format=<TOPIC><REV>.log"]
    async with to_file(node, tmp_path, *flags) as process:
        await until_in_flight(node, 2)
        await stop(process)
    (name,) = contents(tmp_path)
    assert name == "t-000000.log.gz"
    assert gzip.decompress((tmp_path / name).read_bytes()) == b"one\ntwo\n"


async def test_topics_are_found_by_a_pattern_also_those_that_come_later(
    cluster: Cluster, tmp_path: Path
) -> None:
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd(lookupds=[lookupd])
    await node.post("/pub?topic=log_a", b"a")
    await node.post("/pub?topic=other", b"no")
    flags = [
        "--topic-pattern=^log",
        "--topic-refresh=50ms",
        "--sync-interval=50ms",
        "--filename-format=<TOPIC>",
        f"--lookupd-http-address={lookupd.http_address}",
        f"--output-dir={tmp_path / 'out'}",
    ]
    (tmp_path / "out").mkdir()
    async with running_nsqx("to-file", *flags) as process:

        async def are_written(expected: dict[str, bytes]) -> bool:
            return contents(tmp_path / "out") == expected

        await eventually(lambda: are_written({"log_a": b"a\n"}), "the first topic is written")
        await node.post("/pub?topic=log_b", b"b")
        await eventually(
            lambda: are_written({"log_a": b"a\n", "log_b": b"b\n"}), "the new topic is written"
        )
        await stop(process)


async def test_an_nsqd_that_is_not_there_ends_it(tmp_path: Path) -> None:
    port = free_port()
    done = await nsqx("to-file", "--topic=t", f"--nsqd-tcp-address=127.0.0.1:{port}")
    assert done.code == 1
    assert "connection refused" in done.err
