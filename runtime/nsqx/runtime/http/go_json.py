"""
JSON as Go's encoder writes it, so that answers compare equal byte for byte (nsqd-http section 1).

Compact, keys in the order given, UTF-8; ``<``, ``>``, ``&`` and the two Unicode line separators
escaped, so that the text may stand inside an HTML page; floats without a fraction as integers.
"""

import re
from typing import Any

import msgspec

__all__ = ["encode"]

_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)

# A number that Go would write in another way: 1.0 as 1, 1e-05 as 0.00001. Rare, so it is looked
# for in the finished text; walking every object costs ten times the encoding of a large /stats.
_FOREIGN_NUMBER = re.compile(rb"(?:^|[:,\[])-?[0-9]+(?:\.0(?:[,}\]]|$)|(?:\.[0-9]+)?[eE])")


def encode(value: Any) -> bytes:
    """Return the JSON of dicts, lists, text, numbers, None, dataclasses and msgspec structs."""
    try:
        text = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate: Go writes the replacement character
        text = msgspec.json.encode(_as_go(msgspec.to_builtins(value)))
    if _FOREIGN_NUMBER.search(text):
        text = msgspec.json.encode(_as_go(msgspec.to_builtins(value)))
    for character, escape in _ESCAPES:
        if character in text:
            text = text.replace(character, escape)
    return text


def _as_go(value: Any) -> Any:
    """Return a copy of plain data in which msgspec writes every number as Go does."""
    if isinstance(value, dict):
        return {_as_go(key): _as_go(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_go(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return _go_float(value)
    return value


def _go_float(number: float) -> Any:
    """Go uses an exponent below 1e-6 and from 1e21 on only."""
    if number.is_integer() and abs(number) < 1e21:
        return int(number)
    if 1e-6 <= abs(number) < 1e-3:
        return msgspec.Raw(_without_exponent(number).encode())
    return number


def _without_exponent(number: float) -> str:
    """Write a small number as 0.00001: the shortest digits, moved behind the zeros."""
    mantissa, _, exponent = repr(number).partition("e")
    if not exponent:
        return mantissa
    sign = "-" if number < 0 else ""
    zeros = "0" * (-int(exponent) - 1)
    return f"{sign}0.{zeros}{mantissa.lstrip('-').replace('.', '')}"
