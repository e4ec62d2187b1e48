"""
Log lines of handlers tell which message they are about. Needs structlog.

    nsq = Nsq(lookupd="127.0.0.1:4161", observers=[LogContext()])

While a handler runs, ``topic``, ``channel``, ``message_id`` and ``attempts`` are in structlog's
context variables. ``structlog.contextvars.merge_contextvars``, among the processors, puts them into
every line; among the ``foreign_pre_chain`` of structlog's ``ProcessorFormatter`` also into those of
the standard ``logging``, such as the client's own (logger ``nsqx.client``).
"""

from contextlib import AbstractContextManager

from structlog.contextvars import bound_contextvars

from nsqx.client import Message
from nsqx.client.observer import Observer

__all__ = ["LogContext"]


class LogContext(Observer):
    """An observer."""

    def handling(self, message: Message, topic: str, channel: str) -> AbstractContextManager[None]:
        return bound_contextvars(
            topic=topic,
            channel=channel,
            message_id=message.id.decode(errors="replace"),
            attempts=message.attempts,
        )
