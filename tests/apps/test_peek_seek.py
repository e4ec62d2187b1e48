"""``nsqx peek`` and ``nsqx seek``, with real brokers."""

import asyncio
import base64
import json
import uuid
from typing import Any

import pytest

from nsqx.apps.look.peek import Peeked
from tests.support.commands import nsqx
from tests.support.fake_http import fake_http
from tests.support.processes import Cluster, Nsqd, eventually


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def publish(node: Nsqd, *bodies: str) -> None:
    for body in bodies:
        await node.post("/pub?topic=t", body.encode())


async def depth(node: Nsqd, channel: str) -> int:
    stats = await node.get_json(f"/stats?format=json&topic=t&channel={channel}")
    return int(stats["topics"][0]["channels"][0]["depth"])


# --- peek ---


def test_a_line_cannot_write_to_the_terminal() -> None:
    message = Peeked(1_700_000_000_123_456_789, "h:1", 7, "0123456789abcdef", b"a\x1b[2J\n\xff")
    assert message.line() == (
        rb"2023-11-14T22:13:20.123457Z  h:1  seq:7  0123456789abcdef  a\x1b[2J\n\xff" + b"\n"
    )


def test_json_carries_bytes_that_are_no_text() -> None:
    fields = json.loads(Peeked(1, "h:1", 7, "0123456789abcdef", b"\xff").json_line("t"))
    assert base64.b64decode(fields["body_base64"]) == b"\xff"
    assert "body" not in fields


