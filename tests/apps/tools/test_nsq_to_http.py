"""``nsq_to_http``, mostly as a process: which server gets what, and what becomes of failures."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from nsqx.apps.tools.nsq_to_http import Dispatcher, Sender, ToHttpOptions
from nsqx.client.message import Message
from tests.support.commands import running_nsqx
from tests.support.processes import Cluster, Nsqd, eventually, free_port
from tests.support.recording_servers import RecordingHttp


@asynccontextmanager
async def to_http(node: Nsqd, *flags: str) -> AsyncIterator[None]:
    """Run until the block ends, then see that it ends in good order."""
    address = f"--nsqd-tcp-address={node.tcp_address}"
    async with running_nsqx("to-http", "--topic=t", address, *flags) as process:
        yield
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            _, log = await process.communicate()
        assert process.returncode == 0, log.decode()


async def until_channel(node: Nsqd, **expected: int) -> None:
    async def is_so() -> bool:
        stats = await node.get_json("/stats?format=json&topic=t&channel=nsq_to_http")
        channels = [found for topic in stats["topics"] or () for found in topic["channels"]]
        return bool(channels) and expected.items() <= channels[0].items()

    await eventually(is_so, f"the channel has {expected}")


async def publish(node: Nsqd, count: int) -> None:
    await node.post("/mpub?topic=t", b"\n".join(b"%d" % number for number in range(count)))


DONE = {"depth": 0, "in_flight_count": 0, "deferred_count": 0}


async def test_servers_take_turns(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, 10)
    with RecordingHttp(200) as one, RecordingHttp(200) as two:
        posts = [f"--post=http://{server.address}/p" for server in (one, two)]
        async with to_http(node, *posts, "--mode=round-robin"):
            await until_channel(node, **DONE)
        assert (len(one.requests), len(two.requests)) == (5, 5)


async def test_another_mode_sends_to_all(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, 3)
    with RecordingHttp(200) as one, RecordingHttp(204) as two:
        posts = [f"--post=http://{server.address}/p" for server in (one, two)]
        async with to_http(node, *posts, "--mode=multicast"):
            await until_channel(node, **DONE)
        for server in (one, two):
            assert sorted(found["body"] for found in server.requests) == ["0", "1", "2"]


async def test_a_dead_server_is_passed_over_after_its_first_failure(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, 3)
    with RecordingHttp(200) as living:
        posts = [f"--post=http://127.0.0.1:{free_port()}/", f"--post=http://{living.address}/"]
        retry = ["--consumer-opt=default_requeue_delay,10ms", "--consumer-opt=backoff_multiplier,1"]
        async with to_http(node, *posts, *retry, "--n=1"):
            await until_channel(node, **DONE, requeue_count=1)
        assert sorted(found["body"] for found in living.requests) == ["0", "1", "2"]


async def test_headers_are_set_and_win_over_the_usual_ones(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, 1)
    with RecordingHttp(200) as server:
        headers = ["--header=X-Own: a: b", "--header=user-agent: mine", "--content-type=text/x"]
        async with to_http(node, f"--post=http://{server.address}/p", *headers):
            await until_channel(node, **DONE)
        (request,) = server.requests
    sent = {name.lower(): value for name, value in request["all_headers"].items()}
    assert (sent["x-own"], sent["user-agent"], sent["content-type"]) == ("a: b", "mine", "text/x")


class HalfFrozen(Sender):
    """Sends to two addresses; the first one never answers."""

    def __init__(self) -> None:
        self.urls = ["http://frozen/", "http://well/"]
        self.sent: list[int] = []

    async def send(self, index: int, body: bytes) -> None:
        self.sent.append(index)
        if index == 0:
            await asyncio.Event().wait()


@pytest.mark.parametrize("mode", ["round-robin", "hostpool", "epsilon-greedy"])
async def test_a_frozen_destination_is_left_within_a_second(mode: str) -> None:
    now = 0.0
    sender = HalfFrozen()
    dispatcher = Dispatcher(sender, ToHttpOptions(mode=mode), lambda: now)

    async def handle() -> None:
        source: Any = None
        await dispatcher.handle(Message(source, 0, 1, b"0" * 16, b"x"))

    async with asyncio.TaskGroup() as group:
        tasks = []
        while 0 not in sender.sent:
            tasks.append(group.create_task(handle()))
            await asyncio.sleep(0)
        now = 1.0
        sender.sent.clear()
        for _ in range(100):
            await handle()
        assert set(sender.sent) == {1}
        for task in tasks:
            task.cancel()
