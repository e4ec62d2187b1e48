"""What ``--history-path`` keeps over a restart: who changed what, and who knows of a problem."""

from pathlib import Path

import pytest

from tests.support.dashboard import running_dashboard
from tests.support.processes import eventually

PROBLEM = "no-consumers:orders/mail"


@pytest.mark.real_time
async def test_audit_and_problems_survive_a_restart(tmp_path: Path) -> None:
    flags = [f"--history-path={tmp_path / 'history.sqlite'}", "--poll-interval=200ms"]
    async with running_dashboard(tmp_path, *flags, nodes=1) as dashboard:
        (node,) = dashboard.nodes
        await node.post("/topic/create?topic=orders")
        await node.post("/channel/create?topic=orders&channel=mail")
        await node.post("/pub?topic=orders", b"x")

        async def told() -> list[dict[str, object]]:
            attention = (await dashboard.document("snapshot"))["attention"]
            return [each for each in attention if each["id"] == PROBLEM]

        async def is_told() -> bool:
            return bool(await told())

        await eventually(is_told, "the problem is told")
        since = (await told())[0]["since"]
        status, answer = await dashboard.post("attention", {"id": PROBLEM, "mark": "acknowledge"})
        assert (status, answer["mark"]) == (200, "acknowledge")
        status, answer = await dashboard.post("attention", {"id": "no:such", "mark": "silence"})
        assert (status, answer["message"]) == (404, "NO_SUCH_PROBLEM")
        status, answer = await dashboard.post("attention", {"id": PROBLEM, "mark": "forget"})
        assert (status, answer["message"]) == (400, "INVALID_ARG_MARK")
        await dashboard.act("pause_topic", topic="orders")

        await dashboard.admin.restart()
        entries = (await dashboard.document("activity"))["entries"]
        assert [each["action"] for each in entries] == ["pause_topic", "acknowledge_problem"]
        await eventually(is_told, "the problem is told again")
        await dashboard.act("unpause_topic", topic="orders")
        assert (await dashboard.document("activity"))["entries"][0]["id"] == 3
        (after,) = await told()
        assert (after["since"], after["is_known"]) == (since, True)
        assert (await dashboard.document("snapshot"))["verdict"]["level"] == "ok"
