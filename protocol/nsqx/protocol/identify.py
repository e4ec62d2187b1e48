"""
IDENTIFY: what a client asks for, and what it gets (protocol section 6).

The request is JSON and read as Go reads it: keys match without regard to case, the last of equal
keys wins, ``null`` is as good as absent, unknown keys are ignored, and numbers must be integers
that fit. ``negotiate`` judges the values and returns what holds for the connection from now on,
with the answer to send.
"""

import json
import re
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from nsqx.protocol.defaults import MAX_MSG_TIMEOUT_MS, MAX_RDY_COUNT, MSG_TIMEOUT_MS
from nsqx.protocol.errors import FatalProtocolError

__all__ = [
    "Identified",
    "IdentifyRequest",
    "NegotiationOptions",
    "negotiate",
]

DEFLATE_LEVEL_DEFAULT = 6
HEARTBEAT_INTERVAL_MS_MIN = 1000
OUTPUT_BUFFER_SIZE_MIN = 64
SAMPLE_RATE_MAX = 99
MSG_TIMEOUT_MS_MIN = 1000
TEXT_BYTES_MAX = 256  # of what a client says about itself

_INT64 = range(-(1 << 63), 1 << 63)
_INT32 = range(-(1 << 31), 1 << 31)
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class IdentifyRequest:
    """The fields of an IDENTIFY, as the client wrote them; the defaults stand for absent ones."""

    client_id: str = ""
    hostname: str = ""
    user_agent: str = ""
    feature_negotiation: bool = False
    heartbeat_interval: int = field(default=0, metadata={"range": _INT64})  # ms; -1 none
    output_buffer_size: int = field(default=0, metadata={"range": _INT64})  # bytes; -1 none
    output_buffer_timeout: int = field(default=0, metadata={"range": _INT64})  # ms; -1 none
    tls_v1: bool = False
    snappy: bool = False
    deflate: bool = False
    deflate_level: int = field(default=0, metadata={"range": _INT64})
    sample_rate: int = field(default=0, metadata={"range": _INT32})  # percent
    msg_timeout: int = field(default=0, metadata={"range": _INT64})  # ms
    topology_region: str = ""
    topology_zone: str = ""
    nsqx_extensions: bool = False  # wants to know what NSQ does not have

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """
        Read the body of an IDENTIFY.

        Raises:
            FatalProtocolError: ``E_BAD_BODY`` if it is not a JSON object, or a field has the
                wrong type.
        """
        values: dict[str, Any] = {}
        try:
            for key, value in _pairs(body):
                name = _fold(key)
                if value is not None and (rule := _FIELDS.get(name)):
                    values[name] = _checked(value, *rule)
        except (ValueError, RecursionError) as exc:
            detail = "IDENTIFY failed to decode JSON body"
            raise FatalProtocolError("E_BAD_BODY", detail) from exc
        return cls(**values)

    def encode(self) -> bytes:
        """Return the body of an IDENTIFY that asks for this."""
        return _encode(asdict(self))


_FIELDS: dict[str, tuple[type, range | None]] = {
    item.name: (type(item.default), item.metadata.get("range")) for item in fields(IdentifyRequest)
}


