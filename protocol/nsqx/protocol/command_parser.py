"""
The server's end of protocol V2: bytes in, commands out (protocol sections 1 and 3 to 5).

Theory of operation. A connection hands each read to ``receive_data`` and gets the commands that
it completes. Grammar, limits and protocol state (before SUB, after it, after CLS) are judged
here, command by command, so that commands sent in one piece are judged as if each had come
alone. What needs the broker (does the topic exist, may this client publish) is not.

A violation is an event like any other and the last one; the parser ignores what follows. EOF is
told by ``receive_eof``. IDENTIFY stops the parser, for what follows may be TLS or compressed:
the caller negotiates, takes those bytes with ``take_rest`` if an upgrade follows, and calls
``resume``.

Cost. Nothing is scanned or copied again while a body arrives: ``_missing`` says how many bytes
must come before anything can be decided. A read that completes a command is parsed as ``bytes``
from offset 0, and what remains of it is kept once. The messages of an MPUB are cut out as they
arrive, so its body is never held in one piece. What is held is bounded: a line, one message, and
the messages of one MPUB, each within its limit, and every limit is checked when a size is known.
"""

import re
import struct
from array import array
from binascii import unhexlify
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from nsqx.protocol.commands import (
    MAGIC_V2,
    NOP,
    Auth,
    Close,
    Command,
    FinishRun,
    Identify,
    LineTooLongError,
    MultiPublish,
    MultiPublishStart,
    Publish,
    Ready,
    Requeue,
    Return,
    Subscribe,
    Touch,
    UnknownId,
    Violation,
)
from nsqx.protocol.defaults import MAX_BODY_SIZE, MAX_MSG_SIZE, MAX_RDY_COUNT, MAX_REQ_TIMEOUT_MS
from nsqx.protocol.errors import FatalProtocolError, quote
from nsqx.protocol.messages import ID_BYTES
from nsqx.protocol.names import is_valid_name

__all__ = [
    "FIN",
    "LEGAL",
    "LINE_BYTES_MAX",
    "REQ",
    "TOUCH",
    "CommandParser",
    "Limits",
    "LoneAnswer",
    "State",
]

STRANGER_BODY_BYTES_MAX = 16 * 1024  # an IDENTIFY has some 300 bytes, a token some 2,000
LINE_BYTES_MAX = 16384  # with its newline

_SIZE = struct.Struct(">i")  # signed, as nsqd reads it
_MPUB_HEAD = struct.Struct(">ii")  # size of the body, count of messages
_FIN_BYTES = 21  # b"FIN ", id, b"\n"
_FIN_RUN = re.compile(rb"(?:FIN [0-9a-f]{16}+\n)++")
_REQ_BYTES_MAX = 40  # more digits are read word by word: 64 bits wrap round
_BLANK, _NEWLINE = b" \n"
_NOP_RUN = re.compile(rb"(?:NOP\n)++")
_LOWER_HEX_ID = re.compile(rb"[0-9a-f]{16}").fullmatch
_COUNT_BYTES = 4  # the count of messages at the start of an MPUB's body
_SMALLEST_MESSAGE_BYTES = 5  # in an MPUB: a size and one byte


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask for: nsqd's options of the same names."""

    max_msg_size: int = MAX_MSG_SIZE
    max_body_size: int = MAX_BODY_SIZE
    max_rdy_count: int = MAX_RDY_COUNT
    max_req_timeout_ms: int = MAX_REQ_TIMEOUT_MS

    @property
    def stranger_body_size(self) -> int:
        """Return the largest body of IDENTIFY and AUTH, which anybody may send."""
        return min(STRANGER_BODY_BYTES_MAX, self.max_body_size)


FIN, REQ, TOUCH = b"FIN", b"REQ", b"TOUCH"
# One of these, the message's id as a number, and for how long a requeued message is to wait. A
# tuple, since one command of its own takes as long as all else that is read in it.
LoneAnswer = tuple[bytes, int, int]


