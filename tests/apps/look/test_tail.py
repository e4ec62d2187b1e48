"""``nsqx tail``: its lines, and what it does with a real cluster."""

import asyncio
import base64
import json
import signal
import uuid

import pytest

from nsqx.apps.look import tail
from nsqx.apps.look.printer import format_body, format_with_topic
from nsqx.client.codecs import JSON, Codec
from nsqx.client.message import Message, Origin
from tests.support.commands import nsqx, running_nsqx
from tests.support.processes import Cluster, Nsqd, eventually, free_port


class Source:
    """A connection that takes no answers."""

    codec: Codec = JSON
    origin = Origin("t", "c", "127.0.0.1:4150")

    def finish(self, message: Message) -> bool:
        return False

    def requeue(self, message: Message, delay: float | None, backoff: bool) -> bool:
        return False

    touch = is_open = finish

    def hold(self, message: Message) -> None: ...

    release = give_back = hold


def message(body: bytes) -> Message:
    return Message(Source(), 1_000_000_007, 2, b"0123456789abcdef", body)


def test_a_body_is_printed_as_it_is() -> None:
    assert format_body("t", message(b"\xff\x00 hi")) == b"\xff\x00 hi\n"


def test_the_topic_comes_first_if_wanted() -> None:
    assert format_with_topic("t", message(b"hi")) == b"t | hi\n"


def test_json_says_all_there_is_to_know() -> None:
    assert json.loads(tail.format_json("t", message(b"hi\n"))) == {
        "topic": "t",
        "id": "0123456789abcdef",
        "timestamp_ns": 1_000_000_007,
        "attempts": 2,
        "body": "hi\n",
    }


def test_json_carries_bytes_that_are_no_text() -> None:
    fields = json.loads(tail.format_json("t", message(b"\xff\xfe")))
    assert base64.b64decode(fields["body_base64"]) == b"\xff\xfe"
    assert "body" not in fields


async def channel_stats(node: Nsqd, topic: str, channel: str) -> dict[str, int]:
    stats = await node.get_json(f"/stats?format=json&topic={topic}&channel={channel}")
    (found,) = stats["topics"][0]["channels"]
    assert isinstance(found, dict)
    return found


async def publish(node: Nsqd, topic: str, *bodies: bytes) -> None:
    await node.post(f"/mpub?topic={topic}", b"\n".join(bodies))


async def test_it_prints_as_many_as_asked_for_and_leaves_the_rest(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, "t", b"a", b"b", b"c")
    arguments = ["tail", "t", "--channel=c", "-n2", f"--nsqd={node.tcp_address}"]
    done = await nsqx(*arguments)
    assert (done.code, done.out) == (0, "a\nb\n")
    stats = await channel_stats(node, "t", "c")
    assert (stats["depth"], stats["in_flight_count"]) == (1, 0)


