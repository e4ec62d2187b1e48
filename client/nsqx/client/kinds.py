"""
Which types handlers may ask for: those of which comes out what was published.

Text is a body as it is, and so is what a codec makes of a value; where a type has both, they may be
the same bytes. Such types are refused when a handler is decorated, not when its messages come.
"""

import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal

from nsqx.client.codecs import BYTES, JSON, MSGPACK, Codec
from nsqx.client.errors import DecodeFailed
from nsqx.client.texts import Texts, members, takes_bytes

__all__ = ["check_kind"]


def check_kind(kind: Any, codec: Codec) -> None:
    """
    Judge a type before the first body comes: what is published as such comes out equal.

    What JSON does not have stands outside: as a part of ``Any``, a tuple comes as a list and a
    key as text. Of a codec that is not ours nothing is known.

    Raises:
        TypeError: no body can be decoded as a ``kind``, or two of its values have the same.
    """
    texts = Texts.of(kind)
    if texts is not None:
        if (clash := _clash(texts, codec)) is not None:
            raise TypeError(f"{_name(kind)}: {clash}")
        if texts.rest is None:
            return
        kind = texts.rest
    if codec is BYTES:
        raise TypeError(f"bodies are bytes or str here, not {_name(kind)}; set a codec")
    if codec is JSON or codec is MSGPACK:
        _check_parts(kind, codec)


def _check_parts(kind: Any, codec: Codec) -> None:
    """
    Judge a type that a codec of ours decodes, and everything that it is made of.

    Raises:
        TypeError: msgspec does not know it, or cannot tell its keys apart.
    """
    import msgspec

    try:
        msgspec.json.Decoder(kind)
    except TypeError as exc:
        raise TypeError(f"a body cannot be decoded as {_name(kind)}: {exc}") from exc
    try:
        known = msgspec.inspect.type_info(kind)
    except TypeError:  # older ones cannot tell of a Literal with texts and numbers
        return
    for part in _parts(known):
        if isinstance(part, msgspec.inspect.CustomType):
            if not hasattr(part.cls, "model_validate"):
                raise TypeError(
                    f"a body cannot be decoded as {_name(part.cls)}: make it a dataclass, a "
                    "msgspec.Struct or a pydantic model"
                )
            _check_names(part.cls)
        elif (
            isinstance(part, msgspec.inspect.DictType)
            and codec is JSON
            and len(_kinds_of_keys(part.key_type)) > 1
        ):
            raise TypeError(f"{_name(kind)}: in JSON, '5' and 5 are the same key")


def _parts(known: Any) -> Iterator[Any]:
    """Yield what ``msgspec.inspect`` says of a type, and of all types in it."""
    waiting, seen = [known], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:  # types may contain themselves
            continue
        seen.add(id(part))
        yield part
        single = ("type", "item_type", "key_type", "value_type")
        waiting += [inner for name in single if (inner := getattr(part, name, None)) is not None]
        for name in ("types", "item_types", "fields"):
            waiting += getattr(part, name, ())


def _kinds_of_keys(key_type: Any) -> set[bool]:
    """Return whether keys are numbers: both, if some are and some are not."""
    from msgspec import inspect

    kinds = set()
    for key in getattr(key_type, "types", (key_type,)):
        if isinstance(key, inspect.LiteralType):
            kinds |= {isinstance(value, int) for value in key.values}
        elif isinstance(key, inspect.EnumType):
            kinds |= {isinstance(member.value, int) for member in key.cls}
        else:
            kinds.add(isinstance(key, inspect.IntType | inspect.FloatType))
    return kinds


def _check_names(model: Any) -> None:
    """
    Look whether one of pydantic's models reads what it writes, and those in it.

    Raises:
        TypeError: it does not.
    """
    waiting, seen = [model], set()
    while waiting:
        part = waiting.pop()
        if not hasattr(part, "model_fields"):
            waiting += typing.get_args(part)
        elif part not in seen:
            seen.add(part)
            waiting += [each.annotation for each in part.model_fields.values()]
            _check_fields(part)


def _check_fields(model: Any) -> None:
    config = model.model_config
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    for name, each in model.model_fields.items():
        alias = each.validation_alias
        read = [name] if alias is None or by_name else []
        read += getattr(alias, "choices", [alias])
        if each.exclude or (each.serialization_alias or name) not in read:
            raise TypeError(f"{_name(model)}: {name!r} is not read by the name it is written by")
    if config.get("extra") == "forbid" and (extra := list(model.model_computed_fields)):
        raise TypeError(f"{_name(model)}: {extra[0]!r} is written, and then refused as an extra")


def _clash(texts: Texts, codec: Codec) -> str | None:
    """Say which two values of a type have the same body, and what to do; None: no two have."""
    takers = {takes_bytes(maker) for maker in texts.makers}
    if texts.rest is Any:
        return (
            "a text and a value may be the same body, as '5' and 5 are; say what comes: str, "
            "bytes, or what values, such as dict[str, Any]"
        )
    if len(takers) > 1 or (True in takers and texts.literals):
        return "bytes and text are the same body; take one of them"
    if texts.rest is None or codec not in (JSON, MSGPACK):
        return None
    found = _same_body(texts, codec, as_bytes=True in takers)
    return found and (
        f"{found} may be the same body; take one of the types, or a dataclass with such a "
        "field: inside it, text is told from values"
    )


def _same_body(texts: Texts, codec: Codec, *, as_bytes: bool) -> str | None:
    """Name a text, or bytes, and a value with the same body; None if there are no such."""
    values = _values_in(texts.rest)
    if texts.named is not None:
        candidates = [text.encode() for text in texts.named]
    elif values is not None:
        candidates = [codec.encode(value) for value in values]
    else:
        candidates = list(_BODIES)
    for body in candidates:
        try:
            taken = body if as_bytes else body.decode()
            return f"{taken!r} and {codec.decode(body, texts.rest)!r}"
        except (DecodeFailed, UnicodeDecodeError):
            continue
    are_all = texts.named is not None or values is not None
    return None if are_all else "a text and a value"


# What nearly every type of values has a value with.
_BODIES = (b"5", b"null", b"true", b"[]", b"{}")


def _values_in(kind: Any) -> list[Any] | None:
    """Return all values of a type; None if there are too many."""
    values: list[Any] = []
    for member in members(kind):
        if member is type(None) or member is None:
            values.append(None)
        elif typing.get_origin(member) is Literal:
            values.extend(typing.get_args(member))
        elif member is bool:
            values.extend((False, True))
        elif isinstance(member, type) and issubclass(member, Enum):
            values.extend(member)
        else:
            return None
    return values


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind)
