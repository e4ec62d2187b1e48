"""A few seconds of chaos; `make chaos` runs it for minutes, with every fault."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.chaos.processes import free_port
from tests.chaos.proxy import Proxy


@pytest.mark.parametrize("fault", ["kill -9", "disk full, kill -9"])
def test_nothing_that_was_answered_ok_is_lost(fault: str) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--fault", fault, "--seconds", "3"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    row = finished.stdout.splitlines()[-1]
    _, _, times, _, acknowledged, delivered, _, lost, _ = (cell.strip() for cell in row.split("|"))
    assert int(times) > 0
    assert int(delivered) >= int(acknowledged) > 0
    assert lost == "0"


@asynccontextmanager
async def proxied_echo() -> AsyncIterator[tuple[Proxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, through a proxy, to a server that sends back what it gets."""
    port = free_port()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(100):
                writer.write(data)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    proxy = Proxy(port)
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield proxy, reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        await proxy.stop()
        await ended.wait()
        server.close()
        await server.wait_closed()


async def test_a_cut_resets_the_connection() -> None:
    async with proxied_echo() as (proxy, reader, writer):
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)


async def test_what_is_stalled_passes_later() -> None:
    async with proxied_echo() as (proxy, reader, writer):
        proxy.stall(True)
        writer.write(b"hello")
        answer = asyncio.create_task(reader.readexactly(5))
        done, _ = await asyncio.wait([answer], timeout=0.1)
        assert not done
        proxy.stall(False)
        assert await answer == b"hello"
