"""``/api/v2/topics``, ``/channels``, ``/nodes``: rows of the summary, filtered and by pages."""

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import msgspec

from nsqx.admin.guard.access import Visitor
from nsqx.admin.guard.gate import V2Error
from nsqx.admin.shown.hub import Hub
from nsqx.admin.v2.answers import json_bytes
from nsqx.cluster.merge import ClusterSnapshot
from nsqx.runtime.http.server import Answer, Request

__all__ = ["LIST_QUERY", "ListAnswer", "ListEndpoints"]

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000
LIST_QUERY = {
    "q": "texts that the name contains, with blanks between them",
    "flag": "only rows that have this flag (of nodes: this state)",
    "sort": "a number of the row, such as depth; -depth is descending. By name without",
    "limit": "1 to 1000",
    "after": "how many rows to leave out: `next` of the page before",
}


class ListAnswer(TypedDict):
    """One page. ``total`` rows match; ``next`` is null on the last page."""

    t: float
    total: int
    next: int | None
    rows: list[dict[str, Any]]


class ListEndpoints:
    """The handlers."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def topics(self, request: Request, _visitor: Visitor) -> Answer:
        return self._page(request, lambda snapshot: snapshot.topics)

    async def channels(self, request: Request, _visitor: Visitor) -> Answer:
        return self._page(request, lambda snapshot: snapshot.channels)

    async def nodes(self, request: Request, _visitor: Visitor) -> Answer:
        return self._page(request, lambda snapshot: snapshot.nodes)

    def _page(
        self, request: Request, section: Callable[[ClusterSnapshot], Mapping[str, msgspec.Struct]]
    ) -> Answer:
        query, snapshot = request.query(), self._hub.snapshot
        limit = _number(query, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX)
        after = _number(query, "after", 0, 0, 1 << 31)
        words = query.get("q", "").lower().split()
        flag = query.get("flag", "")
        found = [
            (name, row)
            for name, row in section(snapshot).items()
            if all(word in name.lower() for word in words) and (not flag or flag in _flags(row))
        ]
        _sort(found, query.get("sort", ""))
        page = found[after : after + limit]
        following = after + len(page)
        answer = {
            "t": snapshot.t,
            "total": len(found),
            "next": following if following < len(found) else None,
            "rows": [{"name": name, **msgspec.to_builtins(row)} for name, row in page],
        }
        return json_bytes(msgspec.json.encode(answer))


def _flags(row: Any) -> list[str]:
    return getattr(row, "flags", None) or [getattr(row, "state", "")]


def _sort(found: list[tuple[str, msgspec.Struct]], wanted: str) -> None:
    """By one field, then by name; what is not known comes last."""
    found.sort(key=lambda pair: pair[0])
    name = wanted.removeprefix("-")
    if not name:
        return
    fields = (
        {field.encode_name: field.name for field in msgspec.structs.fields(found[0][1])}
        if found
        else {}
    )
    if found and name not in fields:
        raise V2Error(400, "INVALID_ARG_SORT", f"rows have no {name[:100]!r}")
    is_descending = wanted.startswith("-")

    def key(pair: tuple[str, Any]) -> tuple[bool, Any]:
        value = getattr(pair[1], fields[name])
        if not isinstance(value, str | int | float | None):
            raise V2Error(400, "INVALID_ARG_SORT", f"{name!r} has no order")
        return (value is None) is not is_descending, 0 if value is None else value

    found.sort(key=key, reverse=is_descending)


def _number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise V2Error(400, f"INVALID_ARG_{name.upper()}", f"{name} is {least} to {most}")
    return int(text)
