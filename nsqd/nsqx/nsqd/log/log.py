"""
What a topic and its channels need of a log, and what others may see of it.

Two implementations: `TopicLog` on disk, and `MemoryLog` for what is gone with the process. Nobody
else asks which one it is. Where one has nothing to do (memory is not synced), its method does
nothing.

`Log` belongs to the event loop. `Log.view` returns what it holds at that moment, for whoever reads
it at leisure: in another thread, without effects on the log.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from nsqx.nsqd.log.block import Block
from nsqx.nsqd.log.commit_files import Part
from nsqx.nsqd.log.ranges import Ranges
from nsqx.nsqd.log.segment import Damage

__all__ = [
    "GONE",
    "PIECE_MESSAGES",
    "Gap",
    "Log",
    "LogEvents",
    "LogView",
    "Retention",
    "take_pieces",
]

GONE = "not kept any more"
# Of batches with more messages than this one piece is encoded and written at a time: some 3 ms.
PIECE_MESSAGES = 4096


@dataclass(slots=True)
class Retention:
    """How long finished messages stay for replay. Zero is not at all."""

    time_ns: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class LogEvents:
    """What a log tells its owner. The defaults ignore it."""

    on_readable: Callable[[], None] = field(default=lambda: None)
    on_damage: Callable[[Damage], None] = field(default=lambda damage: None)
    on_error: Callable[[str, OSError], None] = field(default=lambda what, error: None)
    # Returns what makes durable, in another thread, that all below `Log.first` is finished.
    # Else a loss of power might forget that, but not that its segment is gone.
    note_finished: Callable[[], Callable[[], None]] = field(default=lambda: _do_nothing)
    # Removes a file, none there is fine; OSError if the disk refuses. None: by the storage itself.
    take: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages ``first`` to ``end - 1`` that can't be read, and why."""

    first: int
    end: int
    reason: str


class LogView(Protocol):
    """
    Messages ``first`` to ``end - 1`` as they were at one moment. For any thread; may block.

    Raises OSError where the disk fails.
    """

    first: int
    end: int

    def read(self, sequence: int, bytes_wanted: int) -> Block | Gap:
        """
        Return the frames that hold a message, with some before it and about so many bytes behind.

        The block may go on beyond `end`. A gap begins at or before the message: it is damaged, or
        its segment was let go of meanwhile.
        """

    def start_before(self, sequence: int, bytes_wanted: int) -> int:
        """Return a message before one, some such bytes before it, where a read begins well."""

    def first_at_or_after(self, timestamp_ns: int) -> int:
        """
        Return the first message accepted at or after a time, or `end`.

        If the clock was set back meanwhile it may be a later one that was.
        """

    def time_of(self, sequence: int) -> int:
        """Return when a message was accepted (ns since 1970), or 0 if that is not known."""


class Log(Protocol):
    """
    Messages ``first`` to ``end - 1`` of a topic.

    Attributes:
        lost: those that can't be delivered, since the log is damaged there.
        damages: the same, with reasons.
        recovered_cut_bytes: what a crash had left unfinished at the end when it was opened.
        unsynced_messages: appended since the last sync began. At least 1 if a process before this
            one may have left some.
        size_bytes: of the frames that are kept.
        segment_count: files on disk; 0 in memory.
    """

    lost: Ranges
    damages: list[Damage]
    recovered_cut_bytes: int
    unsynced_messages: int
    retention: Retention
    events: LogEvents
    end: int

    @property
    def first(self) -> int: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def segment_count(self) -> int: ...

    # Numbers and ids

    def id_of(self, sequence: int) -> int:
        """Return the id of a message."""

    def sequence_of(self, message_id: int) -> int | None:
        """Return the message that has this id, or None."""

    def id_base_at(self, sequence: int) -> int:
        """Return what to add to the number of a message near this one to get its id."""

    def begin_at(self, sequence: int) -> None:
        """Give out no number below ``sequence``; to be called before the first append."""

    # Appending

    def append(self, bodies: Sequence[bytes], now_ns: int, due_ns: int = 0) -> int:
        """
        Append a batch; it is there whole or not at all.

        Returns:
            The bytes of its frames.

        Raises:
            OSError: the disk refused. Nothing was appended.
        """

    def append_in_pieces(
        self, bodies: list[bytes], now_ns: int, due_ns: int = 0
    ) -> Generator[None, None, int]:
        """
        Do what `append` does, a piece at each step, for a batch that would hold up everybody.

        It is there when it returns its bytes, whole or, if it raises or is closed before, not at
        all; only a crash in its last step may leave some of the pieces. Nothing else is appended
        until then. It consumes ``bodies``.

        Raises:
            OSError: the disk refused. Nothing was appended.
        """

    def begin_sync(self) -> Callable[[], None]:
        """
        Return what to run, in another thread, so that all appended so far survives power loss.

        `end_sync` is to be called when it is over, also when it failed. OSError from here is a
        sync that failed.
        """

    def end_sync(self, *, is_done: bool) -> None:
        """The sync is over; if it was not done, nobody knows what of it is safe."""

    def begin_commit(self) -> Part | None:
        """
        Return what is to be safe in another place, so that all appended so far is; or None.

        None: there is no telling, and it has to be synced. Else `end_commit` is to be called; until
        then nothing more is committed.
        """

    def end_commit(self, *, is_done: bool) -> None:
        """The part is safe, or if it is not done all has to be synced."""

    def abandon_segment(self) -> None:
        """Trust what is being written no more: a sync failed."""

    def close(self) -> None:
        """Nothing is appended any more. OSError if the disk refused what makes a start quick."""

    def abandon(self) -> None:
        """Let go of everything as it is: the topic is being deleted."""

    # Reading

    def block(self, sequence: int) -> Block | None:
        """
        Return a block that holds a message.

        Returns:
            None if it has to be waited for, or if it is in `lost`: look there first, then wait
            for `LogEvents.on_readable`.
        """

    def block_in_memory(self, sequence: int) -> Block | None:
        """Return the block that holds a message if it is in memory; nothing is read for it."""

    def count_in_memory(self, first: int, end: int) -> int:
        """Return how many of the messages ``first`` to ``end - 1`` are in memory."""

    def view(self) -> LogView:
        """Return what is there now."""

    def deferred_batches(
        self, start: int, *, is_strict: bool = False
    ) -> Iterator[tuple[int, int, int]]:
        """
        Yield ``(first, end, due_ns)`` of what was published deferred from ``start`` on.

        Where an index is damaged ``due_ns`` is 0: some of these messages may be deferred. If the
        disk fails, OSError is raised when it is strict; else what can not be read is left out.
        """

    # Letting go

    def oldest_sealed(self) -> tuple[int, int] | None:
        """Return ``(first, end)`` of what could be let go of next, or None."""

    @property
    def may_release(self) -> bool:
        """Return whether `release` may do something, were all messages finished."""

    def is_retained(self, now_ns: int) -> bool:
        """Return whether that is kept for replay, needed or not."""

    def release(self, below: int, now_ns: int) -> None:
        """Let go of what holds only messages below ``below`` and is not retained."""


def take_pieces(bodies: list[bytes]) -> Iterator[list[bytes]]:
    """Yield the bodies in pieces and forget them: to free a million at once takes a while, too."""
    bodies.reverse()
    while bodies:
        piece = bodies[-PIECE_MESSAGES:]
        del bodies[-PIECE_MESSAGES:]
        piece.reverse()
        yield piece


def _do_nothing() -> None:
    """Nobody keeps what is finished."""
