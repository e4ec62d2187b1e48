"""
The commands of protocol V2 (section 4): as events for a server, as bytes for a client.

The classes are what ``CommandParser`` makes of a connection's bytes. The functions build those
bytes; what they would refuse to send is a ``ValueError``, for the server would close the
connection. Topics and channels are checked, ids have 16 bytes, bodies are not empty.
"""

import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nsqx.protocol.errors import FatalProtocolError
from nsqx.protocol.messages import ID_BYTES, SIZE
from nsqx.protocol.names import is_valid_name

__all__ = [
    "MAGIC_V2",
    "NOP",
    "Auth",
    "Close",
    "Command",
    "FinishRun",
    "Identify",
    "LineTooLongError",
    "MultiPublish",
    "MultiPublishStart",
    "Nop",
    "Publish",
    "Ready",
    "Requeue",
    "Return",
    "Subscribe",
    "Touch",
    "UnknownId",
    "Violation",
    "auth",
    "cls",
    "dpub",
    "fin",
    "fin_run",
    "give_back",
    "identify",
    "mpub",
    "nop",
    "pub",
    "rdy",
    "req",
    "sub",
    "touch",
]

MAGIC_V2 = b"  V2"  # the first bytes of a connection


@dataclass(slots=True)
class Identify:
    """IDENTIFY. The parser has stopped: ``CommandParser.resume`` goes on behind it."""

    body: bytes


@dataclass(slots=True)
class Auth:
    """AUTH."""

    secret: bytes


@dataclass(slots=True)
class Subscribe:
    """SUB."""

    topic: str
    channel: str


@dataclass(slots=True)
class Ready:
    """RDY, within the limit."""

    count: int


@dataclass(slots=True)
class FinishRun:
    """FINs that followed each other, their ids (16 lower-case hex digits each) as numbers."""

    ids: "array[int]"


@dataclass(slots=True)
class UnknownId:
    """FIN, REQ or TOUCH with an id that no broker of ours gives: 16 bytes, not lower-case hex."""

    word: bytes
    id: bytes


@dataclass(slots=True)
class Requeue:
    """REQ, the id as a number; the timeout is already cut to the limit."""

    id: int
    timeout_ms: int


@dataclass(slots=True)
class Return:
    """RETURN, which is ours: as if the message had not been delivered. Only after negotiation."""

    id: bytes


@dataclass(slots=True)
class Touch:
    """TOUCH, the id as a number."""

    id: int


@dataclass(slots=True)
class Close:
    """CLS."""


@dataclass(slots=True)
class Nop:
    """NOP; also an RDY after CLS, which does nothing but show that the client lives."""


@dataclass(slots=True)
class Publish:
    """PUB (``defer_ms`` None) or DPUB."""

    topic: str
    body: bytes
    defer_ms: int | None


@dataclass(slots=True)
class MultiPublishStart:
    """
    The line of an MPUB whose body is not complete and right in this read.

    The topic is authorised and created now; ``MultiPublish`` or ``Violation`` follows.
    """

    topic: str


@dataclass(slots=True)
class MultiPublish:
    """MPUB, the whole batch; ``bodies`` belongs to the receiver."""

    topic: str
    bodies: list[bytes]


@dataclass(slots=True)
class Violation:
    """The peer broke the protocol: answer ``error`` and close. Nothing follows."""

    error: FatalProtocolError


@dataclass(slots=True)
class LineTooLongError:
    """A line beyond the limit: close without an answer. Nothing follows."""


NOP = Nop()

Command = (
    Identify
    | Auth
    | Subscribe
    | Ready
    | FinishRun
    | Requeue
    | Return
    | Touch
    | Close
    | Nop
    | Publish
    | MultiPublishStart
    | MultiPublish
    | UnknownId
    | Violation
    | LineTooLongError
)


def identify(body: bytes) -> bytes:
    """Build IDENTIFY; ``body`` is a JSON object (section 6)."""
    return b"IDENTIFY\n" + _sized(body)


def auth(secret: bytes) -> bytes:
    """Build AUTH."""
    return b"AUTH\n" + _sized(secret)


def sub(topic: str, channel: str) -> bytes:
    """Build SUB."""
    return b"SUB %b %b\n" % (_name(topic), _name(channel))


def rdy(count: int) -> bytes:
    """Build RDY."""
    if count < 0:
        raise ValueError(f"RDY count {count} is negative")
    return b"RDY %d\n" % count


def fin(id: bytes) -> bytes:
    """Build FIN."""
    return b"FIN %b\n" % _checked_id(id)


def fin_run(ids: Sequence[bytes]) -> bytes:
    """Build the FINs of many messages in one piece; nothing for no ids."""
    for id in ids:
        _checked_id(id)
    return b"FIN %b\n" % b"\nFIN ".join(ids) if ids else b""


def req(id: bytes, timeout_ms: int) -> bytes:
    """Build REQ; the server cuts the timeout to its limit."""
    return b"REQ %b %d\n" % (_checked_id(id), _checked_ms(timeout_ms))


def give_back(id: bytes) -> bytes:
    """Build RETURN, for a server that has granted it."""
    return b"RETURN %b\n" % _checked_id(id)


def touch(id: bytes) -> bytes:
    """Build TOUCH."""
    return b"TOUCH %b\n" % _checked_id(id)


def cls() -> bytes:
    """Build CLS."""
    return b"CLS\n"


def nop() -> bytes:
    """Build NOP."""
    return b"NOP\n"


def pub(topic: str, body: bytes) -> bytes:
    """Build PUB."""
    return _topic_line(b"PUB", topic) + _sized(body)


def dpub(topic: str, defer_ms: int, body: bytes) -> bytes:
    """Build DPUB; the server refuses a delay beyond its limit."""
    return b"DPUB %b %d\n%b" % (_name(topic), _checked_ms(defer_ms), _sized(body))


def mpub(topic: str, bodies: Iterable[bytes]) -> bytes:
    """Build MPUB."""
    messages = bodies if isinstance(bodies, list) else list(bodies)
    sizes = [len(body) for body in messages]
    if not sizes or not all(sizes):
        raise ValueError("MPUB needs messages, and each needs a body")
    count = len(sizes)
    parts: list[bytes] = [b""] * (2 * count)
    parts[0::2] = map(SIZE.pack, sizes)
    parts[1::2] = messages
    head = struct.pack(">II", 4 + 4 * count + sum(sizes), count)
    return b"".join((_topic_line(b"MPUB", topic), head, *parts))


def _sized(body: bytes) -> bytes:
    if not body:
        raise ValueError("the body is empty")
    return SIZE.pack(len(body)) + body


@lru_cache(maxsize=1024)
def _topic_line(word: bytes, topic: str) -> bytes:
    return b"%b %b\n" % (word, _name(topic))


def _name(name: str) -> bytes:
    if not is_valid_name(name):
        raise ValueError(f"{name!r} is not a valid name of a topic or channel")
    return name.encode()


def _checked_id(id: bytes) -> bytes:
    if len(id) != ID_BYTES:
        raise ValueError(f"message id {id!r} has not {ID_BYTES} bytes")
    return id


def _checked_ms(duration_ms: int) -> int:
    if duration_ms < 0:
        raise ValueError(f"duration of {duration_ms} ms is negative")
    return duration_ms
