"""Moving channels."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from nsqx.protocol import commands
from tests.support.node import Node, running_node

SECOND_NS = 10**9


async def publish(node: Node, *bodies: bytes) -> None:
    for body in bodies:
        await node.post("/pub?topic=t", body)


async def peek(node: Node, arguments: str = "") -> Any:
    return await node.get_json(f"/topic/peek?topic=t{arguments}")


async def bodies_of(node: Node, arguments: str) -> list[str]:
    return [message["body"] for message in (await peek(node, arguments))["messages"]]


async def state_of(node: Node, message_id: bytes | str) -> Any:
    text = message_id if isinstance(message_id, str) else message_id.decode()
    return await node.get_json(f"/message?topic=t&id={text}")


# Seek


async def test_seek_to_the_start_delivers_everything_again(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await publish(node, b"a", b"b")
        await client.subscribe("t", "c", ready=10)
        first = await client.receive(2)
        client.finish(first)
        client.send(commands.nop())
        await publish(node, b"c")
        client.finish(await client.receive(1))
        answer = await node.post("/channel/seek?topic=t&channel=c&to=start")
        again = await client.receive(3)
        assert [message.body for message in again] == [b"a", b"b", b"c"]
        assert [message.id for message in again[:2]] == [message.id for message in first]
        assert b'"sequence":' in answer


async def test_every_kind_of_place_to_move_to_and_to_begin_at(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/topic/create?topic=t")
        await node.post("/channel/create?topic=t&channel=moved")
        await publish(node, b"a", b"b")
        before_ns = time.time_ns()
        await publish(node, b"c", b"d")
        last = (await peek(node))["messages"][3]
        places = {
            "start": 4,
            "end": 0,
            "seq:1": 3,
            f"id:{last['id']}": 1,
            f"time:{before_ns // SECOND_NS}.{before_ns % SECOND_NS:09}": 2,
            "time:-1h": 4,
        }
        for number, (place, depth) in enumerate(places.items()):
            answer = json.loads(await node.post(f"/channel/seek?topic=t&channel=moved&to={place}"))
            assert (place, answer["depth"]) == (place, depth)
            await node.post(f"/channel/create?topic=t&channel=new{number}&from={place}")
            (topic,) = (await node.stats(f"&channel=new{number}"))["topics"]
            assert (place, topic["channels"][0]["depth"]) == (place, depth)


async def test_seek_to_the_end_drops_what_waits(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await node.post("/topic/create?topic=t")
        await node.post("/channel/create?topic=t&channel=c")
        await publish(node, b"a", b"b")
        await node.post("/channel/seek?topic=t&channel=c&to=end")
        await publish(node, b"c")
        await client.subscribe("t", "c", ready=10)
        assert [message.body for message in await client.receive(1)] == [b"c"]


async def test_seek_survives_a_restart(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await publish(node, b"a", b"b", b"c")
        await client.subscribe("t", "c", ready=10)
        messages = await client.receive(3)
        client.finish(messages)
        client.send(commands.pub("other", b"x"))
        await client.response()
        await node.post(f"/channel/seek?topic=t&channel=c&to=id:{messages[1].id.decode()}")
    async with running_node(tmp_path) as node, node.client() as client:
        await client.subscribe("t", "c", ready=10)
        assert [message.body for message in await client.receive(2)] == [b"b", b"c"]


async def test_deferred_messages_keep_their_time_when_a_channel_seeks(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/topic/create?topic=t")
        await node.post("/channel/create?topic=t&channel=c")
        await node.post("/pub?topic=t&defer=600000", b"later")
        await publish(node, b"now")
        await node.post("/channel/seek?topic=t&channel=c&to=start")
        (topic,) = (await node.stats())["topics"]
        assert topic["channels"][0]["deferred_count"] == 1
        assert topic["channels"][0]["depth"] == 1


async def test_a_channel_can_begin_in_the_past(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await node.post("/topic/create?topic=t")
        await node.post("/channel/create?topic=t&channel=first")
        await publish(node, b"a", b"b", b"c")
        await node.post("/channel/create?topic=t&channel=second&from=seq:1")
        await client.subscribe("t", "second", ready=10)
        assert [message.body for message in await client.receive(2)] == [b"b", b"c"]
        # A channel that exists is left where it is.
        await node.post("/channel/create?topic=t&channel=first&from=end")
        (topic,) = (await node.stats("&channel=first"))["topics"]
        assert topic["channels"][0]["depth"] == 3


async def test_a_first_channel_can_begin_at_the_end(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, b"a", b"b")
        await node.post("/channel/create?topic=t&channel=c&from=end")
        (topic,) = (await node.stats())["topics"]
        assert (topic["depth"], topic["channels"][0]["depth"]) == (0, 0)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/channel/seek?topic=t&channel=c", 400, "MISSING_ARG_TO"),
        ("/channel/seek?topic=t&channel=c&to=x", 400, "INVALID_ARG_TO"),
        ("/channel/seek?topic=t&channel=d&to=end", 404, "CHANNEL_NOT_FOUND"),
        ("/channel/seek?topic=u&channel=c&to=end", 404, "TOPIC_NOT_FOUND"),
        ("/channel/seek?topic=t&channel=bad!&to=end", 400, "INVALID_ARG_CHANNEL"),
        ("/channel/create?topic=t&channel=d&from=x", 400, "INVALID_ARG_FROM"),
        ("/channel/create?topic=t&channel=d&from=id:0000000000000000", 404, "MESSAGE_NOT_FOUND"),
    ],
)
async def test_refused_moves(tmp_path: Path, path: str, status: int, code: str) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, b"a")
        await node.post("/channel/create?topic=t&channel=c")
        assert await node.refused("POST", path) == (status, code)
        (topic,) = (await node.stats())["topics"]
        assert [channel["channel_name"] for channel in topic["channels"]] == ["c"]
