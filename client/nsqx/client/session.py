"""
One connection to an nsqd, seen from the client: frames in, commands out. Does no I/O.

Theory of operation. ``start`` queues the magic and IDENTIFY. Then the handshake takes one answer
after another (protocol section 6), in this order and each only if negotiated:

    IDENTIFYING       the answer to IDENTIFY, always in the clear
    STARTING_TLS      nothing is read here: the connection upgrades its transport
    AWAITING_OK       the OK of TLS, then of the compression, each inside its layer
    AUTHENTICATING    the answer to AUTH
    OPEN              answers, errors, messages and heartbeats
    CLOSED            what comes is ignored

Before OPEN, frames are taken singly: the bytes behind one may belong to the next layer. Nothing
is sent between IDENTIFY and the end of an upgrade, for nsqd loses what it has read ahead.

In OPEN, nsqd answers PUB, DPUB, MPUB and SUB in the order sent, so the oldest request is the one
an ``OK`` or a fatal error belongs to. Errors about FIN, REQ and TOUCH belong to no request.

The connection feeds ``receive_data`` and carries out the events in order; after that, and after
every call that queues a command, it writes ``data_to_send``.
"""

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Any, Protocol as Interface, cast

from nsqx.client.compression import CompressionLayer, make_layer
from nsqx.client.errors import (
    AuthFailed,
    ConnectFailed,
    ConnectionClosed,
    IdentifyFailed,
    RequestFailed,
)
from nsqx.client.message import MakeMessage, Message
from nsqx.client.settings import Settings
from nsqx.protocol import commands
from nsqx.protocol.defaults import MAX_RDY_COUNT
from nsqx.protocol.errors import CompressionError, NsqError
from nsqx.protocol.frames import HEARTBEAT, OK, ErrorFrame, FrameParser, Response
from nsqx.protocol.messages import SIZE

__all__ = [
    "AnswerFailed",
    "CloseWait",
    "Confirmed",
    "Event",
    "Failed",
    "Limits",
    "Messages",
    "Negotiated",
    "Opened",
    "Refused",
    "Request",
    "Session",
    "StartTls",
]

HANDSHAKE_FRAME_BYTES_MAX = 1024 * 1024  # an answer to IDENTIFY has some 300 bytes
DEFAULT_MSG_TIMEOUT_SECONDS = 60.0
TLS = "tls"


class Request(Interface):
    """Something sent that nsqd answers with ``OK`` or an error."""

    def confirm(self) -> None:
        """It was done."""

    def fail(self, error: NsqError) -> None:
        """It was refused, or the connection ended before the answer."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What nsqd answered to IDENTIFY; the defaults hold for one that answers just ``OK``."""

    max_rdy_count: int = MAX_RDY_COUNT
    msg_timeout_seconds: float = DEFAULT_MSG_TIMEOUT_SECONDS
    version: str = ""
    tls: bool = False
    compression: str | None = None
    auth_required: bool = False
    takes_back: bool = False  # knows RETURN: a message goes back with its attempts as they were
    limits: "Limits | None" = None  # None: not said
    http_port: int = 0  # 0: none, or not said


@dataclass(frozen=True, slots=True)
class Limits:
    """What nsqd takes at most: bytes of a message and of an MPUB, milliseconds of a delay."""

    max_msg_size: int
    max_body_size: int
    max_req_timeout_ms: int


@dataclass(slots=True)
class StartTls:
    """The transport must be upgraded now; then call ``Session.tls_started``."""


@dataclass(slots=True)
class Opened:
    """The handshake is over: requests may be sent."""

    negotiated: Negotiated


@dataclass(slots=True)
class Messages:
    """Messages in the order received."""

    messages: list[Message]


@dataclass(slots=True)
class Confirmed:
    """Requests that were answered with ``OK``, oldest first."""

    requests: list[Request]


@dataclass(slots=True)
class Refused:
    """The request that an error frame belongs to. nsqd closes the connection next."""

    request: Request
    error: RequestFailed


@dataclass(slots=True)
class AnswerFailed:
    """A FIN, REQ or TOUCH came too late. The connection goes on."""

    code: str
    text: str


@dataclass(slots=True)
class CloseWait:
    """nsqd took note of CLS: no more messages come."""


@dataclass(slots=True)
class Failed:
    """The connection must be closed. ``error`` says why."""

    error: NsqError


Event = StartTls | Opened | Messages | Confirmed | Refused | AnswerFailed | CloseWait | Failed


class _Phase(Enum):
    IDENTIFYING = 1
    STARTING_TLS = 2
    AWAITING_OK = 3
    AUTHENTICATING = 4
    OPEN = 5
    CLOSED = 6


