"""``--notification-http-endpoint``: told of each change, in order, and never waited for."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from nsqx.admin.daemon import Admin
from nsqx.admin.options import AdminOptions
from tests.support.fake_http import FakeHttp, fake_http

WRITE = {"X-NSQX-Request": "1", "User-Agent": "a page"}


class Endpoint:
    """Notes what it is told; answers when it may."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.status = 200
        self.address = ""

    async def handle(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        self.told.put_nowait(json.loads(await request.read()))
        await self.may_answer.wait()
        return web.Response(status=self.status)


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    hook, app = Endpoint(), web.Application()
    app.router.add_post("/hook", hook.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.address = "{}:{}".format(*runner.addresses[0][:2])
    try:
        yield hook
    finally:
        hook.may_answer.set()
        await runner.cleanup()


@pytest.fixture
async def nsqd() -> AsyncIterator[FakeHttp]:
    stats = {"topics": [{"topic_name": "t", "channels": [{"channel_name": "c"}]}]}
    async with fake_http({"/stats": stats, "/channel/pause": "", "/pub": "OK"}) as fake:
        port = int(fake.address.rpartition(":")[2])
        fake.answers["/info"] = {
            "broadcast_address": "127.0.0.1",
            "tcp_port": 1,
            "http_port": port,
        }
        yield fake


@asynccontextmanager
async def acting(nsqd: FakeHttp, hook: Endpoint) -> AsyncIterator["Acting"]:
    options = AdminOptions(
        http_address="127.0.0.1:0",
        nsqd_http_address=[nsqd.address],
        notification_http_endpoint=f"http://{hook.address}/hook",
    )
    async with Admin(options) as admin, aiohttp.ClientSession(headers=WRITE) as session:
        acting = Acting(f"http://{admin.http_address}", session)
        await acting.sees_the_channel()
        yield acting


class Acting:
    """Changes by our API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def sees_the_channel(self) -> None:
        async with self.session.get(f"{self.url}/api/v2/events?key=topic:t") as response:
            while b'"nodes":{"' not in await response.content.readline():
                pass

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self.session.post(f"{self.url}/api/v2/{path}", json=body) as response:
            assert response.status == 200
            answer: dict[str, Any] = await response.json()
            return answer

    async def pause(self) -> dict[str, Any]:
        return await self.post("actions", {"action": "pause_channel", "topic": "t", "channel": "c"})


async def test_a_change_by_our_api_is_told_in_the_form_of_nsq(nsqd: FakeHttp) -> None:
    async with endpoint() as hook, acting(nsqd, hook) as dashboard:
        await dashboard.pause()
        await dashboard.post("topics/t/messages", {"body": "hello"})
        paused, published = await hook.told.get(), await hook.told.get()
    assert abs(paused.pop("timestamp") - time.time()) < 60
    assert paused.pop("remote_ip").startswith("127.0.0.1:")
    assert paused.pop("via")
    assert paused == {
        "action": "pause_channel",
        "topic": "t",
        "channel": "c",
        "user_agent": "a page",
        "url": f"{dashboard.url}/api/v2/actions",
    }
    assert (published["action"], published["topic"]) == ("publish", "t")
    assert published["node"] == nsqd.address


async def test_what_only_looks_and_what_is_refused_is_not_told(nsqd: FakeHttp) -> None:
    async with endpoint() as hook, acting(nsqd, hook) as dashboard:
        action = {"action": "pause_channel", "topic": "t", "channel": "c"}
        await dashboard.post("actions", {**action, "dry_run": True})
        refused = dashboard.session.post(
            f"{dashboard.url}/api/v2/actions",
            json={**action, "action": "empty_channel"},
        )
        async with refused as response:
            assert response.status == 400
        await dashboard.post("topics/t/messages", {"body": "the first change"})
        assert (await hook.told.get())["action"] == "publish"


async def test_an_endpoint_that_hangs_or_fails_holds_up_nobody(nsqd: FakeHttp) -> None:
    async with endpoint() as hook, acting(nsqd, hook) as dashboard:
        hook.may_answer.clear()
        for _ in range(3):
            async with asyncio.timeout(4):  # less than what a request to the endpoint may take
                assert (await dashboard.pause())["ok"]
        await hook.told.get()
        assert hook.told.empty()  # one at a time
        hook.status = 500
        hook.may_answer.set()
        assert [(await hook.told.get())["action"] for _ in range(2)] == ["pause_channel"] * 2
