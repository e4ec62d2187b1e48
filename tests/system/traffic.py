"""
What runs on a host of `test_three_hosts`: a producer or a consumer, a line for each success.

    python traffic.py publish ADDRESS...     ends when its stdin does
    python traffic.py consume LOOKUPD...     ends when its stdin does
"""

import asyncio
import itertools
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from nsqx.client import Consumer, NsqError, Producer, Settings

TOPIC, CHANNEL = "orders", "billing"
# What is cut off is noticed within two heartbeats.
SETTINGS = Settings(heartbeat_interval=1.0, reply_timeout=2.0, connect_timeout=1.0)
PAUSE_S = 0.005


def tell(body: bytes) -> None:
    sys.stdout.write(f"{body.decode()}\n")
    sys.stdout.flush()


async def publish(address: str) -> None:
    """Publish numbered messages to one node, one after the other; tell which were acknowledged."""
    async with Producer(address, settings=SETTINGS, timeout=2.0) as producer:
        for number in itertools.count():
            body = f"{address}/{number}".encode()
            while not await is_published(producer, body):
                pass  # as an honest producer does: once more, till it is acknowledged
            tell(body)
            await asyncio.sleep(PAUSE_S)


async def is_published(producer: Producer, body: bytes) -> bool:
    try:
        await producer.publish(TOPIC, body)
    except (NsqError, OSError, TimeoutError):
        return False
    return True


async def publish_to_all(addresses: list[str]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for address in addresses:
            tasks.create_task(publish(address))


async def consume(lookupds: list[str]) -> None:
    """Consume from all nodes; tell what came."""
    async with Consumer(
        TOPIC, CHANNEL, lookupd=lookupds, lookupd_poll_interval=1.0, settings=SETTINGS
    ) as consumer:
        async for message in consumer:
            tell(message.body)
            message.finish()


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Do it until stdin ends."""
    task = asyncio.create_task(work)
    told = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait([task, told], return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    word, *addresses = sys.argv[1:]
    asyncio.run(until_told((publish_to_all if word == "publish" else consume)(addresses)))
