"""
The dashboard in a real Chromium, over a real cluster with traffic.

The cluster and the browser are started once for the folder; a test that changes something makes a
topic of its own. Each page is watched: an error on its console, an exception or a request to any
host but the dashboard's fails the test. Screenshots go to ``artifacts/browser/``.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright
from pytest_asyncio import is_async_test

from tests.support.browser import CHROMIUM, CHROMIUM_FLAGS, Stage, Traffic, Watch
from tests.support.processes import eventually, running_cluster

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep these tests on one worker and one event loop: they share the cluster and the browser."""
    ours = [item for item in items if FOLDER in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.xdist_group("browser"))
        if is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Three nodes, two directories, a dashboard; ``orders`` has traffic, ``emails`` a backlog."""
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running_cluster(tmp_path_factory.mktemp("stage")))
        lookupds = [await cluster.lookupd(), await cluster.lookupd()]
        nodes = [await cluster.nsqd(lookupds=lookupds) for _ in range(3)]
        admin = await cluster.admin(lookupds=lookupds)
        stage = Stage(cluster, lookupds, nodes, admin)
        await stage.make_topic("emails", *[b"{}"] * 12, channels=["sender"])
        await stage.make_topic("audit.log", b"1", channels=["archive", "search#ephemeral"])
        for node in nodes:
            await node.post("/topic/create?topic=orders")
            await node.post("/channel/create?topic=orders&channel=billing")
            await node.post("/channel/create?topic=orders&channel=archive")
        await stack.enter_async_context(Traffic(stage))
        await eventually(stage.sees_traffic, "the dashboard sees orders on every node")
        yield stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium as the system has it; nothing is downloaded."""
    if not CHROMIUM.exists():
        pytest.skip("no Chromium here: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
def watch(stage: Stage) -> Watch:
    return Watch(stage.admin.http_address)


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, stage: Stage, watch: Watch) -> AsyncIterator[Page]:
    """A page of a new visitor; at the end nothing may have gone wrong in it."""
    async with await browser.new_context(
        base_url=stage.url, viewport={"width": 1360, "height": 900}, color_scheme="light"
    ) as context:
        watch.add(context)
        page = await context.new_page()
        page.set_default_timeout(10_000)
        yield page
    watch.check()


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
