"""Each action, from its button to the node: impact first, names typed, results per node."""

import re
import signal

from playwright.async_api import Locator, Page, expect

from tests.support.browser import Stage, Watch, check_accessible, open_page, save_screenshot
from tests.support.processes import eventually


async def open_action(page: Page, path: str, button: str) -> Locator:
    """Press a button of a page and return the dialog, when it says what would change."""
    await open_page(page, path)
    await page.locator(".page-head").get_by_role("button", name=button, exact=True).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.locator(".impact strong")).to_be_visible()
    return dialog


async def finish(dialog: Locator, button: str) -> None:
    """Do it, and leave when every node did."""
    await dialog.get_by_role("button", name=button, exact=True).click()
    await expect(dialog.get_by_role("status")).to_contain_text("Done on")
    await dialog.get_by_role("button", name="Done", exact=True).click()
    await expect(dialog).to_have_count(0)


async def test_pause_and_unpause_a_channel(page: Page, stage: Stage) -> None:
    await stage.make_topic("pausing", b"1", channels=["c"])
    dialog = await open_action(page, "/topics/pausing/c", "Pause")
    await finish(dialog, "Pause channel")
    await expect(page.locator(".page-title .badge")).to_have_text("paused")
    stats = await stage.channel_stats("pausing", "c")
    assert stats is not None
    assert stats["paused"]
    dialog = await open_action(page, "/topics/pausing/c", "Unpause")
    await finish(dialog, "Unpause channel")
    await expect(page.locator(".page-head").get_by_role("button", name="Pause")).to_be_visible()
    stats = await stage.channel_stats("pausing", "c")
    assert stats is not None
    assert not stats["paused"]


async def test_what_failed_on_a_node_can_be_tried_again(page: Page, stage: Stage) -> None:
    node = stage.nodes[2]
    dialog = await open_action(page, "/topics/orders/archive", "Pause")
    node.send_signal(signal.SIGSTOP)
    try:
        await dialog.get_by_role("button", name="Pause channel").click()
        await expect(dialog.get_by_role("status")).to_contain_text(
            "Failed on 1 of 3", timeout=15_000
        )
        failed = dialog.get_by_role("row").filter(has_text=node.http_address)
        await expect(failed).to_contain_text("failed")
        await save_screenshot(page, "dialog-failed")
    finally:
        node.send_signal(signal.SIGCONT)
    await dialog.get_by_role("button", name="Try the failed again").click()
    await expect(dialog.get_by_role("status")).to_contain_text("Done on 3", timeout=15_000)
    await dialog.get_by_role("button", name="Done", exact=True).click()
    for each in stage.nodes:
        await each.post("/channel/unpause?topic=orders&channel=archive")


async def test_pause_and_unpause_a_topic(page: Page, stage: Stage) -> None:
    await stage.make_topic("pausing_topic", channels=["c"])
    dialog = await open_action(page, "/topics/pausing_topic", "Pause")
    await finish(dialog, "Pause topic")
    dialog = await open_action(page, "/topics/pausing_topic", "Unpause")
    await finish(dialog, "Unpause topic")


async def test_empty_a_channel_wants_its_name(page: Page, stage: Stage) -> None:
    await stage.make_topic("emptying", b"1", b"2", b"3", channels=["backlog"])
    dialog = await open_action(page, "/topics/emptying/backlog", "Empty")
    await expect(dialog.locator(".impact")).to_contain_text("3 messages")
    await check_accessible(page)
    await save_screenshot(page, "dialog-empty")
    button = dialog.get_by_role("button", name="Empty channel")
    await expect(button).to_be_disabled()
    await dialog.get_by_role("textbox").fill("backlo")
    await expect(button).to_be_disabled()
    await dialog.get_by_role("textbox").fill("backlog")
    await finish(dialog, "Empty channel")
    stats = await stage.channel_stats("emptying", "backlog")
    assert stats is not None
    assert stats["depth"] == 0


async def test_cancelling_changes_nothing(page: Page, stage: Stage) -> None:
    await stage.make_topic("cancelling", b"1", channels=["c"])
    dialog = await open_action(page, "/topics/cancelling/c", "Empty")
    await dialog.get_by_role("textbox").fill("c")
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    stats = await stage.channel_stats("cancelling", "c")
    assert stats is not None
    assert stats["depth"] == 1


