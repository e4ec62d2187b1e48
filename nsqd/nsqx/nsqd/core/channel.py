"""
A channel: who may get the messages of its backlogs, and in which order.

Theory of operation. Consumers tell how many messages they take (RDY); those with room stand in
`_ready`, longest waiting first. `dispatch` gives each of them its share of what its backlogs have,
in slices of the log where it can. What becomes of a message is the `Backlog`'s business: there is
one, that of the channel's own topic. An id finds its backlog by its base, which no two logs share.

While both wait, new messages and those to be delivered again (retries) take turns one to one,
counted over slices: neither keeps the other waiting.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nsqx.nsqd.core.agenda import Agenda
from nsqx.nsqd.core.backlog import Backlog, Source
from nsqx.nsqd.core.consumer import Consumer, Place
from nsqx.nsqd.core.in_flight import NotInFlightError, NotOwnerError
from nsqx.nsqd.core.limits import CORE_LIMITS, CoreLimits
from nsqx.nsqd.log.channel_store import ChannelStore
from nsqx.protocol.names import is_ephemeral

__all__ = ["Channel", "ChannelSettings"]

# What is waited for is asked for again after this time, should nobody tell that it is there.
ASK_AGAIN_NS = 50_000_000


@dataclass(slots=True)
class ChannelSettings:
    """What channels share."""

    max_msg_timeout_ns: int
    mem_queue_size: int  # messages an ephemeral channel keeps; beyond, the oldest go
    random_percent: Callable[[], int]  # 0 to 99, for sampling
    agenda: "Agenda[Channel]"
    limits: CoreLimits = CORE_LIMITS
    place: Place | None = None  # of the node: near consumers go first; None: all are alike


class Channel:
    """Delivers each message to one of its consumers, until one finishes it."""

    def __init__(
        self, name: str, source: Source, settings: ChannelSettings, store: ChannelStore | None
    ) -> None:
        self.name = name
        self.topic_name = source.name
        self.is_ephemeral = is_ephemeral(name)
        self.is_paused = False
        self.msg_timeout_ns = 0  # of consumers that ask for none; 0: as the node's
        self.consumers: list[Consumer] = []
        self.message_count = 0
        self.delivery_counts = [0, 0, 0]  # by the distance of the consumer
        self.requeue_count = 0
        self.timeout_count = 0
        self.dropped_count = 0  # never delivered: an ephemeral channel keeps so many only
        self.on_finished: Callable[[int, int], None] | None = None  # (first, count), for latency

        self._settings = settings
        self._agenda = settings.agenda
        self.backlog = Backlog(source, self, store, settings.limits)  # of the topic
        self._backlogs = [self.backlog]
        self._ready: deque[Consumer] = deque()  # those with room, longest waiting first
        self._do_both_wait = False  # retries and new messages
        self._lead = 0  # of retries over new messages, in deliveries since then

    # Numbers

    @property
    def depth(self) -> int:
        """Return how many messages wait for a consumer, without the deferred ones."""
        return sum(backlog.new_count + len(backlog.retries) for backlog in self._backlogs)

    @property
    def in_flight_count(self) -> int:
        """Return how many messages consumers have."""
        return sum(len(backlog.in_flight) for backlog in self._backlogs)

    @property
    def deferred_count(self) -> int:
        """Return how many messages wait for their time."""
        return sum(len(backlog.deferred) for backlog in self._backlogs)

    # Consumers

    def enter(self, consumer: Consumer) -> None:
        """A client subscribed."""
        place = self._settings.place
        if place is not None:
            consumer.distance = place.distance(consumer.topology_region, consumer.topology_zone)
        self.consumers.append(consumer)

    def leave(self, consumer: Consumer) -> None:
        """A client is gone. What is in flight to it waits for its time-out."""
        if consumer in self.consumers:
            self.consumers.remove(consumer)
        if consumer.is_waiting:  # or a channel without messages would keep all that ever came
            self._ready.remove(consumer)
            consumer.is_waiting = False
        consumer.ready_count = 0
        consumer.closing = True
        for backlog in self._backlogs:
            backlog.in_flight.leave(consumer)

    def refresh(self, consumer: Consumer) -> None:
        """Queue a consumer whose room may have grown; `dispatch` looks at it."""
        if not consumer.is_waiting and consumer.room > 0:
            consumer.is_waiting = True
            self._ready.append(consumer)

    def _refresh_all(self) -> None:
        for consumer in self.consumers:
            self.refresh(consumer)

    # Answers

    def finish_run(
        self, consumer: Consumer, ids: "array[int]"
    ) -> list[tuple[int, type[LookupError]]]:
        """
        Finish messages, one FIN each.

        Returns:
            The ids that could not be finished, each with NotInFlightError or NotOwnerError: the
            class, since thousands of errors would hold the frames that raised them.
        """
        count = len(ids)
        first_id = ids[0]
        failures: list[tuple[int, type[LookupError]]] = []
        if (count == 1 or ids[-1] - first_id == count - 1) and (
            count < 3 or ids == array("Q", range(first_id, first_id + count))
        ):
            if not self._finish_range(consumer, first_id, count):
                failures = self._finish_each(consumer, ids)
        else:
            failures = self._finish_each(consumer, ids)
        self.refresh(consumer)
        return failures

    def finish(self, consumer: Consumer, message_id: int) -> None:
        """
        Finish one message.

        Raises:
            NotInFlightError, NotOwnerError
        """
        if not self._finish_range(consumer, message_id, 1):
            sequence = self._backlog_of(message_id).finish(message_id, consumer)
            consumer.finish_count += 1
            if self.on_finished is not None:
                self.on_finished(sequence, 1)
        if not consumer.is_waiting:
            self.refresh(consumer)

    def _finish_range(self, consumer: Consumer, first_id: int, count: int) -> bool:
        """Finish messages whose ids follow one another; False if that can't be done at once."""
        for backlog in self._backlogs:
            first = backlog.finish_range(first_id, count, consumer)
            if first is not None:
                consumer.finish_count += count
                if self.on_finished is not None:
                    self.on_finished(first, count)
                return True
        return False

    def _finish_each(
        self, consumer: Consumer, ids: "array[int]"
    ) -> list[tuple[int, type[LookupError]]]:
        """
        Do what `finish_run` does, for ids that do not all follow one another.

        Mostly many of them do: a consumer gets its messages in slices, and others get some between.
        """
        failures: list[tuple[int, type[LookupError]]] = []
        for first_id, count in _consecutive(ids):
            if count > 1 and self._finish_range(consumer, first_id, count):
                continue
            for message_id in range(first_id, first_id + count):
                try:
                    self.finish(consumer, message_id)
                except (NotInFlightError, NotOwnerError) as error:
                    failures.append((message_id, type(error)))
        return failures

    def requeue(self, consumer: Consumer, message_id: int, due_ns: int) -> None:
        """
        Deliver a message again, at once (0) or when it is due, in wall time.

        Raises:
            NotInFlightError, NotOwnerError
        """
        backlog = self.backlog if len(self._backlogs) == 1 else self._backlog_of(message_id)
        backlog.requeue(message_id, consumer, due_ns)
        consumer.requeue_count += 1
        self.requeue_count += 1
        if not consumer.is_waiting:
            self.refresh(consumer)

    def requeue_at_once(self, consumer: Consumer, message_id: int, now_ns: int) -> bool:
        """
        Do what `requeue` without a delay and `dispatch` do if that is quickly told.

        It is if no message waits and nobody else does: then the message goes back to whom it comes
        from.

        Returns:
            False if nothing was done.
        """
        backlog = self.backlog
        if (
            self._ready
            or backlog.retries
            or backlog.cursor < backlog.source.passed
            or len(self._backlogs) > 1
            or self.is_paused
            or consumer.sample_rate
            or consumer.in_flight > consumer.ready_count  # it has lowered its RDY since
            or not consumer.writable
            or consumer.closing
        ):
            return False
        frame = backlog.requeue_at_once(message_id, consumer, now_ns)
        if frame is None:
            return False
        consumer.requeue_count += 1
        self.requeue_count += 1
        consumer.message_count += 1
        self.delivery_counts[consumer.distance] += 1
        consumer.send(frame)
        return True

    def give_back(self, consumer: Consumer, message_id: int) -> None:
        """
        Take a message back as if it had not been delivered: nobody has begun with it.

        Raises:
            NotInFlightError, NotOwnerError
        """
        self._backlog_of(message_id).give_back(message_id, consumer)
        self.refresh(consumer)

    def touch(self, consumer: Consumer, message_id: int, timeout_ns: int, now_ns: int) -> None:
        """
        Give a message in flight ``timeout_ns`` from now.

        Raises:
            NotInFlightError, NotOwnerError
        """
        latest_ns = self._settings.max_msg_timeout_ns
        backlog = self.backlog if len(self._backlogs) == 1 else self._backlog_of(message_id)
        backlog.touch(message_id, consumer, timeout_ns, now_ns, latest_ns)

    def _backlog_of(self, message_id: int) -> Backlog:
        """Return the backlog whose message has this id; any if it is none's."""
        if len(self._backlogs) > 1:
            for backlog in self._backlogs[1:]:
                if backlog.sequence_of(message_id) is not None:
                    return backlog
        return self._backlogs[0]

    # Time, and what its backlogs tell (see `backlog.Owner`)

    def look_at(self, deadline_ns: int) -> None:
        """Have `tick` called at a (monotonic) time, or before."""
        self._agenda.timers.set(self, deadline_ns)

    def look_when_due(self, due_ns: int) -> None:
        """Have `tick` called at a (wall) time, or before."""
        self._agenda.due.set(self, due_ns)

    def changed(self) -> None:
        """Something is finished or aside that was not."""
        if self not in self._agenda.changed:
            self._agenda.change(self)

    def tick(self, now_ns: int, wall_ns: int, limit: int) -> int:
        """
        Take up what timed out and what is due, up to a number of messages, and deliver.

        Returns:
            How many messages that were. What is left is on the agenda.
        """
        expired = sum(backlog.expire(now_ns, limit) for backlog in self._backlogs)
        due = sum(backlog.take_due(wall_ns, limit) for backlog in self._backlogs)
        self.timeout_count += expired
        if expired:
            self._refresh_all()
        self.dispatch(now_ns)
        return expired + due

    # From the topic

    def hand_over(self, first: int, end: int, due_ns: int) -> None:
        """The topic passes on messages that were just published."""
        if self.is_ephemeral:
            self._drop_below(end - self._settings.mem_queue_size)
        self.message_count += self.backlog.hand_over(first, end, due_ns)

    def _drop_below(self, first: int) -> None:
        """Nobody will get the messages below that have not been delivered yet."""
        if self.backlog.cursor < first:
            before = self.backlog.new_count
            self.backlog.skip_below(first)
            self.dropped_count += before - self.backlog.new_count

    def log_begins_at(self, first: int) -> None:
        """The topic's log has let go of what is below, delivered or not."""
        if self.backlog.cursor < first:
            if self.backlog.store is None:
                self._drop_below(first)
            self.backlog.skip_below(first)
            self.look_at(0)

    # Delivery

    def dispatch(self, now_ns: int) -> None:
        """Deliver what can be delivered. Costs what it delivers."""
        ready = self._ready
        if not ready or self.is_paused:
            return
        for backlog in self._backlogs:
            # As a rule there is nothing: asked here, that costs no call.
            if backlog.cursor < backlog.source.passed:
                self._draw(backlog, now_ns)
            elif backlog.retries:
                if len(ready) == 1 and not ready[0].sample_rate:
                    self._draw_retries(backlog, ready[0], now_ns)
                else:
                    self._draw(backlog, now_ns)
        if len(self._backlogs) > 1:
            self._backlogs.append(self._backlogs.pop(0))  # each goes first in turn

    def _draw(self, backlog: Backlog, now_ns: int) -> None:
        """Deliver of one backlog."""
        ready, source = self._ready, backlog.source
        may_retry = may_new = True  # until something must be waited for
        while ready:
            retries = len(backlog.retries) if may_retry else 0
            new = backlog.available() if may_new and backlog.cursor < source.passed else 0
            if not retries and not new:
                break
            is_near = self._settings.place is not None
            consumer = self._nearest() if is_near else ready.popleft()
            room = consumer.room
            if room <= 0:
                consumer.is_waiting = False
                continue
            # Fair: nobody gets more than a share while others wait.
            share = retries + new
            if ready:
                rivals = self._rivals_of(consumer) if is_near else len(ready)
                share = -(-share // (rivals + 1))
            if share > room:
                share = room
            if consumer.sample_rate:
                share = 1
            if retries and new:
                again = self._share_of_retries(share, retries)
            else:
                self._do_both_wait = False
                again = share if retries else 0
            if consumer.sample_rate and self._is_dropped(consumer):
                if again:
                    self._lead += 1
                    backlog.drop_retry()
                else:
                    self._lead -= 1
                    backlog.drop_new()
            else:
                if again and not self._deliver_again(backlog, consumer, again, now_ns):
                    may_retry = False
                count = share - again
                if count > new:
                    count = new
                if count and not self._deliver_new(backlog, consumer, count, now_ns):
                    may_new = False
            if consumer.room > 0:
                ready.append(consumer)
            else:
                consumer.is_waiting = False
        if not (may_retry and may_new):
            self.look_at(now_ns + ASK_AGAIN_NS)

    def _draw_retries(self, backlog: Backlog, consumer: Consumer, now_ns: int) -> None:
        """Do what `_draw` does where nothing is new and one consumer waits, which samples not."""
        self._do_both_wait = False
        room = consumer.room
        if room > 0:
            frames = backlog.deliver_again(consumer, room, now_ns)
            if frames:
                self._send(
                    consumer, frames[0] if len(frames) == 1 else b"".join(frames), len(frames)
                )
                room -= len(frames)
            if room and backlog.retries:
                self.look_at(now_ns + ASK_AGAIN_NS)
        if room <= 0:
            self._ready.popleft()
            consumer.is_waiting = False

    def _share_of_retries(self, count: int, retries: int) -> int:
        """Return how many of ``count`` messages are to be retries while both wait: half."""
        if not self._do_both_wait:
            self._do_both_wait = True
            self._lead = 1  # a new message goes first
        return min(max(0, count + 1 - self._lead) // 2, retries, count)

    def _nearest(self) -> Consumer:
        """Take the nearest consumer that waits, and of those the one that does so longest."""
        nearest = min(self._ready, key=_distance_of)
        self._ready.remove(nearest)
        return nearest

    def _rivals_of(self, consumer: Consumer) -> int:
        """Return how many others wait that are as near."""
        return sum(other.distance == consumer.distance for other in self._ready)

    def _is_dropped(self, consumer: Consumer) -> bool:
        """Decide whether a sampling consumer gets a message; if not, it is as good as finished."""
        return self._settings.random_percent() > consumer.sample_rate

    def _deliver_new(self, backlog: Backlog, consumer: Consumer, count: int, now_ns: int) -> bool:
        """Deliver new messages; return False if they must be waited for."""
        frames, count = backlog.deliver_new(consumer, count, now_ns)
        if count:
            self._lead -= count
            self._send(consumer, frames, count)
            return True
        return backlog.is_next_skipped  # it turned out to be lost

    def _deliver_again(self, backlog: Backlog, consumer: Consumer, count: int, now_ns: int) -> bool:
        """Deliver retries; return False if there are some that must be waited for."""
        frames = backlog.deliver_again(consumer, count, now_ns)
        if frames:
            self._lead += len(frames)
            self._send(consumer, frames[0] if len(frames) == 1 else b"".join(frames), len(frames))
        return len(frames) == count or not backlog.retries

    def _send(self, consumer: Consumer, frames: bytes | bytearray, count: int) -> None:
        consumer.message_count += count
        self.delivery_counts[consumer.distance] += count
        consumer.send(frames)

    # Control

    def pause(self, is_paused: bool) -> None:
        """Stop or resume delivery. What is in flight stays so."""
        self.is_paused = is_paused
        if not is_paused:
            self._refresh_all()

    def empty(self) -> None:
        """Drop all that waits, is in flight or deferred."""
        for backlog in self._backlogs:
            backlog.empty()
        self._refresh_all()

    def move_to(self, sequence: int) -> None:
        """Go on at a message of the topic, as if all before it were finished, and nothing else."""
        self.backlog.move_to(sequence)
        self._refresh_all()


def _consecutive(ids: "array[int]") -> Iterator[tuple[int, int]]:
    """Yield the first and the number of those that follow one another."""
    first = beyond = ids[0]
    for message_id in ids:
        if message_id != beyond:
            yield first, beyond - first
            first = message_id
        beyond = message_id + 1
    yield first, beyond - first


def _distance_of(consumer: Consumer) -> int:
    return consumer.distance
