"""
What connections may have of one turn of the event loop, all together.

A loop reads once from each socket that has something, before anybody else has a turn: a hundred
that each send as much as a socket holds are a hundred long reads. So when those of a turn have had
their time, whoever is read then is read again in a later turn, a few at a time.
"""

import asyncio
from collections import deque
from typing import Protocol

__all__ = ["Reader", "ReadingTurn"]

TURN_NS = 500_000
RESUMED_PER_TURN = 2


class Reader(Protocol):
    """A connection."""

    def wait_for_turn(self) -> None:
        """Be read no more."""

    def go_on(self) -> None:
        """Be read again; fine if it is gone."""


class ReadingTurn:
    """Counts what reads take, and has readers wait. One for all whom it is about."""

    def __init__(self, turn_ns: int = TURN_NS) -> None:
        self._turn_ns = turn_ns
        self._spent_ns = 0
        self._waiting: deque[Reader] = deque()
        self._ending: asyncio.Handle | None = None

    def spend(self, reader: Reader, took_ns: int) -> None:
        """Count what a read took; have its reader wait if that was too much in all."""
        self._spent_ns += took_ns
        self._end_soon()
        if self._spent_ns > self._turn_ns:
            self._waiting.append(reader)
            reader.wait_for_turn()

    def _end_soon(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        self._ending = None
        self._spent_ns = 0
        for _ in range(min(RESUMED_PER_TURN, len(self._waiting))):
            self._waiting.popleft().go_on()
        if self._waiting:
            self._end_soon()
