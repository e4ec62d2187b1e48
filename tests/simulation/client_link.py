"""A client's connection to a node: the client's own session over a simulated connection."""

from collections import deque
from functools import partial
from typing import Protocol

from nsqx.client.message import MakeMessage
from nsqx.client.session import Event, Failed, Request, Session
from nsqx.client.settings import Settings
from tests.simulation.network import End, Network
from tests.simulation.scheduler import SECOND_NS, Scheduler

__all__ = ["ClientLink", "Owner"]

WATCH_NS = 5 * SECOND_NS
REPLY_NS = 10 * SECOND_NS


class Owner(Protocol):
    """The client that a link belongs to."""

    def happened(self, link: "ClientLink", event: Event) -> None: ...

    def link_lost(self, link: "ClientLink") -> None:
        """It is gone, or could not be made. Called once."""


class ClientLink:
    """From the attempt to connect to the loss of the connection."""

    def __init__(
        self,
        owner: Owner,
        host: str,
        node: str,
        settings: Settings,
        scheduler: Scheduler,
        network: Network,
    ) -> None:
        self.node = node
        self.is_over = False
        self.make_message: MakeMessage
        self.session: Session
        self._owner = owner
        self._settings = settings
        self._scheduler = scheduler
        self._end: End | None = None
        self._heard_ns = scheduler.now_ns
        self._asked_ns: deque[int] = deque()  # when each request without an answer was sent
        self._connect = partial(network.connect, host, node, self._connected)

    def connect(self) -> None:
        """Begin; ``make_message`` must be set."""
        self._connect()

    def _connected(self, end: End | None) -> "ClientLink | None":
        if self.is_over:
            return None
        if end is None:
            self._over()
            return None
        self._end = end
        self.session = Session(self._settings, self.node, self.make_message)
        self._heard_ns = self._scheduler.now_ns
        self.session.start()
        self._scheduler.after(0, self.flush)
        self._scheduler.after(WATCH_NS, self._watch)
        return self

    # Sending

    def request(self, request: Request, command: bytes) -> None:
        """Send a command that is answered."""
        self.session.request(request, command)
        self._asked_ns.append(self._scheduler.now_ns)

    def flush(self) -> None:
        """Send what was queued."""
        if self._end is not None and not self.is_over:
            self._end.send(self.session.data_to_send())

    def abort(self) -> None:
        """End the connection at once."""
        if self._end is not None:
            self._end.abort()
        self._over()

    def close(self) -> None:
        """Send what was queued, then end."""
        self.flush()
        if self._end is not None:
            self._end.close()
        self._over()

    def set_reading(self, is_reading: bool) -> None:
        """Take what arrives, or let it wait."""
        if self._end is not None:
            self._end.set_reading(is_reading)

    @property
    def is_open(self) -> bool:
        """Whether something can be sent."""
        return self._end is not None and not self.is_over

    def _over(self) -> None:
        if not self.is_over:
            self.is_over = True
            self._owner.link_lost(self)

    def _watch(self) -> None:
        """Give up a connection that is silent, or does not answer."""
        if self.is_over:
            return
        now_ns = self._scheduler.now_ns
        silent_ns = 2 * int(self._settings.heartbeat_interval * SECOND_NS)
        is_late = bool(self._asked_ns) and now_ns - self._asked_ns[0] > REPLY_NS
        if is_late or now_ns - self._heard_ns > silent_ns:
            self.abort()
        else:
            self._scheduler.after(WATCH_NS, self._watch)

    # Handler

    def received(self, data: bytes) -> None:
        if self.is_over:
            return
        self._heard_ns = self._scheduler.now_ns
        for event in self.session.receive_data(data):
            if isinstance(event, Failed):
                self.abort()
                return
            self._owner.happened(self, event)
            if self.is_over:
                return
        while len(self._asked_ns) > len(self.session.pending):
            self._asked_ns.popleft()
        self.flush()

    def ended(self) -> None:
        self._over()

    def lost(self) -> None:
        self._over()

    def set_writable(self, is_writable: bool) -> None:
        """A client of ours sends little."""
