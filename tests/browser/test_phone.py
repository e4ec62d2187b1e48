"""What is done with a thumb, and what a small screen shows first."""

from playwright.async_api import Page, expect

from tests.support.browser import Stage, open_page


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
