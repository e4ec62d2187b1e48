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
    timestamp    int64, nanoseconds since 1970
    due          int64, the same; 0 unless the batch was published deferred until then
    data crc     CRC-32C of the frames; crc: CRC-32C of what stands before it

msgs         how many messages the batch has

A record with no messages is the seal: nothing follows it. Its first sequence and offset are those
at which the next segment begins. Its due holds flags: 1 if any batch of the segment was deferred,
2 if a crash ended the segment, so that its id base must not be used for new messages.

Integers are big-endian and unsigned unless said otherwise.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from google_crc32c import value as crc32c

__all__ = [
    "RECORD_BYTES",
    "SEAL_CRASHED",
    "SEAL_DEFERRED",
    "Commit",
    "Header",
    "crc32c",
    "decode_commit",
    "encode_commit",
    "stored_data_crc",
]

RECORD_BYTES = 48
VERSION = 1
SEAL_DEFERRED = 1
SEAL_CRASHED = 2

_MAGIC = b"nsqx-idx"
_HEADER = struct.Struct(">8sIIQQqI")
_COMMIT = struct.Struct(">QQIIqqI")
_CRC = struct.Struct(">I")
assert _HEADER.size + _CRC.size == _COMMIT.size + _CRC.size == RECORD_BYTES  # the drawing


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
    def decode(cls, data: bytes) -> "Header | None":
        """Return the header, or None if these are not the bytes of one."""
        if len(data) != RECORD_BYTES or not _crc_matches(data):
            return None
        magic, version, _, first, id_base, created_ns, _ = _HEADER.unpack_from(data)
        if magic != _MAGIC or version != VERSION:
            return None
        return cls(first, id_base, created_ns)


def encode_commit(commit: Commit) -> bytes:
    """Return the 48 bytes."""
    fields = _COMMIT.pack(*commit)
    return fields + _CRC.pack(crc32c(fields))


def decode_commit(data: bytes) -> Commit | None:
    """Return the record, or None if it is damaged or incomplete."""
    if len(data) != RECORD_BYTES or not _crc_matches(data):
        return None
    return Commit._make(_COMMIT.unpack_from(data))


def stored_data_crc(data: bytes) -> int:
    """Return the data checksum that a damaged record names, for what it may still prove."""
    crc: int = _COMMIT.unpack_from(data)[-1]
    return crc


def _crc_matches(data: bytes) -> bool:
    stored: int = _CRC.unpack_from(data, RECORD_BYTES - _CRC.size)[0]
    return bool(crc32c(data[: -_CRC.size]) == stored)
