"""``to_nsq`` as a process: what it publishes, where, and how it ends."""

import asyncio
import signal

import pytest

from tests.support.commands import nsqx, running_nsqx
from tests.support.processes import Cluster, Nsqd, eventually, free_port


async def published(node: Nsqd, topic: str = "t") -> list[str]:
    status, _ = await node.get(f"/topic/peek?topic={topic}&limit=1")
    if status == 404:
        return []
    found: list[str] = []
    position = "start"
    while True:
        page = await node.get_json(f"/topic/peek?topic={topic}&from={position}&limit=1000")
        found += [message["body"] for message in page["messages"]]
        if page["next"] == page["end"]:
            return found
        position = f"seq:{page['next']}"


async def test_every_nsqd_gets_every_message_in_order(cluster: Cluster) -> None:
    nodes = [await cluster.nsqd(), await cluster.nsqd()]
    addresses = [f"--nsqd-tcp-address={node.tcp_address}" for node in nodes]
    lines = [str(number) for number in range(2000)]
    done = await nsqx("to-nsq", "--topic=t", *addresses, stdin="\n".join(lines).encode())
    assert (done.code, done.out) == (0, "")
    for node in nodes:
        assert await published(node) == lines


@pytest.mark.parametrize("text", [b"abc", b"abc\n", b"\n\nabc\n\n"])
async def test_the_last_piece_is_whole(cluster: Cluster, text: bytes) -> None:
    node = await cluster.nsqd()
    await nsqx("to-nsq", "--topic=t", f"--nsqd-tcp-address={node.tcp_address}", stdin=text)
    assert await published(node) == ["abc"]


async def test_nothing_behind_a_refused_message_is_published(cluster: Cluster) -> None:
    node = await cluster.nsqd("--max-msg-size=100")
    lines = [b"%d" % number for number in range(50)] + [b"x" * 101] + [b"behind"] * 50
    flags = ["--topic=t", f"--nsqd-tcp-address={node.tcp_address}"]
    done = await nsqx("to-nsq", *flags, stdin=b"\n".join(lines))
    assert done.code == 1
    assert "E_BAD_MESSAGE PUB message too big 101 > 100" in done.err
    assert await published(node) == [str(number) for number in range(50)]


async def test_an_nsqd_that_is_not_there_is_told_in_the_words_of_nsq() -> None:
    port = free_port()
    flags = ["--topic=t", f"--nsqd-tcp-address=127.0.0.1:{port}"]
    done = await nsqx("to-nsq", *flags, stdin=b"a\n")
    assert done.code == 1
    assert f"dial tcp 127.0.0.1:{port}: connect: connection refused" in done.err


async def test_without_input_there_is_nothing_to_fail() -> None:
    done = await nsqx("to-nsq", "--topic=t", f"--nsqd-tcp-address=127.0.0.1:{free_port()}")
    assert done.code == 0


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_exit_code_0(cluster: Cluster, signum: int) -> None:
    node = await cluster.nsqd()
    flags = ["--topic=t", f"--nsqd-tcp-address={node.tcp_address}"]
    async with running_nsqx("to-nsq", *flags) as process, asyncio.timeout(30):
        assert process.stdin is not None
        process.stdin.write(b"one\nbegun")
        await process.stdin.drain()

        async def is_published() -> bool:
            return await published(node) == ["one"]

        await eventually(is_published, "the whole line is published")
        process.send_signal(signum)
        assert await process.wait() == 0
