"""
A cluster to look at with the dashboard, and what the tests in a browser need besides.

Under the dashboard's content security policy ``page.wait_for_function`` cannot work (it needs
``eval``): tests wait with ``expect``.
"""

import asyncio
import json
import shutil
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request, WebError, expect

from nsqx.client import Consumer, Message, Producer
from tests.support.processes import Admin, Cluster, Lookupd, Nsqd, eventually

__all__ = [
    "CHROMIUM",
    "CHROMIUM_FLAGS",
    "Stage",
    "Traffic",
    "Watch",
    "check_accessible",
    "open_page",
    "save_screenshot",
]

ARTIFACTS = Path(__file__).parents[2] / "artifacts" / "browser"
# Without the part that nobody sees, a page costs a third of the processor time.
CHROMIUM = Path(
    shutil.which("chromium-headless-shell") or shutil.which("chromium") or "/usr/bin/chromium"
)
CHROMIUM_FLAGS = [
    "--no-sandbox",  # in containers there is none to have
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
]
# What is in order needs no list of where it is.
AXE_OPTIONS = {"resultTypes": ["violations"]}
PUBLISH_PAUSE_SECONDS = 0.05


@dataclass(slots=True)
class Stage:
    """What the tests look at: a cluster, its dashboard, and who works there."""

    cluster: Cluster
    lookupds: list[Lookupd]
    nodes: list[Nsqd]
    admin: Admin

    @property
    def url(self) -> str:
        return self.admin.url("")

    async def make_topic(self, name: str, *bodies: bytes, channels: Iterable[str] = ()) -> None:
        """Create a topic on the first node, its channels, and publish; the dashboard knows."""
        node = self.nodes[0]
        await node.post(f"/topic/create?topic={name}")
        for channel in channels:
            await node.post(f"/channel/create?topic={name}&channel={quote(channel)}")
        for body in bodies:
            await node.post(f"/pub?topic={name}", body)

        async def is_seen() -> bool:
            status, answer = await self.admin.get(f"/api/v2/topics/{name}")
            document = json.loads(answer)["full"] if status == 200 else None
            return document is not None and (
                document["row"]["messages"] >= len(bodies)
                and document["channels"].keys() >= set(channels)
            )

        await eventually(is_seen, f"the dashboard has seen {name}")

    async def sees_traffic(self) -> bool:
        """Whether the dashboard knows of ``orders`` on every node, and of messages there."""
        topics = (await self.admin.get_json("/api/v2/snapshot"))["full"]["topics"]
        orders = topics.get("orders", {"nodes": 0, "out": 0.0})
        return bool(orders["nodes"] == len(self.nodes) and orders["out"] > 0)

    async def channel_stats(self, topic: str, channel: str) -> dict[str, int] | None:
        """What the first node says about a channel; None if it is not there."""
        stats = await self.nodes[0].get_json(f"/stats?format=json&topic={topic}")
        channels = [each for topic in stats["topics"] for each in topic["channels"]]
        return next((each for each in channels if each["channel_name"] == channel), None)


class Traffic:
    """A producer per node and two consumers, for as long as the block."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> None:
        lookupd = self._stage.lookupds[0].http_address
        for number, node in enumerate(self._stage.nodes):
            producer = await self._stack.enter_async_context(Producer(node.tcp_address))
            self._tasks.append(asyncio.create_task(_publish(producer, number)))
        for channel in ("billing", "archive"):
            consumer = Consumer("orders", channel, lookupd=lookupd, max_in_flight=20)
            await self._stack.enter_async_context(consumer)
            self._tasks.append(asyncio.create_task(consumer.run(_finish)))

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()


async def _publish(producer: Producer, number: int) -> None:
    for count in range(10**9):
        order = {"order": count, "node": number, "customer": {"name": "Ada"}, "items": [1, 2]}
        await producer.publish("orders", json.dumps(order).encode())
        await asyncio.sleep(PUBLISH_PAUSE_SECONDS)


async def _finish(_message: Message) -> None:
    """Done with it."""


class Watch:
    """What goes wrong in the pages of a context."""

    def __init__(self, host: str) -> None:
        self.faults: list[str] = []
        self.allowed: list[str] = []  # parts of faults that a test brings about itself
        self._host = host

    def add(self, context: BrowserContext) -> None:
        context.on("console", self._check_console)
        context.on("weberror", self._check_error)
        context.on("request", self._check_host)

    def check(self) -> None:
        """
        Raises:
            AssertionError: with all that went wrong and was not allowed.
        """
        faults = [each for each in self.faults if not any(part in each for part in self.allowed)]
        assert not faults, "\n".join(faults)

    def _check_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def _check_error(self, error: WebError) -> None:
        self.faults.append(f"exception: {error.error}")

    def _check_host(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.netloc != self._host:
            self.faults.append(f"a request to another host: {request.url}")


async def open_page(page: Page, path: str) -> None:
    """Go to a page of the dashboard, and return when its numbers are there."""
    await page.goto(path)
    await expect(page.get_by_role("button", name="Live updates: Live")).to_be_visible()
    await expect(page.locator(".loading")).to_have_count(0)
    await expect(page.locator("h1")).to_have_count(1)


async def check_accessible(page: Page) -> None:
    """
    Let axe judge the page as it is now.

    Raises:
        AssertionError: with each rule that is violated, and where.
    """
    results = await Axe().run(page, options=AXE_OPTIONS)
    assert results.violations_count == 0, results.generate_report()


async def save_screenshot(page: Page, name: str) -> None:
    """Keep how it looks, for whoever wants to see: ``artifacts/browser/<name>.png``."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=ARTIFACTS / f"{name}.png")
