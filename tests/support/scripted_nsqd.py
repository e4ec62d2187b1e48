"""
An nsqd that does what a test says, on a real socket.

It speaks through the server side of ``nsqx.protocol``, so what the client sends is judged by
the same parser that the broker uses; a test takes the commands one by one and plays the answers,
right or wrong, whole or in pieces::

    async with ScriptedNsqd() as nsqd:
        producer = Producer(nsqd.address)
        peer = await nsqd.accept()
        await peer.identify()
        await peer.expect(Publish)
        peer.ok()
"""

import asyncio
import json
import ssl
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from nsqx.protocol import commands, frames, messages
from nsqx.protocol.command_parser import CommandParser, Limits

__all__ = ["Peer", "ScriptedNsqd"]

WAIT_SECONDS = 10.0  # a test that waits longer has failed

CommandT = TypeVar("CommandT")


class Peer(asyncio.Protocol):
    """
    One connection, seen from nsqd.

    As nsqd does, it answers CLS, and closes when the client has; set ``answers_cls`` and
    ``keeps_open`` for one that does not.
    """

    def __init__(self, nsqd: "ScriptedNsqd") -> None:
        self.identify_request: dict[str, Any] = {}
        self.answers_cls = True
        self.keeps_open = False
        self.bytes_sent = 0
        self.cut_after = nsqd.next_is_cut_after  # bytes; None: never
        self.closed = asyncio.get_running_loop().create_future()
        self._nsqd = nsqd
        self._parser = CommandParser(Limits())
        self._commands: asyncio.Queue[commands.Command | None] = asyncio.Queue()

    # Taking

    async def next(self) -> commands.Command:
        """Return the next command; EOFError if the client has closed."""
        async with asyncio.timeout(WAIT_SECONDS):
            command = await self._commands.get()
        if command is None:
            raise EOFError
        return command

    async def expect(self, kind: type[CommandT]) -> CommandT:
        """Return the next command, which must be of this kind."""
        command = await self.next()
        assert isinstance(command, kind), f"expected {kind.__name__}, got {command}"
        return command

    async def expect_close(self) -> None:
        """Wait until the client has closed; what it sent before does not matter."""
        try:
            while True:
                await self.next()
        except EOFError:
            pass

    def _put(self, received: list[commands.Command]) -> None:
        for command in received:
            self._commands.put_nowait(command)
            if isinstance(command, commands.Close) and self.answers_cls:
                self.close_wait()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's have another base class
        self._nsqd.accepted(self)

    def data_received(self, data: bytes) -> None:
        self._put(self._parser.receive_data(data))

    def eof_received(self) -> bool:
        self._commands.put_nowait(None)
        return self.keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self._commands.put_nowait(None)
        self.closed.set_result(None)

    # Answering

    def send(self, data: bytes) -> None:
        """Send any bytes, and close in the middle of them if this connection is to be cut there."""
        if self.cut_after is not None:
            data = data[: self.cut_after - self.bytes_sent]
        self.bytes_sent += len(data)
        self.transport.write(data)
        if self.bytes_sent == self.cut_after:
            self.transport.close()

    def ok(self, count: int = 1) -> None:
        """Confirm so many commands."""
        self.send(frames.OK_FRAME * count)

    def error(self, line: bytes) -> None:
        """Send an error frame."""
        self.send(frames.encode_error(line))

    def heartbeat(self) -> None:
        """Send a heartbeat."""
        self.send(frames.HEARTBEAT_FRAME)

    def close_wait(self) -> None:
        """Confirm a CLS."""
        self.send(frames.CLOSE_WAIT_FRAME)

    def deliver(self, *bodies: bytes, first_id: int = 1, attempts: int = 1) -> None:
        """Send messages with consecutive ids."""
        for offset, body in enumerate(bodies):
            frame, _ = messages.encode_messages([body], first_id + offset, 1_700_000_000 * 10**9)
            self.send(bytes(messages.with_attempts(frame, attempts)))

    def disconnect(self) -> None:
        """Cut the connection; the client sees an error."""
        self.transport.abort()

    def close(self) -> None:
        """Close the connection in good order; the client sees its end."""
        self.transport.close()

    # Longer exchanges

    async def identify(self, **answer: object) -> None:
        """Take IDENTIFY and negotiate nothing, except what ``answer`` says."""
        command = await self.expect(commands.Identify)
        self.identify_request = json.loads(command.body)
        self._parser.returns_enabled = "nsqx_extensions" in answer
        fields = {"max_rdy_count": 2500, "version": "1.3.0", "msg_timeout": 60000, **answer}
        self.send(frames.encode_response(json.dumps(fields).encode()))
        self.resume()

    def resume(self) -> None:
        """Go on parsing behind an IDENTIFY."""
        self._put(self._parser.resume())

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Upgrade the connection, after an ``identify(tls_v1=True)``, and confirm."""
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(self.transport, self, context, server_side=True)
        assert transport is not None
        self.transport = transport
        self.ok()

    async def subscribe(self, **answer: object) -> None:
        """Take IDENTIFY and SUB, and confirm."""
        await self.identify(**answer)
        await self.expect(commands.Subscribe)
        self.ok()

    async def ready(self) -> int:
        """Take an RDY and return its count."""
        return (await self.expect(commands.Ready)).count

    async def finished(self) -> list[int]:
        """Take a run of FINs and return its ids."""
        return list((await self.expect(commands.FinishRun)).ids)


class ScriptedNsqd:
    """Listens on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.port = 0
        self.next_is_cut_after: int | None = None  # bytes, see `Peer.send`
        self._server: asyncio.Server | None = None
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._all_peers: list[Peer] = []

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    async def accept(self) -> Peer:
        """Wait for the next connection."""
        async with asyncio.timeout(WAIT_SECONDS):
            return await self._peers.get()

    async def stop(self) -> None:
        """Listen no more; connections stay."""
        assert self._server is not None
        self._server.close()

    async def start(self) -> None:
        """Listen, on the same port as before if it did."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Peer(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def accepted(self, peer: Peer) -> None:
        """Take note of a connection; only peers call this."""
        self._all_peers.append(peer)
        self._peers.put_nowait(peer)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
        for peer in self._all_peers:
            peer.disconnect()
        await asyncio.gather(*(peer.closed for peer in self._all_peers))