def _pairs(body: bytes) -> tuple[tuple[str, Any], ...]:
    """Return keys and values of the object, equal keys included; ``null`` has none."""
    value = json.loads(
        body.decode(errors="replace"), object_pairs_hook=tuple, parse_constant=_refuse_constant
    )
    if value is None:
        return ()
    if not isinstance(value, tuple):  # arrays are lists
        raise ValueError("not an object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _fold(key: str) -> str:
    """Fold a key as Go does: two letters beyond ASCII count as the s and k they look like."""
    return key.lower().replace("\u017f", "s")  # lower() sees to the Kelvin sign


def _checked(value: Any, kind: type, limits: range | None) -> Any:
    if type(value) is not kind or (limits is not None and value not in limits):
        raise ValueError(f"{value!r} is not a {kind.__name__} in range")
    if not isinstance(value, str):
        return value
    # Kept as long as the connection, and shown to all who look: no more of it than makes sense.
    text = _SURROGATES.sub("\ufffd", value)
    return text.encode()[:TEXT_BYTES_MAX].decode(errors="ignore")


@dataclass(frozen=True, slots=True)
class NegotiationOptions:
    """What a broker offers: its options, as whole milliseconds and bytes."""

    version: str = ""  # of NSQ
    nsqx_version: str = ""
    max_rdy_count: int = MAX_RDY_COUNT
    heartbeat_interval_ms: int = 30_000  # half of a fixed client timeout, no option of nsqd
    max_heartbeat_interval_ms: int = 60_000
    msg_timeout_ms: int = MSG_TIMEOUT_MS
    max_msg_timeout_ms: int = MAX_MSG_TIMEOUT_MS
    output_buffer_size: int = 16_384
    max_output_buffer_size: int = 65_536
    output_buffer_timeout_ms: int = 250
    min_output_buffer_timeout_ms: int = 25
    max_output_buffer_timeout_ms: int = 30_000
    max_deflate_level: int = 6
    tls: bool = False  # a certificate is configured
    snappy: bool = True
    deflate: bool = True
    auth_required: bool = False
    topology_region: str = ""
    topology_zone: str = ""
    max_msg_size: int = 1_048_576
    max_body_size: int = 5_242_880
    max_req_timeout_ms: int = 3_600_000
    http_port: int = 0  # 0: none


@dataclass(frozen=True, slots=True)
class Identified:
    """What holds for a connection after an IDENTIFY, and the response to send."""

    heartbeat_interval_ms: int | None  # None: no heartbeats, no deadlines, no SUB
    output_buffer_size: int  # 1: not buffered
    output_buffer_timeout_ms: int  # 0: no timed flush
    msg_timeout_ms: int
    asked_msg_timeout: bool = False  # by the client: else a channel may have another
    sample_rate: int = 0  # percent; 0 is off
    tls: bool = False
    snappy: bool = False
    deflate: bool = False
    deflate_level: int = DEFLATE_LEVEL_DEFAULT
    extensions: bool = False
    answer: bytes = b"OK"

    @classmethod
    def without(cls, options: NegotiationOptions) -> Self:
        """Return what holds for a connection that has not identified itself."""
        return cls(
            heartbeat_interval_ms=options.heartbeat_interval_ms,
            output_buffer_size=options.output_buffer_size,
            output_buffer_timeout_ms=options.output_buffer_timeout_ms,
            msg_timeout_ms=options.msg_timeout_ms,
        )


def negotiate(
    request: IdentifyRequest, options: NegotiationOptions, current: Identified | None = None
) -> Identified:
    """
    Judge the values of an IDENTIFY, in nsqd's order.

    Args:
        request: What the client asks for.
        options: What this broker offers.
        current: What held before, which a 0 keeps; None if this is the first IDENTIFY.

    Raises:
        FatalProtocolError: ``E_BAD_BODY`` for a value out of range, ``E_IDENTIFY_FAILED`` if
            both compressions would be granted.
    """
    before = current or Identified.without(options)
    heartbeat_interval_ms = _heartbeat_interval_ms(request, options, before)
    buffer_timeout_ms = _output_buffer_timeout_ms(request, options, before)
    buffer_size = _output_buffer_size(request, options, before)
    if request.output_buffer_size == -1:
        buffer_timeout_ms = 0
    if not 0 <= request.sample_rate <= SAMPLE_RATE_MAX:
        raise _out_of_range("sample rate", request.sample_rate)
    msg_timeout_ms = _msg_timeout_ms(request, options, before)
    negotiated = request.feature_negotiation
    identified = Identified(
        heartbeat_interval_ms=heartbeat_interval_ms,
        output_buffer_size=buffer_size,
        output_buffer_timeout_ms=buffer_timeout_ms,
        msg_timeout_ms=msg_timeout_ms,
        asked_msg_timeout=before.asked_msg_timeout or request.msg_timeout != 0,
        sample_rate=request.sample_rate,
        tls=negotiated and request.tls_v1 and options.tls,
        snappy=negotiated and request.snappy and options.snappy,
        deflate=negotiated and request.deflate and options.deflate,
        deflate_level=_deflate_level(request, options),
        extensions=negotiated and request.nsqx_extensions,
    )
    return _with_answer(identified, options) if negotiated else identified


def _heartbeat_interval_ms(
    request: IdentifyRequest, options: NegotiationOptions, before: Identified
) -> int | None:
    wanted_ms = request.heartbeat_interval
    if wanted_ms == -1:
        return None
    if wanted_ms == 0:
        return before.heartbeat_interval_ms
    if HEARTBEAT_INTERVAL_MS_MIN <= wanted_ms <= options.max_heartbeat_interval_ms:
        return wanted_ms
    raise _out_of_range("heartbeat interval", wanted_ms)


def _output_buffer_timeout_ms(
    request: IdentifyRequest, options: NegotiationOptions, before: Identified
) -> int:
    wanted_ms = request.output_buffer_timeout
    if wanted_ms == -1:
        return 0
    if wanted_ms == 0:
        return before.output_buffer_timeout_ms
    least_ms, most_ms = options.min_output_buffer_timeout_ms, options.max_output_buffer_timeout_ms
    if least_ms <= wanted_ms <= most_ms:
        return wanted_ms
    raise _out_of_range("output buffer timeout", wanted_ms)


def _output_buffer_size(
    request: IdentifyRequest, options: NegotiationOptions, before: Identified
) -> int:
    wanted = request.output_buffer_size
    if wanted == -1:
        return 1
    if wanted == 0:
        return before.output_buffer_size
    if OUTPUT_BUFFER_SIZE_MIN <= wanted <= options.max_output_buffer_size:
        return wanted
    raise _out_of_range("output buffer size", wanted)


def _msg_timeout_ms(
    request: IdentifyRequest, options: NegotiationOptions, before: Identified
) -> int:
    wanted_ms = request.msg_timeout
    if wanted_ms == 0:
        return before.msg_timeout_ms
    if MSG_TIMEOUT_MS_MIN <= wanted_ms <= options.max_msg_timeout_ms:
        return wanted_ms
    raise _out_of_range("msg timeout", wanted_ms)


def _deflate_level(request: IdentifyRequest, options: NegotiationOptions) -> int:
    level = DEFLATE_LEVEL_DEFAULT
    if request.deflate and options.deflate and request.deflate_level > 0:
        level = request.deflate_level
    return min(level, options.max_deflate_level)


def _with_answer(identified: Identified, options: NegotiationOptions) -> Identified:
    if identified.snappy and identified.deflate:
        detail = "cannot enable both deflate and snappy compression"
        raise FatalProtocolError("E_IDENTIFY_FAILED", detail)
    answer: dict[str, Any] = {
        "max_rdy_count": options.max_rdy_count,
        "version": options.version,
        "max_msg_timeout": options.max_msg_timeout_ms,
        "msg_timeout": identified.msg_timeout_ms,
        "tls_v1": identified.tls,
        "deflate": identified.deflate,
        "deflate_level": identified.deflate_level,
        "max_deflate_level": options.max_deflate_level,
        "snappy": identified.snappy,
        "sample_rate": identified.sample_rate,
        "auth_required": options.auth_required,
        "output_buffer_size": identified.output_buffer_size,
        "output_buffer_timeout": identified.output_buffer_timeout_ms,
        "topology_region": options.topology_region,
        "topology_zone": options.topology_zone,
    }
    if options.nsqx_version:
        answer["nsqx_version"] = options.nsqx_version
    if identified.extensions:
        answer["nsqx_extensions"] = _extensions(options)
    return replace(identified, answer=_for_html(_encode(answer)))


def _extensions(options: NegotiationOptions) -> dict[str, Any]:
    """Return what NSQ does not have; told to who asks."""
    return {
        "return": True,  # RETURN: a message goes back as if it had not been delivered
        "max_msg_size": options.max_msg_size,  # bytes
        "max_body_size": options.max_body_size,  # bytes, of an MPUB
        "max_req_timeout": options.max_req_timeout_ms,  # also of a DPUB
        "http_port": options.http_port,  # where /stats and all else is told; 0: nowhere
    }


def _encode(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _for_html(encoded: bytes) -> bytes:
    """Return JSON as Go writes it: what could be HTML is escaped."""
    for char in b"<>&":
        # They are in strings only.
        encoded = encoded.replace(b"%c" % char, b"\\u%04x" % char)
    return encoded


def _out_of_range(what: str, value: int) -> FatalProtocolError:
    return FatalProtocolError("E_BAD_BODY", f"IDENTIFY {what} ({value}) is invalid")
