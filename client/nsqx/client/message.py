"""A message as a consumer gets it, and the answers to it."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Protocol as Interface, TypeVar, overload

from nsqx.client.codecs import Codec, decode_body

__all__ = ["MakeMessage", "Message", "Origin", "Source"]

# Builds a message from timestamp in ns, attempts, id and body.
MakeMessage = Callable[[int, int, bytes, bytes], "Message"]


T = TypeVar("T")

_NS_PER_SECOND = 1_000_000_000


class Origin(NamedTuple):
    """Where a message came from: names, and the address of the nsqd. Empty: not by a consumer."""

    topic: str = ""
    channel: str = ""
    nsqd: str = ""


class Source(Interface):
    """Where a message came from, which takes the answers to it."""

    codec: Codec
    origin: "Origin"

    def finish(self, message: "Message") -> bool: ...
    def requeue(self, message: "Message", delay: float | None, backoff: bool) -> bool: ...
    def touch(self, message: "Message") -> bool: ...
    def is_open(self, message: "Message") -> bool: ...
    def give_back(self, message: "Message") -> None: ...
    def hold(self, message: "Message") -> None: ...
    def release(self, message: "Message") -> None: ...


class Message:
    """
    A message that nsqd delivered and waits to be answered.

    Answers are sent at the end of the present turn of the event loop; nsqd does not confirm them,
    so there is nothing to await. Only the first ``finish`` or ``requeue`` counts. They return
    whether they were sent: not if the message was answered before, or if its connection was lost;
    nsqd then delivers it again, to someone. One that comes too late is sent all the same, for nsqd
    takes it if it has delivered the message to the same connection again.

    ``async with message:`` finishes it, or requeues it if the block raises, and touches it as
    long as the block runs. An answer given inside the block stands.

    Attributes:
        body: what was published.
        id: 16 bytes; the same at every delivery of this message on this channel.
        attempts: how often it was delivered, 1 at first. Deliveries that nobody here began with
            do not count, if they were to this consumer or nsqd can tell.
        timestamp_ns: when nsqd accepted it, in nanoseconds since 1970.
        deadline: in event loop time; nsqd gives the message to someone else after that. 0 when it
            was answered.
    """

    __slots__ = ("_source", "attempts", "body", "deadline", "id", "timestamp_ns")

    def __init__(
        self, source: Source, timestamp_ns: int, attempts: int, id: bytes, body: bytes
    ) -> None:
        self._source = source
        # Annotated for whoever's type checker does not infer what a library leaves out.
        self.timestamp_ns: int = timestamp_ns
        self.attempts: int = attempts
        self.id: bytes = id
        self.body: bytes = body
        self.deadline: float = 0.0

    def finish(self) -> bool:
        """Done: nsqd forgets the message."""
        return self._source.finish(self)

    def requeue(self, delay: float | None = None, *, backoff: bool = True) -> bool:
        """
        Have it delivered again.

        Args:
            delay: seconds; None: the consumer's ``requeue_delay`` times ``attempts``.
            backoff: whether this counts as a failure for the consumer's backoff.
        """
        return self._source.requeue(self, delay, backoff)

    def touch(self) -> bool:
        """Ask for more time: another ``msg_timeout`` from now, up to a limit that nsqd sets."""
        return self._source.touch(self)

    @property
    def topic(self) -> str:
        return self._source.origin.topic

    @property
    def channel(self) -> str:
        return self._source.origin.channel

    @property
    def nsqd(self) -> str:
        """``host:port`` of the nsqd that delivered it."""
        return self._source.origin.nsqd

    @property
    def is_open(self) -> bool:
        """Whether it is still unanswered, and nobody else's."""
        return self._source.is_open(self)

    @property
    def age(self) -> float:
        """Seconds since nsqd accepted it, by this host's clock."""
        return time.time() - self.timestamp_ns / _NS_PER_SECOND

    @overload
    def decode(self, kind: type[T]) -> T: ...
    @overload
    def decode(self, kind: Any = ...) -> Any: ...
    def decode(self, kind: Any = Any) -> Any:
        """
        Return what the body holds, as a ``kind``, by the consumer's codec: JSON if none was set.

        ``bytes`` and ``str`` are the body itself. Where text and values may be (``str | None``,
        ``Any``), a body that reads as a value is one, and anything else is text.

        Raises:
            DecodeFailed: it is no ``kind``.
        """
        return decode_body(self.body, kind, self._source.codec)

    def give_back(self) -> None:
        """
        Return it to nsqd as if it had not been delivered: attempts and delay stay as they were.

        For who has taken it and will not begin with it. An nsqd that does not know this requeues it
        without delay, and counts the attempt.
        """
        self._source.give_back(self)

    async def __aenter__(self) -> "Message":
        self._source.hold(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:  # what `end` does, in fewer calls
            self._source.release(self)
            self._source.finish(self)
        else:
            self.end(error)

    def begin(self) -> None:
        """Enter the block of ``async with``: for who cannot write one."""
        self._source.hold(self)

    def end(self, error: BaseException | None = None) -> None:
        """Leave it: finish, or requeue because of ``error``, unless it was answered before."""
        self._source.release(self)
        if error is None:
            self.finish()
        else:
            # A cancelled block is not the message's fault: no delay, no backoff.
            is_failure = isinstance(error, Exception)
            self.requeue(None if is_failure else 0, backoff=is_failure)

    def __repr__(self) -> str:
        # Without the body: this is what gets into logs.
        id = self.id.decode(errors="replace")
        return f"<Message {id} attempts={self.attempts}, {len(self.body)} bytes>"
