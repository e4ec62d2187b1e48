"""Bills and ships what the shop publishes; run by ``nsqx worker workers:nsq``."""

import asyncio
import os
import random
from typing import Any

from nsqx.client import Nsq

BILLING_SECONDS = float(os.environ.get("DEMO_BILLING_SECONDS", "0.02"))
# With four at a time 80 a second: less than the shop sells when it is busy.
SHIPPING_SECONDS = float(os.environ.get("DEMO_SHIPPING_SECONDS", "0.05"))
FAILURES = 0.01

nsq = Nsq.from_env()


class CardRefused(Exception):
    """It is tried again, later."""


@nsq.handler("orders", "billing", concurrency=20)
async def bill(order: dict[str, Any]) -> None:
    """Take the money, and say so to whoever ships."""
    await asyncio.sleep(BILLING_SECONDS)
    if random.random() < FAILURES:
        raise CardRefused
    await nsq.publish("paid", order)


@nsq.handler("paid", "shipping", concurrency=4)
async def ship(order: dict[str, Any]) -> None:
    """Pack it."""
    await asyncio.sleep(SHIPPING_SECONDS)
