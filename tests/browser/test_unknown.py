"""
What nobody knows is shown as that, on each page: of a node that never answered, and of a directory
that never did.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from nsqx.admin.daemon import Admin
from nsqx.admin.options import AdminOptions
from tests.support.browser import Watch, open_page
from tests.support.fake_http import fake_http
from tests.support.processes import free_port

UNKNOWN = "\N{EN DASH}"

Opened = Callable[[str], AbstractAsyncContextManager[Page]]


@pytest_asyncio.fixture(loop_scope="session")
async def opened(browser: Browser) -> AsyncIterator[Opened]:
    """Opens the dashboard of a directory in the browser."""

    @asynccontextmanager
    async def open_dashboard(lookupd: str) -> AsyncIterator[Page]:
        options = AdminOptions(http_address="127.0.0.1:0", lookupd_http_address=[lookupd])
        async with Admin(options) as admin:
            base = f"http://{admin.http_address}"
            watch = Watch(admin.http_address)
            async with await browser.new_context(base_url=base) as context:
                watch.add(context)
                yield await context.new_page()
            watch.check()

    yield open_dashboard


async def test_a_node_that_never_answered(opened: Opened) -> None:
    port = free_port()
    producer = {
        "broadcast_address": "127.0.0.1",
        "tcp_port": 1,
        "http_port": port,
        "hostname": "broker",
        "topics": ["orders"],
        "tombstones": [False],
    }
    answers = {"/nodes": {"producers": [producer]}, "/topics": {"topics": ["orders"]}, "/info": {}}
    async with fake_http(answers) as lookupd, opened(lookupd.address) as page:
        await open_page(page, "/")
        for tile in ("in", "depth", "consumers"):
            value = page.locator(".tile", has=page.get_by_text(tile, exact=True)).locator(".value")
            await expect(value).to_have_text(UNKNOWN)
        await expect(page.get_by_text("partly stale")).to_be_visible()
        await open_page(page, "/topics/orders")
        await expect(page.get_by_text("Nothing is known of its channels")).to_be_visible()
        nodes = page.get_by_role("table", name="Nodes that have the topic")
        await expect(nodes.get_by_role("link", name=f"127.0.0.1:{port}")).to_be_visible()
        await expect(nodes.get_by_text("unreachable")).to_be_visible()
        await expect(nodes.get_by_text("0", exact=True)).to_have_count(0)
        await open_page(page, f"/nodes/127.0.0.1:{port}")
        await expect(page.get_by_role("heading", level=1)).to_have_text(f"127.0.0.1:{port}")
        await expect(page.get_by_text("Not known: it has never answered.")).to_have_count(2)
        await open_page(page, "/nodes")
        row = page.get_by_role("row", name=f"127.0.0.1:{port}")
        await expect(row.get_by_text("broker")).to_be_visible()
        await expect(row.get_by_text("0", exact=True)).to_have_count(0)


async def test_nodes_of_a_host_with_a_long_name_are_told_apart(opened: Opened) -> None:
    """Where there is no room for all of a name, its port stays."""
    host = f"ip-10-0-0-12.{'x' * 50}.internal"
    producers = [
        {"broadcast_address": host, "tcp_port": port - 1, "http_port": port, "topics": ["t"]}
        for port in (4151, 4153)
    ]
    answers = {"/nodes": {"producers": producers}, "/topics": {"topics": ["t"]}, "/info": {}}
    async with fake_http(answers) as lookupd, opened(lookupd.address) as page:
        await page.set_viewport_size({"width": 700, "height": 900})
        for path in ("/nodes", "/topics/t"):
            await open_page(page, path)
            for port in (4151, 4153):
                link = page.get_by_role("link", name=f"{host}:{port}").first
                shown = await link.locator("span").last.bounding_box()
                cell = await link.locator("xpath=ancestor::th").bounding_box()
                assert shown is not None
                assert cell is not None
                assert 0 < shown["width"] <= cell["x"] + cell["width"] - shown["x"]


async def test_a_directory_that_never_answered(opened: Opened) -> None:
    async with opened(f"127.0.0.1:{free_port()}") as page:
        await open_page(page, "/")
        await expect(page.get_by_text("Whether there are topics is not known")).to_be_visible()
        nodes = page.locator(".tile", has=page.get_by_text("nodes", exact=True))
        await expect(nodes.locator(".value")).to_have_text(UNKNOWN)
        await open_page(page, "/nodes")
        directory = page.get_by_role("table", name="Directories").get_by_role("row").nth(1)
        await expect(directory.get_by_text("unreachable")).to_be_visible()
        await expect(directory.get_by_text("0", exact=True)).to_have_count(0)
        await page.goto("/plain")
        await expect(page.get_by_text("is not known")).to_have_count(2)
