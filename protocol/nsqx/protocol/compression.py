"""
Compressed connections (protocol section 6): snappy framing and raw deflate, both directions.

A connection that has agreed on compression passes what it would write through ``compress``,
once per flush: the peer can read all of it at once. What it reads goes through ``decompress``.

Compressed bytes may swell a thousandfold, so one call returns at most about
``OUTPUT_BYTES_MAX``. While ``pending`` is true there is more; ask for it with ``decompress(b"")``
before reading on, and what the peer can make us hold stays bounded:

    data = decompressor.decompress(received)
    handle(data)
    while decompressor.pending:
        handle(decompressor.decompress(b""))

A snappy stream is a sequence of chunks, the first of which names the format:

     0      1        4
     +------+--------+----------- - - -
     | type | length | content
     +------+--------+----------- - - -

    type    0x00 compressed, 0x01 as it is, 0xff stream identifier (content "sNaPpY");
            others from 0x80 are skipped, others below are an error
    length  uint24, little-endian, bytes of content
    content of types 0 and 1: uint32, little-endian, masked CRC-32C of the data; the data, at
            most 65,536 bytes of it before compression
"""

import struct
import zlib
from typing import Protocol

import cramjam
import google_crc32c

from nsqx.protocol.errors import CompressionError

__all__ = [
    "OUTPUT_BYTES_MAX",
    "Compressor",
    "Decompressor",
    "DeflateCompressor",
    "DeflateDecompressor",
    "SnappyCompressor",
    "SnappyDecompressor",
]

OUTPUT_BYTES_MAX = 256 * 1024  # of one call; snappy may exceed it by less than one chunk


class Compressor(Protocol):
    """One direction of a connection, towards the peer."""

    def compress(self, data: bytes) -> bytes:
        """Return what to send for ``data``; nothing is held back. Nothing for nothing."""
        ...


class Decompressor(Protocol):
    """One direction of a connection, from the peer."""

    @property
    def pending(self) -> bool:
        """Whether ``decompress(b"")`` would return more."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the peer has ended its stream: treat it as the end of the connection."""
        ...

    def decompress(self, data: bytes) -> bytes:
        """
        Return what ``data`` adds, as far as it goes: nothing if a chunk is not complete.

        Raises:
            CompressionError: The stream is damaged, or goes on after its end.
        """
        ...


_STREAM_IDENTIFIER = b"\xff\x06\x00\x00sNaPpY"
_CHUNK_DATA_BYTES_MAX = 65536
_HEAD_BYTES = 4
_CHECKSUM = struct.Struct("<I")
_COMPRESSED, _PLAIN, _IDENTIFIER = 0x00, 0x01, 0xFF
_FIRST_SKIPPABLE = 0x80
# What the largest compressed chunk can be: snappy's own bound for its input, and the checksum.
_CHUNK_BYTES_MAX = 4 + 32 + _CHUNK_DATA_BYTES_MAX + _CHUNK_DATA_BYTES_MAX // 6


class SnappyCompressor:
    """Writes the snappy framing format."""

    def __init__(self) -> None:
        self._prefix = _STREAM_IDENTIFIER  # before the first chunk

    def compress(self, data: bytes) -> bytes:
        """Return the chunks for ``data``, a new one for each 65,536 bytes."""
        if not data:
            return b""
        parts = [self._prefix]
        self._prefix = b""
        for start in range(0, len(data), _CHUNK_DATA_BYTES_MAX):
            _append_chunk(parts, data[start : start + _CHUNK_DATA_BYTES_MAX])
        return b"".join(parts)


def _append_chunk(parts: list[bytes], data: bytes) -> None:
    kind, content = _COMPRESSED, bytes(cramjam.snappy.compress_raw(data))
    if len(content) > len(data) - len(data) // 8:
        # Less than an eighth saved: not worth the peer's time.
        kind, content = _PLAIN, data
    size = _CHECKSUM.size + len(content)
    parts += (_CHECKSUM.pack(kind | size << 8), _CHECKSUM.pack(_masked_crc(data)), content)


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFF_FFFF