class Session:
    """The state of one connection."""

    def __init__(self, settings: Settings, address: str, make_message: MakeMessage) -> None:
        self.negotiated = Negotiated()
        self.pending: deque[Request] = deque()  # sent and not answered, oldest first
        self._settings = settings
        self._address = address
        self._phase = _Phase.IDENTIFYING
        self._parser = FrameParser(make_message, frame_bytes_max=settings.frame_bytes_max)
        self._handshake = bytearray()  # received before OPEN, in the present layer
        self._layers: list[str] = []  # what IDENTIFY granted and is not yet in use, in order
        self._compression: CompressionLayer | None = None
        self._output: list[bytes] = []
        self.finished: list[bytes] = []  # ids for which FIN is due; always the same list

    # Sending

    def start(self) -> None:
        """Queue what a client sends first."""
        self.send(commands.MAGIC_V2 + commands.identify(self._settings.identify_body()))

    def send(self, command: bytes) -> None:
        """Queue a command that has no answer."""
        self._output.append(command)

    def finish(self, message_id: bytes) -> None:
        """Queue a FIN. It goes out behind all other commands that are queued by then."""
        self.finished.append(message_id)

    def request(self, request: Request, command: bytes) -> None:
        """Queue a command that is answered."""
        assert self._phase is _Phase.OPEN, "a request before the handshake is over"
        self.pending.append(request)
        self._output.append(command)

    @property
    def is_open(self) -> bool:
        """Whether requests may be queued."""
        return self._phase is _Phase.OPEN

    @property
    def has_output(self) -> bool:
        """Whether ``data_to_send`` would return something."""
        return bool(self._output or self.finished)

    def data_to_send(self) -> bytes:
        """Return what was queued since the last call, as it goes on the wire."""
        if self.finished:
            self._output.append(commands.fin_run(self.finished))
            self.finished.clear()
        data = b"".join(self._output)
        self._output.clear()
        return self._compression.compress(data) if self._compression is not None and data else data

    # Receiving

    def receive_data(self, data: bytes) -> list[Event]:
        """Return what happened, in order. After ``Failed`` nothing happens any more."""
        events: list[Event] = []
        try:
            pieces = (data,) if self._compression is None else self._compression.decompress(data)
            for piece in pieces:
                if self._phase is not _Phase.OPEN:
                    piece = self._shake_hands(piece, events)
                if self._phase is _Phase.OPEN and piece:
                    self._receive_frames(piece, events)
        except CompressionError as exc:
            self._fail(events, self._closed(str(exc)))
        return events

    def tls_started(self) -> None:
        """Go on with the handshake, inside TLS."""
        assert self._phase is _Phase.STARTING_TLS
        self._phase = _Phase.AWAITING_OK

    def close(self) -> list[Request]:
        """Note that the connection is lost. Returns the requests that have no answer."""
        self._phase = _Phase.CLOSED
        unanswered = list(self.pending)
        self.pending.clear()
        return unanswered

    # Receiving: the handshake

    def _shake_hands(self, data: bytes, events: list[Event]) -> bytes:
        """Take one frame after another; return what is left behind the last one."""
        self._handshake += data
        while self._phase not in (_Phase.OPEN, _Phase.CLOSED):
            frame = self._take_frame(events)
            if frame is None:
                return b""
            self._shake(frame, events)
        return self._take_rest()

    def _take_frame(self, events: list[Event]) -> Response | ErrorFrame | None:
        """Cut off the first frame: only its size is looked at, and nothing behind it."""
        if len(self._handshake) < SIZE.size:
            return None
        size = SIZE.size + SIZE.unpack_from(self._handshake)[0]
        if size > HANDSHAKE_FRAME_BYTES_MAX:
            is_http = self._handshake.startswith(b"HTTP")
            reason = "this port speaks HTTP; nsqd's TCP port is wanted, 4150 by default"
            reason = reason if is_http else "this is not an nsqd"
            self._fail(events, ConnectFailed(self._address, reason))
            return None
        if len(self._handshake) < size:
            return None
        frames = self._parser.receive_data(bytes(self._handshake[:size]))
        del self._handshake[:size]
        if len(frames) != 1 or isinstance(frames[0], Message):
            self._fail(events, ConnectFailed(self._address, "this is not an nsqd"))
            return None
        return frames[0]

    def _take_rest(self) -> bytes:
        rest = bytes(self._handshake)
        self._handshake.clear()
        return rest

    def _shake(self, frame: Response | ErrorFrame, events: list[Event]) -> None:
        if isinstance(frame, Response) and frame.data == HEARTBEAT:
            return  # nothing may be sent now, and the handshake is a sign of life
        match self._phase, frame:
            case _Phase.IDENTIFYING, Response(data):
                self._identified(data, events)
            case _Phase.AWAITING_OK, Response(b"OK"):
                self._next_layer(events)
            case _Phase.AUTHENTICATING, Response():
                self._open(events)
            case _Phase.AUTHENTICATING, ErrorFrame(line):
                self._fail(events, AuthFailed(self._address, _text(line)))
            case _, ErrorFrame(line):
                self._fail(events, IdentifyFailed(self._address, _text(line)))
            case _, Response(data):
                self._fail(events, IdentifyFailed(self._address, f"unexpected {data[:80]!r}"))

    def _identified(self, data: bytes, events: list[Event]) -> None:
        try:
            self.negotiated = _negotiated(data)
        except ValueError:
            self._fail(events, IdentifyFailed(self._address, f"unexpected {data[:80]!r}"))
            return
        if self._settings.tls and not self.negotiated.tls:
            # go-nsq goes on in the clear; who asks for TLS here does not want that.
            self._fail(events, IdentifyFailed(self._address, "nsqd does not offer TLS"))
            return
        if self.negotiated.tls:
            self._layers.append(TLS)
        if self.negotiated.compression is not None:
            self._layers.append(self.negotiated.compression)
        self._next_layer(events)

    def _next_layer(self, events: list[Event]) -> None:
        if not self._layers:
            self._authenticate(events)
            return
        layer = self._layers.pop(0)
        if layer == TLS:
            self._phase = _Phase.STARTING_TLS
            events.append(StartTls())
            return
        self._phase = _Phase.AWAITING_OK
        self._compression = make_layer(layer, self._settings.deflate_level)
        # nsqd may have sent its OK right behind the answer, in the new layer.
        self._handshake += b"".join(self._compression.decompress(self._take_rest()))

    def _authenticate(self, events: list[Event]) -> None:
        secret = self._settings.secret()
        if not self.negotiated.auth_required:
            self._open(events)
        elif secret is None:
            self._fail(events, AuthFailed(self._address, "nsqd demands an auth_secret"))
        else:
            self._phase = _Phase.AUTHENTICATING
            self.send(commands.auth(secret))

    def _open(self, events: list[Event]) -> None:
        self._phase = _Phase.OPEN
        events.append(Opened(self.negotiated))

    # Receiving: everything else

    def _receive_frames(self, data: bytes, events: list[Event]) -> None:
        # groupby finds the runs of messages without a test in Python for each.
        for kind, run in groupby(self._parser.receive_data(data), type):
            if kind is Message:
                events.append(Messages(cast(list[Message], list(run))))
            elif kind is Response:
                self._receive_responses(cast(Iterable[Response], run), events)
            else:
                for error in cast(Iterable[ErrorFrame], run):
                    self._receive_error(error, events)
        if self._parser.error is not None:
            self._fail(events, ConnectionClosed(self._address, str(self._parser.error)))

    def _receive_responses(self, responses: Iterable[Response], events: list[Event]) -> None:
        confirmed: list[Request] = []
        for response in responses:
            if response.data == OK and self.pending:
                confirmed.append(self.pending.popleft())
            elif response.data == HEARTBEAT:
                self.send(commands.nop())
            elif response.data == b"CLOSE_WAIT":
                events.append(CloseWait())
            else:
                self._fail(events, self._closed(f"unexpected answer {response.data[:80]!r}"))
        if confirmed:
            events.append(Confirmed(confirmed))

    def _receive_error(self, error: ErrorFrame, events: list[Event]) -> None:
        text = error.line.partition(b" ")[2].decode(errors="backslashreplace")
        if not error.is_fatal:
            events.append(AnswerFailed(error.code, text))
            return
        if self.pending:
            events.append(Refused(self.pending.popleft(), RequestFailed(error.code, text)))
        self._fail(events, self._closed(_text(error.line)))

    def _closed(self, reason: str) -> ConnectionClosed:
        return ConnectionClosed(self._address, reason)

    def _fail(self, events: list[Event], error: NsqError) -> None:
        if self._phase is not _Phase.CLOSED:
            self._phase = _Phase.CLOSED
            events.append(Failed(error))


