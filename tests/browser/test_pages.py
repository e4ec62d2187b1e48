"""Every page against the real cluster shows what is there."""

import re

from playwright.async_api import Page, expect

from tests.support.browser import Stage, open_page, save_screenshot

A_RATE = re.compile(r"^[1-9][\d.,]*$")


async def test_home_shows_each_topic_and_channel_with_its_numbers(page: Page) -> None:
    await open_page(page, "/?q=orders")
    row = page.get_by_role("row", name="orders/billing")
    await expect(row.get_by_role("cell").nth(4)).to_have_text(A_RATE)  # out a second
    await page.get_by_role("searchbox").fill("emails")
    emails = page.get_by_role("row", name="emails/sender")
    await expect(emails.get_by_role("cell").nth(1)).to_have_text("12")
    await expect(emails).to_contain_text("no consumers")


async def test_home_says_what_needs_attention_and_leads_there(page: Page) -> None:
    await open_page(page, "/")
    item = page.get_by_role("link", name="emails/sender has no consumer")
    await item.click()
    await expect(page).to_have_url(re.compile("/topics/emails/sender$"))
    await expect(page.get_by_role("heading", level=1)).to_have_text("sender")
    # It was there when the dashboard began to look.
    await expect(page.locator(".attention .since")).to_contain_text("for at least")


async def test_search_sort_and_state_are_in_the_url(page: Page) -> None:
    await open_page(page, "/")
    await page.get_by_role("searchbox").fill("audit archive")
    await page.get_by_role("button", name="Depth").click()
    await page.get_by_role("button", name="channels", exact=True).click()
    await expect(page).to_have_url(re.compile(r"\?q=audit\+archive&sort=-depth&show=channels$"))
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.reload()
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.locator("tbody")).to_contain_text("audit.log/archive")
    await expect(page.get_by_role("searchbox")).to_have_value("audit archive")


async def test_state_filters_rows(page: Page) -> None:
    await open_page(page, "/?state=no-consumers")
    await expect(page.locator("tbody")).to_contain_text("emails/sender")
    await expect(page.locator("tbody")).not_to_contain_text("billing")


async def test_topics_are_grouped_by_prefix_and_groups_open(page: Page, stage: Stage) -> None:
    await stage.make_topic("a_family.one", b"1", b"2", channels=["c"])
    await stage.make_topic("a_family.two", b"1", channels=["c"])
    await open_page(page, "/")
    await page.get_by_role("button", name="Group by prefix").click()
    head = page.locator('tr[data-key="a_family.*"]')
    await expect(head).to_contain_text("2 topics")
    await expect(head.get_by_role("cell").nth(1)).to_have_text("3")  # messages wait in both
    await expect(page.locator('tr[data-key="a_family.one"]')).to_have_count(0)
    await head.get_by_role("button").click()
    await expect(page.locator('tr[data-key="a_family.one/c"]')).to_be_visible()
    await expect(page).to_have_url(re.compile(r"\?group=prefix&open=a_family\.$"))
    await page.reload()
    await expect(head.get_by_role("button")).to_have_attribute("aria-expanded", "true")
    await page.get_by_role("button", name="Group by prefix").click()
    await expect(head).to_have_count(0)
    await expect(page.locator('tr[data-key="a_family.one"]')).to_be_visible()


async def test_topic_shows_its_channels_and_its_nodes(page: Page, stage: Stage) -> None:
    await open_page(page, "/topics/orders")
    await expect(page.get_by_role("table", name="Channels")).to_contain_text("archive")
    nodes = page.get_by_role("table", name="Nodes that have the topic")
    for node in stage.nodes:
        await expect(nodes).to_contain_text(node.http_address)


async def test_charts_draw_and_have_their_numbers_as_a_table(page: Page) -> None:
    await open_page(page, "/topics/orders")
    await expect(page.locator(".chart canvas")).to_have_count(2)
    await page.locator(".chart summary").first.click()
    table = page.get_by_role("table", name="The last points of the chart").first
    await expect(table.get_by_role("row").nth(2)).to_be_visible()
    await page.get_by_role("button", name="1 h").click()
    await expect(page).to_have_url(re.compile("range=1h"))


