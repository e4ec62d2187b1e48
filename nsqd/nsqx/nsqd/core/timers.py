"""Who is to be looked at when: costs what is due, not what there is."""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any, Generic, TypeVar

__all__ = ["NEVER_NS", "Timers"]

NEVER_NS = 1 << 63
# Out of date entries of the heap, beside as many as there are others, until they are taken out.
STALE_MAX = 64

Who = TypeVar("Who")
# Time, a number that no other has, and who; None once that is out of date, for who is gone then
# may be large, and its time far away.
_Entry = list[Any]


class Timers(Generic[Who]):
    """
    A time for each of many, by one clock.

    Whoever is looked at too early says when to look again: so a time that has moved on needs no
    call, only one that has come nearer does. Who is forgotten is not held any more.
    """

    def __init__(self, on_sooner: Callable[[], None] | None = None) -> None:
        """``on_sooner`` is called when `next_ns` has come nearer."""
        self._heap: list[_Entry] = []
        self._entries: dict[Who, _Entry] = {}
        self._number = count()
        self.on_sooner = on_sooner

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, who: Who, due_ns: int) -> None:
        """Look at it at this time at the latest."""
        former = self._entries.get(who)
        if former is None:
            if due_ns >= NEVER_NS:
                return
        elif due_ns >= former[0]:
            return
        else:
            former[2] = None
        entry = self._entries[who] = [due_ns, next(self._number), who]
        is_sooner = not self._heap or due_ns < self._heap[0][0]
        heapq.heappush(self._heap, entry)
        self._tidy()
        if is_sooner and self.on_sooner is not None:
            self.on_sooner()

    def forget(self, who: Who) -> None:
        """Look at it no more."""
        entry = self._entries.pop(who, None)
        if entry is not None:
            entry[2] = None
            self._tidy()

    def _tidy(self) -> None:
        """Take out what is out of date, once that is most of the heap."""
        if len(self._heap) > 2 * len(self._entries) + STALE_MAX:
            self._heap = [entry for entry in self._heap if entry[2] is not None]
            heapq.heapify(self._heap)

    @property
    def next_ns(self) -> int:
        """Return when somebody is to be looked at next, maybe too early; `NEVER_NS` if nobody."""
        heap = self._heap
        while heap and heap[0][2] is None:
            heapq.heappop(heap)
        return int(heap[0][0]) if heap else NEVER_NS

    def take(self, now_ns: int, limit: int | None = None) -> list[Who]:
        """Return who is due, those that are due longest if they are too many, and forget them."""
        due: list[Who] = []
        while self._heap and self._heap[0][0] <= now_ns and len(due) != limit:
            who = heapq.heappop(self._heap)[2]
            if who is not None:
                del self._entries[who]
                due.append(who)
        return due
