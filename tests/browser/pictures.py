"""
Makes the pictures of the dashboard in docs/images: ``python -m tests.browser.pictures``.

A real cluster with traffic runs for a minute and a half, then Chromium looks at it.
"""

import asyncio
import json
import random
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from playwright.async_api import Browser, async_playwright, expect

from nsqx.client import Consumer, Message, Producer
from tests.support.browser import CHROMIUM, CHROMIUM_FLAGS
from tests.support.processes import Admin, Nsqd, running_cluster

FOLDER = Path(__file__).parents[2] / "docs" / "images"
WAIT_SECONDS = 90

# topic: messages a second, and how many consumers each channel has
TOPICS = {
    "orders": (24.0, {"billing": 2, "shipping": 1, "archive": 1}),
    "payments": (9.0, {"ledger": 2, "fraud": 1}),
    "emails": (3.0, {"sender": 0}),
    "images.resize": (14.0, {"worker": 3}),
    "images.ocr": (2.0, {"worker": 1}),
    "audit.access": (30.0, {"archive": 1, "search": 1}),
    "audit.log": (6.0, {"archive": 1}),
    "search.index": (11.0, {"writer": 2}),
}

PICTURES = {
    "home": ("/", "light"),
    "topology": ("/topology?focus=orders", "dark"),
    "channel": ("/topics/orders/billing", "dark"),
    "messages": ("/topics/orders/messages", "light"),
}


async def main() -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = await stack.enter_async_context(running_cluster(folder))
        lookupds = [await cluster.lookupd() for _ in range(2)]
        nodes = [await cluster.nsqd(lookupds=lookupds) for _ in range(3)]
        admin = await cluster.admin(lookupds=lookupds)
        tasks = []
        for topic, (rate, channels) in TOPICS.items():
            await _create(nodes, topic, list(channels))
            for node in nodes:
                producer = await stack.enter_async_context(Producer(node.tcp_address))
                tasks.append(asyncio.create_task(_publish(producer, topic, rate / len(nodes))))
            for channel, consumers in channels.items():
                for _ in range(consumers):
                    consumer = Consumer(topic, channel, lookupd=lookupds[0].http_address)
                    await stack.enter_async_context(consumer)
                    tasks.append(asyncio.create_task(consumer.run(_finish)))
        await nodes[0].post("/channel/pause?topic=images.ocr&channel=worker")
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        await asyncio.sleep(WAIT_SECONDS)
        for name, (path, scheme) in PICTURES.items():
            await _take(browser, admin, name, path, scheme)
        await browser.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _create(nodes: list[Nsqd], topic: str, channels: list[str]) -> None:
    for node in nodes:
        await node.post(f"/topic/create?topic={topic}")
        for channel in channels:
            await node.post(f"/channel/create?topic={topic}&channel={channel}")


async def _publish(producer: Producer, topic: str, rate: float) -> None:
    number = 0
    while True:
        number += 1
        body = {"id": number, "customer": {"name": "Ada", "since": 1843}, "items": ["a1", "b2"]}
        await producer.publish(topic, json.dumps(body).encode())
        await asyncio.sleep(random.expovariate(rate))


async def _finish(_message: Message) -> None:
    """Done with it."""


async def _take(browser: Browser, admin: Admin, name: str, path: str, scheme: str) -> None:
    page = await browser.new_page(
        viewport={"width": 1280, "height": 940},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    await page.goto(admin.url(path))
    await expect(page.locator(".loading")).to_have_count(0)
    if name == "messages":
        await page.locator(".message-line").nth(1).click()
    await page.wait_for_timeout(4000)
    await page.screenshot(path=FOLDER / f"{name}.png")
    await page.close()


if __name__ == "__main__":
    asyncio.run(main())
