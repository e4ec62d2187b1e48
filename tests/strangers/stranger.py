"""One stranger: connections from an address of its own, as many as it may have."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

__all__ = ["Behaviour", "Line", "Stranger"]

CONNECTIONS_MAX = 200
READ_BYTES = 65536
PAUSE_S = 0.2  # before a connection that was refused is tried again


class Line:
    """A connection. Errors of the other end are what a stranger expects."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read(self) -> bytes:
        """Return what comes; b"" at the end."""
        return await self.reader.read(READ_BYTES)

    async def read_all(self) -> None:
        """Return when the other end has closed."""
        while await self.read():
            pass


Behaviour = Callable[["Stranger"], Awaitable[None]]


class Stranger:
    """
    Where it aims, and from where.

    Attributes:
        ports: by name: ``nsqd``, ``nsqd-http``, ``lookupd``, ``lookupd-http``, ``admin``.
        opened: connections so far.
    """

    def __init__(self, host: str, ports: dict[str, int]) -> None:
        self.host = host
        self.ports = ports
        self.opened = 0

    @contextlib.asynccontextmanager
    async def line(self, port: str):  # type: ignore[no-untyped-def]  # a Line
        """A connection to one of the ports."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.ports[port], local_addr=(self.host, 0)
        )
        self.opened += 1
        try:
            yield Line(reader, writer)
        finally:
            writer.transport.abort()

    async def many(
        self, port: str, talk: Callable[[Line], Awaitable[None]], count: int = CONNECTIONS_MAX
    ) -> None:
        """Have so many conversations at a time, until it is cancelled."""

        async def again() -> None:
            while True:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    async with self.line(port) as line:
                        await talk(line)
                await asyncio.sleep(PAUSE_S)

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(again())
