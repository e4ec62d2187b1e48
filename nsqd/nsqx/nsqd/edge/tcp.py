"""
The TCP side: connections carry bytes between sockets and sessions, and decide nothing.

What happens to the bytes that come is a connection's stage:

    PLAIN ──start_tls───▶ HANDSHAKE ──it is over──▶ LAYERED     through TLS and compression
      ├──start_snappy, start_deflate──────────────▶ LAYERED
      └──close, from any stage──▶ CLOSING                       nobody reads them any more

A handshake and closing have a deadline of their own; else the session says when it wants to be
looked at (`Session.due_ns`).
"""

import asyncio
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import cast

from nsqx.net.addresses import socket_text
from nsqx.net.reading_turn import ReadingTurn
from nsqx.nsqd.core.broker import Broker
from nsqx.nsqd.core.session import Session, SessionSettings
from nsqx.nsqd.core.timers import Timers
from nsqx.nsqd.edge import farewell
from nsqx.nsqd.edge.busy_poll import BusyPoll
from nsqx.nsqd.edge.layers import CompressionLayer, Layer, TlsLayer
from nsqx.protocol.compression import (
    DeflateCompressor,
    DeflateDecompressor,
    SnappyCompressor,
    SnappyDecompressor,
)
from nsqx.protocol.errors import CompressionError, FatalProtocolError
from nsqx.runtime.process import logs, open_files

__all__ = ["Connection", "TcpServer"]

# Beyond this a consumer that does not read gets no more messages.
OUTPUT_BYTES_MAX = 1024 * 1024
# What one connection may have handed up in one turn of the loop: as much as one read of a socket.
FEED_BYTES = 256 * 1024
# A read of so much is followed by others in the same turn: libuv reads up to 32 times, 8 MB.
LONG_READ_BYTES = 128 * 1024
TLS_HANDSHAKE_NS = 5 * 10**9
# Connections that have not shown what they came for (`Session.is_admitted`), in all.
STRANGERS_MAX = 500
# How often they are all asked, at most, while so many come: a crowd costs 20 questions for each.
SWEEPS_PER_STRANGERS_MAX = 20
SCARCE_FILES_NS = 60 * 10**9  # between two lines that say so
CLOSE_NS = 5 * 10**9  # how long a closing connection may take to accept what is left

_log = logs.get_logger("TCP")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """
    How many clients there may be; more than these are refused. 0 is no limit.

    Attributes:
        turn_ns: for so long one that sends much is read in a turn of the loop, and to the end of
            the read that is under way.
    """

    in_all: int = 0
    per_host: int = 0
    turn_ns: int = 2_000_000

    def reason(self, in_all: int, of_host: int) -> str:
        """Return why one is too many, or ``""``."""
        if self.in_all and in_all > self.in_all:
            return f"too many connections, limit {self.in_all}"
        if self.per_host and of_host > self.per_host:
            return f"too many connections of one address, limit {self.per_host}"
        return ""


class Strangers:
    """
    Connections that may not have shown yet what they came for; they are asked when it matters.

    When there are too many, the newest of the address that has most of them goes: what is under
    way goes on, and others than that address notice nothing.
    """

    def __init__(self, most: int = STRANGERS_MAX) -> None:
        self._most = most
        self._by_host: dict[str, dict[Connection, None]] = {}
        self._count = 0
        self._unswept = 0  # were added since all were asked

    def add(self, connection: "Connection", host: str) -> None:
        """Count one, and have another one make room if there are too many."""
        self._by_host.setdefault(host, {})[connection] = None
        self._count += 1
        self._unswept += 1
        if self._count > self._most and self._unswept * SWEEPS_PER_STRANGERS_MAX >= self._most:
            self._sweep()
        while self._count > self._most:
            greatest = max(self._by_host, key=lambda each: len(self._by_host[each]))
            newest = next(reversed(self._by_host[greatest]))
            self.discard(newest, greatest)
            if newest.session.is_stranger:
                newest.make_room()

    def _sweep(self) -> None:
        """Count those no more that have shown it: else no client would get in beside as many."""
        self._unswept = 0
        for host, of_host in [*self._by_host.items()]:
            for connection in [*of_host]:
                if not connection.session.is_stranger:
                    self.discard(connection, host)

    def discard(self, connection: "Connection", host: str) -> None:
        """Count it no more. Fine if it is not counted."""
        of_host = self._by_host.get(host)
        if of_host is not None and connection in of_host:
            del of_host[connection]
            self._count -= 1
            if not of_host:
                del self._by_host[host]


