"""
Live messages of a topic, read through an ephemeral channel of its own: it has no effect on others.

The viewer gets at most ``rate`` messages a second, in up to four portions; the rest is counted.
What comes much faster than that is not even read: nsqd then drops it, as ephemeral channels do.
Expressions are evaluated in a thread, for so long in each portion: what they have no time for is
counted with the rest.
"""

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from nsqx.admin.shown.message_filter import Candidate, MessageFilter
from nsqx.admin.shown.message_rows import MessageRow, message_row
from nsqx.client import Consumer, Message
from nsqx.client.settings import Settings
from nsqx.cluster.views import ClusterView
from nsqx.protocol.names import is_valid_name
from nsqx.runtime.http.queries import BadQueryError, parse_query

__all__ = ["Tail", "TailKey", "Tails"]

RATE_DEFAULT, RATE_MAX = 50, 200
PORTIONS_A_SECOND = 4
READ_PER_PORTION_MAX = 1000
TAILS_MAX = 100  # of all viewers: each is a connection to every node
EXPRESSION_S_MAX = 0.1  # in each portion
WAITING_BYTES_MAX = 1 << 20  # of bodies that a slow viewer has not taken


@dataclass(frozen=True, slots=True)
class TailKey:
    """What a viewer wants to see: ``tail:T?filter=abc&where=body.x&rate=50``."""

    topic: str
    filter: MessageFilter
    rate: int

    @classmethod
    def parse(cls, key: str) -> Self:
        """
        Read a subscription key.

        Raises:
            ValueError: it is none.
        """
        topic, _, query = key.removeprefix("tail:").partition("?")
        if not is_valid_name(topic):
            raise ValueError(f"no valid topic: {topic[:100]!r}")
        try:
            wanted = parse_query(query)
            rate = int(wanted.get("rate", RATE_DEFAULT))
        except (BadQueryError, ValueError) as exc:
            raise ValueError(f"the parameters of a tail are filter, where and rate: {exc}") from exc
        if not 1 <= rate <= RATE_MAX:
            raise ValueError(f"rate is 1 to {RATE_MAX}")
        wanted_filter = MessageFilter.parse(wanted.get("filter", ""), wanted.get("where", ""))
        return cls(topic, wanted_filter, rate)


