"""Message bodies: looked at without effect, followed live, and never more than text."""

import json
import re
import signal

import msgpack
from playwright.async_api import Page, expect

from tests.support.browser import Stage, Watch, check_accessible, open_page, save_screenshot

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


async def test_peek_shows_the_newest_first_and_changes_nothing(page: Page, stage: Stage) -> None:
    await stage.make_topic("peeked", b"first", b"second", b"third", channels=["c"])
    await open_page(page, "/topics/peeked/messages")
    lines = page.locator(".message-line")
    await expect(lines).to_have_count(3)
    await expect(lines.first).to_contain_text("third")
    await expect(lines.last).to_contain_text("first")
    stats = await stage.channel_stats("peeked", "c")
    assert stats is not None
    assert (stats["depth"], stats["in_flight_count"]) == (3, 0)


async def test_peek_from_a_place_and_with_a_filter(page: Page, stage: Stage) -> None:
    bodies = [f"line {number}".encode() for number in range(30)]
    await stage.make_topic("searched", *bodies, channels=["c"])
    await open_page(page, "/topics/searched/messages?from=start")
    await expect(page.locator(".message-line")).to_have_count(20)
    await expect(page.locator(".message-line").last).to_contain_text("line 0")
    await page.get_by_role("searchbox", name="Body contains").fill("line 27")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message-line")).to_have_count(1)
    await expect(page).to_have_url(re.compile(r"from=start&filter=line\+27$"))


async def test_the_slider_moves_through_the_log(page: Page, stage: Stage) -> None:
    bodies = [f"line {number}".encode() for number in range(60)]
    await stage.make_topic("sliding", *bodies, channels=["c"])
    await open_page(page, "/topics/sliding/messages")
    slider = page.get_by_role("slider")
    await slider.focus()
    await page.keyboard.press("Home")
    await expect(page).to_have_url(re.compile("from=seq%3A0"))
    await expect(page.locator(".message-line").last).to_contain_text("line 0")


async def test_a_body_is_shown_as_what_it_is(page: Page, stage: Stage) -> None:
    packed = msgpack.packb({"name": "Ada", "ok": True, "bytes": b"\xff"})
    await stage.make_topic(
        "decoded",
        json.dumps({"order": {"id": 7}}).encode(),
        packed,
        b"\xff\xfe\x00",
        channels=["c"],
    )
    await open_page(page, "/topics/decoded/messages?from=start")
    lines = page.locator(".message-line")
    await lines.nth(2).click()
    details = page.locator(".message-details")
    await expect(details.locator(".tree")).to_contain_text("order:")
    await check_accessible(page)
    await save_screenshot(page, "message-json")
    await details.get_by_role("button", name="hex").click()
    await expect(details.locator("pre")).to_contain_text("7b 22 6f")
    await lines.nth(1).click()
    await expect(details.get_by_role("button", name="msgpack")).to_have_attribute(
        "aria-pressed", "true"
    )
    await expect(details.locator(".tree")).to_contain_text('name: "Ada"')
    await lines.nth(0).click()
    await expect(details.locator("pre")).to_contain_text("0000  ff fe 00")


async def test_messages_are_found_by_an_expression(page: Page, stage: Stage) -> None:
    bodies = [b'{"user": {"id": 7}}', b'{"user": {"id": 8}}', b"no JSON"]
    await stage.make_topic("expressed", *bodies, channels=["c"])
    await open_page(page, "/topics/expressed/messages?from=start")
    lines = page.locator(".message-line")
    await expect(lines).to_have_count(3)
    where = page.get_by_label("Where (JMESPath)")
    await where.fill("body.user.id == `8`")
    await where.press("Enter")
    await expect(lines).to_have_count(1)
    await expect(lines).to_contain_text('"id": 8')
    await expect(page).to_have_url(re.compile("where=body.user.id"))


async def test_an_expression_that_is_none_is_refused_with_the_reason(
    page: Page, stage: Stage, watch: Watch
) -> None:
    watch.allowed += ["400 (Bad Request)"]
    await stage.make_topic("misexpressed", b"1", channels=["c"])
    await open_page(page, "/topics/misexpressed/messages?where=a+b")
    await expect(page.get_by_role("alert")).to_be_visible()


async def test_where_a_message_is_now(page: Page, stage: Stage) -> None:
    await stage.make_topic("placed", b"1", channels=["c"])
    await open_page(page, "/topics/placed/messages")
    await page.locator(".message-line").click()
    await page.get_by_role("button", name="Where is it now?").click()
    table = page.get_by_role("table", name="Where the message is")
    await expect(table.locator("tbody tr")).to_contain_text("waiting")


async def test_html_in_a_body_stays_text(page: Page, stage: Stage) -> None:
    evil = json.dumps({EVIL: EVIL}).encode()
    await stage.make_topic("evil", EVIL.encode(), evil, channels=["c"])
    await open_page(page, "/topics/evil/messages")
    lines = page.locator(".message-line")
    await expect(lines.last).to_contain_text(EVIL)
    await lines.first.click()
    await expect(page.locator(".tree")).to_contain_text(EVIL)
    await lines.last.click()
    await expect(page.locator("pre.body")).to_have_text(EVIL)
    await expect(page.locator("main img, main script")).to_have_count(0)


