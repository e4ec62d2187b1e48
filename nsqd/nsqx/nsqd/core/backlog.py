"""
A backlog: what a channel has yet to deliver of one log, and what became of what it delivered.

Theory of operation. A backlog is a log, the part of it that is the channel's (up to
`Source.passed`), what to step over (`Source.skips`), a cursor, and a journal.

    finished, in flight, or aside              new                    not the channel's yet
    ──────────────────────────────────┼──────────────────────────┼──────────────────────────▶
                                    cursor                  Source.passed

Messages from the cursor on were never delivered: for them nothing is kept. Below the cursor a
message is in flight (`InFlight`), aside, or, when neither knows it, finished. What is *aside* is
to be delivered again at once (`retries`) or when it is due (`deferred`). Every change that must
survive a crash is noted in the journal.

A few messages that stay unfinished must not keep a whole segment of the log on disk. When only they
do, `keep_stragglers` copies them and the log lets the segment go.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from nsqx.nsqd.core.consumer import Consumer
from nsqx.nsqd.core.deferred import DUE_NS_MAX, Deferred, unpack
from nsqx.nsqd.core.in_flight import InFlight, NotInFlightError
from nsqx.nsqd.core.limits import CORE_LIMITS, CoreLimits
from nsqx.nsqd.log.block import Block
from nsqx.nsqd.log.channel_store import ChannelStore
from nsqx.nsqd.log.ranges import Ranges
from nsqx.protocol.messages import ATTEMPTS_MAX, id_of, timestamp_of, with_attempts

__all__ = ["Backlog", "MessageState", "Owner", "Source"]


_ATTEMPTS_BITS = 16
_ATTEMPTS_MASK = 0xFFFF
_BUCKET_BITS = 8


class Source(Protocol):
    """What a backlog needs of its topic."""

    name: str
    passed: int
    skips: Ranges
    emptied: Ranges

    def block(self, sequence: int) -> Block | None: ...

    def block_in_memory(self, sequence: int) -> Block | None: ...

    def id_base_at(self, sequence: int) -> int: ...

    def sequence_of(self, message_id: int) -> int | None: ...

    def is_lost(self, sequence: int) -> bool: ...


class Owner(Protocol):
    """What a backlog needs of its channel."""

    def look_at(self, deadline_ns: int) -> None:
        """Have `Backlog.expire` called at this (monotonic) time, or before."""

    def look_when_due(self, due_ns: int) -> None:
        """Have `Backlog.take_due` called at this (wall) time, or before."""

    def changed(self) -> None:
        """Something is finished or aside that was not: it is to be written soon."""


@dataclass(frozen=True, slots=True)
class MessageState:
    """What a channel knows of one message."""

    state: str  # waiting, in_flight, deferred, finished or skipped
    attempts: int
    due_ns: int = 0
    consumer: Consumer | None = None


class Backlog:
    """The messages of one log for one channel."""

    def __init__(
        self,
        source: Source,
        owner: Owner,
        store: ChannelStore | None,
        limits: CoreLimits = CORE_LIMITS,
    ) -> None:
        self.cursor = source.passed
        self.in_flight = InFlight(owner.look_at, limits)
        self.deferred = Deferred()
        self.store = store  # None: nothing of it survives the process
        self.journal = store.journal if store is not None else None
        self.source = source
        self._owner = owner
        self._limits = limits
        self.retries: deque[int] = deque()  # sequence and attempts so far, packed
        self._aside: dict[int, int] = {}  # how many of each 256 messages are
        self._stragglers: dict[int, bytes] = {}  # frames of messages the log let go; not in _aside
        self._straggler_ids: dict[int, int] = {}  # their sequence numbers by id
        self._id_base = source.id_base_at(self.cursor)  # of what was delivered last

    # Numbers

    @property
    def new_count(self) -> int:
        """Return how many messages wait that were never delivered."""
        end = max(self.source.passed, self.cursor)
        return end - self.cursor - self.source.skips.count(self.cursor, end)

    @property
    def unfinished(self) -> int:
        """Return a message below which all are finished; at most 255 too low."""
        lowest = self.cursor
        in_flight = self.in_flight.lowest(self._stragglers)
        if in_flight is not None:
            lowest = min(lowest, in_flight)
        if self._aside:
            lowest = min(lowest, min(self._aside) << _BUCKET_BITS)
        return lowest

    @property
    def oldest_straggler_ns(self) -> int | None:
        """Return when the oldest straggler was accepted, or None. Costs a look at each."""
        return min(map(timestamp_of, self._stragglers.values()), default=None)

    # Answers

    def sequence_of(self, message_id: int) -> int | None:
        """Return the message that has this id, or None if it is none of this log."""
        sequence = self.source.sequence_of(message_id)
        return sequence if sequence is not None else self._straggler_ids.get(message_id)

    def finish_range(self, first_id: int, count: int, consumer: Consumer) -> int | None:
        """
        Finish messages whose ids follow one another.

        Returns:
            The first message; None if they are not all first deliveries to this consumer: then
            nothing has changed.
        """
        first = first_id - self._id_base
        if not self.in_flight.finish_range(first, count, consumer):
            return None
        if self.journal is not None:
            self.journal.finished_range(first, count)
        self._owner.changed()
        return first

    def finish(self, message_id: int, consumer: Consumer) -> int:
        """
        Finish a message, and return which one.

        Raises:
            NotInFlightError, NotOwnerError
        """
        sequence, _ = self._take(message_id, consumer)
        self._is_finished(sequence)
        return sequence

    def requeue(self, message_id: int, consumer: Consumer, due_ns: int) -> None:
        """
        Deliver a message again, at once (0) or when it is due, in wall time.

        Raises:
            NotInFlightError, NotOwnerError
        """
        sequence = message_id - self._id_base  # see `_take`
        attempts = self.in_flight.take_if_owned(sequence, consumer)
        if not attempts:
            sequence, attempts = self._take(message_id, consumer)
        self._put_back(sequence, attempts, due_ns)

    def requeue_at_once(self, message_id: int, consumer: Consumer, now_ns: int) -> bytearray | None:
        """
        Do what `requeue` and a `deliver_again` to the same consumer do, where nothing else waits.

        Returns:
            The frame; None if the message is not in flight to the consumer, or not in memory:
            then nothing has changed.
        """
        sequence = message_id - self._id_base  # see `_take`
        block = self.source.block_in_memory(sequence)
        if block is None:
            return None
        attempts = self.in_flight.again(sequence, consumer, now_ns)
        if not attempts:
            return None
        if self.journal is not None:
            self.journal.requeued(sequence, 0, attempts - 1)
        self._owner.changed()
        return block.frame_again(sequence, attempts)

    def give_back(self, message_id: int, consumer: Consumer) -> None:
        """
        Take a message back as if this delivery had not been.

        Raises:
            NotInFlightError, NotOwnerError
        """
        sequence, attempts = self._take(message_id, consumer)
        self._put_back(sequence, attempts - 1, 0)

    def touch(
        self, message_id: int, consumer: Consumer, timeout_ns: int, now_ns: int, latest_ns: int
    ) -> None:
        """
        Give a message ``timeout_ns`` from now, at most ``latest_ns`` from its delivery on.

        Raises:
            NotInFlightError, NotOwnerError
        """
        sequence = message_id - self._id_base
        touch = self.in_flight.touch_if_owned
        if not touch(sequence, consumer, timeout_ns, now_ns, latest_ns):
            sequence = self._sequence_of(message_id)
            self.in_flight.check_owner(sequence, consumer)
            touch(sequence, consumer, timeout_ns, now_ns, latest_ns)

    def _take(self, message_id: int, consumer: Consumer) -> tuple[int, int]:
        # Bases are numbers of 62 bits drawn at random: with a wrong one nothing is found.
        sequence = message_id - self._id_base
        attempts = self.in_flight.take_if_owned(sequence, consumer)
        if not attempts:
            sequence = self._sequence_of(message_id)
            attempts = self.in_flight.take(sequence, consumer)
        return sequence, attempts

    def _sequence_of(self, message_id: int) -> int:
        sequence = self.sequence_of(message_id)
        if sequence is None:
            raise NotInFlightError
        return sequence

    def _is_finished(self, sequence: int) -> None:
        if self._stragglers:
            self._forget_straggler(sequence)
        if self.journal is not None:
            self.journal.finished(sequence)
        self._owner.changed()

    # What is aside

    def _put_back(self, sequence: int, attempts: int, due_ns: int) -> None:
        if sequence not in self._stragglers:
            aside, bucket = self._aside, sequence >> _BUCKET_BITS
            aside[bucket] = aside.get(bucket, 0) + 1
        if due_ns:
            due_ns = min(due_ns, DUE_NS_MAX)
            if self.deferred.add(sequence, due_ns, attempts):
                self._owner.look_when_due(due_ns)
        else:
            self.retries.append(sequence << _ATTEMPTS_BITS | attempts)
        if self.journal is not None:
            self.journal.requeued(sequence, due_ns, attempts)
        self._owner.changed()

    def _defer(self, sequence: int, due_ns: int, attempts: int) -> None:
        self._put_aside(sequence)
        if self.deferred.add(sequence, due_ns, attempts):
            self._owner.look_when_due(due_ns)

    def defer(self, messages: Iterable[tuple[int, int, int]]) -> None:
        """Defer ``(sequence, due_ns, attempts so far)`` of messages that nobody else has."""
        deferred = list(messages)
        for sequence, _, _ in deferred:
            self._put_aside(sequence)
        self.deferred.extend(deferred)
        next_ns = self.deferred.next_due_ns
        if next_ns is not None:
            self._owner.look_when_due(next_ns)

    def _put_aside(self, sequence: int) -> None:
        if sequence in self._stragglers:
            return
        bucket = sequence >> _BUCKET_BITS
        self._aside[bucket] = self._aside.get(bucket, 0) + 1

    def _take_back(self, sequence: int) -> None:
        """Count a message no more as aside; no straggler is."""
        bucket = sequence >> _BUCKET_BITS
        aside = self._aside
        left = aside[bucket] - 1
        if left:
            aside[bucket] = left
        else:
            del aside[bucket]

    # Time

    def expire(self, now_ns: int, limit: int) -> int:
        """Take back what timed out; return how many messages that is. The rest is due at once."""
        expired = self.in_flight.expire(now_ns, limit)
        for sequence, attempts in expired:
            self._put_back(sequence, attempts, 0)
        return len(expired)

    def take_due(self, wall_ns: int, limit: int) -> int:
        """Take up what is due; return how many messages that is. The rest is due at once."""
        due = self.deferred.take_due(wall_ns, limit)
        for sequence, attempts in due:
            self.retries.append(sequence << _ATTEMPTS_BITS | attempts)
        next_ns = self.deferred.next_due_ns
        if next_ns is not None:
            self._owner.look_when_due(next_ns)
        return len(due)

    # From the topic

    def hand_over(self, first: int, end: int, due_ns: int) -> int:
        """Take messages that the topic passes on; return how many, without those it dropped."""
        if due_ns:
            for sequence in range(first, end):
                self._defer(sequence, due_ns, 0)
        emptied = self.source.emptied
        dropped = emptied.count(first, end) if emptied.end > first else 0
        return end - first - dropped

    # Delivery

    def available(self) -> int:
        """Step over what is to be skipped; return how many new messages follow without a gap."""
        passed = self.source.passed
        skips = self.source.skips
        if skips.end <= self.cursor:
            return passed - self.cursor if passed > self.cursor else 0
        while True:
            skip = skips.range_at_or_after(self.cursor)
            if skip is None:
                return max(0, passed - self.cursor)
            if skip[0] > self.cursor:
                return max(0, min(passed, skip[0]) - self.cursor)
            if self.cursor >= passed:
                return 0
            self.cursor = min(skip[1], passed)

    def deliver_new(
        self, consumer: Consumer, count: int, now_ns: int
    ) -> tuple[bytes | bytearray, int]:
        """
        Put up to ``count`` of the `available` messages in flight, as many as are in one piece.

        Returns:
            Their frames and their number; 0 if they must be waited for, or turn out to be lost.
        """
        first = self.cursor
        block = self.source.block(first)
        if block is None:
            return b"", 0
        frames, count = block.slice(first, count, self._limits.slice_bytes)
        self._id_base = block.id_base
        self.in_flight.deliver(first, count, consumer, now_ns)
        self.cursor = first + count
        return frames, count

    def deliver_again(self, consumer: Consumer, count: int, now_ns: int) -> list[bytearray]:
        """
        Put up to ``count`` of the retries in flight.

        Returns:
            Their frames; fewer than ``count`` if others are to be waited for.
        """
        frames: list[bytearray] = []
        retries, stragglers = self.retries, self._stragglers
        block: Block | None = None
        while count and retries:
            sequence, attempts = retries[0] >> _ATTEMPTS_BITS, retries[0] & _ATTEMPTS_MASK
            attempts = attempts + 1 if attempts < ATTEMPTS_MAX else ATTEMPTS_MAX
            frame = None
            if sequence in stragglers:
                frame = with_attempts(stragglers[sequence], attempts)
            else:
                if block is None or not block.first <= sequence < block.end:
                    block = self.source.block(sequence)
                if block is not None:
                    frame = block.frame_again(sequence, attempts)
                elif not self.source.is_lost(sequence):
                    break
            retries.popleft()
            if sequence not in stragglers:
                self._take_back(sequence)
            if frame is not None:
                self.in_flight.deliver_again(sequence, attempts, consumer, now_ns)
                frames.append(frame)
                count -= 1
        return frames

    @property
    def is_next_skipped(self) -> bool:
        """Return whether the cursor has something to step over."""
        return self.cursor in self.source.skips

    def drop_new(self) -> None:
        """Finish the next new message, one of the `available`, without a delivery."""
        self.cursor += 1
        self._is_finished(self.cursor - 1)

    def drop_retry(self) -> None:
        """Finish the next of the retries without a delivery."""
        sequence = self.retries.popleft() >> _ATTEMPTS_BITS
        if sequence not in self._stragglers:
            self._take_back(sequence)
        self._is_finished(sequence)

    # Stragglers

    def keep_stragglers(self, below: int) -> bool:
        """
        Copy the few unfinished messages below a point, so that the log may let go of it.

        Returns:
            False if they are too many, or have to be read first: to be tried again later.

        Raises:
            OSError: the disk refused the copies; nothing has changed.
        """
        if self.cursor < below or self._aside_below(below) > self._limits.stragglers:
            return False
        unfinished = self._unfinished_below(below)
        copies = dict(self._stragglers)
        added: list[int] = []
        lost: set[int] = set()
        for sequence in sorted(unfinished.keys() - copies.keys()):
            block = self.source.block(sequence)
            if block is not None:
                copies[sequence] = block.frame(sequence)
                added.append(sequence)
            elif self.source.is_lost(sequence):
                lost.add(sequence)
            else:
                return False
        size = sum(map(len, copies.values()))
        if len(copies) > self._limits.stragglers or size > self._limits.straggler_bytes:
            return False
        self._save_stragglers(copies)
        self._note_unfinished(added, unfinished)
        self.in_flight.move_out_below(below)
        for sequence in added:
            if self.in_flight.consumer_of(sequence) is None:
                self._take_back(sequence)
        if lost:
            self._drop(lost)
        self._adopt(copies)
        return True

    def _save_stragglers(self, copies: dict[int, bytes]) -> None:
        if self.store is None:
            return
        # The file leaves out what was finished since it was written last. A loss of power
        # that forgot those FINs would make them missing.
        self.store.journal.flush()
        self.store.journal.sync()
        self.store.save_stragglers(copies)

    def _drop(self, lost: set[int]) -> None:
        """Forget messages that are aside. Costs a look at all that are."""
        retries = [packed for packed in self.retries if packed >> _ATTEMPTS_BITS not in lost]
        deferred = [message for message in self.deferred if message[0] not in lost]
        gone = [packed >> _ATTEMPTS_BITS for packed in self.retries]
        gone += [sequence for sequence, _, _ in self.deferred]
        for sequence in lost.intersection(gone):
            self._take_back(sequence)
        self.retries = deque(retries)
        self.deferred.clear()
        self.deferred.extend(deferred)

    def _unfinished_below(self, below: int) -> dict[int, tuple[int, int]]:
        """Return ``(due_ns, attempts)`` of all messages below a point that are not finished."""
        unfinished = {
            sequence: (0, attempts) for sequence, attempts in self.undelivered() if sequence < below
        }
        for sequence, due_ns, attempts in self.deferred.below(below):
            unfinished[sequence] = (due_ns, attempts)
        return unfinished

    def _note_unfinished(self, added: list[int], unfinished: dict[int, tuple[int, int]]) -> None:
        """
        Have a restart know stragglers by the journal.

        Of other messages it finds in the log that they were published, and until when they were
        deferred; of these only the copies are left, and they may be finished by now.
        """
        if self.journal is None:
            return
        for sequence in added:
            self.journal.requeued(sequence, *unfinished[sequence])
        self.journal.flush()
        self.journal.sync()

    def _aside_below(self, below: int) -> int:
        last = below >> _BUCKET_BITS
        return sum(count for bucket, count in self._aside.items() if bucket <= last)

    def _adopt(self, stragglers: dict[int, bytes]) -> None:
        self._stragglers = stragglers
        self._straggler_ids = {id_of(frame): sequence for sequence, frame in stragglers.items()}

    def _forget_straggler(self, sequence: int) -> None:
        frame = self._stragglers.pop(sequence, None)
        if frame is not None:
            del self._straggler_ids[id_of(frame)]

    # Control

    def empty(self) -> None:
        """Drop all that waits, is in flight or deferred."""
        self.move_to(self.source.passed)

    def move_to(self, sequence: int) -> None:
        """Go on at a message, as if all before it were finished and nothing from it on."""
        self.cursor = sequence
        self.in_flight.clear(sequence)
        self.retries.clear()
        self.deferred.clear()
        self._aside.clear()
        self._adopt({})
        if self.journal is not None:
            self.journal.positioned(sequence)
        self._owner.changed()

    def skip_below(self, first: int) -> None:
        """Step over the new messages below ``first``."""
        self.cursor = max(self.cursor, first)

    # What is known of a message

    def straggler_of(self, message_id: int) -> int | None:
        """Return the straggler that has this id, or None; the log knows all other messages."""
        return self._straggler_ids.get(message_id)

    def straggler(self, sequence: int) -> bytes | None:
        """Return the frame of a straggler, or None if the message is none."""
        return self._stragglers.get(sequence)

    def search_state(self, sequence: int) -> Callable[[], MessageState]:
        """
        Return what finds out what became of a message up to now; it may run in any thread.

        Mostly the answer is known at once. Where a search is needed it costs tens of nanoseconds
        for each message that waits to be delivered again or is deferred.
        """
        consumer = self.in_flight.consumer_of(sequence)
        if consumer is not None:
            attempts = self.in_flight.attempts_of(sequence)
            state = MessageState("in_flight", attempts, consumer=consumer)
        elif sequence >= self.cursor and sequence in self.source.skips:
            state = MessageState("skipped", 0)
        else:
            state = MessageState("waiting" if sequence >= self.cursor else "finished", 0)
        may_be_aside = sequence >> _BUCKET_BITS in self._aside or sequence in self._stragglers
        if consumer is not None or not may_be_aside:
            return lambda: state
        retries, deferred = list(self.retries), self.deferred.snapshot()

        def search() -> MessageState:
            for packed in retries:
                if packed >> _ATTEMPTS_BITS == sequence:
                    return MessageState("waiting", packed & _ATTEMPTS_MASK)
            for found, due_ns, attempts in unpack(deferred):
                if found == sequence:
                    return MessageState("deferred", attempts, due_ns)
            return state

        return search

    # Recovery and checkpoints

    def restore(
        self,
        cursor: int,
        retries: Iterable[tuple[int, int]],
        deferred: Iterable[tuple[int, int, int]],
        stragglers: dict[int, bytes],
    ) -> None:
        """Continue from what a checkpoint and its journal say."""
        self._adopt(stragglers)
        self.cursor = cursor
        self.in_flight.start = cursor
        for sequence, attempts in retries:
            self._put_aside(sequence)
            self.retries.append(sequence << _ATTEMPTS_BITS | attempts)
        self.defer(deferred)

    def undelivered(self) -> list[tuple[int, int]]:
        """Return ``(sequence, attempts)`` of what a restart has to deliver again at once."""
        retries = [(packed >> _ATTEMPTS_BITS, packed & _ATTEMPTS_MASK) for packed in self.retries]
        return [*self.in_flight, *retries]

    def deferred_messages(self) -> Iterator[tuple[int, int, int]]:
        """Return ``(sequence, due_ns, attempts)`` of what is deferred now; for any thread."""
        return unpack(self.deferred.snapshot())
