"""
A place in a topic's log, as people and programs name it over HTTP.

    start               the oldest message that is kept
    end                 behind the newest
    seq:1234            a message by its number in the log
    id:00c0ffee00c0ffee  a message by its id
    time:2026-11-24T06:18:18Z   the first message accepted at or after a time (RFC 3339)
    time:1795500047.5   the same, seconds since 1970
    time:-10m           the same, that long ago (a Go duration)
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TypeVar

from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.edge.steps import in_background
from nsqx.nsqd.log.storage import Storage
from nsqx.protocol.errors import NsqxError
from nsqx.runtime.durations import SECOND_NS, parse_duration
from nsqx.runtime.http.server import ApiError, Request

__all__ = [
    "BadPositionError",
    "Kind",
    "LogPosition",
    "read_log",
    "requested_position",
    "sequence_at",
]

T = TypeVar("T")

_SECONDS = re.compile(r"([0-9]{1,11})(?:\.([0-9]{1,9}))?")
_ID = re.compile(r"[0-9a-f]{16}")
_NUMBER = re.compile(r"[0-9]{1,18}")


class BadPositionError(NsqxError, ValueError):
    """A text that names no place."""


class Kind(Enum):
    """How a place is named; the values are what stands before the colon."""

    START = "start"
    END = "end"
    SEQUENCE = "seq"
    ID = "id"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class LogPosition:
    """``value`` is a sequence number, an id or nanoseconds since 1970, by ``kind``."""

    kind: Kind
    value: int = 0

    @classmethod
    def parse(cls, text: str, now_ns: int) -> "LogPosition":
        """
        Read the text of a parameter.

        Raises:
            BadPositionError: it names no place.
        """
        word, colon, rest = text.partition(":")
        try:
            kind = Kind(word)
            if kind in (Kind.START, Kind.END):
                return cls(kind, _nothing(colon))
            return cls(kind, _READ[kind](rest, now_ns))
        except ValueError as error:
            raise BadPositionError(text) from error


def _nothing(colon: str) -> int:
    if colon:
        raise ValueError("there is nothing to say of it")
    return 0


def _sequence(text: str, now_ns: int) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return int(text)


def _id(text: str, now_ns: int) -> int:
    if not _ID.fullmatch(text):
        raise ValueError("not an id")
    return int(text, 16)


def _time_ns(text: str, now_ns: int) -> int:
    if text.startswith("-"):
        return now_ns + parse_duration(text)
    if (match := _SECONDS.fullmatch(text)) is not None:
        return int(match[1]) * SECOND_NS + int((match[2] or "0").ljust(9, "0"))
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * SECOND_NS + since.microseconds * 1000


_READ = {Kind.SEQUENCE: _sequence, Kind.ID: _id, Kind.TIME: _time_ns}


def requested_position(request: Request, name: str, now_ns: int) -> LogPosition:
    """
    Return the place that a parameter names, ``now_ns`` being wall time.

    Raises:
        ApiError: 400; it is missing, or names none.
    """
    text = request.query().get(name)
    if text is None:
        raise ApiError(400, f"MISSING_ARG_{name.upper()}")
    try:
        return LogPosition.parse(text, now_ns)
    except BadPositionError:
        raise ApiError(400, f"INVALID_ARG_{name.upper()}") from None


async def sequence_at(position: LogPosition, topic: Topic, storage: Storage) -> int:
    """
    Return the message at a place, or that would be; it may be below what is kept.

    Raises:
        ApiError: 404 for an id that is not known, 503 if the disk failed.
    """
    log = topic.log
    match position.kind:
        case Kind.START:
            return log.first
        case Kind.END:
            return log.end
        case Kind.SEQUENCE:
            return min(position.value, log.end)
        case Kind.ID:
            sequence = log.sequence_of(position.value)
            if sequence is None:
                raise ApiError(404, "MESSAGE_NOT_FOUND")
            return sequence
        case Kind.TIME:
            view = log.view()
            return await read_log(storage, lambda: view.first_at_or_after(position.value))


async def read_log(storage: Storage, work: Callable[[], T]) -> T:
    """Run what reads a log in another thread; 503 if the disk failed."""
    try:
        return await in_background(storage, work)
    except OSError as error:
        raise ApiError(503, "DISK_FAILED") from error
