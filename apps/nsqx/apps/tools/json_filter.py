"""
What ``nsq_to_nsq`` lets through, and what of it (tools section 5). No I/O.

A body that is no JSON object, or has not the value asked for, is dropped. A body that has not even
the field whose value is asked for is an error: it is not what the operator thinks it is.
"""

import json
from collections.abc import Collection
from typing import Any

from nsqx.protocol.errors import NsqxError
from nsqx.runtime.http import go_json

__all__ = ["Dropped", "JsonFilter", "MissingFieldError"]


class Dropped(NsqxError):
    """The message goes nowhere, and is finished. Its text is worth a line in the log, if any."""


class MissingFieldError(NsqxError):
    """The message cannot be judged."""


class JsonFilter:
    """
    The filter of one command line.

    Args:
        field: must be there, if it is not empty.
        value: what the field must be, if it is not empty: this text, or this number.
        whitelist: the only fields that are kept; none: the body stays as it is.
    """

    def __init__(self, field: str, value: str, whitelist: Collection[str]) -> None:
        self._field = field
        self._value = value
        self._whitelist = frozenset(whitelist)

    def apply(self, body: bytes) -> bytes:
        """
        Return the body to publish.

        Raises:
            Dropped: it is not to be published.
            MissingFieldError: the message should be tried again, as it makes no sense.
        """
        if not self._field and not self._whitelist:
            return body
        content = _decode(body)
        if self._field:
            self._require(content)
        if not self._whitelist:
            return body
        return go_json.encode(
            {key: content[key] for key in sorted(self._whitelist & content.keys())}
        )

    def _require(self, content: dict[str, Any]) -> None:
        if self._field not in content:
            if self._value:
                raise MissingFieldError(f"the message has no field {self._field!r}")
            raise Dropped
        if self._value and not _is_value(content[self._field], self._value):
            raise Dropped


def _decode(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise Dropped(f"ERROR: Unable to decode json: {body.decode(errors='backslashreplace')}")
    return content


def _is_value(found: object, wanted: str) -> bool:
    if isinstance(found, str):
        return found == wanted
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    try:
        return float(found) == float(wanted)
    except (ValueError, OverflowError):
        return False