async def test_it_finds_all_nodes_through_a_lookupd(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    for body in (b"a", b"b"):
        await publish(await cluster.nsqd(lookupds=[lookupd]), "t", body)
    done = await nsqx("tail", "t", "--channel=c", "-n2", f"--lookupd={lookupd.http_address}")
    assert (done.code, sorted(done.out.split())) == (0, ["a", "b"])


async def test_several_topics_at_once(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, "t", b"a")
    await publish(node, "u", b"b")
    flags = ["--channel=c", "-n2", "--print-topic", f"--nsqd={node.tcp_address}"]
    done = await nsqx("tail", "t", "u", *flags)
    assert (done.code, sorted(done.out.splitlines())) == (0, ["t | a", "u | b"])


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_exit_code_0_and_nothing_in_flight(
    cluster: Cluster, signum: int
) -> None:
    node = await cluster.nsqd()
    await publish(node, "t", b"a")
    flags = ["--channel=c", f"--nsqd={node.tcp_address}"]
    async with running_nsqx("tail", "t", *flags) as process:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"a\n"
            process.send_signal(signum)
            assert await process.wait() == 0

    async def is_finished() -> bool:
        stats = await channel_stats(node, "t", "c")
        return stats["depth"] == stats["in_flight_count"] == stats["client_count"] == 0

    await eventually(is_finished, "the message is finished and the consumer gone")


async def test_by_default_it_listens_on_a_channel_of_its_own(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await node.post("/topic/create?topic=t")
    async with running_nsqx("tail", "t", f"--nsqd={node.tcp_address}") as process:

        async def has_subscribed() -> bool:
            stats = await node.get_json("/stats?format=json&topic=t")
            names = [each["channel_name"] for each in stats["topics"][0]["channels"]]
            return len(names) == 1 and names[0].endswith("#ephemeral")

        await eventually(has_subscribed, "tail has subscribed")
        await publish(node, "t", b"a")
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"a\n"


async def test_a_reader_that_goes_away_ends_it_with_exit_code_1(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, "t", b"a")
    arguments = ["tail", "t", "--channel=c", f"--nsqd={node.tcp_address}"]
    async with running_nsqx(*arguments) as tailing:
        assert tailing.stdout is not None
        async with asyncio.timeout(20):
            assert await tailing.stdout.readline() == b"a\n"
            tailing.close_stdout()
            await publish(node, "t", b"b")
            assert await tailing.wait() == 1
            assert tailing.stderr is not None
            assert await tailing.stderr.read() == b""


async def test_an_unreachable_nsqd_is_one_line_and_exit_code_1() -> None:
    address = f"127.0.0.1:{free_port()}"
    done = await nsqx("tail", "t", f"--nsqd={address}")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1].startswith(f"nsqx tail: cannot connect to {address}: ")


@pytest.mark.parametrize("flag", ["--channel=no spaces", "--nsqd=x:y", "--lookupd=ftp://x"])
async def test_what_cannot_be_is_a_usage_error(flag: str) -> None:
    assert (await nsqx("tail", "t", flag)).code == 2


async def test_cluster_on_the_local_network_is_found(cluster: Cluster) -> None:
    name = f"test-{uuid.uuid4().hex}"
    mdns = f"--cluster={name}"
    await cluster.lookupd("--advertise", mdns)
    node = await cluster.nsqd("--discover", mdns)
    await node.wait_for_log("LOOKUPD: .*: connected")
    await node.post("/pub?topic=t", b"hello")
    tail = await nsqx("tail", "t", "--channel=c", "-n1", "--discover", mdns)
    assert (tail.code, tail.out, tail.err) == (0, "hello\n", "")


async def test_a_topic_that_nobody_has_and_a_port_where_nobody_is(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    port = free_port()
    for flag, said in (
        (lookupd.http_address, b"no nsqd has the topic nowhere yet; waiting for one"),
        (f"127.0.0.1:{port}", str(port).encode()),
    ):
        async with running_nsqx("tail", "nowhere", f"--lookupd={flag}") as process:
            assert process.stderr is not None
            async with asyncio.timeout(30):
                assert said in await process.stderr.readline()


@pytest.mark.parametrize("by", ["--lookupd", "--nsqd"])
async def test_what_was_dropped_is_said(cluster: Cluster, by: str) -> None:
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd("--mem-queue-size=5", lookupds=[lookupd])
    await node.post("/topic/create?topic=t")

    async def is_tailed() -> bool:
        stats = await node.get_json("/stats?format=json&topic=t")
        return any(each["client_count"] for each in stats["topics"][0]["channels"])

    address = node.tcp_address if by == "--nsqd" else lookupd.http_address
    async with running_nsqx("tail", "t", f"{by}={address}") as process:
        assert process.stderr is not None
        await eventually(is_tailed, "the tail is there")
        await publish(node, "t", *[b"x"] * 5000)
        async with asyncio.timeout(30):
            line = await process.stderr.readline()
        assert b"4,995 messages in all were dropped by nsqd" in line
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert (out.count(b"x"), err) == (5, b"")
    await node.wait_for_log("dropped 4995 messages")