async def test_tail_follows_pauses_and_filters(page: Page, stage: Stage) -> None:
    await stage.make_topic("followed", channels=["c"])
    await open_page(page, "/topics/followed/tail")
    node = stage.nodes[0]
    lines = page.locator(".message-line")

    async def publish_until_shown() -> None:
        # The tail's channel is there a moment after the page; what came before it is not shown.
        for number in range(100):
            await node.post("/pub?topic=followed", f"early {number}".encode())
            if await lines.count() > 0:
                return
            await page.wait_for_timeout(50)
        raise AssertionError("nothing was tailed")

    await publish_until_shown()
    await page.get_by_role("button", name="Pause").click()
    before = await lines.count()
    await node.post("/pub?topic=followed", b"while paused")
    await expect(page.locator(".tail-counts")).to_contain_text(re.compile("[1-9] wait"))
    assert await lines.count() >= before
    await expect(lines.filter(has_text="while paused")).to_have_count(0)
    await page.get_by_role("button", name="Continue").click()
    await expect(lines.filter(has_text="while paused")).to_have_count(1)
    await expect(page.get_by_role("note")).to_contain_text("nothing is left out")
    await page.get_by_role("searchbox", name="Body contains").fill("needle")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("filter=needle"))
    await expect(lines).to_have_count(0)
    for number in range(100):
        await node.post("/pub?topic=followed", f"hay {number}".encode())
        await node.post("/pub?topic=followed", f"needle {number}".encode())
        if await lines.count() > 0:
            break
        await page.wait_for_timeout(50)
    await expect(lines.first).to_contain_text("needle")
    await expect(lines.filter(has_text="hay")).to_have_count(0)


async def test_copy_as_a_command(page: Page, stage: Stage) -> None:
    await stage.make_topic("copied", b"it's", channels=["c"])
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await open_page(page, "/topics/copied/messages")
    await page.locator(".message-line").click()
    await page.get_by_role("button", name="curl").click()
    await expect(page.get_by_role("button", name="copied")).to_be_visible()
    text = await page.evaluate("navigator.clipboard.readText()")
    address = stage.nodes[0].http_address
    assert (
        text == f"printf %s 'it'\\''s' | curl --data-binary @- 'http://{address}/pub?topic=copied'"
    )


async def test_turning_pages_shows_all_both_ways(page: Page, stage: Stage) -> None:
    bodies = [f"line {number:02}".encode() for number in range(50)]
    await stage.make_topic("turned", *bodies, channels=["c"])
    await open_page(page, "/topics/turned/messages")
    lines = page.locator(".message-line")
    await expect(lines.first).to_contain_text("line 49")
    await page.get_by_role("button", name="Older", exact=True).click()
    await expect(lines.first).to_contain_text("line 29")
    await page.get_by_role("button", name="Older", exact=True).click()
    await expect(lines.first).to_contain_text("line 09")
    await expect(lines).to_have_count(10)
    await expect(page.get_by_role("button", name="Older", exact=True)).to_have_count(0)
    await check_accessible(page)
    await page.get_by_role("button", name="Newer").click()
    await expect(lines.first).to_contain_text("line 29")
    await expect(page.locator(".notes")).to_contain_text("numbers 10 to 29 of 0 to 49")


async def test_a_search_that_has_not_seen_all_says_so_and_goes_on(page: Page, stage: Stage) -> None:
    node = stage.nodes[0]
    await stage.make_topic("haystack", b"the needle", channels=["c"])
    for _ in range(3):
        await node.post("/mpub?topic=haystack", b"\n".join([b"hay"] * 5000))
    await open_page(page, "/topics/haystack/messages?filter=needle")
    status = page.get_by_role("main").get_by_role("status")
    await expect(status).to_contain_text("The search has not seen all")
    await expect(page.locator(".empty")).to_have_text("Nothing so far.")
    # How far one look gets is a matter of time, so it may take several.
    notes = page.locator(".notes")
    while await page.locator(".empty").count():
        seen = await notes.inner_text()
        await page.get_by_role("button", name="Search on in older ones").click()
        await expect(notes).not_to_have_text(seen)
    await expect(page.locator(".message-line")).to_contain_text("the needle")


async def test_a_long_body_is_copied_whole_or_not_at_all(page: Page, stage: Stage) -> None:
    body = b'{"long": "' + "ä".encode() * 50_000 + b'", "n": 9007199254740993}'
    await stage.make_topic("lengthy", body, channels=["c"])
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await open_page(page, "/topics/lengthy/messages")
    await page.locator(".message-line").click()
    details = page.locator(".message-details")
    await expect(details.get_by_role("button", name="curl")).to_have_count(0)
    async with page.expect_download() as saved:
        await details.get_by_role("link", name="Save").click()
    assert (await (await saved.value).path()).read_bytes() == body
    await details.get_by_role("button", name="Load all").click()
    await expect(details.locator(".tree")).to_contain_text("n: 9007199254740993")
    await details.get_by_role("button", name="body").click()
    await expect(details.get_by_role("button", name="copied")).to_be_visible()
    assert (await page.evaluate("navigator.clipboard.readText()")).encode() == body


async def test_no_node_that_answers_is_not_nothing_there(
    page: Page, stage: Stage, watch: Watch
) -> None:
    await stage.make_topic("silent", b"1", channels=["c"])
    stage.nodes[0].send_signal(signal.SIGSTOP)
    try:
        await open_page(page, "/topics/silent/messages")
        await expect(page.locator("main")).to_contain_text("No node gave an answer", timeout=20_000)
        await expect(page.locator("main")).not_to_contain_text("Nothing there")
    finally:
        stage.nodes[0].send_signal(signal.SIGCONT)