class State(Enum):
    """Where a connection is; the values are those of ``/stats``."""

    INIT = 0
    SUBSCRIBED = 3
    CLOSING = 4

    __hash__ = object.__hash__  # `LEGAL` is asked for each line; that of `Enum` is in Python


_INIT = State.INIT  # looked at per read: the members of an enum take longer to find

_ALWAYS = frozenset({b"NOP", b"PUB", b"DPUB", b"MPUB"})
_ANSWERS = frozenset({b"FIN", b"REQ", b"TOUCH", b"RETURN", b"RDY"})

# RDY is let through while closing, and does nothing: one may have been on its way.
LEGAL: dict[State, frozenset[bytes]] = {
    State.INIT: _ALWAYS | {b"IDENTIFY", b"AUTH", b"SUB"},
    State.SUBSCRIBED: _ALWAYS | _ANSWERS | {b"CLS"},
    State.CLOSING: _ALWAYS | _ANSWERS,
}


class CommandParser:
    """
    Turns the bytes of one connection into commands. Does no I/O and never raises.

    Attributes:
        error: The violation that ended the stream, if one did.
        state: Follows SUB and CLS as they are parsed.
        tls_required: While true, IDENTIFY is the only command. Set by the caller, and taken back
            when the connection has become TLS.
        heartbeats_enabled: False after an IDENTIFY that turned them off: SUB is refused. Set by
            the caller before it resumes.
        returns_enabled: RETURN was granted; else there is no such command. Set likewise.
        auth_is_missing: AUTH is required and has not come: then a long body of a publish, which
            will be refused, is not waited for. Set by the caller at the beginning.
    """

    __slots__ = (
        "_batch",
        "_buffer",
        "_eof_error",
        "_eof_received",
        "_events",
        "_greeted",
        "_limits",
        "_max_msg_size",
        "_missing",
        "_mpub_line",
        "_mpub_topic",
        "_publish_body_at",
        "_publish_line",
        "_publish_topic",
        "_stopped",
        "_try_whole_run",
        "auth_is_missing",
        "error",
        "finished",
        "heartbeats_enabled",
        "returns_enabled",
        "state",
        "tls_required",
    )

    def __init__(self, limits: Limits, *, tls_required: bool = False) -> None:
        self.error: FatalProtocolError | None = None
        self.finished = False  # violation, line too long or EOF: nothing is read any more
        self.state = State.INIT
        self.tls_required = tls_required
        self.heartbeats_enabled = True
        self.returns_enabled = False
        self.auth_is_missing = False
        self._limits = limits
        self._max_msg_size = limits.max_msg_size
        self._greeted = False
        self._stopped = False  # between an Identify and resume()
        self._eof_received = False
        # The start of what is not complete, and how many bytes must come before it can be.
        self._buffer = bytearray()
        self._missing = len(MAGIC_V2)
        self._eof_error: tuple[str, str] | None = None  # what EOF would be now
        self._batch: _Batch | None = None  # an MPUB whose line has been read
        self._events: list[Command] = []
        self._try_whole_run = True
        # The last b"PUB topic\n", where a body would begin behind it, and its topic. No bytes
        # start with one of no prefixes: () stands for "none", at no cost where it is compared.
        self._publish_line: bytes | tuple[bytes, ...] = ()
        self._publish_body_at = 0
        self._publish_topic = ""
        self._mpub_line: bytes | tuple[bytes, ...] = ()  # likewise
        self._mpub_topic = ""

    # Data

    def receive_data(self, data: bytes) -> list[Command]:
        """Return the commands that ``data`` completes, in the order sent."""
        if self.finished:
            return []
        if self._stopped or len(data) < self._missing:
            self._buffer += data
            self._missing -= len(data)
            return []
        if self._buffer:
            data = b"".join((self._buffer, data))
            self._buffer.clear()
        return self._parse_all(data)

    def lone_publish(self, data: bytes, topic: str) -> bytes | None:
        """
        Return the body if ``data`` is one PUB, whole and right, to the topic of the last one.

        The fast way for a producer that waits for each answer, which sends nothing else. If the
        answer is None, or not wanted, `receive_data` is to be called with the same data.
        """
        if not data.startswith(self._publish_line) or self._buffer or topic != self._publish_topic:
            return None
        body_at = self._publish_body_at
        size = len(data) - body_at
        if 0 < size <= self._max_msg_size and size == int.from_bytes(data[body_at - 4 : body_at]):
            return data[body_at:]
        return None

    def lone_answer(self, data: bytes) -> LoneAnswer | None:
        """
        Return what ``data`` says if it is one FIN, REQ or TOUCH, whole and right, after SUB.

        The fast way for a consumer that answers one message at a time; see `lone_publish`.
        """
        if not _FIN_BYTES <= len(data) <= _REQ_BYTES_MAX or data[-1] != _NEWLINE:
            return None
        if self._missing or self.finished or self.state is _INIT:
            return None
        timeout_ms = 0
        word = data[:4]
        if word == b"FIN ":
            word, id, end = FIN, data[4:20], data[20:]
        elif word == b"REQ ":
            word, id, end = REQ, data[4:20], data[20:]
            if end != b" 0\n":  # as a rule it is
                timeout = end[1:-1]
                if end[0] != _BLANK or not timeout.isdigit():
                    return None
                timeout_ms = min(int(timeout), self._limits.max_req_timeout_ms)
            end = b"\n"
        elif word == b"TOUC":
            word, id, end = TOUCH, data[6:22], data[22:]
            if data[4:6] != b"H ":
                return None
        else:
            return None
        if end != b"\n" or not (id.islower() or id.isdigit()):
            return None
        try:
            return word, int.from_bytes(unhexlify(id)), timeout_ms
        except ValueError:  # no hex digits
            return None

    def receive_eof(self) -> list[Command]:
        """Return the violation if the stream ends within a body, else nothing."""
        if self._stopped:
            self._eof_received = True
            return []
        if self.finished:
            return []
        self._finish()
        if self._eof_error is None:
            return []
        self.error = FatalProtocolError(*self._eof_error)
        return [Violation(self.error)]

    def forget(self) -> None:
        """Drop what is not complete: nothing more will come."""
        self.finished = True
        self._buffer = bytearray()
        self._batch = None

    def take_rest(self) -> bytes:
        """
        Take the bytes behind an IDENTIFY, which the layer that begins there must read.

        Call it before ``resume``, which would parse them as they are.
        """
        assert self._stopped
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def resume(self) -> list[Command]:
        """Go on behind an IDENTIFY, and return the commands that have come in meanwhile."""
        assert self._stopped
        rest = self.take_rest()
        self._stopped = False
        events = self._parse_all(rest)
        if self._eof_received:
            events += self.receive_eof()
        return events

    # Grammar

    def _parse_all(self, data: bytes) -> list[Command]:
        """Parse from the start of ``data``, and keep what is not complete."""
        events: list[Command] = []
        self._events = events
        self._missing = 0
        self._eof_error = None
        self._try_whole_run = True
        position, end = 0, len(data)
        try:
            if not self._greeted:
                position = self._parse_magic(data)
            while position < end and not self._missing and not self._stopped:
                position = self._parse(data, position)
        except FatalProtocolError as exc:
            self.error = exc
            exc.__traceback__ = None  # its frames hold all that was read
            self._finish()
            events.append(Violation(exc))
        else:
            if position < end and not self.finished:
                # Once per read: a deletion per command moves the rest each time.
                self._buffer += data[position:] if position else data
        self._events = []  # do not keep what the caller has
        return events

    def _parse_magic(self, data: bytes) -> int:
        if not data.startswith(MAGIC_V2):
            raise FatalProtocolError("E_BAD_PROTOCOL")
        self._greeted = True
        return len(MAGIC_V2)

    def _parse(self, data: bytes, start: int) -> int:
        """Parse one command or a run of a kind; return where the next begins."""
        if self._batch is not None:
            return self._parse_batch(self._batch, data, start)
        if data.startswith(b"FIN ", start) and self.state is not State.INIT:
            position = self._parse_fin_run(data, start)
        elif data.startswith(self._publish_line, start):
            position = self._parse_publish_run(data, start)
        elif data.startswith(self._mpub_line, start):
            position = self._parse_known_mpub(data, start)
        elif data.startswith(b"NOP\nNOP\n", start) and not self.tls_required:
            position = self._parse_nop_run(data, start)
        else:
            return self._parse_line(data, start)
        return position if position > start else self._parse_line(data, start)

    def _parse_line(self, data: bytes, start: int) -> int:
        newline = data.find(b"\n", start, start + LINE_BYTES_MAX)
        if newline < 0:
            return self._wait_for_line(data, start)
        words = data[start:newline].removesuffix(b"\r").split(b" ")
        word = words[0]
        if self.tls_required and word != b"IDENTIFY":
            raise _invalid(b"cannot %b in current state (TLS required)" % word)
        handler = _HANDLERS.get(word)
        if handler is None or (word == b"RETURN" and not self.returns_enabled):
            raise _invalid(b"invalid command %b" % word)
        if word not in LEGAL[self.state]:
            raise _invalid(b"cannot %b in current state" % word)
        position = handler(self, words, data, newline + 1)
        # An incomplete command is parsed again from its line: twice at most, for size and body.
        return start if position is None else position

    def _wait_for_line(self, data: bytes, start: int) -> int:
        if len(data) - start < LINE_BYTES_MAX:
            self._missing = 1
            return start
        self._events.append(LineTooLongError())
        self._finish()
        return len(data)

    # Handlers: each gets the words of its line and the position behind it, appends its event, and
    # returns where the next command begins, or None if its body is not complete.

    def _identify(self, words: list[bytes], data: bytes, after: int) -> int | None:
        body = self._body(data, after, _IDENTIFY_BODY, self._limits.stranger_body_size)
        if body is None:
            return None
        self._events.append(Identify(body))
        self._stopped = True
        self._publish_line = ()
        return after + _SIZE.size + len(body)

    def _auth(self, words: list[bytes], data: bytes, after: int) -> int | None:
        if len(words) != 1:
            raise _invalid("AUTH invalid number of parameters")
        secret = self._body(data, after, _AUTH_BODY, self._limits.stranger_body_size)
        if secret is None:
            return None
        self.auth_is_missing = False  # what comes behind it waits for its answer, unread
        self._events.append(Auth(secret))
        return after + _SIZE.size + len(secret)

    def _sub(self, words: list[bytes], data: bytes, after: int) -> int:
        if not self.heartbeats_enabled:
            raise _invalid("cannot SUB with heartbeats disabled")
        if len(words) < 3:
            raise _invalid("SUB insufficient number of parameters")
        topic = _topic(words, "")
        channel = words[2].decode("latin-1")
        if not is_valid_name(channel):
            detail = f"SUB channel name {quote(words[2])} is not valid"
            raise FatalProtocolError("E_BAD_CHANNEL", detail)
        self._events.append(Subscribe(topic, channel))
        self.state = State.SUBSCRIBED
        return after

    def _rdy(self, words: list[bytes], data: bytes, after: int) -> int:
        if self.state is State.CLOSING:
            self._events.append(NOP)
            return after
        count = 1
        if len(words) > 1:
            number = _number(words[1])
            if number is None:
                raise _invalid(b"RDY could not parse count %b" % words[1])
            count = number - (1 << 64) if number >> 63 else number  # nsqd holds it signed
        limit = self._limits.max_rdy_count
        if not 0 <= count <= limit:
            raise _invalid(f"RDY count {count} out of range 0-{limit}")
        self._events.append(Ready(count))
        return after

    def _fin(self, words: list[bytes], data: bytes, after: int) -> int:
        id = _message_id(words, 2)
        if _LOWER_HEX_ID(id):
            self._events.append(FinishRun(array("Q", (int(id, 16),))))
        else:
            self._events.append(UnknownId(b"FIN", id))
        return after

    def _req(self, words: list[bytes], data: bytes, after: int) -> int:
        id = _message_id(words, 3)
        timeout_ms = _number(words[2])
        if timeout_ms is None:
            raise _invalid(b"REQ could not parse timeout %b" % words[2])
        if _LOWER_HEX_ID(id):
            timeout_ms = min(timeout_ms, self._limits.max_req_timeout_ms)
            self._events.append(Requeue(int(id, 16), timeout_ms))
        else:
            self._events.append(UnknownId(b"REQ", id))
        return after

    def _touch(self, words: list[bytes], data: bytes, after: int) -> int:
        id = _message_id(words, 2)
        known = _LOWER_HEX_ID(id)
        self._events.append(Touch(int(id, 16)) if known else UnknownId(b"TOUCH", id))
        return after

    def _return(self, words: list[bytes], data: bytes, after: int) -> int:
        self._events.append(Return(_message_id(words, 2)))
        return after

    def _cls(self, words: list[bytes], data: bytes, after: int) -> int:
        self._events.append(Close())
        self.state = State.CLOSING
        return after

    def _nop(self, words: list[bytes], data: bytes, after: int) -> int:
        self._events.append(NOP)
        return after

    def _pub(self, words: list[bytes], data: bytes, after: int) -> int | None:
        if len(words) < 2:
            raise _invalid("PUB insufficient number of parameters")
        topic = _topic(words, "")
        body = self._body(data, after, _PUB_BODY, self._max_msg_size)
        if body is None:
            self._wait_for_nobody("PUB", len(data) - after)
            return None
        self._events.append(Publish(topic, body, None))
        self._publish_line = b"PUB %b\n" % words[1]
        self._publish_body_at = len(self._publish_line) + _SIZE.size
        self._publish_topic = topic
        return after + _SIZE.size + len(body)

    def _dpub(self, words: list[bytes], data: bytes, after: int) -> int | None:
        if len(words) < 3:
            raise _invalid("DPUB insufficient number of parameters")
        topic = _topic(words, "")
        defer_ms = _number(words[2])
        if defer_ms is None:
            raise _invalid(b"DPUB could not parse timeout %b" % words[2])
        limit_ms = self._limits.max_req_timeout_ms
        if defer_ms > limit_ms:
            raise _invalid(f"DPUB timeout {defer_ms} out of range 0-{limit_ms}")
        body = self._body(data, after, _DPUB_BODY, self._max_msg_size)
        if body is None:
            self._wait_for_nobody("DPUB", len(data) - after)
            return None
        self._events.append(Publish(topic, body, defer_ms))
        return after + _SIZE.size + len(body)

    def _mpub(self, words: list[bytes], data: bytes, after: int) -> int:
        if len(words) < 2:
            raise _invalid("MPUB insufficient number of parameters")
        batch = _Batch(_topic(words, "E_BAD_TOPIC "), self._limits.max_body_size)
        self._batch = batch
        self._mpub_line = b"MPUB %b\n" % words[1]
        self._mpub_topic = batch.topic
        return self._parse_batch(batch, data, after)

    # Bodies

    def _body(self, data: bytes, at: int, texts: "_BodyTexts", limit: int) -> bytes | None:
        """Return the body whose size is at ``at``, or None (and wait) if it is not complete."""
        start = at + _SIZE.size
        if start > len(data):
            self._wait(start - len(data), texts.code, texts.no_size)
            return None
        size: int = _SIZE.unpack_from(data, at)[0]
        if size <= 0:
            raise FatalProtocolError(texts.code, texts.invalid.format(size))
        if size > limit:
            raise FatalProtocolError(texts.code, texts.too_big.format(size, limit))
        end = start + size
        if end > len(data):
            self._wait(end - len(data), texts.code, texts.no_body)
            return None
        return data[start:end]

    def _wait_for_nobody(self, word: str, have: int) -> None:
        """Refuse the long body of who has no right to publish, before it is here."""
        if self.auth_is_missing and have + self._missing > self._limits.stranger_body_size:
            raise FatalProtocolError("E_AUTH_FIRST", f"AUTH required before {word}")

    def _wait(self, missing: int, code: str, eof_detail: str) -> None:
        """Nothing can be decided before ``missing`` bytes have come; EOF would be this error."""
        self._missing = missing
        self._eof_error = (code, eof_detail)

    # MPUB

    def _parse_batch(self, batch: "_Batch", data: bytes, position: int) -> int:
        try:
            if batch.count == 0:
                position = self._parse_batch_head(batch, data, position)
            if batch.count > 0:
                position = self._parse_messages(batch, data, position)
        finally:
            if self._batch is not None and not batch.announced:
                # Before the violation, if there is one: nsqd creates the topic all the same.
                batch.announced = True
                self._publish_line = ()  # what comes now is not a command
                self._events.append(MultiPublishStart(batch.topic))
        return position

    def _parse_batch_head(self, batch: "_Batch", data: bytes, position: int) -> int:
        """Read body size and message count; the body size is only compared with the limit."""
        have = len(data) - position
        if have < 4:
            self._wait(4 - have, "E_BAD_BODY", "MPUB failed to read body size")
            return position
        size: int = _SIZE.unpack_from(data, position)[0]
        if size <= 0:
            raise FatalProtocolError("E_BAD_BODY", f"MPUB invalid body size {size}")
        limit = self._limits.max_body_size
        if size > limit:
            raise FatalProtocolError("E_BAD_BODY", f"MPUB body too big {size} > {limit}")
        if have < 8:
            self._wait(8 - have, "E_BAD_BODY", "MPUB failed to read message count")
            return position
        count: int = _SIZE.unpack_from(data, position + 4)[0]
        if not 0 < count <= (limit - _COUNT_BYTES) // _SMALLEST_MESSAGE_BYTES:
            raise FatalProtocolError("E_BAD_BODY", f"MPUB invalid message count {count}")
        batch.count = count
        batch.room -= _COUNT_BYTES
        return position + 8

    def _parse_messages(self, batch: "_Batch", data: bytes, start: int) -> int:
        """Cut out the messages that are complete, in one pass; the batch if all are."""
        stop = min(len(data), start + batch.room)
        count = batch.count - len(batch.bodies)
        position = _cut_messages(data, start, stop, count, self._max_msg_size, batch.bodies)
        batch.room -= position - start
        if len(batch.bodies) < batch.count:
            self._wait_for_message(batch, data, position)
        else:
            self._batch = None
            self._events.append(MultiPublish(batch.topic, batch.bodies))
        return position

    def _wait_for_message(self, batch: "_Batch", data: bytes, position: int) -> None:
        """Say why the message at ``position`` could not be cut out: wrong, or not complete."""
        number = len(batch.bodies)
        have = len(data) - position
        if have < 4 <= batch.room:
            detail = f"MPUB failed to read message({number}) body size"
            self._wait(4 - have, "E_BAD_MESSAGE", detail)
            return
        size: int = _SIZE.unpack_from(data, position)[0] if batch.room >= 4 else 1
        if size <= 0:
            detail = f"MPUB invalid message({number}) body size {size}"
            raise FatalProtocolError("E_BAD_MESSAGE", detail)
        if size > self._max_msg_size:
            detail = f"MPUB message too big {size} > {self._max_msg_size}"
            raise FatalProtocolError("E_BAD_MESSAGE", detail)
        if size + 4 > batch.room:
            # nsqd reads on for as long as there are messages; here memory is bounded.
            limit = self._limits.max_body_size
            total = limit - batch.room + 4 + size
            raise FatalProtocolError("E_BAD_BODY", f"MPUB body too big {total} > {limit}")
        self._wait(4 + size - have, "E_BAD_MESSAGE", "MPUB failed to read message body")

    # Runs

    def _parse_publish_run(self, data: bytes, position: int) -> int:
        """Parse the complete and right PUBs that have the line seen last."""
        line, topic = self._publish_line, self._publish_topic
        add = self._events.append
        end = len(data)
        while data.startswith(line, position):
            body_at = position + self._publish_body_at
            size = int.from_bytes(data[body_at - 4 : body_at])
            if not 0 < size <= self._max_msg_size or body_at + size > end:
                break
            position = body_at + size
            add(Publish(topic, data[body_at:position], None))
        return position

    def _parse_nop_run(self, data: bytes, start: int) -> int:
        """Parse NOPs that follow each other, which say no more than one."""
        match = _NOP_RUN.match(data, start)
        assert match is not None
        self._events.append(NOP)
        return match.end()

    def _parse_known_mpub(self, data: bytes, start: int) -> int:
        """Parse an MPUB that has the line seen last, if it is complete and right."""
        # 1.3 us and its messages; going by the words of its line and a _Batch costs 2.7.
        after = start + len(self._mpub_line)
        first_message = after + 8
        if first_message > len(data):
            return start
        size, count = _MPUB_HEAD.unpack_from(data, after)
        stop = after + 4 + size
        if not 0 < size <= self._limits.max_body_size or count <= 0 or stop > len(data):
            return start
        bodies: list[bytes] = []
        position = _cut_messages(data, first_message, stop, count, self._max_msg_size, bodies)
        if len(bodies) < count:
            return start
        self._events.append(MultiPublish(self._mpub_topic, bodies))
        return position

    def _parse_fin_run(self, data: bytes, position: int) -> int:
        """Parse the FINs with lower-case hex ids that follow each other, as one event."""
        ids = None
        if self._try_whole_run:
            ids = _whole_fin_run(data, position)
            # Once per read: else a mixture of FINs and others would be scanned for each of them.
            self._try_whole_run = False
        if ids is None:
            match = _FIN_RUN.match(data, position)
            if match is None:
                return position
            ids = _ids_of_fin_run(match[0])
        self._events.append(FinishRun(ids))
        return position + _FIN_BYTES * len(ids)

    def _finish(self) -> None:
        self.finished = True
        self._buffer.clear()
        self._batch = None
        self._publish_line = ()


