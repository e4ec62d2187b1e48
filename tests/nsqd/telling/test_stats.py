"""What /stats tells, against what the test knows it did. Exact forms are in the golden tests."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest

from nsqx.nsqd.edge import steps
from nsqx.nsqd.edge.steps import in_steps
from nsqx.nsqd.telling.stats import format_latency
from nsqx.protocol import commands
from tests.support.node import Node, running_node
from tests.support.processes import eventually

SECOND_NS = 10**9


async def channel_of(node: Node, topic: str, name: str) -> Any:
    (found,) = (await node.stats(f"&topic={topic}&channel={name}"))["topics"]
    return found["channels"][0]


async def test_counts_of_a_consumer_and_its_channel(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await node.post("/mpub?topic=t", b"a\nb\nc\nd")
        await client.subscribe("t", "c", ready=3)
        first, second, _ = await client.receive(3)
        client.finish([first])
        client.send(commands.req(second.id, 60_000))
        (again,) = await client.receive(1)  # the fourth, in place of the finished one
        assert again.body == b"d"

        async def settled() -> bool:
            return bool((await channel_of(node, "t", "c"))["requeue_count"] == 1)

        await eventually(settled, "the requeue counts")
        channel = await channel_of(node, "t", "c")
    expected = {
        "depth": 0,
        "backend_depth": 0,
        "in_flight_count": 2,
        "deferred_count": 1,
        "message_count": 4,
        "global_msg_count": 4,
        "requeue_count": 1,
        "timeout_count": 0,
        "client_count": 1,
        "paused": False,
    }
    assert {key: channel[key] for key in expected} == expected
    (consumer,) = channel["clients"]
    of_client = {
        "version": "V2",
        "state": 3,
        "ready_count": 3,
        "in_flight_count": 2,
        "message_count": 4,
        "finish_count": 1,
        "requeue_count": 1,
    }
    assert {key: consumer[key] for key in of_client} == of_client
    assert "pub_counts" not in consumer


async def test_a_time_out_is_counted(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path, msg_timeout=SECOND_NS // 20) as node,
        node.client() as client,
    ):
        await node.post("/pub?topic=t", b"a")
        await client.subscribe("t", "c", ready=1)
        messages = await client.receive(2)
        client.finish(messages[1:])
        channel = await channel_of(node, "t", "c")
        assert [message.attempts for message in messages] == [1, 2]
        assert channel["timeout_count"] >= 1
        assert channel["requeue_count"] == 0


async def test_who_published_is_a_producer_with_the_topic_that_was_asked_for(
    tmp_path: Path,
) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await client.publish("t1", b"a")
        await client.publish_many("t2", [b"b", b"c"])
        for topic, count in (("t1", 1), ("t2", 2)):
            (producer,) = (await node.stats(f"&topic={topic}"))["producers"]
            assert producer["pub_counts"] == [{"topic": topic, "count": count}]
        (producer,) = (await node.stats())["producers"]
        assert len(producer["pub_counts"]) == 1
        (producer,) = (await node.stats("&topic=t3"))["producers"]
        assert "pub_counts" not in producer
        assert (await node.stats("&include_clients=false"))["producers"] is None


async def test_a_consumer_that_publishes_is_shown_in_both_places(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await client.subscribe("t", "c", ready=1)
        await client.publish("other", b"x")
        stats = await node.stats()
        text = (await node.get("/stats")).decode()
    (producer,) = stats["producers"]
    topic = next(topic for topic in stats["topics"] if topic["topic_name"] == "t")
    assert topic["channels"][0]["clients"] == [producer]
    line = r"\[V2 \S+ +\] msgs: 1        topics: other=1 connected: \d+s\n"
    assert re.search(" {8}" + line, text)
    assert re.search("Producers:\n   " + line, text)


async def test_text_of_a_consumer(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await client.subscribe("t", "c", ready=7)
        await client.publish("t", b"x")
        await client.receive(1)
        text = (await node.get("/stats?topic=t")).decode()
    assert re.search(r"\n {8}\[V2 127\.0\.0\.1:\d+ +\] ", text)


async def test_backend_depth_is_what_is_on_disk_only(tmp_path: Path) -> None:
    body = b"x" * 10_000
    async with running_node(tmp_path, memory_limit=500_000) as node:
        await node.post("/topic/create?topic=t")
        await node.post("/channel/create?topic=t&channel=c")
        for _ in range(10):
            await node.post("/mpub?topic=t", b"\n".join([body] * 20))
        channel = await channel_of(node, "t", "c")
    assert channel["depth"] == 200
    assert 100 < channel["backend_depth"] < 200


async def test_all_of_a_backlog_after_a_restart_is_on_disk(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/mpub?topic=t", b"a\nb")
    async with running_node(tmp_path) as node:
        (topic,) = (await node.stats())["topics"]
    assert (topic["depth"], topic["backend_depth"], topic["message_count"]) == (2, 2, 0)


async def test_latency_is_from_publish_to_finish(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path, e2e_processing_latency_percentile=[1.0, 0.5]) as node,
        node.client() as client,
    ):
        began_ns = time.time_ns()
        await node.post("/mpub?topic=t", b"a\nb\nc")
        await client.subscribe("t", "c", ready=5)
        messages = await client.receive(3)
        client.finish(messages)

        async def counted() -> bool:
            latency = (await channel_of(node, "t", "c"))["e2e_processing_latency"]
            return bool(latency["count"] == 3)

        await eventually(counted, "three samples")
        spent_ns = time.time_ns() - began_ns
        (topic,) = (await node.stats())["topics"]
    latency = topic["channels"][0]["e2e_processing_latency"]
    assert [entry["quantile"] for entry in latency["percentiles"]] == [1, 0.5]
    assert all(0 < entry["value"] <= spent_ns for entry in latency["percentiles"])
    assert topic["e2e_processing_latency"] == latency


async def test_latency_of_messages_that_are_on_disk_only(tmp_path: Path) -> None:
    body = b"x" * 10_000
    async with (
        running_node(tmp_path, e2e_processing_latency_percentile=[1.0], memory_limit=1000) as node,
        node.client() as client,
    ):
        for _ in range(5):
            await node.post("/mpub?topic=t", b"\n".join([body] * 20))
        await client.subscribe("t", "c", ready=100)
        messages = await client.receive(100)
        for message in messages:  # one run each, long after their blocks were dropped
            client.send(commands.fin(message.id))
            client.send(commands.nop())

        async def counted() -> bool:
            latency = (await channel_of(node, "t", "c"))["e2e_processing_latency"]
            return bool(latency["count"] == 100)

        await eventually(counted, "a sample for each message")


async def test_filters(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        for topic, channel in (("t1", "a"), ("t1", "b"), ("t2", "b")):
            await node.post(f"/topic/create?topic={topic}")
            await node.post(f"/channel/create?topic={topic}&channel={channel}")

        async def names(filters: str) -> Any:
            topics = (await node.stats(filters))["topics"]
            return topics and {
                topic["topic_name"]: [channel["channel_name"] for channel in topic["channels"]]
                for topic in topics
            }

        assert await names("") == {"t1": ["a", "b"], "t2": ["b"]}
        assert await names("&topic=t1") == {"t1": ["a", "b"]}
        assert await names("&channel=a") == {"t1": ["a"]}
        assert await names("&topic=t2&channel=a") == []
        assert await names("&topic=t3") is None
        assert "memory" not in await node.stats("&include_mem=0")
        assert "memory" in await node.stats("&include_mem=whatever")


async def test_a_disk_that_refused_shows_in_health(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        node.broker.write_error = OSError(28, "No space left on device")
        assert (await node.stats())["health"] == "NOK - No space left on device"
        assert await node.request("GET", "/ping") == (500, b"NOK - No space left on device")
        assert b"\nHealth: NOK - No space left on device\n" in await node.get("/stats")
        node.broker.write_error = None
        assert await node.request("GET", "/ping") == (200, b"OK")


async def test_damage_of_the_log_is_told(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        assert "damage" not in await node.stats()
        for body in (b"first", b"second", b"third"):
            await node.post("/pub?topic=t", body)
    (segment,) = (tmp_path / "topics" / "t.topic").glob("*.log")
    data = bytearray(segment.read_bytes())
    data[data.index(b"second")] ^= 1
    segment.write_bytes(data)
    async with running_node(tmp_path) as node, node.client() as client:
        await client.subscribe("t", "c", ready=10)
        bodies = [message.body for message in await client.receive(2)]
        assert bodies == [b"first", b"third"]
        damage = (await node.stats())["damage"]
        text = (await node.get("/stats")).decode()
        metrics = await node.get("/metrics")
    assert (damage["places"], damage["lost_messages"]) == (1, 1)
    (place,) = damage["latest"]
    assert (place["first"], place["end"]) == (1, 2)
    assert "\nDamage: places: 1, lost messages: 1\n" in text
    assert b"\nnsqd_lost_messages_total 1\n" in metrics


@pytest.mark.parametrize(
    ("value_ns", "text"),
    [
        (0, "0.0ns"),
        (1000, "1000.0ns"),
        (1001, "1.0us"),
        (400_400_000, "400.4ms"),
        (10**9, "1000.0ms"),
        (90 * 10**9, "90.0s"),
    ],
)
def test_text_of_a_latency(value_ns: int, text: str) -> None:
    assert format_latency(value_ns) == text


@pytest.mark.parametrize("path", ["/stats?format=json", "/stats", "/metrics"])
async def test_a_thousand_channels_do_not_hold_the_event_loop(tmp_path: Path, path: str) -> None:
    async with running_node(tmp_path, e2e_processing_latency_percentile=[1.0, 0.99]) as node:
        topic = node.broker.get_topic("t")
        for number in range(1000):
            node.broker.get_channel(topic, f"c{number:04}")
        node.broker.flush()
        asking = asyncio.create_task(node.get(path))
        turns = 0
        while not asking.done():
            await asyncio.sleep(0)
            turns += 1
        assert (await asking).count(b"c0999") >= 1
    # How long the turns are is in docs/performance.md; here, that the work is cut into many.
    assert turns > 5


async def test_others_run_between_pieces() -> None:
    now_ns = 0
    seen: list[str] = []

    def clock() -> int:
        nonlocal now_ns
        now_ns += steps.STEP_NS
        return now_ns

    asyncio.get_running_loop().call_soon(seen.append, "others")
    assert await in_steps([1, 2, 3], clock) == [1, 2, 3]
    assert seen == ["others"]
