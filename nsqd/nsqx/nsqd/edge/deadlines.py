"""Who is to be looked at when: costs what is due, not what there is."""

import heapq
from itertools import count
from typing import Generic, TypeVar

__all__ = ["NEVER_NS", "Deadlines"]

NEVER_NS = 1 << 63

Who = TypeVar("Who")


class Deadlines(Generic[Who]):
    """
    A time for each of many.

    Whoever is looked at too early says when to look again: so a deadline that has moved on needs no
    call, only one that has come nearer does.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Who]] = []
        self._due_ns: dict[Who, int] = {}  # what is in the heap and not here is out of date
        self._number = count()

    def __len__(self) -> int:
        return len(self._due_ns)

    def set(self, who: Who, due_ns: int) -> None:
        """Look at it at this time at the latest."""
        if due_ns < self._due_ns.get(who, NEVER_NS):
            self._due_ns[who] = due_ns
            heapq.heappush(self._heap, (due_ns, next(self._number), who))

    def forget(self, who: Who) -> None:
        """Look at it no more."""
        self._due_ns.pop(who, None)

    def take(self, now_ns: int) -> list[Who]:
        """Return who is due, and forget them."""
        due: list[Who] = []
        while self._heap and self._heap[0][0] <= now_ns:
            due_ns, _, who = heapq.heappop(self._heap)
            if self._due_ns.get(who) == due_ns:
                del self._due_ns[who]
                due.append(who)
        return due
