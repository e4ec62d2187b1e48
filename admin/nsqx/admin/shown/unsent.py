"""
What viewers have yet to take of large frames, and who makes room when that is too much. No I/O.

A frame is a version of a document, and bytes that many wait for count once. So what is held grows
with viewers that do not read, each of which got stuck at another version. Who has most of those
that wait loses the one that waits longest: it may come again, and gets the newest version.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["UNSENT_BYTES_MAX", "Unsent"]

UNSENT_BYTES_MAX = 16 * 1024 * 1024
# However large a document is, so many versions of it may be on their way.
VERSIONS_MAX = 8
SMALL_BYTES = 64 * 1024  # such frames are in the socket's buffers, and not counted


class _Waiting:
    """A viewer that has not taken a frame yet."""

    __slots__ = ("frame", "give_up", "who")

    def __init__(self, frame: bytes, who: str, give_up: Callable[[], None]) -> None:
        self.frame, self.who, self.give_up = frame, who, give_up


class Unsent:
    """All large frames that are being sent."""

    def __init__(self, bytes_max: int = UNSENT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._waiting: dict[_Waiting, None] = {}  # the longest first

    @property
    def held_bytes(self) -> int:
        """How much there is, each frame once."""
        return sum({id(each.frame): len(each.frame) for each in self._waiting}.values())

    @contextmanager
    def sending(self, frame: bytes, who: str, give_up: Callable[[], None]) -> Iterator[None]:
        """
        Count a frame while it is being sent.

        Args:
            frame: the bytes.
            who: a user or an address; whoever it is that has many viewers.
            give_up: ends the connection, if this one has to make room.
        """
        if len(frame) <= SMALL_BYTES:
            yield
            return
        waiting = _Waiting(frame, who, give_up)
        self._waiting[waiting] = None
        self._make_room(max(self._bytes_max, VERSIONS_MAX * len(frame)))
        try:
            yield
        finally:
            self._waiting.pop(waiting, None)

    def _make_room(self, bytes_max: int) -> None:
        while self.held_bytes > bytes_max:
            ((most, _),) = Counter(each.who for each in self._waiting).most_common(1)
            longest = next(each for each in self._waiting if each.who == most)
            del self._waiting[longest]
            longest.give_up()
