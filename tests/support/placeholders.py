r"""
Compares what a daemon answered with what was recorded, where some of it differs from run to run.

Recorded text holds placeholders such as ``<VERSION>`` or ``<NS>``. Some stand for any text of a
shape, some for a known value (a port of this run), and ``<MSGID1>``, ``<MSGID2>`` .. for message
ids that must be the same wherever they come up again in one case::

    values = Placeholders({"NSQD_HTTP": "127.0.0.1:4151", "NSQD_HTTP_PORT": "4151"})
    values.difference("FIN <MSGID1>", "FIN 0123456789abcdef")   # None: they agree
    values.fill("REQ <MSGID1> 0")                               # "REQ 0123456789abcdef 0"

A recorded JSON value that is one placeholder of a number or a time stands for a number, and a time
is of this run; all others stand for text.
"""

import re
import socket
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

__all__ = ["Placeholders"]

# Shapes of what differs from run to run. A placeholder neither here nor among the values given
# is ordinary text: "<a href=.." and "<TOPIC>" of a file name format stand for themselves.
_SHAPES = {
    "VERSION": r"1\.3\.0",
    "RUNTIME": r"python3\.\d+\.\d+-nsqx-\d+\.\d+\.\d+",
    "CLIENT": r"nsqx/\d+\.\d+\.\d+",
    "TS": r"\d{10}",
    "NS": r"\d{19}",
    "RFC3339": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)",
    "DURATION": r"(?:\d+(?:\.\d+)?(?:ns|µs|us|ms|s|m|h))+",
    "DATE": r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d+)?",
    "DATETIME": r"\d{4}-\d\d-\d\d_\d\d",
    "ADDR": r"(?:127\.0\.0\.1|\[::1\]):\d+",
    "PORT": r"\d{1,5}",
    "N": r"\d+",
    "LATENCY": r"\d+(?:\.\d+)?(?:ns|µs|us|ms|s)?",
    "LATENCIES": r"(?:\d+(?:\.\d+)?(?:ns|µs|us|ms|s)(?:, )?)*",
    "CONNECT_ERROR": r'(?:Get|Post) "http://[^\s"]+": dial tcp 127\.0\.0\.1:\d+: '
    r"connect: connection refused",
    "PAD": r" *",
}
# What our answers have beside NSQ's, wherever NSQ's version stands.
_OUR_FIELDS = {"https_port", "nsqx_version"}
_DAY_S = 86_400
# What a JSON number may be, by its placeholder.
_NUMBERS: dict[str, Callable[[float], bool]] = {
    "TS": lambda value: isinstance(value, int) and abs(value - time.time()) < _DAY_S,
    "NS": lambda value: isinstance(value, int) and abs(value / 1e9 - time.time()) < _DAY_S,
    "N": lambda value: isinstance(value, int) and value >= 0,
    "PORT": lambda value: isinstance(value, int) and 0 < value < 65_536,
    "LATENCY": lambda value: 0 <= value < _DAY_S * 1e9,
}
_SPANS = {"connected"}  # how long, not when: nanoseconds as well
# What Go's maps leave to chance is still of its kind.
_UNSTABLE: dict[str, tuple[type, ...]] = {
    "node": (str,),
    "hostname": (str,),
    "nodes": (list, type(None)),
    "channels": (list, type(None)),
    "e2e_processing_latency": (dict, type(None)),
}
_MESSAGE_ID = r"[0-9a-f]{16}"
_PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_]*)>")


