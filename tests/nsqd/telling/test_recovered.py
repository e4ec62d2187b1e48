"""What a start says of the data folder."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsqx.runtime.process import logs
from nsqx.runtime.process.levels import Level
from tests.support.node import running_node


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    output = io.StringIO()
    logs.setup("nsq", Level.INFO, "", output)
    yield output
    logs.setup("nsq", Level.INFO, "")


async def test_a_start_says_where_what_and_how_long(tmp_path: Path, output: io.StringIO) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/topic/create?topic=orders")
        await node.post("/channel/create?topic=orders&channel=archive")
        await node.post("/mpub?topic=orders", b"a\nb")
    assert "NSQ: recovered 0 topics and 0 channels, 0 messages waiting, in " in output.getvalue()
    output.seek(0)
    output.truncate()
    async with running_node(tmp_path):
        lines = output.getvalue().splitlines()
    assert any(line.endswith(f"NSQ: data path {tmp_path}") for line in lines)
    (line,) = [line for line in lines if "recovered" in line]
    assert "recovered 1 topic and 1 channel, 2 messages waiting, in " in line
    assert line.endswith("s: orders")


async def test_what_is_polled_is_no_line_while_it_succeeds(
    tmp_path: Path, output: io.StringIO
) -> None:
    async with running_node(tmp_path) as node:
        for path in ("/metrics", "/ping", "/stats?format=json"):
            await node.request("GET", path)
    asked = [line for line in output.getvalue().splitlines() if " GET " in line]
    assert len(asked) == 1
    assert "/stats" in asked[0]