@dataclass(slots=True)
class _Batch:
    """An MPUB that is being read."""

    topic: str
    room: int  # bytes that the body may still have
    count: int = 0  # messages, 0 while unknown
    bodies: list[bytes] = field(default_factory=list)
    announced: bool = False  # by a MultiPublishStart


class _BodyTexts:
    """What may be wrong with the body of a command (section 5)."""

    __slots__ = ("code", "invalid", "no_body", "no_size", "too_big")

    def __init__(self, code: str, command: str, body: str, thing: str) -> None:
        self.code = code
        self.no_size = f"{command} failed to read {body} size"
        self.invalid = f"{command} invalid {body} size {{}}"
        self.too_big = f"{command} {thing} too big {{}} > {{}}"
        self.no_body = f"{command} failed to read {body}"


_IDENTIFY_BODY = _BodyTexts("E_BAD_BODY", "IDENTIFY", "body", "body")
_AUTH_BODY = _BodyTexts("E_BAD_BODY", "AUTH", "body", "body")
_PUB_BODY = _BodyTexts("E_BAD_MESSAGE", "PUB", "message body", "message")
_DPUB_BODY = _BodyTexts("E_BAD_MESSAGE", "DPUB", "message body", "message")

_HANDLERS: dict[bytes, Callable[[CommandParser, list[bytes], bytes, int], int | None]] = {
    b"IDENTIFY": CommandParser._identify,
    b"AUTH": CommandParser._auth,
    b"SUB": CommandParser._sub,
    b"RDY": CommandParser._rdy,
    b"FIN": CommandParser._fin,
    b"REQ": CommandParser._req,
    b"TOUCH": CommandParser._touch,
    b"RETURN": CommandParser._return,
    b"CLS": CommandParser._cls,
    b"NOP": CommandParser._nop,
    b"PUB": CommandParser._pub,
    b"DPUB": CommandParser._dpub,
    b"MPUB": CommandParser._mpub,
}


