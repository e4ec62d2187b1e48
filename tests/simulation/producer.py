"""A simulated producer: publishes one by one, in batches and deferred, and fails over."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from nsqx.client.codecs import JSON, Codec
from nsqx.client.message import Message, Origin
from nsqx.client.reconnect import ReconnectDelays
from nsqx.client.session import Confirmed, Event, Opened, Refused
from nsqx.client.settings import Settings
from nsqx.protocol import commands
from nsqx.protocol.errors import NsqError
from tests.simulation.auditor import Auditor
from tests.simulation.client_link import ClientLink
from tests.simulation.network import Network
from tests.simulation.node import Node
from tests.simulation.scheduler import MILLISECOND_NS, SECOND_NS, Scheduler
from tests.simulation.trace import Trace

__all__ = ["Producer", "ProducerPlan"]

BODY_BYTES = (0, 10, 100, 700)
UNANSWERED_MAX = 20


@dataclass(frozen=True, slots=True)
class ProducerPlan:
    """What a producer does."""

    name: str
    topic: str
    pause_ms: int  # between publishes, on average
    batch_max: int
    deferred_part: float
    delay_max_ms: int


@dataclass(slots=True)
class Publication:
    """One PUB, MPUB or DPUB. Is its `Request`."""

    numbers: Sequence[int]
    delay_ms: int = 0

    def confirm(self) -> None:
        """See `Request`; the producer looks after it."""

    def fail(self, error: NsqError) -> None:
        """See `Request`; the producer looks after it."""


class Producer:
    """One client that publishes to one topic, at one node at a time."""

    def __init__(
        self,
        plan: ProducerPlan,
        nodes: Sequence[Node],
        scheduler: Scheduler,
        network: Network,
        auditor: Auditor,
        trace: Trace,
        chance: random.Random,
    ) -> None:
        self.plan = plan
        self._nodes = {node.name: node for node in nodes}
        self._names = [node.name for node in nodes]
        self._scheduler = scheduler
        self._network = network
        self._auditor = auditor
        self._trace = trace
        self._chance = chance
        self._settings = Settings(hostname=plan.name, heartbeat_interval=5.0)
        self._delays = ReconnectDelays()
        self._link: ClientLink | None = None
        self._is_open = False
        self._again: list[Publication] = []  # of unknown fate
        self._is_over = False

    def start(self) -> None:
        """Connect, and begin to publish."""
        self._connect()
        self._publish()

    def add_node(self, node: Node) -> None:
        """Publish to another node, too."""
        self._nodes[node.name] = node
        self._names.append(node.name)

    def remove_node(self, node: Node) -> None:
        """Connect to a node no more."""
        self._names.remove(node.name)

    def stop(self) -> None:
        """Publish nothing more; answers are still taken."""
        self._is_over = True

    @property
    def is_done(self) -> bool:
        """Whether all that was published is answered, after `stop`."""
        return self._is_over and not (self._link is not None and self._unanswered())

    # Publishing

    def _publish(self) -> None:
        if self._is_over:
            return
        pause_ns = int(self._chance.expovariate(1 / self.plan.pause_ms) * MILLISECOND_NS)
        self._scheduler.after(pause_ns + 1, self._publish)
        link = self._link
        if link is None or not self._is_open or self._unanswered() > UNANSWERED_MAX:
            return
        for _ in range(self._chance.choice((1, 1, 1, 3))):
            self._send(link, self._again.pop() if self._again else self._new())
        link.flush()

    def _unanswered(self) -> int:
        link = self._link
        return len(link.session.pending) if link is not None and self._is_open else 0

    def _new(self) -> Publication:
        chance = self._chance
        delay_ms = 0
        if chance.random() < self.plan.deferred_part:
            delay_ms = chance.randrange(1, self.plan.delay_max_ms)
        count = 1 if delay_ms else chance.randrange(1, self.plan.batch_max + 1)
        numbers = [self._auditor.new_body(chance.choice(BODY_BYTES)) for _ in range(count)]
        return Publication(numbers, delay_ms)

    def _send(self, link: ClientLink, publication: Publication) -> None:
        bodies = [self._auditor.bodies[number] for number in publication.numbers]
        topic = self.plan.topic
        if publication.delay_ms:
            command = commands.dpub(topic, publication.delay_ms, bodies[0])
        elif len(bodies) == 1:
            command = commands.pub(topic, bodies[0])
        else:
            command = commands.mpub(topic, bodies)
        self._trace.note(
            self.plan.name,
            f"publishes {_span(publication.numbers)} to {topic} at {link.node}"
            + (f" in {publication.delay_ms} ms" if publication.delay_ms else ""),
        )
        link.request(publication, command)

    # Connection

    def _connect(self) -> None:
        node = self._names[0]
        self._names.append(self._names.pop(0))  # the next time, the next one
        link = self._link = ClientLink(
            self, self.plan.name, node, self._settings, self._scheduler, self._network
        )
        link.make_message = partial(Message, _NO_SOURCE)
        link.connect()

    def happened(self, link: ClientLink, event: Event) -> None:
        """See `Owner.happened`."""
        if isinstance(event, Opened):
            self._is_open = True
            self._delays.reset()
        elif isinstance(event, Confirmed):
            for request in event.requests:
                assert isinstance(request, Publication)
                node = self._nodes[link.node]
                self._auditor.acknowledged(node, self.plan.topic, request.numbers)
        elif isinstance(event, Refused):
            assert isinstance(event.request, Publication)
            self._trace.note(self.plan.name, f"was refused: {event.error}")
            self._unknown(event.request)

    def link_lost(self, link: ClientLink) -> None:
        """See `Owner.link_lost`."""
        if self._is_open:
            for request in link.session.close():
                assert isinstance(request, Publication)
                self._unknown(request)
        self._is_open = False
        self._link = None
        if not self._is_over:
            delay_ns = int(self._delays.next(self._chance.random()) * SECOND_NS)
            self._scheduler.after(delay_ns, self._connect)

    def _unknown(self, publication: Publication) -> None:
        """Publish again what may have been lost; sometimes the user does not care."""
        if self._chance.random() < 0.8:
            self._again.append(publication)


def _span(numbers: Sequence[int]) -> str:
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


class _NoSource:
    """A producer is sent no messages."""

    codec: Codec = JSON
    origin: Origin = Origin()

    def finish(self, message: Message) -> bool:
        return False

    def requeue(self, message: Message, delay: float | None, backoff: bool) -> bool:
        return False

    def touch(self, message: Message) -> bool:
        return False

    def is_open(self, message: Message) -> bool:
        return False

    def give_back(self, message: Message) -> None:
        """There is nothing to return."""

    def hold(self, message: Message) -> None:
        """There is nothing to hold."""

    def release(self, message: Message) -> None:
        """There is nothing to release."""


_NO_SOURCE = _NoSource()
