"""A message as pages show it (docs/admin-api.md, MESSAGE). No I/O."""

import base64

import msgspec

from nsqx.cluster.log_pages import PeekedMessage

__all__ = ["BODY_BYTES_SHOWN", "MessageRow", "message_row", "peeked_row"]

BODY_BYTES_SHOWN = 64 * 1024
NANOSECONDS = 1_000_000_000


class MessageRow(msgspec.Struct):
    """``timestamp`` is nanoseconds, as text: JavaScript's numbers are too short."""

    node: str
    id: str
    sequence: int | None
    t: float
    timestamp: str
    size: int
    body: str
    encoding: str
    attempts: int | None
    truncated: bool


def message_row(
    body: bytes,
    *,
    id: str,
    timestamp_ns: int,
    node: str = "",
    sequence: int | None = None,
    attempts: int | None = None,
    bytes_max: int | None = BODY_BYTES_SHOWN,
) -> MessageRow:
    """Return the row; a longer body is cut off, never inside of a character."""
    shown = body if bytes_max is None else body[:bytes_max]
    text, encoding = _readable(shown, is_cut=len(shown) < len(body))
    return MessageRow(
        node=node,
        id=id,
        sequence=sequence,
        t=timestamp_ns / NANOSECONDS,
        timestamp=str(timestamp_ns),
        size=len(body),
        body=text,
        encoding=encoding,
        attempts=attempts,
        truncated=len(shown) < len(body),
    )


def peeked_row(node: str, message: PeekedMessage, *, is_full: bool = False) -> MessageRow:
    """Return the row of what nsqd has shown."""
    return message_row(
        message.body_bytes(),
        id=message.id,
        timestamp_ns=message.timestamp,
        node=node,
        sequence=message.sequence,
        bytes_max=None if is_full else BODY_BYTES_SHOWN,
    )


def _readable(body: bytes, *, is_cut: bool) -> tuple[str, str]:
    try:
        return body.decode(), "text"
    except UnicodeDecodeError as exc:
        if is_cut and exc.start >= len(body) - 3:  # the cut went through a character
            return body[: exc.start].decode(), "text"
        return base64.b64encode(body).decode(), "base64"
