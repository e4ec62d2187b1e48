"""
What lies between a socket and a session after an upgrade: TLS and compression (section 6).

Each layer turns bytes into bytes. TLS runs over memory, so the upgrade happens in the middle of a
connection, with whatever was received behind it.
"""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Protocol

from nsqx.nsqd.tls import cipher_name, common_name, version_name
from nsqx.protocol.compression import Compressor, Decompressor

__all__ = ["CompressionLayer", "Layer", "TlsLayer"]

_READ_BYTES = 256 * 1024


class Layer(Protocol):
    """One transformation of both directions."""

    @property
    def is_ended(self) -> bool:
        """Whether the peer has said that nothing more will come."""

    def receive(self, data: bytes) -> Iterable[bytes]:
        """
        Return what the peer sent, in pieces; take one when the one before has been dealt with.

        Raises:
            CompressionError, OSError: the peer broke the layer's rules; the connection is of no
                use.
        """

    def send(self, data: bytes | bytearray) -> bytes:
        """Return the bytes that carry ``data``."""

    def end(self) -> bytes:
        """Return the bytes that tell the peer that nothing more will come."""


class TlsLayer:
    """The server's end of TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.is_established = False
        self.is_ended = False

    def handshake(self, data: bytes) -> bytes:
        """
        Take up bytes of the handshake; return what to send.

        `is_established` tells whether it is over. Raises ssl.SSLError (an OSError) if it failed.
        """
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        else:
            self.is_established = True
        return self._outgoing.read()

    def failure(self) -> bytes:
        """Return the alert to send after a handshake that failed, if there is one."""
        return self._outgoing.read()

    def receive(self, data: bytes) -> list[bytes]:
        """See `Layer.receive`."""
        self._incoming.write(data)
        pieces: list[bytes] = []
        try:
            while piece := self._tls.read(_READ_BYTES):
                pieces.append(piece)
            self.is_ended = True
        except ssl.SSLWantReadError:
            pass
        return pieces

    def send(self, data: bytes | bytearray) -> bytes:
        """See `Layer.send`."""
        self._tls.write(data)
        return self._outgoing.read()

    def end(self) -> bytes:
        """See `Layer.end`."""
        with suppress(ssl.SSLError):  # it would wait for the peer's answer
            self._tls.unwrap()
        return self._outgoing.read()

    def describe(self) -> tuple[str, str, str]:
        """Return version, cipher and the common name of the client's certificate, or ``""``."""
        cipher = self._tls.cipher()
        suite = cipher_name(self._tls.context, cipher[0]) if cipher else ""
        return version_name(self._tls.version() or ""), suite, common_name(self._tls)


class CompressionLayer:
    """Snappy or deflate, both ways."""

    def __init__(self, compressor: Compressor, decompressor: Decompressor) -> None:
        self._compressor = compressor
        self._decompressor = decompressor

    @property
    def is_ended(self) -> bool:
        """See `Layer.is_ended`."""
        return self._decompressor.ended

    def receive(self, data: bytes) -> Iterator[bytes]:
        """See `Layer.receive`."""
        yield self._decompressor.decompress(data)
        while self._decompressor.pending:
            yield self._decompressor.decompress(b"")

    def send(self, data: bytes | bytearray) -> bytes:
        """See `Layer.send`."""
        return self._compressor.compress(bytes(data))

    def end(self) -> bytes:
        """See `Layer.end`: connections of NSQ end without it."""
        return b""
