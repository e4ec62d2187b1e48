"""The audit trail: the last changes made through this dashboard, and where else they are told."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from nsqx.admin.shown.feed import Document
from nsqx.runtime.process import logs

__all__ = ["ENTRIES_KEPT", "AuditEntry", "AuditTrail", "NodeResult"]

ENTRIES_KEPT = 1000
DOCUMENT_ENTRIES = 100

_log = logs.get_logger("AUDIT")


class NodeResult(msgspec.Struct):
    """What one daemon made of a change. ``answer`` is its JSON, if it gave any."""

    node: str
    kind: str  # nsqd or nsqlookupd
    ok: bool
    error: str = ""
    ms: float = 0.0
    answer: Any = None

    @property
    def is_missing(self) -> bool:
        """Whether it said that there is no such thing."""
        return not self.ok and "_NOT_FOUND" in self.error


class AuditEntry(msgspec.Struct):
    """One change, done or tried."""

    id: int
    t: float
    user: str
    role: str
    remote: str
    via: str
    action: str
    topic: str
    channel: str
    node: str
    detail: str
    ok: bool
    results: list[NodeResult]


class AuditTrail:
    """
    The newest entries; each is logged too.

    Attributes:
        on_add: called with each new entry, for who keeps them.
    """

    def __init__(self) -> None:
        self.on_add: Callable[[AuditEntry], None] = lambda _entry: None
        self._entries: deque[AuditEntry] = deque(maxlen=ENTRIES_KEPT)
        self._next_id = 1

    def restore(self, entries: Iterable[AuditEntry]) -> None:
        """Begin with what was, newest first; before anything is added."""
        assert not self._entries
        self._entries.extend(entries)
        self._next_id = self._entries[0].id + 1 if self._entries else 1

    def add(
        self,
        action: str,
        *,
        user: str,
        role: str,
        remote: str,
        via: str,
        topic: str = "",
        channel: str = "",
        node: str = "",
        detail: str = "",
        results: Iterable[NodeResult] = (),
    ) -> AuditEntry:
        """Note a change and return its entry."""
        listed = list(results)
        entry = AuditEntry(
            self._next_id,
            time.time(),
            user,
            role,
            remote,
            via,
            action,
            topic,
            channel,
            node,
            detail,
            all(result.ok for result in listed),
            listed,
        )
        self._next_id += 1
        self._entries.appendleft(entry)
        self.on_add(entry)
        _log.info(
            "%s %s by %s (%s): %s",
            action,
            "/".join(filter(None, (topic, channel, node))),
            user or "-",
            remote,
            "ok" if entry.ok else "failed in part",
        )
        return entry

    def older(self, before: int | None, limit: int, **fields: str) -> Iterator[AuditEntry]:
        """Yield entries, newest first: before an id (None: all), whose fields are as given."""
        left = limit
        for entry in self._entries:
            is_wanted = all(getattr(entry, name) == value for name, value in fields.items())
            if left and (before is None or entry.id < before) and is_wanted:
                left -= 1
                yield entry

    def document(self) -> Document:
        """Return the newest entries."""
        return self.page(None, DOCUMENT_ENTRIES)

    def page(self, before: int | None, limit: int, **fields: str) -> Document:
        """Return some entries, and the id of the oldest that is kept."""
        oldest = self._entries[-1].id if self._entries else None
        return {"entries": list(self.older(before, limit, **fields)), "oldest": oldest}
