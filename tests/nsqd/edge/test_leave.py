"""How a node that stops takes leave: nothing that was begun is left unanswered, within its time."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from nsqx.protocol import commands
from nsqx.runtime.durations import SECOND_NS
from tests.support.node import Node, running_node


async def stopping(node: Node) -> None:
    """Wait until deliveries have ended."""
    while not node.nsqd.is_stopping:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)


async def test_what_clients_finish_while_it_stops_does_not_come_again(tmp_path: Path) -> None:
    async with running_node(tmp_path, drain_timeout=30 * SECOND_NS) as node:
        async with node.client() as client:
            await client.publish_many("t", [b"1", b"2", b"3"])
            await client.subscribe("t", "c", ready=2)
            held = await client.receive(2)
            stop = asyncio.create_task(node.nsqd.stop())
            await stopping(node)
            assert (await node.request("GET", "/readyz")) == (503, b"NOK - stopping")
            client.finish(held)
            assert await client.read() is False  # nothing more came, not even the third
        await stop
    async with running_node(tmp_path) as node, node.client() as client:
        await client.subscribe("t", "c", ready=3)
        assert [message.body for message in await client.receive(1)] == [b"3"]


async def test_clients_that_do_not_finish_hold_it_up_no_longer_than_told(tmp_path: Path) -> None:
    drain_ns = SECOND_NS // 10
    async with running_node(tmp_path, drain_timeout=drain_ns) as node, node.client() as client:
        await client.publish("t", b"1")
        await client.subscribe("t", "c", ready=1)
        await client.receive(1)
        async with asyncio.timeout(10):
            await node.nsqd.stop()
        assert await client.read() is False
    async with running_node(tmp_path) as node, node.client() as client:
        await client.subscribe("t", "c", ready=1)
        (again,) = await client.receive(1)
        assert again.attempts == 2


async def test_publish_that_waits_for_the_disk_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, may_end = asyncio.Event(), threading.Event()
    loop, fdatasync = asyncio.get_running_loop(), os.fdatasync

    def slow_sync(descriptor: int) -> None:
        loop.call_soon_threadsafe(began.set)
        may_end.wait(10)
        fdatasync(descriptor)

    async with running_node(tmp_path, durability="fsync") as node, node.client() as client:
        monkeypatch.setattr(os, "fdatasync", slow_sync)
        client.send(commands.pub("t", b"1"))
        await began.wait()
        stop = asyncio.create_task(node.nsqd.stop())
        await stopping(node)
        may_end.set()
        assert await client.response() == b"OK"
        await stop


async def test_no_connection_is_accepted_while_it_stops(tmp_path: Path) -> None:
    drain_ns = 30 * SECOND_NS
    async with running_node(tmp_path, drain_timeout=drain_ns) as node, node.client() as client:
        await client.publish("t", b"1")
        await client.subscribe("t", "c", ready=1)
        held = await client.receive(1)
        port = node.nsqd.tcp_port
        stop = asyncio.create_task(node.nsqd.stop())
        await stopping(node)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        client.finish(held)
        await stop
