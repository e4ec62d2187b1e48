"""``nsqx pub`` against a real nsqd."""

import asyncio
import json
import signal
import uuid
from pathlib import Path

from tests.support.commands import nsqx, running_nsqx
from tests.support.processes import Cluster, Nsqd, eventually, free_port


async def message_count(node: Nsqd, topic: str) -> int:
    stats = await node.get_json(f"/stats?format=json&topic={topic}")
    return sum(each["message_count"] for each in stats["topics"] or ())


async def test_each_line_of_stdin_is_a_message(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    done = await nsqx("pub", "t", f"--nsqd={node.tcp_address}", stdin=b"a\n\nb\nlast")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("3 messages published to t")
    assert done.err.endswith("1 empty lines left out\n")
    assert await message_count(node, "t") == 3


async def test_a_file_of_many_lines(cluster: Cluster, tmp_path: Path) -> None:
    node = await cluster.nsqd()
    file = tmp_path / "lines"
    file.write_text("".join(f"line {number}\n" for number in range(20_000)))
    done = await nsqx("pub", "t", str(file), f"--nsqd={node.tcp_address}", "--json")
    assert done.code == 0
    summary = json.loads(done.out)
    assert (summary["topic"], summary["published"], summary["error"]) == ("t", 20_000, None)
    assert await message_count(node, "t") == 20_000


async def test_a_line_is_published_when_it_comes_not_at_the_end(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    async with running_nsqx("pub", "t", f"--nsqd={node.tcp_address}") as process:
        assert process.stdin is not None
        process.stdin.write(b"now\n")

        async def has_come() -> bool:
            return await message_count(node, "t") == 1

        await eventually(has_come, "the line is published while stdin is open")
        process.stdin.close()
        async with asyncio.timeout(20):
            assert await process.wait() == 0


async def test_interrupted_while_it_waits_for_input_it_ends_at_once(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    async with running_nsqx("pub", "t", f"--nsqd={node.tcp_address}") as process:
        assert process.stdin is not None
        process.stdin.write(b"now\n")

        async def has_come() -> bool:
            return await message_count(node, "t") == 1

        await eventually(has_come, "it has begun")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        async with asyncio.timeout(20):
            text = (await process.stderr.read()).decode()
            assert await process.wait() == 130
    assert text.startswith("nsqx pub: interrupted\n1 message published to t")


async def test_an_unreachable_nsqd_is_one_line_and_exit_code_1() -> None:
    port = free_port()
    done = await nsqx("pub", "t", f"--nsqd=127.0.0.1:{port}", "-q", stdin=b"a\n")
    assert (done.code, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert line.startswith(f"nsqx pub: cannot connect to 127.0.0.1:{port}: ")


async def test_a_second_nsqd_stands_in_for_an_unreachable_first(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    addresses = [f"--nsqd=127.0.0.1:{free_port()}", f"--nsqd={node.tcp_address}"]
    done = await nsqx("pub", "t", *addresses, stdin=b"a\n")
    assert done.code == 0
    assert await message_count(node, "t") == 1


async def test_all_nodes_that_a_lookupd_knows_get_their_part(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    nodes = [await cluster.nsqd(lookupds=[lookupd]) for _ in range(2)]
    for node in nodes:
        await node.wait_for_log("LOOKUPD: .*: connected")
    lines = b"".join(b"%d\n" % number for number in range(2000))
    done = await nsqx("pub", "t", f"--lookupd={lookupd.http_address}", stdin=lines)
    assert (done.code, done.out) == (0, "")
    counts = [await message_count(node, "t") for node in nodes]
    assert sum(counts) == 2000
    assert all(counts)


async def test_the_cluster_on_the_local_network_is_found(cluster: Cluster) -> None:
    name = f"test-{uuid.uuid4().hex}"
    mdns = ("--discover", f"--cluster={name}")
    await cluster.lookupd("--advertise", mdns[1])
    node = await cluster.nsqd(*mdns)
    await node.wait_for_log("LOOKUPD: .*: connected")
    done = await nsqx("pub", "t", *mdns, stdin=b"a\n")
    assert done.code == 0
    assert done.err.startswith("1 message published to t")
    assert await message_count(node, "t") == 1


async def test_a_network_without_the_cluster() -> None:
    mdns = ("--discover", f"--cluster=test-{uuid.uuid4().hex}")
    done = await nsqx("pub", "t", "-q", *mdns, stdin=b"a\n")
    assert (done.code, done.out) == (1, "")
    assert done.err == "nsqx pub: finding an nsqd to publish to took longer than 5 s\n"


async def test_where_to_is_said_in_one_way() -> None:
    assert (await nsqx("pub", "t", "--nsqd=127.0.0.1:1", "--discover")).code == 2
    assert (await nsqx("pub", "t", "--lookupd=:::")).code == 2


async def test_what_nsqd_refuses_is_told_and_what_it_took_is_counted(cluster: Cluster) -> None:
    node = await cluster.nsqd("--max-msg-size=10")
    stdin = b"short\n" * 500 + b"longer than ten\n"
    done = await nsqx("pub", "t", f"--nsqd={node.tcp_address}", "--json", stdin=stdin)
    assert done.code == 1
    assert "E_BAD_MESSAGE" in done.err
    assert json.loads(done.out)["published"] == 500


async def test_an_invalid_topic_is_a_usage_error() -> None:
    done = await nsqx("pub", "no spaces")
    assert done.code == 2
    assert "'no spaces' is no valid name of a topic" in done.err
