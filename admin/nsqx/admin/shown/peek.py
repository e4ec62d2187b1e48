"""
Looks into the logs of several nodes at once: which messages are shown, and how to go on. No channel
is touched.

Each node has its own log and its own numbers. A log is read page by page, forwards from a place or
backwards from one, until ``limit`` messages were found that are wanted or the budget is used up. Of
what was found at all nodes the oldest (or backwards the newest) ``limit`` are shown.

What each node says of itself is a promise: all messages from ``from`` on and before ``to`` that are
wanted are shown here. ``older`` and ``newer`` go on exactly there, so the pages of a walk in either
direction are the whole log, each message once.
"""

import asyncio
import heapq
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

import msgspec

from nsqx.admin.shown.log_places import LogPlaces, text_of_places
from nsqx.admin.shown.message_filter import Candidate, MessageFilter
from nsqx.admin.shown.message_rows import MessageRow, peeked_row
from nsqx.cluster.http import DaemonError, DaemonHttp, HangingError, StatusError
from nsqx.cluster.log_pages import (
    PAGE_MESSAGES_MAX,
    LogPages,
    MessagePage,
    PeekAnswer,
    PeekedMessage,
)

__all__ = ["PeekResult", "PeekedNode", "Peeker"]

SCAN_MESSAGES_MAX = 10_000
SCAN_SECONDS_MAX = 2.0
SHOWN_BYTES_MAX = 32 << 20  # of the bodies in an answer, of all nodes together


class PeekedNode(msgspec.Struct, rename={"from_": "from"}):
    """
    What one node had to say. ``error`` beside ``ok`` is what ended a search early.

    ``first`` and ``end`` are those of its log, ``from`` and ``to`` the part of it that this page is
    about, ``next`` and ``previous`` the numbers to go on from (None: there is nothing older).
    ``complete`` is false if the budget ended the search, not the log or the limit. ``failed`` is on
    how many of the ``scanned`` an expression could not be evaluated.
    """

    ok: bool
    error: str = ""
    first: int | None = None
    end: int | None = None
    from_: int | None = None
    to: int | None = None
    next: int | None = None
    previous: int | None = None
    complete: bool = True
    scanned: int = 0
    failed: int = 0


class PeekResult(msgspec.Struct):
    """
    The answer: messages by time, newest last.

    ``older`` and ``newer`` are places to go on at, for all nodes at once.
    """

    messages: list[MessageRow]
    nodes: dict[str, PeekedNode]
    older: str | None
    newer: str | None


