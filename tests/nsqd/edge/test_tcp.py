"""Limits of connections, on real sockets."""

import asyncio
from pathlib import Path

import pytest

from tests.support.node import running_node


async def _answer(port: int, command: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"  V2" + command)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer[8:]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_connections": 1}, b"E_INVALID too many connections, limit 1"),
        (
            {"max_connections_per_address": 1},
            b"E_INVALID too many connections of one address, limit 1",
        ),
    ],
)
async def test_a_client_too_many_is_told_so_and_those_before_stay(
    tmp_path: Path, options: dict[str, int], reason: bytes
) -> None:
    async with running_node(tmp_path, **options) as node:
        first_reader, first = await asyncio.open_connection("127.0.0.1", node.nsqd.tcp_port)
        first.write(b"  V2PUB t\n\x00\x00\x00\x01x")
        assert await first_reader.readexactly(10) == b"\x00\x00\x00\x06\x00\x00\x00\x00OK"
        assert await _answer(node.nsqd.tcp_port, b"NOP\n") == reason
        first.write(b"PUB t\n\x00\x00\x00\x01x")
        assert await first_reader.readexactly(10) == b"\x00\x00\x00\x06\x00\x00\x00\x00OK"
        first.close()
        await first.wait_closed()
