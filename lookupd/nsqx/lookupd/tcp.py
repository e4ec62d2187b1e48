"""
The TCP side of nsqlookupd: carries bytes between sockets and sessions, decides nothing.

An nsqd that is idle stays connected for ever, as in NSQ; TCP keep-alive finds the ones whose
machine is gone. Who has not identified itself has a minute, and makes room for others when there
are too many connections; no address may have more than its share.

Each connection has its turn: so many bytes are executed of one, then everybody else is served, and
until its rest is done it is not read. So one that sends without end slows down itself.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import cast

from nsqx.lookupd.limits import CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, STRANGERS_MAX
from nsqx.lookupd.session import Session
from nsqx.net.acceptor import Acceptor
from nsqx.net.addresses import remove_socket_file, serve, socket_text
from nsqx.net.host_port import host_of
from nsqx.runtime.process import logs

__all__ = ["Connection", "TcpServer"]

# Some 500 short commands, which take a millisecond or two.
TURN_BYTES = 8 * 1024

RECEIVE_BUFFER_BYTES = 64 * 1024
IDENTIFY_S = 60.0  # until IDENTIFY

_log = logs.get_logger("TCP")


class Connection(asyncio.Protocol):
    """One connection of an nsqd."""

    transport: asyncio.Transport
    session: Session

    def __init__(self, server: "TcpServer") -> None:
        self._server = server
        self._waiting = b""  # received and not executed yet; nothing is read meanwhile
        self._is_writable = True
        self._host = ""
        self._timer: asyncio.TimerHandle | None = None  # until IDENTIFY

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's have another base
        remote_address = socket_text(transport.get_extra_info("peername"))
        self.session = self._server.make_session(remote_address)
        self._host = host_of(remote_address)
        self._timer = asyncio.get_running_loop().call_later(
            self._server.identify_s, self.transport.abort
        )
        self._server.add(self, self._host)
        _log.info("new client(%s)", remote_address)
        if self._server.is_stopping:  # accepted just before the listener was closed
            self.transport.abort()
        elif reason := self._server.reason_to_refuse(self._host):
            self._write(self.session.refuse(reason))

    def connection_lost(self, exc: Exception | None) -> None:
        # Called exactly once, however the connection ends: the only place that cleans up.
        self._introduced()
        self._server.remove(self, self._host)
        node, reason = self._node(), self._end_reason(exc)
        self.session.close()
        _log.info("client(%s) closed - %s", self.session.remote_address, reason, **node)

    def _node(self) -> dict[str, str]:
        """Return what the log says of who it was."""
        producer = self.session.producer
        return {} if producer is None else {"node": producer.node}

    def _end_reason(self, error: Exception | None) -> str:
        if self.session.error is not None:
            return self.session.error.line.decode(errors="replace")
        if self._server.is_stopping:
            return "nsqlookupd stops"
        return str(error) if error is not None else "the client closed"

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
        if self._timer is not None and self.session.producer is not None:
            self._introduced()
        if self.session.is_over:
            self._waiting = b""
        elif self._waiting and self._is_writable:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _introduced(self) -> None:
        """It has said who it is, or is gone: there is no hurry any more."""
        self._server.strangers.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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
        connections_per_address_max: int = CONNECTIONS_PER_ADDRESS_MAX,
        identify_s: float = IDENTIFY_S,
    ) -> None:
        """``make_session`` gets the peer's ip:port; ``clock`` returns nanoseconds."""
        self.make_session = make_session
        self.clock = clock
        self.connections_max = connections_max
        self.connections_per_address_max = connections_per_address_max
        self.identify_s = identify_s
        self.connections: set[Connection] = set()
        self.strangers: dict[Connection, None] = {}  # not identified, the oldest first
        self._by_host: Counter[str] = Counter()
        self.is_stopping = False
        self._acceptor: Acceptor | None = None
        self._listener: socket.socket | None = None

    def add(self, connection: Connection, host: str) -> None:
        """Count a new connection; if there are too many, the oldest stranger makes room."""
        is_full = len(self.connections) >= self.connections_max
        if self.strangers and (is_full or len(self.strangers) >= STRANGERS_MAX):
            next(iter(self.strangers)).transport.abort()
        self.connections.add(connection)
        self.strangers[connection] = None
        self._by_host[host] += 1

    def remove(self, connection: Connection, host: str) -> None:
        """Count it no more."""
        self.connections.discard(connection)
        self._by_host[host] -= 1
        if not self._by_host[host]:
            del self._by_host[host]

    def reason_to_refuse(self, host: str) -> str:
        """Return why the connection that was added last is one too many, or ``""``."""
        if self._by_host[host] > self.connections_per_address_max:
            limit = self.connections_per_address_max
            return f"too many connections of one address, limit {limit}"
        # Those that were just aborted are still counted.
        leaving = sum(each.transport.is_closing() for each in self.strangers)
        if len(self.connections) - leaving > self.connections_max:
            return f"too many connections, limit {self.connections_max}"
        return ""

    async def start(
        self, listener: socket.socket, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        """Accept from a bound socket until ``stop`` closes it; with a context, TLS only."""
        self._listener = listener
        # Connections inherit it: of so many at once each hands over so much at a time.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.is_stopping = False
        self._acceptor = serve(lambda: Connection(self), listener, ssl_context)

    async def stop(self) -> None:
        """Stop accepting and drop all connections; an nsqd notices and comes back."""
        assert self._acceptor is not None
        assert self._listener is not None
        self.is_stopping = True
        remove_socket_file(self._listener)
        await self._acceptor.close()
        for connection in list(self.connections):
            connection.transport.abort()
        while self.connections:  # noqa: ASYNC110 - each is told its end in the next turn
            await asyncio.sleep(0)
