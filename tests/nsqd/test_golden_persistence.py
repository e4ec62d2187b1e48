"""
What NSQ 1.3.0's nsqd left in nsqd.dat, asked of ours.

What the recorder did before it looked is told by the cases' names only; it is done here again.
"""

import asyncio
import json

from tests.support.processes import Cluster, Nsqd
from tests.support.transcripts import Case, Event, Replay, Target, load_cases, replay

FLAGS = ("--node-id=7", "--max-msg-size=1024", "--max-body-size=4096", "--mem-queue-size=5")
CASES = {case.name: case for case in load_cases("nsqd_persistence")}


async def test_topics_and_channels(cluster: Cluster) -> None:
    node = await cluster.nsqd(*FLAGS)
    for path in (
        "/topic/create?topic=tp_a",
        "/topic/pause?topic=tp_a",
        "/topic/create?topic=tp_b",
        "/channel/create?topic=tp_b&channel=ch",
        "/channel/pause?topic=tp_b&channel=ch",
        "/channel/create?topic=tp_b&channel=passing%23ephemeral",
        "/topic/create?topic=tp_c%23ephemeral",
    ):
        await node.post(path)
    await end_and_compare(CASES["topic_and_channels"], node)


async def test_delete_removes_files(cluster: Cluster) -> None:
    node = await cluster.nsqd(*FLAGS)
    await node.post("/topic/create?topic=tp_d")
    await node.post("/channel/create?topic=tp_d&channel=ch")
    await node.post("/mpub?topic=tp_d", b"m\n" * 20)
    await node.post("/channel/delete?topic=tp_d&channel=ch")
    await node.post("/topic/delete?topic=tp_d")
    await end_and_compare(CASES["delete_removes_files"], node)
    assert list((node.data_path / "topics").iterdir()) == []


async def end_and_compare(case: Case, node: Nsqd) -> None:
    target = Target({"NSQD_TCP": node.tcp_address})
    exit_code = await node.stop()

    def expect_files(run: Replay, event: Event) -> None:
        for name, content in event["files"].items():
            run.expect(content, json.loads((node.data_path / name).read_text()))

    def expect_exit_code(run: Replay, event: Event) -> None:
        run.expect(event["exit_code"], exit_code)

    handlers = {"files": expect_files, "exit_code": expect_exit_code}
    await asyncio.to_thread(replay, case, target, handlers=handlers)
