"""What may watch a client at work: metrics, log context, traces."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from nsqx.client.message import Message

if TYPE_CHECKING:
    from nsqx.client.consumer import Consumer

__all__ = ["Observer", "telling", "watched"]

_log = logging.getLogger("nsqx.client")


class Observer:
    """
    Is told what an ``Nsq`` does. Override what is of interest; the rest does nothing.

    The context managers see the error if what they wrap fails; whatever they do, it passes. What an
    observer raises is logged, and changes nothing else.
    """

    def publishing(self, topic: str) -> AbstractContextManager[object]:
        """Wrap ``publish`` and ``publish_many`` from the call to the confirmation."""
        return nullcontext()

    def published(self, topic: str, messages: int) -> None:
        """So many messages were confirmed; called within ``publishing``."""

    def handling(
        self, message: Message, topic: str, channel: str
    ) -> AbstractContextManager[object]:
        """Wrap one call of a handler."""
        return nullcontext()

    def consumer_opened(self, consumer: "Consumer") -> None:
        """A consumer begins: that of a handler, or one made by ``consume``."""

    def consumer_closed(self, consumer: "Consumer") -> None:
        """It has ended; its ``stats`` are final."""


@contextmanager
def watched(
    observers: Iterable[Observer], watch: Callable[[Observer], AbstractContextManager[object]]
) -> Iterator[None]:
    """Enter what ``watch`` returns for each observer, and leave it when the block is over."""
    watches: list[tuple[Observer, AbstractContextManager[object]]] = []
    for observer in observers:
        with telling(observer):
            context = watch(observer)
            context.__enter__()
            watches.append((observer, context))
    try:
        yield
    except BaseException as exc:
        for observer, context in reversed(watches):
            with telling(observer, exc):
                context.__exit__(type(exc), exc, exc.__traceback__)
        raise
    for observer, context in reversed(watches):
        with telling(observer):
            context.__exit__(None, None, None)


@contextmanager
def telling(observer: Observer, passing: BaseException | None = None) -> Iterator[None]:
    """Log what an observer raises, except for an error that it only lets pass."""
    try:
        yield
    except Exception as exc:
        if exc is not passing:
            _log.exception("an observer failed, %r; what it observes goes on", observer)
