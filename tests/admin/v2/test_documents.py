"""Documents of a real cluster: by path, by polling, by WebSocket and as server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.support.dashboard import Dashboard, running_dashboard
from tests.support.processes import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dashboard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Dashboard]:
    async with running_dashboard(tmp_path_factory.mktemp("documents")) as dashboard:
        for node in dashboard.nodes:
            await node.post("/topic/create?topic=orders")
            await node.post("/channel/create?topic=orders&channel=billing")
            await node.post("/pub?topic=orders", b"hello")
        await dashboard.see("topics/orders/channels/billing", "both messages", depth=2)
        yield dashboard


async def test_me(dashboard: Dashboard) -> None:
    me = await dashboard.get("/api/v2/me")
    assert me["may"] == ["read", "messages", "operate", "administer"]
    assert (me["role"], me["base_path"], me["has_lookupds"]) == ("admin", "/", True)


async def test_the_snapshot_has_everything(dashboard: Dashboard) -> None:
    envelope = await dashboard.get("/api/v2/snapshot")
    document = envelope["full"]
    assert list(document) == [
        "verdict",
        "attention",
        "totals",
        "lookupds",
        "nodes",
        "topics",
        "channels",
    ]
    assert document["nodes"].keys() == {node.http_address for node in dashboard.nodes}
    assert document["lookupds"].keys() == {dashboard.lookupd.http_address}
    assert document["channels"]["orders/billing"]["depth"] == 2
    assert document["totals"]["depth"] == 2
    for row in document["nodes"].values():
        assert (row["state"], row["is_nsqx"], row["health"]) == ("ok", True, "OK")
        assert abs(envelope["t"] - row["observed_at"]) < 3
        assert row["disk_free"] > 0


async def test_a_topic_a_channel_and_a_node(dashboard: Dashboard) -> None:
    addresses = {node.http_address for node in dashboard.nodes}
    topic = await dashboard.document("topics/orders")
    assert topic["nodes"].keys() == addresses
    assert topic["channels"].keys() == {"billing"}
    assert topic["row"]["total_depth"] == 2
    channel = await dashboard.document("topics/orders/channels/billing")
    assert {row["depth"] for row in channel["nodes"].values()} == {1}
    node = await dashboard.document(f"nodes/{dashboard.nodes[0].http_address}")
    assert node["topics"]["orders"]["messages"] == 1
    assert node["channels"]["orders/billing"]["depth"] == 1
    assert node["memory"]["heap_in_use_bytes"] > 0


async def test_what_does_not_exist_is_null_and_what_cannot_is_refused(
    dashboard: Dashboard,
) -> None:
    for path in ("topics/nosuch", "topics/nosuch/channels/c", "nodes/1.2.3.4:5"):
        async with dashboard.session.get(dashboard.url(f"/api/v2/{path}")) as response:
            assert (response.status, (await response.json())["message"]) == (404, "NOT_FOUND")
    async with dashboard.session.get(dashboard.url("/api/v2/topics/bad!")) as response:
        assert response.status == 404
        assert (await response.json())["message"] == "UNKNOWN_KEY"


async def test_clients_are_seen_at_the_channel_and_in_the_topology(dashboard: Dashboard) -> None:
    host, _, port = dashboard.nodes[0].tcp_address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    identity = b'{"client_id":"w1","hostname":"worker"}'
    writer.write(b"  V2IDENTIFY\n" + len(identity).to_bytes(4, "big") + identity)
    writer.write(b"SUB orders billing\n")
    await writer.drain()

    async def is_seen() -> bool:
        channel = await dashboard.document("topics/orders/channels/billing")
        return any(client["client_id"] == "w1" for client in channel["clients"].values())

    async with dashboard.live() as page:
        await page.say(sub=["channel:orders/billing"])  # clients are then asked for more often
        await eventually(is_seen, "the client is seen")
    topology = await dashboard.document("topology")
    assert topology["clients"]["orders/billing@worker"]["count"] == 1
    node = dashboard.nodes[0].http_address
    assert {
        f"{dashboard.lookupd.http_address}>{node}",
        f"{node}>orders",
        "orders>orders/billing",
        "orders/billing>orders/billing@worker",
    } <= topology["edges"].keys()
    writer.close()
    await writer.wait_closed()


async def test_polling_gives_what_is_new(dashboard: Dashboard) -> None:
    first = await dashboard.get("/api/v2/poll?key=summary&key=topic:orders")
    assert [each["k"] for each in first["documents"]] == ["summary", "topic:orders"]
    has = first["documents"][0]["seq"]

    async def is_newer() -> bool:
        path = f"/api/v2/poll?boot={first['boot']}&key=summary&have={has}"
        answer = await dashboard.get(path)
        return bool(answer["documents"] and answer["documents"][0].get("base") == has)

    await eventually(is_newer, "a delta since the last poll")
    other_run = await dashboard.get(f"/api/v2/poll?boot=0&key=summary&have={has}")
    assert "full" in other_run["documents"][0]
    for bad in ("poll", "poll?key=nonsense", "poll?key=summary&have=x"):
        async with dashboard.session.get(dashboard.url(f"/api/v2/{bad}")) as response:
            assert response.status in (200, 400, 404)
            assert response.status != 200 or bad.endswith("have=x")  # of no boot: not looked at


async def test_the_socket_gives_a_document_and_then_deltas(dashboard: Dashboard) -> None:
    async with dashboard.live() as page:
        await page.say(sub=["summary", "nonsense"])
        hello = await page.next("hello")
        assert hello["me"]["role"] == "admin"
        error = await page.next("error")
        assert (error["message"], error["key"]) == ("UNKNOWN_KEY", "nonsense")
        full = await page.next("summary")
        assert "full" in full
        delta = await page.next("summary")
        assert (delta["base"], delta["seq"]) == (full["seq"], full["seq"] + 1)
        assert delta["delta"].keys() <= full["full"].keys()
        await page.say(ping=7)
        assert (await page.next("pong"))["ping"] == 7


async def has_news(dashboard: Dashboard, versions: int) -> None:
    """Wait until there are so many newer versions of the summary."""
    seq = (await dashboard.get("/api/v2/snapshot"))["seq"] + versions

    async def is_newer() -> bool:
        return bool((await dashboard.get("/api/v2/snapshot"))["seq"] >= seq)

    await eventually(is_newer, "newer versions")


async def test_a_page_that_was_away_resumes_with_deltas(dashboard: Dashboard) -> None:
    async with dashboard.live() as page:
        await page.say(sub=["summary"])
        full = await page.next("summary")
    await has_news(dashboard, 2)
    async with dashboard.live() as page:
        await page.say(sub=["summary"], have={"summary": full["seq"]}, boot=full["boot"])
        delta = await page.next("summary")
        assert delta["base"] == full["seq"]
    async with dashboard.live() as page:
        await page.say(sub=["summary"], have={"summary": full["seq"]}, boot="of another run")
        assert "full" in await page.next("summary")


async def test_a_hidden_page_gets_nothing_until_it_is_shown_again(dashboard: Dashboard) -> None:
    async with dashboard.live() as page:
        await page.say(sub=["summary"])
        await page.next("summary")
        await page.say(pause=True, ping=1)
        await page.next("pong")
        page.messages.clear()
        await has_news(dashboard, 2)
        await page.say(ping=2)
        await page.next("pong")
        assert {message["k"] for message in page.messages} - {"heartbeat"} == {"pong"}
        await page.say(pause=False)
        assert "full" in await page.next("summary")


async def test_a_page_may_ask_for_the_whole_and_for_no_more(dashboard: Dashboard) -> None:
    async with dashboard.live() as page:
        await page.say(sub=["summary"])
        await page.next("summary")
        await page.say(resync=["summary"])
        async with asyncio.timeout(10):
            while "full" not in await page.next("summary"):
                pass
        await page.say(unsub=["summary"], sub=["registry"])
        await page.next("registry")
        await page.say(ping=1)
        page.messages.clear()
        await page.next("pong")
        assert "summary" not in {message["k"] for message in page.messages}


async def test_nonsense_on_the_socket_is_answered_and_no_harm(dashboard: Dashboard) -> None:
    async with dashboard.live() as page:
        await page.socket.send_str("nonsense")
        assert (await page.next("error"))["message"] == "INVALID_BODY"
        await page.say(sub=[f"topic:t{number}" for number in range(70)])
        assert (await page.next("error"))["message"] == "TOO_MANY_KEYS"


async def test_server_sent_events(dashboard: Dashboard) -> None:
    async with dashboard.session.get(dashboard.url("/api/v2/events?key=summary")) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        envelopes: list[dict[str, Any]] = []
        async with asyncio.timeout(10):
            while len(envelopes) < 2:
                line = await response.content.readline()
                if line.startswith(b"data: "):
                    envelopes.append(json.loads(line.removeprefix(b"data: ")))
    assert "full" in envelopes[0]
    assert envelopes[1]["base"] == envelopes[0]["seq"]


async def test_a_plain_request_to_the_socket_is_refused(dashboard: Dashboard) -> None:
    async with dashboard.session.get(dashboard.url("/api/v2/ws")) as response:
        assert response.status == 400
        assert (await response.json())["message"] == "NO_WEBSOCKET"


async def test_history_goes_on_while_it_runs(dashboard: Dashboard) -> None:
    path = "/api/v2/history?series=total&series=channel:orders/billing&range=10m&metrics=depth"

    async def is_known() -> bool:
        answer = await dashboard.get(path)
        total, channel = answer["series"]
        assert channel["metrics"].keys() == {"depth"}
        assert (answer["step"], len(channel["metrics"]["depth"])) == (1, 600)
        assert abs(answer["start"] + 600 - time.time()) < 5
        return 2.0 in total["metrics"]["depth"] and 2.0 in channel["metrics"]["depth"]

    await eventually(is_known, "the depth is in the history")
    for bad in ("range=2y", "range=7d", "series=nonsense", "series=topology"):
        async with dashboard.session.get(dashboard.url(f"/api/v2/history?{bad}")) as response:
            assert response.status == 400, bad


async def test_ending_the_dashboard_ends_open_sockets_at_once(dashboard: Dashboard) -> None:
    admin = await dashboard.cluster.admin(lookupds=[dashboard.lookupd])
    async with dashboard.session.ws_connect(admin.url("/api/v2/ws")) as socket:
        assert (await socket.receive_json())["k"] == "hello"
        assert await admin.stop() == 0
        message = await socket.receive()
        while message.type is aiohttp.WSMsgType.TEXT:
            message = await socket.receive()
        # Who is cut off when the end has waited long enough is not told so.
        assert (message.type, message.data) == (
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSCloseCode.GOING_AWAY,
        )