async def test_delete_a_channel_then_its_topic(page: Page, stage: Stage) -> None:
    await stage.make_topic("deleting", b"1", channels=["c"])
    dialog = await open_action(page, "/topics/deleting/c", "Delete")
    await dialog.get_by_role("textbox").fill("c")
    await finish(dialog, "Delete channel")
    await expect(page).to_have_url(re.compile("/topics/deleting$"))
    assert await stage.channel_stats("deleting", "c") is None
    dialog = await open_action(page, "/topics/deleting", "Delete")
    await dialog.get_by_role("textbox").fill("deleting")
    await finish(dialog, "Delete topic")
    await expect(page).to_have_url(f"{stage.url}/")
    stats = await stage.nodes[0].get_json("/stats?format=json&topic=deleting")
    assert not stats["topics"]


async def test_empty_a_topic(page: Page, stage: Stage) -> None:
    await stage.make_topic("emptying_topic", b"1")
    dialog = await open_action(page, "/topics/emptying_topic", "Empty")
    await dialog.get_by_role("textbox").fill("emptying_topic")
    await finish(dialog, "Empty topic")
    stats = await stage.nodes[0].get_json("/stats?format=json&topic=emptying_topic")
    assert stats["topics"][0]["depth"] == 0


async def test_create_a_topic_and_a_channel(page: Page, stage: Stage) -> None:
    await open_page(page, "/")
    await page.get_by_role("button", name="Create topic").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox", name="Topic").fill("made_here")
    await dialog.get_by_role("combobox").select_option(stage.nodes[0].http_address)
    await expect(dialog.locator(".impact strong")).to_be_visible()
    await finish(dialog, "Create topic")
    await expect(page.get_by_role("heading", level=1)).to_have_text("made_here")
    await page.locator(".page-head").get_by_role("button", name="Create channel").click()
    await dialog.get_by_role("textbox", name="Channel").fill("c1")
    await expect(dialog.locator(".impact strong")).to_be_visible()
    await finish(dialog, "Create channel")
    await expect(page.get_by_role("heading", level=1)).to_have_text("c1")
    assert await stage.channel_stats("made_here", "c1") is not None


async def test_create_a_topic_that_only_directories_know(page: Page, stage: Stage) -> None:
    await open_page(page, "/registry")
    await page.get_by_role("button", name="Create topic").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox", name="Topic").fill("announced")
    await expect(dialog.locator(".impact strong")).to_contain_text("2 nsqlookupds")
    await finish(dialog, "Create topic")
    inactive = page.get_by_role("table", name="Topics that directories know and no node has")
    row = inactive.get_by_role("row").filter(has_text="announced")
    await row.get_by_role("button", name="Delete").click()
    await dialog.get_by_role("textbox").fill("announced")
    await finish(dialog, "Delete topic")
    await expect(row).to_have_count(0)
    topics = await stage.lookupds[0].get_json("/topics")
    assert "announced" not in topics["topics"]


async def test_a_wrong_name_is_refused_in_words(page: Page, watch: Watch) -> None:
    watch.allowed.append("400")
    await open_page(page, "/")
    await page.get_by_role("button", name="Create topic").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox", name="Topic").fill("no spaces please")
    await expect(dialog.get_by_role("alert")).to_be_visible()
    await expect(dialog.get_by_role("button", name="Create topic")).to_be_disabled()


async def test_seek_moves_a_channel_back(page: Page, stage: Stage) -> None:
    await stage.make_topic("seeking", b"1", b"2", channels=["c"])
    await stage.nodes[0].post("/channel/empty?topic=seeking&channel=c")
    dialog = await open_action(page, "/topics/seeking/c", "Seek")
    await dialog.get_by_role("combobox").select_option("start")
    await dialog.get_by_role("textbox").fill("c")
    await finish(dialog, "Seek")
    stats = await stage.channel_stats("seeking", "c")
    assert stats is not None
    assert stats["depth"] == 2


async def test_replay_gives_a_new_channel_what_was_before(page: Page, stage: Stage) -> None:
    await stage.make_topic("replaying", b"1", b"2", channels=["c"])
    await open_page(page, "/topics/replaying/c")
    await page.get_by_role("button", name="Replay").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox", name="Name of the new channel").fill("again")
    await expect(dialog.locator(".impact strong")).to_be_visible()
    await finish(dialog, "Replay into a new channel")
    stats = await stage.channel_stats("replaying", "again")
    assert stats is not None
    assert stats["depth"] == 2


