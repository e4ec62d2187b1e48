"""
A simulated consumer: the client's sessions, RDY distribution, backoff and reconnect delays.

What it does with a message is drawn for each: finish, requeue at once or later, touch and finish,
answer too late, or never.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from nsqx.client.backoff import Backoff, BackoffPolicy, Phase
from nsqx.client.codecs import JSON, Codec
from nsqx.client.message import Message, Origin
from nsqx.client.ready_counts import ReadyCounts, Share
from nsqx.client.reconnect import ReconnectDelays
from nsqx.client.session import Confirmed, Event, Messages, Opened
from nsqx.client.settings import Settings
from nsqx.protocol import commands
from nsqx.protocol.errors import NsqError
from tests.simulation.client_link import ClientLink
from tests.simulation.network import Network
from tests.simulation.scheduler import MILLISECOND_NS, SECOND_NS, Scheduler
from tests.simulation.trace import Trace

__all__ = ["Consumer", "ConsumerPlan"]

FIND_NS = 10 * SECOND_NS

# Gives the names of the nodes that have a topic, later.
Find = Callable[[str, str, Callable[[list[str]], None]], None]


@dataclass(frozen=True, slots=True)
class ConsumerPlan:
    """What a consumer does. The parts add up to less than 1; the rest is finished."""

    name: str
    topic: str
    channel: str
    max_in_flight: int
    msg_timeout_ms: int
    work_ms: int  # on average
    requeue_part: float
    delay_part: float
    touch_part: float
    late_part: float
    leave_part: float  # disconnects instead of answering
    delay_max_ms: int
    has_backoff: bool


class Subscription:
    """One connection of a consumer. Is the `Source` of its messages and the `Request` of SUB."""

    def __init__(self, link: ClientLink, consumer: "Consumer") -> None:
        self.link = link
        self.in_flight: dict[bytes, Message] = {}
        self.share = Share(0, self.in_flight)
        self.is_subscribed = False
        self.codec: Codec = JSON  # of a `Source`; nobody decodes here
        self.origin: Origin = Origin()
        self._consumer = consumer

    def confirm(self) -> None:
        """See `Request`."""

    def fail(self, error: NsqError) -> None:
        """See `Request`."""

    def is_open(self, message: Message) -> bool:
        return not self.link.is_over and self.in_flight.get(message.id) is message

    def finish(self, message: Message) -> bool:
        if not self.is_open(message):
            return False
        del self.in_flight[message.id]
        self.link.session.finish(message.id)
        return True

    def requeue(self, message: Message, delay: float | None, backoff: bool) -> bool:
        if not self.is_open(message):
            return False
        del self.in_flight[message.id]
        self._consumer.failed(backoff)
        self.link.session.send(commands.req(message.id, round((delay or 0) * 1000)))
        return True

    def touch(self, message: Message) -> bool:
        if self.is_open(message):
            self.link.session.send(commands.touch(message.id))
            return True
        return False

    def give_back(self, message: Message) -> None:
        if self.is_open(message):
            del self.in_flight[message.id]
            self.link.session.send(commands.give_back(message.id))

    def hold(self, message: Message) -> None:
        """Nothing is touched by itself."""

    def release(self, message: Message) -> None:
        """Nothing is touched by itself."""


class Consumer:
    """One client that subscribes to one channel, at all nodes that it finds."""

    def __init__(
        self,
        plan: ConsumerPlan,
        find: Find,
        scheduler: Scheduler,
        network: Network,
        trace: Trace,
        chance: random.Random,
    ) -> None:
        self.plan = plan
        self._find = find
        self._scheduler = scheduler
        self._network = network
        self._trace = trace
        self._chance = chance
        self._settings = Settings(
            hostname=plan.name, heartbeat_interval=5.0, msg_timeout=plan.msg_timeout_ms / 1000
        )
        self._counts = ReadyCounts(plan.max_in_flight)
        self._backoff = Backoff(BackoffPolicy(0.1, 5.0)) if plan.has_backoff else None
        self._links: dict[str, ClientLink] = {}
        self._delays: dict[str, ReconnectDelays] = {}
        self._subscriptions: dict[ClientLink, Subscription] = {}
        self._steer_at_ns = 0
        self._is_paused = False
        self._is_over = False

    def start(self) -> None:
        """Look for nodes, from now on and again and again."""
        if not self._is_over:
            self._scheduler.after(FIND_NS, self.start)
            self._find(self.plan.name, self.plan.topic, self._found)

    def pause(self, is_paused: bool) -> None:
        """Want no messages for a while, or as many as before."""
        self._is_paused = is_paused
        self._allow()

    def behave(self) -> None:
        """Finish everything from now on."""
        self.pause(False)
        self.plan = replace(
            self.plan,
            requeue_part=0.0,
            delay_part=0.0,
            touch_part=0.0,
            late_part=0.0,
            leave_part=0.0,
        )

    def stop(self) -> None:
        """Disconnect for good."""
        self._is_over = True
        for link in list(self._links.values()):
            link.close()

    # Connections

    def _found(self, nodes: list[str]) -> None:
        for node in nodes:
            if node not in self._delays and not self._is_over:
                self._delays[node] = ReconnectDelays()
                self._connect(node)

    def _connect(self, node: str) -> None:
        if self._is_over:
            return
        link = ClientLink(
            self, self.plan.name, node, self._settings, self._scheduler, self._network
        )
        subscription = Subscription(link, self)
        link.make_message = partial(Message, subscription)
        self._links[node] = link
        self._subscriptions[link] = subscription
        link.connect()

    def happened(self, link: ClientLink, event: Event) -> None:
        """See `Owner.happened`."""
        subscription = self._subscriptions[link]
        if isinstance(event, Opened):
            link.request(subscription, commands.sub(self.plan.topic, self.plan.channel))
        elif isinstance(event, Confirmed):
            self._delays[link.node].reset()
            subscription.is_subscribed = True
            subscription.share.max_rdy = link.session.negotiated.max_rdy_count
            self._counts.join(subscription.share)
            self._steer()
        elif isinstance(event, Messages):
            self._received(subscription, event.messages)

    def link_lost(self, link: ClientLink) -> None:
        """See `Owner.link_lost`."""
        subscription = self._subscriptions.pop(link)
        if subscription.is_subscribed:
            link.session.close()
            self._counts.leave(subscription.share)
            subscription.in_flight.clear()
            self._steer()
        if self._links.get(link.node) is link:
            del self._links[link.node]
            delay_ns = int(self._delays[link.node].next(self._chance.random()) * SECOND_NS)
            self._scheduler.after(delay_ns, partial(self._connect, link.node))

    # Messages

    def _received(self, subscription: Subscription, messages: list[Message]) -> None:
        subscription.in_flight.update((message.id, message) for message in messages)
        subscription.share.received(self._now_s())
        plan, chance = self.plan, self._chance
        to_finish: list[Message] = []
        for message in messages:
            draw = chance.random()
            if (draw := draw - plan.requeue_part) < 0:
                self._later(partial(message.requeue, 0.0))
            elif (draw := draw - plan.delay_part) < 0:
                delay_s = chance.randrange(1, plan.delay_max_ms) / 1000
                self._later(partial(message.requeue, delay_s))
            elif (draw := draw - plan.touch_part) < 0:
                self._touch_on(message, chance.randrange(1, 6))
            elif (draw := draw - plan.late_part) < 0:
                self._after(plan.msg_timeout_ms * chance.uniform(0.8, 1.5), message.finish)
            elif (draw := draw - plan.leave_part) < 0:
                self._later(subscription.link.abort)
            else:
                to_finish.append(message)
        if to_finish:
            self._later(partial(self._finish_all, to_finish))

    def _finish_all(self, messages: Iterable[Message]) -> None:
        for message in messages:
            message.finish()
        if self._backoff is not None:
            self._changed(self._backoff.finished(self._now_s(), self._chance.random()))

    def _touch_on(self, message: Message, times: int) -> None:
        if times == 0:
            self._later(message.finish)
        else:
            message.touch()
            self._after(self.plan.msg_timeout_ms * 0.6, partial(self._touch_on, message, times - 1))

    def failed(self, is_failure: bool) -> None:
        """A message is being requeued."""
        if self._backoff is not None and is_failure:
            self._changed(self._backoff.failed(self._now_s(), self._chance.random()))

    def _later(self, call: Callable[[], object]) -> None:
        self._after(self._chance.expovariate(1 / self.plan.work_ms), call)

    def _after(self, delay_ms: float, call: Callable[[], object]) -> None:
        def run() -> None:
            call()
            if self._counts.short:
                self._distribute()
            self._flush()

        self._scheduler.after(int(delay_ms * MILLISECOND_NS), run)

    # RDY

    def _now_s(self) -> float:
        return self._scheduler.elapsed_s

    def _changed(self, is_changed: bool) -> None:
        """The phase of the backoff may be another one."""
        if is_changed:
            self._allow()

    def _allow(self) -> None:
        phase = self._backoff.phase if self._backoff is not None else Phase.OPEN
        allowed = {Phase.OPEN: self.plan.max_in_flight, Phase.WAITING: 0, Phase.TRYING: 1}
        self._counts.allow(0 if self._is_paused else allowed[phase])
        self._steer()

    def _steer(self) -> None:
        self._distribute()
        self._flush()
        self._plan_steering()

    def _plan_steering(self) -> None:
        times = [] if self._counts.next_at is None else [self._counts.next_at]
        if self._backoff is not None and self._backoff.phase is Phase.WAITING:
            times.append(self._backoff.until)
        if not times:
            self._steer_at_ns = 0
            return
        delay_ns = max(0, int((min(times) - self._now_s()) * SECOND_NS)) + 1
        at_ns = self._steer_at_ns = self._scheduler.now_ns + delay_ns
        self._scheduler.after(delay_ns, partial(self._steer_if_due, at_ns))

    def _steer_if_due(self, at_ns: int) -> None:
        if at_ns != self._steer_at_ns or self._is_over:
            return
        if self._backoff is not None and self._backoff.expire(self._now_s()):
            self._changed(True)
        else:
            self._steer()

    def _distribute(self) -> None:
        links = {
            subscription.share: subscription.link for subscription in self._subscriptions.values()
        }
        for share in self._counts.distribute(self._now_s()):
            links[share].session.send(commands.rdy(share.rdy))

    def _flush(self) -> None:
        for link in list(self._subscriptions):
            if link.is_open:
                link.flush()
