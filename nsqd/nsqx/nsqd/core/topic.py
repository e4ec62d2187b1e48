"""
A topic: a log, and the channels that read it.

Theory of operation. What producers publish in one turn of the event loop is gathered and appended
together by `commit`: one write, whatever the number of connections it came from. Only then the
messages are passed on and the producers answered (`Acknowledgements`). `passed` is the point up to
where the log belongs to the channels; it stands still while the topic is paused, held or has no
channel, and then what lies beyond it waits at the topic.

Under the durability class ``fsync`` a batch is answered and passed on when it is safe: what all
topics appended in a turn is committed together (`GroupCommit`), or the log is synced in its place.
One sync serves all that wait, and appending goes on meanwhile.
"""

import errno
from collections.abc import Callable, Generator, Iterator, Sequence
from enum import Enum
from functools import partial

from nsqx.nsqd.core.acknowledgements import Acknowledge, Acknowledgements, PublishError, Report
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.clock import Clock
from nsqx.nsqd.core.deferred import DUE_NS_MAX
from nsqx.nsqd.core.durability import Durability
from nsqx.nsqd.core.group_commit import Batch, GroupCommit
from nsqx.nsqd.core.limits import CORE_LIMITS, CoreLimits
from nsqx.nsqd.core.time_counts import TimeCounts
from nsqx.nsqd.log.block import Block
from nsqx.nsqd.log.log import PIECE_MESSAGES, Log
from nsqx.nsqd.log.ranges import Ranges
from nsqx.nsqd.log.storage import Storage
from nsqx.protocol.messages import HEADER_BYTES
from nsqx.protocol.names import is_ephemeral

__all__ = ["Refusal", "Topic"]


_FSYNC = Durability.FSYNC  # looked at per commit: the members of an enum take longer to find


class Refusal(Enum):
    """Why a topic took no message."""

    DISK_FULL = "disk full"
    DISK_FAILED = "disk failed"
    ENDING = "ending"  # the topic is being deleted, or the broker ends
    DRAINING = "draining"  # the node is being emptied
    FAULT = "fault"  # of ours


class _LongBatch:
    """A batch of so many messages that it is written in pieces, one in each turn of the loop."""

    __slots__ = ("acknowledge", "began_ns", "bodies", "count", "due_ns", "first", "steps")

    def __init__(
        self, bodies: list[bytes], due_ns: int, acknowledge: Acknowledge, began_ns: int
    ) -> None:
        self.bodies = bodies
        self.count = len(bodies)
        self.due_ns = due_ns
        self.acknowledge = acknowledge
        self.began_ns = began_ns
        self.first = 0
        self.steps: Generator[None, None, int] | None = None


