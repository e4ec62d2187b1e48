"""``nsq_tail`` as a process: what NSQ's flags do, and what becomes of what was printed."""

import asyncio
import os
import signal
import sys

from tests.support.commands import nsqx, running_nsqx
from tests.support.processes import Cluster, Nsqd, eventually


async def publish(node: Nsqd, topic: str, *bodies: bytes) -> None:
    await node.post(f"/mpub?topic={topic}", b"\n".join(bodies))


async def channel_stats(node: Nsqd, topic: str) -> dict[str, int]:
    stats = await node.get_json(f"/stats?format=json&topic={topic}&channel=c")
    channels = [found for each in stats["topics"] or () for found in each["channels"]]
    return channels[0] if channels else {"in_flight_count": 0}


def flags(node: Nsqd, *topics: str) -> list[str]:
    named = [f"--topic={topic}" for topic in topics]
    return ["nsq-tail", "--channel=c", f"--nsqd-tcp-address={node.tcp_address}", *named]


async def test_n_counts_one_topic_and_finishes_what_was_printed(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, "t", b"1", b"2", b"3")
    await publish(node, "u", b"a")
    done = await nsqx(*flags(node, "t", "u"), "-n", "2", "--print-topic")
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line for line in lines if line.startswith("t")] == ["t | 1", "t | 2"]
    stats = await channel_stats(node, "t")
    assert (stats["depth"], stats["in_flight_count"]) == (1, 0)


async def test_a_closed_pipe_ends_it(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, "t", b"1")
    async with running_nsqx(*flags(node, "t")) as process, asyncio.timeout(30):
        assert process.stdout is not None
        assert await process.stdout.readline() == b"1\n"
        process.close_stdout()
        await publish(node, "t", b"2")
        assert await process.wait() == 1
    stats = await channel_stats(node, "t")
    assert (stats["depth"], stats["in_flight_count"]) == (1, 0)


async def test_a_signal_ends_it_also_when_nobody_reads(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, "t", *[b"x" * 1000] * 1000)
    ours, theirs = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nsqx.apps", *flags(node, "t")), stdout=theirs
        )

        async def is_blocked() -> bool:
            return (await channel_stats(node, "t"))["in_flight_count"] == 200

        await eventually(is_blocked, "all it may have is in flight")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        os.close(ours)
        os.close(theirs)
