r"""
V1 of the lookup protocol, both ends: how nsqd tells nsqlookupd what it has. No I/O.

    client  := "  V1" command*
    command := "PING\n"
             | "IDENTIFY\n" size(u32) json           once, before the two below
             | "REGISTER" topic [channel] "\n"
             | "UNREGISTER" topic [channel] "\n"
    server  := answer*                               one per command, in their order
    answer  := size(u32) data                        "OK", JSON, or an error line

Unlike nsqd's protocol, answers have no frame type and every error ends the connection.
Blanks around a line are trimmed, and words are split at single blanks.

:class:`RequestParser` is the server's side, :class:`AnswerParser` and the ``encode_*``
functions are the client's.
"""

import enum
import ipaddress
import struct
from dataclasses import dataclass
from typing import Annotated

import msgspec

from nsqx.protocol.defaults import (
    ADVERTISED_MAX,
    LOOKUP_IDENTIFY_BYTES_MAX,
    LOOKUP_LINE_BYTES_MAX,
    MAX_BODY_SIZE,
)
from nsqx.protocol.errors import FatalProtocolError, ProtocolError
from nsqx.protocol.messages import SIZE
from nsqx.protocol.names import is_valid_name
from nsqx.protocol.node_host import is_node_host

__all__ = [
    "MAGIC",
    "OK_ANSWER",
    "PING",
    "Advertised",
    "AnswerParser",
    "DirectoryInfo",
    "LookupIdentify",
    "LookupLimits",
    "LookupViolation",
    "Network",
    "PeerInfo",
    "Ping",
    "Register",
    "Request",
    "RequestParser",
    "Unregister",
    "decode_directory_info",
    "encode_answer",
    "encode_identify",
    "encode_register",
    "encode_unregister",
]

MAGIC = b"  V1"
PING = b"PING\n"
OK_ANSWER = b"\x00\x00\x00\x02OK"

ANSWER_BYTES_MAX = MAX_BODY_SIZE

_SIGNED_SIZE = struct.Struct(">i")

# Go decodes into an int: anything else is a type error there as well.
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Advertised(msgspec.Struct, frozen=True):
    """
    How those in one network reach an nsqd. NSQ has no such thing and ignores it.

    Raises:
        ValueError: the network is none, such as one with bits beyond its prefix, or the address
            is empty.
    """

    network: str  # such as 10.0.0.0/8 or fd00::/8
    broadcast_address: str
    tcp_port: _Port
    http_port: _Port

    def __post_init__(self) -> None:
        ipaddress.ip_network(self.network)
        if not self.broadcast_address:
            raise ValueError(f"no address for network {self.network}")


_AdvertisedSome = Annotated[
    tuple[Advertised, ...], msgspec.Meta(min_length=1, max_length=ADVERTISED_MAX)
]


TEXT_BYTES_MAX = 256  # of what a node says about itself


class PeerInfo(msgspec.Struct, frozen=True):
    """
    What nsqd says about itself in IDENTIFY. Fields in the order they are sent.

    The last three are ours. ``version`` is that of NSQ. ``advertised`` is not sent if there is
    nothing in it; so is ``draining``: the node is being emptied, and to be hidden.
    """

    broadcast_address: str = ""
    hostname: str = ""
    http_port: _Int64 = 0
    tcp_port: _Int64 = 0
    topology_region: str = ""
    topology_zone: str = ""
    version: str = ""
    nsqx_version: str | msgspec.UnsetType = msgspec.UNSET
    advertised: _AdvertisedSome | msgspec.UnsetType = msgspec.UNSET
    draining: bool | msgspec.UnsetType = msgspec.UNSET

    def is_complete(self) -> bool:
        """Tell whether everything is there that a consumer needs to connect."""
        return bool(self.broadcast_address and self.tcp_port and self.http_port and self.version)


class DirectoryInfo(msgspec.Struct, frozen=True):
    """
    What nsqlookupd answers to IDENTIFY. Fields in the order they are sent.

    ``draining`` is ours: it has understood that the node drains, and hides it.
    """

    broadcast_address: str = ""
    hostname: str = ""
    http_port: int = 0
    tcp_port: int = 0
    version: str = ""
    nsqx_version: str | msgspec.UnsetType = msgspec.UNSET  # of ours only
    draining: bool | msgspec.UnsetType = msgspec.UNSET

    def encode(self) -> bytes:
        """Return the JSON of the answer, without its size."""
        return msgspec.json.encode(self)


@dataclass(slots=True, frozen=True)
class LookupLimits:
    """What one connection may make the server buffer. NSQ has no such limits."""

    line_bytes: int = LOOKUP_LINE_BYTES_MAX
    identify_bytes: int = LOOKUP_IDENTIFY_BYTES_MAX


# Requests: what the server's parser returns.


@dataclass(slots=True, frozen=True)
class Ping:
    """A sign of life. Allowed before IDENTIFY."""


