"""
The TCP side of nsqlookupd: carries bytes between sockets and sessions, decides nothing.

There are no deadlines: an idle nsqd stays connected for ever, as in NSQ. TCP keep-alive finds the
ones whose machine is gone.

Each connection has its turn: so many bytes are executed of one, then everybody else is served, and
until its rest is done it is not read. So one that sends without end slows down itself.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import cast

from nsqx.lookupd.session import Session
from nsqx.net.addresses import remove_socket_file, serve, socket_text, stop_serving
from nsqx.runtime.process import logs

__all__ = ["Connection", "TcpServer"]

# Some 500 short commands, which take a millisecond or two.
TURN_BYTES = 8 * 1024

CONNECTIONS_MAX = 10_000  # each nsqd has one

_log = logs.get_logger("TCP")


class Connection(asyncio.Protocol):
    """One connection of an nsqd."""

    transport: asyncio.Transport
    session: Session

    def __init__(self, server: "TcpServer") -> None:
        self._server = server
        self._waiting = b""  # received and not executed yet; nothing is read meanwhile
        self._is_writable = True

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's have another base
        remote_address = socket_text(transport.get_extra_info("peername"))
        self.session = self._server.make_session(remote_address)
        self._server.connections.add(self)
        if self._server.is_stopping:  # accepted just before the listener was closed
            self.transport.abort()
        elif len(self._server.connections) > self._server.connections_max:
            reason = f"too many connections, limit {self._server.connections_max}"
            self._write(self.session.refuse(reason))
        _log.info("new client(%s)", remote_address)

    def connection_lost(self, exc: Exception | None) -> None:
        # Called exactly once, however the connection ends: the only place that cleans up.
        self._server.connections.discard(self)
        self.session.close()
        _log.info("client(%s) closed", self.session.remote_address)

    # Data

    def data_received(self, data: bytes) -> None:
        """Execute the requests in this read as one batch, and answer with one write."""
        if self._waiting:  # asyncio may have had some more at hand when it was told to stop
            self._waiting += data
        else:
            self._take_turn(data)

    def _take_turn(self, data: bytes) -> None:
        self._waiting = data[TURN_BYTES:]
        self._write(self.session.receive_data(data[:TURN_BYTES], self._server.clock()))
        if self._waiting and self._is_writable:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Execute what waits, as far as it is this connection's turn."""
        if self.session.is_over:
            self._waiting = b""
        elif self._is_writable:
            self._take_turn(self._waiting)
            self._read_on()

    def _read_on(self) -> None:
        if self._is_writable and not self._waiting and not self.session.is_over:
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        now_ns = self._server.clock()
        waiting, self._waiting = self._waiting, b""
        self._write(self.session.receive_data(waiting, now_ns))
        self._write(self.session.receive_eof(now_ns))
        return False  # asyncio sends what is left and closes

    def _write(self, output: bytes) -> None:
        if output:
            self.transport.write(output)
        if self.session.is_over:
            if self.session.error is not None:
                _log.error("[%s] %s", self.session.remote_address, self.session.error)
            self.transport.close()

    # Flow control

    def pause_writing(self) -> None:
        self._is_writable = False
        self.transport.pause_reading()  # no requests whose answers would pile up

    def resume_writing(self) -> None:
        self._is_writable = True
        if self._waiting:
            self._go_on()
        else:
            self._read_on()


class TcpServer:
    """Accepts connections until it is closed."""

    def __init__(
        self,
        make_session: Callable[[str], Session],
        clock: Callable[[], int],
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        """``make_session`` gets the peer's ip:port; ``clock`` returns nanoseconds."""
        self.make_session = make_session
        self.clock = clock
        self.connections_max = connections_max
        self.connections: set[Connection] = set()
        self.is_stopping = False
        self._acceptor: asyncio.AbstractServer | None = None
        self._listener: socket.socket | None = None

    async def start(
        self, listener: socket.socket, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        """Accept from a bound socket until ``stop`` closes it; with a context, TLS only."""
        self._listener = listener
        self.is_stopping = False
        self._acceptor = await serve(lambda: Connection(self), listener, ssl_context)

    async def stop(self) -> None:
        """Stop accepting and drop all connections; an nsqd notices and comes back."""
        assert self._acceptor is not None
        assert self._listener is not None
        self.is_stopping = True
        remove_socket_file(self._listener)
        await stop_serving(self._acceptor)
        for connection in list(self.connections):
            connection.transport.abort()
        await self._acceptor.wait_closed()
