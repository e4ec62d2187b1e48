"""Pages of a log over HTTP, what became of one message, and its body."""

import asyncio
import base64
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from nsqx.protocol import commands
from tests.support.node import Node, running_node
from tests.support.processes import eventually

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


# Peek


async def test_peek_from_every_kind_of_place(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, b"a", b"b")
        before_ns = time.time_ns()
        await publish(node, b"c", b"d")
        assert await bodies_of(node, "&from=start&limit=2") == ["a", "b"]
        assert await bodies_of(node, "&from=end&limit=3") == ["b", "c", "d"]
        assert await bodies_of(node, "") == ["a", "b", "c", "d"]
        assert await bodies_of(node, "&from=seq:1") == ["b", "c", "d"]
        assert await bodies_of(node, "&from=seq:99") == []
        since = f"{before_ns // SECOND_NS}.{before_ns % SECOND_NS:09}"
        assert await bodies_of(node, f"&from=time:{since}") == ["c", "d"]
        assert await bodies_of(node, "&from=time:-1h") == ["a", "b", "c", "d"]
        third = (await peek(node))["messages"][2]
        assert third["sequence"] == 2
        assert third["timestamp"] >= before_ns
        assert await bodies_of(node, f"&from=id:{third['id']}&limit=1") == ["c"]


