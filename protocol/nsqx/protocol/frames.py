"""
Frames, what a broker sends (protocol section 2): built for a server, parsed for a client.

     0      4      8
     +------+------+--------- - - -
     | size | type | data
     +------+------+--------- - - -

    size  uint32, bytes that follow: 4 + len(data)
    type  uint32: 0 response, 1 error, 2 message

Integers are big-endian. What is in a message's data is in ``messages``, which builds message
frames by the batch; here they are taken apart, since only a client does that.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar, cast

from nsqx.protocol.errors import FrameError
from nsqx.protocol.messages import MESSAGE_HEADER

__all__ = [
    "CLOSE_WAIT_FRAME",
    "FRAME_BYTES_MAX",
    "HEARTBEAT",
    "HEARTBEAT_FRAME",
    "OK",
    "OK_FRAME",
    "ErrorFrame",
    "FrameParser",
    "FrameType",
    "Message",
    "Response",
    "encode_error",
    "encode_frame",
    "encode_response",
]


class FrameType(IntEnum):
    """What the data of a frame is."""

    RESPONSE = 0
    ERROR = 1
    MESSAGE = 2


# A client does not know its broker's --max-msg-size; this bounds what a broken one can make it
# hold, and leaves room for messages far beyond the default of 1 MiB.
FRAME_BYTES_MAX = 128 * 1024 * 1024

_HEAD = struct.Struct(">II")
_SIZE_BYTES = 4
_MESSAGE_SIZE_MIN = MESSAGE_HEADER.size - _SIZE_BYTES
_TYPES = frozenset(FrameType)


def encode_frame(kind: FrameType, data: bytes) -> bytes:
    """Build a frame of any type."""
    return _HEAD.pack(len(data) + 4, kind) + data


def encode_response(data: bytes) -> bytes:
    """Build a response frame."""
    return encode_frame(FrameType.RESPONSE, data)


def encode_error(line: bytes) -> bytes:
    """Build an error frame; ``line`` is a ``ProtocolError.line``."""
    return encode_frame(FrameType.ERROR, line)


OK = b"OK"
HEARTBEAT = b"_heartbeat_"
OK_FRAME = encode_response(OK)
HEARTBEAT_FRAME = encode_response(HEARTBEAT)
CLOSE_WAIT_FRAME = encode_response(b"CLOSE_WAIT")


@dataclass(frozen=True, slots=True)
class Response:
    """A response frame: ``OK``, ``CLOSE_WAIT``, ``_heartbeat_``, or a JSON object."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """An error frame: a code, and mostly a blank and a description (section 5)."""

    line: bytes

    @property
    def code(self) -> str:
        """The first word, for example ``E_BAD_TOPIC``."""
        return self.line.partition(b" ")[0].decode(errors="replace")

    @property
    def is_fatal(self) -> bool:
        """Whether the broker closes the connection after it."""
        return self.code not in _NOT_FATAL


_NOT_FATAL = frozenset({"E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"})


@dataclass(slots=True)
class Message:
    """A message frame taken apart."""

    timestamp_ns: int
    attempts: int
    id: bytes
    body: bytes


_OK_RESPONSE = Response(OK)

MessageT = TypeVar("MessageT")


class FrameParser(Generic[MessageT]):
    """
    Turns the bytes from a broker into frames. Does no I/O and never raises.

    A stream that is not one of frames ends in ``error``; the caller closes the connection.

    Attributes:
        error: Why nothing is parsed any more, or None.
    """

    __slots__ = ("_buffer", "_frame_bytes_max", "_make_message", "_missing", "error")

    def __init__(
        self,
        make_message: Callable[[int, int, bytes, bytes], MessageT] | None = None,
        *,
        frame_bytes_max: int = FRAME_BYTES_MAX,
    ) -> None:
        """
        Make a parser for one connection.

        Args:
            make_message: Called with timestamp in ns, attempts, id and body of each message: a
                client's own message class, which saves a second object. ``Message`` if None.
            frame_bytes_max: The largest size of a frame, refused before its data is held.
        """
        self.error: FrameError | None = None
        self._make_message = make_message or cast(
            Callable[[int, int, bytes, bytes], MessageT], Message
        )
        self._frame_bytes_max = frame_bytes_max
        # The start of a frame that is not complete, and how many bytes it needs to get further.
        self._buffer = bytearray()
        self._missing = _HEAD.size

    def receive_data(self, data: bytes) -> "list[Response | ErrorFrame | MessageT]":
        """Return the frames that ``data`` completes, in order."""
        if self.error is not None:
            return []
        if len(data) < self._missing:
            # Nothing is looked at, or copied more than once, while a large frame arrives.
            self._buffer += data
            self._missing -= len(data)
            return []
        if self._buffer:
            data = b"".join((self._buffer, data))
            self._buffer.clear()
        frames: list[Response | ErrorFrame | MessageT] = []
        try:
            position = self._parse_all(data, frames)
        except FrameError as exc:
            self.error = exc
        else:
            if position < len(data):
                self._buffer += data[position:]
        return frames

    def _parse_all(self, data: bytes, frames: "list[Response | ErrorFrame | MessageT]") -> int:
        """Parse the frames that are complete; return where the first that is not begins."""
        position, end = 0, len(data)
        while True:
            while data.startswith(OK_FRAME, position):
                # A producer's answers: 90 ns each, 900 by what follows.
                frames.append(_OK_RESPONSE)
                position += len(OK_FRAME)
            position = self._parse_messages(data, position, frames)
            self._missing = _HEAD.size - (end - position)
            if self._missing > 0:
                return position
            size, kind = _HEAD.unpack_from(data, position)
            self._check(size, kind)
            next_frame = position + _SIZE_BYTES + size
            self._missing = next_frame - end
            if self._missing > 0:
                return position
            content = data[position + _HEAD.size : next_frame]
            if kind == FrameType.RESPONSE:
                frames.append(Response(content))
            else:
                frames.append(ErrorFrame(content))
            position = next_frame

    def _parse_messages(
        self, data: bytes, position: int, frames: "list[Response | ErrorFrame | MessageT]"
    ) -> int:
        """Parse the complete message frames that follow each other; 330 ns each."""
        unpack_from, make, add = MESSAGE_HEADER.unpack_from, self._make_message, frames.append
        size_max = self._frame_bytes_max
        end = len(data)
        last_head = end - MESSAGE_HEADER.size
        while position <= last_head:
            size, kind, timestamp_ns, attempts, id = unpack_from(data, position)
            next_frame = position + _SIZE_BYTES + size
            if kind != 2 or next_frame > end or not _MESSAGE_SIZE_MIN <= size <= size_max:
                break
            add(make(timestamp_ns, attempts, id, data[position + 34 : next_frame]))
            position = next_frame
        return position

    def _check(self, size: int, kind: int) -> None:
        if kind not in _TYPES:
            raise FrameError(f"unknown frame type {kind}")
        size_min = _MESSAGE_SIZE_MIN if kind == FrameType.MESSAGE else _HEAD.size - _SIZE_BYTES
        if not size_min <= size <= self._frame_bytes_max:
            raise FrameError(f"frame of type {kind} has the impossible size {size}")
