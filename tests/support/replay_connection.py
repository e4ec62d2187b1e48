"""
A TCP client for replays: frames in, bytes out, with NSQ's upgrades. Blocking, on purpose.

It shares no code with what it tests: framing, deflate and snappy are done here from the facts
(protocol sections 1, 2 and 8) with the libraries directly.
"""

import socket
import ssl
import struct
import time
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import cramjam

__all__ = ["Closed", "Connection", "Frame", "Framing"]

RECEIVE_BYTES = 65536


class Framing(Enum):
    """How answers are framed: nsqd's have a type, nsqlookupd's do not."""

    NSQD = "size type data"
    LOOKUPD = "size data"


@dataclass(frozen=True, slots=True)
class Frame:
    """One answer. ``kind`` is response, error, message or data."""

    kind: str
    data: bytes


class Closed(Exception):
    """The peer closed the connection, orderly or by reset."""


_KINDS = {0: "response", 1: "error", 2: "message"}


class _Codec(Protocol):
    def encode(self, data: bytes) -> bytes: ...

    def decode(self, data: bytes) -> bytes: ...


class _Deflate:
    """Raw deflate, flushed after every write."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._decompressor = zlib.decompressobj(-zlib.MAX_WBITS)

    def encode(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def decode(self, data: bytes) -> bytes:
        return self._decompressor.decompress(data)


class _Snappy:
    """Snappy's framing format: chunks of a type, a 3-byte size and content."""

    COMPRESSED, UNCOMPRESSED = 0x00, 0x01
    CHECKSUM_BYTES = 4

    def __init__(self) -> None:
        self._buffer = b""

    def encode(self, data: bytes) -> bytes:
        return bytes(cramjam.snappy.compress(data))

    def decode(self, data: bytes) -> bytes:
        self._buffer += data
        output = b""
        while len(self._buffer) >= 4:
            kind, size = self._buffer[0], int.from_bytes(self._buffer[1:4], "little")
            if len(self._buffer) < 4 + size:
                break
            content = self._buffer[4 + self.CHECKSUM_BYTES : 4 + size]
            self._buffer = self._buffer[4 + size :]
            if kind == self.COMPRESSED:
                output += bytes(cramjam.snappy.decompress_raw(content))
            elif kind == self.UNCOMPRESSED:
                output += content
        return output


class Connection:
    """One connection to a daemon. Every wait has a deadline, in seconds from the call."""

    def __init__(self, connected: socket.socket, framing: Framing, tls: ssl.SSLContext) -> None:
        self._socket = connected
        self._framing = framing
        self._tls = tls
        self._codec: _Codec | None = None
        self._buffer = b""
        self.is_closed = False

    def send(self, data: bytes) -> None:
        """Send bytes. That the peer closed already shows when something is read."""
        self._socket.settimeout(10)
        try:
            self._socket.sendall(self._codec.encode(data) if self._codec else data)
        except (BrokenPipeError, ConnectionResetError):
            self.is_closed = True

    def receive(self, seconds_max: float) -> Frame:
        """
        Return the next frame.

        Raises:
            TimeoutError: none came in time.
            Closed: the peer closed instead.
        """
        deadline = time.monotonic() + seconds_max
        while (frame := self._take_frame()) is None:
            self._fill(deadline)
        return frame

    def upgrade(self, layer: str) -> None:
        """Switch to ``tls``, ``snappy`` or ``deflate``."""
        if layer == "tls":
            assert not self._buffer, f"bytes before the handshake: {self._buffer!r}"
            self._socket.settimeout(10)
            self._socket = self._tls.wrap_socket(self._socket)
            return
        codec: _Codec = _Snappy() if layer == "snappy" else _Deflate()
        self._codec = codec
        self._buffer = codec.decode(self._buffer)

    def half_close(self) -> None:
        """End the sending side."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.is_closed = True
        self._socket.close()

    def _take_frame(self) -> Frame | None:
        if len(self._buffer) < 4:
            return None
        (size,) = struct.unpack_from(">I", self._buffer)
        if len(self._buffer) < 4 + size:
            return None
        payload, self._buffer = self._buffer[4 : 4 + size], self._buffer[4 + size :]
        if self._framing is Framing.LOOKUPD:
            return Frame("data", payload)
        (kind,) = struct.unpack_from(">I", payload)
        return Frame(_KINDS.get(kind, f"type {kind}"), payload[4:])

    def _fill(self, deadline: float) -> None:
        seconds_left = deadline - time.monotonic()
        if seconds_left <= 0:
            raise TimeoutError
        self._socket.settimeout(seconds_left)
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            data = b""
        if not data:
            self.is_closed = True
            raise Closed
        self._buffer += self._codec.decode(data) if self._codec else data
