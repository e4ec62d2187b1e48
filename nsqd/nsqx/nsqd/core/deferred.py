"""Messages that wait for their time."""

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush

__all__ = ["DUE_NS_MAX", "Deferred", "unpack"]

# The latest time that index and journals can hold, in the year 2262. What is later is due then.
DUE_NS_MAX = (1 << 63) - 1

_SEQUENCE_BITS = 48
_ATTEMPTS_BITS = 16
_DUE_SHIFT = _SEQUENCE_BITS + _ATTEMPTS_BITS
_SEQUENCE_MASK = (1 << _SEQUENCE_BITS) - 1
_ATTEMPTS_MASK = (1 << _ATTEMPTS_BITS) - 1
_MESSAGE_MASK = (1 << _DUE_SHIFT) - 1


class Deferred:
    """
    A set of messages, each with the (wall) time when it is due and its deliveries so far.

    Each is one whole number in a heap, due time first: 48 bytes a message, nothing that the
    garbage collector walks, and days of delay cost what milliseconds do.
    """

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[int] = []

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Yield ``(sequence, due_ns, attempts)`` in no particular order."""
        for entry in self._heap:
            yield _unpack(entry)

    def below(self, sequence: int) -> list[tuple[int, int, int]]:
        """Return ``(sequence, due_ns, attempts)`` of all below one. Costs 50 ns for each there."""
        limit = sequence << _ATTEMPTS_BITS
        return [_unpack(entry) for entry in self._heap if entry & _MESSAGE_MASK < limit]

    @property
    def next_due_ns(self) -> int | None:
        """Return when the earliest message is due, or None."""
        return self._heap[0] >> _DUE_SHIFT if self._heap else None

    def add(self, sequence: int, due_ns: int, attempts: int) -> bool:
        """
        Defer a message that was delivered ``attempts`` times until ``due_ns``.

        Returns:
            Whether it is the earliest now.
        """
        entry = _pack(sequence, due_ns, attempts)
        heappush(self._heap, entry)
        return self._heap[0] == entry

    def extend(self, messages: Iterable[tuple[int, int, int]]) -> None:
        """Defer many ``(sequence, due_ns, attempts)``. Costs a pass over all that is there."""
        self._heap += [_pack(*message) for message in messages]
        heapify(self._heap)

    def take_due(self, wall_ns: int, limit: int) -> list[tuple[int, int]]:
        """Remove up to ``limit`` messages that are due; return ``(sequence, attempts)`` of each."""
        heap = self._heap
        beyond = (wall_ns + 1) << _DUE_SHIFT
        taken: list[tuple[int, int]] = []
        while heap and heap[0] < beyond and len(taken) < limit:
            sequence, _, attempts = _unpack(heappop(heap))
            taken.append((sequence, attempts))
        return taken

    def snapshot(self) -> list[int]:
        """Return the packed entries as they are now; `unpack` reads them, in any thread."""
        return self._heap.copy()

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()


def unpack(entries: Iterable[int]) -> Iterator[tuple[int, int, int]]:
    """Yield ``(sequence, due_ns, attempts)`` of the entries of a snapshot."""
    return map(_unpack, entries)


def _pack(sequence: int, due_ns: int, attempts: int) -> int:
    return due_ns << _DUE_SHIFT | sequence << _ATTEMPTS_BITS | min(attempts, _ATTEMPTS_MASK)


def _unpack(entry: int) -> tuple[int, int, int]:
    sequence = entry >> _ATTEMPTS_BITS & _SEQUENCE_MASK
    return sequence, entry >> _DUE_SHIFT, entry & _ATTEMPTS_MASK