class Placeholders:
    """
    The values of one case. Ids are bound when they are first seen.

    Args:
        known: what placeholders of this run stand for.
        unordered: the JSON keys whose lists have no order; None: all lists.
    """

    def __init__(
        self, known: Mapping[str, str], unordered: Collection[str] | None = frozenset()
    ) -> None:
        hostname = socket.gethostname()
        self._known = {
            "HOSTNAME": hostname,
            "HOST": hostname,
            "SHORT_HOSTNAME": hostname.partition(".")[0],
            **known,
        }
        self._ids: dict[str, str] = {}
        self._unordered = unordered

    def fill(self, text: str) -> str:
        """Put known values and bound ids into a text that is to be sent."""
        return _PLACEHOLDER.sub(lambda match: self._value(match[1]) or match[0], text)

    def difference(self, expected: Any, actual: Any) -> str | None:
        """Say where ``actual`` first differs from what was recorded, or return None."""
        bound = dict(self._ids)
        found = self._compare(expected, actual, "")
        if found is not None:
            self._ids = bound  # a comparison that fails may be tried again
        return found

    def _value(self, name: str) -> str | None:
        return self._known.get(name) or self._ids.get(name)

    def _compare(self, expected: Any, actual: Any, at: str) -> str | None:
        if isinstance(expected, str):
            return self._compare_text(expected, actual, at)
        if isinstance(expected, dict) and isinstance(actual, dict):
            return self._compare_objects(expected, actual, at)
        if isinstance(expected, list) and isinstance(actual, list):
            return self._compare_lists(expected, actual, at)
        # 1, 1.0 and True are equal to Python, not to a client in another language.
        if type(expected) is type(actual) and expected == actual:
            return None
        return _unequal(expected, actual, at)

    def _compare_objects(
        self, expected: dict[str, Any], actual: dict[str, Any], at: str
    ) -> str | None:
        names = {self.fill(key): key for key in expected}
        if "version" in names:
            actual = {key: value for key, value in actual.items() if key not in _OUR_FIELDS}
        if list(names) != list(actual):
            return f"{at or 'top'}: keys {list(actual)}, recorded {list(names)}"
        comparisons = (
            self._compare(expected[name], actual[key], f"{at}.{key}") for key, name in names.items()
        )
        return next(filter(None, comparisons), None)

    def _compare_lists(self, expected: list[Any], actual: list[Any], at: str) -> str | None:
        if len(expected) != len(actual):
            return f"{at or 'top'}: {len(actual)} items {actual!r}, recorded {expected!r}"
        if self._unordered is None or at.rpartition(".")[2] in self._unordered:
            return self._compare_unordered(expected, actual, at)
        comparisons = (
            self._compare(one, other, f"{at}[{index}]")
            for index, (one, other) in enumerate(zip(expected, actual, strict=True))
        )
        return next(filter(None, comparisons), None)

    def _compare_unordered(self, expected: list[Any], actual: list[Any], at: str) -> str | None:
        left = list(actual)
        for item in expected:
            index = next(
                (i for i, other in enumerate(left) if not self.difference(item, other)), -1
            )
            if index < 0:
                return f"{at or 'top'}: nothing like {item!r} in {left!r}"
            del left[index]
        return None

    def _compare_text(self, expected: str, actual: Any, at: str) -> str | None:
        whole = _PLACEHOLDER.fullmatch(expected)
        if whole is not None and whole[1] == "UNSTABLE":
            is_right = isinstance(actual, _UNSTABLE[at.rpartition(".")[2]])
            return None if is_right else _unequal(expected, actual, at)
        if whole is not None and self._is_number(whole[1]):
            is_right = self._may_be(whole[1], at.rpartition(".")[2], actual)
            return None if is_right else _unequal(expected, actual, at)
        if not isinstance(actual, str):
            return _unequal(expected, actual, at)
        pattern, ids = self._pattern(expected)
        match = re.fullmatch(pattern, actual)
        if match is None:
            return _unequal(expected, actual, at)
        self._ids |= {name: match[name] for name in ids}
        return None

    def _is_number(self, name: str) -> bool:
        return name in _NUMBERS or (name.endswith("_PORT") and self._value(name) is not None)

    def _may_be(self, name: str, key: str, value: Any) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        if key in _SPANS:
            return _NUMBERS["LATENCY"](value)
        if name in _NUMBERS:
            return _NUMBERS[name](value)
        return isinstance(value, int) and str(value) == self._value(name)

    def _pattern(self, expected: str) -> tuple[str, list[str]]:
        """Return the regular expression for a recorded text, and the ids that it binds."""
        ids: list[str] = []

        def shape_of(name: str) -> str | None:
            value = self._value(name)
            if value is not None:
                return re.escape(value)
            if name in ids:
                return f"(?P={name})"
            if name.startswith("MSGID"):
                ids.append(name)
                return f"(?P<{name}>{_MESSAGE_ID})"
            return _SHAPES.get(name)

        return _translate(expected, shape_of), ids


def _translate(text: str, shape_of: Callable[[str], str | None]) -> str:
    parts: list[str] = []
    position = 0
    for match in _PLACEHOLDER.finditer(text):
        parts.append(re.escape(text[position : match.start()]))
        parts.append(shape_of(match[1]) or re.escape(match[0]))
        position = match.end()
    return "".join([*parts, re.escape(text[position:])])


def _unequal(expected: object, actual: object, at: str) -> str:
    return f"{at or 'top'}: {actual!r}, recorded {expected!r}"
