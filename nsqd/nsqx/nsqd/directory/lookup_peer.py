"""
One nsqlookupd as nsqd sees it: what to send to it, and when (lookupd section 4). No I/O.

Theory of operation. nsqlookupd forgets a node together with its connection. So whoever connects
says all that the node has, and from then on what changes, in the order it changes; after a lost
connection nothing has to be compared or repeated.

    AWAY ── connected ──▶ IDENTIFYING ── its answer ──▶ PRESENT
     ▲                         │                           │
     └────────── lost ─────────┴───────────────────────────┘

Commands are not sent one by one: up to `UNANSWERED_MAX` wait for their answers, which come in
order, so that thousands of registrations take a few round trips. Each answer must follow the one
before within `Timing.answer_s`. When `error` is set the connection is of no use: the edge closes
it and calls `lost`.

The edge calls `connected`, `receive_data`, `tick` (at `next_at`) and, after `register` or
`unregister`, `take_output`; each returns bytes to send. Times are seconds of any clock that does
not jump.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from nsqx.protocol.errors import ProtocolError
from nsqx.protocol.lookup import (
    MAGIC,
    PING,
    AnswerParser,
    DirectoryInfo,
    PeerInfo,
    decode_directory_info,
    encode_identify,
    encode_register,
    encode_unregister,
)

__all__ = ["Catalogue", "LookupPeer", "State", "Timing"]

UNANSWERED_MAX = 256
# Changes that may wait beyond what was to be said at the beginning. With more, starting anew is
# cheaper than catching up, and memory stays bounded however slow the other side is.
BEHIND_MAX = 10_000

# What the node has: each topic with the names of its channels.
Catalogue = Callable[[], Iterable[tuple[str, Iterable[str]]]]


class State(Enum):
    """How far a connection has come."""

    AWAY = "away"
    IDENTIFYING = "identifying"
    PRESENT = "present"


@dataclass(slots=True, frozen=True)
class Timing:
    """
    Seconds.

    NSQ comes back with the next command, 15 s later at the latest. We try again after
    ``retry_first_s``, growing to ``retry_s``, small enough that a directory which is back knows
    everything within two seconds. One that answers nonsense is left alone for up to
    ``offence_s``.
    """

    connect_s: float = 1.0
    answer_s: float = 1.0
    ping_s: float = 15.0
    retry_first_s: float = 0.25
    retry_s: float = 0.75
    offence_s: float = 15.0


class LookupPeer:
    """
    The state of one connection after the other to the same nsqlookupd.

    Attributes:
        directory: what it said about itself; None while it is away.
        error: why the connection has to be closed; None while it is of use.
        refusal: the last answer that was an error and did not end the connection; ``""`` if none.
        is_complete: it has confirmed everything there was to say.
        told_draining: what it was told, by this connection, of whether the node drains.
    """

    def __init__(
        self,
        identity: Callable[[], PeerInfo],
        catalogue: Catalogue,
        *,
        answer_bytes_max: int,
        timing: Timing | None = None,
        in_use: Catalogue = tuple,
    ) -> None:
        """``in_use`` gives what was used since it was asked last; see `tick`."""
        self.timing = timing or Timing()
        self.state = State.AWAY
        self.directory: DirectoryInfo | None = None
        self.error: str | None = None
        self.refusal = ""
        self.told_draining = False

        self._identity = identity
        self._catalogue = catalogue
        self._in_use = in_use
        self._answer_bytes_max = answer_bytes_max
        self._answers = AnswerParser(answer_bytes_max)
        self._queue: deque[bytes] = deque()
        self._queue_max = 0
        self._unanswered = 0
        self._answer_by = 0.0  # while something is unanswered
        self._ping_at = 0.0
        self._failures = 0
        self._is_offence = False

    @property
    def is_complete(self) -> bool:
        """Whether everything there was to say is said and confirmed."""
        return self.state is State.PRESENT and not self._queue and not self._unanswered

    @property
    def next_at(self) -> float:
        """Return when `tick` is to be called, while connected."""
        return min(self._answer_by, self._ping_at) if self._unanswered else self._ping_at

    # Connection

    def connected(self, now: float) -> bytes:
        """Return the first bytes of a new connection."""
        assert self.state is State.AWAY
        self.state = State.IDENTIFYING
        self.error = None
        self._is_offence = False
        self._ping_at = now + self.timing.ping_s
        self._count_sent(1, now)
        identity = self._identity()
        self.told_draining = identity.draining is True
        return MAGIC + encode_identify(identity)

    def lost(self, random: float) -> float:
        """
        Forget a connection that ended, or could not be made.

        Args:
            random: 0 to 1; spreads the returns of many nodes.

        Returns:
            After how many seconds to try again.
        """
        timing = self.timing
        self.state = State.AWAY
        self.directory = None
        self._answers = AnswerParser(self._answer_bytes_max)
        self._queue.clear()
        self._unanswered = 0
        longest_s = timing.offence_s if self._is_offence else timing.retry_s
        step_s = min(timing.retry_first_s * 2.0 ** min(self._failures, 16), longest_s)
        self._failures += 1
        return step_s * (0.5 + random / 2)

    # Data

    def receive_data(self, data: bytes, now: float) -> bytes:
        """Take up answers; return what they make room for."""
        if self.error is not None:
            return b""
        for answer in self._answers.receive_data(data):
            if not self._take(answer, now):
                return b""
        if self._answers.error is not None:
            self._offended(str(self._answers.error))
        if self.is_complete:
            self._failures = 0
        return self.take_output(now)

    def tick(self, now: float) -> bytes:
        """
        Look after deadlines; return a ping if it is time for one.

        With a ping the topics in use are registered again: if somebody has deleted one there and
        not here, consumers would never hear of what is published to it. Else that says nothing.
        """
        if self._unanswered and now >= self._answer_by:
            self.error = f"no answer in {self.timing.answer_s:g} s"
        elif now >= self._ping_at:
            self._ping_at += self.timing.ping_s
            if self.state is State.PRESENT:
                self._queue.append(PING)
                self._register_all(self._in_use())
        return self.take_output(now)

    def take_output(self, now: float) -> bytes:
        """Return the commands that may be sent now; those behind wait for answers."""
        if self.error is not None:
            return b""
        count = min(UNANSWERED_MAX - self._unanswered, len(self._queue))
        if not count:
            return b""
        self._count_sent(count, now)
        return b"".join([self._queue.popleft() for _ in range(count)])

    # What the node has

    def register(self, topic: str, channel: str | None = None) -> None:
        """There is a new topic, or a new channel of it."""
        self._say(encode_register(topic, channel))

    def unregister(self, topic: str, channel: str | None = None) -> None:
        """A topic, or a channel of it, is gone."""
        self._say(encode_unregister(topic, channel))

    @property
    def _keeps_silent(self) -> bool:
        """Whether it would show a node that is to be hidden: it is told of no topic, then."""
        directory = self.directory
        return self.told_draining and directory is not None and directory.draining is not True

    def _say(self, command: bytes) -> None:
        if self.state is not State.PRESENT or self._keeps_silent:
            return  # the catalogue will be asked when it is
        self._queue.append(command)
        if len(self._queue) > self._queue_max:
            self.error = f"{len(self._queue)} changes behind"

    # Answers

    def _take(self, answer: bytes, now: float) -> bool:
        """Take up one answer; return whether the connection is still of use."""
        self._unanswered -= 1
        self._answer_by = now + self.timing.answer_s
        if self._unanswered < 0:
            self._offended("an answer to nothing")
        elif answer.startswith(b"E_") and self.state is State.IDENTIFYING:
            self._offended(answer[:200].decode(errors="replace"))
        elif answer.startswith(b"E_"):
            # It closes the connection if that was fatal. If not, there was no room for one topic,
            # which is no reason to take all others out.
            self.refusal = answer[:200].decode(errors="replace")
        elif self.state is State.IDENTIFYING:
            self._introduced(answer)
        return self.error is None

    def _introduced(self, answer: bytes) -> None:
        try:
            self.directory = decode_directory_info(answer)
        except ProtocolError as error:
            self._offended(str(error))
            return
        self.state = State.PRESENT
        self._register_all(self._catalogue())

    def _register_all(self, topics: Iterable[tuple[str, Iterable[str]]]) -> None:
        for topic, channels in () if self._keeps_silent else topics:
            # A channel's registration stands for its topic's.
            commands = [encode_register(topic, channel) for channel in channels]
            self._queue += commands or [encode_register(topic)]
        self._queue_max = len(self._queue) + BEHIND_MAX

    def _offended(self, error: str) -> None:
        self.error = error
        self._is_offence = True

    def _count_sent(self, count: int, now: float) -> None:
        if not self._unanswered:
            self._answer_by = now + self.timing.answer_s
        self._unanswered += count
