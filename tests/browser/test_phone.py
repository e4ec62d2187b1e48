"""The pages on a phone: nothing hangs over the edge, and axe finds no fault there either."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.support.browser import Stage, Watch, check_accessible, open_page, save_screenshot

PAGES = ["/", "/topics/orders", "/topics/orders/billing", "/topics/orders/messages", "/nodes"]
PAGES += ["/topology", "/registry", "/activity", "/publish", "/settings"]


@pytest_asyncio.fixture(loop_scope="session")
async def phone(browser: Browser, stage: Stage, watch: Watch) -> AsyncIterator[Page]:
    async with await browser.new_context(
        base_url=stage.url,
        viewport={"width": 390, "height": 844},
        device_scale_factor=2,
        has_touch=True,
        is_mobile=True,
    ) as context:
        watch.add(context)
        yield await context.new_page()
    watch.check()


@pytest.mark.parametrize("path", PAGES)
async def test_page_fits(phone: Page, path: str) -> None:
    await open_page(phone, path)
    width = await phone.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    await check_accessible(phone)
    await save_screenshot(phone, f"phone{path.replace('/', '-')}".rstrip("-"))


async def test_main_pages_are_one_touch_away(phone: Page) -> None:
    await open_page(phone, "/")
    await phone.get_by_role("navigation", name="Pages").get_by_role("link", name="Nodes").tap()
    await expect(phone.get_by_role("heading", level=1)).to_have_text("Nodes")


async def test_a_channel_is_paused_with_a_thumb(phone: Page, stage: Stage) -> None:
    await stage.make_topic("thumbed", channels=["c"])
    await open_page(phone, "/topics/thumbed/c")
    await phone.get_by_role("button", name="Pause").tap()
    dialog = phone.get_by_role("dialog")
    await dialog.get_by_role("button", name="Pause channel").tap()
    await expect(dialog.get_by_role("status")).to_contain_text("Done on 1")
