"""Clients at work: what they published, what was answered OK, and what came."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from nsqx.client.consumer import Consumer
from nsqx.client.errors import NsqError
from nsqx.client.producer import Producer
from nsqx.client.settings import Settings

__all__ = ["Tally", "Workload"]

PUBLISHERS = 6
BATCH_MAX = 20
DEFERRED_PART = 0.1
DELAY_SECONDS_MAX = 1.5
PUBLISH_SECONDS_MAX = 5.0
BODY_BYTES = 200
EARLY_SECONDS_MAX = 0.002  # delays are sent in milliseconds
QUIET_SECONDS = 12.0  # without a delivery, until what is missing counts as lost
SETTINGS = Settings(heartbeat_interval=1.0, msg_timeout=5.0, reply_timeout=4.0)


@dataclass(slots=True)
class Tally:
    """Bodies, by what became of them."""

    published: set[bytes] = field(default_factory=set)
    acknowledged: set[bytes] = field(default_factory=set)
    due_s: dict[bytes, float] = field(default_factory=dict)  # of those that were deferred
    early: set[bytes] = field(default_factory=set)  # came before they were due
    deliveries: Counter[bytes] = field(default_factory=Counter)

    @property
    def lost(self) -> set[bytes]:
        """Return what was answered OK and never came."""
        return self.acknowledged - self.deliveries.keys()

    @property
    def unknown(self) -> set[bytes]:
        """Return what came and nobody published."""
        return self.deliveries.keys() - self.published

    @property
    def duplicates(self) -> int:
        """Return how many deliveries were not the first of their message."""
        return self.deliveries.total() - len(self.deliveries)


class Workload:
    """Publishers of one topic, and one consumer that finishes everything."""

    def __init__(
        self, topic: str, addresses: Sequence[str], lookupds: Sequence[str], chance: random.Random
    ) -> None:
        self.tally = Tally()
        self._topic = topic
        self._addresses = addresses
        self._lookupds = lookupds
        self._chance = chance
        self._is_over = False
        self._number = 0

    async def run(self, hurt: asyncio.Task[None]) -> None:
        """Work until ``hurt`` has ended, then until nothing comes any more."""
        async with self._consumer() as consumer, self._producer() as producer:
            receiving = asyncio.create_task(self._receive(consumer))
            publishing = [asyncio.create_task(self._publish(producer)) for _ in range(PUBLISHERS)]
            await hurt
            self._is_over = True
            await asyncio.gather(*publishing)
            await self._wait_for_all()
            receiving.cancel()

    def _consumer(self) -> Consumer:
        return Consumer(
            self._topic,
            "chaos",
            nsqd=() if self._lookupds else self._addresses,
            lookupd=self._lookupds,
            max_in_flight=500,
            settings=SETTINGS,
            lookupd_poll_interval=1.0,
        )

    def _producer(self) -> Producer:
        # What is not answered is not sent again: a second copy would hide that one was lost.
        return Producer(
            self._addresses, settings=SETTINGS, timeout=PUBLISH_SECONDS_MAX, resend=False
        )

    async def _publish(self, producer: Producer) -> None:
        chance, tally = self._chance, self.tally
        while not self._is_over:
            bodies = [self._new_body() for _ in range(chance.choice((1, 1, BATCH_MAX)))]
            tally.published.update(bodies)
            try:
                if len(bodies) > 1:
                    await producer.publish_many(self._topic, bodies)
                elif chance.random() < DEFERRED_PART:
                    delay = chance.uniform(0.05, DELAY_SECONDS_MAX)
                    tally.due_s[bodies[0]] = time.monotonic() + delay
                    await producer.publish(self._topic, bodies[0], defer=delay)
                else:
                    await producer.publish(self._topic, bodies[0])
            except NsqError:
                await asyncio.sleep(0.05)
            else:
                tally.acknowledged.update(bodies)
            await asyncio.sleep(0.002)

    def _new_body(self) -> bytes:
        self._number += 1
        return b"%s %d " % (self._topic.encode(), self._number) + b"." * BODY_BYTES

    async def _receive(self, consumer: Consumer) -> None:
        async for message in consumer:
            self.tally.deliveries[message.body] += 1
            if time.monotonic() < self.tally.due_s.get(message.body, 0.0) - EARLY_SECONDS_MAX:
                self.tally.early.add(message.body)
            message.finish()

    async def _wait_for_all(self) -> None:
        loop = asyncio.get_running_loop()
        seen, since = -1, loop.time()
        while self.tally.lost and loop.time() - since < QUIET_SECONDS:
            if len(self.tally.deliveries) != seen:
                seen, since = len(self.tally.deliveries), loop.time()
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)  # for duplicates
