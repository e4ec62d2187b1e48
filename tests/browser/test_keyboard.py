"""Everything by the keyboard alone; no test here touches the mouse."""

import re

from playwright.async_api import Page, expect

from tests.support.browser import Stage, check_accessible, open_page, save_screenshot


async def test_palette_goes_to_a_channel(page: Page) -> None:
    await open_page(page, "/")
    await page.keyboard.press("Control+k")
    await expect(page.get_by_role("combobox")).to_be_focused()
    await page.keyboard.type("bill ord")
    await expect(page.get_by_role("option").first).to_contain_text("orders/billing")
    await check_accessible(page)
    await save_screenshot(page, "palette")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/topics/orders/billing$"))
    await expect(page.get_by_role("heading", level=1)).to_be_focused()


async def test_palette_chooses_with_arrows_and_closes_with_escape(page: Page) -> None:
    await open_page(page, "/")
    await page.keyboard.press("Control+k")
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("option").nth(1)).to_have_attribute("aria-selected", "true")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowUp")
    await expect(page.get_by_role("option").last).to_have_attribute("aria-selected", "true")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_letters_go_to_pages(page: Page) -> None:
    await open_page(page, "/")
    places = {"n": "Nodes", "o": "Topology", "r": "Registry", "a": "Activity", "s": "Settings"}
    for letter, title in places.items():
        await page.keyboard.press("g")
        await page.keyboard.press(letter)
        await expect(page.get_by_role("heading", level=1)).to_have_text(title)
    await page.keyboard.press("g")
    await page.keyboard.press("t")
    await expect(page.get_by_role("table", name="Topics and channels")).to_be_visible()


async def test_slash_searches_and_letters_are_letters_there(page: Page) -> None:
    await open_page(page, "/")
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.keyboard.type("g n .")
    await expect(page.get_by_role("searchbox")).to_have_value("g n .")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("searchbox")).not_to_be_focused()


async def test_rows_are_walked_with_j_and_k_and_opened(page: Page) -> None:
    await open_page(page, "/?show=topics&q=orders")
    await page.keyboard.press("j")
    table = page.get_by_role("table", name="Topics and channels")
    await expect(table.get_by_role("link", name="orders", exact=True)).to_be_focused()
    await page.keyboard.press("k")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/topics/orders$"))


async def test_groups_are_opened_by_the_keyboard(page: Page, stage: Stage) -> None:
    await stage.make_topic("zz_keys.one", channels=["c"])
    await stage.make_topic("zz_keys.two", channels=["c"])
    await open_page(page, "/?group=prefix&sort=-name")
    head = page.locator('tr[data-key="zz_keys.*"]').get_by_role("button")
    await head.focus()
    await page.keyboard.press("Enter")
    await expect(head).to_have_attribute("aria-expanded", "true")
    await expect(head).to_be_focused()
    await page.keyboard.press("j")
    await expect(page.locator('tr[data-key="zz_keys.two"]').get_by_role("link")).to_be_focused()


async def test_p_publishes_to_the_topic_on_screen(page: Page) -> None:
    await open_page(page, "/topics/orders/billing")
    await page.keyboard.press("p")
    await expect(page).to_have_url(re.compile("/topics/orders/publish$"))
    await open_page(page, "/nodes")
    await page.keyboard.press("p")
    await expect(page).to_have_url(re.compile("/publish$"))


async def test_focus_stays_on_its_row_while_numbers_change(page: Page) -> None:
    await open_page(page, "/?sort=-out")
    link = page.get_by_role("link", name="orders/billing")
    await link.focus()
    cell = page.locator('tr[data-key="orders/billing"] td').nth(4)
    before = await cell.inner_text()
    await expect(cell).not_to_have_text(before, timeout=15_000)
    await expect(link).to_be_focused()


async def test_help_lists_the_keys(page: Page) -> None:
    await open_page(page, "/")
    await page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    await expect(dialog).to_contain_text("Go to anything")
    await check_accessible(page)
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)


async def test_a_channel_is_emptied_without_a_mouse(page: Page, stage: Stage) -> None:
    await stage.make_topic("keyed", b"1", channels=["c"])
    await open_page(page, "/topics/keyed/c")
    await page.keyboard.press("Control+k")
    await page.keyboard.type("empty channel")
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("textbox")).to_be_focused()
    await page.keyboard.type("c")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("button", name="Done")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)
    stats = await stage.channel_stats("keyed", "c")
    assert stats is not None
    assert stats["depth"] == 0


async def test_topology_is_walked_by_tab_and_enter(page: Page) -> None:
    await open_page(page, "/topology?q=orders")
    topic = page.get_by_role("button", name=re.compile("^topic orders"))
    await topic.focus()
    await page.keyboard.press("Enter")
    await expect(topic).to_have_attribute("aria-pressed", "true")
    await page.keyboard.press("Escape")
    await expect(topic).to_have_attribute("aria-pressed", "false")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/topics/orders$"))


async def test_first_tab_leads_to_the_content(page: Page) -> None:
    await open_page(page, "/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="To the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()


async def test_enter_does_what_a_dialog_is_for(page: Page, stage: Stage) -> None:
    await stage.make_topic("entered", b"1", channels=["c"])
    await open_page(page, "/topics/entered/c")
    head = page.locator(".page-head")
    dialog = page.get_by_role("dialog")
    await head.get_by_role("button", name="Pause", exact=True).focus()
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("button", name="Pause channel")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("button", name="Done")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)
    await expect(page.locator(".page-title .badge")).to_have_text("paused")


async def test_no_dialog_begins_at_its_close(page: Page, stage: Stage) -> None:
    await stage.make_topic("begun", b"1", channels=["c"])
    dialog = page.get_by_role("dialog")
    for path, button in (
        ("/topics/begun/c", "Seek"),
        ("/topics/begun/c", "Empty"),
        ("/topics/begun/c", "Delete"),
        ("/topics/begun", "Create channel"),
        ("/topics/begun", "Pause"),
    ):
        await open_page(page, path)
        opener = page.locator("main").get_by_role("button", name=button, exact=True).first
        await opener.focus()
        await page.keyboard.press("Enter")
        await expect(dialog.locator(".impact strong, .impact.quiet").first).to_be_visible()
        await expect(dialog.get_by_role("button", name="Close")).not_to_be_focused()
        await expect(dialog.locator(":focus")).to_have_count(1)
        if not await dialog.locator("select:focus").count():  # which it would open
            await page.keyboard.press("Enter")  # on a heading or in an empty field
            await expect(dialog).to_have_count(1)
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
