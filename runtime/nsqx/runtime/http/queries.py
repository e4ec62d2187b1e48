"""
Query strings as NSQ's endpoints read them (nsqd-http section 1): the first value counts.

Python's parse_qs lets bad escapes pass and, in old versions, splits at ``;``. Go refuses both.
"""

import re
from urllib.parse import unquote_plus

from nsqx.protocol.errors import NsqxError

__all__ = ["BadQueryError", "parse_query"]

_BAD_ESCAPE = re.compile("%(?![0-9a-fA-F]{2})")


class BadQueryError(NsqxError, ValueError):
    """A query with ``;`` or a ``%`` that is no escape; the text is Go's."""


def parse_query(raw: str) -> dict[str, str]:
    """
    Return the first value of each key; bytes that are not UTF-8 become replacement characters.

    Raises:
        BadQueryError: for the whole query, whichever part is wrong.
    """
    values: dict[str, str] = {}
    for part in raw.split("&"):
        if not part:
            continue
        if ";" in part:
            raise BadQueryError("invalid semicolon separator in query")
        if bad := _BAD_ESCAPE.search(part):
            raise BadQueryError(f'invalid URL escape "{part[bad.start() : bad.start() + 3]}"')
        key, _, value = part.partition("=")
        values.setdefault(unquote_plus(key), unquote_plus(value))
    return values