@dataclass(slots=True, frozen=True)
class LookupIdentify:
    """Who the client is. Complete: what is missing was refused."""

    peer: PeerInfo


@dataclass(slots=True, frozen=True)
class Register:
    """The client has this topic, or this channel of it."""

    topic: str
    channel: str | None


@dataclass(slots=True, frozen=True)
class Unregister:
    """The client no longer has this channel, or this topic with all its channels."""

    topic: str
    channel: str | None


@dataclass(slots=True, frozen=True)
class LookupViolation:
    """The client broke the protocol: answer the error, then close. Always the last request."""

    error: FatalProtocolError


Request = Ping | LookupIdentify | Register | Unregister | LookupViolation


class LookupState(enum.Enum):
    """How far a connection has come."""

    MAGIC = enum.auto()
    STRANGER = enum.auto()
    IDENTIFIED = enum.auto()


# Every error is fatal, so a state needs no more than the reason why a command is refused.
REFUSED: dict[tuple[LookupState, bytes], str] = {
    (LookupState.STRANGER, b"REGISTER"): "client must IDENTIFY",
    (LookupState.STRANGER, b"UNREGISTER"): "client must IDENTIFY",
    (LookupState.IDENTIFIED, b"IDENTIFY"): "cannot IDENTIFY again",
}


class RequestParser:
    """
    Turns the bytes of one nsqd into requests. Does no I/O.

    What the peer sends never raises: a violation comes as the last request, and the rest of
    the stream is discarded.
    """

    def __init__(self, limits: LookupLimits | None = None) -> None:
        self.error: FatalProtocolError | None = None
        self._limits = limits or LookupLimits()
        self._state = LookupState.MAGIC
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> list[Request]:
        """Return the requests that ``data`` completes, in the order sent."""
        if self.error is not None:
            return []
        self._buffer += data
        requests: list[Request] = []
        position = 0
        try:
            while (parsed := self._parse(position)) is not None:
                request, position = parsed
                if request is not None:
                    requests.append(request)
        except FatalProtocolError as exc:
            exc.__traceback__ = None  # its frames hold all that was read
            requests.append(self._fail(exc))
        else:
            # Once per read: a deletion per request moves the rest of the buffer each time.
            del self._buffer[:position]
        return requests

    def receive_eof(self) -> list[Request]:
        """Return the error that ends the stream, if an IDENTIFY was cut short; else nothing."""
        if self.error is not None or self._state is LookupState.MAGIC:
            return []
        line_end = self._buffer.find(b"\n")
        if line_end < 0:  # half a line is not answered
            return []
        missing = "body size" if len(self._buffer) < line_end + 1 + SIZE.size else "body"
        return [self._fail(_bad_body(f"failed to read {missing}"))]

    def forget(self) -> None:
        """Drop what is not complete: nothing more will come."""
        self._buffer = bytearray()

    def _fail(self, error: FatalProtocolError) -> LookupViolation:
        self.error = error
        self.forget()
        self._buffer.clear()
        return LookupViolation(error)

    def _parse(self, start: int) -> tuple[Request | None, int] | None:
        """Return a request and where the next one begins, or None if more bytes are needed."""
        if self._state is LookupState.MAGIC:
            return self._parse_magic(start)
        line_end = self._buffer.find(b"\n", start)
        self._check_line_length((line_end if line_end >= 0 else len(self._buffer)) - start)
        if line_end < 0:
            return None
        word, *params = bytes(self._buffer[start:line_end]).strip().split(b" ")
        refusal = REFUSED.get((self._state, word))
        if refusal is not None:
            raise FatalProtocolError("E_INVALID", refusal)
        match word:
            case b"PING":
                return Ping(), line_end + 1
            case b"REGISTER":
                return Register(*_names(word, params)), line_end + 1
            case b"UNREGISTER":
                return Unregister(*_names(word, params)), line_end + 1
            case b"IDENTIFY":
                return self._parse_identify(line_end + 1)
            case _:
                raise FatalProtocolError("E_INVALID", b"invalid command " + word)

    def _parse_magic(self, start: int) -> tuple[None, int] | None:
        if len(self._buffer) < start + len(MAGIC):
            return None
        if self._buffer[start : start + len(MAGIC)] != MAGIC:
            raise FatalProtocolError("E_BAD_PROTOCOL", "")
        self._state = LookupState.STRANGER
        return None, start + len(MAGIC)

    def _check_line_length(self, length: int) -> None:
        if length > self._limits.line_bytes:
            detail = f"line too long, more than {self._limits.line_bytes} bytes"
            raise FatalProtocolError("E_INVALID", detail)

    def _parse_identify(self, start: int) -> tuple[LookupIdentify, int] | None:
        body_start = start + SIZE.size
        if len(self._buffer) < body_start:
            return None
        (size,) = _SIGNED_SIZE.unpack_from(self._buffer, start)
        if size < 0:  # takes the whole Go process down
            raise _bad_body("failed to read body")
        if size > self._limits.identify_bytes:
            detail = f"IDENTIFY body too big {size} > {self._limits.identify_bytes}"
            raise FatalProtocolError("E_INVALID", detail)
        if len(self._buffer) < body_start + size:
            return None
        peer = _decode_peer(bytes(self._buffer[body_start : body_start + size]))
        self._state = LookupState.IDENTIFIED
        return LookupIdentify(peer), body_start + size


