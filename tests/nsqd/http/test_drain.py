"""``/node/drain``: how far a node is that is being emptied."""

import errno
from pathlib import Path

import pytest

from nsqx.nsqd.core import draining
from nsqx.protocol import commands
from tests.support.node import running_node


async def test_publishes_are_refused_until_it_ends(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/topic/create?topic=t")
        assert (await node.get_json("/node/drain"))["draining"] is False
        await node.post("/node/drain")
        assert await node.refused("POST", "/pub?topic=t", b"x") == (503, "DRAINING")
        assert await node.refused("POST", "/mpub?topic=new", b"x") == (503, "DRAINING")
        assert b"nsqd_draining 1" in await node.get("/metrics")
        for topic in ("t", "new"):
            async with node.client() as client:
                client.send(commands.pub(topic, b"x"))
                assert await client.error() == b"E_PUB_FAILED PUB failed draining"
        assert (await node.get_json("/node/drain"))["empty"] is True
        await node.post("/node/undrain")
        await node.post("/pub?topic=t", b"x")


async def test_it_tells_who_holds_messages(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/topic/create?topic=t")
        await node.post("/channel/create?topic=t&channel=c")
        await node.post("/channel/create?topic=t&channel=empty")
        await node.post("/channel/pause?topic=t&channel=c")
        await node.post("/pub?topic=t", b"x")
        await node.post("/pub?topic=t&defer=3600000", b"x")
        await node.post("/channel/empty?topic=t&channel=empty")
        await node.post("/node/drain")
        state = await node.get_json("/node/drain")
        counts = {"waiting": 1, "in_flight": 0, "deferred": 1}
        assert {name: state[name] for name in counts} == counts
        assert (state["empty"], state["survives_restart"], state["directories"]) == (
            False,
            True,
            [],
        )
        assert state["held_by"] == [
            {"topic": "t", "channel": "c", **counts, "clients": 0, "paused": True}
        ]


async def test_a_full_disk_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running_node(tmp_path) as node:
        monkeypatch.setattr(draining, "replace_file", refuse)
        await node.post("/node/drain")
        state = await node.get_json("/node/drain")
        assert (state["draining"], state["survives_restart"]) == (True, False)
        await node.post("/node/undrain")
        assert (await node.get_json("/node/drain"))["draining"] is False
