"""Publishes orders: few, then many, then few, each hour of the demonstration being a minute."""

import asyncio
import math
import os
import time

from nsqx.client import Nsq, NsqError

PER_SECOND = float(os.environ.get("DEMO_PER_SECOND", "100"))
HOUR_SECONDS = 60.0
TICK_SECONDS = 0.1


def orders_at(seconds: float) -> int:
    """Return how many orders come in the tick at a time: from a fifth to all of PER_SECOND."""
    busy = 0.6 - 0.4 * math.cos(2 * math.pi * seconds / HOUR_SECONDS)
    return max(1, round(PER_SECOND * TICK_SECONDS * busy))


async def main() -> None:
    """Publish until told to end; wait out what the brokers refuse."""
    number = 0
    async with Nsq.from_env() as nsq:
        while True:
            orders = [{"id": number + n, "at": time.time()} for n in range(orders_at(time.time()))]
            try:
                number += await nsq.publish_many("orders", orders)
            except NsqError as error:
                print(f"not published, trying on: {error}", flush=True)
            await asyncio.sleep(TICK_SECONDS)


if __name__ == "__main__":
    asyncio.run(main())
