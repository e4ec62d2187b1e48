"""
Who has which message of a backlog, and until when.

Theory of operation. First deliveries come in the order of the log. For them there is the window:
one number for each message from `start` on, the slot of the consumer that has it, or 0 when nobody
has. A delivery of any size appends to the window; a run of FINs is a comparison and an assignment.
What was delivered within a moment, to whomever, is a slice: where it begins, and when the last of
it was delivered. A deadline is that time and the consumer's time-out, so nothing is kept per
message but those two bytes, whatever the number of consumers. For each time-out that consumers
have, `_unexpired` says which slice it comes to next.

Later deliveries (requeued, timed out, deferred) and touched messages are rare. They are in
`_others`, an entry each. A message that stays unanswered while the window grows far beyond it
moves there too, so memory follows what is in flight and not the distance.
"""

import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import islice

from nsqx.nsqd.core.consumer import Consumer
from nsqx.nsqd.core.limits import CORE_LIMITS, CoreLimits
from nsqx.nsqd.core.timers import NEVER_NS
from nsqx.protocol.errors import NsqxError
from nsqx.protocol.messages import ATTEMPTS_MAX

__all__ = ["InFlight", "NotInFlightError", "NotOwnerError"]

_NOBODY = 0
_ANYBODY = re.compile(rb"[^\0]")
_SLOTS_MAX = 0xFFFF
_SEQUENCE_BITS = 48
_SEQUENCE_MASK = (1 << _SEQUENCE_BITS) - 1


class NotInFlightError(NsqxError, LookupError):
    """The message is finished, timed out, or never was delivered."""


class NotOwnerError(NsqxError, LookupError):
    """The message is in flight to another client."""


# Of a message outside the window: who has it, its deliveries so far, when it was delivered, until
# when it may be answered, and for when it stands in `_deadlines`, which is not later. A tuple takes
# a fifth of the time of an object.
_Delivery = tuple[Consumer, int, int, int, int]


