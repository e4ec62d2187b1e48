"""
The home page with 2,000 channels on ten nodes: what is in the document, and how one finds a row.

The nodes are imitated (their /stats only), the dashboard and the browser are real. How soon the
page is there and what an update costs is measured by ``python -m benchmarks.home_page``.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from benchmarks.imitated_nodes import imitated_nodes
from tests.support.browser import check_accessible, save_screenshot
from tests.support.processes import Admin, running_cluster

NODES = 10
TOPICS = 500  # of four channels each


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def large(tmp_path_factory: Any) -> AsyncIterator[Admin]:
    async with (
        imitated_nodes(NODES, TOPICS) as addresses,
        running_cluster(tmp_path_factory.mktemp("large")) as cluster,
    ):
        yield await cluster.admin(*(f"--nsqd-http-address={address}" for address in addresses))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def troubled(tmp_path_factory: Any) -> AsyncIterator[Admin]:
    """The same, and a third of the channels has a problem whose text changes each second."""
    async with (
        imitated_nodes(NODES, TOPICS, are_troubled=True) as addresses,
        running_cluster(tmp_path_factory.mktemp("troubled")) as cluster,
    ):
        yield await cluster.admin(*(f"--nsqd-http-address={address}" for address in addresses))


async def open_home(browser: Browser, large: Admin) -> Page:
    page = await browser.new_page(viewport={"width": 1360, "height": 900})
    await page.goto(large.url("/"))
    await expect(page.locator(".shown")).to_have_text("2500 of 2500", timeout=20_000)
    return page


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


async def test_of_hundreds_of_problems_the_worst_are_shown(
    browser: Browser, troubled: Admin
) -> None:
    page = await open_home(browser, troubled)
    more = page.get_by_role("button", name=re.compile(r"and \d+ more"))
    await expect(more).to_be_visible(timeout=20_000)
    shown = page.locator(".attention li")
    assert await shown.count() == 8
    await more.click()
    # Fifty of a kind are told one by one, what is left by one sentence.
    await expect(shown.filter(has_text=re.compile(r"\d\d\d more are like these"))).to_have_count(1)
    await page.close()