class Topic:
    """Passes every message on to every channel."""

    # Beyond 30 attributes an object without slots is slower to read, write and call.
    __slots__ = (
        "_acknowledgements",
        "_acknowledges",
        "_bodies",
        "_clock",
        "_due_ns",
        "_durable_end",
        "_failed_end",
        "_gathered_bytes",
        "_gathered_bytes_max",
        "_group",
        "_has_deferred_behind",
        "_has_lost_place",
        "_has_synced",
        "_is_committing",
        "_is_syncing",
        "_mem_queue_size",
        "_released_first",
        "_report",
        "_storage",
        "_synced_end",
        "_syncing",
        "_unsynced",
        "being_written",
        "block_in_memory",
        "channels",
        "commit_times",
        "durability",
        "emptied",
        "is_closing",
        "is_draining",
        "is_ephemeral",
        "is_held",
        "is_paused",
        "is_state_stale",
        "log",
        "message_bytes",
        "message_count",
        "name",
        "on_error",
        "on_stalled",
        "passed",
        "refused",
        "refused_bytes",
        "skips",
        "sync_every",
        "written_bytes",
    )

    def __init__(
        self,
        name: str,
        log: Log,
        storage: Storage,
        acknowledgements: Acknowledgements,
        report: Report,
        group: GroupCommit,
        *,
        durability: Durability,
        mem_queue_size: int,
        clock: Clock,
        limits: CoreLimits = CORE_LIMITS,
    ) -> None:
        self.name = name
        self.log = log
        self._gathered_bytes_max = limits.gathered_bytes
        self.block_in_memory = log.block_in_memory
        self.is_ephemeral = is_ephemeral(name)
        self.durability = Durability.MEMORY if self.is_ephemeral else durability
        self.is_paused = False
        self.is_held = False  # until its channels are known: messages wait as if it were paused
        self.is_closing = False  # being deleted, or the broker ends
        self.is_draining = False  # it takes nothing more, and gives what it has
        self.channels: dict[str, Channel] = {}
        self.passed = log.end
        self._durable_end = log.end  # up to here producers were answered
        self.skips = Ranges(log.lost)  # emptied, deferred and damaged: channels step over these
        self.emptied = Ranges()  # and what was refused since it could not be synced
        self.is_state_stale = False  # what can't be told from the log is to be saved
        self.message_count = 0
        self.message_bytes = 0
        self.refused = dict.fromkeys(Refusal, 0)  # messages
        # Of the bodies that the disk refused last, and of those that it took last.
        self.refused_bytes = self.written_bytes = 0
        self.sync_every = 0  # messages; 0: no syncs but those of the class fsync
        self.on_error: Callable[[OSError | None], None] = _ignore  # of the last write
        self.on_stalled: Callable[[], None] = _do_nothing  # `resume` is to be tried again
        self.being_written: _LongBatch | None = (
            None  # not at its end: `commit` is to be called again
        )
        self.commit_times = TimeCounts()  # from `commit` to the answer to its producers

        self._storage = storage
        self._acknowledgements = acknowledgements
        self._report = report
        self._group = group
        self._clock = clock
        self._mem_queue_size = mem_queue_size
        self._bodies: list[bytes] = []  # gathered for the next commit
        self._acknowledges: list[Acknowledge] = []
        self._gathered_bytes = 0
        self._due_ns = 0
        self._unsynced: list[Batch] = []
        self._is_syncing = False  # in its place
        self._has_synced = True  # and that is done, as its thread says
        self._syncing: list[Batch] = []  # which wait for that
        self._synced_end = 0  # up to here a sync in its place has made all safe
        self._is_committing = False  # together with other topics
        self._has_lost_place = False  # a sync in its place failed since that began
        self._failed_end = 0  # of what was refused then
        self._has_deferred_behind = False  # beyond passed, maybe
        self._released_first = -1  # where the log began after the last `release`

    # Numbers

    @property
    def depth(self) -> int:
        """
        Return how many messages wait at the topic, for a channel or for the end of a pause.

        Deferred ones among them, as in NSQ: to defer them is their channels' business.
        """
        first, end, lost = self.passed, self.log.end, self.log.lost
        gone = self.emptied.count(first, end)
        if lost.end > first:
            gone += sum(
                beyond - kept
                for low, high in lost
                for kept, beyond in self.emptied.gaps(max(low, first), high)
            )
        return end - first - gone

    def count_deferred(self) -> int:
        """Return how many deferred messages wait at the topic, and are no channel's yet."""
        if not self._has_deferred_behind or self.passed >= self.log.end:
            return 0
        return sum(
            high - low
            for first, end, _ in self.log.deferred_batches(self.passed)
            for low, high in self.emptied.gaps(first, end)
        )

    # Publishing

    def publish(
        self, bodies: list[bytes], due_ns: int, acknowledge: Acknowledge, now_ns: int
    ) -> bool:
        """
        Gather messages for the next commit.

        Returns:
            Whether nothing was gathered before: then the caller has `commit` called soon, and the
            acknowledgements given.
        """
        if due_ns > DUE_NS_MAX:
            due_ns = DUE_NS_MAX
        if self.is_closing:
            self.refused[Refusal.ENDING] += len(bodies)
            acknowledge(PublishError("exiting"))
            return False
        if self.is_draining:
            self.refused[Refusal.DRAINING] += len(bodies)
            acknowledge(PublishError("draining"))
            return False
        if len(bodies) > PIECE_MESSAGES:
            self.commit(now_ns, is_whole=True)
            self.being_written = _LongBatch(bodies, due_ns, acknowledge, now_ns)
            return True
        if due_ns != self._due_ns and self._bodies:
            self.commit(now_ns, is_whole=True)
        self._due_ns = due_ns
        is_first = not self._acknowledges
        self._bodies += bodies
        self._acknowledges.append(acknowledge)
        self._gathered_bytes += sum(map(len, bodies))
        if self._gathered_bytes > self._gathered_bytes_max:
            self.commit(now_ns, is_whole=True)
        return is_first

    def publish_one(self, body: bytes, acknowledge: Acknowledge) -> bool:
        """Gather one message that is not deferred, as `publish` does; the fast way for PUB."""
        if self._due_ns or self.is_closing or self._gathered_bytes > self._gathered_bytes_max:
            return self.publish([body], 0, acknowledge, self._clock.monotonic())
        is_first = not self._acknowledges
        self._bodies.append(body)
        self._acknowledges.append(acknowledge)
        self._gathered_bytes += len(body)
        return is_first

    def commit(self, now_ns: int, *, is_whole: bool = False) -> None:
        """
        Append what was gathered, and deliver it.

        The producers' acknowledgements are ready then, or follow a sync; the caller has them given.
        Of a long batch one piece is written, and what was gathered behind it waits; unless it
        ``is_whole``, for those who can't wait.
        """
        if self.being_written is not None:
            self._write_on(self.being_written, is_whole=is_whole)
            if self.being_written is not None:
                return
        bodies, acknowledges, due_ns = self._bodies, self._acknowledges, self._due_ns
        if not acknowledges:
            return
        self._bodies, self._acknowledges = [], []
        self._due_ns = self._gathered_bytes = 0
        log = self.log
        first, count = log.end, len(bodies)
        if self.is_draining:  # asked here, and not for each message
            self.refused[Refusal.DRAINING] += count
            self._acknowledgements.add(acknowledges, PublishError("draining"))
            return
        try:
            if count:
                try:
                    written = log.append(bodies, self._clock.wall(), due_ns)
                except OSError as error:
                    self.refused_bytes = sum(map(len, bodies))
                    self._refuse(acknowledges, error, count)
                    return
                self.written_bytes = written - HEADER_BYTES * count
                self.on_error(None)
                self.message_count += count
                self.message_bytes += self.written_bytes
            self._appended(first, due_ns, acknowledges, now_ns)
        except Exception as error:  # a fault of ours; it must not cost those of other topics
            self._commit_failed(acknowledges, error, count)

    def _write_on(self, long: _LongBatch, *, is_whole: bool) -> None:
        """Write the next piece of a long batch, or all that is left of it."""
        log = self.log
        try:
            try:
                if long.steps is None:
                    wall_ns = self._clock.wall()
                    long.first = log.end
                    long.steps = log.append_in_pieces(long.bodies, wall_ns, long.due_ns)
                next(long.steps)
                while is_whole:
                    next(long.steps)
            except StopIteration as end:
                self.being_written = None
                self.written_bytes = end.value - HEADER_BYTES * long.count
                self.on_error(None)
                self.message_count += long.count
                self.message_bytes += self.written_bytes
                self._appended(long.first, long.due_ns, [long.acknowledge], long.began_ns)
            except OSError as error:
                self.being_written = None
                self.refused_bytes = sum(map(len, long.bodies))
                self._refuse([long.acknowledge], error, long.count)
        except Exception as error:
            self.being_written = None
            self._commit_failed([long.acknowledge], error, long.count)

    def _appended(
        self, first: int, due_ns: int, acknowledges: list[Acknowledge], began_ns: int
    ) -> None:
        """Pass on what was appended from ``first`` on, or have it synced before."""
        end = self.log.end
        if due_ns:
            self.skips.add(first, end)
            self._has_deferred_behind = True
        if self.durability is _FSYNC:
            self._unsynced.append(Batch(first, end, due_ns, acknowledges, began_ns))
            self._group.add(self)
            return
        self._pass_on(first, end, due_ns, began_ns)
        if self.sync_every and self.log.unsynced_messages >= self.sync_every:
            self.sync_in_background()
        self.commit_times.add(self._clock.monotonic() - began_ns)
        self._acknowledgements.add(acknowledges)

    def _commit_failed(
        self, acknowledges: list[Acknowledge], error: Exception, messages: int
    ) -> None:
        self._report(f"commit to topic {self.name}", error)
        self.refused[Refusal.FAULT] += messages
        self._acknowledgements.add(acknowledges, PublishError("internal error"))

    def _refuse(self, acknowledges: list[Acknowledge], error: OSError, messages: int) -> None:
        self.written_bytes = 0  # what it took before says nothing of now
        self.on_error(error)
        self.refused_bytes = 0  # errors that come without a message refuse none
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        self.refused[Refusal.DISK_FULL if is_full else Refusal.DISK_FAILED] += messages
        refusal = PublishError(error.strerror or str(error))
        self._acknowledgements.add(acknowledges, refusal)

    # Syncing

    def sync_in_background(self) -> None:
        """Bound what a loss of power may take; nobody waits for it."""
        if self.log.unsynced_messages:
            self.sync()

    @property
    def has_unsynced(self) -> bool:
        """Return whether something may still be lost with the power."""
        return bool(self.log.unsynced_messages) or self._is_syncing

    def sync_now(self) -> None:
        """Sync, and wait for it: the broker ends. OSError if the disk refuses."""
        if self.log.unsynced_messages or self._is_syncing:
            sync = self.log.begin_sync()
            is_done = False
            try:
                sync()
                is_done = True
            finally:
                self.log.end_sync(is_done=is_done)
            if self._is_syncing and not self._has_synced:
                # The system tells of a failure once, and may have told that one.
                self._group.spoil(self)

    def sync(self) -> None:
        """
        Sync the log in its place, off the event loop; again later if that is being done.

        Or if the last one failed and what it lost may be safe by the commit under way: that is to
        be known before what follows it is passed on.
        """
        if self._is_syncing or self._has_lost_place:
            return
        self._is_syncing = True
        batches = self._syncing = self._unsynced
        self._unsynced = []
        marks, end = self._group.marks(self), self.log.end
        try:
            work = self.log.begin_sync()
        except Exception as error:  # told as what the sync itself may raise
            work = partial(_raise, error)

        self._has_synced = False

        def sync() -> None:
            work()
            self._has_synced = True

        def synced(_: None, error: BaseException | None) -> None:
            self._is_syncing = False
            self._syncing = []
            self.log.end_sync(is_done=error is None)
            if error is None:
                self._synced_end = end
                self._group.caught_up(self, marks)
                self._synced(batches)
            elif isinstance(error, OSError):
                self._sync_failed(batches, error)
            elif isinstance(error, Exception):
                self._report(f"sync topic {self.name}", error)
                self._sync_failed(batches, OSError(errno.EIO, "internal error"))
            else:
                raise error
            if self._unsynced:
                self._group.add(self)
                self._group.begin()
            self._acknowledgements.give()

        self._storage.submit(sync, synced)

    def begin_commit(self) -> list[Batch]:
        """
        Return the batches that are safe when what the log gave to be committed is.

        Those among them that a sync under way would have made safe, too.
        """
        self._is_committing = True
        batches = [*self._syncing, *self._unsynced]
        self._syncing.clear()
        self._unsynced.clear()
        return batches

    def end_commit(self, batches: list[Batch], error: OSError | None) -> None:
        """They are safe; or else they have to be synced in their place."""
        self._is_committing = False
        failed_end, self._failed_end = self._failed_end, 0
        has_lost_place, self._has_lost_place = self._has_lost_place, False
        self.log.end_commit(is_done=error is None)
        if error is None:
            self._synced(batches)
        else:
            self._synced([batch for batch in batches if batch.end <= self._synced_end])
            batches = [batch for batch in batches if batch.end > self._synced_end]
            if batches and has_lost_place:  # no sync would tell what became of them there
                self._refuse_unsafe(batches, error)
            elif batches:
                self._unsynced[:0] = batches
                self.sync()
        if failed_end:
            self._pass_on(failed_end, failed_end, 0, self._clock.monotonic())

    def _synced(self, batches: list[Batch]) -> None:
        now_ns = self._clock.monotonic()
        for batch in batches:
            self._pass_on(batch.first, batch.end, batch.due_ns, now_ns)
            self._acknowledgements.add(batch.acknowledges)
            self.commit_times.add(now_ns - batch.began_ns)

    def _sync_failed(self, batches: list[Batch], error: OSError) -> None:
        """
        Refuse what was to be synced, and go on in a new segment.

        After a failed sync the operating system may have dropped what it could not write, and the
        next sync would not tell: that segment can not be trusted with more, nor with what was
        appended to it meanwhile.
        """
        self.log.abandon_segment()
        self._group.spoil(self)
        self._has_lost_place = self._is_committing
        batches += self._unsynced
        self._unsynced = []
        self._refuse_unsafe(batches, error)

    def _refuse_unsafe(self, batches: list[Batch], error: OSError) -> None:
        for batch in batches:
            self._drop(batch.first, batch.end)
        for batch in batches:
            self._refuse(batch.acknowledges, error, batch.end - batch.first)
        self.on_error(error)
        if batches and self._is_committing:
            self._failed_end = batches[-1].end
        elif batches:
            end = batches[-1].end
            self._pass_on(end, end, 0, self._clock.monotonic())

    # Passing on

    def _pass_on(self, first: int, end: int, due_ns: int, now_ns: int) -> None:
        if end > self._durable_end:  # a class changed from fsync to os lets newer batches overtake
            self._durable_end = end
        if self.is_paused or self.is_held or not self.channels:
            if self.is_ephemeral:
                self.passed = max(self.passed, self.log.end - self._mem_queue_size)
        elif self.passed == first:
            self.passed = end
            if end == self.log.end:
                self._has_deferred_behind = False
            for channel in self.channels.values():
                self._hand_over(channel, first, end, due_ns, now_ns)
        else:
            self.resume(now_ns)
        if self.is_ephemeral and self.log.end - self.log.first > 2 * self._mem_queue_size:
            self.release(self._clock.wall())

    def _hand_over(
        self,
        channel: Channel,
        first: int,
        end: int,
        due_ns: int,
        now_ns: int,
        deferred: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        """Give a channel its part; a fault of ours there costs no other channel theirs."""
        try:
            channel.hand_over(first, end, due_ns)
            if deferred:
                channel.backlog.defer(deferred)
            channel.dispatch(now_ns)
        except Exception as error:
            self._report(f"deliver in channel {self.name}/{channel.name}", error)

    def resume(self, now_ns: int) -> None:
        """Pass on what waited at the topic, now that it has a channel and is not paused or held."""
        first, end = self.passed, self._durable_end
        if self.is_paused or self.is_held or not self.channels or first >= end:
            return
        self.passed = end
        try:
            deferred = (
                list(self.deferred_in(first, is_strict=True)) if self._has_deferred_behind else []
            )
        except OSError:
            self.passed = first
            self.on_stalled()
            return
        self._has_deferred_behind = end < self.log.end
        for channel in self.channels.values():
            self._hand_over(channel, first, end, 0, now_ns, deferred)

    def pause(self, is_paused: bool, now_ns: int) -> None:
        """Keep messages at the topic, or pass them on again."""
        self.is_paused = is_paused
        self.resume(now_ns)

    def hold(self) -> None:
        """Keep messages at the topic until `let_go`, whatever channels come meanwhile."""
        self.is_held = True

    def let_go(self, now_ns: int) -> None:
        """All channels that are to get the first message are there."""
        self.is_held = False
        self.resume(now_ns)

    def empty(self) -> None:
        """Drop what waits at the topic, not what its channels have."""
        self._drop(self.passed, self.log.end)

    def _drop(self, first: int, end: int) -> None:
        """Have nobody get messages that were not passed on yet."""
        self.emptied.add(first, end)
        self.skips.add(first, end)
        self.is_state_stale = True

    def begin_at(self, sequence: int) -> None:
        """Give out no number below ``sequence``: see `Log.begin_at`."""
        self.log.begin_at(sequence)
        self.passed = self._durable_end = self.log.end

    def settle(self) -> None:
        """All channels of before the start are there again."""
        self._has_deferred_behind = True
        self.resume(self._clock.monotonic())

    def add_channel(self, channel: Channel, now_ns: int) -> None:
        """A new channel; the first one gets all that waits at the topic."""
        self.channels[channel.name] = channel
        self.resume(now_ns)

    def close(self) -> None:
        """Seal the log. OSError if the disk refuses."""
        self.log.close()

    # For channels (see `backlog.Source`)

    def block(self, sequence: int) -> Block | None:
        """Return a block that holds a message, or None, see `Log.block`."""
        return self.log.block(sequence)

    def id_base_at(self, sequence: int) -> int:
        """Return what to add to the number of a message to get its id."""
        return self.log.id_base_at(sequence)

    def sequence_of(self, message_id: int) -> int | None:
        """Return the message that has this id, or None."""
        return self.log.sequence_of(message_id)

    def is_lost(self, sequence: int) -> bool:
        """Return whether a message can't be delivered, since the log is damaged there."""
        return sequence in self.log.lost or sequence < self.log.first

    # Upkeep

    @property
    def may_release(self) -> bool:
        """Return whether `release` has something to do: else it would ask all channels in vain."""
        return self.log.may_release or self.log.first != self._released_first

    def release(self, wall_ns: int) -> None:
        """Let go of the part of the log that no channel needs any more."""
        lowest = self._lowest_needed()
        oldest = self.log.oldest_sealed()
        if (
            oldest is not None
            and lowest < oldest[1] <= self.passed
            and not self.log.is_retained(wall_ns)
            and self._keep_stragglers(oldest[1])
        ):
            lowest = self._lowest_needed()
        self.log.release(lowest, wall_ns)
        first = self._released_first = self.log.first
        # Beyond `lowest`, if there was damage: nothing tells to step over it any more.
        self.passed = max(self.passed, first)
        for channel in self.channels.values():
            channel.log_begins_at(first)
        self.skips.remove_below(first)
        self.emptied.remove_below(first)

    def _lowest_needed(self) -> int:
        needed = (channel.backlog.unfinished for channel in self.channels.values())
        return min([self.passed, *needed])

    def _keep_stragglers(self, below: int) -> bool:
        """Copy what keeps the oldest segment, if it is little in every channel."""
        try:
            return all(
                channel.backlog.keep_stragglers(below)
                for channel in self.channels.values()
                if channel.backlog.unfinished < below
            )
        except OSError as error:
            self.on_error(error)
            return False

    def readable(self) -> None:
        """A block that was waited for is there."""
        now_ns = self._clock.monotonic()
        for channel in self.channels.values():
            channel.dispatch(now_ns)

    def damaged(self, first: int, end: int) -> None:
        """Messages can't be delivered any more."""
        self.skips.add(first, end)

    def deferred_in(self, first: int, *, is_strict: bool = False) -> Iterator[tuple[int, int, int]]:
        """
        Yield ``(sequence, due_ns, 0)`` of what was published deferred from ``first`` on.

        Up to `passed`, and without what was emptied or can't be delivered any more. When a damaged
        record forgot the due time that is 0: no cursor delivers what `skips` has, so it is due at
        once. OSError if the disk fails and it is strict.
        """
        for start, end, due_ns in self.log.deferred_batches(first, is_strict=is_strict):
            for low, high in self.emptied.gaps(start, min(end, self.passed)):
                for kept, beyond in self.log.lost.gaps(low, high):
                    for sequence in range(kept, beyond):
                        if due_ns or sequence in self.skips:
                            yield sequence, due_ns, 0


def _raise(error: Exception) -> None:
    raise error


def _do_nothing() -> None:
    """Nobody tries again."""


def _ignore(error: OSError | None) -> None:
    """Nobody asked to be told."""
