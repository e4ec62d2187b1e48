"""Actions on a real cluster: what they would do, what they do, and that it is noted."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.dashboard import Dashboard, running_dashboard
from tests.support.processes import Nsqd, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dashboard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Dashboard]:
    async with running_dashboard(tmp_path_factory.mktemp("actions")) as dashboard:
        yield dashboard


async def with_topic(dashboard: Dashboard, topic: str, messages: int = 3) -> None:
    """A topic with the channel ``c`` and some messages on each node, as the dashboard sees it."""
    for node in dashboard.nodes:
        await node.post(f"/topic/create?topic={topic}")
        await node.post(f"/channel/create?topic={topic}&channel=c")
        for number in range(messages):
            await node.post(f"/pub?topic={topic}", b"message %d" % number)
    depth = messages * len(dashboard.nodes)
    await dashboard.see(f"topics/{topic}/channels/c", "the channel", depth=depth, nodes=2)


async def stats(node: Nsqd, topic: str, channel: str = "c") -> dict[str, Any]:
    answer = await node.get_json(f"/stats?format=json&topic={topic}&channel={channel}")
    found: dict[str, Any] = answer["topics"][0]["channels"][0]
    return found


async def test_what_would_happen_is_shown_and_does_not_happen(dashboard: Dashboard) -> None:
    await with_topic(dashboard, "shown")
    impact = await dashboard.act("empty_channel", topic="shown", channel="c", dry_run=True)
    assert impact["impact"]["text"] == "Drops 6 messages on 2 nodes; 0 consumers are connected"
    assert (impact["impact"]["messages"], impact["confirm"], impact["allowed"]) == (6, "c", True)
    assert impact["command"].count("curl -X POST") == 2
    assert (await stats(dashboard.nodes[0], "shown"))["depth"] == 3


async def test_what_destroys_must_be_confirmed_by_the_name(dashboard: Dashboard) -> None:
    await with_topic(dashboard, "confirmed")
    action = {"action": "empty_channel", "topic": "confirmed", "channel": "c"}
    for confirm in ({}, {"confirm": "C"}):
        status, answer = await dashboard.post("actions", {**action, **confirm})
        assert (status, answer["message"]) == (400, "CONFIRM_REQUIRED")
    assert (await stats(dashboard.nodes[0], "confirmed"))["depth"] == 3
    status, answer = await dashboard.post("actions", {**action, "confirm": "c"})
    assert (status, answer["ok"]) == (200, True)
    assert (await stats(dashboard.nodes[0], "confirmed"))["depth"] == 0
    await dashboard.see("topics/confirmed/channels/c", "it is seen soon", depth=0)


async def test_pausing_and_unpausing(dashboard: Dashboard) -> None:
    await with_topic(dashboard, "paused")
    answer = await dashboard.act("pause_channel", topic="paused", channel="c")
    assert [result["ok"] for result in answer["results"]] == [True, True]
    document = await dashboard.see("topics/paused/channels/c", "it is paused", paused=True)
    assert document["row"]["flags"] == ["paused"]
    await dashboard.act("unpause_channel", topic="paused", channel="c")
    await dashboard.see("topics/paused/channels/c", "it goes on", paused=False)
    await dashboard.act("pause_topic", topic="paused")
    await dashboard.see("topics/paused", "the topic is paused", paused=True)
    await dashboard.act("unpause_topic", topic="paused")
    await dashboard.see("topics/paused", "the topic goes on", paused=False)


async def test_creating_and_deleting(dashboard: Dashboard) -> None:
    await dashboard.act("create_topic", topic="made")
    await dashboard.see("topics/made", "only lookupds know it", nodes=0)
    node = dashboard.nodes[1].http_address
    await dashboard.act("create_topic", topic="made", nodes=[node])
    await dashboard.see("topics/made", "a node has it", nodes=1)
    await dashboard.act("create_channel", topic="made", channel="c")
    await dashboard.see("topics/made/channels/c", "the channel is there", nodes=1)
    await dashboard.act("delete_channel", topic="made", channel="c", confirm="c")
    await dashboard.act("delete_topic", topic="made", confirm="made")

    async def is_gone() -> bool:
        return await dashboard.document("topics/made") is None

    await eventually(is_gone, "the topic is gone")


async def test_each_nodes_result_is_told_and_the_failed_ones_can_be_retried(
    dashboard: Dashboard,
) -> None:
    await with_topic(dashboard, "partial")
    await dashboard.nodes[0].post("/channel/delete?topic=partial&channel=c")
    answer = await dashboard.act("pause_channel", topic="partial", channel="c")
    assert not answer["ok"]
    failed = [result for result in answer["results"] if not result["ok"]]
    assert [result["node"] for result in failed] == [dashboard.nodes[0].http_address]
    assert "CHANNEL_NOT_FOUND" in failed[0]["error"]
    await dashboard.nodes[0].post("/channel/create?topic=partial&channel=c")
    again = await dashboard.act(
        "pause_channel", topic="partial", channel="c", nodes=[failed[0]["node"]]
    )
    assert again["ok"]
    assert len(again["results"]) == 1


async def test_seek_and_replay(dashboard: Dashboard) -> None:
    await with_topic(dashboard, "moved")
    answer = await dashboard.act("seek", topic="moved", channel="c", to="end", confirm="c")
    assert [result["answer"]["depth"] for result in answer["results"]] == [0, 0]
    await dashboard.act("seek", topic="moved", channel="c", to="start", confirm="c")
    assert (await stats(dashboard.nodes[0], "moved"))["depth"] == 3
    await dashboard.act(
        "replay", topic="moved", from_="start", new_channel="again", **{"from": "start"}
    )
    await dashboard.see("topics/moved/channels/again", "it has all messages", depth=6)


async def test_a_tombstone_and_a_registration(dashboard: Dashboard) -> None:
    await with_topic(dashboard, "buried")
    node, other = (node.http_address for node in dashboard.nodes)
    await dashboard.act("tombstone", topic="buried", node=node, confirm="buried")
    document = await dashboard.see("topics/buried", "one node has it", nodes=1)
    assert document["nodes"].keys() == {other}

    async def is_missing() -> bool:
        # What was in use is registered once more with the node's next ping: it is forgotten again.
        await dashboard.lookupd.post("/topic/delete?topic=buried")
        registrations = (await dashboard.document("registry"))["registrations"]
        entry = registrations.get(f"buried@{other}", {})
        return bool(entry.get("repair") == ["register_topic"])

    await eventually(is_missing, "the registry shows what the lookupd forgot")
    answer = await dashboard.act("register_topic", topic="buried", node=other)
    assert answer["ok"]

    async def is_registered() -> bool:
        lookup = await dashboard.lookupd.get("/lookup?topic=buried")
        return lookup[0] == 200 and b"producers" in lookup[1]

    await eventually(is_registered, "it is registered again")
    assert (await stats(dashboard.nodes[1], "buried"))["depth"] == 3


async def test_an_idempotency_key_acts_once(dashboard: Dashboard) -> None:
    await with_topic(dashboard, "once")
    action = {"topic": "once", "channel": "c", "idempotency_key": "k1"}
    first = await dashboard.act("pause_channel", **action)
    second = await dashboard.act("pause_channel", **action)
    assert second == first
    status, answer = await dashboard.post("actions", {"action": "unpause_channel", **action})
    assert (status, answer["message"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert (await stats(dashboard.nodes[0], "once"))["paused"]


async def test_a_publish_that_is_sent_twice_at_once_is_one(dashboard: Dashboard) -> None:
    await with_topic(dashboard, "once_published", messages=0)
    body = {"body": "hello", "idempotency_key": "k2"}
    answers = await asyncio.gather(
        *(dashboard.post("topics/once_published/messages", body) for _ in range(3))
    )
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 200
    document = await dashboard.see("topics/once_published", "one message", messages=1)
    assert document["row"]["total_depth"] == 1


async def test_changes_are_in_the_audit_trail_whichever_way_they_were_made(
    dashboard: Dashboard,
) -> None:
    await with_topic(dashboard, "audited")
    await dashboard.act("pause_topic", topic="audited")
    async with dashboard.session.post(
        dashboard.url("/api/topics/audited"), json={"action": "unpause"}
    ) as response:
        assert response.status == 200
    page = await dashboard.get("/api/v2/activity?topic=audited")
    assert [(entry["action"], entry["via"]) for entry in page["entries"]] == [
        ("unpause_topic", "api"),
        ("pause_topic", "v2"),
    ]
    newest = page["entries"][0]
    assert newest["ok"]
    assert len(newest["results"]) == 2
    older = await dashboard.get(f"/api/v2/activity?topic=audited&before={newest['id']}&limit=1")
    assert [entry["action"] for entry in older["entries"]] == ["pause_topic"]
    document = await dashboard.document("activity")
    assert document["entries"][0]["id"] == newest["id"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("nonsense", "INVALID_BODY"),
        ({"action": 5}, "INVALID_BODY"),
        ({"action": "explode", "topic": "t"}, "INVALID_ACTION"),
        ({"action": "pause_topic", "topic": "nosuch"}, "NOTHING_TO_DO"),
        ({"action": "pause_topic", "topic": "nosuch", "nodes": ["x:1"]}, "UNKNOWN_NODE"),
    ],
)
async def test_what_makes_no_sense_is_refused(dashboard: Dashboard, body: Any, code: str) -> None:
    status, answer = await dashboard.post("actions", body)
    is_missing = code in ("NOTHING_TO_DO", "UNKNOWN_NODE")
    assert (status, answer["message"]) == (404 if is_missing else 400, code)
    assert answer["detail"]


async def test_what_failed_everywhere_is_no_success(dashboard: Dashboard) -> None:
    (node, *_) = dashboard.nodes
    await node.post("/topic/create?topic=failing")
    await dashboard.see("topics/failing", "the topic is there", nodes=1)
    wanted = {"action": "pause_channel", "topic": "failing", "channel": "nosuch"}
    status, answer = await dashboard.post("actions", wanted)
    assert (status, answer["message"], answer["ok"]) == (404, "NOT_FOUND", False)
    assert answer["results"][0]["node"] == node.http_address
    status, answer = await dashboard.post("actions", {**wanted, "dry_run": True})
    assert status == 200