class InFlight:
    """
    The messages of a backlog that were delivered and are unanswered. Times are monotonic.

    It keeps count in `Consumer.in_flight`, too, which other backlogs share.
    """

    def __init__(
        self, on_deadline: Callable[[int], None], limits: CoreLimits = CORE_LIMITS
    ) -> None:
        """``on_deadline`` has `expire` called at a time, or before."""
        self._window_max = limits.window
        self._slice_ns_max = limits.slice_ns
        self._looks_min = limits.looks
        self.start = 0  # the message of the window's first number
        self._owners = array("H")
        self._slice_firsts = array("Q")
        self._slice_ns = array("Q")
        self._slices_gone = 0  # before the first of these
        self._slice_grows_until_ns = 0  # the last one
        self._unexpired: dict[int, int] = {}  # by time-out: the first slice it has not come to
        self._others: dict[int, _Delivery] = {}
        self._looks: list[int] = []  # at others, packed, a heap; they outlive them, see expire()
        self._slots: dict[Consumer, int] = {}  # also of gone ones that have messages
        self._consumers: dict[int, Consumer] = {}  # the same by slot
        self._next_slot = 1
        self._shorten_at = limits.window
        self._count = 0
        self._on_deadline = on_deadline
        self._looked_at_ns = NEVER_NS  # when `expire` will be called, at the latest

    def __len__(self) -> int:
        return self._count

    # Consumers

    def leave(self, consumer: Consumer) -> None:
        """The consumer is gone. Its slot stays taken while messages are in flight to it."""
        if consumer.in_flight == 0:
            self._free_slot(consumer)

    def _take_slot(self, consumer: Consumer) -> int:
        if len(self._unexpired) > len(self._consumers):
            self._forget_gone()
        while self._next_slot in self._consumers or self._next_slot == _NOBODY:
            self._next_slot = (self._next_slot + 1) & _SLOTS_MAX
        slot = self._slots[consumer] = self._next_slot
        self._consumers[slot] = consumer
        self._next_slot = (slot + 1) & _SLOTS_MAX
        last_slice = self._slices_gone + max(0, len(self._slice_ns) - 1)
        self._unexpired.setdefault(consumer.msg_timeout_ns, last_slice)
        return slot

    def _free_slot(self, consumer: Consumer) -> None:
        slot = self._slots.pop(consumer, None)
        if slot is not None:
            del self._consumers[slot]

    def _forget_gone(self) -> None:
        """Forget consumers whose last message was another backlog's, and time-outs of nobody."""
        for consumer in [*self._slots]:
            if consumer.closing and consumer.in_flight == 0:
                self._free_slot(consumer)
        current = {consumer.msg_timeout_ns for consumer in self._slots}
        self._unexpired = {
            timeout_ns: number
            for timeout_ns, number in self._unexpired.items()
            if timeout_ns in current
        }

    # Delivery

    def deliver(self, first: int, count: int, consumer: Consumer, now_ns: int) -> None:
        """Note the first delivery of consecutive messages beyond all that were delivered so."""
        slot = self._slots.get(consumer) or self._take_slot(consumer)
        gap = first - self.start - len(self._owners)
        if gap:
            self._leave_gap(first, gap)
        owners = self._owners  # another one after a wide gap
        if count == 1:
            owners.append(slot)
        else:
            owners.extend(array("H", (slot,)) * count)
        if now_ns < self._slice_grows_until_ns:
            self._slice_ns[-1] = now_ns
        else:
            self._slice_firsts.append(first)
            self._slice_ns.append(now_ns)
            self._slice_grows_until_ns = now_ns + self._slice_ns_max
        consumer.in_flight += count
        self._count += count
        deadline_ns = now_ns + consumer.msg_timeout_ns
        if deadline_ns < self._looked_at_ns:
            self._look_at(deadline_ns)
        if len(owners) > self._shorten_at:
            self._shorten()

    def deliver_again(self, sequence: int, attempts: int, consumer: Consumer, now_ns: int) -> None:
        """Note a later delivery; ``attempts`` counts it."""
        if consumer not in self._slots:
            self._take_slot(consumer)
        deadline_ns = now_ns + consumer.msg_timeout_ns
        self._others[sequence] = consumer, attempts, now_ns, deadline_ns, deadline_ns
        self._look_later(deadline_ns, sequence)
        consumer.in_flight += 1
        self._count += 1

    def _look_at(self, deadline_ns: int) -> None:
        self._looked_at_ns = deadline_ns
        self._on_deadline(deadline_ns)

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
        slot = self._slots.get(consumer, _NOBODY)
        if slot == _NOBODY:
            return False
        if count == 1:
            if owners[low] != slot:
                return False
            owners[low] = _NOBODY
        else:
            if owners[low:high] != array("H", (slot,)) * count:
                return False
            owners[low:high] = array("H", bytes(2 * count))
        self._count -= count
        consumer.in_flight -= count
        if consumer.closing:
            self.leave(consumer)
        return True

    def take_if_owned(self, sequence: int, consumer: Consumer) -> int:
        """Do what `take` does, but return 0 instead of an error."""
        delivery = self._others.get(sequence)
        if delivery is None:
            place = sequence - self.start
            owners = self._owners
            if not 0 <= place < len(owners) or owners[place] != self._slots.get(consumer):
                return 0
            owners[place] = _NOBODY
            attempts = 1
        else:
            if delivery[0] is not consumer:
                return 0
            attempts = delivery[1]
            del self._others[sequence]
        self._count -= 1
        consumer.in_flight -= 1
        if consumer.closing:
            self.leave(consumer)
        return attempts

    def again(self, sequence: int, consumer: Consumer, now_ns: int) -> int:
        """
        Do what `take_if_owned` and `deliver_again` to the same consumer do, without their calls.

        Returns:
            How often it was delivered, this time included; 0 if it is not in flight to the
            consumer: then nothing has changed.
        """
        delivery = self._others.get(sequence)
        deadline_ns = now_ns + consumer.msg_timeout_ns
        if delivery is None:
            place = sequence - self.start
            owners = self._owners
            if not 0 <= place < len(owners) or owners[place] != self._slots.get(consumer):
                return 0
            owners[place] = _NOBODY
            attempts = 2
            look_ns = NEVER_NS
        else:
            owner, attempts, _, _, look_ns = delivery
            if owner is not consumer:
                return 0
            if attempts < ATTEMPTS_MAX:
                attempts += 1
        if deadline_ns < look_ns:
            self._others[sequence] = consumer, attempts, now_ns, deadline_ns, deadline_ns
            self._look_later(deadline_ns, sequence)
        else:
            self._others[sequence] = consumer, attempts, now_ns, deadline_ns, look_ns
        return attempts

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
        self._is_answered(consumer)
        return attempts

    def touch_if_owned(
        self, sequence: int, consumer: Consumer, timeout_ns: int, now_ns: int, latest_after_ns: int
    ) -> bool:
        """
        Give a message ``timeout_ns`` from now, up to ``latest_after_ns`` after its delivery.

        Returns:
            False if it is not in flight to the consumer; then nothing has changed.
        """
        delivery = self._others.get(sequence)
        deadline_ns = now_ns + timeout_ns
        if delivery is not None:
            owner, attempts, delivered_ns, _, look_ns = delivery
            if owner is not consumer:
                return False
        else:
            place = sequence - self.start
            owners = self._owners
            if not 0 <= place < len(owners) or owners[place] != self._slots.get(consumer):
                return False
            owners[place] = _NOBODY
            attempts = 1
            delivered_ns = self._delivered_ns(sequence)
            look_ns = NEVER_NS
        if deadline_ns > delivered_ns + latest_after_ns:
            deadline_ns = delivered_ns + latest_after_ns
        if deadline_ns < look_ns:
            self._others[sequence] = consumer, attempts, delivered_ns, deadline_ns, deadline_ns
            self._look_later(deadline_ns, sequence)
        else:
            self._others[sequence] = consumer, attempts, delivered_ns, deadline_ns, look_ns
        return True

    def check_owner(self, sequence: int, consumer: Consumer) -> None:
        """
        Do nothing if a message is in flight to a consumer.

        Raises:
            NotInFlightError, NotOwnerError
        """
        self._attempts_if_owned(sequence, consumer)

    def consumer_of(self, sequence: int) -> Consumer | None:
        """Return who has a message, or None."""
        delivery = self._others.get(sequence)
        if delivery is not None:
            return delivery[0]
        index = sequence - self.start
        owner = self._owners[index] if 0 <= index < len(self._owners) else _NOBODY
        return self._consumers[owner] if owner != _NOBODY else None

    def attempts_of(self, sequence: int) -> int:
        """Return how often a message that is in flight was delivered."""
        delivery = self._others.get(sequence)
        return delivery[1] if delivery is not None else 1

    def _attempts_if_owned(self, sequence: int, consumer: Consumer) -> int:
        owner = self.consumer_of(sequence)
        if owner is None:
            raise NotInFlightError
        if owner is not consumer:
            raise NotOwnerError
        return self.attempts_of(sequence)

    def _is_answered(self, consumer: Consumer) -> None:
        self._count -= 1
        consumer.in_flight -= 1
        if consumer.closing:
            self.leave(consumer)

    # Time

    @property
    def next_deadline_ns(self) -> int | None:
        """Return when something may time out next, or None. Costs a look at each time-out."""
        deadlines = []
        if self._count > len(self._others):
            for timeout_ns, number in self._unexpired.items():
                index = max(0, number - self._slices_gone)
                if index < len(self._slice_ns):
                    deadlines.append(self._slice_ns[index] + timeout_ns)
        if self._others:
            deadlines.append(self._looks[0] >> _SEQUENCE_BITS)
        return min(deadlines, default=None)

    def expire(self, now_ns: int, limit: int) -> list[tuple[int, int]]:
        """
        Take what timed out out of flight, up to a number of messages.

        It says itself when it is to be called next: at once if that was not all.

        Returns:
            ``(sequence, attempts so far)`` of each.
        """
        expired = self._expire_others(now_ns, limit)
        for timeout_ns in sorted(self._unexpired):
            self._expire_slices(timeout_ns, now_ns, limit, expired)
        self._trim()
        self._looked_at_ns = NEVER_NS
        next_ns = self.next_deadline_ns
        if next_ns is not None:
            self._look_at(next_ns)
        return expired

    def _expire_others(self, now_ns: int, limit: int) -> list[tuple[int, int]]:
        # A look outlives its message, since to take it out would be to search the heap for it; it
        # is recognised by a time that is not the message's. And it may come too early, when the
        # message was touched or delivered again: then it comes once more.
        expired: list[tuple[int, int]] = []
        beyond = (now_ns + 1) << _SEQUENCE_BITS
        others, looks = self._others, self._looks
        while looks and looks[0] < beyond and limit > 0:
            look_ns, sequence = looks[0] >> _SEQUENCE_BITS, looks[0] & _SEQUENCE_MASK
            delivery = others.get(sequence)
            limit -= 1
            if delivery is None or delivery[4] != look_ns:
                heappop(looks)
            elif delivery[3] > now_ns:
                deadline_ns = delivery[3]
                others[sequence] = *delivery[:3], deadline_ns, deadline_ns
                heapreplace(looks, deadline_ns << _SEQUENCE_BITS | sequence)
            else:
                heappop(looks)
                del others[sequence]
                self._is_answered(delivery[0])
                expired.append((sequence, delivery[1]))
        return expired

    def _expire_slices(
        self, timeout_ns: int, now_ns: int, limit: int, expired: list[tuple[int, int]]
    ) -> None:
        """Add to ``expired`` what a time-out takes of its next slices."""
        number = max(self._unexpired[timeout_ns], self._slices_gone)
        while (index := number - self._slices_gone) < len(self._slice_ns):
            if self._slice_ns[index] + timeout_ns > now_ns:
                break
            if index == len(self._slice_ns) - 1:
                self._slice_grows_until_ns = 0  # what comes now is later
            for place in list(
                islice(self._owned_in_slice(index, timeout_ns), limit - len(expired))
            ):
                expired.append((self.start + place, 1))
                consumer = self._consumers[self._owners[place]]
                self._owners[place] = _NOBODY
                self._is_answered(consumer)
            if len(expired) >= limit:
                break  # there may be more in this slice
            number += 1
        self._unexpired[timeout_ns] = number

    def _owned_in_slice(self, index: int, timeout_ns: int) -> Iterator[int]:
        """Yield the places in the window that somebody with this time-out has."""
        is_last = index == len(self._slice_firsts) - 1
        end = self.start + len(self._owners) if is_last else self._slice_firsts[index + 1]
        low = max(0, self._slice_firsts[index] - self.start)
        owned = self._owned(low, end - self.start)
        if len(self._unexpired) == 1:
            return owned
        slots = {
            slot
            for slot, consumer in self._consumers.items()
            if consumer.msg_timeout_ns == timeout_ns
        }
        return (place for place in owned if self._owners[place] in slots)

    # All

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield ``(sequence, attempts)`` of all that is in flight. Costs the window's length."""
        start = self.start
        for place in self._owned(0, len(self._owners)):
            yield start + place, 1
        for sequence, delivery in self._others.items():
            yield sequence, delivery[1]

    def lowest(self, besides: Container[int] = ()) -> int | None:
        """Return the lowest message in flight that is not in ``besides``, or None."""
        self._trim()
        candidates = [self.start] if self._owners else []
        candidates += [sequence for sequence in self._others if sequence not in besides]
        return min(candidates, default=None)

    def clear(self, start: int) -> None:
        """Nothing is in flight any more; the window goes on at a message."""
        answered = Counter(delivery[0] for delivery in self._others.values())
        for slot, count in Counter(self._owners).items():
            if slot != _NOBODY:
                answered[self._consumers[slot]] += count
        for consumer, count in answered.items():
            consumer.in_flight -= count
            if consumer.closing:
                self.leave(consumer)
        self._owners = array("H")
        self._slices_gone += len(self._slice_ns)
        del self._slice_firsts[:], self._slice_ns[:]
        self._slice_grows_until_ns = 0
        self._others.clear()
        self._looks.clear()
        self._count = 0
        self.start = start

    # The window

    def move_out_below(self, sequence: int) -> None:
        """Keep no message below ``sequence`` in the window."""
        for place in list(self._owned(0, sequence - self.start)):
            self._move_out(self.start + place)
        self._trim()

    def _owned(self, low: int, high: int) -> Iterator[int]:
        """Yield the places from ``low`` to ``high - 1`` whose message somebody has."""
        owners = self._owners
        if high <= low:
            return
        content = owners[low:high].tobytes()
        last = -1
        for match in _ANYBODY.finditer(content):
            place = low + match.start() // 2
            if place != last:
                last = place
                yield place

    def _leave_gap(self, first: int, gap: int) -> None:
        """Make the window continue at ``first``, which lies beyond its end."""
        self._trim()
        if not self._owners:
            self.start = first
        elif gap <= self._window_max:
            self._owners.extend(array("H", bytes(2 * gap)))
        else:
            for place in list(self._owned(0, len(self._owners))):
                self._move_out(self.start + place)
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
        gone = bisect_right(self._slice_firsts, self.start) - 1
        if gone > 0:
            del self._slice_firsts[:gone], self._slice_ns[:gone]
            self._slices_gone += gone

    def _shorten(self) -> None:
        """Trim; if a few unanswered messages keep the window long, move them out of it."""
        self._trim()
        if len(self._owners) > self._window_max and self._count < len(self._owners) // 4:
            for place in list(self._owned(0, len(self._owners) - self._window_max // 2)):
                self._move_out(self.start + place)
            self._trim()
        self._shorten_at = max(self._window_max, 2 * len(self._owners))

    def _delivered_ns(self, sequence: int) -> int:
        """Return when a message of the window was delivered; at most a slice's time too late."""
        return self._slice_ns[bisect_right(self._slice_firsts, sequence) - 1]

    def _move_out(self, sequence: int) -> None:
        """Give a message of the window an entry of its own."""
        place = sequence - self.start
        consumer = self._consumers[self._owners[place]]
        self._owners[place] = _NOBODY
        delivered_ns = self._delivered_ns(sequence)
        deadline_ns = delivered_ns + consumer.msg_timeout_ns
        self._others[sequence] = consumer, 1, delivered_ns, deadline_ns, deadline_ns
        self._look_later(deadline_ns, sequence)

    def _look_later(self, look_ns: int, sequence: int) -> None:
        """Have `expire` look at a message; forget looks at answered ones when they are the most."""
        looks = self._looks
        heappush(looks, look_ns << _SEQUENCE_BITS | sequence)
        if len(looks) > 2 * len(self._others) + self._looks_min:
            looks[:] = [
                delivery[4] << _SEQUENCE_BITS | other for other, delivery in self._others.items()
            ]
            heapify(looks)
        if look_ns < self._looked_at_ns:
            self._look_at(look_ns)
