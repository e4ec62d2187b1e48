"""
Watches brokers at work and tells when one breaks a promise.

The promises have names, which a `Violation` carries:

    acknowledged_is_written        an OK means that the message is in a log
    nothing_acknowledged_is_lost   within the durability class of its node
    only_what_was_published        no other messages, bodies or ids
    finished_stays_finished        nothing comes after its FIN, but after a crash that could forget
    deferred_is_not_early          neither by DPUB nor by REQ
    in_flight_to_one               nothing is delivered again before its time is over
    attempts_count                 one more at each delivery, but after a crash
    time_outs_come                 whatever the clock on the wall says
    ready_is_a_limit               no consumer has more messages than its RDY
    finish_in_time_counts          no E_FIN_FAILED for a message whose time is not over
    counts_add_up                  depth, in flight and deferred are what is not finished
    nobody_starves                 no consumer with RDY waits while messages do, and no new message
                                   while those that come again go on and on
    memory_is_bounded
    steps_end                      no broker goes on for ever with what it has to do at once
    names_survive                  topics and channels are there after a crash
    deleted_stays_deleted          no crash brings back a name whose deletion was answered
    damage_is_confined             what is lost to damage is what was damaged
    everything_is_delivered        at the end, when all faults are over
    finished_segments_go           the disk does not fill up with what nobody needs
    directory_is_complete          every nsqlookupd knows every topic and channel
    no_exception                   the core raises nothing that it should not
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.consumer import Consumer
from nsqx.nsqd.core.durability import Durability
from nsqx.nsqd.core.session import Session
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.log.commit_files import Part
from nsqx.nsqd.log.log import Log
from nsqx.protocol.messages import frame_offsets, split_frame
from tests.simulation.records import ChannelRecord, Entry, Flight, TopicRecord
from tests.simulation.scheduler import SECOND_NS, Scheduler
from tests.simulation.trace import Trace

if TYPE_CHECKING:
    from tests.simulation.node import Node

__all__ = ["Auditor", "Violation", "make_body", "number_of"]

STARVING_NS = 20 * SECOND_NS
LATE_NS = 2 * SECOND_NS  # for time-outs, which come in steps
LEAD_MAX = 4  # besides the RDY of a consumer: what it gets at once
NAME_SURVIVES_AFTER_NS = SECOND_NS  # created so long before a loss of power
_NUMBER_BYTES = 8


class Violation(Exception):
    """A promise was broken."""

    def __init__(self, promise: str, text: str) -> None:
        super().__init__(promise, text)  # so that it can be sent to another process
        self.promise = promise
        self.text = text

    def __str__(self) -> str:
        return f"{self.promise}: {self.text}"


def make_body(number: int, size: int) -> bytes:
    """Return the body of a message: its number, then filling that depends on it."""
    return b"%0*d" % (_NUMBER_BYTES, number) + bytes((97 + number % 26,)) * size


def number_of(body: bytes) -> int:
    """Return which message has this body, -1 if it is none of ours."""
    head = body[:_NUMBER_BYTES]
    return int(head) if len(head) == _NUMBER_BYTES and head.isdigit() else -1


@dataclass(slots=True)
class Counts:
    """What happened, in numbers, for the report."""

    published: int = 0
    acknowledged: int = 0
    delivered: int = 0
    finished: int = 0
    again: int = 0  # deliveries of messages that were delivered before
    duplicates: int = 0  # and finished before: a crash forgot it
    lost_by_class: int = 0  # acknowledged, and lost as its durability class allows
    lost_to_damage: int = 0

    def add(self, other: "Counts") -> None:
        """Add what happened in another simulation."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))


