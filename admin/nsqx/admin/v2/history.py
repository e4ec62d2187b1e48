"""``/api/v2/history`` and ``/api/v2/activity``: what was."""

import time
from urllib.parse import parse_qsl

import msgspec

from nsqx.admin.changed.audit import AuditTrail
from nsqx.admin.guard.access import Visitor
from nsqx.admin.guard.gate import V2Error
from nsqx.admin.known.history import (
    METRICS,
    RANGES,
    TOTAL,
    History,
    HistoryRange,
    filled,
    sample_of,
)
from nsqx.admin.known.history_store import HistoryStore
from nsqx.admin.shown.hub import Hub, UnknownKeyError, check_key
from nsqx.admin.v2.answers import json_bytes
from nsqx.runtime.http.server import Answer, Request

__all__ = ["ENTRY_FIELDS", "HistoryAnswer", "HistoryEndpoints"]

SERIES_MAX = 20
ENTRIES_MAX = 1000
ID_MAX = (1 << 63) - 1
ENTRY_FIELDS = ("topic", "channel", "node", "user", "action")
STORED = "7d"  # the range that is in the file

Values = dict[str, list[float | None]]


class HistorySeries(msgspec.Struct):
    """One series."""

    series: str
    metrics: Values
    restarts: list[float]


class HistoryAnswer(msgspec.Struct):
    """Some series over the same time."""

    range: str
    step: int
    start: int
    series: list[HistorySeries]


class HistoryEndpoints:
    """The handlers. ``store`` is None without ``--history-path``."""

    def __init__(
        self, hub: Hub, history: History, store: HistoryStore | None, audit: AuditTrail
    ) -> None:
        self._hub = hub
        self._history = history
        self._store = store
        self._audit = audit

    async def history(self, request: Request, _visitor: Visitor) -> Answer:
        pairs = parse_qsl(request.raw_query)
        names = [value for name, value in pairs if name == "series"] or [TOTAL]
        query = dict(pairs)
        wanted = self._range(query.get("range", "1h"))
        metrics = set(filter(None, query.get("metrics", "").split(",")))
        if len(names) > SERIES_MAX:
            raise V2Error(400, "INVALID_ARG_SERIES", f"at most {SERIES_MAX} series")
        now = time.time()
        start = self._history.start_of(wanted, now)
        series = [await self._read(name, wanted, metrics, now, start) for name in names]
        answer = HistoryAnswer(wanted.name, wanted.step_s, start, series)
        return json_bytes(msgspec.json.encode(answer))

    def _range(self, name: str) -> HistoryRange:
        wanted = RANGES.get(name)
        if wanted is None or (name == STORED and self._store is None):
            raise V2Error(400, "INVALID_ARG_RANGE", f"range is one of {', '.join(self.ranges)}")
        return wanted

    @property
    def ranges(self) -> list[str]:
        return [name for name in RANGES if name != STORED or self._store is not None]

    async def _read(
        self, name: str, wanted: HistoryRange, metrics: set[str], now: float, start: int
    ) -> HistorySeries:
        _check_series(name)
        if sample_of(self._hub.snapshot, name) is not None:
            self._history.watch(name, now)
        values = await self._values(name, wanted, now)
        is_there = sample_of(self._hub.snapshot, name) is not None
        if not is_there and not any(
            value is not None for each in values.values() for value in each
        ):
            raise V2Error(
                404, "NOT_FOUND", f"there is no {name.replace(':', ' ', 1)}, and was none"
            )
        if metrics:
            values = {metric: listed for metric, listed in values.items() if metric in metrics}
        return HistorySeries(name, values, self._history.restarts(self._nodes_of(name), start))

    async def _values(self, name: str, wanted: HistoryRange, now: float) -> Values:
        """A day from memory goes back to the start; what was before is in the file."""
        if self._store is None:
            return self._history.read(name, wanted, now)
        if wanted.name == STORED:
            return await self._store.read(name, wanted, now)
        values = self._history.read(name, wanted, now)
        if wanted.name != "24h":
            return values
        stored = RANGES[STORED]
        coarse = await self._store.read(name, stored, now)
        until = now if self._history.began_at is None else self._history.began_at
        return {
            metric: filled(listed, wanted, coarse[metric], stored, now=now, until=until)
            for metric, listed in values.items()
        }

    def _nodes_of(self, name: str) -> list[str]:
        kind, _, subject = name.partition(":")
        match kind:
            case "node":
                return [subject]
            case "topic" | "channel":
                topic = subject.partition("/")[0]
                return [node.address for node in self._hub.view.nodes_with(topic)]
            case _:
                return [node.address for node in self._hub.view.nodes]

    async def activity(self, request: Request, _visitor: Visitor) -> Answer:
        """The document; with a parameter, the entries that it asks for."""
        query = request.query()
        if not query.keys() & {"before", "limit", *ENTRY_FIELDS}:
            return json_bytes(self._hub.feed("activity").full())
        before = _number(query["before"], "before", ID_MAX) if "before" in query else None
        limit = _number(query.get("limit", "100"), "limit", ENTRIES_MAX)
        fields = {name: query[name] for name in ENTRY_FIELDS if query.get(name)}
        page = self._audit.page(before, limit, **fields)
        return json_bytes(msgspec.json.encode(page))


def _number(text: str, name: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise V2Error(400, f"INVALID_ARG_{name.upper()}", f"{name} is 1 to {most}")
    return int(text)


def _check_series(name: str) -> None:
    try:
        if name != TOTAL:
            check_key(name)
    except UnknownKeyError as exc:
        raise V2Error(400, "INVALID_ARG_SERIES", str(exc)) from exc
    if name.partition(":")[0] not in METRICS:
        raise V2Error(400, "INVALID_ARG_SERIES", f"{name[:100]!r} has no history")
