"""
What producers are told: in order, by one loop, when what they wait for is over.

An acknowledgement lets a session go on with what waited at its gate, which may publish and commit
again. So it is given when the topics have passed on what they appended, and one that comes up
meanwhile waits until those before it were given: neither a commit nor a session is ever inside
itself, however many of them wait for each other.
"""

from collections import deque
from collections.abc import Callable, Sequence

from nsqx.protocol.errors import NsqxError

__all__ = ["Acknowledge", "Acknowledgements", "PublishError", "Report"]


class PublishError(NsqxError):
    """The topic can't take messages: it is being deleted, or the disk refused."""


# Called once, with None when the messages are as safe as the topic promises.
Acknowledge = Callable[[PublishError | None], None]

# Told what was being done when an exception came that nobody expects.
Report = Callable[[str, Exception], None]


class Acknowledgements:
    """Those that are still to be given, of all topics of a broker."""

    __slots__ = ("_is_giving", "_report", "_waiting")

    def __init__(self, report: Report) -> None:
        self._report = report
        self._waiting: deque[tuple[Sequence[Acknowledge], PublishError | None]] = deque()
        self._is_giving = False

    def add(self, acknowledges: Sequence[Acknowledge], error: PublishError | None = None) -> None:
        """Have these given, with the same answer; see to it that `give` is called soon."""
        self._waiting.append((acknowledges, error))

    def give(self) -> None:
        """Give all; within itself it leaves them to the loop that is running."""
        if self._is_giving:
            return
        self._is_giving = True
        try:
            while self._waiting:
                acknowledges, error = self._waiting.popleft()
                for acknowledge in acknowledges:
                    try:
                        acknowledge(error)
                    except Exception as exception:  # of one connection: the others get theirs
                        self._report("answer a publish", exception)
        finally:
            self._is_giving = False
