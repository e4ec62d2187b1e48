"""
Which messages somebody wants to see: those whose body contains a text, those for which a JMESPath
expression holds, or both. No I/O.

    body.user.id == `7` && attempts > `1`
    contains(body.items[].sku, 'A-1')

An expression sees a message as ``{topic, id, node, sequence, t, size, attempts, body, text}``:
``body`` is what the JSON means and ``text`` the body as text, each null if it is none. It holds if
it is neither null, false, nor empty. Where it cannot be evaluated, such as ``contains`` of null, it
does not hold, and the message is counted as ``failed``.

Expressions come from visitors and run here. So what could make much of little is refused: lists and
objects that are put together, and functions besides those of ``FUNCTIONS``. What is left takes time
in proportion to the size of the message and to how often the expression goes through it, and that
product has a limit: nothing stops an evaluation that has begun.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import jmespath
import msgspec
from jmespath.exceptions import JMESPathError

from nsqx.protocol.errors import NsqxError

__all__ = ["BadFilterError", "Candidate", "MessageFilter"]

TEXT_BYTES_MAX = 1000
EXPRESSION_LENGTH_MAX = 1000
WORK_BYTES_MAX = 8 << 20  # of one evaluation: some 0.2 s
REFUSED_NODES = {
    "multi_select_list": "[a, b]",
    "multi_select_dict": "{a: b}",
    "expref": "&a",
}
# Each of these may go through all of a message.
THOROUGH_NODES = frozenset(
    {
        "comparator",
        "filter_projection",
        "flatten",
        "function_expression",
        "projection",
        "value_projection",
    }
)
FUNCTIONS = frozenset(
    {
        "abs",
        "avg",
        "ceil",
        "contains",
        "ends_with",
        "floor",
        "keys",
        "length",
        "max",
        "min",
        "not_null",
        "starts_with",
        "sum",
        "to_number",
        "to_string",
        "type",
        "values",
    }
)


class BadFilterError(NsqxError, ValueError):
    """It cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that may be wanted."""

    topic: str
    id: str
    node: str
    sequence: int | None
    timestamp_ns: int
    attempts: int | None
    body: bytes


class MessageFilter:
    """
    Chooses messages.

    Attributes:
        is_empty: whether it lets everything pass.
        is_expression: whether it may take long: not for an event loop.
        failed: on how many messages the expression could not be evaluated.
    """

    def __init__(self, text: bytes, expression: Any) -> None:
        self.failed = 0
        passes = 0 if expression is None else _passes(expression.parsed)
        self._body_bytes_max = WORK_BYTES_MAX // (1 + passes)
        self._text = text
        self._expression = expression
        self.is_empty = not text and expression is None
        self.is_expression = expression is not None

    @classmethod
    def parse(cls, text: str, expression: str) -> Self:
        """
        Return the filter; both may be empty.

        Raises:
            BadFilterError: too long, no JMESPath, or more than is allowed.
        """
        wanted = text.encode("utf-8", "replace")
        if len(wanted) > TEXT_BYTES_MAX:
            raise BadFilterError(f"a text has at most {TEXT_BYTES_MAX} bytes")
        return cls(wanted, _compiled(expression) if expression else None)

    def twin(self) -> Self:
        """Return the same with its own count, for another log."""
        return type(self)(self._text, self._expression)

    def lets_pass(self, message: Candidate) -> bool:
        """Whether a message is wanted."""
        if self._text and self._text not in message.body:
            return False
        if self._expression is None:
            return True
        if len(message.body) > self._body_bytes_max:
            self.failed += 1
            return False
        try:
            return _holds(self._expression.search(_seen(message)))
        except (JMESPathError, RecursionError, TypeError, ValueError, OverflowError):
            self.failed += 1
            return False


def _compiled(expression: str) -> Any:
    if len(expression) > EXPRESSION_LENGTH_MAX:
        raise BadFilterError(f"an expression has at most {EXPRESSION_LENGTH_MAX} characters")
    try:
        compiled = jmespath.compile(expression)
        for node in _nodes(compiled.parsed):
            _check(node)
    except JMESPathError as exc:
        raise BadFilterError(" ".join(str(exc).split())) from exc
    except RecursionError as exc:
        raise BadFilterError("the expression is nested too deeply") from exc
    return compiled


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield a node and all that are in it. Slices have numbers among theirs."""
    if isinstance(node, dict):
        yield node
        for child in node["children"]:
            yield from _nodes(child)


def _passes(parsed: Any) -> int:
    """Return how often an expression may go through a message."""
    return sum(node["type"] in THOROUGH_NODES for node in _nodes(parsed))


def _check(node: dict[str, Any]) -> None:
    if (example := REFUSED_NODES.get(node["type"])) is not None:
        raise BadFilterError(f"{example} is not allowed in a filter")
    if node["type"] == "function_expression" and node["value"] not in FUNCTIONS:
        known = ", ".join(sorted(FUNCTIONS))
        raise BadFilterError(
            f"the function {node['value']} is not allowed in a filter; these are: {known}"
        )


def _holds(result: Any) -> bool:
    return not (result is None or result is False or result in ("", [], {}))


def _seen(message: Candidate) -> dict[str, Any]:
    try:
        text = message.body.decode()
    except UnicodeDecodeError:
        text = None
    try:
        body = msgspec.json.decode(message.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = None
    return {
        "topic": message.topic,
        "id": message.id,
        "node": message.node,
        "sequence": message.sequence,
        "t": message.timestamp_ns / 1_000_000_000,
        "size": len(message.body),
        "attempts": message.attempts,
        "body": body,
        "text": text,
    }
