"""
Connections between hosts in simulated time.

Theory of operation. A connection is two `End`s. What is sent on one arrives at the other after the
latency of the moment, in order, while different connections overtake each other. What can not
arrive waits: across a partition, at a process that is stopped, at one that does not read. So
senders notice by `unsent_bytes` and by silence, as with TCP.

A process that is killed closes its ends, and the other side learns it. A host that loses power
does not: its peers learn it when they send something after it is back.
"""

import random
from collections.abc import Callable
from typing import Protocol

from tests.simulation.scheduler import MILLISECOND_NS, SECOND_NS, Scheduler

__all__ = ["End", "Handler", "Network"]

LATENCY_NS = (100_000, 3 * MILLISECOND_NS)
SLOW_FACTOR = 200
CONNECT_TIMEOUT_NS = 5 * SECOND_NS
BUFFER_BYTES_MAX = 64 * 1024  # beyond this, the sender is told to stop
PIECES = 0.05  # the part of arrivals that comes in two pieces


class Handler(Protocol):
    """What an end tells its owner."""

    def received(self, data: bytes) -> None: ...

    def ended(self) -> None:
        """The other side sends nothing more."""

    def lost(self) -> None:
        """The connection is gone; nothing follows."""

    def set_writable(self, is_writable: bool) -> None:
        """The buffer is full, or has room again."""


Accept = Callable[["End"], Handler]
Connected = Callable[["End | None"], Handler | None]


class End:
    """One side of a connection."""

    def __init__(self, network: "Network", host: str, peer_host: str, number: int) -> None:
        self.host = host
        self.peer_host = peer_host
        self.number = number
        self.is_open = True
        self.peer: End
        self.handler: Handler
        self._network = network
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._is_moving = False  # an arrival is planned
        self._is_ending = False
        self._is_full = False
        self._is_reading = True

    @property
    def unsent_bytes(self) -> int:
        """Return how much the other side has yet to take."""
        return self._queued_bytes

    def send(self, data: bytes) -> None:
        """Send; what is sent on a closed end is gone."""
        if not self.is_open or self._is_ending or not data:
            return
        self._queue.append(data)
        self._queued_bytes += len(data)
        if self._queued_bytes > BUFFER_BYTES_MAX and not self._is_full:
            self._is_full = True
            self.handler.set_writable(False)
        self.move()

    def close(self) -> None:
        """Send what is left, then end."""
        if self.is_open:
            self._is_ending = True
            self.move()

    def abort(self) -> None:
        """End at once; the other side is told."""
        if self.is_open:
            self._drop()
            self._network.later(self, self._tell_reset)

    def _tell_reset(self) -> None:
        if self._network.can_pass(self.host, self.peer_host):
            self.peer.reset()

    def vanish(self) -> None:
        """End without a word: the host lost power."""
        self._drop()

    def reset(self) -> None:
        """The other side has ended this connection."""
        if self.is_open:
            self._drop()
            self.handler.lost()

    def set_reading(self, is_reading: bool) -> None:
        """Take what arrives, or let it wait."""
        self._is_reading = is_reading
        if is_reading:
            self.peer.move()

    def move(self) -> None:
        """Plan the arrival of what waits."""
        if not self._is_moving and (self._queue or self._is_ending):
            self._is_moving = True
            self._network.later(self, self._arrive)

    def _drop(self) -> None:
        self.is_open = False
        self._queue.clear()
        self._queued_bytes = 0
        self._network.forget(self)

    def _arrive(self) -> None:
        self._is_moving = False
        if not self.is_open or not self._network.can_pass(self.host, self.peer_host):
            return  # the network moves it on when it can pass
        if not self.peer.is_open:
            self._network.later(self.peer, self.reset)
            return
        if not self.peer._is_reading:
            return
        data = b"".join(self._queue)
        self._queue.clear()
        if len(data) > 1 and self._network.chance.random() < PIECES:
            cut = self._network.chance.randrange(1, len(data))
            self._queue.append(data[cut:])
            data = data[:cut]
        self._queued_bytes -= len(data)
        if data:
            self.peer.handler.received(data)
        self._arrived()

    def _arrived(self) -> None:
        if not self.is_open:
            return
        if self._is_full and self._queued_bytes < BUFFER_BYTES_MAX // 2:
            self._is_full = False
            self.handler.set_writable(True)
        if self._queue:
            self.move()
        elif self._is_ending:
            peer = self.peer
            self._drop()
            if peer.is_open:
                peer.handler.ended()


