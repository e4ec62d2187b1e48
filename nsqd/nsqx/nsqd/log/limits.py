"""How much a log and its journals keep, gather and read at a time."""

from dataclasses import dataclass

__all__ = ["LOG_LIMITS", "LogLimits"]


@dataclass(frozen=True, slots=True)
class LogLimits:
    """
    They are the same for all nodes; tests take smaller ones, in which everything collides.

    Attributes:
        block_bytes: of a log, to read and to keep in one piece.
        index_records: of a segment, to read in one piece.
        idle_roll_bytes: a segment of that size is ended when nothing comes any more.
        memory_block_bytes: of a log in memory, to keep in one piece.
        memory_blocks: of such a log; beyond, stragglers are copied so that the rest can go.
        requeues: that a journal gathers while the disk refuses; then those that were overtaken go.
        entries: of one kind in a record of a journal, be it hours until the disk takes it.
        checkpoint_bytes: of a journal; a longer one is replaced by a checkpoint.
        commit_file_bytes: of each of the two files that have what many logs appended; 0: there are
            none, and each log is synced in its place.
        pending_bytes: of one log, to be committed there; what is more is synced in its place.
    """

    block_bytes: int = 256 * 1024
    index_records: int = 4096
    idle_roll_bytes: int = 16 * 1024 * 1024
    memory_block_bytes: int = 64 * 1024
    memory_blocks: int = 64
    requeues: int = 100_000
    entries: int = 1_000_000
    checkpoint_bytes: int = 4 * 1024 * 1024
    commit_file_bytes: int = 16 * 1024 * 1024
    pending_bytes: int = 256 * 1024


LOG_LIMITS = LogLimits()