def _names(command: bytes, params: list[bytes]) -> tuple[str, str | None]:
    """Return topic and channel. An empty channel counts as none, as in NSQ."""
    if not params:
        raise FatalProtocolError("E_INVALID", command + b" insufficient number of params")
    topic = _name(b"E_BAD_TOPIC", command, b"topic", params[0])
    if len(params) < 2 or not params[1]:
        return topic, None
    return topic, _name(b"E_BAD_CHANNEL", command, b"channel", params[1])


def _name(code: bytes, command: bytes, kind: bytes, raw: bytes) -> str:
    name = raw.decode("ascii", "replace")
    if not is_valid_name(name):
        detail = b"%b %b name '%b' is not valid" % (command, kind, raw)
        raise FatalProtocolError(code.decode(), detail)
    return name


def _decode_peer(body: bytes) -> PeerInfo:
    try:
        peer = msgspec.convert(_fields(msgspec.json.decode(body)), PeerInfo)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _bad_body("failed to decode JSON body") from None
    if not peer.is_complete():
        raise _bad_body("missing fields")
    advertised = () if isinstance(peer.advertised, msgspec.UnsetType) else peer.advertised
    for host in (peer.broadcast_address, *(each.broadcast_address for each in advertised)):
        if not is_node_host(host):
            raise _bad_body("invalid broadcast_address")
    ours = peer.nsqx_version or ""
    for text in (peer.hostname, peer.version, ours, peer.topology_region, peer.topology_zone):
        if len(text.encode()) > TEXT_BYTES_MAX or not text.isprintable():
            raise _bad_body("invalid text")
    return peer


def _fields(document: object) -> object:
    """Read an object as Go does: the case of keys does not matter, and null sets nothing."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        return document  # refused as no object
    return {key.lower(): value for key, value in document.items() if value is not None}


def _bad_body(reason: str) -> FatalProtocolError:
    return FatalProtocolError("E_BAD_BODY", f"IDENTIFY {reason}")


def encode_answer(data: bytes) -> bytes:
    """Return ``data`` as the server sends it."""
    return SIZE.pack(len(data)) + data


# The client's side.


def encode_identify(peer: PeerInfo) -> bytes:
    """Return the IDENTIFY command. The answer is for :func:`decode_directory_info`."""
    body = msgspec.json.encode(peer)
    return b"IDENTIFY\n" + SIZE.pack(len(body)) + body


def encode_register(topic: str, channel: str | None = None) -> bytes:
    """Return the command that registers a topic, or a channel and with it its topic."""
    return _encode_names("REGISTER", topic, channel)


def encode_unregister(topic: str, channel: str | None = None) -> bytes:
    """Return the command that takes back a channel, or a topic with all its channels."""
    return _encode_names("UNREGISTER", topic, channel)


def _encode_names(command: str, topic: str, channel: str | None) -> bytes:
    words = (command, topic) if channel is None else (command, topic, channel)
    return " ".join(words).encode() + b"\n"


class AnswerParser:
    """Turns the bytes of a nsqlookupd into answers. Does no I/O."""

    def __init__(self, max_bytes: int = ANSWER_BYTES_MAX) -> None:
        self.error: ProtocolError | None = None
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> list[bytes]:
        """
        Return the answers that ``data`` completes, in order.

        After an answer that is too large ``error`` is set and nothing more is returned: there
        is no telling where the next one begins, so the caller closes.
        """
        if self.error is not None:
            return []
        self._buffer += data
        answers: list[bytes] = []
        position = 0
        while len(self._buffer) >= position + SIZE.size:
            (size,) = SIZE.unpack_from(self._buffer, position)
            if size > self._max_bytes:
                self.error = ProtocolError("E_BAD_BODY", f"answer too big {size}")
                break
            end = position + SIZE.size + size
            if len(self._buffer) < end:
                break
            answers.append(bytes(self._buffer[position + SIZE.size : end]))
            position = end
        del self._buffer[:position]
        return answers


def decode_directory_info(answer: bytes) -> DirectoryInfo:
    """
    Decode the answer to IDENTIFY.

    An empty ``broadcast_address`` means that this directory is not to be queried over HTTP.

    Raises:
        ProtocolError: the answer is an error line, or not JSON of that shape. The caller closes.
    """
    if answer == b"E_INVALID":  # a nsqlookupd older than IDENTIFY
        raise ProtocolError("E_INVALID", "lookupd does not know IDENTIFY")
    try:
        return msgspec.json.decode(answer, type=DirectoryInfo)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        detail = f"lookupd answered IDENTIFY with {answer[:200]!r}"
        raise ProtocolError("E_BAD_BODY", detail) from exc