class Tail:
    """
    One viewer's tail. ``notify`` is called when ``take`` has something.

    ``expression_s_max`` is for how long expressions are evaluated in each portion.
    """

    def __init__(
        self,
        wanted: TailKey,
        consumer: Consumer,
        notify: Callable[[], None],
        *,
        expression_s_max: float = EXPRESSION_S_MAX,
    ) -> None:
        self._wanted = wanted
        self._expression_s_max = self._expression_s_left = expression_s_max
        self._consumer = consumer
        self._notify = notify
        self._rows: list[MessageRow] = []
        self._waiting_bytes = 0
        self._seen = self._dropped = self._sequence = 0
        self._room, self._refilled_at = float(wanted.rate), time.monotonic()
        self._has_news = True  # the first portion says that it runs
        self._task = asyncio.create_task(self._run(), name=f"tail {wanted.topic}")

    def take(self) -> dict[str, Any] | None:
        """Return the next portion, or None."""
        if not self._has_news:
            return None
        self._has_news = False
        rows, self._rows, self._waiting_bytes = self._rows, [], 0
        self._sequence += 1
        return {
            "t": time.time(),
            "seq": self._sequence,
            "messages": rows,
            "dropped": self._dropped,
            "seen": self._seen,
            "failed": self._wanted.filter.failed,
        }

    async def close(self) -> None:
        """Leave the channel, which vanishes with that."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def is_open(self) -> bool:
        return not self._task.done()

    async def _run(self) -> None:
        async with self._consumer as consumer:
            window_ends, read = 0.0, 0
            async for batch in consumer.batches(max=100, wait=0.02):
                now = time.monotonic()
                if now >= window_ends:
                    window_ends, read = now + 1 / PORTIONS_A_SECOND, 0
                    self._expression_s_left = self._expression_s_max
                self._refill(now)
                for message in batch:
                    message.finish()
                self._seen += len(batch)
                for message in await self._wanted_of(batch):
                    self._take_in(message)
                read += len(batch)
                self._tell(window_ends - now)
                if read >= READ_PER_PORTION_MAX:
                    await asyncio.sleep(max(0.0, window_ends - time.monotonic()))

    def _refill(self, now: float) -> None:
        """A bucket of one second's worth: a burst is shown up to the rate."""
        room = self._room + (now - self._refilled_at) * self._wanted.rate
        self._room, self._refilled_at = min(room, float(self._wanted.rate)), now

    async def _wanted_of(self, batch: Sequence[Message]) -> list[Message]:
        """Return those that the filter lets pass; count those that there was no time for."""
        if not self._wanted.filter.is_expression:
            return self._filtered(batch, math.inf)[0]
        began = time.monotonic()
        passing, left_out = await asyncio.to_thread(
            self._filtered, batch, began + self._expression_s_left
        )
        self._expression_s_left -= time.monotonic() - began
        self._dropped += left_out
        return passing

    def _filtered(self, batch: Sequence[Message], until: float) -> tuple[list[Message], int]:
        """Return what passes, and how many were not looked at."""
        passing: list[Message] = []
        for index, message in enumerate(batch):
            if time.monotonic() >= until:
                return passing, len(batch) - index
            if self._wanted.filter.lets_pass(_candidate(self._wanted.topic, message)):
                passing.append(message)
        return passing, 0

    def _take_in(self, message: Message) -> None:
        """Keep a message that is wanted if there is room."""
        if self._room < 1 or self._waiting_bytes > WAITING_BYTES_MAX:
            self._dropped += 1
            return
        self._room -= 1
        row = message_row(
            message.body,
            id=message.id.decode("ascii", "replace"),
            timestamp_ns=message.timestamp_ns,
            attempts=message.attempts,
        )
        self._waiting_bytes += len(row.body)
        self._rows.append(row)

    def _tell(self, delay_s: float) -> None:
        """Have the portion sent when its time is over."""
        if not self._has_news:
            self._has_news = True
            asyncio.get_running_loop().call_later(max(0.0, delay_s), self._notify)


def _candidate(topic: str, message: Message) -> Candidate:
    return Candidate(
        topic=topic,
        id=message.id.decode("ascii", "replace"),
        node="",
        sequence=None,
        timestamp_ns=message.timestamp_ns,
        attempts=message.attempts,
        body=message.body,
    )


class Tails:
    """
    Opens tails.

    Args:
        view: the cluster as it is known now.
        lookupds: HTTP addresses; empty if nsqds were given.
        settings: of connections to nsqds.
    """

    def __init__(
        self, view: Callable[[], ClusterView], lookupds: Sequence[str], settings: Settings
    ) -> None:
        self._settings = settings
        self._view = view
        self._lookupds = lookupds
        self._tails: list[Tail] = []

    def open(self, wanted: TailKey, notify: Callable[[], None]) -> Tail:
        """
        Begin to read.

        Raises:
            ValueError: no node has the topic, or there are too many tails.
        """
        self._tails = [tail for tail in self._tails if tail.is_open]
        if len(self._tails) >= TAILS_MAX:
            raise ValueError(f"{TAILS_MAX} tails are open already")
        channel = f"admin-tail-{secrets.token_hex(4)}#ephemeral"
        # Nodes that are known to have it are consumed at once. One that does not have the topic is
        # left alone: subscribing there would create it.
        nodes = [node.tcp_address for node in self._view().nodes_with(wanted.topic)]
        if not nodes and not self._lookupds:
            raise ValueError(f"no node has the topic {wanted.topic}")
        consumer = Consumer(
            wanted.topic,
            channel,
            nsqd=[address for address in nodes if address],
            lookupd=list(self._lookupds),
            max_in_flight=200,
            settings=self._settings,
            drain_timeout=1.0,
        )
        tail = Tail(wanted, consumer, notify)
        self._tails.append(tail)
        return tail
