"""Settings of topics and channels of a real cluster: seen, changed, and what is not ours."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.dashboard import Dashboard, running_dashboard
from tests.support.processes import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHANNEL = "/api/v2/topics/orders/channels/mail/settings"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dashboard(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Dashboard]:
    async with running_dashboard(tmp_path_factory.mktemp("settings")) as dashboard:
        for node in dashboard.nodes:
            await node.post("/topic/create?topic=orders")
            await node.post("/channel/create?topic=orders&channel=mail")

        async def is_known() -> bool:
            # What is ours shows by its metrics, which are asked for beside the rest.
            snapshot = await dashboard.document("snapshot")
            ours = [node for node in snapshot["nodes"].values() if node["is_nsqx"]]
            row = snapshot["channels"].get("orders/mail", {"nodes": 0})
            return bool(row["nodes"] == len(ours) == len(dashboard.nodes))

        await eventually(is_known, "all nodes have the channel, and are known as ours")
        yield dashboard


async def change(dashboard: Dashboard, action: str, **fields: Any) -> dict[str, Any]:
    return await dashboard.act(action, topic="orders", **fields)


def only(answer: Any, name: str) -> Any:
    (found,) = (each for each in answer["settings"] if each["name"] == name)
    return found


async def test_a_setting_of_a_channel_is_changed_and_given_back(dashboard: Dashboard) -> None:
    usual = only(await dashboard.get(CHANNEL), "msg_timeout")
    assert {each["own"] for each in usual["nodes"].values()} == {None}
    assert (len(usual["nodes"]), usual["differs"]) == (len(dashboard.nodes), False)
    wanted = {"channel": "mail", "setting": "msg_timeout"}
    done = await change(dashboard, "configure_channel", **wanted, value="5m")
    assert done["ok"]
    shown = only(await dashboard.get(CHANNEL), "msg_timeout")
    assert {tuple(each.values()) for each in shown["nodes"].values()} == {("5m0s", "5m0s")}
    entry = (await dashboard.get("/api/v2/activity?action=configure_channel"))["entries"][0]
    assert (entry["channel"], entry["detail"]) == ("mail", "msg_timeout=5m")
    await change(dashboard, "configure_channel", **wanted, value="default")
    assert only(await dashboard.get(CHANNEL), "msg_timeout") == usual


async def test_nodes_that_differ_are_told(dashboard: Dashboard) -> None:
    first, *_ = dashboard.nodes
    wanted = {"setting": "durability", "value": "fsync", "nodes": [first.http_address]}
    assert (await change(dashboard, "configure_topic", **wanted))["ok"]
    answer = await dashboard.get("/api/v2/topics/orders/settings")
    shown = only(answer, "durability")
    assert (shown["differs"], shown["choices"]) == (True, ["os", "fsync"])
    assert shown["nodes"][first.http_address] == {"effective": "fsync", "own": "fsync"}
    assert not only(answer, "retain_time")["differs"]
    assert answer["errors"] == {}


async def test_what_nobody_has_is_404_and_what_is_no_name_400(dashboard: Dashboard) -> None:
    for path, status in (("nosuch/settings", 404), ("orders/channels/a%20b/settings", 400)):
        async with dashboard.session.get(dashboard.url(f"/api/v2/topics/{path}")) as response:
            assert response.status == status


async def test_what_a_node_refuses_is_its_answer(dashboard: Dashboard) -> None:
    fields = {"channel": "mail", "setting": "msg_timeout", "value": "1000h"}
    wanted = {"action": "configure_channel", "topic": "orders", **fields}
    status, answer = await dashboard.post("actions", wanted)
    assert (status, answer["ok"]) == (502, False)
    assert {"INVALID_ARG_MSG_TIMEOUT" in each["error"] for each in answer["results"]} == {True}
