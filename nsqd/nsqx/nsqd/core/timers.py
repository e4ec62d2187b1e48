"""Who is to be looked at when: costs what is due, not what there is."""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

__all__ = ["NEVER_NS", "Timers"]

NEVER_NS = 1 << 63

Who = TypeVar("Who")


class Timers(Generic[Who]):
    """
    A time for each of many, by one clock.

    Whoever is looked at too early says when to look again: so a time that has moved on needs no
    call, only one that has come nearer does.
    """

    def __init__(self, on_sooner: Callable[[], None] | None = None) -> None:
        """``on_sooner`` is called when `next_ns` has come nearer."""
        self._heap: list[tuple[int, int, Who]] = []
        self._due_ns: dict[Who, int] = {}  # what is in the heap and not here is out of date
        self._number = count()
        self.on_sooner = on_sooner

    def __len__(self) -> int:
        return len(self._due_ns)

    def set(self, who: Who, due_ns: int) -> None:
        """Look at it at this time at the latest."""
        if due_ns < self._due_ns.get(who, NEVER_NS):
            self._due_ns[who] = due_ns
            is_sooner = not self._heap or due_ns < self._heap[0][0]
            heapq.heappush(self._heap, (due_ns, next(self._number), who))
            if is_sooner and self.on_sooner is not None:
                self.on_sooner()

    def forget(self, who: Who) -> None:
        """Look at it no more."""
        self._due_ns.pop(who, None)

    @property
    def next_ns(self) -> int:
        """Return when somebody is to be looked at next, maybe too early; `NEVER_NS` if nobody."""
        heap = self._heap
        while heap and self._due_ns.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER_NS

    def take(self, now_ns: int, limit: int | None = None) -> list[Who]:
        """Return who is due, those that are due longest if they are too many, and forget them."""
        due: list[Who] = []
        while self._heap and self._heap[0][0] <= now_ns and len(due) != limit:
            due_ns, _, who = heapq.heappop(self._heap)
            if self._due_ns.get(who) == due_ns:
                del self._due_ns[who]
                due.append(who)
        return due
