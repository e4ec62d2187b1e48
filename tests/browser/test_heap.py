"""
What a page keeps: after hundreds of updates no more than after some.

The nodes are imitated and polled ten times a second, so a minute is ten. What is left after the
garbage was collected is compared; before it had an answer the page of the topology kept a quarter
of a megabyte of each update.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, CDPSession, Page, expect

from benchmarks.imitated_nodes import imitated_nodes
from tests.support.processes import Admin, running_cluster

NODES = 3
TOPICS = 20
UPDATES_FIRST, UPDATES = 40, 150
GROWTH_BYTES_MAX = 2_000_000  # of the heap; a leak of one table a second is more
UPDATES_SECONDS_MAX = 120

# The worker tells the page what is new; this counts how often.
COUNT_NEWS = """
globalThis.news = 0;
globalThis.Worker = class extends Worker {
  constructor(...all) {
    super(...all);
    this.addEventListener("message", () => { globalThis.news += 1; });
  }
};
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lively(tmp_path_factory: Any) -> AsyncIterator[tuple[Admin, str]]:
    """A dashboard with much news, and one of its nodes."""
    async with (
        imitated_nodes(NODES, TOPICS) as addresses,
        running_cluster(tmp_path_factory.mktemp("lively")) as cluster,
    ):
        nodes = (f"--nsqd-http-address={address}" for address in addresses)
        yield await cluster.admin("--poll-interval=100ms", *nodes), addresses[0]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/?group=prefix",
        "/topics/etl.topic_1",
        "/topics/etl.topic_1/billing",
        "/topics/etl.topic_1/messages",
        "/topics/etl.topic_1/tail",
        "/topology",
        "/topology?view=table",
        "/nodes",
        "/nodes/{node}",
        "/registry",
        "/activity",
        "/counter",
        "/settings",
    ],
)
async def test_a_page_keeps_nothing_of_what_was(
    browser: Browser, lively: tuple[Admin, str], path: str
) -> None:
    admin, node = lively
    page = await browser.new_page(viewport={"width": 1360, "height": 900})
    try:
        await page.add_init_script(COUNT_NEWS)
        await page.goto(admin.url(path.format(node=node)))
        await expect(page.locator("h1")).to_have_count(1)
        session = await page.context.new_cdp_session(page)
        await session.send("Performance.enable")
        await see_news(page, UPDATES_FIRST)
        before = await kept(session)
        await see_news(page, UPDATES_FIRST + UPDATES)
        after = await kept(session)
    finally:
        await page.close()
    assert after["JSHeapUsedSize"] - before["JSHeapUsedSize"] < GROWTH_BYTES_MAX
    assert after["Nodes"] <= 1.2 * before["Nodes"]
    assert after["JSEventListeners"] <= 1.2 * before["JSEventListeners"]


async def see_news(page: Page, count: int) -> None:
    async with asyncio.timeout(UPDATES_SECONDS_MAX):
        while await page.evaluate("globalThis.news") < count:
            await page.wait_for_timeout(200)


async def kept(session: CDPSession) -> dict[str, float]:
    """What the page holds when all that it does not is gone."""
    await session.send("HeapProfiler.collectGarbage")
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    return {each["name"]: each["value"] for each in metrics}
