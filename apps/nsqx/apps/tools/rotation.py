"""When ``nsq_to_file`` begins another file, and which. No I/O; time is an argument."""

from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["Rotation", "RotationPolicy"]


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """
    Limits of one file; 0: no limit.

    Attributes:
        size_bytes: before compression. A file ends with the message that exceeds it.
        interval: how long a file is written.
    """

    size_bytes: int = 0
    interval: timedelta = timedelta(0)


class Rotation:
    """
    The state of the file being written, if there is one.

    Whoever writes calls ``begin`` when it opens a file, ``wrote``, and ``end`` when it closes it.
    """

    def __init__(self, policy: RotationPolicy) -> None:
        self._policy = policy
        self.stem = ""
        self._opened_at = datetime.min
        self.is_open = False
        self.revision = 0
        self.size_bytes = 0

    def is_due(self, stem: str, when: datetime) -> bool:
        """Whether the next message belongs into another file than the last one, or the first."""
        return not self.is_open or stem != self.stem or self.is_over_age(when) or self.is_full

    @property
    def is_full(self) -> bool:
        """Whether the file is larger than the limit."""
        return self.exceeds(self.size_bytes)

    def is_over_age(self, when: datetime) -> bool:
        """Whether the file has been written for longer than the limit."""
        interval = self._policy.interval
        return bool(interval) and when - self._opened_at > interval

    def exceeds(self, size_bytes: int) -> bool:
        """Whether a file of this size is larger than the limit."""
        return 0 < self._policy.size_bytes < size_bytes

    def next_revision(self, stem: str) -> int:
        """Return the first revision to try for the next file: 0 for a new name."""
        return self.revision + 1 if stem == self.stem else 0

    def begin(self, stem: str, revision: int, size_bytes: int, when: datetime) -> None:
        """A file was opened that holds so many bytes already."""
        self.stem, self.revision, self.size_bytes = stem, revision, size_bytes
        self._opened_at = when
        self.is_open = True

    def wrote(self, size_bytes: int) -> None:
        """So many bytes were added."""
        self.size_bytes += size_bytes

    def end(self) -> None:
        """The file was closed."""
        self.is_open = False
