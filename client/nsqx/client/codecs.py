"""
How values become the bodies of messages, and bodies values again.

Bytes and text are bodies already: they are sent as they are (text as UTF-8), and whoever asks for
``bytes`` or ``str`` gets what was sent. Everything else is a codec's business. ``JSON`` and
``MSGPACK`` know what msgspec knows (its structs, dataclasses, TypedDicts, dates, UUIDs, ...) and
pydantic's models, and check a body against the type that is asked for.

What was published comes out equal, of every type that ``check_kind`` lets pass. It refuses those of
which it could not: the text ``5`` and the number are one body, so nobody can read ``int | str``.
Who asks for such a type all the same, by ``decode``, gets a value where the body reads as one, and
else text.
"""

import math
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Protocol as Interface

from nsqx.client.errors import DecodeFailed
from nsqx.client.texts import Texts, texts_of
from nsqx.protocol.errors import NsqxError

__all__ = [
    "BYTES",
    "CODECS",
    "JSON",
    "MSGPACK",
    "Codec",
    "decode_body",
    "encode_body",
]

# msgspec is imported where it is used: who sends bytes need not wait for it to load.


class Codec(Interface):
    """Anything with these two methods will do."""

    def encode(self, value: Any) -> bytes:
        """
        Return a body.

        Raises:
            TypeError: the value has no form in this codec.
        """

    def decode(self, body: bytes, kind: Any) -> Any:
        """
        Return what a body holds, as a ``kind``.

        Raises:
            DecodeFailed: it is not one.
        """


class BytesCodec:
    """Bodies are bytes or text, and nothing else."""

    def encode(self, value: Any) -> bytes:
        raise TypeError(f"bytes or str can be sent, not {type(value).__name__}; or set a codec")

    def decode(self, body: bytes, kind: Any) -> Any:
        raise DecodeFailed(body, kind, "bodies are bytes here; set a codec")


class JsonCodec:
    """Bodies are JSON (RFC 8259, UTF-8)."""

    def encode(self, value: Any) -> bytes:
        import msgspec

        try:
            body = msgspec.json.encode(value, enc_hook=_to_plain)
        except (OverflowError, RecursionError) as exc:
            raise TypeError(f"this value has no form in JSON: {exc}") from exc
        if b"null" in body:  # which msgspec makes of numbers that JSON does not have
            _refuse_nan(msgspec.to_builtins(value, enc_hook=_to_plain))
        return body

    def decode(self, body: bytes, kind: Any) -> Any:
        return _decode(_json_decoder(kind), body, kind)


class MsgpackCodec:
    """Bodies are MessagePack."""

    def encode(self, value: Any) -> bytes:
        import msgspec

        try:
            return msgspec.msgpack.encode(value, enc_hook=_to_plain)
        except (OverflowError, RecursionError) as exc:
            raise TypeError(f"this value has no form in MessagePack: {exc}") from exc

    def decode(self, body: bytes, kind: Any) -> Any:
        return _decode(_msgpack_decoder(kind), body, kind)


BYTES = BytesCodec()
JSON = JsonCodec()
MSGPACK = MsgpackCodec()
CODECS: dict[str, Codec] = {"bytes": BYTES, "json": JSON, "msgpack": MSGPACK}


