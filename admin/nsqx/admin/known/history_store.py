"""
What survives a restart, in an SQLite file (``--history-path``): a week of history, as averages of
five minutes; the audit trail; and what is known of problems.

One thread of its own does all of it, so neither the event loop nor a viewer waits for the disk.
What cannot be written is logged and lost; the dashboard goes on. What is known of five minutes that
have not ended is written when it stops; the rest of them, after a start, is averaged into it.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from nsqx.admin.changed.audit import AuditEntry
from nsqx.admin.known.history import METRICS, RANGES, Averages, HistoryRange, Sample
from nsqx.runtime.process import logs

__all__ = ["HistoryStore"]

STEP_S = RANGES["7d"].step_s
KEPT_S = STEP_S * RANGES["7d"].points
COLUMNS = max(map(len, METRICS.values()))
AUDIT_KEPT = 10_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS points (
  series TEXT NOT NULL,
  at INTEGER NOT NULL,           -- beginning of the five minutes, seconds since 1970
  v0 REAL, v1 REAL, v2 REAL, v3 REAL, v4 REAL,
  PRIMARY KEY (series, at)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS points_at ON points (at);
CREATE TABLE IF NOT EXISTS audit (id INTEGER PRIMARY KEY, entry BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""

_VALUES = [f"v{index}" for index in range(COLUMNS)]
# What is not known (NULL) does not make the other half unknown.
INSERT = f"""
INSERT INTO points (series, at, {", ".join(_VALUES)}) VALUES ({", ".join("?" * (COLUMNS + 2))})
ON CONFLICT DO UPDATE SET
  {", ".join(f"{v} = coalesce(({v} + excluded.{v}) / 2, {v}, excluded.{v})" for v in _VALUES)}
"""

_log = logs.get_logger("HISTORY")

T = TypeVar("T")


class HistoryStore:
    """The file at ``path``; it is made if it does not exist. Use it as an async context manager."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._thread = ThreadPoolExecutor(1, "history")
        self._database: sqlite3.Connection
        self._sums: dict[str, Averages] = {}
        self._summed_until = 0
        self._writing: set[asyncio.Future[None]] = set()

    async def __aenter__(self) -> Self:
        """
        Open the file.

        Raises:
            OSError: it cannot be opened, or is something else.
        """
        try:
            await self._in_thread(self._open)
        except sqlite3.Error as exc:
            self._thread.shutdown()
            raise OSError(f"failed to open --history-path ({self._path}) - {exc}") from exc
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sums:
            self._write_soon()
        await asyncio.gather(*self._writing, return_exceptions=True)
        await self._in_thread(lambda: self._database.close())
        self._thread.shutdown()

    def take_minute(self, at: int, samples: dict[str, Sample]) -> None:
        """Take in the averages of a minute; those of five minutes are written in the background."""
        for name, sample in samples.items():
            if name not in self._sums:
                self._sums[name] = Averages(len(sample))
            self._sums[name].add(sample)
        self._summed_until = at + 60
        if self._summed_until % STEP_S == 0:
            self._write_soon()

    def _write_soon(self) -> None:
        at = (self._summed_until - 1) // STEP_S * STEP_S
        rows = [(name, at, *_padded(averages.result())) for name, averages in self._sums.items()]
        self._sums = {}
        too_old = self._summed_until - KEPT_S
        self._write_in_background(lambda: self._replace(rows, too_old), "history")

    def add_entry(self, entry: AuditEntry) -> None:
        """Keep an entry of the audit trail."""
        row = (entry.id, msgspec.json.encode(entry))
        self._write_in_background(lambda: self._add_entry(row), "an entry of the audit trail")

    async def entries(self, limit: int) -> list[AuditEntry]:
        """Return the newest entries of the audit trail, newest first."""
        found = await self._in_thread(lambda: self._select_entries(limit))
        return [msgspec.json.decode(entry, type=AuditEntry) for (entry,) in found]

    def keep_state(self, name: str, value: bytes) -> None:
        """Keep something under a name."""
        self._write_in_background(lambda: self._set_state(name, value), name)

    async def state(self, name: str) -> bytes | None:
        """Return what was kept under a name."""
        return await self._in_thread(lambda: self._get_state(name))

    def _write_in_background(self, work: Callable[[], None], what: str) -> None:
        writing = asyncio.ensure_future(self._write(work, what))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def read(
        self, series: str, wanted: HistoryRange, now: float
    ) -> dict[str, list[float | None]]:
        """Return the values of each metric, oldest first, as ``History.read`` does."""
        end = int(now) // STEP_S
        first = end - wanted.points
        found = await self._in_thread(lambda: self._select(series, first * STEP_S))
        by_slot = {at // STEP_S: values for at, *values in found}
        return {
            name: [by_slot[slot][index] if slot in by_slot else None for slot in range(first, end)]
            for index, name in enumerate(METRICS[series.partition(":")[0]])
        }

    # In the thread

    def _open(self) -> None:
        self._database = sqlite3.connect(self._path, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(SCHEMA)
        known = {row[1] for row in self._database.execute("PRAGMA table_info(points)")}
        for name in _VALUES:
            if name not in known:  # of a version that had fewer
                self._database.execute(f"ALTER TABLE points ADD COLUMN {name} REAL")

    def _select(self, series: str, since: int) -> list[Any]:
        return self._database.execute(
            f"SELECT at, {', '.join(_VALUES)} FROM points WHERE series = ? AND at >= ?",
            (series, since),
        ).fetchall()

    def _replace(self, rows: Iterable[tuple[object, ...]], too_old: int) -> None:
        with self._database:
            self._database.executemany(INSERT, rows)
            self._database.execute("DELETE FROM points WHERE at < ?", (too_old,))

    def _add_entry(self, row: tuple[int, bytes]) -> None:
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO audit VALUES (?, ?)", row)
            self._database.execute("DELETE FROM audit WHERE id <= ?", (row[0] - AUDIT_KEPT,))

    def _select_entries(self, limit: int) -> list[tuple[bytes]]:
        question = "SELECT entry FROM audit ORDER BY id DESC LIMIT ?"
        return self._database.execute(question, (limit,)).fetchall()

    def _set_state(self, name: str, value: bytes) -> None:
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))

    def _get_state(self, name: str) -> bytes | None:
        question = "SELECT value FROM state WHERE name = ?"
        found = self._database.execute(question, (name,)).fetchone()
        return bytes(found[0]) if found else None

    async def _write(self, work: Callable[[], None], what: str) -> None:
        try:
            await self._in_thread(work)
        except sqlite3.Error as exc:
            _log.error("%s: %s is lost: %s", self._path, what, exc)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _padded(values: Sample) -> list[float | None]:
    return [*values, *[None] * (COLUMNS - len(values))]