class TcpServer:
    """Accepts clients, and keeps their connections."""

    def __init__(
        self,
        broker: Broker,
        settings: SessionSettings,
        *,
        ssl_context: ssl.SSLContext | None,
        busy_poll_ns: int,
        limits: ConnectionLimits | None = None,
    ) -> None:
        self.broker = broker
        self.settings = settings
        self.ssl_context = ssl_context
        self.limits = limits or ConnectionLimits()
        self.connections: set[Connection] = set()
        self.by_host: Counter[str] = Counter()
        self.strangers = Strangers()
        self.strangers_turn = ReadingTurn()
        self._scarce_said_ns: int | None = None
        self.deadlines: Timers[Connection] = Timers()
        self.busy_poll = BusyPoll(asyncio.get_running_loop(), busy_poll_ns)

    def reason_to_refuse(self, host: str, fd: int) -> str:
        """Return why a new connection is one too many, or ``""``."""
        if open_files.is_scarce(fd):
            self._say_scarce()
            return f"too many open files, limit {open_files.limit()}"
        return self.limits.reason(len(self.connections), self.by_host[host])

    def _say_scarce(self) -> None:
        now_ns = self.now_ns()
        if self._scarce_said_ns is None or now_ns - self._scarce_said_ns >= SCARCE_FILES_NS:
            self._scarce_said_ns = now_ns
            _log.error(
                "files run out: %d clients, limit of open files %d; new clients are refused, "
                "HTTP goes on - raise the limit (LimitNOFILE=, ulimit -n)",
                len(self.connections),
                open_files.limit(),
            )

    def make_connection(self) -> "Connection":
        """Return the protocol of a new connection."""
        return Connection(self)

    def now_ns(self) -> int:
        """Return the time by which deadlines are."""
        return self.broker.clock.monotonic()

    @property
    def next_ns(self) -> int:
        """See `Clients.next_ns`."""
        return self.deadlines.next_ns

    def tick(self) -> None:
        """See `Clients.tick`."""
        now_ns = self.now_ns()
        for connection in self.deadlines.take(now_ns):
            connection.tick(now_ns)

    @property
    def has_answered(self) -> bool:
        """Return whether no publish waits for its answer."""
        return not any(connection.session.is_unanswered for connection in self.connections)

    @property
    def is_idle(self) -> bool:
        """Return whether moreover no client has a message to finish."""
        return self.has_answered and not any(
            connection.session.holds_messages for connection in self.connections
        )

    def stop_deliveries(self) -> None:
        """Deliver nothing more to those that are connected."""
        for connection in self.connections:
            connection.session.stop_deliveries()

    def close_all(self) -> None:
        """End all connections, sending what was handed over."""
        for connection in list(self.connections):
            connection.session.end_reason = connection.session.end_reason or "nsqd stops"
            connection.close()

    def abort_all(self) -> None:
        """Break all connections, for tests of what clients do then."""
        for connection in list(self.connections):
            connection.abort()


class Stage(Enum):
    """What happens to the bytes that come."""

    PLAIN = "they are commands"
    HANDSHAKE = "they belong to a TLS handshake"
    LAYERED = "they become commands in the layers"
    CLOSING = "nobody reads them"


class Pause(Enum):
    """Why nothing is read."""

    FULL = "the socket takes no more of what is sent"
    HELD = "commands wait for something"
    TURN = "it has had its part of this turn of the loop, and there is more"
    STRANGERS = "those who have shown nothing have had theirs, and it is one of them"
    UNFED = "what was read before is not handed up yet"
    ENDED = "the client has ended its direction: read again, it would end once more"


