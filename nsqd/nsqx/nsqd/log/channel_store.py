"""
The files of a channel: its checkpoint and journal, and what they say after a restart.

    <name>.channel               the checkpoint
    <name>.channel.<n>.journal   what changed since, see `journal`
    <name>.channel.stragglers    copies of unfinished messages that the log let go

A checkpoint that is being written is a temporary file in the trash until it takes its place.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from nsqx.nsqd.log.journal import (
    DEFERRED,
    FINISHED,
    FINISHED_RANGES,
    POSITION,
    REQUEUED,
    Journal,
    decode_checkpoint,
    encode_checkpoint,
    position_of,
    ranges_of,
    requeues_of,
    sequences_of,
)
from nsqx.nsqd.log.limits import LOG_LIMITS, LogLimits
from nsqx.nsqd.log.ranges import Ranges
from nsqx.nsqd.log.replacement import TEMPORARY_SUFFIX, folder_of, replace_file, write_synced
from nsqx.nsqd.log.storage import Storage
from nsqx.nsqd.log.trash import Trash

__all__ = ["STRAGGLERS", "ChannelStore", "Position", "Snapshot"]

STRAGGLERS = "stragglers"
_STRAGGLERS_SUFFIX = f".{STRAGGLERS}"
_BAD_SUFFIX = ".bad"  # a checkpoint that was found damaged
# What a channel has beside its checkpoint and its journals; also what a crash may leave of it.
_SUFFIXES = (
    _STRAGGLERS_SUFFIX,
    _STRAGGLERS_SUFFIX + TEMPORARY_SUFFIX,
    _BAD_SUFFIX,
    TEMPORARY_SUFFIX,
)
_WAITING = struct.Struct(">QH")
_FIELDS = {"cursor", "passed", "journal", "waiting", "deferred"}


@dataclass(slots=True)
class Snapshot:
    """A channel at one moment. ``deferred`` yields ``(sequence, due_ns, attempts)``."""

    cursor: int
    passed: int  # what the topic had handed over
    waiting: list[tuple[int, int]]
    deferred: Iterable[tuple[int, int, int]]

    def encode(self, journal_number: int) -> bytes:
        """Return the content of the checkpoint. Costs 0.3 us a message."""
        return encode_checkpoint(
            {
                "cursor": self.cursor,
                "passed": self.passed,
                "journal": journal_number,
                "waiting": b"".join(_WAITING.pack(*message) for message in self.waiting),
                "deferred": b"".join(DEFERRED.pack(*message) for message in self.deferred),
            }
        )


@dataclass(slots=True)
class Position:
    """What is known of a channel after a restart."""

    cursor: int = 0
    passed: int = 0  # messages published deferred from here on are not in ``deferred`` yet
    waiting: list[tuple[int, int]] = field(default_factory=list)
    deferred: list[tuple[int, int, int]] = field(default_factory=list)
    finished: Ranges = field(default_factory=Ranges)  # beyond what the checkpoint knew
    problems: list[str] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Return a number above all messages that are mentioned."""
        mentioned = [self.cursor, self.passed, *(end for _, end in self.finished)]
        mentioned += [sequence + 1 for sequence, _ in self.waiting]
        mentioned += [sequence + 1 for sequence, _, _ in self.deferred]
        return max(mentioned)

    def aside(self) -> set[int]:
        """Return the messages that are waiting or deferred."""
        aside = {sequence for sequence, _ in self.waiting}
        aside.update(sequence for sequence, _, _ in self.deferred)
        return aside


