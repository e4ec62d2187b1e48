"""
One sync for what all topics of the class ``fsync`` appended in a turn.

Theory of operation. A topic that has appended something joins (`add`), and at the end of the turn
all that joined are committed together: their logs say what they have beyond what is safe, and that
goes to a commit file (`log.commit_files`) with one write. Who joins meanwhile is in the next one.
A log that can't say it (its segment is new, or what it has is long) is synced in its place instead.

The sync waits for the disk in a thread of its own. To go there and back takes as long as a fast
disk does, so a lone publisher's is done on the event loop while syncs are known to be short.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nsqx.nsqd.core.acknowledgements import Acknowledge, Acknowledgements, Report
from nsqx.nsqd.core.clock import Clock
from nsqx.nsqd.core.limits import CoreLimits
from nsqx.nsqd.log.commit_files import CommitFiles, Part
from nsqx.nsqd.log.log import Log
from nsqx.nsqd.log.storage import Storage

__all__ = ["Batch", "GroupCommit", "Member"]

# The mean of the last ones, about so many.
_SYNCS = 8


@dataclass(slots=True)
class Batch:
    """What was appended to a log, and waits to be safe."""

    first: int
    end: int
    due_ns: int
    acknowledges: list[Acknowledge]
    began_ns: int


class Member(Protocol):
    """A topic, as far as it is asked here."""

    log: Log

    def begin_commit(self) -> list[Batch]:
        """Return what is safe when this commit is done; `end_commit` follows."""

    def end_commit(self, batches: list[Batch], error: OSError | None) -> None:
        """They are safe, or nobody knows whether they are."""

    def sync(self) -> None:
        """Sync the log in its place."""

    def sync_in_background(self) -> None:
        """Do that if there is something to be synced."""


class GroupCommit:
    """Commits for all topics of a node."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        acknowledgements: Acknowledgements,
        report: Report,
        limits: CoreLimits,
        *,
        generation: int,
        mark_folder: Callable[[bool], None],
        warn: Callable[[str], None],
    ) -> None:
        """
        ``generation`` as `CommitFiles` has it; ``mark_folder`` notes, or no longer, that the data
        folder has commit files, and raises OSError if the disk refuses.
        """
        self._storage = storage
        self._clock = clock
        self._acknowledgements = acknowledgements
        self._report = report
        self._limits = limits
        self._mark_folder = mark_folder
        self._warn = warn
        self._files: CommitFiles[Member] = CommitFiles(
            storage, size=limits.log.commit_file_bytes, generation=generation
        )
        self._waiting: dict[Member, None] = {}
        self._is_busy = False
        self._is_making = False
        self._is_closed = False
        self._retry_ns = 0  # not before this are the files tried to be made again
        self._refusal = ""  # of the last try, as it was told
        self._sync_ns = limits.loop_sync_ns  # what syncs took; not known yet

    def add(self, member: Member) -> None:
        """Have a topic's log made safe by the next commit; `begin` follows in this turn."""
        self._waiting[member] = None

    def begin(self) -> None:
        """Commit for all that wait, unless a commit is under way: then when that is over."""
        while self._waiting and not self._is_busy:
            waiting, self._waiting = self._waiting, {}
            if not self._files.is_ready:
                self._make_files()
            parts: list[tuple[Member, Part]] = []
            for member in waiting:
                part = member.log.begin_commit()
                if part is None:
                    member.sync()
                else:
                    parts.append((member, part))
            if parts:
                self._commit(parts)

    def _commit(self, parts: list[tuple[Member, Part]]) -> None:
        work = self._files.begin(parts)
        for laggard in self._files.take_laggards():
            laggard.sync_in_background()
        if work is None:
            for member, _ in parts:
                member.log.end_commit(is_done=False)
                member.sync()
            return
        batches = [(member, member.begin_commit()) for member, _ in parts]
        self._is_busy = True
        if self._is_for_the_loop(batches):
            self._commit_here(work, batches)
            return

        def committed(took_ns: int | None, error: BaseException | None) -> None:
            self._took(took_ns)
            self._ended(batches, error)
            self.begin()
            self._acknowledgements.give()

        self._storage.submit(lambda: self._timed(work), committed, is_urgent=True)

    def _is_for_the_loop(self, batches: list[tuple[Member, list[Batch]]]) -> bool:
        if self._sync_ns >= self._limits.loop_sync_ns or len(batches) > 1:
            return False
        return sum(len(batch.acknowledges) for batch in batches[0][1]) <= 1

    def _commit_here(
        self, work: Callable[[], None], batches: list[tuple[Member, list[Batch]]]
    ) -> None:
        try:
            self._took(self._timed(work))
        except Exception as error:
            self._ended(batches, error)
        else:
            self._ended(batches, None)

    def _timed(self, work: Callable[[], None]) -> int:
        began_ns = self._clock.monotonic()
        work()
        return self._clock.monotonic() - began_ns

    def _took(self, took_ns: int | None) -> None:
        if took_ns is not None:
            self._sync_ns += (took_ns - self._sync_ns) // _SYNCS

    def _ended(
        self, batches: list[tuple[Member, list[Batch]]], error: BaseException | None
    ) -> None:
        if error is not None and not isinstance(error, Exception):
            raise error
        self._is_busy = False
        self._files.end(is_done=error is None)
        if error is not None and not isinstance(error, OSError):
            self._report("commit", error)
            error = OSError(f"internal error: {error}")
        if error is not None:
            self._warn(f"the disk refused a commit, logs are synced one by one - {error}")
        for member, its_batches in batches:
            member.end_commit(its_batches, error)

    # The files

    def _make_files(self) -> None:
        now_ns = self._clock.monotonic()
        is_off = self._is_closed or not self._limits.log.commit_file_bytes
        if self._is_making or is_off or now_ns < self._retry_ns:
            return
        self._is_making = True
        self._retry_ns = now_ns + self._limits.commit_files_retry_ns

        def made(_: None, error: BaseException | None) -> None:
            self._is_making = False
            if self._is_closed:  # and the folder may be another process's by now
                self._files.discard(leaves_files=True)
            elif error is None:
                try:
                    self._mark_folder(True)
                except OSError as refusal:
                    error = refusal
                    self._files.discard()
                else:
                    self._files.use()
            if error is not None and not isinstance(error, OSError):
                raise error
            told = "" if error is None else str(error)
            if told and told != self._refusal:
                self._warn(f"no room for commit files, logs are synced one by one - {told}")
            self._refusal = told

        self._storage.submit(self._files.make, made)

    def marks(self, member: Member) -> list[int]:
        """See `CommitFiles.marks`."""
        return self._files.marks(member)

    def caught_up(self, member: Member, marks: list[int]) -> None:
        """See `CommitFiles.caught_up`."""
        self._files.caught_up(member, marks)

    def spoil(self, member: Member) -> None:
        """See `CommitFiles.spoil`."""
        self._files.spoil(member)

    def forget(self, member: Member) -> None:
        """A topic is gone for good."""
        self._waiting.pop(member, None)
        self._files.forget(member)

    def end(self) -> None:
        """Make no files any more: the broker ends, and in order or not, `close` may follow."""
        self._is_closed = True

    def close(self) -> None:
        """All logs are closed, and were synced in their place. OSError if the disk refuses."""
        if self._files.close():
            self._mark_folder(False)
