"""Settings of one topic or one channel: what is shown, what they do, and that they outlive nsqd."""

import asyncio
import errno
from pathlib import Path

import pytest

from nsqx.nsqd.core.durability import Durability
from nsqx.protocol import commands
from tests.support.node import Node, running_node

SECOND_NS = 10**9
TIMEOUT_NS = SECOND_NS // 20
CHANNEL = "/channel/settings?topic=t&channel=c"


async def publish(node: Node, *bodies: bytes) -> None:
    for body in bodies:
        await node.post("/pub?topic=t", body)


async def make_channel(node: Node) -> None:
    await node.post("/topic/create?topic=t")
    await node.post("/channel/create?topic=t&channel=c")


# Topics


async def test_settings_begin_as_the_nodes_and_survive_a_restart(tmp_path: Path) -> None:
    options = {"retain_time": 60 * SECOND_NS, "retain_bytes": 1000}
    nothing = {"retain_time": None, "retain_bytes": None, "durability": None}
    async with running_node(tmp_path, **options) as node:
        await node.post("/topic/create?topic=t")
        shown = await node.get_json("/topic/settings?topic=t")
        effective = {"retain_time": 60 * SECOND_NS, "retain_bytes": 1000, "durability": "os"}
        assert shown == {"topic": "t", "settings": nothing, "effective": effective}
        await node.post("/topic/settings?topic=t&retain_time=24h&durability=fsync")
    async with running_node(tmp_path, **options) as node:
        shown = await node.get_json("/topic/settings?topic=t")
        day_ns = 24 * 3600 * SECOND_NS
        assert shown["settings"] == {**nothing, "retain_time": day_ns, "durability": "fsync"}
        assert shown["effective"]["retain_bytes"] == 1000
        assert node.broker.topics["t"].durability is Durability.FSYNC
        await node.post("/topic/settings?topic=t&retain_time=default&durability=default")
        shown = await node.get_json("/topic/settings?topic=t")
        assert shown["settings"] == nothing
        assert node.broker.settings_of(node.broker.topics["t"]) == {}


async def test_finished_messages_stay_for_replay_as_long_as_set(tmp_path: Path) -> None:
    async with running_node(tmp_path, max_bytes_per_file=1000) as node:
        for topic in ("kept", "let_go"):
            await node.post(f"/topic/create?topic={topic}")
            await node.post(f"/channel/create?topic={topic}&channel=c")
        await node.post("/topic/settings?topic=kept&retain_time=1h")
        for topic in ("kept", "let_go"):
            for _ in range(20):
                await node.post(f"/pub?topic={topic}", b"x" * 200)
            await node.post(f"/channel/empty?topic={topic}&channel=c")
        node.broker.upkeep()
        assert node.broker.topics["kept"].log.first == 0
        assert node.broker.topics["let_go"].log.first > 0


async def test_changing_the_durability_loses_no_answer(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await client.subscribe("t", "c", ready=1000)

        async def change() -> None:
            for number in range(20):
                word = ("os", "fsync")[number % 2]
                await node.post(f"/topic/settings?topic=t&durability={word}")

        publishing = [publish(node, *(b"x" for _ in range(20))) for _ in range(5)]
        await asyncio.gather(change(), *publishing)
        assert len(await client.receive(100)) == 100


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("retain_time=1", "INVALID_ARG_RETAIN_TIME"),
        ("retain_time=-1s", "INVALID_ARG_RETAIN_TIME"),
        ("retain_bytes=1.5", "INVALID_ARG_RETAIN_BYTES"),
        ("retain_bytes=-1", "INVALID_ARG_RETAIN_BYTES"),
        ("durability=memory", "INVALID_ARG_DURABILITY"),
        ("durability=", "INVALID_ARG_DURABILITY"),
    ],
)
async def test_settings_that_make_no_sense_change_nothing(
    tmp_path: Path, arguments: str, code: str
) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/topic/create?topic=t")
        before = await node.get("/topic/settings?topic=t")
        path = f"/topic/settings?topic=t&retain_bytes=5&{arguments}"
        if "retain_bytes" in arguments:
            path = f"/topic/settings?topic=t&{arguments}"
        assert await node.refused("POST", path) == (400, code)
        assert await node.get("/topic/settings?topic=t") == before


