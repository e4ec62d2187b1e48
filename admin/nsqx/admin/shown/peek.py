"""
Looks into the logs of several nodes at once: which messages are shown, and how to go on. No channel
is touched.

Each node has its own log and its own numbers. Without a filter each node gives up to ``limit``
messages, and the oldest (or, from the end, the newest) ``limit`` of all are shown. With a filter a
node's log is read page by page, until enough was found or the budget is used up.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode

import msgspec

from nsqx.admin.known.upstream import HangingError, StatusError, Upstream, UpstreamError
from nsqx.admin.shown.message_filter import Candidate, MessageFilter
from nsqx.admin.shown.message_rows import MessageRow, PeekAnswer, PeekedMessage, peeked_row

__all__ = ["PeekResult", "PeekedNode", "Peeker"]

PAGE_MESSAGES = 1000
SCAN_MESSAGES_MAX = 10_000
SCAN_SECONDS_MAX = 2.0


class PeekedNode(msgspec.Struct):
    """
    What one node had to say. ``next`` and ``previous`` are numbers to go on from; ``failed`` is on
    how many of the ``scanned`` an expression could not be evaluated.
    """

    ok: bool
    error: str = ""
    first: int | None = None
    end: int | None = None
    next: int | None = None
    previous: int | None = None
    complete: bool = True
    scanned: int = 0
    failed: int = 0


class PeekResult(msgspec.Struct):
    """The answer: messages by time, newest last."""

    messages: list[MessageRow]
    nodes: dict[str, PeekedNode]


@dataclass(slots=True)
class _Found:
    """The messages of one node, in the order of its log."""

    address: str
    node: PeekedNode
    messages: list[PeekedMessage] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Page:
    """What is wanted of a page that was read."""

    messages: list[PeekedMessage]
    looked_at: int
    next: int


class Peeker:
    """Asks nodes for messages of one topic."""

    def __init__(self, upstream: Upstream, topic: str) -> None:
        self._upstream = upstream
        self._topic = topic

    async def peek(
        self,
        addresses: Iterable[str],
        place: str,
        limit: int,
        wanted: MessageFilter,
        *,
        is_full: bool,
    ) -> PeekResult:
        """
        Return up to ``limit`` messages from a place in each log.

        Args:
            wanted: which messages.
            is_full: whether long bodies are given whole.
        """
        found = await asyncio.gather(
            *(self._look(address, place, limit, wanted) for address in addresses)
        )
        shown = _choose(found, limit, from_end=place == "end")
        rows = [peeked_row(address, message, is_full=is_full) for address, message in shown]
        return PeekResult(rows, {each.address: each.node for each in found})

    async def _look(self, address: str, place: str, limit: int, wanted: MessageFilter) -> _Found:
        try:
            if self._upstream.hanging(address):
                raise HangingError("it does not answer")
            if not wanted.is_empty:
                return await self._scan(address, place, limit, wanted.twin())
            answer = await self._ask(address, place, limit)
        except UpstreamError as exc:
            return _Found(address, PeekedNode(False, _readable(exc)))
        node = PeekedNode(
            True, "", answer.first, answer.end, answer.next, scanned=len(answer.messages)
        )
        return _Found(address, node, answer.messages)

    async def _scan(self, address: str, place: str, limit: int, wanted: MessageFilter) -> _Found:
        """Read page by page. From the end: the last ones that are found within the budget."""
        from_end = place == "end"
        if from_end:
            latest = await self._ask(address, "end", 1)
            place = f"seq:{max(latest.first, latest.end - SCAN_MESSAGES_MAX)}"
        deadline = time.monotonic() + SCAN_SECONDS_MAX
        found: list[PeekedMessage] = []
        scanned = 0
        while True:
            answer = await self._ask(address, place, PAGE_MESSAGES)
            # In a thread: expressions over a page take longer than others should wait.
            page = await asyncio.to_thread(self._choose, address, answer, wanted, deadline)
            found += page.messages
            scanned += page.looked_at
            is_at_end = page.next >= answer.end or not answer.messages
            is_enough = not from_end and len(found) >= limit
            if is_at_end or is_enough or scanned >= SCAN_MESSAGES_MAX:
                break
            if time.monotonic() > deadline:
                break
            place = f"seq:{page.next}"
        node = PeekedNode(
            True,
            "",
            answer.first,
            answer.end,
            page.next,
            complete=is_at_end or is_enough,
            scanned=scanned,
            failed=wanted.failed,
        )
        return _Found(address, node, found)

    def _choose(
        self, address: str, answer: PeekAnswer, wanted: MessageFilter, deadline: float
    ) -> "_Page":
        """Return what is wanted of a page, or of its beginning if the time is over."""
        chosen: list[PeekedMessage] = []
        for index, message in enumerate(answer.messages):
            if index and time.monotonic() > deadline:
                return _Page(chosen, index, message.sequence)
            candidate = Candidate(
                topic=self._topic,
                id=message.id,
                node=address,
                sequence=message.sequence,
                timestamp_ns=message.timestamp,
                attempts=None,
                body=message.body_bytes(),
            )
            if wanted.lets_pass(candidate):
                chosen.append(message)
        return _Page(chosen, len(answer.messages), answer.next)

    async def _ask(self, address: str, place: str, limit: int) -> PeekAnswer:
        query = urlencode({"topic": self._topic, "from": place, "limit": limit})
        return await self._upstream.ask(address, f"/topic/peek?{query}", PeekAnswer)


def _choose(
    found: Iterable[_Found], limit: int, *, from_end: bool
) -> list[tuple[str, PeekedMessage]]:
    """Return the messages to show, by time, and set where each node goes on."""
    listed = list(found)
    together = sorted(
        ((each.address, message) for each in listed for message in each.messages),
        key=lambda pair: pair[1].timestamp,
    )
    shown = together[-limit:] if from_end else together[:limit]
    shown_by_node: dict[str, set[int]] = {}
    for address, message in shown:
        shown_by_node.setdefault(address, set()).add(message.sequence)
    for each in listed:
        _set_places(each, shown_by_node.get(each.address, set()), limit, from_end=from_end)
    return shown


def _set_places(found: _Found, shown: set[int], limit: int, *, from_end: bool) -> None:
    node = found.node
    if not node.ok or node.first is None:
        return
    left_out = [each.sequence for each in found.messages if each.sequence not in shown]
    if not from_end and left_out:
        node.next = left_out[0]  # later than all that are shown of this node
    going_on = node.next if node.next is not None else node.first
    earliest = min(shown, default=going_on)
    if earliest > node.first:
        node.previous = max(node.first, earliest - limit)


def _readable(error: UpstreamError) -> str:
    if not isinstance(error, StatusError):
        return str(error)
    # A nsqd that does not know the path is none of ours.
    return "NOT_SUPPORTED" if error.code == "NOT_FOUND" else error.code or str(error)
