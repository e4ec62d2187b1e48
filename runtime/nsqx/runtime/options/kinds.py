"""
The kinds of option values: how each is read from a flag, the environment and the file, and shown.

A kind's parser raises ValueError with the reason alone; the caller adds which flag or key it was.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from nsqx.protocol.errors import StartupError
from nsqx.runtime.durations import MILLISECOND_NS, format_duration, parse_duration
from nsqx.runtime.options.go_values import (
    BOOLS,
    FLOAT_TEXT,
    INT64_MAX,
    INT64_MIN,
    go_quote,
    read_bool,
    read_float,
    read_int64,
)
from nsqx.runtime.process.levels import Level, parse_level

__all__ = [
    "BOOL",
    "DURATION",
    "FLOAT",
    "FLOATS",
    "INT",
    "LEVEL",
    "STRING",
    "STRINGS",
    "TLS_MIN_VERSION",
    "TLS_REQUIRED",
    "Kind",
    "TlsRequired",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """
    One kind of value. Make another with ``dataclasses.replace(STRING, parse=...)``.

    ``repeats`` kinds parse one word to a list, and ``combine`` joins what repeated flags gave.
    """

    name: str  # for the documentation
    type_word: str  # what Go's usage text puts behind the flag
    parse: Callable[[str], Any]  # from a flag
    from_file: Callable[[object], Any]  # from TOML
    show: Callable[[Any], str]  # in the usage text
    is_bool: bool = False  # needs no value; never takes the following word
    repeats: bool = False
    combine: Callable[[Any, Any], Any] = lambda _, latest: latest

    def from_environment(self, text: str) -> Any:
        """Lists are split at commas here: a variable cannot be given twice."""
        return self.from_file(text) if self.repeats else self.parse(text)


class TlsRequired(IntEnum):
    """``--tls-required``, numbered as ``/config/tls_required`` shows it."""

    NO = 0
    TCP_ONLY = 1  # the word is tcp-https: plain HTTP stays open
    YES = 2


# --- text ---


def _string_from_file(value: object) -> str:
    # Go turns an integer into the character of that number; its digits are what was meant.
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise ValueError("invalid value type")


def _strings_from_file(value: object) -> list[str]:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, list):
        return [_string_from_file(item) for item in value]
    raise ValueError("invalid value type")


STRING = Kind("string", "string", str, _string_from_file, go_quote)
STRINGS = Kind(
    "list of strings",
    "value",
    lambda text: [text],
    _strings_from_file,
    ",".join,
    repeats=True,
    combine=lambda before, latest: before + latest,
)

# --- bools ---


def _parse_bool(text: str) -> bool:
    if text not in BOOLS:
        raise ValueError("parse error")
    return BOOLS[text]


def _bool_from_file(value: object) -> bool:
    # Go inverts integers here (1 is false), a bug: ours mean what they say.
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        return read_bool(value)
    raise ValueError("invalid value type")


BOOL = Kind(
    "bool", "", _parse_bool, _bool_from_file, lambda on: "true" if on else "false", is_bool=True
)

# --- numbers ---

# Go's integer literals: 0x, 0o, 0b, a leading 0 for octal, and _ between digits.
_INTEGERS = (
    (16, re.compile(r"0[xX]((?:_?[0-9a-fA-F])+)")),
    (2, re.compile(r"0[bB]((?:_?[01])+)")),
    (8, re.compile(r"0[oO]?((?:_?[0-7])+)")),
    (10, re.compile(r"(0|[1-9](?:_?[0-9])*)")),
)


def _parse_int(text: str) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    for base, pattern in _INTEGERS:
        if match := pattern.fullmatch(digits):
            number = int(match[1].replace("_", ""), base)
            break
    else:
        raise ValueError("parse error")
    number = -number if text.startswith("-") else number
    if not INT64_MIN <= number <= INT64_MAX:
        raise ValueError("value out of range")
    return number


def _int_from_file(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise ValueError("invalid value type")
    return read_int64(value)


def _parse_float(text: str) -> float:
    if not FLOAT_TEXT.fullmatch(text):
        raise ValueError("parse error")
    return float(text)


def _float_from_file(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise ValueError("invalid value type")
    return read_float(value)


def _parse_floats(text: str) -> list[float]:
    numbers = []
    for item in text.split(","):
        if not FLOAT_TEXT.fullmatch(item):
            raise StartupError(f"Could not parse: {item}", bare=True)
        numbers.append(float(item))
    return sorted(numbers, reverse=True)


def _floats_from_file(value: object) -> list[float]:
    if isinstance(value, str):
        return [_float_from_file(item.strip()) for item in value.split(",") if item.strip()]
    if isinstance(value, list):
        return [_float_from_file(item) for item in value]
    raise ValueError("invalid value type")


def _show_float(number: float) -> str:
    return str(int(number)) if number.is_integer() else repr(number)


INT = Kind("int", "int", _parse_int, _int_from_file, str)
FLOAT = Kind("float", "float", _parse_float, _float_from_file, _show_float)
FLOATS = Kind(
    "list of floats",
    "value",
    _parse_floats,
    _floats_from_file,
    lambda numbers: ",".join(map(_show_float, numbers)),
    repeats=True,
    # From high to low, but only what flags gave: the file's order is kept (options section 2).
    combine=lambda before, latest: sorted(before + latest, reverse=True),
)

# --- durations ---


def _duration_from_file(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value * MILLISECOND_NS
    if not isinstance(value, str):
        raise ValueError("invalid value type")
    try:
        return parse_duration(value)
    except ValueError:
        raise ValueError(f"time: invalid duration {go_quote(value)}") from None


DURATION = Kind("duration", "duration", parse_duration, _duration_from_file, format_duration)

# --- words ---


def _level_from_file(value: object) -> Level:
    if not isinstance(value, str):
        raise ValueError("invalid value type")
    return parse_level(value)


LEVEL = Kind("level", "value", parse_level, _level_from_file, lambda level: level.name)

_TLS_REQUIRED_WORDS = {TlsRequired.NO: "false", TlsRequired.TCP_ONLY: "tcp-https"}


def _parse_tls_required(text: str) -> TlsRequired:
    if text.lower() == "tcp-https":
        return TlsRequired.TCP_ONLY
    if text not in BOOLS and text.lower() not in BOOLS:
        raise ValueError("parse error")
    return TlsRequired.YES if BOOLS[text.lower()] else TlsRequired.NO


def _tls_required_from_file(value: object) -> TlsRequired:
    if isinstance(value, bool):
        return TlsRequired.YES if value else TlsRequired.NO
    if not isinstance(value, str):
        raise ValueError("invalid value type")
    return _parse_tls_required(value)


TLS_REQUIRED = Kind(
    "bool or tcp-https",
    "",
    _parse_tls_required,
    _tls_required_from_file,
    lambda required: _TLS_REQUIRED_WORDS.get(required, "true"),
    is_bool=True,
)

# The numbers are those of the TLS protocol, of ssl.TLSVersion and of /config/tls_min_version.
_TLS_VERSIONS = {"tls1.0": 769, "tls1.1": 770, "tls1.2": 771, "tls1.3": 772}
_TLS_VERSION_WORDS = {number: word for word, number in _TLS_VERSIONS.items()}


def _parse_tls_version(text: str) -> int:
    if text == "":
        return _TLS_VERSIONS["tls1.0"]
    if text.lower() not in _TLS_VERSIONS:
        raise ValueError(f"unknown tlsVersionOption {go_quote(text.lower())}")
    return _TLS_VERSIONS[text.lower()]


def _tls_version_from_file(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError("invalid value type")
    return _parse_tls_version(value)


TLS_MIN_VERSION = Kind(
    "tls version",
    "value",
    _parse_tls_version,
    _tls_version_from_file,
    lambda number: _TLS_VERSION_WORDS.get(number, str(number)),
)