class ChannelStore:
    """Keeps what must survive of one channel."""

    def __init__(
        self, storage: Storage, path: str, trash: Trash, limits: LogLimits = LOG_LIMITS
    ) -> None:
        self.limits = limits
        self.path = path
        self.on_written: Callable[[], None] = _do_nothing  # something is there to be synced
        self._storage = storage
        self._trash = trash
        self.journal = Journal(storage, path, limits)
        self._is_checkpointing = False
        self._is_damaged = False  # what was found; until a checkpoint replaces it
        self._is_closed = False

    def begin(self, snapshot: Snapshot, *, is_clean: bool = True) -> None:
        """
        Write the first checkpoint of a new channel. OSError if the disk refuses.

        ``is_clean`` says that no file is left of an earlier channel of this name.
        """
        if not is_clean:
            self.begin_anew()
        replace_file(self._storage, self.path, snapshot.encode(self.journal.number), sync=False)

    def begin_anew(self) -> None:
        """Remove what an earlier channel of this name left. Costs a look at the whole folder."""
        self.journal.begin()
        self._storage.remove(self.path + _STRAGGLERS_SUFFIX)

    def load(self, first: int, skips: Ranges, journals: Iterable[int] | None = None) -> Position:
        """
        Read where the channel stood.

        Args:
            first: the oldest message of the log, where a channel begins whose checkpoint is lost.
            skips: what is not to be delivered anyway.
            journals: the numbers of those that are there, if they are known.
        """
        position = Position()
        journal_number = self._load_checkpoint(position, first)
        records, cut_bytes = self.journal.read(journal_number, journals)
        if cut_bytes:
            position.problems.append(f"left out {cut_bytes} bytes of a torn or damaged journal")
        self._apply(position, records, first, skips)
        self._is_damaged = bool(position.problems)
        return position

    def _load_checkpoint(self, position: Position, first: int) -> int | None:
        """Return the number of the journal that continues it; None if there is no telling."""
        try:
            fields = decode_checkpoint(self._storage.read_file(self.path))
        except FileNotFoundError:
            fields = None
            position.problems.append("no checkpoint")
        else:
            if fields is None or not fields.keys() >= _FIELDS:
                fields = None
                position.problems.append("damaged checkpoint")
                self._storage.rename(self.path, self.path + _BAD_SUFFIX)
        if fields is None:
            position.cursor = position.passed = first
            return None
        position.cursor, position.passed = fields["cursor"], fields["passed"]
        position.waiting = list(_WAITING.iter_unpack(fields["waiting"]))
        position.deferred = list(DEFERRED.iter_unpack(fields["deferred"]))
        journal_number: int = fields["journal"]
        return journal_number

    def _apply(
        self,
        position: Position,
        records: list[tuple[int, bytes]],
        log_first: int,
        skips: Ranges,
    ) -> None:
        again: dict[int, tuple[int, int]] = {}
        for kind, payload in records:
            if kind == POSITION:
                cursor = position_of(payload)
                position.cursor = position.passed = cursor
                position.waiting, position.deferred = [], []
                position.finished = Ranges()
                again.clear()
            elif kind == REQUEUED:
                again.update(
                    (sequence, (due, tries)) for sequence, due, tries in requeues_of(payload)
                )
            elif kind == FINISHED_RANGES:
                for start, count in ranges_of(payload):
                    position.finished.add(start, start + count)
            elif kind == FINISHED:
                for sequence in sorted(sequences_of(payload)):
                    position.finished.add(sequence, sequence + 1)
        finished = position.finished
        position.waiting = [
            message
            for message in position.waiting
            if message[0] not in finished and message[0] not in again
        ]
        position.deferred = [
            message
            for message in position.deferred
            if message[0] not in finished and message[0] not in again
        ]
        self._advance(position, again, log_first, skips)

    def _advance(
        self,
        position: Position,
        again: dict[int, tuple[int, int]],
        log_first: int,
        skips: Ranges,
    ) -> None:
        """
        Move the cursor behind all first deliveries that the journal mentions; the rest of what it
        passes was in flight.

        What the cursor steps over anyway, as it was published deferred, says nothing about it.
        What the log let go was finished, or the journal mentions it as a straggler.
        """
        finished = position.finished
        known = Ranges(finished)
        for sequence, (due_ns, attempts) in again.items():
            known.add(sequence, sequence + 1)
            if sequence in finished:
                continue
            if due_ns:
                position.deferred.append((sequence, due_ns, attempts))
            else:
                position.waiting.append((sequence, attempts))
        cursor = max(position.cursor, _behind_last(known, skips))
        aside = position.aside()  # if a damaged index forgot that a message is deferred, by this
        for start, end in known.gaps(max(position.cursor, log_first), cursor):
            position.waiting += [
                (sequence, 1)
                for first, beyond in skips.gaps(start, end)
                for sequence in range(first, beyond)
                if sequence not in aside
            ]
        position.cursor = cursor

    # Stragglers: messages that the log let go before they were finished

    def save_stragglers(self, stragglers: dict[int, bytes]) -> None:
        """Write copies of messages, by sequence number. OSError if the disk refuses."""
        content = encode_checkpoint({"messages": list(stragglers.items())})
        replace_file(self._storage, self.path + _STRAGGLERS_SUFFIX, content)

    def load_stragglers(self) -> dict[int, bytes] | None:
        """Return the copies, also of some that were finished since; None if damaged."""
        try:
            content = self._storage.read_file(self.path + _STRAGGLERS_SUFFIX)
        except FileNotFoundError:
            return {}
        fields = decode_checkpoint(content)
        return dict(fields["messages"]) if fields is not None else None

    # Going on

    def flush(self) -> None:
        """Write what changed. OSError if the disk refuses; it is tried again the next time."""
        if self.journal.is_dirty and not self._is_closed:
            self.journal.flush()
            self.on_written()

    @property
    def wants_checkpoint(self) -> bool:
        """Return whether the journal is so long that a restart feels it, doubtful or damaged."""
        is_long = self.journal.size > self.limits.checkpoint_bytes
        is_due = is_long or self.journal.is_doubtful or self._is_damaged
        return is_due and not self._is_checkpointing

    def checkpoint(self, snapshot: Snapshot, failed: Callable[[OSError], None]) -> None:
        """
        Write a checkpoint, off the event loop, and drop the journals before it.

        Raises:
            OSError: the disk refused a new journal. The old one goes on.
        """
        number = self.journal.begin_next()
        self.on_written()
        self._is_checkpointing = True
        self._is_damaged = False
        temporary = self._trash.new_path()

        def write() -> None:
            write_synced(self._storage, temporary, snapshot.encode(number))

        def put_in_place() -> None:
            self._storage.rename(temporary, self.path)
            self._storage.submit(sync_folder, then(remove_journals))

        def sync_folder() -> None:
            self._storage.sync_folder(folder_of(self.path))
            self._trash.sync()  # a name that moved is in both folders

        def remove_journals() -> None:
            self.journal.remove_before(number)
            self._is_checkpointing = False

        def then(step: Callable[[], None]) -> Callable[[None, BaseException | None], None]:
            def done(_: None, error: BaseException | None) -> None:
                if self._is_closed:
                    self._trash.drop(temporary)
                    return
                try:
                    if error is not None:
                        raise error
                    step()
                except OSError as refusal:
                    self._is_checkpointing = False
                    self._trash.drop(temporary)
                    failed(refusal)

            return done

        # Steps that can not be mixed up with a removal of the channel run on the event loop.
        self._storage.submit(write, then(put_in_place))

    def last_checkpoint(self, snapshot: Snapshot) -> dict[str, bytes]:
        """
        Return a checkpoint that makes the journal superfluous: its content by its path.

        When the file is in place, `close` removes the journals. OSError if the disk refuses.
        """
        return {self.path: snapshot.encode(self.journal.begin_next())}

    def close(self) -> None:
        """Remove the journals before the last checkpoint, and close."""
        self._is_closed = True
        self.journal.remove_before(self.journal.number)
        self.journal.close()

    def abandon(self) -> None:
        """Write no more: the files go with those of the topic."""
        self._is_closed = True
        self.journal.close()

    def remove(self) -> None:
        """
        Remove what is left of a deleted channel, whose checkpoint is buried already.

        Raises:
            OSError: the disk refused. A new channel of this name has to remove what is left.
        """
        self._is_closed = True
        for suffix in _SUFFIXES:  # whatever is left would be a channel at the next start
            self._trash.take(self.path + suffix)
        self.journal.remove(self._trash.take)


def _do_nothing() -> None:
    """Nobody syncs."""


def _behind_last(known: Ranges, skips: Ranges) -> int:
    """Return what follows the last of the known messages that is not to be skipped; or 0."""
    for start, end in reversed(list(known)):
        gaps = list(skips.gaps(start, end))
        if gaps:
            return gaps[-1][1]
    return 0