async def test_peek_goes_on_where_it_ended(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/mpub?topic=t", b"\n".join(b"%d" % number for number in range(25)))
        seen: list[str] = []
        position = 0
        while True:
            page = await peek(node, f"&from=seq:{position}")
            if not page["messages"]:
                break
            seen += [message["body"] for message in page["messages"]]
            position = page["next"]
        assert seen == [str(number) for number in range(25)]
        assert (page["first"], page["end"], page["next"]) == (0, 25, 25)


async def walk(node: Node, arguments: str, *, forwards: bool) -> list[Any]:
    """Follow ``next`` or ``previous`` to the end of the log; return the pages."""
    place, pages = ("from=start" if forwards else "before=end"), list[Any]()
    while True:
        page = await peek(node, f"&{place}{arguments}")
        pages.append(page)
        if (page["next"] >= page["end"]) if forwards else (page["previous"] <= page["first"]):
            return pages
        place = f"from=seq:{page['next']}" if forwards else f"before=seq:{page['previous']}"


async def test_the_pages_of_many_segments_are_the_log(tmp_path: Path) -> None:
    """Of 1,000 messages in segments of 20 kB, 108 were shown."""
    bodies = [f"{number:0100}" for number in range(1000)]
    async with running_node(tmp_path, max_bytes_per_file=20_000) as node:
        await node.post("/topic/create?topic=t")
        for start in range(0, 1000, 20):
            await node.post("/mpub?topic=t", "\n".join(bodies[start : start + 20]).encode())
        assert node.broker.topics["t"].log.segment_count > 5
        for forwards in (True, False):
            pages = await walk(node, "", forwards=forwards)
            seen = [message["body"] for page in pages for message in page["messages"]]
            assert sorted(seen) == bodies
            assert all(len(page["messages"]) == 10 for page in pages)
            assert not any(page["gaps"] for page in pages)


async def test_backwards_a_page_ends_with_what_was_asked_for(tmp_path: Path) -> None:
    """The newest of long bodies was the oldest of the last ten."""
    async with running_node(tmp_path) as node:
        await publish(node, *(b"%d" % number * 400_000 for number in range(6)))
        for place in ("", "&from=end", "&before=end"):
            page = await peek(node, place)
            assert [message["body"][0] for message in page["messages"]] == ["4", "5"]
            assert (page["previous"], page["next"]) == (4, 6)
        page = await peek(node, "&before=seq:3&limit=1")
        assert [message["sequence"] for message in page["messages"]] == [2]
        pages = await walk(node, "", forwards=False)
        assert [[m["sequence"] for m in page["messages"]] for page in pages] == [
            [4, 5], [2, 3], [0, 1],
        ]  # fmt: skip


async def test_before_every_kind_of_place(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, b"a", b"b")
        before_ns = time.time_ns()
        await publish(node, b"c", b"d")
        third = (await peek(node))["messages"][2]
        since = f"{before_ns // SECOND_NS}.{before_ns % SECOND_NS:09}"
        for place in ("seq:2", f"id:{third['id']}", f"time:{since}"):
            assert await bodies_of(node, f"&before={place}") == ["a", "b"], place
        assert await bodies_of(node, "&before=start") == []
        assert await bodies_of(node, "&before=seq:99&limit=1") == ["d"]


async def test_what_is_missing_is_said(tmp_path: Path) -> None:
    async with running_node(tmp_path, max_bytes_per_file=2000) as node:
        await publish(node, *[b"x" * 900] * 4, b"second", b"third")
        await node.post("/topic/empty?topic=t")
        await publish(node, b"fourth")
        node.broker.topics["t"].log.release(2, 0)
        page = await peek(node, "&from=seq:0")
        assert [message["body"] for message in page["messages"]] == ["fourth"]
        assert page["gaps"] == [
            {"first": 0, "end": 2, "reason": "not kept any more"},
            {"first": 2, "end": 6, "reason": "emptied"},
        ]
        page = await peek(node, "&before=seq:6")
        assert (page["messages"], page["previous"]) == ([], 2)


async def test_long_bodies_can_be_cut_and_are_marked(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, "grüß".encode() * 2, b"\xff" * 5, b"short")
        text, binary, short = (await peek(node, "&body_bytes=5"))["messages"]
        assert (text["body"], text["size"], text["is_cut"]) == ("grü", 12, True)  # not half a ß
        assert base64.b64decode(binary["body_base64"]) == b"\xff" * 5
        assert (short["body"], short["size"]) == ("short", 5)
        assert "is_cut" not in binary
        assert "is_cut" not in short


async def test_a_page_of_cut_bodies_has_room_for_many(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, *[b"x" * 700_000] * 5)
        page = await peek(node, "&from=start&body_bytes=1000")
        assert [message["size"] for message in page["messages"]] == [700_000] * 5


async def test_the_whole_body_of_one_message(tmp_path: Path) -> None:
    body = bytes(range(256)) * 4000
    async with running_node(tmp_path) as node, node.client() as client:
        await publish(node, b"before", body, b"behind")
        page = await peek(node, "&from=seq:1&limit=1&body_bytes=10")
        path = f"/message/body?topic=t&id={page['messages'][0]['id']}"
        assert await node.get(path) == body
        await client.subscribe("t", "c", ready=10)
        client.finish(await client.receive(3))
        assert await node.get(path) == body
        await node.post("/topic/create?topic=other")
        assert await node.refused("GET", path.replace("=t&", "=other&")) == (
            404, "MESSAGE_NOT_FOUND",
        )  # fmt: skip


async def test_no_body_is_better_than_a_wrong_one(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, b"first", b"second")
        second = (await peek(node))["messages"][1]
        await node.post("/topic/pause?topic=t")
        await node.post("/topic/create?topic=u")
    (segment,) = (tmp_path / "topics" / "t.topic").glob("*.log")
    data = bytearray(segment.read_bytes())
    data[data.index(b"second")] ^= 1
    segment.write_bytes(data)
    async with running_node(tmp_path) as node:
        path = f"/message/body?topic=t&id={second['id']}"
        assert await node.refused("GET", path) == (410, "MESSAGE_LOST")
        await node.post("/topic/empty?topic=t")
        assert await node.refused("GET", path) == (404, "MESSAGE_NOT_FOUND")


async def test_only_some_bodies_are_sent_at_a_time(tmp_path: Path) -> None:
    """Eight clients that do not read what they asked for are as many as there may be."""
    async with running_node(tmp_path, max_msg_size=32_000_000) as node, node.client() as client:
        client.send(commands.pub("t", bytes(20_000_000)))
        await client.response()
        (message,) = (await peek(node, "&body_bytes=1"))["messages"]
        path = f"/message/body?topic=t&id={message['id']}"
        idle = []
        for _ in range(8):
            reader, writer = await asyncio.open_connection("127.0.0.1", node.nsqd.http_port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            idle.append(writer)
        assert await node.refused("GET", path) == (429, "TOO_MANY_BODIES")
        for writer in idle:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

        async def has_room() -> bool:
            status, _ = await node.request("GET", path)
            return status == 200

        await eventually(has_room, "there is room again")


async def test_peek_changes_nothing(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await publish(node, b"a", b"b")
        before = await node.stats("&include_mem=0")
        for _ in range(3):
            await peek(node, "&from=start")
        assert await node.stats("&include_mem=0") == before
        await client.subscribe("t", "c", ready=10)
        assert [message.attempts for message in await client.receive(2)] == [1, 1]


async def test_bodies_that_are_no_text_come_as_base64(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, b"\xff\0", "grüß".encode())
        binary, text = (await peek(node))["messages"]
        assert base64.b64decode(binary["body_base64"]) == b"\xff\0"
        assert "body" not in binary
        assert text["body"] == "grüß"
        _, text = (await peek(node, "&encoding=base64"))["messages"]
        assert base64.b64decode(text["body_base64"]).decode() == "grüß"


async def test_a_page_is_bounded_in_bytes_but_never_empty(tmp_path: Path) -> None:
    async with running_node(tmp_path, max_msg_size=4_000_000) as node:
        await publish(node, b"x" * 1_000_000, b"y" * 600_000, b"z" * 600_000)
        assert [len(body) for body in await bodies_of(node, "&from=start")] == [1_000_000]
        assert [len(body) for body in await bodies_of(node, "&from=seq:1")] == [600_000]


async def test_peek_over_segments_and_after_a_restart(tmp_path: Path) -> None:
    async with running_node(tmp_path, max_bytes_per_file=2000) as node:
        await publish(node, *(b"%03d" % number * 100 for number in range(30)))
    async with running_node(tmp_path, max_bytes_per_file=2000) as node:
        assert node.broker.topics["t"].log.segment_count > 2
        bodies = await bodies_of(node, "&from=start&limit=30")
        assert bodies == [f"{number:03}" * 100 for number in range(30)]


async def test_peek_does_not_show_what_was_emptied(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, b"a")
        await node.post("/topic/empty?topic=t")
        await publish(node, b"b")
        assert await bodies_of(node, "&from=start") == ["b"]


async def test_peek_steps_over_damage(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, b"first", b"second", b"third")
    (segment,) = (tmp_path / "topics" / "t.topic").glob("*.log")
    data = bytearray(segment.read_bytes())
    data[data.index(b"second")] ^= 1
    segment.write_bytes(data)
    async with running_node(tmp_path) as node:
        assert await bodies_of(node, "&from=start") == ["first", "third"]


async def test_peek_into_an_ephemeral_topic(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/mpub?topic=t%23ephemeral", b"a\nb\nc")
        page = await node.get_json("/topic/peek?topic=t%23ephemeral&from=seq:1&limit=1")
        assert [message["body"] for message in page["messages"]] == ["b"]
        page = await node.get_json("/topic/peek?topic=t%23ephemeral&from=time:-1h")
        assert len(page["messages"]) == 3


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/topic/peek", 400, "MISSING_ARG_TOPIC"),
        ("/topic/peek?topic=nosuch", 404, "TOPIC_NOT_FOUND"),
        ("/topic/peek?topic=t&from=middle", 400, "INVALID_ARG_FROM"),
        ("/topic/peek?topic=t&limit=0", 400, "INVALID_ARG_LIMIT"),
        ("/topic/peek?topic=t&limit=1001", 400, "INVALID_ARG_LIMIT"),
        ("/topic/peek?topic=t&limit=x", 400, "INVALID_ARG_LIMIT"),
        ("/topic/peek?topic=t&encoding=hex", 400, "INVALID_ARG_ENCODING"),
        ("/topic/peek?topic=t&before=middle", 400, "INVALID_ARG_BEFORE"),
        ("/topic/peek?topic=t&before=end&from=start", 400, "INVALID_ARG_BEFORE"),
        ("/topic/peek?topic=t&body_bytes=0", 400, "INVALID_ARG_BODY_BYTES"),
        ("/message/body?topic=t", 400, "MISSING_ARG_ID"),
        ("/message/body?topic=t&id=0000000000000000", 404, "MESSAGE_NOT_FOUND"),
        ("/topic/peek?topic=t&from=id:0000000000000000", 404, "MESSAGE_NOT_FOUND"),
        ("/message?topic=t", 400, "MISSING_ARG_ID"),
        ("/message?topic=t&id=1", 400, "INVALID_ARG_ID"),
        ("/message?topic=t&id=0000000000000000", 404, "MESSAGE_NOT_FOUND"),
    ],
)
async def test_refused_questions(tmp_path: Path, path: str, status: int, code: str) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, b"a")
        assert await node.refused("GET", path) == (status, code)


# One message


async def test_the_life_of_a_message(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await publish(node, b"a")
        (message,) = (await peek(node))["messages"]
        state = await state_of(node, message["id"])
        assert state["waits_at_topic"]
        assert state["channels"] == []
        assert (state["sequence"], state["timestamp"]) == (0, message["timestamp"])

        await node.post("/channel/create?topic=t&channel=c")
        state = await state_of(node, message["id"])
        assert not state["waits_at_topic"]
        assert state["channels"] == [{"channel_name": "c", "state": "waiting", "attempts": 0}]

        await client.subscribe("t", "c", ready=1)
        (delivered,) = await client.receive(1)
        (channel,) = (await state_of(node, message["id"]))["channels"]
        assert (channel["state"], channel["attempts"]) == ("in_flight", 1)
        assert channel["client"]["hostname"] == "127.0.0.1"

        until_ns = time.time_ns() + 600 * SECOND_NS
        client.send(commands.req(delivered.id, 600_000))

        async def is_deferred() -> bool:
            (now,) = (await state_of(node, message["id"]))["channels"]
            return bool(now["state"] == "deferred")

        await eventually(is_deferred, "the message is deferred")
        (channel,) = (await state_of(node, message["id"]))["channels"]
        assert channel["attempts"] == 1
        assert channel["deferred_until"] >= until_ns

        await node.post("/channel/empty?topic=t&channel=c")
        (channel,) = (await state_of(node, message["id"]))["channels"]
        assert channel["state"] == "finished"


async def test_a_requeued_message_waits_with_its_attempts(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await publish(node, b"a")
        await client.subscribe("t", "c", ready=1)
        (message,) = await client.receive(1)
        await node.post("/channel/pause?topic=t&channel=c")
        client.send(commands.req(message.id, 0))

        async def waits() -> bool:
            (now,) = (await state_of(node, message.id))["channels"]
            return bool(now["state"] == "waiting" and now["attempts"] == 1)

        await eventually(waits, "the message waits")


async def test_the_client_of_a_message_may_be_gone(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, b"a")
        async with node.client() as client:
            await client.subscribe("t", "c", ready=1)
            (message,) = await client.receive(1)

        async def is_gone() -> bool:
            (topic,) = (await node.stats())["topics"]
            return bool(topic["channels"][0]["client_count"] == 0)

        await eventually(is_gone, "the client is gone")
        (channel,) = (await state_of(node, message.id))["channels"]
        assert channel["state"] == "in_flight"
        assert channel["client"] is None


async def test_an_emptied_message(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await publish(node, b"a")
        (message,) = (await peek(node))["messages"]
        await node.post("/topic/empty?topic=t")
        await node.post("/channel/create?topic=t&channel=c")
        (channel,) = (await state_of(node, message["id"]))["channels"]
        assert channel["state"] == "emptied"
