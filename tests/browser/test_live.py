"""Numbers that change by themselves, and say how old they are when they cannot."""

import re
import signal

from playwright.async_api import Page, Route, expect

from tests.support.browser import Stage, Watch, open_page, save_screenshot

# The connection is in a worker, where Playwright has no hand on WebSockets.
REFUSED_WEBSOCKETS = """
globalThis.WebSocket = class {
  static OPEN = 1;
  readyState = 3;
  constructor() { setTimeout(() => this.onclose()); }
};
"""
AGE = re.compile(r"stale( \d+ s| 1 min)")


async def test_a_new_topic_appears_by_itself(page: Page, stage: Stage) -> None:
    await open_page(page, "/?q=newborn")
    await expect(page.locator(".empty")).to_be_visible()
    await stage.make_topic("newborn", b"1", channels=["c"])
    await expect(page.locator('tr[data-key="newborn/c"]')).to_be_visible()


async def test_live_updates_can_be_stopped(page: Page) -> None:
    await open_page(page, "/counter")
    await page.keyboard.press(".")
    await expect(page.get_by_role("status").filter(has_text="Stopped")).to_be_visible()
    before = await page.locator(".counter").inner_text()
    await page.wait_for_timeout(2500)
    assert await page.locator(".counter").inner_text() == before
    await page.keyboard.press(".")
    await expect(page.locator(".counter")).not_to_have_text(before)


async def test_without_websockets_it_polls(page: Page) -> None:
    async def refuse(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=await answer.text() + REFUSED_WEBSOCKETS)

    await page.route("**/app/worker.mjs", refuse)
    await page.goto("/counter")
    await expect(page.get_by_role("button", name="Live updates: Polling")).to_be_visible()
    before = await page.locator(".counter").inner_text()
    await expect(page.locator(".counter")).not_to_have_text(before)


async def test_a_frozen_node_keeps_its_row_and_shows_its_age(page: Page, stage: Stage) -> None:
    node = stage.nodes[2]
    node.send_signal(signal.SIGSTOP)
    try:
        await open_page(page, "/nodes")
        row = page.get_by_role("row").filter(has_text=node.http_address)
        await expect(row).to_contain_text(AGE, timeout=15_000)
        await expect(page.get_by_role("table", name="Nodes").locator("tbody tr")).to_have_count(3)
        await save_screenshot(page, "node-frozen")
        await open_page(page, "/?q=orders")
        await expect(page.locator("h1")).to_have_class(re.compile("critical"), timeout=15_000)
        await expect(page.locator(".attention")).to_contain_text(node.http_address)
        await expect(page.locator('tr[data-key="orders"]')).to_contain_text("partly stale")
        await save_screenshot(page, "home-frozen")
    finally:
        node.send_signal(signal.SIGCONT)
    await expect(page.locator('tr[data-key="orders"]')).not_to_contain_text(
        "partly stale", timeout=15_000
    )


async def test_a_frozen_directory_is_shown_as_stale(page: Page, stage: Stage) -> None:
    lookupd = stage.lookupds[1]
    lookupd.send_signal(signal.SIGSTOP)
    try:
        await open_page(page, "/nodes")
        row = page.get_by_role("table", name="Directories").get_by_role("row")
        await expect(row.filter(has_text=lookupd.http_address)).to_contain_text(AGE, timeout=15_000)
        await expect(page.get_by_role("table", name="Nodes").locator("tbody tr")).to_have_count(3)
    finally:
        lookupd.send_signal(signal.SIGCONT)


async def test_a_dashboard_that_comes_back_is_found_again(
    page: Page, stage: Stage, watch: Watch
) -> None:
    watch.allowed += ["WebSocket connection", "ERR_CONNECTION_REFUSED", "Failed to load resource"]
    await open_page(page, "/counter")
    await stage.admin.stop()
    await expect(page.get_by_role("status").filter(has_text="does not answer")).to_be_visible(
        timeout=15_000
    )
    await stage.admin.start()
    await expect(page.get_by_role("button", name="Live updates: Live")).to_be_visible(
        timeout=20_000
    )
    before = await page.locator(".counter").inner_text()
    await expect(page.locator(".counter")).not_to_have_text(before)


async def test_motion_stops_for_who_wants_none(page: Page) -> None:
    await page.emulate_media(reduced_motion="reduce")
    await open_page(page, "/topology")
    duration = await page.locator(".thing").first.evaluate(
        "element => getComputedStyle(element).transitionDuration"
    )
    assert duration == "0s"


async def test_a_frozen_dashboard_is_not_live_for_long(page: Page, stage: Stage) -> None:
    await open_page(page, "/counter")
    stage.admin.send_signal(signal.SIGSTOP)
    try:
        live = page.get_by_role("button", name="Live updates: Live")
        await expect(live).to_have_count(0, timeout=9_000)
    finally:
        stage.admin.send_signal(signal.SIGCONT)
    await expect(live).to_be_visible(timeout=20_000)
