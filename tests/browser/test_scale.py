"""
The home page with 2,000 channels on ten nodes: how soon it is there, and what an update costs.

The nodes are imitated (their /stats only), the dashboard and the browser are real. The costs are
by the browser's own account: the processor time of all that the page's main thread does in each
second, drawing included, in processor time, so that a busy machine makes it no longer. What it
was this time ``-s`` shows; docs/performance.md has the figures of a quiet machine.
"""

import re
import statistics
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.support.browser import check_accessible, save_screenshot
from tests.support.fake_nodes import fake_nodes
from tests.support.processes import Admin, running_cluster

NODES = 10
TOPICS = 500  # of four channels each
FIRST_TABLE_MS_MAX = 500
UPDATE_MS_MEDIAN_MAX = 12
UPDATE_MS_P95_MAX = 16
MEASURED_SECONDS = 20
ATTEMPTS = 3

NOTE_FIRST_ROW = """
new MutationObserver((_, observer) => {
  if (document.querySelector("tr[data-key]") === null) return;
  observer.disconnect();
  requestAnimationFrame(() => {
    document.documentElement.dataset.firstRowMs = performance.now().toFixed(0);
  });
}).observe(document, { childList: true, subtree: true });
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def large(tmp_path_factory: Any) -> AsyncIterator[Admin]:
    async with (
        fake_nodes(NODES, TOPICS) as addresses,
        running_cluster(tmp_path_factory.mktemp("large")) as cluster,
    ):
        yield await cluster.admin(*(f"--nsqd-http-address={address}" for address in addresses))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def troubled(tmp_path_factory: Any) -> AsyncIterator[Admin]:
    """The same, and a third of the channels has a problem whose text changes each second."""
    async with (
        fake_nodes(NODES, TOPICS, are_troubled=True) as addresses,
        running_cluster(tmp_path_factory.mktemp("troubled")) as cluster,
    ):
        yield await cluster.admin(*(f"--nsqd-http-address={address}" for address in addresses))


async def open_home(browser: Browser, large: Admin) -> Page:
    page = await browser.new_page(viewport={"width": 1360, "height": 900})
    await page.add_init_script(NOTE_FIRST_ROW)
    await page.goto(large.url("/"))
    await expect(page.locator(".shown")).to_have_text("2500 of 2500", timeout=20_000)
    return page


async def test_home_is_usable_soon(browser: Browser, large: Admin) -> None:
    page = await open_home(browser, large)
    times_ms = []
    for _ in range(5):
        await page.reload()
        await expect(page.locator("html[data-first-row-ms]")).to_have_count(1)
        times_ms.append(int(await page.locator("html").get_attribute("data-first-row-ms") or 0))
    await page.close()
    sys.stdout.write(f"first table after {statistics.median(times_ms)} ms, of {times_ms}\n")
    # The best: others on the machine can only make it slower.
    assert min(times_ms) < FIRST_TABLE_MS_MAX


async def test_only_rows_on_screen_are_in_the_document(browser: Browser, large: Admin) -> None:
    page = await open_home(browser, large)
    rows = page.locator("tr[data-key]")
    assert await rows.count() < 100
    await expect(page.locator("table.data").first).to_have_attribute("aria-rowcount", "2501")
    await page.mouse.wheel(0, 30_000)
    await expect(rows.filter(has_text="etl.topic_136").first).to_have_count(0)
    assert await rows.count() < 100
    await page.get_by_role("searchbox").fill("topic_499")
    await expect(rows).to_have_count(5)
    await page.close()


async def test_rows_are_walked_far_beyond_those_drawn_at_first(
    browser: Browser, large: Admin
) -> None:
    page = await open_home(browser, large)
    for _ in range(60):
        await page.keyboard.press("j")
    focused = page.locator("tr[data-key]:focus-within")
    await expect(focused).to_have_attribute("aria-rowindex", "61")
    await expect(focused).to_be_in_viewport()
    await page.close()


async def test_movers_are_named_and_lead_there(browser: Browser, large: Admin) -> None:
    page = await open_home(browser, large)
    movers = page.get_by_role("region", name="Movers")
    busiest = movers.get_by_role("list").last.get_by_role("listitem")
    await expect(busiest).to_have_count(3)
    await expect(busiest.first).to_contain_text(re.compile(r"topic_\d+"))
    await check_accessible(page)
    await save_screenshot(page, "home-large")
    await busiest.first.get_by_role("link").click()
    await expect(page).to_have_url(re.compile(r"/topics/\w+\.topic_\d+$"))
    await page.close()


async def test_an_update_leaves_time_for_the_reader(browser: Browser, large: Admin) -> None:
    await check_updates(await open_home(browser, large))


async def test_an_update_with_hundreds_of_problems_does_so_too(
    browser: Browser, troubled: Admin
) -> None:
    page = await open_home(browser, troubled)
    more = page.get_by_role("button", name=re.compile(r"and \d\d\d more"))
    await expect(more).to_be_visible(timeout=20_000)
    assert await page.locator(".attention li").count() == 8
    await check_updates(page)


async def check_updates(page: Page) -> None:
    """Measure, and close the page."""
    await page.wait_for_timeout(3000)  # what a new page does once is over
    median = p95 = 0.0
    for _ in range(ATTEMPTS):
        busy_ms = await main_thread_ms_by_second(page)
        median, p95 = statistics.median(busy_ms), sorted(busy_ms)[int(len(busy_ms) * 0.95)]
        sys.stdout.write(f"main thread: median {median:.1f} ms, p95 {p95:.1f} ms, of {busy_ms}\n")
        # Others on the machine can only make it longer: they take the caches.
        if p95 < UPDATE_MS_P95_MAX:
            break
    await page.close()
    assert median < UPDATE_MS_MEDIAN_MAX
    assert p95 < UPDATE_MS_P95_MAX


async def main_thread_ms_by_second(page: Page) -> list[float]:
    """The processor time of all tasks of the page's main thread, in each of some seconds."""
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable", {"timeDomain": "threadTicks"})
    totals_ms = []
    for _ in range(MEASURED_SECONDS + 1):
        metrics = (await session.send("Performance.getMetrics"))["metrics"]
        totals_ms += [each["value"] * 1e3 for each in metrics if each["name"] == "TaskDuration"]
        await page.wait_for_timeout(1000)
    return [round(after - before, 1) for before, after in pairwise(totals_ms)]