async def test_tombstone_takes_a_topic_off_a_node(page: Page, stage: Stage) -> None:
    await stage.make_topic("buried", channels=["c"])
    await open_page(page, "/topics/buried")
    await page.get_by_role("button", name="Tombstone").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox").fill("buried")
    await finish(dialog, "Tombstone")
    lookup = await stage.lookupds[0].get_json("/lookup?topic=buried")
    assert lookup["producers"] == []


async def test_registry_repairs_what_a_directory_forgot(page: Page, stage: Stage) -> None:
    await stage.make_topic("forgotten", channels=["c"])
    lookupd = stage.lookupds[1]
    await lookupd.post("/topic/delete?topic=forgotten")
    await open_page(page, "/registry?q=forgotten&show=differs")
    row = page.get_by_role("table", name="Registrations").locator("tbody tr")
    await expect(row).to_contain_text("missing")
    await row.get_by_role("button", name="Register again").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.locator(".impact strong")).to_be_visible()
    await finish(dialog, "Register again")
    await expect(row).to_have_count(0)
    lookup = await lookupd.get_json("/lookup?topic=forgotten")
    assert len(lookup["producers"]) == 1


async def test_registry_says_where_a_topic_is_hidden(page: Page, stage: Stage) -> None:
    await stage.make_topic("hidden", channels=["c"])
    node, lookupd = stage.nodes[0], stage.lookupds[0]
    await lookupd.post(f"/topic/tombstone?topic=hidden&node={node.http_address}")
    await open_page(page, "/registry?q=hidden")
    row = page.get_by_role("table", name="Registrations").locator("tbody tr")
    await expect(row).to_contain_text("tombstoned")
    await expect(page.locator(".attention")).to_contain_text(lookupd.http_address)


async def test_publish_once_and_deferred(page: Page, stage: Stage) -> None:
    await stage.make_topic("by_hand", channels=["c"])
    await open_page(page, "/topics/by_hand/publish")
    await page.get_by_role("textbox", name="Body").fill('{"a": 1}')
    await expect(page.locator("form")).to_contain_text("8 B, JSON")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.get_by_role("status").filter(has_text="Done on 1")).to_be_visible()
    await page.get_by_role("button", name="Done").click()
    await page.get_by_role("spinbutton", name="Deliver after").fill("600")
    await page.get_by_role("spinbutton", name="How many times").fill("3")
    await page.get_by_role("button", name="Publish", exact=True).click()
    await expect(page.get_by_role("status").filter(has_text="Done on 1")).to_be_visible()

    async def all_there() -> bool:
        stats = await stage.channel_stats("by_hand", "c")
        return stats is not None and (stats["depth"], stats["deferred_count"]) == (1, 3)

    await eventually(all_there, "one message waits and three are deferred")


async def test_what_was_done_is_in_the_activity(page: Page, stage: Stage) -> None:
    await stage.make_topic("audited", channels=["c"])
    dialog = await open_action(page, "/topics/audited/c", "Pause")
    await finish(dialog, "Pause channel")
    await open_page(page, "/activity")
    row = page.get_by_role("row").filter(has_text="audited/c")
    await expect(row).to_contain_text("Pause channel")
    await expect(row).to_contain_text("done")
    await open_page(page, "/topics/audited/activity")
    await expect(page.get_by_role("row").filter(has_text="Pause channel")).to_have_count(1)


async def test_a_setting_of_a_channel_is_shown_and_changed(page: Page, stage: Stage) -> None:
    await stage.make_topic("settled", b"1", channels=["c"])
    await open_page(page, "/topics/settled/c")
    section = page.locator("#settings")
    row = page.get_by_role("row").filter(has_text="msg_timeout")
    await expect(row).to_contain_text("as the node")
    await row.get_by_role("button", name="Change").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("New value").fill("5m")
    await expect(dialog.locator(".impact strong")).to_contain_text("Sets msg_timeout on")
    await finish(dialog, "Change setting")
    await expect(row).to_contain_text("5m0s")
    await expect(section).to_be_visible()