async def test_channel_shows_who_consumes(page: Page) -> None:
    await open_page(page, "/topics/orders/billing")
    clients = page.get_by_role("table", name="Consumers")
    await expect(clients.locator("tbody tr")).to_have_count(3)  # one connection per node
    await expect(clients).to_contain_text("nsqx/")


async def test_names_with_signs_are_reachable(page: Page) -> None:
    await open_page(page, "/?q=search")
    await page.get_by_role("link", name="audit.log/search#ephemeral", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("search#ephemeral")
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("search#ephemeral")


async def test_nodes_and_node(page: Page, stage: Stage) -> None:
    await open_page(page, "/nodes")
    table = page.get_by_role("table", name="Nodes")
    await expect(table.locator("tbody tr")).to_have_count(3)
    await expect(page.get_by_role("table", name="Directories").locator("tbody tr")).to_have_count(2)
    row = table.get_by_role("row").filter(has_text=stage.nodes[1].http_address)
    await row.get_by_role("link").click()
    await expect(page.locator(".subtitle")).to_contain_text(stage.nodes[1].tcp_address)
    holdings = page.get_by_role("table", name="Topics and channels on this node")
    await expect(holdings).to_contain_text("orders")


async def test_topology_shows_what_belongs_together(page: Page) -> None:
    await open_page(page, "/topology")
    topic = page.get_by_role("button", name=re.compile("^topic orders"))
    await topic.click()
    await expect(page).to_have_url(re.compile("focus=orders"))
    await expect(page.get_by_role("button", name=re.compile("^topic emails"))).to_have_class(
        re.compile("dim")
    )
    await expect(page.get_by_role("button", name=re.compile("^channel billing"))).not_to_have_class(
        re.compile("dim")
    )
    await save_screenshot(page, "topology-focus")
    await topic.dblclick()
    await expect(page).to_have_url(re.compile("/topics/orders$"))


async def test_topology_is_a_table_too(page: Page) -> None:
    await open_page(page, "/topology?view=table&q=orders")
    rows = page.get_by_role("table", name="What is connected to what")
    await expect(rows).to_contain_text("orders")
    await expect(rows).to_contain_text("billing")


async def test_registry_agrees(page: Page, stage: Stage) -> None:
    await open_page(page, "/registry?q=orders")
    table = page.get_by_role("table", name="Registrations")
    await expect(table.locator("tbody tr")).to_have_count(3)
    for lookupd in stage.lookupds:
        await expect(table.get_by_role("columnheader", name=lookupd.http_address)).to_be_visible()


async def test_counter_counts(page: Page) -> None:
    await open_page(page, "/counter")
    before = await page.locator(".counter").inner_text()
    await expect(page.locator(".counter")).not_to_have_text(before)


async def test_what_is_not_there_is_said(page: Page) -> None:
    await open_page(page, "/topics/never_was")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
    await expect(page.locator("main")).to_contain_text("No node has a topic never_was")


async def test_options_of_nodes_are_beside_each_other(page: Page) -> None:
    await open_page(page, "/settings")
    section = page.get_by_role("region", name="Options of the nodes")
    rows = section.locator("tbody tr")
    await expect(rows.filter(has_text="lookupd_tcp_address")).to_be_visible()
    await expect(rows.filter(has_text="msg_timeout")).to_have_count(0)
    await section.get_by_role("button", name="all", exact=True).click()
    await section.get_by_role("searchbox").fill("msg_timeout")
    row = rows.filter(has_text="max_msg_timeout")
    await expect(row).to_contain_text("15m0s")
    await expect(row).to_contain_text("default")
    await expect(page).to_have_url(re.compile("q=msg_timeout"))


async def test_theme_is_remembered(page: Page) -> None:
    await open_page(page, "/settings")
    await page.get_by_role("button", name="dark", exact=True).click()
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
