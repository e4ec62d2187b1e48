"""What the log says of a client that is gone."""

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nsqx.runtime.process import logs
from nsqx.runtime.process.levels import Level
from tests.support.node import Node, running_node


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    output = io.StringIO()
    logs.setup("json", Level.INFO, "", output)
    yield output
    logs.setup("nsq", Level.INFO, "")


async def closed(node: Node, output: io.StringIO) -> dict[str, Any]:
    """Return the line, once all connections are gone."""
    async with asyncio.timeout(10):
        while node.nsqd.tcp_server.connections:  # noqa: ASYNC110  # the log is all there is
            await asyncio.sleep(0)
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    (line,) = [line for line in lines if "closed - " in line["event"]]
    line["why"] = line["event"].partition(" closed - ")[2]
    return {key: value for key, value in line.items() if key not in ("time", "event")}


async def connect(node: Node, commands: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.nsqd.tcp_port)
    writer.write(b"  V2" + commands)
    await reader.readexactly(10)
    return reader, writer


async def test_who_subscribed_to_what_and_that_it_left(tmp_path: Path, output: io.StringIO) -> None:
    async with running_node(tmp_path) as node:
        body = b'{"client_id":"worker-3","user_agent":"me/1"}'
        identify = b"IDENTIFY\n" + len(body).to_bytes(4) + body
        reader, writer = await connect(node, identify + b"SUB orders archive\n")
        await reader.readexactly(10)
        writer.close()
        assert await closed(node, output) == {
            "level": "info",
            "logger": "TCP",
            "client_id": "worker-3",
            "user_agent": "me/1",
            "topic": "orders",
            "channel": "archive",
            "why": "the client closed",
        }


async def test_what_it_published_to_and_its_mistake(tmp_path: Path, output: io.StringIO) -> None:
    async with running_node(tmp_path) as node:
        _, writer = await connect(node, b"PUB orders\n\x00\x00\x00\x01xNONSENSE\n")
        line = await closed(node, output)
        assert line["published_to"] == "orders"
        assert line["why"].startswith("E_INVALID ")
        writer.close()


async def test_its_channel_was_deleted(tmp_path: Path, output: io.StringIO) -> None:
    async with running_node(tmp_path) as node:
        _, writer = await connect(node, b"SUB orders archive\n")
        await node.post("/channel/delete?topic=orders&channel=archive")
        line = await closed(node, output)
        assert (line["channel"], line["why"]) == ("archive", "its channel was deleted")
        writer.close()


async def test_the_node_stops(tmp_path: Path, output: io.StringIO) -> None:
    async with running_node(tmp_path) as node:
        _, writer = await connect(node, b"SUB orders archive\n")
    assert (await closed(node, output))["why"] == "nsqd stops"
    writer.close()
