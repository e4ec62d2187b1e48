"""Learning of nsqds from lookupds that tell of changes, and from those that do not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from nsqx.client import Consumer
from nsqx.client.addresses import Address
from nsqx.client.watch import watch, watch_url
from nsqx.lookupd.daemon import Lookupd
from nsqx.lookupd.options import LookupdOptions
from nsqx.nsqd.daemon import Nsqd
from nsqx.nsqd.options import NsqdOptions
from tests.support.processes import eventually


@pytest.mark.parametrize(
    ("asked", "watched"),
    [
        ("http://a:4161/lookup?topic=t", "http://a:4161/watch?topic=t"),
        ("http://a:4161/proxy/lookup?x=1&topic=t", "http://a:4161/proxy/watch?x=1&topic=t"),
        ("http://a:4161/elsewhere?topic=t", None),
    ],
)
def test_watch_url_is_beside_that_of_lookups(asked: str, watched: str | None) -> None:
    assert watch_url(asked) == watched


class PlayedWatch:
    """A lookupd that gives one answer after the other, and then none."""

    def __init__(self) -> None:
        self.queries: asyncio.Queue[str] = asyncio.Queue()
        self.answers: asyncio.Queue[web.Response] = asyncio.Queue()
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.queries.put_nowait(request.query_string)
        return await self.answers.get()

    def answer(self, index: str | None, *ports: int) -> None:
        producers = [{"broadcast_address": "127.0.0.1", "tcp_port": port} for port in ports]
        headers = {"X-NSQX-Index": index} if index is not None else {}
        self.answers.put_nowait(web.json_response({"producers": producers}, headers=headers))


class Watching:
    """A watch under way, and what it has found."""

    def __init__(self) -> None:
        self.lookupd = PlayedWatch()
        self.found: asyncio.Queue[set[int]] = asyncio.Queue()

    def note(self, addresses: set[Address]) -> None:
        self.found.put_nowait({address.port for address in addresses})


@asynccontextmanager
async def watching() -> AsyncIterator[Watching]:
    it = Watching()
    app = web.Application()
    app.router.add_get("/watch", it.lookupd.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/watch?topic=t"
    async with aiohttp.ClientSession() as session:
        task = asyncio.create_task(watch(session, url, it.note))
        try:
            yield it
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            for _ in range(3):  # the server does not end while one of them waits
                it.lookupd.answers.put_nowait(web.Response(status=500))
            await runner.cleanup()


async def test_each_answer_is_waited_for_with_the_index_of_the_one_before() -> None:
    async with watching() as it:
        assert await it.lookupd.queries.get() == "topic=t"
        it.lookupd.answer("7", 1)
        assert await it.found.get() == {1}
        assert await it.lookupd.queries.get() == "topic=t&index=7&wait=30s"
        it.lookupd.answer("9", 1, 2)
        assert await it.found.get() == {1, 2}
        assert await it.lookupd.queries.get() == "topic=t&index=9&wait=30s"


async def test_failure_is_tried_again_from_the_same_index() -> None:
    async with watching() as it:
        it.lookupd.answer("7", 1)
        assert await it.found.get() == {1}
        it.lookupd.answers.put_nowait(web.Response(status=500))
        it.lookupd.answer("8", 2)
        assert await it.found.get() == {2}
        queries = [it.lookupd.queries.get_nowait() for _ in range(3)]
        assert queries[1] == queries[2] == "topic=t&index=7&wait=30s"


async def test_lookupd_that_can_not_tell_is_left_alone() -> None:
    async with watching() as it:
        it.lookupd.answer(None, 1)
        await it.lookupd.queries.get()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await it.lookupd.queries.get()
        assert it.found.empty()


async def test_answer_without_a_change_is_not_asked_for_in_a_tight_loop() -> None:
    async with watching() as it:
        for _ in range(100):
            it.lookupd.answer("7", 1)
        assert await it.found.get() == {1}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await it.found.get()
        assert it.lookupd.queries.qsize() == 2


@asynccontextmanager
async def running_cluster(data_path: Path) -> AsyncIterator[tuple[Lookupd, Nsqd]]:
    anywhere, here = "127.0.0.1:0", "127.0.0.1"
    directory = LookupdOptions(tcp_address=anywhere, http_address=anywhere, broadcast_address=here)
    async with Lookupd(directory) as lookupd:
        node = NsqdOptions(
            tcp_address=anywhere,
            http_address=anywhere,
            broadcast_address=here,
            data_path=str(data_path),
            lookupd_tcp_address=[lookupd.tcp_address],
        )
        async with Nsqd(node) as nsqd:
            yield lookupd, nsqd


async def test_new_node_is_consumed_though_nobody_polls(tmp_path: Path) -> None:
    """How soon is measured by ``python -m benchmarks.lookupd``, not here."""
    async with (
        running_cluster(tmp_path) as (lookupd, nsqd),
        Consumer("t", "c", lookupd=lookupd.http_address, lookupd_poll_interval=600) as consumer,
    ):

        async def is_watched() -> bool:
            # Once the topic is known, only the watch can tell of a node.
            lookupd.registry.create_topic("t")
            return lookupd._watches.count > 0 and nsqd.peers.states()[0].is_connected

        await eventually(is_watched, "the consumer watches")
        topic = nsqd.broker.get_topic("t")
        nsqd.broker.get_channel(topic, "c")
        topic.publish([b"hello"], 0, lambda refusal: None, nsqd.broker.clock.monotonic())
        nsqd.broker.commit(topic)
        async for message in consumer:
            assert message.body == b"hello"
            message.finish()
            break
