"""
The few bytes of NSQ's protocol that a load generator needs. Written apart from nsqx.protocol on
purpose: what measures the broker must not share its code, nor get faster or slower with it.

    message frame: u32 size | u32 2 | i64 timestamp | u16 attempts | 16 bytes id | body
                   0          4       8               16             18            34
"""

import json
import struct
from collections.abc import Sequence

MAGIC = b"  V2"
NOP = b"NOP\n"
OK_FRAME = struct.pack(">ii", 6, 0) + b"OK"
HEARTBEAT = b"_heartbeat_"
RESPONSE, ERROR, MESSAGE = 0, 1, 2
FRAME_HEADER = struct.Struct(">ii")
ID_OFFSET, BODY_OFFSET = 18, 34
ID_BYTES = 16
FIN_BYTES = 21  # "FIN ", 16 bytes of id, newline

_SIZE = struct.Struct(">I")


class BrokerError(Exception):
    """The broker answered something else than what the generator waits for."""


# The longest that is allowed by default, so that heartbeats stay out of the numbers.
HEARTBEAT_MS = 60_000


def identify(*, tls: bool, snappy: bool, heartbeat_ms: int = HEARTBEAT_MS) -> bytes:
    """IDENTIFY."""
    body = json.dumps(
        {
            "client_id": "benchmark",
            "user_agent": "nsqx-benchmarks",
            "feature_negotiation": True,
            "heartbeat_interval": heartbeat_ms,
            "tls_v1": tls,
            "snappy": snappy,
        }
    ).encode()
    return b"IDENTIFY\n" + _SIZE.pack(len(body)) + body


def pub(topic: str, body: bytes) -> bytes:
    return b"PUB %s\n" % topic.encode() + _SIZE.pack(len(body)) + body


def mpub(topic: str, bodies: Sequence[bytes]) -> bytes:
    messages = b"".join(_SIZE.pack(len(body)) + body for body in bodies)
    size = _SIZE.pack(4 + len(messages))
    return b"MPUB %s\n" % topic.encode() + size + _SIZE.pack(len(bodies)) + messages


def sub(topic: str, channel: str) -> bytes:
    return f"SUB {topic} {channel}\n".encode()


def rdy(count: int) -> bytes:
    return b"RDY %d\n" % count


def fin(message_id: bytes) -> bytes:
    return b"FIN %s\n" % message_id


def req(message_id: bytes, delay_ms: int) -> bytes:
    return b"REQ %s %d\n" % (message_id, delay_ms)


def touch(message_id: bytes) -> bytes:
    return b"TOUCH %s\n" % message_id


def dpub(topic: str, delay_ms: int, body: bytes) -> bytes:
    return b"DPUB %s %d\n" % (topic.encode(), delay_ms) + _SIZE.pack(len(body)) + body


def message_header(body_bytes: int) -> bytes:
    """The first 8 bytes of every message frame whose body has this size."""
    return FRAME_HEADER.pack(BODY_OFFSET - 4 + body_bytes, MESSAGE)


class FinRun:
    """
    FINs for many messages at once, at about 30 ns each.

    The run is laid out once; only the ids change. They are copied column by column: byte 0 of every
    id, then byte 1 ..., which is 16 slice assignments however many messages there are. It works
    because frames of bodies of one size lie at a fixed stride.
    """

    def __init__(self, stride: int, frames_max: int) -> None:
        self._stride = stride
        self._run = bytearray((b"FIN " + bytes(ID_BYTES) + b"\n") * frames_max)
        self._view = memoryview(self._run)

    def build(self, frames: bytearray, count: int) -> memoryview:
        """Return the FINs of the first ``count`` frames. Valid until the next call."""
        run, stride = self._run, self._stride
        run_end, frames_end = count * FIN_BYTES, count * stride
        for column in range(ID_BYTES):
            ids = frames[ID_OFFSET + column : frames_end : stride]
            run[4 + column : run_end : FIN_BYTES] = ids
        return self._view[:run_end]


def complete_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Split into whole frames (type, data) and the rest."""
    frames: list[tuple[int, bytes]] = []
    position = 0
    while len(data) - position >= FRAME_HEADER.size:
        size, kind = FRAME_HEADER.unpack_from(data, position)
        end = position + 4 + size
        if end > len(data):
            break
        frames.append((kind, data[position + FRAME_HEADER.size : end]))
        position = end
    return frames, data[position:]
