"""
A broker that knows NSQ's protocol and nothing of ours: one channel, one consumer.

Answers count as in Go's nsqd: a FIN of what is in flight on this connection, whichever delivery it
is meant for; anything else is refused. REQ, and time that is over, cost an attempt. Time is over
when a test says so (``expire``).
"""

import asyncio
from collections import deque

from nsqx.protocol.commands import Command, FinishRun, Nop, Ready, Requeue
from tests.support.scripted_nsqd import Peer, ScriptedNsqd

__all__ = ["PlainNsqd", "serving"]


class PlainNsqd:
    """
    Serves the next connection of a `ScriptedNsqd`.

    Attributes:
        attempts: how often each message was delivered, by id.
        refused: answers that were.
    """

    def __init__(self, count: int, msg_timeout_ms: int = 60_000) -> None:
        self.waiting = deque(range(1, count + 1))
        self.in_flight: set[int] = set()
        self.elsewhere: set[int] = set()  # delivered to somebody else
        self.attempts = dict.fromkeys(self.waiting, 0)
        self.finished: set[int] = set()
        self.refused = 0
        self.alive = False  # it has answered the heartbeat
        self._msg_timeout_ms = msg_timeout_ms
        self._ready = 0
        self._peer: Peer

    async def serve(self, nsqd: ScriptedNsqd) -> None:
        """Do what the consumer asks, until it leaves."""
        self._peer = await nsqd.accept()
        await self._peer.subscribe(msg_timeout=self._msg_timeout_ms)
        try:
            while True:
                self._execute(await self._peer.next())
        except EOFError:
            pass

    def expire(self, *, elsewhere: bool = False) -> None:
        """The time of all that is in flight is over; here or elsewhere it is delivered again."""
        late, self.in_flight = sorted(self.in_flight), set()
        if elsewhere:
            self.elsewhere.update(late)
        else:
            self.waiting.extend(late)
            self._deliver()

    def deliver(self, *ids: int) -> None:
        """Deliver these, for the first time or again."""
        self.waiting.extend(ids)
        self._deliver()

    def heartbeat(self) -> None:
        """Ask whether it is alive."""
        self._peer.heartbeat()

    def _execute(self, command: Command) -> None:
        match command:
            case Ready(count):
                self._ready = count
            case FinishRun(ids):
                self.finished.update(id for id in ids if self._take(id, b"FIN"))
            case Requeue(id, _):
                if self._take(id, b"REQ"):
                    self.waiting.append(id)
            case Nop():
                self.alive = True
            case _:
                pass
        self._deliver()

    def _take(self, id: int, command: bytes) -> bool:
        if id not in self.in_flight:
            self.refused += 1
            self._peer.error(
                b"E_%s_FAILED %s %016x failed ID not in flight" % (command, command, id)
            )
            return False
        self.in_flight.remove(id)
        return True

    def _deliver(self) -> None:
        while self.waiting and len(self.in_flight) < self._ready:
            id = self.waiting.popleft()
            self.in_flight.add(id)
            self.attempts[id] = self.attempts.get(id, 0) + 1
            self._peer.deliver(b"%d" % id, first_id=id, attempts=self.attempts[id])


def serving(broker: PlainNsqd, nsqd: ScriptedNsqd) -> asyncio.Task[None]:
    """Serve in a task of its own."""
    return asyncio.create_task(broker.serve(nsqd))