def _invalid(detail: bytes | str) -> FatalProtocolError:
    return FatalProtocolError("E_INVALID", detail)


def _topic(words: list[bytes], prefix: str) -> str:
    # Latin-1 never fails, and what it makes of other bytes is no name.
    topic = words[1].decode("latin-1")
    if not is_valid_name(topic):
        detail = f"{prefix}{words[0].decode()} topic name {quote(words[1])} is not valid"
        raise FatalProtocolError("E_BAD_TOPIC", detail)
    return topic


def _message_id(words: list[bytes], words_min: int) -> bytes:
    if len(words) < words_min:
        raise _invalid(b"%b insufficient number of params" % words[0])
    if len(words[1]) != ID_BYTES:
        raise _invalid("invalid message ID")
    return words[1]


def _cut_messages(
    data: bytes, position: int, stop: int, count: int, max_msg_size: int, bodies: list[bytes]
) -> int:
    """
    Append up to ``count`` messages of an MPUB to ``bodies``, in one pass.

    Returns:
        Where the first begins that is wrong or goes beyond ``stop``, or where the last one ends.
    """
    size_at = _SIZE.unpack_from
    add = bodies.append
    last_size = stop - 4
    # 130 ns a message.
    for _ in range(count):
        if position > last_size:
            break
        size = size_at(data, position)[0]
        body_at = position + 4
        end = body_at + size
        if not 0 < size <= max_msg_size or end > stop:
            break
        add(data[body_at:end])
        position = end
    return position


