"""
Who has which message of a channel, and until when.

Theory of operation. First deliveries come in runs, in the order of the log. For them there is the
window: one number for each message from `start` on, the slot of the consumer that has it, or 0
when nobody has. A delivery of any size appends to the window and notes one `Slice` with its
deadline; a run of FINs is a comparison and an assignment. Nothing is kept per message but those
two bytes.

Later deliveries (requeued, timed out, deferred) and touched messages are rare. They are in
`_others`, an entry each. A message that stays unanswered while the window grows far beyond it
moves there too, so memory follows what is in flight and not the distance.
"""

import re
from array import array
from collections.abc import Container, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from nsqx.nsqd.core.consumer import Consumer, Slice

__all__ = ["InFlight", "NotInFlightError", "NotOwnerError"]

WINDOW_MAX = 64 * 1024
# Slices that follow one another within this time share a deadline, the later one.
SLICE_NS = 50_000_000
# Deadlines of answered messages that may lie about.
DEADLINES_MIN = 1000

_NOBODY = 0
_ANYBODY = re.compile(rb"[^\0]")
_SLOTS_MAX = 0xFFFF


class NotInFlightError(LookupError):
    """The message is finished, timed out, or never was delivered."""


class NotOwnerError(LookupError):
    """The message is in flight to another client."""


@dataclass(slots=True)
class _Delivery:
    consumer: Consumer
    attempts: int
    delivered_ns: int
    deadline_ns: int


