"""
Reads the log of a topic on one node page by page, forwards and backwards, by ``/topic/peek``.

Pages that follow each other leave nothing out and show nothing twice: each says which numbers it
is about, and the next one begins there. Going on is by the numbers of the messages that came, not
by the ``next`` of the answer, which in some versions was beyond messages that had no room.

An answer ends after a mebibyte, at its newer end. So what reads backwards asks for fewer messages
until all of them have room: the newest of long bodies are the newest.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

__all__ = ["PAGE_MESSAGES_MAX", "LogPages", "MessagePage", "PeekAnswer", "PeekedMessage"]

PAGE_MESSAGES_MAX = 1000  # what nsqd gives at once
WINDOW_BYTES_MAX = 4 << 20  # of bodies that are read before they are known to be of this page


class PeekedMessage(msgspec.Struct):
    """A message in nsqd's ``/topic/peek``."""

    sequence: int
    id: str
    timestamp: int
    body: str | None = None
    body_base64: str | None = None

    def body_bytes(self) -> bytes:
        if self.body is not None:
            return self.body.encode("utf-8", "surrogatepass")
        try:
            return base64.b64decode(self.body_base64 or "")
        except binascii.Error:
            return b""


class PeekAnswer(msgspec.Struct):
    """nsqd's ``/topic/peek``: ``first`` and ``end`` are those of the log."""

    first: int
    end: int
    next: int
    messages: list[PeekedMessage]
    previous: int | None = None  # all from there up to ``next`` are here; older versions lack it


Ask = Callable[[str, int], Awaitable[PeekAnswer]]


@dataclass(frozen=True, slots=True)
class MessagePage:
    """
    The messages from number ``start`` on and before number ``end``: all that are kept of them.

    Attributes:
        log_first: the oldest message that is kept of all.
        log_end: the number that the next message gets.
    """

    start: int
    end: int
    messages: list[PeekedMessage]
    log_first: int
    log_end: int

    @property
    def is_oldest(self) -> bool:
        return self.start <= self.log_first

    @property
    def is_newest(self) -> bool:
        return self.end >= self.log_end


class LogPages:
    """
    Pages of one log.

    Args:
        ask: has nsqd answer for a place (docs/http-api.md) and a limit; what it raises goes on.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._width = PAGE_MESSAGES_MAX  # how many messages had room lately, backwards

    async def after(self, place: str, limit: int) -> MessagePage:
        """Return up to ``limit`` messages from a place on; fewer when their bodies are long."""
        answer = await self._ask(place, min(limit, PAGE_MESSAGES_MAX))
        start = _start(place, answer)
        end = max(start, _read_up_to(answer))
        return MessagePage(start, end, answer.messages, answer.first, answer.end)

    async def before(self, end: int | None, limit: int) -> MessagePage:
        """
        Return the last ``limit`` messages before a number, or of all; fewer when bodies are long.
        """
        if end is None:
            width = min(limit, PAGE_MESSAGES_MAX)
            answer = await self._ask("end", width)
            end = answer.end
            if _read_up_to(answer) >= end or answer.previous is not None:
                oldest = answer.previous if answer.previous is not None else end - width
                start = max(answer.first, oldest)
                return MessagePage(start, end, answer.messages, answer.first, end)
            self._width = max(1, min(len(answer.messages), width // 2))
        while True:
            width = min(limit, self._width)
            page, is_whole = await self._window(max(0, end - width), end)
            if page.log_end < end:  # another topic of this name, made anew
                end = page.log_end
            elif is_whole:
                self._width = min(2 * self._width, PAGE_MESSAGES_MAX)
                return page
            else:
                self._width = max(1, min(len(page.messages), width // 2))

    async def _window(self, start: int, end: int) -> tuple[MessagePage, bool]:
        """Return the messages of a range, and whether it has been read to its end."""
        messages: list[PeekedMessage] = []
        size, reached = 0, start
        while True:
            answer = await self._ask(f"seq:{reached}", max(1, end - reached))
            messages += (each for each in answer.messages if each.sequence < end)
            size += sum(len(each.body or each.body_base64 or "") for each in answer.messages)
            before, reached = reached, _read_up_to(answer)
            is_whole = reached >= min(end, answer.end)
            # One message has room whatever its size; and who makes no progress never will.
            if is_whole or end - start == 1 or reached <= before or size > WINDOW_BYTES_MAX:
                break
        end = min(end, max(answer.end, start))
        start = min(max(start, answer.first), end)
        is_done = is_whole or end - start <= 1 or reached <= before
        return MessagePage(start, end, messages, answer.first, answer.end), is_done


def _start(place: str, answer: PeekAnswer) -> int:
    kind, _, value = place.partition(":")
    if kind == "start":
        return answer.first
    if kind == "seq":
        return min(max(int(value), answer.first), answer.end)
    return answer.messages[0].sequence if answer.messages else min(answer.next, answer.end)


def _read_up_to(answer: PeekAnswer) -> int:
    """Return the number behind the last message; without any it is the node's word."""
    return answer.messages[-1].sequence + 1 if answer.messages else answer.next
