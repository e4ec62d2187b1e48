"""A simulated nsqlookupd: the real registry, sessions and answers on a simulated network."""

from collections.abc import Callable

import msgspec

from nsqx.lookupd.answers import Answers
from nsqx.lookupd.registry import Registry
from nsqx.lookupd.session import Session
from nsqx.protocol.lookup import DirectoryInfo, LookupLimits
from tests.simulation.network import End, Network
from tests.simulation.scheduler import SECOND_NS, Scheduler
from tests.simulation.trace import Trace

__all__ = ["Directory"]

START_NS = 2 * SECOND_NS


class Directory:
    """One nsqlookupd, over its crashes; each start begins with an empty registry."""

    def __init__(self, name: str, scheduler: Scheduler, network: Network, trace: Trace) -> None:
        self.name = name
        self.is_running = False
        self.registry: Registry
        self._scheduler = scheduler
        self._network = network
        self._trace = trace

    def start(self) -> None:
        """Start with nothing known."""
        if self.is_running:
            return
        self.is_running = True
        self._trace.note(self.name, "starts")
        self.registry = Registry()
        self._answers = Answers(self.registry)
        self._network.listen(self.name, self._accept)

    def kill(self) -> None:
        """End it; it comes back by itself."""
        if self.is_running:
            self._trace.note(self.name, "is killed")
            self.is_running = False
            self._network.kill(self.name)
            self._scheduler.after(START_NS, self.start)

    def _accept(self, end: End) -> "DirectoryConnection":
        session = Session(
            self.registry,
            remote_address=f"{end.peer_host}:{end.number}",
            identity=lambda peer: DirectoryInfo(
                self.name, self.name, 4161, 4160, "simulated"
            ).encode(),
            limits=LookupLimits(),
        )
        return DirectoryConnection(session, end, self._scheduler)

    # HTTP

    def ask(
        self, host: str, question: Callable[[], list[str]], done: Callable[[list[str]], None]
    ) -> None:
        """Ask something from a host, and have the answer, or nothing, some time later."""

        def arrive() -> None:
            if not self.is_running or not self._network.can_pass(host, self.name):
                self._scheduler.after(SECOND_NS, lambda: done([]))
                return
            answer = question()
            self._scheduler.after(self._network.latency_ns(host, self.name), lambda: done(answer))

        self._scheduler.after(self._network.latency_ns(host, self.name), arrive)

    def nodes_of(self, topic: str) -> list[str]:
        """Return the names of the nodes that have a topic (``/lookup``)."""
        body = self._answers.lookup(topic, self._scheduler.now_ns)
        if body is None:
            return []
        producers = msgspec.json.decode(body)["producers"]
        return [producer["broadcast_address"] for producer in producers]

    def channels_of(self, topic: str) -> list[str]:
        """Return the channels of a topic (``/channels``)."""
        channels: list[str] = msgspec.json.decode(self._answers.channels(topic))["channels"]
        return channels


class DirectoryConnection:
    """A node at a directory. Is the `Handler` of its end."""

    def __init__(self, session: Session, end: End, scheduler: Scheduler) -> None:
        self._session = session
        self._end = end
        self._scheduler = scheduler

    def received(self, data: bytes) -> None:
        self._end.send(self._session.receive_data(data, self._scheduler.now_ns))
        if self._session.is_over:
            self._end.close()

    def ended(self) -> None:
        self._end.send(self._session.receive_eof(self._scheduler.now_ns))
        self._end.close()
        self._session.close()

    def lost(self) -> None:
        self._session.close()

    def set_writable(self, is_writable: bool) -> None:
        """Answers are small."""