class Network:
    """
    Hosts, and what separates them.

    A host is reachable while it has power. While it runs it accepts connections; while it is
    stopped, what is sent to it waits.
    """

    def __init__(self, scheduler: Scheduler, chance: random.Random) -> None:
        self.chance = chance
        self._scheduler = scheduler
        self._ends: dict[End, None] = {}
        self._accepts: dict[str, Accept] = {}
        self._powerless: set[str] = set()
        self._stopped: set[str] = set()
        self._cuts: set[frozenset[str]] = set()
        self._slow: set[str] = set()
        self._connections = 0

    # Hosts

    def listen(self, host: str, accept: Accept) -> None:
        """Accept connections from now on."""
        self._accepts[host] = accept
        self._powerless.discard(host)
        self._stopped.discard(host)
        self._move_all()

    def kill(self, host: str) -> None:
        """The process is gone; its peers are told."""
        self._accepts.pop(host, None)
        self._stopped.discard(host)
        for end in self._ends_of(host):
            end.abort()

    def lose_power(self, host: str) -> None:
        """The host is gone; nobody is told."""
        self._accepts.pop(host, None)
        self._stopped.discard(host)
        self._powerless.add(host)
        for end in self._ends_of(host):
            end.vanish()

    def stop(self, host: str) -> None:
        """The process does nothing; what is sent to it waits."""
        self._stopped.add(host)

    def resume(self, host: str) -> None:
        """The process goes on."""
        self._stopped.discard(host)
        self._move_all()

    # Links

    def cut(self, one: str, other: str) -> None:
        """Nothing passes between two hosts."""
        self._cuts.add(frozenset((one, other)))

    def heal(self, one: str, other: str) -> None:
        """It passes again."""
        self._cuts.discard(frozenset((one, other)))
        self._move_all()

    def heal_all(self) -> None:
        """All links are as they should be."""
        self._cuts.clear()
        self._slow.clear()
        self._move_all()

    def slow(self, host: str, is_slow: bool) -> None:
        """What is sent to or from a host takes very long, or no longer so."""
        (self._slow.add if is_slow else self._slow.discard)(host)

    def reset_some(self, host: str, part: float) -> None:
        """Connections of a host break."""
        for end in self._ends_of(host):
            if self.chance.random() < part:
                end.peer.reset()
                end.reset()

    def forget_some(self, host: str, part: float) -> None:
        """Connections of a host are forgotten on the other side, which is not told."""
        for end in self._ends_of(host):
            if self.chance.random() < part:
                end.peer.vanish()
                end.peer.handler.lost()

    def can_pass(self, one: str, other: str) -> bool:
        """Return whether something sent now arrives."""
        return (
            other not in self._powerless
            and other not in self._stopped
            and frozenset((one, other)) not in self._cuts
        )

    # Connections

    def connect(self, host: str, to: str, connected: Connected) -> None:
        """Connect, and call ``connected`` with the end, or with None if that failed."""

        def arrive() -> None:
            if not self.can_pass(host, to):
                self._scheduler.after(CONNECT_TIMEOUT_NS, lambda: _refuse(connected))
            elif (accept := self._accepts.get(to)) is None:
                self._scheduler.after(self.latency_ns(host, to), lambda: _refuse(connected))
            else:
                self._establish(host, to, accept, connected)

        self._scheduler.after(self.latency_ns(host, to), arrive)

    def _establish(self, host: str, to: str, accept: Accept, connected: Connected) -> None:
        self._connections += 1
        near = End(self, host, to, self._connections)
        far = End(self, to, host, self._connections)
        near.peer, far.peer = far, near
        handler = connected(near)
        if handler is None:  # it has thought better of it
            return
        near.handler = handler
        self._ends[near] = self._ends[far] = None
        far.handler = accept(far)

    def later(self, end: End, call: Callable[[], None]) -> None:
        """Call when something sent now from an end arrives."""
        self._scheduler.after(self.latency_ns(end.host, end.peer_host), call)

    def latency_ns(self, one: str, other: str) -> int:
        """Return how long something takes now."""
        latency_ns = self.chance.randrange(*LATENCY_NS)
        return latency_ns * SLOW_FACTOR if one in self._slow or other in self._slow else latency_ns

    def forget(self, end: End) -> None:
        """An end was closed."""
        self._ends.pop(end, None)

    def _ends_of(self, host: str) -> list[End]:
        return [end for end in self._ends if end.host == host]

    def _move_all(self) -> None:
        for end in list(self._ends):
            end.move()


def _refuse(connected: Connected) -> None:
    connected(None)
