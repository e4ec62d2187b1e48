"""
What a node does without being asked, and when: one clock for the daemon and the simulator.

    Broker.tick      when something is due; some twenty times a second at most
    Clients.tick     when a heartbeat or a deadline of a connection is due; likewise
    Broker.upkeep    once a second
    Broker.sync      each ``sync_timeout``

Whoever owns it calls `run` at `next_ns`, and asks for that again when `run` is over and when
`BrokerEvents.sooner` or `Timers.on_sooner` said so. A node without traffic sleeps in between.
"""

from typing import Protocol

from nsqx.nsqd.core.broker import Broker

__all__ = ["Clients", "Clockwork"]

# What is due within this time is done together.
STEP_NS = 50_000_000
UPKEEP_NS = 1_000_000_000


class Clients(Protocol):
    """The connections of a node."""

    @property
    def next_ns(self) -> int:
        """Return when `tick` has something to do, in monotonic time."""

    def tick(self) -> None:
        """See to heartbeats and deadlines that are due."""


class Clockwork:
    """Runs what is due."""

    def __init__(self, broker: Broker, clients: Clients, *, sync_interval_ns: int) -> None:
        self._broker = broker
        self._clients = clients
        self._sync_interval_ns = sync_interval_ns
        self._ran_ns = now_ns = broker.clock.monotonic()
        self._upkeep_ns = now_ns + UPKEEP_NS
        self._sync_ns = now_ns + sync_interval_ns
        self._is_behind = False  # there is more to do than one step may

    @property
    def next_ns(self) -> int:
        """Return when to call `run`, in monotonic time."""
        if self._is_behind:
            return self._ran_ns
        due_ns = min(self._broker.next_ns, self._clients.next_ns, self._upkeep_ns, self._sync_ns)
        return max(due_ns, self._ran_ns + STEP_NS)

    def run(self) -> None:
        """Do what is due."""
        now_ns = self._ran_ns = self._broker.clock.monotonic()
        self._is_behind = self._broker.tick()
        self._clients.tick()
        if now_ns >= self._upkeep_ns:
            is_more = self._broker.upkeep()
            self._upkeep_ns = now_ns if is_more else now_ns + UPKEEP_NS
            self._is_behind |= is_more
        if now_ns >= self._sync_ns:
            self._sync_ns = now_ns + self._sync_interval_ns
            self._broker.sync()