def _number(word: bytes) -> int | None:
    """Read a number as nsqd does: digits only, none at all is 0, and 64 bits wrap round."""
    if not word:
        return 0
    if not word.isdigit():
        return None
    # 10 ** 64 is a multiple of 2 ** 64: digits before the last 64 do not matter.
    return int(word[-64:]) & 0xFFFF_FFFF_FFFF_FFFF


def _whole_fin_run(data: bytes, start: int) -> "array[int] | None":
    """Return the ids if ``data`` has only FINs of a run from ``start`` on, and part of one."""
    # 43 ns a FIN; the regular expression, which finds where a run ends, costs 70.
    count = (len(data) - start) // _FIN_BYTES
    run = data[start : start + _FIN_BYTES * count]
    if not count or run[20::_FIN_BYTES] != b"\n" * count:
        return None
    digits = run[4:-1].replace(b"\nFIN ", b"")
    # There is a newline at the end of each FIN. If only digits are left, each of those newlines
    # was part of a separator, so that there are no others and every id has its 16 digits.
    # Comparing them again finds upper case, and blanks, which fromhex skips.
    try:
        packed = bytes.fromhex(digits.decode())
    except ValueError:
        return None
    if packed.hex().encode() != digits:
        return None
    ids = array("Q", packed)
    ids.byteswap()
    return ids


def _ids_of_fin_run(run: bytes) -> "array[int]":
    ids = array("Q", bytes.fromhex(run[4:-1].replace(b"\nFIN ", b"").decode()))
    ids.byteswap()
    return ids