async def test_an_ephemeral_topic_has_no_settings(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/topic/create?topic=t%23ephemeral")
        path = "/topic/settings?topic=t%23ephemeral"
        assert await node.refused("POST", f"{path}&retain_time=1h") == (400, "EPHEMERAL_TOPIC")
        assert (await node.get_json(path))["effective"]["durability"] == "memory"


# Channels


async def test_a_channels_timeout_holds_for_who_asks_for_none_and_outlives_nsqd(
    tmp_path: Path,
) -> None:
    async with running_node(tmp_path) as node:
        await make_channel(node)
        shown = await node.get_json(CHANNEL)
        assert shown["settings"] == {"msg_timeout": None}
        assert shown["effective"] == {"msg_timeout": 60 * SECOND_NS}
        await node.post(f"{CHANNEL}&msg_timeout=50ms")
    async with running_node(tmp_path) as node:
        shown = await node.get_json(CHANNEL)
        assert shown == {
            "topic": "t",
            "channel": "c",
            "settings": {"msg_timeout": TIMEOUT_NS},
            "effective": {"msg_timeout": TIMEOUT_NS},
        }
        await node.post("/pub?topic=t", b"a")
        async with node.client() as client:
            await client.subscribe("t", "c", ready=1)
            again = await client.receive(2)
            assert [message.attempts for message in again] == [1, 2]
            client.finish(again[1:])
        async with node.client() as client:
            client.send(commands.identify(b'{"msg_timeout": 600000}'))
            await client.subscribe("t", "c", ready=1)
            (consumer,) = node.broker.topics["t"].channels["c"].consumers
            assert consumer.msg_timeout_ns == 600 * SECOND_NS
        await node.post(f"{CHANNEL}&msg_timeout=default")
        assert (await node.get_json(CHANNEL))["settings"] == {"msg_timeout": None}


async def test_a_channel_that_is_made_anew_has_no_settings(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await make_channel(node)
        await node.post(f"{CHANNEL}&msg_timeout=50ms")
        await node.post("/channel/delete?topic=t&channel=c")
        await make_channel(node)
        assert (await node.get_json(CHANNEL))["settings"] == {"msg_timeout": None}
    async with running_node(tmp_path) as node:
        assert (await node.get_json(CHANNEL))["settings"] == {"msg_timeout": None}


@pytest.mark.parametrize("value", ["0", "-1s", "soon", "16m", ""])
async def test_a_timeout_that_makes_no_sense_changes_nothing(tmp_path: Path, value: str) -> None:
    async with running_node(tmp_path) as node:
        await make_channel(node)
        await node.post(f"{CHANNEL}&msg_timeout=50ms")
        refused = await node.refused("POST", f"{CHANNEL}&msg_timeout={value}")
        assert refused == (400, "INVALID_ARG_MSG_TIMEOUT")
        assert (await node.get_json(CHANNEL))["settings"] == {"msg_timeout": TIMEOUT_NS}


async def test_a_disk_that_refuses_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running_node(tmp_path) as node:
        await make_channel(node)
        with monkeypatch.context() as full_disk:
            full_disk.setattr(node.broker, "save_topic_state", refuse)
            refused = await node.refused("POST", f"{CHANNEL}&msg_timeout=50ms")
            assert refused == (503, "DISK_FAILED")
        assert (await node.get_json(CHANNEL))["settings"] == {"msg_timeout": None}
        assert node.broker.topics["t"].channels["c"].msg_timeout_ns == 0


async def test_an_ephemeral_channel_has_no_settings(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/topic/create?topic=t")
        await node.post("/channel/create?topic=t&channel=c%23ephemeral")
        refused = await node.refused("POST", f"{CHANNEL}%23ephemeral&msg_timeout=50ms")
        assert refused == (400, "EPHEMERAL_CHANNEL")