@dataclass(slots=True)
class _Found:
    """The messages of one node, in the order of its log, and which part of it was looked at."""

    node: PeekedNode
    rows: list[tuple[int, MessageRow]] = field(default_factory=list)  # with their times in ns
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for, and when to stop."""

    topic: str
    limit: int
    wanted: MessageFilter
    bytes_max: int  # of the bodies found at this node
    is_full: bool
    is_backwards: bool
    deadline: float  # of time.monotonic()


class Peeker:
    """
    Asks nodes for messages of one topic.

    ``scan_messages_max`` and ``scan_s_max`` are for each node, and each time.
    """

    def __init__(
        self,
        http: DaemonHttp,
        topic: str,
        *,
        scan_messages_max: int = SCAN_MESSAGES_MAX,
        scan_s_max: float = SCAN_SECONDS_MAX,
    ) -> None:
        self._http = http
        self._topic = topic
        self._scan_messages_max = scan_messages_max
        self._scan_s_max = scan_s_max

    async def peek(
        self,
        addresses: Sequence[str],
        places: LogPlaces,
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
        searches = [
            _Search(
                self._topic,
                limit,
                wanted.twin(),
                SHOWN_BYTES_MAX // max(1, len(addresses)),
                is_full,
                places.is_backwards,
                time.monotonic() + self._scan_s_max,
            )
            for _ in addresses
        ]
        listed = await asyncio.gather(
            *(
                self._look(address, places, search)
                for address, search in zip(addresses, searches, strict=True)
            )
        )
        found = dict(zip(addresses, listed, strict=True))
        rows = _choose(found.values(), limit, is_backwards=places.is_backwards)
        for each in found.values():
            _tell_places(each)
        return PeekResult(
            rows,
            {address: each.node for address, each in found.items()},
            _older(found, places),
            _newer(found, places),
        )

    async def _look(self, address: str, places: LogPlaces, search: _Search) -> _Found:
        try:
            if self._http.hanging(address):
                raise HangingError(address, "it does not answer", "it does not answer")
            return await self._search(address, places, search)
        except DaemonError as exc:
            return _Found(PeekedNode(False, _readable(exc)))

    async def _search(self, address: str, places: LogPlaces, search: _Search) -> _Found:
        """Read page by page until enough was found, or the log or the budget ends."""
        pages = LogPages(lambda place, limit: self._ask(address, place, limit))
        found = _Found(PeekedNode(True))
        number, place = places.number_of(address), places.of(address)
        is_over = False
        while not is_over:
            lacking = search.limit - len(found.rows)
            page_limit = lacking if search.wanted.is_empty else PAGE_MESSAGES_MAX
            try:
                if search.is_backwards:
                    end = number if found.start is None else found.start
                    page = await pages.before(end, page_limit)
                else:
                    start = place if found.end is None else f"seq:{found.end}"
                    page = await pages.after(start, page_limit)
            except DaemonError as exc:
                if found.node.first is None:
                    raise
                # What was found until then is true; going on is for the next one who asks.
                found.node.error, found.node.complete = _readable(exc), False
                break
            # In a thread: expressions over a page take longer than others should wait.
            is_stopped = await asyncio.to_thread(_take, found, page, address, search)
            found.node.first, found.node.end = page.log_first, page.log_end
            is_at_end = page.is_oldest if search.is_backwards else page.is_newest
            is_enough = len(found.rows) >= search.limit
            is_used_up = found.node.scanned >= self._scan_messages_max
            is_over = is_stopped or is_at_end or is_enough or is_used_up
            is_over = is_over or page.end <= page.start or time.monotonic() > search.deadline
            found.node.complete = is_enough or (is_at_end and not is_stopped)
        found.node.failed = search.wanted.failed
        return found

    async def _ask(self, address: str, place: str, limit: int) -> PeekAnswer:
        query = urlencode({"topic": self._topic, "from": place, "limit": limit})
        return await self._http.ask(address, f"/topic/peek?{query}", PeekAnswer)


def _take(found: _Found, page: MessagePage, address: str, search: _Search) -> bool:
    """
    Add what is wanted of a page, and the part of the log that was looked at. Return whether it
    stopped within the page, because it is enough or the budget is used up.
    """
    found.start = page.end if found.start is None and search.is_backwards else found.start
    found.end = page.start if found.end is None and not search.is_backwards else found.end
    room = search.bytes_max - sum(len(row.body) for _, row in found.rows)
    chosen: list[tuple[int, MessageRow]] = []
    ordered = page.messages[::-1] if search.is_backwards else page.messages
    stopped_at: int | None = None
    for index, message in enumerate(ordered):
        is_enough = len(found.rows) + len(chosen) >= search.limit
        is_first = index == 0 and found.node.scanned == 0
        if is_enough or (not is_first and (room < 0 or time.monotonic() > search.deadline)):
            stopped_at = message.sequence
            break
        found.node.scanned += 1
        if search.wanted.lets_pass(_candidate(search.topic, address, message)):
            row = peeked_row(address, message, is_full=search.is_full)
            room -= len(row.body)
            chosen.append((message.timestamp, row))
    if search.is_backwards:
        found.rows = chosen[::-1] + found.rows
        found.start = page.start if stopped_at is None else stopped_at + 1
        found.end = page.end if found.end is None else found.end
    else:
        found.rows += chosen
        found.start = page.start if found.start is None else found.start
        found.end = page.end if stopped_at is None else stopped_at
    return stopped_at is not None


def _candidate(topic: str, address: str, message: PeekedMessage) -> Candidate:
    return Candidate(
        topic=topic,
        id=message.id,
        node=address,
        sequence=message.sequence,
        timestamp_ns=message.timestamp,
        attempts=None,
        body=message.body_bytes(),
    )


def _choose(found: Iterable[_Found], limit: int, *, is_backwards: bool) -> list[MessageRow]:
    """
    Return the rows to show, by time, and take back what each node has looked at but has no room.

    Logs are merged in their own order, whatever the times say: what is left out of one is then
    always its later end (or backwards its earlier one), where the next page goes on.
    """
    listed = list(found)
    logs = [
        [(at, index, row) for at, row in (reversed(each.rows) if is_backwards else each.rows)]
        for index, each in enumerate(listed)
    ]
    merged = heapq.merge(*logs, key=lambda each: -each[0] if is_backwards else each[0])
    shown: list[MessageRow] = []
    counts = [0] * len(listed)
    for _, (_, index, row) in zip(range(limit), merged, strict=False):
        shown.append(row)
        counts[index] += 1
    for each, count in zip(listed, counts, strict=True):
        _leave_out(each, count, is_backwards=is_backwards)
    return shown[::-1] if is_backwards else shown


def _leave_out(found: _Found, count: int, *, is_backwards: bool) -> None:
    """Narrow the part that was looked at to what ``count`` messages, from its beginning, fill."""
    if count == len(found.rows):
        return
    sequences = [row.sequence for _, row in found.rows]
    if is_backwards:
        left_out = sequences[len(sequences) - count - 1]
        found.start = None if left_out is None else left_out + 1
    else:
        found.end = sequences[count]


def _tell_places(found: _Found) -> None:
    node = found.node
    node.from_, node.to = found.start, found.end
    node.next = found.end
    if node.first is not None and found.start is not None and found.start > node.first:
        node.previous = found.start


def _older(found: dict[str, _Found], places: LogPlaces) -> str | None:
    """Return where all nodes go on backwards; None if each is at its oldest message."""
    is_over = all(
        each.node.previous is None if each.node.ok else places.number_of(address) is None
        for address, each in found.items()
    )
    if is_over:
        return None
    return text_of_places("before", _numbers(found, places, is_older=True))


def _newer(found: dict[str, _Found], places: LogPlaces) -> str | None:
    return text_of_places("after", _numbers(found, places, is_older=False))


def _numbers(
    found: dict[str, _Found], places: LogPlaces, *, is_older: bool
) -> Iterable[tuple[str, int]]:
    """Yield where each node goes on; one that gave no answer stays where it was."""
    for address, each in found.items():
        number = each.start if is_older else each.end
        if number is None:
            number = places.number_of(address)
        if number is not None:
            yield address, number


def _readable(error: DaemonError) -> str:
    if not isinstance(error, StatusError):
        return str(error)
    # A nsqd that does not know the path is none of ours.
    return "NOT_SUPPORTED" if error.code == "NOT_FOUND" else error.code or str(error)
