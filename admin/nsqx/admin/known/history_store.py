"""
A week of history in an SQLite file (``--history-path``): averages of five minutes.

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

from nsqx.admin.known.history import METRICS, RANGES, HistoryRange, Sample
from nsqx.runtime.process import logs

__all__ = ["HistoryStore"]

STEP_S = RANGES["7d"].step_s
KEPT_S = STEP_S * RANGES["7d"].points
COLUMNS = 5  # the most metrics that a series has

SCHEMA = """
CREATE TABLE IF NOT EXISTS points (
  series TEXT NOT NULL,
  at INTEGER NOT NULL,           -- beginning of the five minutes, seconds since 1970
  v0 REAL, v1 REAL, v2 REAL, v3 REAL, v4 REAL,
  PRIMARY KEY (series, at)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS points_at ON points (at);
"""

INSERT = """
INSERT INTO points VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
  v0 = (v0 + excluded.v0) / 2, v1 = (v1 + excluded.v1) / 2, v2 = (v2 + excluded.v2) / 2,
  v3 = (v3 + excluded.v3) / 2, v4 = (v4 + excluded.v4) / 2
"""

_log = logs.get_logger("HISTORY")

T = TypeVar("T")


class HistoryStore:
    """The file at ``path``; it is made if it does not exist. Use it as an async context manager."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._thread = ThreadPoolExecutor(1, "history")
        self._database: sqlite3.Connection
        self._sums: dict[str, tuple[int, list[float]]] = {}
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
            count, sums = self._sums.get(name, (0, [0.0] * len(sample)))
            added = [total + value for total, value in zip(sums, sample, strict=True)]
            self._sums[name] = (count + 1, added)
        self._summed_until = at + 60
        if self._summed_until % STEP_S == 0:
            self._write_soon()

    def _write_soon(self) -> None:
        at = (self._summed_until - 1) // STEP_S * STEP_S
        rows = [
            (name, at, *_padded([total / count for total in sums]))
            for name, (count, sums) in self._sums.items()
        ]
        self._sums = {}
        writing = asyncio.ensure_future(self._write(rows, self._summed_until - KEPT_S))
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

    def _select(self, series: str, since: int) -> list[Any]:
        return self._database.execute(
            "SELECT at, v0, v1, v2, v3, v4 FROM points WHERE series = ? AND at >= ?",
            (series, since),
        ).fetchall()

    def _replace(self, rows: Iterable[tuple[object, ...]], too_old: int) -> None:
        with self._database:
            self._database.executemany(INSERT, rows)
            self._database.execute("DELETE FROM points WHERE at < ?", (too_old,))

    async def _write(self, rows: Iterable[tuple[object, ...]], too_old: int) -> None:
        try:
            await self._in_thread(lambda: self._replace(rows, too_old))
        except sqlite3.Error as exc:
            _log.error("%s: history is lost: %s", self._path, exc)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _padded(values: list[float]) -> list[float | None]:
    return [*values, *[None] * (COLUMNS - len(values))]
