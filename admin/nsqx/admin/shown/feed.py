"""
The versions of one document: full, and as deltas (docs/admin-api.md, "Documents"). No I/O.

A document is a mapping of sections. The sections in ``MAPS`` are rows by key, and a delta holds the
rows that changed; any other section is sent anew when it changed. Each version is encoded once as a
delta and, when somebody wants it, in full; the bytes are shared by all viewers.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

__all__ = ["MAPS", "Document", "Feed"]

MAPS = frozenset(
    {
        "lookupds",
        "nodes",
        "topics",
        "channels",
        "clients",
        "producers",
        "edges",
        "registrations",
    }
)
DELTAS_KEPT = 30
# Of one document. Who has missed more than that is sent it in full, which is not much longer.
DELTAS_BYTES_MAX = 1024 * 1024

Document: TypeAlias = Mapping[str, Any]

_encode = msgspec.json.encode


class Feed:
    """
    One document over time.

    Attributes:
        seq: number of the newest version; 0 before the first.
    """

    def __init__(self, key: str, boot: str) -> None:
        self.key = key
        self.seq = 0
        self._head = b'{"k":%b,"boot":%b' % (_encode(key), _encode(boot))
        self._document: Document | None = None
        self._at = 0.0
        self._full: bytes | None = None
        self._skipped = 0, b""  # the same for who has missed so many versions, as asked for last
        self._deltas: deque[bytes] = deque(maxlen=DELTAS_KEPT)  # the last leads to ``seq``

    @property
    def exists(self) -> bool:
        """Whether there is what the document is about."""
        return self._document is not None

    def publish(self, document: Document | None, at: float) -> bool:
        """
        Take in the newest version; None if the document does not exist (any more).

        Returns:
            Whether it differs from the one before.
        """
        before, is_first = self._document, self.seq == 0
        changes = _changes(before, document)
        if not is_first and changes is None:
            return False
        self.seq += 1
        self._document, self._at, self._full = document, at, None
        self._skipped = 0, b""
        if is_first or before is None or document is None:
            self._deltas.clear()
        else:
            head = b'%b,"seq":%d,"base":%d,"t":%b' % (
                self._head,
                self.seq,
                self.seq - 1,
                _encode(at),
            )
            self._keep(b'%b,"delta":%b}' % (head, _encode(changes)))
        return True

    def _keep(self, delta: bytes) -> None:
        self._deltas.append(delta)
        while len(self._deltas) > 1 and sum(map(len, self._deltas)) > DELTAS_BYTES_MAX:
            self._deltas.popleft()

    def full(self, skipped: int = 0) -> bytes:
        """Return the envelope of the newest version."""
        if self._full is None:
            self._full = b'%b,"seq":%d,"t":%b,"full":%b}' % (
                self._head,
                self.seq,
                _encode(self._at),
                _encode(self._document),
            )
        if not skipped:
            return self._full
        if skipped != self._skipped[0]:
            self._skipped = skipped, b'%b,"skipped":%d}' % (self._full[:-1], skipped)
        return self._skipped[1]

    def since(self, seq: int) -> list[bytes]:
        """Return the envelopes that lead from a version to the newest: deltas, or it in full."""
        behind = self.seq - seq
        if behind == 0:
            return []
        if 0 < behind <= len(self._deltas):
            return list(self._deltas)[-behind:]
        return [self.full()]


def _changes(before: Document | None, now: Document | None) -> dict[str, Any] | None:
    """Return the delta; None if there is no difference. Empty if there is none that would do."""
    if before is None or now is None:
        return None if before is now else {}
    changes: dict[str, Any] = {}
    for name, section in now.items():
        earlier = before.get(name)
        if section is earlier:
            continue
        if name in MAPS and isinstance(earlier, Mapping):
            if rows := _row_changes(earlier, section):
                changes[name] = rows
        elif section != earlier:
            changes[name] = section
    return changes or None


def _row_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    missing = object()
    changed = {key: row for key, row in now.items() if before.get(key, missing) != row}
    if len(before) + len(changed) > len(now):
        changed.update({key: None for key in before if key not in now})
    return changed
