"""``nsqx top`` as a process: what it prints where nobody watches, and how it ends."""

import asyncio
import json
import os
import pty
import signal
import sys

import pytest

from tests.support.commands import nsqx, running_nsqx
from tests.support.processes import Cluster, free_port


async def test_text_for_so_many_polls(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd(lookupds=[lookupd])
    await node.post("/pub?topic=orders", b"x")
    await node.post("/channel/create?topic=orders&channel=mail")
    flags = [f"--lookupd={lookupd.http_address}", "--interval=0.1", "-n2"]
    done = await nsqx("top", *flags)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("NSQD ") == done.out.count("TOPIC ") == 2
    assert done.out.count(node.http_address) == done.out.count("orders  mail") == 2


async def test_json_a_line_for_each_poll(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await node.post("/pub?topic=orders", b"x")
    flags = [f"--nsqd={node.http_address}", "--nsqd=127.0.0.1:1", "--interval=0.1", "-n2"]
    done = await nsqx("top", "--json", *flags)
    first, second = map(json.loads, done.out.splitlines())
    assert first["channels"][0]["in_per_second"] is None
    assert second["channels"][0]["in_per_second"] == 0
    down, up = sorted(second["nodes"], key=lambda each: each["address"] != "127.0.0.1:1")
    assert (bool(down["problem"]), up["problem"], up["depth"]) == (True, "", 1)


async def test_nobody_to_ask() -> None:
    done = await nsqx("top", f"--lookupd=127.0.0.1:{free_port()}")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("nsqx top: 127.0.0.1:")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_exit_code_0(cluster: Cluster, signum: int) -> None:
    node = await cluster.nsqd()
    async with running_nsqx("top", f"--nsqd={node.http_address}") as process:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            await process.stdout.readline()
            process.send_signal(signum)
            await process.communicate()
    assert process.returncode == 0


async def test_on_a_terminal_it_draws_a_screen(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await node.post("/pub?topic=orders", b"x")
    ours, theirs = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nsqx.apps", "top", f"--nsqd={node.http_address}"),
            *("-n2", "--interval=0.1"),
            stdout=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        )
        async with asyncio.timeout(20):
            assert await process.wait() == 0
        drawn = os.read(ours, 1 << 16)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"orders" in drawn
    assert b"\x1b[?1049h" in drawn  # the screen that goes away at the end
