"""A TCP proxy between clients and a broker, that cuts and stalls what goes through it."""

import asyncio
import struct
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET

__all__ = ["Proxy"]

READ_BYTES = 64 * 1024

_NO_LINGER = struct.pack("ii", 1, 0)  # so that the other side is told by a reset


class Proxy:
    """
    Listens on a port of its own and forwards both ways.

    While it is stalled, connections stay open and nothing passes, as when a network is gone.

    Attributes:
        target_port: of 127.0.0.1; may be set later, for who has to know the proxy's port first.
    """

    def __init__(self, target_port: int = 0) -> None:
        self.port = 0
        self.target_port = target_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End all connections, and listen no more."""
        self._server.close()
        self._flows.set()
        self.cut()
        await asyncio.gather(*self._connections)

    def cut(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            with suppress(OSError):  # it has just been closed
                writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _NO_LINGER)
            writer.transport.abort()

    def stall(self, is_stalled: bool) -> None:
        """Let nothing pass, or all again."""
        (self._flows.clear if is_stalled else self._flows.set)()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._connect(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(back)
        await asyncio.gather(self._forward(reader, back), self._forward(there, writer))
        self._writers -= {writer, back}
        for each in (writer, back):
            with suppress(OSError):
                await each.wait_closed()

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(READ_BYTES):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
        # Whichever side ends, the connection is over.
        sink.transport.abort()
