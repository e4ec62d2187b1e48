"""
Bytes of a segment's index. The only module that knows them; no I/O.

A segment is two files. ``<first sequence>.log`` holds frames and nothing else. Beside it
``<first sequence>.idx`` says which of those bytes count: a header, then one commit record for
each batch that was appended. Both are 48 bytes, so a record is found by binary search in the
file itself and the index needs no memory.

    header
     0          8         12      16               24        32          40     44
     +----------+---------+-------+----------------+---------+-----------+------+-----+
     | nsqx-idx | version | flags | first sequence | id base | created   | zero | crc |
     +----------+---------+-------+----------------+---------+-----------+------+-----+

    commit record
     0                8        16       20      24          32    40         44
     +----------------+--------+--------+-------+-----------+-----+----------+-----+
     | first sequence | offset | length | msgs  | timestamp | due | data crc | crc |
     +----------------+--------+--------+-------+-----------+-----+----------+-----+

    id base      the id of a message is id base + its sequence number
    offset       where in the .log file the batch begins; length in bytes
    msgs         how many messages the batch has
    timestamp    int64, nanoseconds since 1970
    due          int64, the same; 0 unless the batch was published deferred until then
    data crc     CRC-32C of the frames
    crc          CRC-32C of what stands before it

A record with no messages is the seal: nothing follows it. Its first sequence and offset are those
at which the next segment begins. Its due holds flags: 1 if any batch of the segment was deferred.

Integers are big-endian and unsigned unless said otherwise. Example: the record of a first batch of
two messages, 70 bytes, published at 1 ns with a data crc of 1234abcd, is

    0000000000000000 | 0000000000000000 | 00000046 | 00000002
    0000000000000001 | 0000000000000000 | 1234abcd | 02172483
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from google_crc32c import value as crc32c

from nsqx.nsqd.log.formats import UnknownFormatError

__all__ = [
    "DUE_BYTES",
    "RECORD_BYTES",
    "SEAL_DEFERRED",
    "Commit",
    "Header",
    "crc32c",
    "decode_commit",
    "encode_commit",
]

RECORD_BYTES = 48
DUE_BYTES = range(32, 40)  # where the due time stands in a commit record
VERSION = 1
SEAL_DEFERRED = 1

_MAGIC = b"nsqx-idx"
_HEADER = struct.Struct(">8sIIQQqI")
_COMMIT = struct.Struct(">QQIIqqI")
_CRC = struct.Struct(">I")
_FIELDS_BYTES = RECORD_BYTES - _CRC.size
assert _HEADER.size == _COMMIT.size == _FIELDS_BYTES  # the drawing


class Commit(NamedTuple):
    """One appended batch, or the seal of the segment (``messages`` 0)."""

    first: int
    offset: int
    length: int
    messages: int
    timestamp_ns: int
    due_ns: int
    data_crc: int


@dataclass(frozen=True, slots=True)
class Header:
    """What holds for a whole segment."""

    first: int
    id_base: int
    created_ns: int

    def encode(self) -> bytes:
        """Return the 48 bytes."""
        fields = _HEADER.pack(_MAGIC, VERSION, 0, self.first, self.id_base, self.created_ns, 0)
        return fields + _CRC.pack(crc32c(fields))

    @classmethod
    def decode(cls, data: bytes, path: str = "") -> "Header | None":
        """
        Return the header, or None if these are not the bytes of one.

        Raises:
            UnknownFormatError: it is sound, and of another version; ``path`` says where.
        """
        if not _is_sound(data):
            return None
        magic, version, _, first, id_base, created_ns, _ = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            return None
        if version != VERSION:
            raise UnknownFormatError(path, f"an index of version {version}")
        return cls(first, id_base, created_ns)


def encode_commit(commit: tuple[int, int, int, int, int, int, int]) -> bytes:
    """Return the 48 bytes of a `Commit`, or of a plain tuple of its fields, made in no time."""
    fields = _COMMIT.pack(*commit)
    return fields + _CRC.pack(crc32c(fields))


def decode_commit(data: bytes) -> Commit | None:
    """Return the record, or None if it is incomplete or damaged."""
    return Commit._make(_COMMIT.unpack_from(data)) if _is_sound(data) else None


def _is_sound(data: bytes) -> bool:
    if len(data) != RECORD_BYTES:
        return False
    stored: int = _CRC.unpack_from(data, _FIELDS_BYTES)[0]
    return bool(crc32c(data[:_FIELDS_BYTES]) == stored)