def _negotiated(data: bytes) -> Negotiated:
    """Read the answer to IDENTIFY; ValueError if it makes no sense."""
    if data == OK:
        return Negotiated()
    try:
        answer = json.loads(data)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    if not isinstance(answer, dict):
        raise ValueError("not an object")
    compressions = [name for name in ("snappy", "deflate") if answer.get(name)]
    timeout_ms = _count(answer, "msg_timeout", 0)
    extensions = answer.get("nsqx_extensions")
    return Negotiated(
        max_rdy_count=_count(answer, "max_rdy_count", MAX_RDY_COUNT),
        msg_timeout_seconds=timeout_ms / 1000 or DEFAULT_MSG_TIMEOUT_SECONDS,
        version=str(answer.get("version", "")),
        tls=bool(answer.get("tls_v1")),
        compression=compressions[0] if compressions else None,
        auth_required=bool(answer.get("auth_required")),
        **(_extensions(extensions) if isinstance(extensions, dict) else {}),
    )


def _extensions(granted: dict[str, object]) -> dict[str, Any]:
    """Read what only a broker of ours says."""
    names = ("max_msg_size", "max_body_size", "max_req_timeout")
    limits = (
        Limits(*(_count(granted, name, 0) for name in names))
        if granted.keys() >= {*names}
        else None
    )
    return {
        "takes_back": granted.get("return") is True,
        "limits": limits,
        "http_port": _count(granted, "http_port", 0),
    }


def _count(answer: dict[str, object], key: str, default: int) -> int:
    value = answer.get(key, default)
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{key} is {value!r}")
    return value


def _text(line: bytes) -> str:
    return line.decode(errors="backslashreplace")