class SnappyDecompressor:
    """Reads the snappy framing format. Holds at most one chunk that is not complete."""

    def __init__(self) -> None:
        self.pending = False
        self.ended = False  # the framing format has no end
        self._buffer = bytearray()
        self._skip = 0  # bytes of a chunk that is not looked at
        self._identified = False

    def decompress(self, data: bytes) -> bytes:
        """Return the data of the chunks that are complete, whole chunks only."""
        buffer = self._buffer
        buffer += data
        parts: list[bytes] = []
        position = produced = 0
        while produced < OUTPUT_BYTES_MAX:
            position = self._skip_to(position)
            part = self._parse_chunk(position)
            if part is None:
                break
            position += _HEAD_BYTES + part[0]
            parts.append(part[1])
            produced += len(part[1])
        self.pending = produced >= OUTPUT_BYTES_MAX
        del buffer[:position]
        return b"".join(parts)

    def _skip_to(self, position: int) -> int:
        """Pass over what is left of a chunk that is skipped, without holding it."""
        skipped = min(self._skip, len(self._buffer) - position)
        self._skip -= skipped
        return position + skipped

    def _parse_chunk(self, position: int) -> tuple[int, bytes] | None:
        """Return size and data of the chunk at ``position``, or None if it is not complete."""
        buffer = self._buffer
        start = position + _HEAD_BYTES
        if start > len(buffer):
            return None
        kind = buffer[position]
        size = int.from_bytes(buffer[position + 1 : start], "little")
        if not self._identified and kind != _IDENTIFIER:
            raise CompressionError("a snappy stream must begin with its identifier")
        if _FIRST_SKIPPABLE <= kind < _IDENTIFIER:
            self._skip = size
            return 0, b""
        if kind not in (_COMPRESSED, _PLAIN, _IDENTIFIER) or size > _CHUNK_BYTES_MAX:
            raise CompressionError(f"snappy chunk of type {kind:#04x} with {size} bytes")
        if start + size > len(buffer):
            return None
        content = bytes(memoryview(buffer)[start : start + size])
        return size, self._data_of(kind, content)

    def _data_of(self, kind: int, content: bytes) -> bytes:
        if kind == _IDENTIFIER:
            if content != _STREAM_IDENTIFIER[_HEAD_BYTES:]:
                raise CompressionError("the snappy stream's identifier is damaged")
            self._identified = True
            return b""
        if len(content) < _CHECKSUM.size:
            raise CompressionError("a snappy chunk has no checksum")
        data = content[_CHECKSUM.size :]
        if kind == _COMPRESSED:
            data = _decompress_raw(data)
        if len(data) > _CHUNK_DATA_BYTES_MAX:
            raise CompressionError(f"a snappy chunk holds {len(data)} bytes")
        if _CHECKSUM.unpack_from(content)[0] != _masked_crc(data):
            raise CompressionError("the checksum of a snappy chunk is wrong")
        return data


def _decompress_raw(data: bytes) -> bytes:
    try:
        # Asked first: a few bytes may claim to become gigabytes.
        size = cramjam.snappy.decompress_raw_len(data)
        if size > _CHUNK_DATA_BYTES_MAX:
            raise CompressionError(f"a snappy chunk would hold {size} bytes")
        return bytes(cramjam.snappy.decompress_raw(data))
    except cramjam.DecompressionError as exc:
        raise CompressionError(f"a snappy chunk is damaged: {exc}") from exc


class DeflateCompressor:
    """Writes raw deflate (no zlib header), with a sync flush after each piece."""

    def __init__(self, level: int) -> None:
        self._stream = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)

    def compress(self, data: bytes) -> bytes:
        """Return what the stream grows by, flushed: the peer can read all of ``data``."""
        if not data:
            return b""
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class DeflateDecompressor:
    """Reads raw deflate. Holds the input that has not been turned into output, and a window."""

    def __init__(self) -> None:
        self.pending = False
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def ended(self) -> bool:
        """Whether the peer has ended its stream: treat it as the end of the connection."""
        return self._stream.eof

    def decompress(self, data: bytes) -> bytes:
        """Return at most ``OUTPUT_BYTES_MAX`` bytes of what ``data`` adds."""
        stream = self._stream
        if stream.eof and data:
            raise CompressionError("data after the end of a deflate stream")
        rest = stream.unconsumed_tail
        try:
            output = stream.decompress(rest + data if rest else data, OUTPUT_BYTES_MAX)
        except zlib.error as exc:
            raise CompressionError(f"a deflate stream is damaged: {exc}") from exc
        if stream.unused_data:
            raise CompressionError("data after the end of a deflate stream")
        # A full output may have more behind it, even with no input left.
        self.pending = len(output) == OUTPUT_BYTES_MAX and not stream.eof
        return output
