"""
TLS between a socket's transport and a protocol, for servers: asyncio's, but for the end.

asyncio ends a TLS connection as soon as its peer says that it sends nothing more. In HTTP that may
be a client that waits for its answer. Here the protocol decides, as it does without TLS: if its
``eof_received`` returns true, what it writes still goes out, until it closes the transport.

TLS runs over memory, so all of it happens in the calls of the transport below.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, cast

__all__ = ["TlsBelow", "over_tls"]

HANDSHAKE_SECONDS_MAX = 60.0  # asyncio's
READ_BYTES = 256 * 1024


def over_tls(
    factory: Callable[[], asyncio.BaseProtocol], context: ssl.SSLContext
) -> Callable[[], "TlsBelow"]:
    """Return what makes the protocol of each connection, below one that ``factory`` makes."""

    def make() -> TlsBelow:
        protocol = factory()
        assert isinstance(protocol, asyncio.Protocol)
        return TlsBelow(protocol, context)

    return make


class TlsBelow(asyncio.Protocol):
    """
    One connection. The protocol above hears of it when the handshake is over.

    Args:
        protocol: what reads and writes without knowing of TLS.
        context: of the server.
        handshake_s: how long a handshake may take.
    """

    def __init__(
        self,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        handshake_s: float = HANDSHAKE_SECONDS_MAX,
    ) -> None:
        self.above = protocol
        self._context = context
        self._handshake_s = handshake_s
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._is_established = False
        self._has_ended = False  # the peer sends nothing more
        self._is_closing = False

    # Called from below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        below = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._transport = below
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._handshake_s, below.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._is_closing = True
        if self._is_established:
            self.above.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._has_ended or self._is_closing:
            return
        self._incoming.write(data)
        try:
            if self._is_established or self._shake_hands():
                self._read()
        except ssl.SSLError:  # not TLS, no trust, or damage: an alert says which
            self._flush()
            self._transport.close()

    def eof_received(self) -> bool:
        """Leave it to the protocol above, unless the end of TLS has told it already."""
        if self._is_established and not self._has_ended:
            self._end()
        return self._has_ended and not self._is_closing

    def pause_writing(self) -> None:
        if self._is_established:
            self.above.pause_writing()

    def resume_writing(self) -> None:
        if self._is_established:
            self.above.resume_writing()

    def _shake_hands(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._flush()
        self._stop_timer()
        self._is_established = True
        self.above.connection_made(_TlsTransport(self, self._transport, self._context))
        return True

    def _read(self) -> None:
        with suppress(ssl.SSLWantReadError):
            while not self._is_closing:
                piece = self.tls.read(READ_BYTES)
                if not piece:
                    self._end()
                    return
                self.above.data_received(piece)

    def _end(self) -> None:
        self._has_ended = True
        if not self.above.eof_received():
            self.close()

    # Called from above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes, unless the connection is ending."""
        if data and not self._is_closing:
            self.tls.write(data)
            self._flush()

    def close(self) -> None:
        """Tell the peer that nothing more comes, and close when all is sent."""
        if not self._is_closing:
            self._is_closing = True
            with suppress(ssl.SSLError):  # it would wait for the peer's answer
                self.tls.unwrap()
            self._flush()
            self._transport.close()

    @property
    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._transport.write(data)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _TlsTransport(asyncio.Transport):
    """What the protocol above gets."""

    def __init__(
        self, tls: TlsBelow, transport: asyncio.Transport, context: ssl.SSLContext
    ) -> None:
        known = {
            "sslcontext": context,
            "ssl_object": tls.tls,
            "peercert": tls.tls.getpeercert(),
            "cipher": tls.tls.cipher(),
            "compression": tls.tls.compression(),
        }
        super().__init__(known)
        self._tls, self._below, self._known = tls, transport, known

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name in self._known:
            return self._known[name]
        return self._below.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._tls.write(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self._tls.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self._tls.close()

    def abort(self) -> None:
        self._below.abort()

    def is_closing(self) -> bool:
        return self._tls.is_closing

    def is_reading(self) -> bool:
        return self._below.is_reading()

    def pause_reading(self) -> None:
        self._below.pause_reading()

    def resume_reading(self) -> None:
        self._below.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._below.get_write_buffer_limits()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._tls.above

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._tls.above = protocol
