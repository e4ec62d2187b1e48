"""The pages on a phone: nothing hangs over the edge, and axe finds no fault there either."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.support.browser import Stage, Watch, check_accessible, open_page, save_screenshot

# As long as a name may be, with nowhere to break.
LONG_NAME = "machines_make_names_like_this_one_without_a_thought_for_phones_0"
PAGES = ["/", "/topics/orders", "/topics/orders/billing", "/topics/orders/messages", "/nodes"]
PAGES += ["/?group=prefix", f"/topics/{LONG_NAME}", f"/topics/{LONG_NAME}/{LONG_NAME}"]
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
async def test_page_fits(phone: Page, stage: Stage, path: str) -> None:
    if LONG_NAME in path:
        await stage.make_topic(LONG_NAME, b"1", channels=[LONG_NAME])
    await open_page(phone, path)
    width = await phone.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    await check_accessible(phone)
    name = re.sub(r"\W+", "-", path.replace(LONG_NAME, "long")).rstrip("-")
    await save_screenshot(phone, f"phone{name}")


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


async def test_what_is_wrong_comes_before_what_empties_and_deletes(phone: Page) -> None:
    await open_page(phone, "/topics/emails/sender")
    warning = await phone.get_by_role("link", name="emails/sender has no").bounding_box()
    empty = await phone.get_by_role("button", name="Empty").bounding_box()
    assert warning is not None
    assert empty is not None
    assert warning["y"] + warning["height"] < empty["y"]
