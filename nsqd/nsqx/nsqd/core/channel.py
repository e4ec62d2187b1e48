"""
A channel: a cursor over its topic's log, and the state of what lies behind it.

Theory of operation. Messages from `cursor` on were never delivered: for them the channel keeps
nothing. Below the cursor a message is in flight, waiting to be delivered again, deferred, or, when
none of them knows it, finished. `dispatch` hands slices of the log to the consumers that have
room, messages to be delivered again first. Every change that must survive a crash is noted in the
journal.

The topic says up to where its log belongs to the channel (`Topic.passed`) and what to step over
(`Topic.skips`: deferred, emptied and damaged messages).

A few messages that stay unfinished must not keep a whole segment of the log on disk. When only they
do, `keep_stragglers` copies them and the log lets the segment go.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from nsqx.nsqd.core.consumer import Consumer, Place
from nsqx.nsqd.core.deferred import DUE_NS_MAX, Deferred, unpack
from nsqx.nsqd.core.in_flight import InFlight, NotInFlightError, NotOwnerError
from nsqx.nsqd.log.block import Block
from nsqx.nsqd.log.journal import Journal
from nsqx.nsqd.log.ranges import Ranges
from nsqx.protocol.messages import ATTEMPTS_MAX, id_of, timestamp_of, with_attempts
from nsqx.protocol.names import is_ephemeral

__all__ = ["Channel", "ChannelSettings", "MessageState", "Source"]

# What one consumer is handed at a time, before the next one gets its turn.
SLICE_BYTES_MAX = 256 * 1024
# How many deferred messages one tick takes up, so that a million due at once do not stall it.
DUE_PER_TICK = 10_000
# What may be copied so that a segment can go: this many messages, and their bytes.
STRAGGLERS_MAX = 1000
STRAGGLER_BYTES_MAX = 8 * 1024 * 1024

_ATTEMPTS_BITS = 16
_HELD_BITS = 8
_ATTEMPTS_MASK = 0xFFFF


class Source(Protocol):
    """What a channel needs of its topic."""

    passed: int
    skips: Ranges

    def block(self, sequence: int) -> Block | None: ...

    def id_base_at(self, sequence: int) -> int: ...

    def sequence_of(self, message_id: int) -> int | None: ...

    def is_lost(self, sequence: int) -> bool: ...


@dataclass(slots=True)
class ChannelSettings:
    """Limits that channels share."""

    max_msg_timeout_ns: int
    mem_queue_size: int  # messages an ephemeral channel keeps; beyond, the oldest go
    random_percent: Callable[[], int]  # 0 to 99, for sampling
    place: Place | None = None  # of the node: near consumers go first; None: all are alike


@dataclass(frozen=True, slots=True)
class MessageState:
    """What a channel knows of one message."""

    state: str  # waiting, in_flight, deferred, finished or skipped
    attempts: int
    due_ns: int = 0
    consumer: Consumer | None = None


class Channel:
    """Delivers each message of its topic to one of its consumers, until one finishes it."""

    def __init__(
        self, name: str, source: Source, settings: ChannelSettings, journal: Journal | None
    ) -> None:
        self.name = name
        self.is_ephemeral = is_ephemeral(name)
        self.is_paused = False
        self.msg_timeout_ns = 0  # of consumers that ask for none; 0: as the node's
        self.journal = journal  # None: nothing of it survives the process
        self.cursor = source.passed
        self.in_flight = InFlight()
        self.deferred = Deferred()
        self.consumers: list[Consumer] = []
        self.message_count = 0
        self.delivery_counts = [0, 0, 0]  # by the distance of the consumer
        self.requeue_count = 0
        self.timeout_count = 0
        self.on_finished: Callable[[int, int], None] | None = None  # (first, count), for latency
        # Writes stragglers where a restart finds them; OSError if the disk refuses.
        self.save_stragglers: Callable[[dict[int, bytes]], None] = _save_nowhere

        self._source = source
        self._settings = settings
        self._waiting: deque[int] = deque()  # sequence and attempts so far, packed
        self._ready: deque[Consumer] = deque()  # those with room, longest waiting first
        self._stragglers: dict[int, bytes] = {}  # frames of messages the log let go
        self._straggler_ids: dict[int, int] = {}  # their sequence numbers by id
        self._held: dict[int, int] = {}  # how many of each 256 messages wait or are deferred
        self._id_base = source.id_base_at(self.cursor)

    # Numbers

    @property
    def depth(self) -> int:
        """Return how many messages wait for a consumer, without the deferred ones."""
        return self.new_depth + len(self._waiting)

    @property
    def new_depth(self) -> int:
        """Return how many messages wait that were never delivered."""
        end = max(self._source.passed, self.cursor)
        return end - self.cursor - self._source.skips.count(self.cursor, end)

    @property
    def unfinished(self) -> int:
        """Return a message below which all are finished; at most 255 too low."""
        lowest = self.cursor
        in_flight = self.in_flight.lowest(self._stragglers)
        if in_flight is not None:
            lowest = min(lowest, in_flight)
        if self._held:
            lowest = min(lowest, min(self._held) << _HELD_BITS)
        return lowest

    @property
    def oldest_straggler_ns(self) -> int | None:
        """Return when the oldest straggler was accepted, or None. Costs a look at each."""
        return min(map(timestamp_of, self._stragglers.values()), default=None)

    # Consumers

    def enter(self, consumer: Consumer) -> None:
        """A client subscribed."""
        place = self._settings.place
        if place is not None:
            consumer.distance = place.distance(consumer.topology_region, consumer.topology_zone)
        self.in_flight.enter(consumer)
        self.consumers.append(consumer)

    def leave(self, consumer: Consumer) -> None:
        """A client is gone. What is in flight to it waits for its time-out."""
        if consumer in self.consumers:
            self.consumers.remove(consumer)
        if consumer.is_waiting:  # or a channel without messages would keep all that ever came
            self._ready.remove(consumer)
            consumer.is_waiting = False
        consumer.ready_count = 0
        self.in_flight.leave(consumer)

    def refresh(self, consumer: Consumer) -> None:
        """Queue a consumer whose room may have grown; `dispatch` looks at it."""
        if not consumer.is_waiting and consumer.room > 0:
            consumer.is_waiting = True
            self._ready.append(consumer)

    # Answers

    def finish_run(self, consumer: Consumer, ids: "array[int]") -> list[tuple[int, Exception]]:
        """
        Finish messages, one FIN each.

        Returns:
            The ids that could not be finished, each with a NotInFlightError or NotOwnerError.
        """
        count = len(ids)
        first_id = ids[0]
        first = first_id - self._id_base
        if (
            (count == 1 or ids[-1] - first_id == count - 1)
            and (count < 3 or ids == array("Q", range(first_id, first_id + count)))
            and self.in_flight.finish_range(first, count, consumer)
        ):
            consumer.finish_count += count
            if self.journal is not None:
                self.journal.finished_range(first, count)
            if self.on_finished is not None:
                self.on_finished(first, count)
            failures = []
        else:
            failures = self._finish_each(consumer, ids)
        self.refresh(consumer)
        return failures

    def _finish_each(self, consumer: Consumer, ids: "array[int]") -> list[tuple[int, Exception]]:
        failures: list[tuple[int, Exception]] = []
        finish_range = self.in_flight.finish_range
        for message_id in ids:
            sequence = message_id - self._id_base
            if not finish_range(sequence, 1, consumer):
                try:
                    sequence = self._take(consumer, message_id)[0]
                    self._forget_straggler(sequence)
                except (NotInFlightError, NotOwnerError) as error:
                    failures.append((message_id, error))
                    continue
            consumer.finish_count += 1
            if self.journal is not None:
                self.journal.finished(sequence)
            if self.on_finished is not None:
                self.on_finished(sequence, 1)
        return failures

    def requeue(self, consumer: Consumer, message_id: int, due_ns: int) -> None:
        """
        Deliver a message again, at once (0) or when it is due, in wall time.

        Raises:
            NotInFlightError, NotOwnerError
        """
        sequence, attempts = self._take(consumer, message_id)
        consumer.requeue_count += 1
        self.requeue_count += 1
        self._put_back(sequence, attempts, min(due_ns, DUE_NS_MAX))
        self.refresh(consumer)

    def touch(self, consumer: Consumer, message_id: int, timeout_ns: int, now_ns: int) -> None:
        """
        Give a message in flight ``timeout_ns`` from now.

        Raises:
            NotInFlightError, NotOwnerError
        """
        sequence = self._sequence_of(message_id)
        latest_after_ns = self._settings.max_msg_timeout_ns
        self.in_flight.touch(sequence, consumer, timeout_ns, now_ns, latest_after_ns)

    def _take(self, consumer: Consumer, message_id: int) -> tuple[int, int]:
        sequence = self._sequence_of(message_id)
        return sequence, self.in_flight.take(sequence, consumer)

    def _sequence_of(self, message_id: int) -> int:
        sequence = self._source.sequence_of(message_id)
        if sequence is None:
            sequence = self._straggler_ids.get(message_id)
        if sequence is None:
            raise NotInFlightError
        return sequence

    def _put_back(self, sequence: int, attempts: int, due_ns: int) -> None:
        self._hold(sequence)
        if due_ns:
            self.deferred.add(sequence, due_ns, attempts)
        else:
            self._waiting.append(sequence << _ATTEMPTS_BITS | attempts)
        if self.journal is not None:
            self.journal.requeued(sequence, due_ns, attempts)

    def _hold(self, sequence: int) -> None:
        if sequence in self._stragglers:
            return
        bucket = sequence >> _HELD_BITS
        self._held[bucket] = self._held.get(bucket, 0) + 1

    def _let_go(self, sequence: int) -> None:
        if sequence in self._stragglers:
            return
        bucket = sequence >> _HELD_BITS
        left = self._held[bucket] - 1
        if left:
            self._held[bucket] = left
        else:
            del self._held[bucket]

    # Time

    def expire(self, now_ns: int, wall_ns: int) -> bool:
        """Take up what timed out and what is due. Returns whether there is something new."""
        expired = self.in_flight.expire(now_ns)
        for sequence, attempts in expired:
            self._put_back(sequence, attempts, 0)
        self.timeout_count += len(expired)
        due = self.deferred.take_due(wall_ns, DUE_PER_TICK)
        for sequence, attempts in due:
            self._waiting.append(sequence << _ATTEMPTS_BITS | attempts)
        if expired:
            for consumer in self.consumers:
                self.refresh(consumer)
        return bool(expired or due)

    # From the topic

    def passed(self, first: int, end: int, due_ns: int) -> None:
        """The topic hands over messages that were just published."""
        self.message_count += end - first
        if self.is_ephemeral:
            self.cursor = max(self.cursor, end - self._settings.mem_queue_size)
        if due_ns:
            for sequence in range(first, end):
                self._hold(sequence)
                self.deferred.add(sequence, due_ns, 0)

    # Delivery

    def dispatch(self, now_ns: int) -> None:
        """Deliver what can be delivered. Costs what it delivers."""
        if self.is_paused or not self._ready:
            return
        if self._waiting:
            self._deliver_waiting(now_ns)
        passed = self._source.passed
        while self._ready:
            available = self._available(passed)
            if available == 0:
                return
            consumer = self._next_ready()
            room = consumer.room
            if room <= 0:
                consumer.is_waiting = False
                continue
            # Fair: nobody gets more than a share while others wait.
            share = -(-available // (self._rivals_of(consumer) + 1))
            block = self._source.block(self.cursor)
            if block is None:
                self._ready.appendleft(consumer)
                if self.cursor in self._source.skips:
                    continue
                return
            self._deliver(consumer, block, min(share, room, available), now_ns)
            if consumer.room > 0:
                self._ready.append(consumer)
            else:
                consumer.is_waiting = False

    def _next_ready(self) -> Consumer:
        """Take the consumer whose turn it is: the nearest, and of those the longest waiting."""
        ready = self._ready
        if self._settings.place is None or len(ready) == 1:
            return ready.popleft()
        nearest = min(ready, key=_distance_of)
        ready.remove(nearest)
        return nearest

    def _rivals_of(self, consumer: Consumer) -> int:
        """Return how many others wait that have the same claim."""
        if self._settings.place is None:
            return len(self._ready)
        return sum(other.distance == consumer.distance for other in self._ready)

    def _available(self, passed: int) -> int:
        """Step over what is to be skipped; return how many messages follow without a gap."""
        skips = self._source.skips
        while True:
            skip = skips.range_at_or_after(self.cursor)
            if skip is None:
                return max(0, passed - self.cursor)
            if skip[0] > self.cursor:
                return max(0, min(passed, skip[0]) - self.cursor)
            if self.cursor >= passed:
                return 0
            self.cursor = min(skip[1], passed)

    def _deliver(self, consumer: Consumer, block: Block, count: int, now_ns: int) -> None:
        if consumer.sample_rate:
            self._deliver_sampled(consumer, block, now_ns)
            return
        frames, count = block.slice(self.cursor, count, SLICE_BYTES_MAX)
        first = self.cursor
        self._id_base = block.id_base
        self.in_flight.deliver(first, count, consumer, now_ns)
        self.cursor = first + count
        consumer.message_count += count
        self.delivery_counts[consumer.distance] += count
        consumer.sink.send(frames)

    def _deliver_sampled(self, consumer: Consumer, block: Block, now_ns: int) -> None:
        """Deliver or drop one message: a consumer that samples pays per message."""
        sequence = self.cursor
        self.cursor += 1
        if self._is_dropped(sequence, consumer):
            return
        self._id_base = block.id_base
        self.in_flight.deliver(sequence, 1, consumer, now_ns)
        consumer.message_count += 1
        self.delivery_counts[consumer.distance] += 1
        consumer.sink.send(block.frame(sequence))

    def _is_dropped(self, sequence: int, consumer: Consumer) -> bool:
        """Decide whether a sampling consumer gets a message; if not, it is as good as finished."""
        if self._settings.random_percent() <= consumer.sample_rate:
            return False
        if self.journal is not None:
            self.journal.finished(sequence)
        return True

    def _deliver_waiting(self, now_ns: int) -> None:
        """Deliver again, each message to the consumer whose turn it is."""
        waiting = self._waiting
        outgoing: dict[Consumer, list[bytes]] = {}
        while waiting and self._ready:
            consumer = self._next_ready()
            if consumer.room <= 0:
                consumer.is_waiting = False
                continue
            sequence, attempts = waiting[0] >> _ATTEMPTS_BITS, waiting[0] & _ATTEMPTS_MASK
            frame = self._frame(sequence)
            if frame is None:
                self._ready.appendleft(consumer)
                if not self._source.is_lost(sequence):
                    break
                waiting.popleft()
                self._let_go(sequence)
                continue
            waiting.popleft()
            self._let_go(sequence)
            if consumer.sample_rate and self._is_dropped(sequence, consumer):
                self._forget_straggler(sequence)
                self._ready.appendleft(consumer)
                continue
            attempts = min(attempts + 1, ATTEMPTS_MAX)
            self.in_flight.deliver_again(sequence, attempts, consumer, now_ns)
            consumer.message_count += 1
            self.delivery_counts[consumer.distance] += 1
            outgoing.setdefault(consumer, []).append(with_attempts(frame, attempts))
            if consumer.room > 0:
                self._ready.append(consumer)
            else:
                consumer.is_waiting = False
        for consumer, frames in outgoing.items():
            consumer.sink.send(b"".join(frames))

    def _frame(self, sequence: int) -> bytes | None:
        straggler = self._stragglers.get(sequence)
        if straggler is not None:
            return straggler
        block = self._source.block(sequence)
        return block.frame(sequence) if block is not None else None

    # Stragglers

    def keep_stragglers(self, below: int) -> bool:
        """
        Copy the few unfinished messages below a point, so that the log may let go of it.

        Returns:
            False if they are too many, or have to be read first: to be tried again later.

        Raises:
            OSError: the disk refused the copies; nothing has changed.
        """
        if self.cursor < below or self._held_below(below) > STRAGGLERS_MAX:
            return False
        unfinished = self._unfinished_below(below)
        copies = dict(self._stragglers)
        added: list[int] = []
        lost: set[int] = set()
        for sequence in sorted(unfinished.keys() - copies.keys()):
            frame = self._frame(sequence)
            if frame is not None:
                copies[sequence] = frame
                added.append(sequence)
            elif self._source.is_lost(sequence):
                lost.add(sequence)
            else:
                return False
        if len(copies) > STRAGGLERS_MAX or sum(map(len, copies.values())) > STRAGGLER_BYTES_MAX:
            return False
        if self.journal is not None:
            # The file leaves out what was finished since it was written last. A loss of power
            # that forgot those FINs would make them missing.
            self.journal.flush()
            self.journal.sync()
        self.save_stragglers(copies)
        self._note_unfinished(added, unfinished)
        self.in_flight.move_out_below(below)
        for sequence in added:
            if self.in_flight.consumer_of(sequence) is None:
                self._let_go(sequence)
        if lost:
            self._drop(lost)
        self._adopt(copies)
        return True

    def _drop(self, lost: set[int]) -> None:
        """Forget messages that wait or are deferred. Costs a look at all that do."""
        waiting = [packed for packed in self._waiting if packed >> _ATTEMPTS_BITS not in lost]
        deferred = [message for message in self.deferred if message[0] not in lost]
        gone = [packed >> _ATTEMPTS_BITS for packed in self._waiting]
        gone += [sequence for sequence, _, _ in self.deferred]
        for sequence in lost.intersection(gone):
            self._let_go(sequence)
        self._waiting = deque(waiting)
        self.deferred.clear()
        self.deferred.extend(deferred)

    def _unfinished_below(self, below: int) -> dict[int, tuple[int, int]]:
        """Return ``(due_ns, attempts)`` of all messages below a point that are not finished."""
        unfinished = {
            sequence: (0, attempts) for sequence, attempts in self.waiting() if sequence < below
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

    def _held_below(self, below: int) -> int:
        last = below >> _HELD_BITS
        return sum(count for bucket, count in self._held.items() if bucket <= last)

    def _adopt(self, stragglers: dict[int, bytes]) -> None:
        self._stragglers = stragglers
        self._straggler_ids = {id_of(frame): sequence for sequence, frame in stragglers.items()}

    def _forget_straggler(self, sequence: int) -> None:
        frame = self._stragglers.pop(sequence, None)
        if frame is not None:
            del self._straggler_ids[id_of(frame)]

    # Control

    def pause(self, is_paused: bool) -> None:
        """Stop or resume delivery. What is in flight stays so."""
        self.is_paused = is_paused
        if not is_paused:
            for consumer in self.consumers:
                self.refresh(consumer)

    def empty(self) -> None:
        """Drop all that waits, is in flight or deferred."""
        self.move_to(self._source.passed)

    def move_to(self, sequence: int) -> None:
        """Go on at a message, as if all before it were finished and nothing from it on."""
        self.cursor = sequence
        self.in_flight.clear()
        self.in_flight.start = sequence
        self._waiting.clear()
        self.deferred.clear()
        self._held.clear()
        self._adopt({})
        if self.journal is not None:
            self.journal.positioned(sequence)
        for consumer in self.consumers:
            self.refresh(consumer)

    def straggler_of(self, message_id: int) -> int | None:
        """Return the straggler that has this id, or None; the log knows all other messages."""
        return self._straggler_ids.get(message_id)

    def straggler(self, sequence: int) -> bytes | None:
        """Return the frame of a straggler, or None if the message is none."""
        return self._stragglers.get(sequence)

    def state_of(self, sequence: int) -> MessageState:
        """Return what became of a message. May search all that waits or is deferred."""
        return self.search_state(sequence)()

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
        elif sequence >= self.cursor and sequence in self._source.skips:
            state = MessageState("skipped", 0)
        else:
            state = MessageState("waiting" if sequence >= self.cursor else "finished", 0)
        is_held = sequence >> _HELD_BITS in self._held or sequence in self._stragglers
        if consumer is not None or not is_held:
            return lambda: state
        waiting, deferred = list(self._waiting), self.deferred.snapshot()

        def search() -> MessageState:
            for packed in waiting:
                if packed >> _ATTEMPTS_BITS == sequence:
                    return MessageState("waiting", packed & _ATTEMPTS_MASK)
            for held, due_ns, attempts in unpack(deferred):
                if held == sequence:
                    return MessageState("deferred", attempts, due_ns)
            return state

        return search

    # Recovery and checkpoints

    def restore(
        self,
        cursor: int,
        waiting: Iterable[tuple[int, int]],
        deferred: Iterable[tuple[int, int, int]],
        stragglers: dict[int, bytes],
    ) -> None:
        """Continue from what a checkpoint and its journal say."""
        self._adopt(stragglers)
        self.cursor = cursor
        self.in_flight.start = cursor
        for sequence, attempts in waiting:
            self._hold(sequence)
            self._waiting.append(sequence << _ATTEMPTS_BITS | attempts)
        self.defer(deferred)

    def defer(self, messages: Iterable[tuple[int, int, int]]) -> None:
        """Defer ``(sequence, due_ns, attempts so far)`` of messages that nobody else holds."""
        deferred = list(messages)
        for sequence, _, _ in deferred:
            self._hold(sequence)
        self.deferred.extend(deferred)

    def waiting(self) -> list[tuple[int, int]]:
        """Return ``(sequence, attempts)`` of what a restart has to deliver again."""
        waiting = [(packed >> _ATTEMPTS_BITS, packed & _ATTEMPTS_MASK) for packed in self._waiting]
        return [*self.in_flight, *waiting]

    def deferred_messages(self) -> Iterable[tuple[int, int, int]]:
        """Return ``(sequence, due_ns, attempts)`` of what is deferred now; for any thread."""
        return unpack(self.deferred.snapshot())


def _distance_of(consumer: Consumer) -> int:
    return consumer.distance


def _save_nowhere(stragglers: dict[int, bytes]) -> None:
    """The channel is in memory only."""
