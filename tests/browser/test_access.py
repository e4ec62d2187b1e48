"""Other ways to run the dashboard: read-only, below a path; and names that want to be markup."""

import re
from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from nsqx.client import Consumer, Settings
from tests.support.browser import Stage, Watch, open_page
from tests.support.processes import Admin

EVIL = "<img src=x onerror=alert(1)>"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def other(stage: Stage) -> AsyncIterator[Admin]:
    """A second dashboard of the same cluster, read-only and below a path."""
    admin = await stage.cluster.admin(
        "--read-only", "--base-path=/tools/nsq", lookupds=stage.lookupds
    )
    yield admin
    await admin.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def guest(browser: Browser, other: Admin) -> AsyncIterator[Page]:
    watch = Watch(other.http_address)
    async with await browser.new_context(base_url=other.url("")) as context:
        watch.add(context)
        yield await context.new_page()
    watch.check()


async def test_pages_work_below_a_path(guest: Page) -> None:
    await open_page(guest, "/tools/nsq/")
    table = guest.get_by_role("table", name="Topics and channels")
    await table.get_by_role("link", name="orders", exact=True).click()
    await expect(guest).to_have_url(re.compile("/tools/nsq/topics/orders$"))
    await expect(guest.get_by_role("heading", level=1)).to_have_text("orders")
    await guest.reload()
    await expect(guest.get_by_role("table", name="Channels")).to_contain_text("billing")
    await guest.keyboard.press("g")
    await guest.keyboard.press("n")
    await expect(guest).to_have_url(re.compile("/tools/nsq/nodes$"))


async def test_who_may_only_look_sees_no_buttons_that_change(guest: Page) -> None:
    await open_page(guest, "/tools/nsq/topics/orders/billing")
    await expect(guest.locator(".page-head button")).to_have_count(0)
    await open_page(guest, "/tools/nsq/publish")
    await expect(guest.locator("textarea")).to_have_count(0)
    await guest.keyboard.press("Control+k")
    await guest.keyboard.type("delete")
    await expect(guest.get_by_role("option")).to_have_count(0)
    await guest.keyboard.press("Escape")
    await expect(guest.locator("footer")).to_contain_text("read-only")


async def test_names_of_clients_stay_text(page: Page, stage: Stage) -> None:
    await stage.make_topic("visited", channels=["c"])
    node = stage.nodes[0].tcp_address
    settings = Settings(hostname=EVIL, client_id=EVIL)
    async with Consumer("visited", "c", nsqd=node, settings=settings):
        await open_page(page, "/topics/visited/c")
        clients = page.get_by_role("table", name="Consumers")
        await expect(clients).to_contain_text(EVIL, timeout=15_000)
        await open_page(page, "/topology?q=visited")
        await expect(page.locator("svg title").filter(has_text=EVIL)).to_have_count(1)
    await expect(page.locator("main img")).to_have_count(0)
