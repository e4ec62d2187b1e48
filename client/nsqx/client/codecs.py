"""
How values become the bodies of messages, and bodies values again.

Bytes and text are bodies already: they are sent as they are (text as UTF-8), and whoever asks for
``bytes`` or ``str`` gets what was sent. Everything else is a codec's business. ``JSON`` and
``MSGPACK`` know what msgspec knows (its structs, dataclasses, TypedDicts, dates, UUIDs, ...) and
pydantic's models, and check a body against the type that is asked for.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol as Interface

from nsqx.client.errors import DecodeFailed

__all__ = ["BYTES", "CODECS", "JSON", "MSGPACK", "Codec", "decode_body", "encode_body"]

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

        return msgspec.json.encode(value, enc_hook=_to_plain)

    def decode(self, body: bytes, kind: Any) -> Any:
        return _decode(_json_decoder(kind), body, kind)


class MsgpackCodec:
    """Bodies are MessagePack."""

    def encode(self, value: Any) -> bytes:
        import msgspec

        return msgspec.msgpack.encode(value, enc_hook=_to_plain)

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
    return codec.decode(body, kind)


def _decode(decode: Callable[[bytes], Any], body: bytes, kind: Any) -> Any:
    try:
        return decode(body)
    except Exception as exc:  # pydantic's errors, and those of types' own constructors, are any
        raise DecodeFailed(body, kind, str(exc)) from exc


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
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} cannot be a part of a message's body")


def _from_plain(kind: type[Any], value: Any) -> Any:
    """Make what msgspec does not know."""
    if hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    raise TypeError(f"{kind.__name__} cannot be made of a message's body")
