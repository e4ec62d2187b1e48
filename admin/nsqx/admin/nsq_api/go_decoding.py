"""The bodies of NSQ's own API: JSON, and what Go's decoder says about what is none."""

import json
from typing import Any

from nsqx.protocol.errors import NsqxError

__all__ = ["BadBodyError", "decode_object", "text_field"]

# Python's sentences, and Go's for the same place.
_GO_SENTENCES = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": (
        "looking for beginning of object key string"
    ),
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
}


class BadBodyError(NsqxError, ValueError):
    """The text is Go's."""


def decode_object(body: bytes) -> dict[str, Any]:
    """
    Return the object at the beginning of a body; what follows is not looked at, as in Go.

    Raises:
        BadBodyError: there is none.
    """
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise BadBodyError("EOF")
    try:
        value, _ = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode(text)
    except json.JSONDecodeError as exc:
        raise BadBodyError(_go_text(text, exc)) from exc
    if value is None:  # Go leaves the structure as it is
        return {}
    if not isinstance(value, dict):
        raise BadBodyError(f"json: cannot unmarshal {_go_type(value)} into Go value of type struct")
    return value


def text_field(value: dict[str, Any], name: str) -> str:
    """
    Return a text of an object; empty if it is missing.

    Raises:
        BadBodyError: it is no text.
    """
    text = value.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise BadBodyError(
            f"json: cannot unmarshal {_go_type(text)} into Go struct field .{name} of type string"
        )
    return text


def _refuse_constant(name: str) -> None:
    raise BadBodyError(f"invalid character '{name[0]}' looking for beginning of value")


def _go_text(text: str, error: json.JSONDecodeError) -> str:
    sentence = next(
        (go for python, go in _GO_SENTENCES.items() if error.msg.startswith(python)), None
    )
    if sentence is None or error.pos >= len(text):
        return "unexpected EOF"
    return f"invalid character {_go_character(text[error.pos])} {sentence}"


def _go_character(character: str) -> str:
    if character == "'":
        return r"'\''"
    if character == '"':
        return "'\"'"
    return f"'{character.encode('unicode_escape').decode()}'"


def _go_type(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