class Auditor:
    """Knows what was promised, and compares."""

    def __init__(self, scheduler: Scheduler, trace: Trace) -> None:
        self.topics: dict[tuple[str, str], TopicRecord] = {}
        self.bodies: list[bytes] = []  # by number
        self.counts = Counts()
        self._scheduler = scheduler
        self._trace = trace
        self._entries: dict[int, Entry] = {}  # by id
        self._latest: dict[tuple[str, str, int], Entry] = {}  # by node, topic, number
        # Whose deletion was answered, and which nobody has made again: node, topic, channel or "".
        self._deleted: set[tuple[str, str, str]] = set()
        self._starving: dict[tuple[str, str, str], tuple[int, int]] = {}  # deliveries, since

    # Producers

    def new_body(self, size: int) -> int:
        """Return the number of a new message."""
        self.bodies.append(make_body(len(self.bodies), size))
        self.counts.published += 1
        return len(self.bodies) - 1

    def acknowledged(self, node: "Node", topic_name: str, numbers: Sequence[int]) -> None:
        """A producer was answered OK."""
        now_ns = self._scheduler.now_ns
        for number in numbers:
            entry = self._latest.get((node.name, topic_name, number))
            if entry is None:
                raise Violation(
                    "acknowledged_is_written",
                    f"{node.name} answered OK for message {number}, which is in no log",
                )
            if not entry.acknowledged_ns:
                entry.acknowledged_ns = now_ns
                self.counts.acknowledged += 1
                if entry.is_lost:
                    self._lost(node, topic_name, entry)

    def _lost(self, node: "Node", topic_name: str, entry: Entry) -> None:
        """An OK arrived, and the message was lost meanwhile."""
        if entry.is_excused:
            self.counts.lost_to_damage += 1
            return
        if node.plan.durability is Durability.FSYNC and not topic_name.endswith("#ephemeral"):
            raise Violation(
                "nothing_acknowledged_is_lost",
                f"{node.name} answered OK for message {entry.number}, which a crash then took",
            )
        self.counts.lost_by_class += 1

    # Watching a broker

    def watch_topic(self, node: "Node", topic: Topic, *, is_new: bool) -> TopicRecord:
        """See what is written to a topic from now on."""
        record = self.topics.get((node.name, topic.name))
        if record is None or is_new:
            now_ns = self._scheduler.now_ns
            record = TopicRecord(topic.name, now_ns, topic.is_ephemeral)
            self.topics[node.name, topic.name] = record
            self._deleted.discard((node.name, topic.name, ""))
        _replace(topic.log, "append", self._watched_append(node, topic, record))
        if not topic.is_ephemeral:
            _replace(topic.log, "begin_sync", self._watched_sync(topic.log, record))
            self._watch_commits(topic.log, record)
        return record

    def _watched_append(
        self, node: "Node", topic: Topic, record: TopicRecord
    ) -> Callable[..., int]:
        append = topic.log.append

        def watched(bodies: Sequence[bytes], now_ns: int, due_ns: int = 0) -> int:
            first = topic.log.end
            written = append(bodies, now_ns, due_ns)
            end = first + len(bodies)
            for sequence, body in enumerate(bodies, first):
                entry = Entry(number_of(body), sequence, first, end, due_ns)
                self._add_entry(node, topic, record, entry, topic.log.id_of(entry.sequence))
            self._trace.note(node.name, f"{topic.name} has {first} to {end - 1}")
            return written

        return watched

    def _add_entry(
        self, node: "Node", topic: Topic, record: TopicRecord, entry: Entry, message_id: int
    ) -> None:
        if message_id in self._entries:
            raise Violation("only_what_was_published", f"the id {message_id:016x} was used before")
        if entry.sequence in record.entries:
            raise Violation(
                "only_what_was_published", f"the number {entry.sequence} was used before"
            )
        record.entries[entry.sequence] = entry
        self._entries[message_id] = entry
        self._latest[node.name, topic.name, entry.number] = entry

    def _watched_sync(self, log: Log, record: TopicRecord) -> Callable[[], Callable[[], None]]:
        begin_sync = log.begin_sync

        def watched() -> Callable[[], None]:
            end = log.end
            sync = begin_sync()

            def watched_sync() -> None:
                try:
                    sync()
                except OSError:
                    record.doubtful.update(range(record.synced_end, log.end))
                    raise
                record.synced_end = max(record.synced_end, end)

            return watched_sync

        return watched

    def _watch_commits(self, log: Log, record: TopicRecord) -> None:
        begin_commit, end_commit = log.begin_commit, log.end_commit
        end = 0

        def watched_begin() -> Part | None:
            nonlocal end
            end = log.end
            return begin_commit()

        def watched_end(*, is_done: bool) -> None:
            end_commit(is_done=is_done)
            if is_done:
                record.synced_end = max(record.synced_end, end)

        _replace(log, "begin_commit", watched_begin)
        _replace(log, "end_commit", watched_end)

    def watch_channel(self, node: "Node", topic: Topic, channel: Channel) -> ChannelRecord:
        """See what becomes of a channel's messages from now on."""
        record = self.topics[node.name, topic.name]
        known = record.channels.get(channel.name)
        if known is None:
            self._deleted.discard((node.name, topic.name, channel.name))
            known = ChannelRecord(
                channel.name,
                channel.backlog.cursor,
                self._scheduler.now_ns,
                channel.is_ephemeral or topic.is_ephemeral,
            )
            record.channels[channel.name] = known
        channel_record = known

        def finished(first: int, count: int) -> None:
            self.counts.finished += count
            self._note(node, topic, channel, f"finishes {first} to {first + count - 1}")
            for sequence in range(first, first + count):
                channel_record.finish(sequence)

        channel.on_finished = finished
        self._watch_answers(node, topic, channel, channel_record)
        return channel_record

    def _watch_answers(
        self, node: "Node", topic: Topic, channel: Channel, record: ChannelRecord
    ) -> None:
        requeue, touch = channel.requeue, channel.touch

        def watched_requeue(consumer: Consumer, message_id: int, due_ns: int) -> None:
            requeue(consumer, message_id, due_ns)
            entry = self._entries[message_id]
            record.requeue(entry.sequence, due_ns)
            self._note(node, topic, channel, f"requeues {entry.sequence}")

        at_once = channel.backlog.requeue_at_once

        def watched_at_once(message_id: int, consumer: Consumer, now_ns: int) -> bytearray | None:
            frame = at_once(message_id, consumer, now_ns)
            if frame is not None:
                entry = self._entries[message_id]
                record.requeue(entry.sequence, 0)
                self._note(node, topic, channel, f"requeues {entry.sequence}")
            return frame

        def watched_touch(
            consumer: Consumer, message_id: int, timeout_ns: int, now_ns: int
        ) -> None:
            touch(consumer, message_id, timeout_ns, now_ns)
            flight = record.in_flight.get(self._entries[message_id].sequence)
            if flight is not None:
                latest_ns = flight.delivered_ns + node.settings.max_msg_timeout_ns
                flight.deadline_ns = min(self._scheduler.now_ns + timeout_ns, latest_ns)

        _replace(channel, "requeue", watched_requeue)
        _replace(channel.backlog, "requeue_at_once", watched_at_once)
        _replace(channel, "touch", watched_touch)

    def _note(self, node: "Node", topic: Topic, channel: Channel, what: str) -> None:
        self._trace.note(node.name, f"{topic.name}/{channel.name} {what}")

    def topic_deleted(self, node: "Node", topic_name: str) -> None:
        """A topic is gone with all it had."""
        self.topics.pop((node.name, topic_name), None)

    def channel_deleted(self, node: "Node", topic_name: str, channel_name: str) -> None:
        """A channel is gone."""
        record = self.topics.get((node.name, topic_name))
        if record is not None:
            record.channels.pop(channel_name, None)

    def ticked(self, node: "Node") -> None:
        """A broker has written what it gathered, where the disk let it."""
        for (name, topic_name), record in self.topics.items():
            topic = node.broker.topics.get(topic_name) if name == node.name else None
            if topic is None:
                continue
            for channel_name, channel_record in record.channels.items():
                channel = topic.channels.get(channel_name)
                if channel is not None and (
                    channel.backlog.journal is not None and not channel.backlog.journal.is_dirty
                ):
                    channel_record.journalled()

    def entry_of_id(self, message_id: int) -> Entry | None:
        """Return the message that was given an id."""
        return self._entries.get(message_id)

    # Deliveries

    def sent(self, node: "Node", session: Session, data: bytes | bytearray) -> None:
        """A session sends frames: messages, or one answer."""
        kind = data[7]
        if kind == 2:
            self._delivered(node, session, data)
        elif kind == 1:
            self._error_sent(node, session, bytes(data[8:]))

    def _delivered(self, node: "Node", session: Session, data: bytes | bytearray) -> None:
        topic, channel, consumer = session.topic, session.channel, session.consumer
        assert topic is not None
        assert channel is not None
        assert consumer is not None
        if node.broker.topics.get(topic.name) is not topic:
            return
        record = self.topics[node.name, topic.name]
        channel_record = record.channels.get(channel.name)
        if channel_record is None or topic.channels.get(channel.name) is not channel:
            return
        offsets = frame_offsets(data)
        now_ns = self._scheduler.now_ns
        for start, end in pairwise(offsets):
            _, attempts, message_id, body = split_frame(bytes(data[start:end]))
            entry = self._entry_of(node, topic, channel, message_id, body)
            self._check_delivery(node, record, channel_record, entry, attempts)
            flight = Flight(now_ns, now_ns + consumer.msg_timeout_ns)
            channel_record.in_flight[entry.sequence] = flight
        count = len(offsets) - 1
        self._check_turns(node, topic, channel, channel_record, data, offsets)
        channel_record.deliveries += count
        channel_record.peak = max(channel_record.peak, len(channel_record.in_flight))
        self.counts.delivered += count
        self._note(node, topic, channel, f"sends {self._name_ids(data, offsets)}")
        if consumer.in_flight > consumer.ready_count:
            raise Violation(
                "ready_is_a_limit",
                f"{consumer.in_flight} messages in flight to a consumer with RDY "
                f"{consumer.ready_count} of {topic.name}/{channel.name} at {node.name}",
            )

    def _check_turns(
        self,
        node: "Node",
        topic: Topic,
        channel: Channel,
        record: ChannelRecord,
        data: bytes | bytearray,
        offsets: "array[int]",
    ) -> None:
        """Count how far messages that come again are ahead of new ones while both wait."""
        backlog = channel.backlog
        can_be_read = topic.log.block_in_memory(backlog.cursor) is not None
        if not (can_be_read and backlog.new_count and backlog.retries):
            record.lead = 0
            return
        again = sum(split_frame(bytes(data[start : start + 34]))[1] > 1 for start in offsets[:-1])
        record.lead = max(0, record.lead + 2 * again - (len(offsets) - 1))
        most = LEAD_MAX + max(consumer.ready_count for consumer in channel.consumers)
        if record.lead > most:
            raise Violation(
                "nobody_starves",
                f"{record.lead} messages of {topic.name}/{channel.name} at {node.name} came again "
                f"while {backlog.new_count} new ones waited",
            )

    def _name_ids(self, data: bytes | bytearray, offsets: "array[int]") -> str:
        sequences = [
            self._entries[split_frame(bytes(data[start : start + 34]))[2]].sequence
            for start in offsets[:-1]
        ]
        if sequences == list(range(sequences[0], sequences[0] + len(sequences))):
            return f"{sequences[0]} to {sequences[-1]}"
        return ", ".join(map(str, sequences))

    def _entry_of(
        self, node: "Node", topic: Topic, channel: Channel, message_id: int, body: bytes
    ) -> Entry:
        entry = self._entries.get(message_id)
        number = number_of(body)
        if not 0 <= number < len(self.bodies) or self.bodies[number] != body:
            if entry is not None and self._has_no_checksum(node, topic, entry):
                return entry
            raise Violation(
                "only_what_was_published",
                f"{node.name} {topic.name}/{channel.name} delivers a body that nobody "
                f"published: {body[:40]!r}",
            )
        if entry is None:
            entry = self._unanswered(node, topic, channel, message_id, number)
        if entry.number != number:
            raise Violation(
                "only_what_was_published",
                f"{node.name} {topic.name}/{channel.name} delivers message {number} with the id "
                f"of message {entry.number}",
            )
        return entry

    def _has_no_checksum(self, node: "Node", topic: Topic, entry: Entry) -> bool:
        """
        Return whether a frame was damaged whose index a loss of power may have taken.

        Because it was not synced, or because its segment was being removed, and came back in part.
        """
        record = self.topics[node.name, topic.name]
        may_be_gone = (
            entry.is_lost
            or record.is_finished(entry.sequence)
            or not self._must_survive(node, record, entry)
        )
        return node.has_lost_power and may_be_gone and entry.sequence in record.damaged

    def _unanswered(
        self, node: "Node", topic: Topic, channel: Channel, message_id: int, number: int
    ) -> Entry:
        """Take in a message that was written when its broker was killed."""
        sequence = topic.log.sequence_of(message_id)
        if sequence is None:
            sequence = channel.backlog.straggler_of(message_id)
        record = self.topics[node.name, topic.name]
        if sequence is None or sequence in record.entries:
            raise Violation(
                "only_what_was_published",
                f"{node.name} {topic.name} delivers message {number} with the id "
                f"{message_id:016x}, which it never gave out",
            )
        entry = Entry(number, sequence, sequence, sequence + 1, 0)
        # A straggler's id is not the log's: its segment is gone, or was begun anew.
        self._add_entry(node, topic, record, entry, message_id)
        return entry

    def _check_delivery(
        self,
        node: "Node",
        topic: TopicRecord,
        channel: ChannelRecord,
        entry: Entry,
        attempts: int,
    ) -> None:
        wall_ns = node.clock.wall()
        sequence = entry.sequence

        def fail(promise: str, text: str) -> Violation:
            return Violation(
                promise,
                f"message {entry.number}, {sequence} of {topic.name}/{channel.name} at "
                f"{node.name}, {text}",
            )

        if sequence in channel.finished and sequence not in topic.damaged:
            raise fail("finished_stays_finished", "is delivered after it was finished")
        if wall_ns < entry.due_ns and not topic.is_due_unsure:
            raise fail("deferred_is_not_early", f"comes {(entry.due_ns - wall_ns) / 1e9} s early")
        due_ns = channel.due.pop(sequence, 0)
        if wall_ns < due_ns:
            raise fail(
                "deferred_is_not_early", f"comes {(due_ns - wall_ns) / 1e9} s early after REQ"
            )
        flight = channel.in_flight.get(sequence)
        if flight is not None and self._is_in_time(flight):
            early_s = (flight.deadline_ns - self._scheduler.now_ns) / 1e9
            raise fail("in_flight_to_one", f"comes again {early_s} s before its time is over")
        before = channel.attempts.get(sequence, 0)
        if before and attempts != before + 1:
            raise fail("attempts_count", f"has attempts {attempts} after {before}")
        channel.attempts[sequence] = attempts
        self.counts.duplicates += sequence in channel.ever
        if before or attempts > 1:
            self.counts.again += 1

    def _is_in_time(self, flight: Flight) -> bool:
        return self._scheduler.now_ns < flight.deadline_ns

    def _error_sent(self, node: "Node", session: Session, line: bytes) -> None:
        self._trace.note(node.name, f"answers {line.decode()}")
        words = line.split(b" ")
        topic, channel = session.topic, session.channel
        if words[0] != b"E_FIN_FAILED" or topic is None or channel is None:
            return
        entry = self._entries.get(int(words[2], 16))
        record = self.topics.get((node.name, topic.name))
        known = record.channels.get(channel.name) if record is not None else None
        if entry is None or known is None or topic.channels.get(channel.name) is not channel:
            return
        flight = known.in_flight.get(entry.sequence)
        if flight is None or not self._is_in_time(flight) or b"own" in line:
            return
        raise Violation(
            "finish_in_time_counts",
            f"{node.name} refuses FIN of message {entry.number}, {entry.sequence} of "
            f"{topic.name}/{channel.name}, which is in flight: {line.decode()}",
        )

    # Operators

    def will_empty(self, node: "Node", topic: Topic) -> None:
        """What waits at a topic may be dropped from now on."""
        record = self.topics[node.name, topic.name]
        for sequence in [sequence for sequence in record.entries if sequence >= topic.passed]:
            del record.entries[sequence]

    def will_delete(self, node: "Node", topic: Topic, channel: Channel) -> None:
        """A channel may be gone in parts from now on, if the process ends meanwhile."""
        self.topics[node.name, topic.name].channels[channel.name].is_damaged = True

    @contextmanager
    def deleting(self, node: "Node", topic_name: str, channel_name: str = "") -> Iterator[None]:
        """Have a topic or a channel deleted inside the block; the process may end there."""
        life = node.life
        node.has_refused = False
        yield
        if node.life == life and not node.has_refused:
            self._deleted.add((node.name, topic_name, channel_name))

    @contextmanager
    def moving(self, node: "Node", topic: Topic, channel: Channel, sequence: int) -> Iterator[None]:
        """Have a channel emptied or moved inside the block; the process may end there."""
        record = self.topics[node.name, topic.name].channels[channel.name]
        end = topic.passed
        saved = deepcopy(record)
        before = record.unsure_below
        record.unsure_below = max(before, end)
        record.moved(sequence, end)
        life = node.life
        node.has_refused = False
        yield
        if node.has_refused:  # then nothing has changed
            for item in fields(saved):
                setattr(record, item.name, getattr(saved, item.name))
            return
        if node.life != life or channel.backlog.journal is None:
            record.finished.clear()
            return
        if not channel.backlog.journal.is_dirty:
            record.unsure_below = before
            record.journalled()

    # Crashes

    def clock_set_back(self, node: "Node", wall_ns: int) -> None:
        """Forget what was due by ``wall_ns``: it is not deferred again by a clock set back."""
        for record in self._records_of(node):
            for entry in record.entries.values():
                if entry.due_ns <= wall_ns:
                    entry.due_ns = 0
            for channel in record.channels.values():
                for sequence in [each for each, due_ns in channel.due.items() if due_ns <= wall_ns]:
                    del channel.due[sequence]

    def killed(self, node: "Node") -> None:
        """A broker ended without a farewell."""
        for record in self._records_of(node):
            for channel in record.channels.values():
                channel.killed()

    def warned(self, node: "Node", text: str) -> None:
        """A channel whose journal was torn delivers again what it can not tell from the rest."""
        if "of a torn or damaged journal" not in text:
            return
        topic_name, _, channel_name = text.removeprefix("channel ").partition(":")[0].partition("/")
        record = self.topics.get((node.name, topic_name))
        channel = record.channels.get(channel_name) if record is not None else None
        if channel is not None:
            channel.finished.clear()

    def restarted(self, node: "Node", how: str) -> None:
        """
        Compare what a broker has found with what it must have.

        Args:
            how: what ended it: ``stop``, ``kill`` or ``power``.
        """
        for record in self._records_of(node):
            topic = node.broker.topics.get(record.name)
            if topic is None:
                self._topic_is_gone(node, record, how)
                continue
            self._check_log(node, record, topic, how)
            self.take_damages(node)
            if how == "power":
                for entry in record.entries.values():
                    if not self._must_survive(node, record, entry):
                        entry.due_ns = 0  # indexed again from its frame alone
                        record.doubtful.add(entry.sequence)  # it may be there in part
            for channel in record.channels.values():
                record.is_due_unsure |= channel.is_damaged
                if how == "power" or channel.is_damaged:
                    channel.lost_files()
                    record.forget_due_below(channel.unsure_below)
            record.forget_from(topic.log.end)
            self._check_channels(node, record, topic, how)
        for topic in node.broker.topics.values():
            self._check_deleted(node, topic.name)
            record = self.watch_topic(node, topic, is_new=False)
            for found in topic.channels.values():
                self._check_deleted(node, topic.name, found.name)
                is_known = found.name in record.channels
                channel_record = self.watch_channel(node, topic, found)
                if not is_known:  # it was deleted, and nobody was told so before the crash
                    channel_record.start = 0
                    channel_record.unsure_below = topic.log.end

    def _check_deleted(self, node: "Node", topic_name: str, channel_name: str = "") -> None:
        if (node.name, topic_name, channel_name) in self._deleted:
            name = f"{topic_name}/{channel_name}" if channel_name else topic_name
            raise Violation("deleted_stays_deleted", f"{name} of {node.name} came back")

    def _records_of(self, node: "Node") -> list[TopicRecord]:
        return [record for (name, _), record in self.topics.items() if name == node.name]

    def _topic_is_gone(self, node: "Node", record: TopicRecord, how: str) -> None:
        del self.topics[node.name, record.name]
        if record.is_ephemeral:
            return
        if how == "power":
            is_young = node.ended_ns - record.created_ns < NAME_SURVIVES_AFTER_NS
            owed = [
                entry
                for entry in record.entries.values()
                if self._must_survive(node, record, entry)
            ]
            if (is_young or not node.was_well) and not owed:
                return
        raise Violation("names_survive", f"topic {record.name} of {node.name} is gone")

    def _must_survive(self, node: "Node", record: TopicRecord, entry: Entry) -> bool:
        """Return whether a loss of power may not take a message."""
        if not entry.acknowledged_ns:
            return False
        if node.plan.durability is Durability.FSYNC:
            return True
        return entry.sequence < record.synced_end and entry.sequence not in record.doubtful

    def _check_log(self, node: "Node", record: TopicRecord, topic: Topic, how: str) -> None:
        gone = [
            entry
            for sequence, entry in record.entries.items()
            if sequence >= topic.log.end
            or sequence in topic.log.lost
            or (
                sequence < topic.log.first
                and not record.is_finished(sequence)
                and not any(
                    channel.backlog.straggler(sequence) is not None
                    for channel in topic.channels.values()
                )
            )
        ]
        for entry in gone:
            self._take_away(node, record, entry, is_after_power_loss=how == "power")

    def _take_away(
        self, node: "Node", record: TopicRecord, entry: Entry, *, is_after_power_loss: bool
    ) -> None:
        """A message is not in the log any more; see whether it may be so."""
        entry.is_lost = True
        entry.due_ns = 0  # if it comes back nothing more is known of it
        del record.entries[entry.sequence]
        entry.is_excused = entry.sequence in record.damaged or node.may_give_up_reads
        if not entry.acknowledged_ns:
            return
        if entry.is_excused:
            self.counts.lost_to_damage += 1
        elif is_after_power_loss and not self._must_survive(node, record, entry):
            self.counts.lost_by_class += 1
        else:
            raise Violation(
                "nothing_acknowledged_is_lost",
                f"{node.name} lost message {entry.number}, {entry.sequence} of {record.name}, "
                "which it had answered OK",
            )

    def _check_channels(self, node: "Node", record: TopicRecord, topic: Topic, how: str) -> None:
        for channel in list(record.channels.values()):
            if channel.name in topic.channels:
                continue
            del record.channels[channel.name]
            if channel.is_ephemeral:
                continue
            is_young = node.ended_ns - channel.created_ns < NAME_SURVIVES_AFTER_NS
            if how == "power" and (is_young or not node.was_well):
                continue
            raise Violation(
                "names_survive", f"channel {record.name}/{channel.name} of {node.name} is gone"
            )

    # From time to time

    def check(self, node: "Node") -> None:
        """Compare a running broker with the model."""
        memory, block_bytes = node.broker._memory, node.settings.limits.log.block_bytes
        if memory.bytes_used > memory.bytes_max + 2 * block_bytes + 64 * 1024:
            raise Violation(
                "memory_is_bounded", f"{memory.bytes_used} of {memory.bytes_max} at {node.name}"
            )
        self.take_damages(node)
        for topic in node.broker.topics.values():
            record = self.topics[node.name, topic.name]
            for channel in topic.channels.values():
                channel_record = record.channels[channel.name]
                self._check_window(node, topic, channel, channel_record)
                if not channel_record.is_ephemeral:
                    self._check_counts(node, topic, channel, record, channel_record)
                self._check_starving(node, topic, channel, channel_record)
                self._check_time_outs(node, topic, channel, channel_record)

    def take_damages(self, node: "Node") -> None:
        """Take in what the broker has reported as lost to damage since the last time."""
        damages = node.broker.damages
        for damage in damages[node.damages_seen :]:
            topic_name = damage.path.split("/")[1].removesuffix(".topic")
            record = self.topics.get((node.name, topic_name))
            if record is None:
                continue
            for sequence in range(damage.first, damage.end):
                entry = record.entries.get(sequence)
                if entry is None:
                    continue
                if damage.reason == "missing stragglers" and record.is_finished(sequence):
                    self._false_alarm(node, record, entry)
                else:
                    self._take_away(node, record, entry, is_after_power_loss=node.has_lost_power)
        node.damages_seen = len(damages)

    def _false_alarm(self, node: "Node", record: TopicRecord, entry: Entry) -> None:
        """A finished message is reported as lost: only damage and worse excuse that."""
        if not node.was_damaged and not node.had_failed_write:
            raise Violation(
                "damage_is_confined",
                f"{node.name} reports message {entry.number}, {entry.sequence} of {record.name}, "
                "as lost, which was finished",
            )

    def _check_window(
        self, node: "Node", topic: Topic, channel: Channel, record: ChannelRecord
    ) -> None:
        window = len(channel.backlog.in_flight._owners)
        if window > 4 * node.settings.limits.window + 16 * record.peak:
            raise Violation(
                "memory_is_bounded",
                f"the window of {topic.name}/{channel.name} at {node.name} has {window} places "
                f"for {channel.in_flight_count} messages",
            )

    def _check_counts(
        self,
        node: "Node",
        topic: Topic,
        channel: Channel,
        record: TopicRecord,
        channel_record: ChannelRecord,
    ) -> None:
        handed = [
            entry
            for sequence, entry in record.entries.items()
            if channel_record.start <= sequence < topic.passed
        ]
        unsure = channel_record.unsure_below
        least = sum(
            1
            for entry in handed
            if entry.sequence not in channel_record.ever
            and entry.sequence >= unsure
            and entry.acknowledged_ns
        )
        # Where a damaged record forgot that a message is deferred, the cursor counts it as new
        # until it gets there and finds the damage.
        most = sum(
            1
            for entry in handed
            if entry.sequence not in channel_record.finished
            or (entry.due_ns and entry.sequence in record.damaged)
        )
        most += topic.passed - channel_record.start - len(handed)
        there = channel.depth + channel.in_flight_count + channel.deferred_count
        if record.is_due_unsure:  # a message may be deferred, and new as well
            most = max(most, there)
        if not least <= there <= most:
            raise Violation(
                "counts_add_up",
                f"{topic.name}/{channel.name} at {node.name} has depth {channel.depth}, "
                f"{channel.in_flight_count} in flight and {channel.deferred_count} deferred: "
                f"{there} instead of {least} to {most}",
            )

    def _check_starving(
        self, node: "Node", topic: Topic, channel: Channel, record: ChannelRecord
    ) -> None:
        key = node.name, topic.name, channel.name
        now_ns = self._scheduler.now_ns
        is_waiting = (
            channel.depth > 0
            and not channel.is_paused
            and node.is_well
            and any(consumer.room > 0 for consumer in channel.consumers)
        )
        deliveries, since_ns = self._starving.get(key, (-1, now_ns))
        if not is_waiting or deliveries != record.deliveries:
            self._starving[key] = record.deliveries, now_ns
        elif now_ns - since_ns > STARVING_NS:
            raise Violation(
                "nobody_starves",
                f"{topic.name}/{channel.name} at {node.name} has {channel.depth} messages and a "
                f"consumer with room, and delivers nothing for {(now_ns - since_ns) / 1e9} s",
            )

    def _check_time_outs(
        self, node: "Node", topic: Topic, channel: Channel, record: ChannelRecord
    ) -> None:
        since_ns = self._scheduler.now_ns - LATE_NS
        if not node.is_well:
            return
        for sequence, flight in record.in_flight.items():
            is_late = flight.deadline_ns < since_ns
            if is_late and channel.backlog.in_flight.consumer_of(sequence) is not None:
                raise Violation(
                    "time_outs_come",
                    f"{sequence} of {topic.name}/{channel.name} at {node.name} is in flight "
                    f"{(since_ns - flight.deadline_ns + LATE_NS) / 1e9} s after its time",
                )

    # The end

    def undelivered(self, node: "Node") -> list[str]:
        """Return what is still owed by a node, a line for each channel; empty if nothing is."""
        owed = []
        for topic in node.broker.topics.values():
            for channel in topic.channels.values():
                there = channel.depth + channel.in_flight_count + channel.deferred_count
                if there or (topic.passed < topic.log.end and topic.depth):
                    owed.append(f"{topic.name}/{channel.name} at {node.name} has {there}")
        return owed

    def check_end(self, node: "Node") -> None:
        """All faults are over and everything had time: nothing may be missing."""
        for topic in node.broker.topics.values():
            record = self.topics[node.name, topic.name]
            for channel_record in record.channels.values():
                if not channel_record.is_ephemeral:
                    self._check_delivered(node, record, channel_record)

    def _check_delivered(self, node: "Node", record: TopicRecord, channel: ChannelRecord) -> None:
        missing = [
            entry
            for sequence, entry in record.entries.items()
            if entry.acknowledged_ns
            and sequence >= channel.start
            and sequence >= channel.unsure_below
            and sequence not in channel.ever
        ]
        if missing:
            raise Violation(
                "everything_is_delivered",
                f"{node.name} never delivered {len(missing)} messages of "
                f"{record.name}/{channel.name}, such as {missing[0].number}, "
                f"{missing[0].sequence} of the log",
            )


def _replace(owner: Any, name: str, call: Callable[..., Any]) -> None:
    """Put a function of ours in the place of a method of one object."""
    setattr(owner, name, call)
