"""A message as FastStream hands it out, and how it is made."""

from typing import Any

from faststream.message import StreamMessage, decode_message

from nsqx.client import Message

__all__ = ["NsqMessage", "decode", "parse"]


class NsqMessage(StreamMessage[Message]):
    """FastStream's words for the answers of NSQ. Only the first answer counts."""

    async def ack(self) -> None:
        """Finish it."""
        self.raw_message.finish()
        await super().ack()

    async def nack(self, delay: float | None = None) -> None:
        """Requeue it, after so many seconds; None: the subscriber's ``requeue_delay``."""
        self.raw_message.requeue(delay)
        await super().nack()

    async def reject(self) -> None:
        """Finish it: NSQ has no place for what was refused."""
        self.raw_message.finish()
        await super().reject()


async def parse(message: Message) -> NsqMessage:
    """Make FastStream's message."""
    message_id = message.id.decode(errors="replace")
    return NsqMessage(
        raw_message=message,
        body=message.body,
        headers={"attempts": message.attempts},
        message_id=message_id,
        correlation_id=message_id,
    )


async def decode(message: StreamMessage[Message]) -> Any:
    """Return what the body holds: JSON, or bytes if it is none."""
    return decode_message(message)
