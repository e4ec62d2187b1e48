"""Go's readers of values, with Go's words for what is wrong, as NSQ's programs show them."""

import re

from nsqx.protocol.errors import quote

__all__ = [
    "BOOLS",
    "FLOAT_TEXT",
    "INT64_MAX",
    "INT64_MIN",
    "go_quote",
    "read_bool",
    "read_float",
    "read_int64",
]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
BOOLS = {"1": True, "t": True, "T": True, "TRUE": True, "true": True, "True": True}
BOOLS |= {"0": False, "f": False, "F": False, "FALSE": False, "false": False, "False": False}

FLOAT_TEXT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DECIMAL = re.compile(r"[+-]?[0-9]+")


def go_quote(text: str) -> str:
    """Quote as Go's ``%q`` does, as errors show a refused value."""
    return quote(text.encode("utf-8", "surrogateescape"))


def read_bool(text: str) -> bool:
    """Return what ``strconv.ParseBool`` does; ValueError with its words."""
    if text not in BOOLS:
        raise ValueError(f"strconv.ParseBool: parsing {go_quote(text)}: invalid syntax")
    return BOOLS[text]


def read_float(text: str) -> float:
    """Return what ``strconv.ParseFloat`` does; ValueError with its words."""
    if not FLOAT_TEXT.fullmatch(text):
        raise ValueError(f"strconv.ParseFloat: parsing {go_quote(text)}: invalid syntax")
    return float(text)


def read_int64(text: str) -> int:
    """Return what ``strconv.ParseInt(text, 10, 64)`` does; ValueError with its words."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"strconv.ParseInt: parsing {go_quote(text)}: invalid syntax")
    # int() refuses thousands of digits with another ValueError: they are out of range, too.
    number = int(text) if len(text) <= _DIGITS_MAX else INT64_MAX + 1
    if not INT64_MIN <= number <= INT64_MAX:
        raise ValueError(f"strconv.ParseInt: parsing {go_quote(text)}: value out of range")
    return number


_DIGITS_MAX = 1000  # leading zeros are fine
