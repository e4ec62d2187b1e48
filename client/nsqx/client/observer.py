"""What may watch a client at work: metrics, log context, traces."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from nsqx.client.message import Message

if TYPE_CHECKING:
    from nsqx.client.consumer import Consumer

__all__ = ["Observer"]


class Observer:
    """
    Is told what an ``Nsq`` does. Override what is of interest; the rest does nothing.

    The context managers see the error if what they wrap fails, and must let it pass.
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