class InFlight:
    """The messages of a channel that were delivered and are unanswered."""

    def __init__(self) -> None:
        self.start = 0  # the message of the window's first number
        self._owners = array("H")
        self._others: dict[int, _Delivery] = {}
        self._deadlines: list[tuple[int, int]] = []  # of others; outlive them, see expire()
        self._consumers: dict[int, Consumer] = {}  # by slot; also gone ones that have messages
        self._next_slot = 1
        self._shorten_at = WINDOW_MAX

    def __len__(self) -> int:
        return sum(consumer.in_flight for consumer in self._consumers.values())

    # Consumers

    def enter(self, consumer: Consumer) -> None:
        """Give a consumer its slot."""
        while self._next_slot in self._consumers or self._next_slot == _NOBODY:
            self._next_slot = (self._next_slot + 1) & _SLOTS_MAX
        consumer.slot = self._next_slot
        self._next_slot = (self._next_slot + 1) & _SLOTS_MAX
        self._consumers[consumer.slot] = consumer

    def leave(self, consumer: Consumer) -> None:
        """The consumer is gone. Its slot stays taken while messages are in flight to it."""
        consumer.closing = True
        if consumer.in_flight == 0:
            self._consumers.pop(consumer.slot, None)

    # Delivery

    def deliver(self, first: int, count: int, consumer: Consumer, now_ns: int) -> None:
        """Note the first delivery of consecutive messages beyond all that were delivered so."""
        gap = first - self.start - len(self._owners)
        if gap:
            self._leave_gap(first, gap)
        owners = self._owners  # another one after a wide gap
        owners.extend(array("H", (consumer.slot,)) * count)
        deadline_ns = now_ns + consumer.msg_timeout_ns
        slices = consumer.slices
        if slices and slices[-1].end == first and deadline_ns < slices[-1].grows_until_ns:
            slices[-1].end = first + count
            slices[-1].deadline_ns = deadline_ns
        else:
            slices.append(Slice(first, first + count, deadline_ns, deadline_ns + SLICE_NS))
        consumer.in_flight += count
        if len(owners) > self._shorten_at:
            self._shorten(now_ns)

    def deliver_again(self, sequence: int, attempts: int, consumer: Consumer, now_ns: int) -> None:
        """Note a later delivery; ``attempts`` counts it."""
        deadline_ns = now_ns + consumer.msg_timeout_ns
        self._others[sequence] = _Delivery(consumer, attempts, now_ns, deadline_ns)
        self._note_deadline(deadline_ns, sequence)
        consumer.in_flight += 1

    # Answers

    def finish_range(self, first: int, count: int, consumer: Consumer) -> bool:
        """
        Take consecutive messages out of flight if all are in the window and the consumer's.

        Returns:
            False if not all are; then nothing has changed.
        """
        low = first - self.start
        high = low + count
        owners = self._owners
        if low < 0 or high > len(owners):
            return False
        slot = consumer.slot
        if count == 1:
            if owners[low] != slot:
                return False
            owners[low] = _NOBODY
        else:
            if owners[low:high] != array("H", (slot,)) * count:
                return False
            owners[low:high] = array("H", bytes(2 * count))
        consumer.in_flight -= count
        if consumer.in_flight == 0:
            self._is_idle(consumer)
        return True

    def take(self, sequence: int, consumer: Consumer) -> int:
        """
        Take a message out of flight.

        Returns:
            How often it was delivered so far.

        Raises:
            NotInFlightError, NotOwnerError: nothing has changed.
        """
        attempts = self._attempts_if_owned(sequence, consumer)
        if self._others.pop(sequence, None) is None:
            self._owners[sequence - self.start] = _NOBODY
        consumer.in_flight -= 1
        if consumer.in_flight == 0:
            self._is_idle(consumer)
        return attempts

    def touch(
        self, sequence: int, consumer: Consumer, timeout_ns: int, now_ns: int, latest_after_ns: int
    ) -> None:
        """
        Give a message ``timeout_ns`` from now, up to ``latest_after_ns`` after its delivery.

        Raises:
            NotInFlightError, NotOwnerError: nothing has changed.
        """
        self._attempts_if_owned(sequence, consumer)
        delivery = self._others.get(sequence)
        if delivery is None:
            delivery = self._move_out(sequence, now_ns)
        latest_ns = delivery.delivered_ns + latest_after_ns
        delivery.deadline_ns = min(now_ns + timeout_ns, latest_ns)
        self._note_deadline(delivery.deadline_ns, sequence)

    def consumer_of(self, sequence: int) -> Consumer | None:
        """Return who has a message, or None."""
        delivery = self._others.get(sequence)
        if delivery is not None:
            return delivery.consumer
        index = sequence - self.start
        owner = self._owners[index] if 0 <= index < len(self._owners) else _NOBODY
        return self._consumers[owner] if owner != _NOBODY else None

    def attempts_of(self, sequence: int) -> int:
        """Return how often a message that is in flight was delivered."""
        delivery = self._others.get(sequence)
        return delivery.attempts if delivery is not None else 1

    # Time

    @property
    def next_deadline_ns(self) -> int | None:
        """Return when something may time out next, or None. Costs a look at each consumer."""
        deadlines = [
            consumer.slices[0].deadline_ns
            for consumer in self._consumers.values()
            if consumer.slices
        ]
        if self._deadlines:
            deadlines.append(self._deadlines[0][0])
        return min(deadlines, default=None)

    def expire(self, now_ns: int) -> list[tuple[int, int]]:
        """Take what timed out out of flight; return ``(sequence, attempts so far)`` of each."""
        expired: list[tuple[int, int]] = []
        for consumer in list(self._consumers.values()):
            slices = consumer.slices
            while slices and slices[0].deadline_ns <= now_ns:
                expired += self._expire_slice(slices.popleft(), consumer)
        # Entries outlive their message: taking one out would have to search the heap for it. They
        # are recognised by a deadline that is not the current one.
        while self._deadlines and self._deadlines[0][0] <= now_ns:
            deadline_ns, sequence = heappop(self._deadlines)
            delivery = self._others.get(sequence)
            if delivery is not None and delivery.deadline_ns == deadline_ns:
                del self._others[sequence]
                expired.append((sequence, delivery.attempts))
                delivery.consumer.in_flight -= 1
                if delivery.consumer.in_flight == 0:
                    self._is_idle(delivery.consumer)
        return expired

    # All

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield ``(sequence, attempts)`` of all that is in flight. Costs the window's length."""
        start = self.start
        for match in self._owned(0, len(self._owners)):
            yield start + match, 1
        for sequence, delivery in self._others.items():
            yield sequence, delivery.attempts

    def lowest(self, besides: Container[int] = ()) -> int | None:
        """Return the lowest message in flight that is not in ``besides``, or None."""
        self._trim()
        candidates = [self.start] if self._owners else []
        candidates += [sequence for sequence in self._others if sequence not in besides]
        return min(candidates, default=None)

    def clear(self) -> None:
        """Nothing is in flight any more."""
        self._owners = array("H")
        self._others.clear()
        self._deadlines.clear()
        for consumer in list(self._consumers.values()):
            consumer.in_flight = 0
            self._is_idle(consumer)

    # The window

    def move_out_below(self, sequence: int) -> None:
        """Keep no message below ``sequence`` in the window."""
        for index in list(self._owned(0, sequence - self.start)):
            self._move_out(self.start + index, 0)
        self._trim()

    def _attempts_if_owned(self, sequence: int, consumer: Consumer) -> int:
        delivery = self._others.get(sequence)
        if delivery is not None:
            if delivery.consumer is not consumer:
                raise NotOwnerError
            return delivery.attempts
        index = sequence - self.start
        owner = self._owners[index] if 0 <= index < len(self._owners) else _NOBODY
        if owner == _NOBODY:
            raise NotInFlightError
        if owner != consumer.slot:
            raise NotOwnerError
        return 1

    def _is_idle(self, consumer: Consumer) -> None:
        """Nothing is in flight to the consumer: what remains of it are finished slices."""
        consumer.slices.clear()
        if consumer.closing:
            self._consumers.pop(consumer.slot, None)

    def _owned(self, low: int, high: int) -> Iterator[int]:
        """Yield the indexes from ``low`` to ``high - 1`` whose message somebody has."""
        owners = self._owners
        if high <= low:
            return
        content = owners[low:high].tobytes()
        last = -1
        for match in _ANYBODY.finditer(content):
            index = low + match.start() // 2
            if index != last:
                last = index
                yield index

    def _expire_slice(self, part: Slice, consumer: Consumer) -> list[tuple[int, int]]:
        low = max(0, part.first - self.start)
        expired = [
            (self.start + index, 1)
            for index in self._owned(low, part.end - self.start)
            if self._owners[index] == consumer.slot
        ]
        for sequence, _ in expired:
            self._owners[sequence - self.start] = _NOBODY
        consumer.in_flight -= len(expired)
        if consumer.in_flight == 0:
            self._is_idle(consumer)
        return expired

    def _leave_gap(self, first: int, gap: int) -> None:
        """Make the window continue at ``first``, which lies beyond its end."""
        self._trim()
        if not self._owners:
            self.start = first
        elif gap <= WINDOW_MAX:
            self._owners.extend(array("H", bytes(2 * gap)))
        else:
            for index in list(self._owned(0, len(self._owners))):
                self._move_out(self.start + index, 0)
            self._owners = array("H")
            self.start = first

    def _trim(self) -> None:
        """Drop the finished messages that the window begins with."""
        owners = self._owners
        with memoryview(owners).cast("B") as view:
            found = _ANYBODY.search(view)
            finished = found.start() // 2 if found is not None else len(owners)
            del found
        if finished:
            del owners[:finished]
            self.start += finished
            for consumer in self._consumers.values():
                slices = consumer.slices
                while slices and slices[0].end <= self.start:
                    slices.popleft()

    def _shorten(self, now_ns: int) -> None:
        """Trim; if a few unanswered messages keep the window long, move them out of it."""
        self._trim()
        if len(self._owners) > WINDOW_MAX and len(self) < len(self._owners) // 4:
            for index in list(self._owned(0, len(self._owners) - WINDOW_MAX // 2)):
                self._move_out(self.start + index, now_ns)
            self._trim()
        self._shorten_at = max(WINDOW_MAX, 2 * len(self._owners))

    def _move_out(self, sequence: int, now_ns: int) -> _Delivery:
        """Give a message of the window an entry of its own."""
        index = sequence - self.start
        consumer = self._consumers[self._owners[index]]
        self._owners[index] = _NOBODY
        deadline_ns = now_ns + consumer.msg_timeout_ns
        for part in consumer.slices:
            if part.first <= sequence < part.end:
                deadline_ns = part.deadline_ns
                break
        delivered_ns = deadline_ns - consumer.msg_timeout_ns
        delivery = _Delivery(consumer, 1, delivered_ns, deadline_ns)
        self._others[sequence] = delivery
        self._note_deadline(deadline_ns, sequence)
        return delivery

    def _note_deadline(self, deadline_ns: int, sequence: int) -> None:
        """Have `expire` look at a message; forget answered ones when they are the most."""
        deadlines = self._deadlines
        heappush(deadlines, (deadline_ns, sequence))
        if len(deadlines) > 2 * len(self._others) + DEADLINES_MIN:
            deadlines[:] = [
                (delivery.deadline_ns, sequence) for sequence, delivery in self._others.items()
            ]
            heapify(deadlines)