async def test_the_newest_of_all_nodes_in_the_order_of_time(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    one, two = [await cluster.nsqd(lookupds=[lookupd]) for _ in range(2)]
    await publish(one, "1")
    await publish(two, "2")
    await publish(one, "3")
    flags = [f"--lookupd={lookupd.http_address}", "--json"]
    done = await nsqx("peek", "t", "-n2", *flags)
    assert done.code == 0
    assert [row["body"] for row in rows(done.out)] == ["2", "3"]
    assert rows(done.out)[0]["node"] == two.http_address
    done = await nsqx("peek", "t", "-n2", "--from=start", *flags)
    assert [row["body"] for row in rows(done.out)] == ["1", "2"]


@pytest.mark.parametrize("place", ["start", "end"])
async def test_more_than_a_page(cluster: Cluster, place: str) -> None:
    node = await cluster.nsqd()
    await node.post("/mpub?topic=t", b"\n".join(b"%d" % number for number in range(2500)))
    flags = [f"--nsqd={node.http_address}", "--bodies", f"--from={place}"]
    done = await nsqx("peek", "t", "-n2200", *flags)
    first = 0 if place == "start" else 300
    assert done.out.split() == [str(number) for number in range(first, first + 2200)]


async def test_long_bodies_and_both_ways(cluster: Cluster) -> None:
    """Of long bodies one answer has room for three; the newest are still the newest."""
    node = await cluster.nsqd("--max-bytes-per-file=1000000")
    for number in range(12):
        await node.post("/pub?topic=t", b"%02d" % number + b"x" * 300_000)
    flags = [f"--nsqd={node.http_address}", "--json"]
    for arguments, expected in (
        (("-n5",), range(7, 12)),
        (("-n5", "--from=before:7"), range(2, 7)),
        (("-n5", "--from=before:2"), range(2)),
        (("-n9", "--from=seq:2"), range(2, 11)),
        (("-n99", "--from=start"), range(12)),
    ):
        done = await nsqx("peek", "t", *arguments, *flags)
        assert [row["sequence"] for row in rows(done.out)] == list(expected), arguments
        assert [int(row["body"][:2]) for row in rows(done.out)] == list(expected)
    done = await nsqx("peek", "t", "--from=before:x", *flags)
    assert (done.code, "before:NUMBER" in done.err) == (2, True)


async def test_many_small_segments_are_all_shown(cluster: Cluster) -> None:
    node = await cluster.nsqd("--max-bytes-per-file=20000")
    for start in range(0, 3000, 100):
        batch = b"\n".join(b"%d %s" % (start + each, b"x" * 50) for each in range(100))
        await node.post("/mpub?topic=t", batch)
    flags = [f"--nsqd={node.http_address}", "--json", "-n3000"]
    for place in ("start", "end"):
        done = await nsqx("peek", "t", f"--from={place}", *flags)
        assert [row["sequence"] for row in rows(done.out)] == list(range(3000))


async def test_nobody_has_the_topic(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    done = await nsqx("peek", "t", f"--lookupd={lookupd.http_address}")
    assert (done.code, done.out, done.err) == (1, "", "nsqx peek: no nsqd has the topic t\n")


async def test_one_that_is_down_is_told_and_the_others_are_shown(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, "1")
    done = await nsqx("peek", "t", f"--nsqd={node.http_address}", "--nsqd=127.0.0.1:1", "--bodies")
    assert (done.code, done.out) == (1, "1\n")
    assert done.err.startswith("nsqx peek: 127.0.0.1:1: ")


async def test_an_nsqd_of_another_kind_is_named() -> None:
    async with fake_http({}) as other:
        done = await nsqx("peek", "t", f"--nsqd={other.address}")
    assert done.code == 1
    assert f"{other.address}: this is no nsqd of nsqx" in done.err


# --- seek ---


async def test_a_channel_is_moved_on_every_node(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    nodes = [await cluster.nsqd(lookupds=[lookupd]) for _ in range(2)]
    for node in nodes:
        await publish(node, "1", "2", "3")
        await node.post("/channel/create?topic=t&channel=c")
    flags = [f"--lookupd={lookupd.http_address}", "--json"]
    done = await nsqx("seek", "t", "c", "end", *flags)
    assert (done.code, [row["depth"] for row in rows(done.out)]) == (0, [0, 0])
    done = await nsqx("seek", "t", "c", "start", *flags)
    assert (done.code, [row["depth"] for row in rows(done.out)]) == (0, [3, 3])
    assert [await depth(node, "c") for node in nodes] == [3, 3]


async def test_a_number_is_a_place_of_one_node(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, "1", "2", "3")
    await node.post("/channel/create?topic=t&channel=c")
    done = await nsqx("seek", "t", "c", "seq:1", f"--nsqd={node.http_address}")
    assert done.out == f"{node.http_address}: at seq:1, 2 waiting, 0 deferred\n"
    done = await nsqx("seek", "t", "c", "seq:1")
    assert (done.code, "by --nsqd alone" in done.err) == (2, True)


async def test_a_channel_that_is_not_there_is_created_only_if_asked_for(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, "1", "2", "3")
    arguments = ["seek", "t", "c", "seq:1", f"--nsqd={node.http_address}"]
    done = await nsqx(*arguments)
    assert (done.code, done.out) == (1, "")
    reason = "it does not have the channel (CHANNEL_NOT_FOUND)"
    assert done.err == f"nsqx seek: {node.http_address}: {reason}\n"
    done = await nsqx(*arguments, "--create")
    assert done.code == 0

    async def is_moved() -> bool:
        return await depth(node, "c") == 2

    await eventually(is_moved, "the channel stands at the second message")


async def test_a_place_that_makes_no_sense(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await publish(node, "1")
    await node.post("/channel/create?topic=t&channel=c")
    done = await nsqx("seek", "t", "c", "yesterday", f"--nsqd={node.http_address}")
    assert (done.code, "that is no place in a log: start, end" in done.err) == (1, True)


# --- discovery ---


async def test_the_cluster_on_the_local_network_is_found(cluster: Cluster) -> None:
    name = f"test-{uuid.uuid4().hex}"
    mdns = ("--discover", f"--cluster={name}")
    await cluster.lookupd("--advertise", mdns[1])
    node = await cluster.nsqd(*mdns)
    await node.wait_for_log("LOOKUPD: .*: connected")
    await publish(node, "1", "2")
    await node.post("/channel/create?topic=t&channel=c")
    peeked, moved, seen = await asyncio.gather(
        nsqx("peek", "t", "--bodies", *mdns),
        nsqx("seek", "t", "c", "end", *mdns),
        nsqx("top", "-n1", *mdns),
    )
    assert (peeked.code, peeked.out, peeked.err) == (0, "1\n2\n", "")
    assert (moved.code, moved.err) == (0, "")
    assert moved.out.startswith(f"{node.http_address}: at seq:2, 0 waiting")
    assert (seen.code, seen.err) == (0, "")
    assert node.http_address in seen.out


@pytest.mark.parametrize("command", [("peek", "t"), ("seek", "t", "c", "start"), ("top", "-n1")])
async def test_a_network_without_the_cluster(command: tuple[str, ...]) -> None:
    name = f"test-{uuid.uuid4().hex}"
    done = await nsqx(*command, "--discover", f"--cluster={name}")
    assert (done.code, done.out) == (1, "")
    reason = f"this network: no nsqlookupd of the cluster {name} was found"
    assert done.err == f"nsqx {command[0]}: {reason}\n"


async def test_a_place_of_one_nsqd_is_not_looked_for(cluster: Cluster) -> None:
    flags = ("--nsqd=127.0.0.1:1", "--discover")
    assert (await nsqx("seek", "t", "c", "seq:1", *flags)).code == 2
