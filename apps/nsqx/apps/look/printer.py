"""Writes messages to stdout, and finishes what is written."""

import asyncio
import os
import sys
from collections.abc import Callable
from functools import partial

from nsqx.apps.blocking import in_thread
from nsqx.apps.terminal import for_terminal
from nsqx.client.message import Message
from nsqx.protocol.errors import NsqxError

__all__ = ["Enough", "Format", "Printer", "format_body", "format_with_topic"]

DRAIN_SECONDS = 1.0  # what is not printed by then will be delivered again

Format = Callable[[str, Message], bytes]


class Enough(NsqxError):
    """As many messages were printed as were asked for."""


class Printer:
    """
    Writes messages to stdout. A message is finished when it is written.

    A file or a pipe gets the bytes as they are, a terminal what can do nothing to it.

    Printers that write at the same time share ``writing``, so that their lines do not mix.
    """

    def __init__(
        self, format_message: Format, count: int | None, writing: asyncio.Lock | None = None
    ) -> None:
        self._format = format_message
        self._left = count  # None: no limit
        self._descriptor = sys.stdout.fileno()
        self._is_terminal = os.isatty(self._descriptor)
        self._writing = writing or asyncio.Lock()

    async def print(self, topic: str, messages: list[Message]) -> None:
        """
        Write a batch and finish it; give back what is too much.

        Raises:
            Enough: that was the last.
            OSError: nobody reads what we write.
        """
        try:
            async with self._writing:
                await self._print(topic, messages)
        finally:
            # All that is not finished; for the others this does nothing.
            for message in messages:
                message.requeue(0, backoff=False)

    async def _print(self, topic: str, messages: list[Message]) -> None:
        wanted = messages if self._left is None else messages[: self._left]
        data = b"".join(self._format(topic, message) for message in wanted)
        if self._is_terminal:
            data = for_terminal(data)
        writing = asyncio.ensure_future(in_thread(partial(_write_all, self._descriptor, data)))
        try:
            await asyncio.wait((writing,))
        finally:
            # When a signal ends us in the middle of it: what is out should not come again.
            await asyncio.wait((writing,), timeout=DRAIN_SECONDS)
            if writing.done() and writing.exception() is None:
                for message in wanted:
                    message.finish()
        writing.result()
        if self._left is not None:
            self._left -= len(wanted)
            if self._left == 0:
                raise Enough


def _write_all(descriptor: int, data: bytes) -> None:
    # Not through sys.stdout, whose lock a thread that is blocked here would hold at the exit.
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def format_body(_topic: str, message: Message) -> bytes:
    return message.body + b"\n"


def format_with_topic(topic: str, message: Message) -> bytes:
    return b"%s | %s\n" % (topic.encode(), message.body)
