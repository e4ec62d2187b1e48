"""
Every page as axe judges it: light, dark, and on a phone, where nothing may hang over the edge.

A proof of its own, since axe takes longer than all that a page does. What opens by a click is
judged where it is tested.
"""

import re
from typing import Literal

import pytest
from playwright.async_api import Page

from tests.support.browser import Stage, check_accessible, open_page, save_screenshot

# As long as a name may be, with nowhere to break.
LONG_NAME = "machines_make_names_like_this_one_without_a_thought_for_phones_0"
PAGES = {
    "home": "/",
    "home-grouped": "/?group=prefix&open=audit.",
    "topic": "/topics/orders",
    "channel": "/topics/orders/billing",
    "channel-backlog": "/topics/emails/sender",
    "messages": "/topics/orders/messages",
    "tail": "/topics/orders/tail?rate=1",
    "publish": "/topics/orders/publish",
    "publish-anywhere": "/publish",
    "topic-activity": "/topics/orders/activity",
    "nodes": "/nodes",
    "topology": "/topology",
    "topology-focus": "/topology?focus=orders",
    "topology-table": "/topology?view=table",
    "registry": "/registry",
    "activity": "/activity",
    "counter": "/counter",
    "settings": "/settings",
    "missing": "/topics/never_was",
}
ON_A_PHONE = ["/", "/topics/orders", "/topics/orders/billing", "/topics/orders/messages", "/nodes"]
ON_A_PHONE += ["/?group=prefix", f"/topics/{LONG_NAME}", f"/topics/{LONG_NAME}/{LONG_NAME}"]
ON_A_PHONE += ["/topology", "/registry", "/activity", "/publish", "/settings"]
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


async def check_in_both_schemes(page: Page, name: str) -> None:
    """A page that is open, as a visitor sees it who prefers it light, and dark."""
    for scheme in SCHEMES:
        # Without motion a colour is at once what it will be.
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        await check_accessible(page)
        await save_screenshot(page, f"{name}-{scheme}")


@pytest.mark.parametrize("name", PAGES)
async def test_axe_finds_nothing(page: Page, name: str) -> None:
    await open_page(page, PAGES[name])
    await check_in_both_schemes(page, name)


async def test_axe_finds_nothing_on_the_page_of_a_node(page: Page, stage: Stage) -> None:
    await open_page(page, f"/nodes/{stage.nodes[0].http_address}")
    await check_in_both_schemes(page, "node")


@pytest.mark.parametrize("path", ON_A_PHONE)
async def test_page_fits(phone: Page, stage: Stage, path: str) -> None:
    if LONG_NAME in path:
        await stage.make_topic(LONG_NAME, b"1", channels=[LONG_NAME])
    await open_page(phone, path)
    width = await phone.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    await check_accessible(phone)
    name = re.sub(r"\W+", "-", path.replace(LONG_NAME, "long")).rstrip("-")
    await save_screenshot(phone, f"phone{name}")
