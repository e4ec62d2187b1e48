"""
The two forms of an HTTP multi-publish body (HTTP section 5). No I/O.

    text    messages separated by newlines; empty ones do not count
    binary  uint32 count, then count times: uint32 size, size bytes; what follows is ignored

Integers are big-endian. A body is right as a whole or nothing of it is published.
"""

from nsqx.protocol.errors import NsqxError
from nsqx.protocol.messages import SIZE

__all__ = ["BadMultiPublishError", "split_binary", "split_lines"]

_COUNT_BYTES = SIZE.size
_LEAST_MESSAGE_BYTES = SIZE.size + 1
_PIECE_BYTES = 64 * 1024


class BadMultiPublishError(NsqxError, ValueError):
    """The body breaks the rules; ``code`` is what NSQ answers, with status 413."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def split_lines(body: bytes, message_bytes_max: int) -> list[bytes]:
    r"""
    Return the messages of a text body, possibly none. A ``\r`` belongs to its message.

    Raises:
        BadMultiPublishError: ``MSG_TOO_BIG``.
    """
    messages: list[bytes] = []
    start = 0
    # In pieces, each some milliseconds: one call for all would hold up all threads meanwhile.
    while start < len(body):
        newline = body.find(b"\n", start + _PIECE_BYTES)
        end = newline if newline >= 0 else len(body)
        lines = [line for line in body[start:end].split(b"\n") if line]
        if lines and max(map(len, lines)) > message_bytes_max:
            raise BadMultiPublishError("MSG_TOO_BIG")
        messages += lines
        start = end + 1
    return messages


def split_binary(body: bytes, message_bytes_max: int, body_bytes_max: int) -> list[bytes]:
    """
    Return the messages of a binary body, at least one.

    Raises:
        BadMultiPublishError: ``BAD_BODY`` for its count, ``BAD_MESSAGE`` for a size that is zero,
            too large or more than what is there.
    """
    if len(body) < _COUNT_BYTES:
        raise BadMultiPublishError("BAD_BODY")
    (count,) = SIZE.unpack_from(body)
    if not 0 < count <= (body_bytes_max - _COUNT_BYTES) // _LEAST_MESSAGE_BYTES:
        raise BadMultiPublishError("BAD_BODY")
    messages: list[bytes] = []
    size_at, end = SIZE.unpack_from, len(body)
    position = _COUNT_BYTES
    for _ in range(count):
        start = position + SIZE.size
        if start > end:
            raise BadMultiPublishError("BAD_MESSAGE")
        (size,) = size_at(body, position)
        position = start + size
        if not 0 < size <= message_bytes_max or position > end:
            raise BadMultiPublishError("BAD_MESSAGE")
        messages.append(body[start:position])
    return messages
