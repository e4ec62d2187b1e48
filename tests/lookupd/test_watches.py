"""``GET /watch``: the answers of /lookup, given when they change."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from nsqx.lookupd.daemon import Lookupd
from nsqx.lookupd.options import LookupdOptions
from nsqx.lookupd.registry import Producer
from nsqx.protocol.lookup import PeerInfo
from tests.support.processes import eventually

NODE = PeerInfo(broadcast_address="10.1.1.1", http_port=4151, tcp_port=4150, version="1.3.0")
SECOND_NS = 1_000_000_000


class Watched:
    """A directory in this process, and who watches it."""

    def __init__(self, lookupd: Lookupd, http: aiohttp.ClientSession) -> None:
        self.lookupd = lookupd
        self.registry = lookupd.registry
        self._http = http

    def add_node(self, topic: str, number: int = 1) -> Producer:
        producer = self.registry.add_producer(f"127.0.0.1:{number}", NODE, self.lookupd.clock())
        self.registry.register(producer, topic, None)
        return producer

    async def ask(self, path: str) -> tuple[int, dict[str, Any], str]:
        """The status, the decoded body and the index of an answer."""
        async with self._http.get(f"http://{self.lookupd.http_address}{path}") as response:
            body = await response.json()
            return response.status, body, response.headers.get("X-NSQX-Index", "")

    async def watch(self, topic: str, index: str, wait: str = "30s") -> tuple[int, int, str]:
        """Watch from an index on: the status, the number of producers, the index."""
        status, body, index = await self.ask(f"/watch?topic={topic}&index={index}&wait={wait}")
        return status, len(body.get("producers", [])), index

    async def begin(self, topic: str, index: str) -> "asyncio.Task[tuple[int, int, str]]":
        """Watch in the background; returns when the directory knows of it."""
        before = self.lookupd._watches.count
        task = asyncio.create_task(self.watch(topic, index))

        async def waits() -> bool:
            return self.lookupd._watches.count > before

        await eventually(waits, "the watch waits")
        return task


@pytest_asyncio.fixture
async def watched() -> AsyncIterator[Watched]:
    options = LookupdOptions(
        tcp_address="127.0.0.1:0",
        http_address="127.0.0.1:0",
        max_watches=3,
        inactive_producer_timeout=SECOND_NS // 2,
        tombstone_lifetime=SECOND_NS // 2,
    )
    async with Lookupd(options) as lookupd, aiohttp.ClientSession() as http:
        yield Watched(lookupd, http)


async def test_answer_without_an_index_comes_at_once_and_is_that_of_a_lookup(
    watched: Watched,
) -> None:
    watched.add_node("orders")
    status, body, index = await watched.ask("/watch?topic=orders")
    assert (status, body) == (await watched.ask("/lookup?topic=orders"))[:2]
    assert int(index) > 0


async def test_new_node_is_told_within_200_milliseconds(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.add_node("orders")
    _, _, index = await watched.ask("/watch?topic=orders")
    task = await watched.begin("orders", index)
    # However slow a machine is, timers are run in their order.
    order: list[str] = []
    watches = watched.lookupd._watches
    wake = watches._wake

    def told(topic: str) -> None:
        order.append("told")
        wake(topic)

    monkeypatch.setattr(watches, "_wake", told)
    asyncio.get_running_loop().call_later(0.2, order.append, "200 ms")
    watched.add_node("orders", 2)
    status, producers, new_index = await task
    assert order[0] == "told"
    assert (status, producers) == (200, 2)
    assert new_index != index


async def test_change_of_before_is_told_at_once(watched: Watched) -> None:
    watched.add_node("orders")
    _, _, index = await watched.ask("/watch?topic=orders")
    watched.add_node("orders", 2)
    assert (await watched.watch("orders", index))[:2] == (200, 2)


async def test_unknown_topic_can_be_waited_for(watched: Watched) -> None:
    assert await watched.ask("/watch?topic=late") == (404, {"message": "TOPIC_NOT_FOUND"}, "0")
    task = await watched.begin("late", "0")
    watched.add_node("late")
    assert (await task)[:2] == (200, 1)


async def test_nothing_new_is_told_when_the_time_is_over(watched: Watched) -> None:
    watched.registry.create_topic("orders")
    _, _, index = await watched.ask("/watch?topic=orders")
    assert await watched.watch("orders", index, "1ms") == (200, 0, index)


async def test_other_topics_do_not_matter(watched: Watched) -> None:
    watched.registry.create_topic("orders")
    _, _, index = await watched.ask("/watch?topic=orders")
    task = await watched.begin("orders", index)
    watched.add_node("refunds")
    other = await watched.begin("refunds", str(watched.registry.index_of("refunds")))
    watched.add_node("refunds", 2)
    assert (await other)[:2] == (200, 2)
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_many_changes_of_a_moment_are_told_together(watched: Watched) -> None:
    watched.registry.create_topic("orders")
    _, _, index = await watched.ask("/watch?topic=orders")
    task = await watched.begin("orders", index)
    for number in range(10):
        watched.add_node("orders", number)
    assert (await task)[:2] == (200, 10)


async def test_node_that_fell_silent_is_told(watched: Watched) -> None:
    """It is time that changes the answer: nobody registers or leaves."""
    watched.add_node("orders")
    _, _, index = await watched.ask("/watch?topic=orders")
    assert (await watched.watch("orders", index))[:2] == (200, 0)


async def test_end_of_a_tombstone_is_told(watched: Watched) -> None:
    producer = watched.add_node("orders")
    producer.last_seen_ns += 60 * SECOND_NS
    watched.registry.tombstone("orders", producer.node, watched.lookupd.clock())
    _, body, index = await watched.ask("/watch?topic=orders")
    assert body["producers"] == []
    assert (await watched.watch("orders", index))[:2] == (200, 1)


async def test_watches_beyond_the_limit_are_refused(watched: Watched) -> None:
    tasks = [await watched.begin("late", "0") for _ in range(3)]
    refused = await watched.ask("/watch?topic=late&index=0")
    assert refused[:2] == (503, {"message": "TOO_MANY_WATCHES"})
    watched.add_node("late")
    await asyncio.gather(*tasks)
    assert (await watched.watch("late", "0"))[0] == 200
    assert watched.lookupd._watches._waiting == {}


async def test_end_of_the_directory_answers_all(watched: Watched) -> None:
    """Who is cut off instead, when the end has waited long enough, has no answer."""
    task = await watched.begin("late", "0")
    await watched.lookupd.stop()
    assert await task == (404, 0, "0")


async def test_restarted_directory_has_other_indices(watched: Watched) -> None:
    watched.add_node("orders")
    _, _, index = await watched.ask("/watch?topic=orders")
    async with Lookupd(watched.lookupd.options) as again:
        again.registry.create_topic("orders")
        assert again.registry.index_of("orders") > int(index)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "MISSING_ARG_TOPIC"),
        ("topic=*", "INVALID_ARG_TOPIC"),
        ("topic=t&index=x", "INVALID_ARG_INDEX"),
        ("topic=t&index=-1", "INVALID_ARG_INDEX"),
        ("topic=t&index=99999999999999999999", "INVALID_ARG_INDEX"),
        ("topic=t&index=0&wait=soon", "INVALID_ARG_WAIT"),
    ],
)
async def test_wrong_arguments(watched: Watched, query: str, code: str) -> None:
    assert (await watched.ask(f"/watch?{query}"))[:2] == (400, {"message": code})


async def test_watch_ends_with_its_client(watched: Watched) -> None:
    task = await watched.begin("late", "0")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    async def is_over() -> bool:
        return watched.lookupd._watches.count == 0

    await eventually(is_over, "the watch is over")