# Looked at per read: the members of an enum take longer to find.
_PLAIN = Stage.PLAIN


class Connection(asyncio.Protocol):
    """A client's socket. Is its session's `SessionSink`."""

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self._busy_poll = server.busy_poll
        self._stage = Stage.PLAIN
        self._deadline_ns = 0  # of the stages HANDSHAKE and CLOSING
        self._layers: list[Layer] = []  # nearest to the socket first
        self._handshake: TlsLayer | None = None  # in the stage of that name
        # What has yet to be handed up, piece by piece; None is the end of what the client sends.
        self._unfed: deque[Iterator[bytes] | None] = deque()
        self._feeding: asyncio.Handle | None = None  # a call of `_feed` to come
        self._pauses: set[Pause] = set()  # it is read while this is empty
        self._turn_ends_ns = 0  # while there are long reads
        self._host = ""
        self._is_new = True  # until it is seen to have shown what it came for
        self._transport: asyncio.Transport
        self.session: Session

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        began_ns = time.monotonic_ns()
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=OUTPUT_BYTES_MAX)
        remote_address = socket_text(transport.get_extra_info("peername"))
        server = self._server
        self.session = Session(server.broker, server.settings, self, remote_address)
        server.connections.add(self)
        self._host = self.session.hostname
        server.by_host[self._host] += 1
        server.strangers.add(self, self._host)
        self.schedule()
        _log.info("new client(%s)", remote_address)
        reason = server.reason_to_refuse(self._host, transport.get_extra_info("socket").fileno())
        if reason:
            _log.warning("client(%s) refused - %s", remote_address, reason)
            self.session.fail(FatalProtocolError("E_INVALID", reason))
        self._spend(began_ns)

    def make_room(self) -> None:
        """End it: it has shown nothing, and there are too many of its kind."""
        reason = f"too many connections that have shown nothing, limit {STRANGERS_MAX}"
        _log.warning("client(%s) refused - %s", self.session.remote_address, reason)
        self.session.end_reason = reason
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called exactly once, however the connection ends: the only place that cleans up."""
        self._server.connections.discard(self)
        self._server.strangers.discard(self, self._host)
        self._server.by_host[self._host] -= 1
        if not self._server.by_host[self._host]:
            del self._server.by_host[self._host]
        self._server.deadlines.forget(self)
        session = self.session
        reason = farewell.reason(session, exc)
        session.closed()
        _log.info(
            "client(%s) closed - %s", session.remote_address, reason, **farewell.facts(session)
        )
        self._let_go()

    def _let_go(self) -> None:
        """
        Hold nothing any more, and end the circle of connection and session.

        Else all waits for Python's collector, which counts objects and sees no kilobytes.
        """
        self._layers.clear()
        self._unfed.clear()
        self._handshake = None
        if self._feeding is not None:
            self._feeding.cancel()
            self._feeding = None
        del self.session

    def tick(self, now_ns: int) -> None:
        """Do what is due by now, and say when to come back."""
        if self._stage is Stage.PLAIN or self._stage is Stage.LAYERED:
            self.session.tick(now_ns)
        elif now_ns < self._deadline_ns:
            pass
        elif self._stage is Stage.HANDSHAKE:
            self.session.tls_failed("TLS handshake timed out")
        else:
            self._transport.abort()
        self.schedule()

    def schedule(self) -> None:
        """See `SessionSink.schedule`."""
        if self not in self._server.connections:  # not yet, or no more
            return
        has_own = self._stage is Stage.HANDSHAKE or self._stage is Stage.CLOSING
        due_ns = self._deadline_ns if has_own else self.session.due_ns
        self._server.deadlines.set(self, due_ns)

    def _enter(self, stage: Stage, within_ns: int = 0) -> None:
        """Begin a stage, which is over when so much time has passed."""
        self._stage = stage
        self._deadline_ns = self._server.now_ns() + within_ns
        self.schedule()

    # Data

    def data_received(self, data: bytes) -> None:
        """Execute all that is in this read as one batch."""
        poll = self._busy_poll
        if poll.is_on:
            poll.active.add(self)
            poll.has_traffic = True
        elif poll.may_begin:
            poll.begin(self)
        if self._is_new:
            self._first_read(data)
        elif len(data) >= LONG_READ_BYTES:
            self._long_read(data)
        elif self._stage is _PLAIN:
            self.session.receive(data, time.monotonic_ns())
            if poll.is_on and len(poll.active) == 1:
                # Nobody else's publishes could come in this turn: waiting for its end costs 4 us.
                self._server.broker.flush()
        else:
            self._rise(data)

    def _first_read(self, data: bytes) -> None:
        """Execute what is in a read of one that may be a stranger."""
        began_ns = time.monotonic_ns()
        is_fed = self._stage is Stage.LAYERED
        self._long_read(data)
        if not is_fed:
            self._spend(began_ns)

    def _spend(self, began_ns: int) -> None:
        """Have strangers' turn pay for what was done since then, if it is one by now."""
        if self._transport.is_closing() or Pause.STRANGERS in self._pauses:
            return
        self._is_new = not self.session.is_admitted
        if self._is_new:
            self._server.strangers_turn.spend(self, time.monotonic_ns() - began_ns)

    def wait_for_turn(self) -> None:
        """See `Reader.wait_for_turn`."""
        self._pause(Pause.STRANGERS, True)

    def go_on(self) -> None:
        """See `Reader.go_on`."""
        self._pause(Pause.STRANGERS, False)
        if self._unfed:
            self._feed_soon()

    def _long_read(self, data: bytes) -> None:
        """Execute what is in a read that others follow at once, unless this turn is over for it."""
        now_ns = time.monotonic_ns()
        if not self._turn_ends_ns:
            self._turn_ends_ns = now_ns + self._server.limits.turn_ns
            asyncio.get_running_loop().call_soon(self._end_turn)
        if self._stage is _PLAIN:
            self.session.receive(data, now_ns)
        else:
            self._rise(data)
        if time.monotonic_ns() >= self._turn_ends_ns:
            self._pause(Pause.TURN, True)

    def _end_turn(self) -> None:
        self._turn_ends_ns = 0
        if Pause.TURN in self._pauses:
            self._pause(Pause.TURN, False)

    def _rise(self, data: bytes) -> None:
        """Hand up what comes while a layer is put in, or through layers."""
        if self._stage is Stage.HANDSHAKE:
            self._shake_hands(data)
        elif self._stage is Stage.LAYERED:
            self._unfed.append(self._pieces(data, 0))
            self._feed()

    def eof_received(self) -> bool:
        """The client ended its direction; the session closes when it has answered everything."""
        if self._stage is Stage.HANDSHAKE:
            self._transport.abort()
        else:
            self._pause(Pause.ENDED, True)
            self._unfed.append(None)
            self._feed()
        return True

    def _pieces(self, data: bytes, depth: int) -> Iterator[bytes]:
        """
        Yield what becomes of data on its way up, from a layer on.

        Piece by piece, since a few bytes may become very many; and a piece may add a layer, which
        the next one has to pass.
        """
        if depth == len(self._layers):
            yield data
            return
        for piece in self._layers[depth].receive(data):
            yield from self._pieces(piece, depth + 1)

    def _feed(self) -> None:
        """Hand up what has come, as long as the session takes it; not all of it in one turn."""
        self._feeding = None
        room, began_ns = FEED_BYTES, time.monotonic_ns()
        try:
            while self._unfed and room > 0 and Pause.HELD not in self._pauses:
                if self._transport.is_closing():
                    return
                room -= self._feed_one()
        except (OSError, CompressionError) as error:
            self.session.end_reason = f"it broke off: {error}"
            self._transport.abort()
            return
        if self._is_new:
            self._spend(began_ns)
        self._pause(Pause.UNFED, bool(self._unfed))
        if self._unfed and Pause.HELD not in self._pauses and Pause.STRANGERS not in self._pauses:
            self._feed_soon()

    def _feed_one(self) -> int:
        """Hand up one piece, or the end; return how many bytes it had."""
        pieces = self._unfed[0]
        piece = None if pieces is None else next(pieces, None)
        if piece is not None:
            self.session.receive(piece, time.monotonic_ns())
            return len(piece)
        self._unfed.popleft()
        if pieces is None:
            self.session.receive_eof()
        elif not self._unfed and any(layer.is_ended for layer in self._layers):
            self._unfed.append(None)
        return 0

    def _feed_soon(self) -> None:
        if self._feeding is None:
            self._feeding = asyncio.get_running_loop().call_soon(self._feed)

    # As a sink

    @property
    def send(self) -> Callable[[bytes | bytearray], None]:
        """See `SessionSink.send`."""
        return self._send_through_layers if self._layers else self._transport.write

    def _send_through_layers(self, data: bytes | bytearray) -> None:
        for layer in reversed(self._layers):
            data = layer.send(data)
        self._transport.write(data)

    def close(self) -> None:
        """See `Sink.close`."""
        if not self._transport.is_closing():
            self._enter(Stage.CLOSING, CLOSE_NS)
            if self._layers:
                self._transport.write(self._layers[0].end())
            self._transport.close()

    def abort(self) -> None:
        """Close at once, and drop what is not sent."""
        self._transport.abort()

    def start_tls(self, received: bytes) -> None:
        """See `SessionSink.start_tls`."""
        assert self._server.ssl_context is not None
        self._handshake = TlsLayer(self._server.ssl_context)
        self._enter(Stage.HANDSHAKE, TLS_HANDSHAKE_NS)
        if received:
            self._shake_hands(received)

    def _shake_hands(self, data: bytes) -> None:
        layer = self._handshake
        assert layer is not None
        try:
            answer = layer.handshake(data)
        except OSError as error:
            self._transport.write(layer.failure())
            _log.info("client(%s) TLS handshake failed - %s", self.session.remote_address, error)
            self.session.tls_failed(f"TLS handshake failed: {error.args[-1]}")
            return
        self._transport.write(answer)
        if layer.is_established:
            self._handshake = None
            self._enter(Stage.LAYERED)
            self._layers.append(layer)
            self._unfed.append(self._pieces(b"", 0))  # what came with the end of the handshake
            self.session.tls_established(*layer.describe())
            self._feed()

    def start_snappy(self, received: bytes) -> None:
        """See `SessionSink.start_snappy`."""
        self._compress(CompressionLayer(SnappyCompressor(), SnappyDecompressor()), received)

    def start_deflate(self, received: bytes, level: int) -> None:
        """See `SessionSink.start_deflate`."""
        self._compress(CompressionLayer(DeflateCompressor(level), DeflateDecompressor()), received)

    def _compress(self, layer: CompressionLayer, received: bytes) -> None:
        self._enter(Stage.LAYERED)
        self._layers.append(layer)
        if received:
            # Before what is still to come out of the layers below, and after the session's answer.
            self._unfed.appendleft(self._pieces(received, len(self._layers) - 1))
            self._feed_soon()

    def pause_reading(self, is_paused: bool) -> None:
        """See `SessionSink.pause_reading`."""
        self._pause(Pause.HELD, is_paused)
        if not is_paused and self._unfed:
            self._feed_soon()

    def unsent_bytes(self) -> int:
        """See `SessionSink.unsent_bytes`."""
        return self._transport.get_write_buffer_size()

    # Flow control

    def pause_writing(self) -> None:
        """The socket takes no more: no deliveries, and no commands whose answers would pile up."""
        self.session.set_writable(False)
        self._pause(Pause.FULL, True)

    def resume_writing(self) -> None:
        """The socket takes data again."""
        self._pause(Pause.FULL, False)
        self.session.set_writable(True)

    def _pause(self, reason: Pause, is_paused: bool) -> None:
        """Read no more for this reason, or go on if there is no other one."""
        if is_paused:
            self._pauses.add(reason)
        else:
            self._pauses.discard(reason)
        if self._transport.is_closing():
            return
        if self._pauses:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
