"""
How values become the bodies of messages, and bodies values again.

Bytes and text are bodies already: they are sent as they are (text as UTF-8), and whoever asks for
``bytes`` or ``str`` gets what was sent. Everything else is a codec's business. ``JSON`` and
``MSGPACK`` know what msgspec knows (its structs, dataclasses, TypedDicts, dates, UUIDs, ...) and
pydantic's models, and check a body against the type that is asked for.

What was published comes out equal, as long as the type that is asked for tells text from values.
Where it allows both (``str | None``, ``Any``), a body that reads as one of the values is that
value, and anything else is text: of ``str | None``, only the text ``null`` comes out otherwise.
"""

import math
import re
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal, Protocol as Interface

from nsqx.client.errors import DecodeFailed
from nsqx.protocol.errors import NsqxError

__all__ = [
    "BYTES",
    "CODECS",
    "JSON",
    "MSGPACK",
    "Codec",
    "check_kind",
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
        texts = _texts_of(kind)
    except TypeError:  # an annotation that cannot be hashed
        texts = _Texts.of(kind)
    return codec.decode(body, kind) if texts is None else texts.decode(body, kind, codec)


def check_kind(kind: Any, codec: Codec) -> None:
    """
    Judge a type before the first body comes. Of a codec that is not ours nothing is known.

    Raises:
        TypeError: no body can be decoded as a ``kind``.
    """
    texts = _Texts.of(kind)
    if texts is not None:
        if (clash := texts.clash()) is not None:
            raise TypeError(f"{_name(kind)}: text and value of {clash} are the same body")
        if kind is not Any and kind is not object and texts.mixes_bytes:
            raise TypeError(f"{_name(kind)}: bytes and str are the same body")
        if texts.rest is None:
            return
        kind = texts.rest
    if kind is bytes or kind is str or codec not in (BYTES, JSON, MSGPACK):
        return
    if codec is BYTES:
        if kind is not Any:
            raise TypeError(f"bodies are bytes or str here, not {_name(kind)}; set a codec")
        return
    import msgspec

    try:
        _json_decoder(kind)
        known = msgspec.inspect.type_info(kind)
    except TypeError as exc:
        raise TypeError(f"a body cannot be decoded as {_name(kind)}: {exc}") from exc
    for each in getattr(known, "types", (known,)):
        made = getattr(each, "cls", None)
        if isinstance(each, msgspec.inspect.CustomType) and not hasattr(made, "model_validate"):
            raise TypeError(
                f"a body cannot be decoded as {_name(made)}: make it a dataclass, a msgspec.Struct "
                "or a pydantic model"
            )


# Text and bytes are bodies as they are, also where they are a part of a type: in `str | None`, or
# as an Enum of str. No codec sees those.


@dataclass(frozen=True, slots=True)
class _Texts:
    """
    How a type mixes what is sent as it is with what a codec encodes.

    Attributes:
        makers: take the body, each for one form of text or bytes, in the order to be tried.
        literals: the texts of a ``Literal``.
        rest: the type of everything else; None if there is nothing else.
    """

    makers: tuple[Callable[[bytes], Any], ...]
    literals: frozenset[str]
    rest: Any

    @classmethod
    def of(cls, kind: Any) -> "_Texts | None":
        """Return None for what only a codec can decode."""
        if kind is Any or kind is object:
            return cls((bytes.decode, bytes), frozenset(), Any)
        members, makers, rest = list(_members(kind)), [], []
        literals: set[str] = set()
        for member in members:
            if typing.get_origin(member) is Literal:
                values = typing.get_args(member)
                literals.update(value for value in values if isinstance(value, str))
                if None in values:  # which older msgspecs cannot have in a Literal with numbers
                    rest.append(type(None))
                if others := tuple(
                    each for each in values if each is not None and not isinstance(each, str)
                ):
                    rest.append(Literal[others])
            elif (maker := _maker(member)) is not None:
                makers.append(maker)
            else:
                rest.append(member)
        if not makers and not literals:
            return None
        makers.sort(key=_takes_bytes)  # bytes take everything
        return cls(tuple(makers), frozenset(literals), _union(rest))

    def decode(self, body: bytes, kind: Any, codec: Codec) -> Any:
        """Return a text of a ``Literal``, else a value, else text or bytes."""
        reason = "it is none of the values that may be"
        if self.literals:
            text = body.decode(errors="replace")
            if text in self.literals:
                return text
        if self.rest is not None:
            try:
                return codec.decode(body, self.rest)
            except DecodeFailed as exc:
                reason = exc.reason
        for make in self.makers:
            try:
                return make(body)
            except Exception as exc:  # of types' own constructors
                reason = _reason(exc)
        raise DecodeFailed(body, kind, reason)

    @property
    def mixes_bytes(self) -> bool:
        """Whether a text would come out where bytes were sent."""
        takers = {_takes_bytes(maker) for maker in self.makers}
        return len(takers) > 1 or (True in takers and bool(self.literals))

    def clash(self) -> str | None:
        """Return a value of a ``Literal`` whose body is also that of a text in it; else None."""
        for member in _members(self.rest):
            values = typing.get_args(member) if typing.get_origin(member) is Literal else ()
            for value in (None,) if member is type(None) else values:
                if JSON.encode(value).decode() in self.literals:
                    return repr(value)
        return None


@lru_cache(maxsize=256)
def _texts_of(kind: Any) -> _Texts | None:
    return _Texts.of(kind)


def _members(kind: Any) -> Iterable[Any]:
    """Yield the members of a union; others as they are, without the names given to them."""
    kind = getattr(kind, "__supertype__", kind)  # of a NewType
    kind = getattr(kind, "__value__", kind)  # of a type alias
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        for member in typing.get_args(kind):
            yield from _members(member)
    else:
        yield kind


def _maker(kind: Any) -> Callable[[bytes], Any] | None:
    """Return what makes a ``kind`` of a body that was sent as it is; None if it is no such."""
    if typing.get_origin(kind) is typing.Annotated:
        maker = _maker(typing.get_args(kind)[0])
        return partial(_constrained, kind) if maker is bytes.decode else maker
    if not isinstance(kind, type):
        return None
    if kind is str:
        return bytes.decode
    if issubclass(kind, str):
        return lambda body: kind(body.decode())
    return kind if issubclass(kind, bytes | bytearray | memoryview) else None


def _constrained(kind: Any, body: bytes) -> Any:
    import msgspec

    return msgspec.convert(body.decode(), kind)


def _takes_bytes(maker: Callable[[bytes], Any]) -> bool:
    return isinstance(maker, type)


def _union(members: list[Any]) -> Any:
    return typing.Union[tuple(members)] if members else None  # noqa: UP007 - they are not known here


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind)


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
        return value.model_dump(mode="json")
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
