"""Messages of a real cluster: looked at without effect, tailed, found, and published."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio

from tests.support.dashboard import Dashboard, running_dashboard
from tests.support.processes import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dashboard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Dashboard]:
    async with running_dashboard(tmp_path_factory.mktemp("messages")) as dashboard:
        yield dashboard


async def publish_by_turns(dashboard: Dashboard, topic: str, count: int) -> None:
    for number in range(count):
        node = dashboard.nodes[number % len(dashboard.nodes)]
        await node.post(f"/pub?topic={topic}", b"message %d" % number)
    await dashboard.see(f"topics/{topic}", "all messages", messages=count)


def bodies(page: dict[str, Any]) -> list[str]:
    return [message["body"] for message in page["messages"]]


async def test_messages_of_all_nodes_are_shown_by_time(dashboard: Dashboard) -> None:
    await publish_by_turns(dashboard, "peeked", 10)
    path = "/api/v2/topics/peeked/messages"
    newest = await dashboard.get(f"{path}?limit=3")
    assert bodies(newest) == ["message 7", "message 8", "message 9"]
    oldest = await dashboard.get(f"{path}?from=start&limit=3")
    assert bodies(oldest) == ["message 0", "message 1", "message 2"]
    assert {message["node"] for message in oldest["messages"]} == {
        node.http_address for node in dashboard.nodes
    }
    message = oldest["messages"][0]
    assert (message["size"], message["encoding"], message["truncated"]) == (9, "text", False)
    assert str(int(message["t"])) == message["timestamp"][:10]


async def test_reading_on_shows_each_message_once(dashboard: Dashboard) -> None:
    await publish_by_turns(dashboard, "paged", 9)
    path = "/api/v2/topics/paged/messages"
    page = await dashboard.get(f"{path}?from=start&limit=4")
    seen = bodies(page)
    for address, node in page["nodes"].items():
        rest = await dashboard.get(f"{path}?from=seq:{node['next']}&node={address}&limit=100")
        seen += bodies(rest)
    assert sorted(seen) == [f"message {number}" for number in range(9)]
    newest = await dashboard.get(f"{path}?limit=2")
    before = await dashboard.get(f"{path}?from={newest['older']}&limit=4")
    assert bodies(before) == [f"message {number}" for number in range(3, 7)]
    (address, node), *_ = newest["nodes"].items()
    alone = await dashboard.get(f"{path}?from=before:{node['previous']}&node={address}&limit=2")
    assert [row["sequence"] for row in alone["messages"]] == [
        node["previous"] - 2,
        node["previous"] - 1,
    ]


async def test_the_newest_of_long_bodies_is_there_and_all_are_found(dashboard: Dashboard) -> None:
    node = dashboard.nodes[0]
    for number in range(12):
        await node.post("/pub?topic=long", b"%02d" % number + b"x" * 300_000)
    await dashboard.see("topics/long", "all messages", messages=12)
    place: str | None = "end"
    found: list[str] = []
    while place is not None:
        page = await dashboard.get(f"/api/v2/topics/long/messages?from={place}&limit=5")
        found = [body[:2] for body in bodies(page)] + found
        place = page["older"]
    assert found == [f"{number:02}" for number in range(12)]


async def test_a_filter_looks_through_the_log(dashboard: Dashboard) -> None:
    await publish_by_turns(dashboard, "filtered", 20)
    path = "/api/v2/topics/filtered/messages"
    page = await dashboard.get(f"{path}?from=start&filter=ge%201&limit=3")
    assert bodies(page) == ["message 1", "message 10", "message 11"]
    page = await dashboard.get(f"{path}?filter=message%201")
    assert len(page["messages"]) == 11
    assert all(node["complete"] and node["scanned"] == 10 for node in page["nodes"].values())


async def test_an_expression_looks_into_the_bodies(dashboard: Dashboard) -> None:
    for number, node in enumerate(dashboard.nodes):
        await node.post("/topic/create?topic=json")
        for price in (1, 10, 100):
            await node.post("/pub?topic=json", b'{"price":%d,"node":%d}' % (price, number))
    await dashboard.see("topics/json", "all messages", messages=6)
    path = "/api/v2/topics/json/messages"
    where = quote("body.price > `5` && body.node == `1`", safe="")
    page = await dashboard.get(f"{path}?from=start&where={where}")
    assert bodies(page) == ['{"price":10,"node":1}', '{"price":100,"node":1}']
    page = await dashboard.get(f"{path}?from=start&where={where}&filter=100")
    assert bodies(page) == ['{"price":100,"node":1}']


async def test_looking_has_no_effect_on_channels(dashboard: Dashboard) -> None:
    await dashboard.nodes[0].post("/topic/create?topic=untouched")
    await dashboard.nodes[0].post("/channel/create?topic=untouched&channel=c")
    await dashboard.nodes[0].post("/pub?topic=untouched", b"hello")
    await dashboard.see("topics/untouched", "the message", messages=1)
    await dashboard.get("/api/v2/topics/untouched/messages")
    (topic,) = (await dashboard.nodes[0].get_json("/stats?format=json&topic=untouched"))["topics"]
    assert [(each["channel_name"], each["depth"]) for each in topic["channels"]] == [("c", 1)]


async def test_bodies_that_are_no_text_or_long(dashboard: Dashboard) -> None:
    node = dashboard.nodes[0]
    await node.post("/pub?topic=bodies", b"\xff\x00")
    await node.post("/pub?topic=bodies", "ä".encode() * 40_000)
    await dashboard.see("topics/bodies", "both messages", messages=2)
    path = "/api/v2/topics/bodies/messages?from=start"
    binary, long = (await dashboard.get(path))["messages"]
    assert (binary["encoding"], base64.b64decode(binary["body"])) == ("base64", b"\xff\x00")
    assert (long["truncated"], long["size"], len(long["body"])) == (True, 80_000, 32_768)
    for message, body in ((binary, b"\xff\x00"), (long, "ä".encode() * 40_000)):
        url = dashboard.url(f"/api/v2/topics/bodies/messages/{message['id']}/body")
        async with dashboard.session.get(url) as response:
            assert (response.status, await response.read()) == (200, body)
            assert response.content_type == "application/octet-stream"
            assert response.headers["Content-Disposition"].startswith("attachment")
    gone = dashboard.url("/api/v2/topics/bodies/messages/0000000000000000/body")
    async with dashboard.session.get(gone) as response:
        assert (response.status, (await response.json())["message"]) == (404, "MESSAGE_NOT_FOUND")
    _, whole = (await dashboard.get(f"{path}&full=true"))["messages"]
    assert (whole["truncated"], len(whole["body"])) == (False, 40_000)


async def test_a_message_is_found_by_its_id(dashboard: Dashboard) -> None:
    await dashboard.nodes[1].post("/topic/create?topic=found")
    await dashboard.nodes[1].post("/channel/create?topic=found&channel=c")
    await dashboard.nodes[1].post("/pub?topic=found", b"hello")
    await dashboard.see("topics/found", "the message", messages=1)
    path = "/api/v2/topics/found/messages"
    (message,) = (await dashboard.get(path))["messages"]
    state = await dashboard.get(f"{path}/{message['id']}")
    assert state["node"] == dashboard.nodes[1].http_address
    assert state["message"]["body"] == "hello"
    (channel,) = state["channels"]
    assert (channel["channel"], channel["state"], channel["attempts"]) == ("c", "waiting", 0)
    async with dashboard.session.get(dashboard.url(f"{path}/0000000000000000")) as response:
        assert response.status == 404
        assert (await response.json())["message"] == "MESSAGE_NOT_FOUND"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("from=seq:1", 400, "MISSING_ARG_NODE"),
        ("from=nonsense", 400, "INVALID_ARG_FROM"),
        ("from=before:5", 400, "MISSING_ARG_NODE"),
        ("from=after:127.0.0.1:1=x", 400, "INVALID_ARG_FROM"),
        ("limit=0", 400, "INVALID_ARG_LIMIT"),
        ("where=body.", 400, "INVALID_ARG_FILTER"),
        ("where=%5Ba%2Cb%5D", 400, "INVALID_ARG_FILTER"),
        ("limit=1001", 400, "INVALID_ARG_LIMIT"),
        ("node=1.2.3.4:5", 404, "TOPIC_NOT_FOUND"),
    ],
)
async def test_bad_questions(dashboard: Dashboard, query: str, status: int, code: str) -> None:
    await publish_by_turns(dashboard, f"bad{code[-3:]}{status}{query[:2]}{len(query)}", 1)
    topic = f"bad{code[-3:]}{status}{query[:2]}{len(query)}"
    url = dashboard.url(f"/api/v2/topics/{topic}/messages?{query}")
    async with dashboard.session.get(url) as response:
        assert response.status == status
        assert (await response.json())["message"] == code


async def test_publishing(dashboard: Dashboard) -> None:
    node = dashboard.nodes[0].http_address
    path = "topics/published/messages"
    status, answer = await dashboard.post(path, {"body": "hello", "node": node})
    assert (status, answer["ok"], answer["results"][0]["node"]) == (200, True, node)
    binary = base64.b64encode(b"\xff").decode()
    await dashboard.post(path, {"body": binary, "encoding": "base64", "count": 3, "node": node})
    await dashboard.see("topics/published", "all of them", messages=4)
    messages = (await dashboard.get(f"/api/v2/{path}"))["messages"]
    assert [message["body"] for message in messages] == ["hello", binary, binary, binary]


async def test_publishing_for_later(dashboard: Dashboard) -> None:
    await dashboard.nodes[0].post("/topic/create?topic=later")
    await dashboard.nodes[0].post("/channel/create?topic=later&channel=c")
    await dashboard.see("topics/later/channels/c", "the channel", nodes=1)
    body = {"body": "hello", "defer_seconds": 600, "count": 2}
    status, answer = await dashboard.post("topics/later/messages", body)
    assert (status, answer["ok"]) == (200, True)
    await dashboard.see("topics/later/channels/c", "they wait for their time", deferred=2)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "INVALID_BODY"),
        ({"body": ""}, "MSG_EMPTY"),
        ({"body": "x", "count": 0}, "INVALID_ARG_COUNT"),
        ({"body": "x", "defer_seconds": -1}, "INVALID_ARG_DEFER_SECONDS"),
        ({"body": "x", "encoding": "hex"}, "INVALID_ARG_ENCODING"),
        ({"body": "!", "encoding": "base64"}, "INVALID_ARG_BODY"),
    ],
)
async def test_what_cannot_be_published(
    dashboard: Dashboard, body: dict[str, Any], code: str
) -> None:
    status, answer = await dashboard.post("topics/t/messages", body)
    assert (status, answer["message"]) == (400, code)


async def test_a_tail_shows_new_messages_and_vanishes(dashboard: Dashboard) -> None:
    await publish_by_turns(dashboard, "tailed", 2)
    key = "tail:tailed?filter=wanted&rate=5&where=starts_with(text,'wanted')"
    async with dashboard.live() as page:
        await page.say(sub=[key])
        first = await page.next(key)
        assert (first["messages"], first["seen"]) == ([], 0)

        async def is_connected() -> bool:
            stats = await asyncio.gather(
                *(node.get_json("/stats?format=json&topic=tailed") for node in dashboard.nodes)
            )
            channels = [each["topics"][0]["channels"] for each in stats]
            return all(len(each) == 1 and each[0]["client_count"] == 1 for each in channels)

        await eventually(is_connected, "the tail reads from both nodes")
        for node in dashboard.nodes:
            await node.post("/mpub?topic=tailed", b"\n".join([b"wanted <b>", b"other"] * 10))
        shown: list[dict[str, Any]] = []
        portion = first
        async with asyncio.timeout(10):
            while portion["seen"] < 40:
                portion = await page.next(key)
                shown += portion["messages"]
    assert {message["body"] for message in shown} == {"wanted <b>"}
    assert len(shown) + portion["dropped"] == 20
    assert 5 <= len(shown) <= 10

    async def has_vanished() -> bool:
        answer = await dashboard.nodes[0].get_json("/stats?format=json&topic=tailed")
        return not answer["topics"][0]["channels"]

    await eventually(has_vanished, "the channel is gone with the page")


@pytest.mark.parametrize(
    "key",
    ["tail:bad!", "tail:t?rate=0", "tail:t?rate=x", "tail:t?%zz", "tail:t?where=%5Ba%2Cb%5D"],
)
async def test_tails_that_cannot_be(dashboard: Dashboard, key: str) -> None:
    async with dashboard.live() as page:
        await page.say(sub=[key])
        error = await page.next("error")
    assert (error["message"], error["key"]) == ("UNKNOWN_KEY", key)


async def test_html_in_bodies_and_names_is_sent_as_data_only(dashboard: Dashboard) -> None:
    evil = "<script>alert(1)</script>"
    status, answer = await dashboard.post("topics/inert/messages", {"body": evil})
    assert (status, answer["ok"]) == (200, True)
    await dashboard.see("topics/inert", "the message", messages=1)
    async with dashboard.session.get(dashboard.url("/api/v2/topics/inert/messages")) as response:
        check_inert(response)
        assert (await response.json())["messages"][0]["body"] == evil
    for path in (f"/api/v2/topics/{evil}", f"/topics/{evil}", f"/api/topics/{evil}", f"/{evil}"):
        async with dashboard.session.get(dashboard.url(path)) as response:
            check_inert(response)
            assert evil not in (await response.text()).replace("\\u003c", "")


def check_inert(response: aiohttp.ClientResponse) -> None:
    """Even if a browser took it for a page, nothing in it would run."""
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    if response.content_type == "text/html":
        return
    assert response.content_type in ("application/json", "text/plain")