def encode_body(value: object, codec: Codec) -> bytes:
    """
    Return the body for a value.

    Raises:
        TypeError: it has none in this codec.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return codec.encode(value)


def decode_body(body: bytes, kind: Any, codec: Codec) -> Any:
    """
    Return what a body holds.

    Raises:
        DecodeFailed: that is no ``kind``.
    """
    if kind is bytes:
        return body
    if kind is str:
        return _decode(bytes.decode, body, kind)
    try:
        texts = texts_of(kind)
    except TypeError:  # an annotation that cannot be hashed
        texts = Texts.of(kind)
    return codec.decode(body, kind) if texts is None else _decode_mixed(texts, body, kind, codec)


def _decode_mixed(texts: Texts, body: bytes, kind: Any, codec: Codec) -> Any:
    """Return a text of a ``Literal``, else a value, else text or bytes."""
    reason = "it is none of the values that may be"
    if texts.literals:
        text = body.decode(errors="replace")
        if text in texts.literals:
            return text
    if texts.rest is not None:
        try:
            return codec.decode(body, texts.rest)
        except DecodeFailed as exc:
            reason = exc.reason
    for make in texts.makers:
        try:
            return make(body)
        except Exception as exc:  # of types' own constructors
            reason = _reason(exc)
    raise DecodeFailed(body, kind, reason)


def _decode(decode: Callable[[bytes], Any], body: bytes, kind: Any) -> Any:
    try:
        return decode(body)
    except Exception as exc:  # pydantic's errors, and those of types' own constructors, are any
        # Not `from exc`: tracebacks, which are logged, would show what it shows.
        raise DecodeFailed(body, kind, _reason(exc)) from None


# What stands in a body may be nobody's business, and reasons are logged. These texts of msgspec's
# quote it; what other people's code says may do so, too, and is left out.
_QUOTES = re.compile(
    r"(Invalid enum value|Invalid value|unknown field) .*?( - at `[^`]*`(?: in `[^`]*`)?)?$",
    re.DOTALL,
)
_PLACE = re.compile(r" - at `[^`]*`(?: in `[^`]*`)?$")


class _InvalidError(NsqxError, ValueError):
    """A model's fields are not what they should be; the text quotes nothing."""


def _reason(exc: Exception) -> str:
    """Say what is wrong, and nothing of what is in the body."""
    import msgspec

    cause = exc.__cause__ if isinstance(exc, msgspec.ValidationError) else None
    if cause is not None and not isinstance(cause, _InvalidError):
        place = _PLACE.search(str(exc))
        return f"{type(cause).__name__}{place[0] if place else ''}"
    if isinstance(exc, msgspec.MsgspecError | UnicodeDecodeError):
        return _QUOTES.sub(r"\1\2", str(exc))
    return type(exc).__name__


def _complaints(model: Any, errors: Iterable[Any]) -> str:
    """Say what pydantic found: kinds of errors, and at which fields."""
    fields = getattr(model, "model_fields", {})
    known = {*fields, *(each.alias for each in fields.values())}

    def place(error: Any) -> str:
        # A key that is no field's name is a part of the body.
        return ".".join(
            str(step) if isinstance(step, int) or step in known else "*" for step in error["loc"]
        )

    return "; ".join(f"{place(error) or '*'}: {error['type']}" for error in errors)


def _refuse_nan(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"JSON has no number {value}")
    if isinstance(value, dict):
        for each in value.values():
            _refuse_nan(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            _refuse_nan(each)


# A decoder takes some 10 us to make for a small type, and 0.3 us to use.
@lru_cache(maxsize=256)
def _json_decoder(kind: Any) -> Callable[[bytes], Any]:
    import msgspec

    return msgspec.json.Decoder(kind, dec_hook=_from_plain).decode


@lru_cache(maxsize=256)
def _msgpack_decoder(kind: Any) -> Callable[[bytes], Any]:
    import msgspec

    return msgspec.msgpack.Decoder(kind, dec_hook=_from_plain).decode


def _to_plain(value: Any) -> Any:
    """Take apart what msgspec does not know: pydantic's models, by their methods."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} cannot be a part of a message's body")


def _from_plain(kind: type[Any], value: Any) -> Any:
    """Make what msgspec does not know."""
    if hasattr(kind, "model_validate"):
        try:
            return kind.model_validate(value)
        except ValueError as exc:
            errors = getattr(exc, "errors", None)
            raise _InvalidError(
                _complaints(kind, errors()) if callable(errors) else type(exc).__name__
            ) from exc
    raise TypeError(f"{kind.__name__} cannot be made of a message's body")
