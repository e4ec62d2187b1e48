"""``nsqx drain`` on real daemons: who publishes goes elsewhere, nothing is lost, it says when."""

import json
from pathlib import Path

from nsqx.client import Consumer, Producer
from tests.support.commands import nsqx, running_nsqx
from tests.support.processes import Cluster, Lookupd, Nsqd, eventually


async def looked_up(lookupd: Lookupd, query: str = "topic=t") -> set[int]:
    status, body = await lookupd.get(f"/lookup?{query}")
    return {each["tcp_port"] for each in json.loads(body)["producers"]} if status == 200 else set()


async def until_listed(lookupd: Lookupd, *nodes: Nsqd) -> None:
    wanted = {node.tcp_port for node in nodes}

    async def are_listed() -> bool:
        return await looked_up(lookupd) == wanted

    await eventually(are_listed, f"{[node.name for node in nodes]} are listed")


async def test_a_node_is_emptied_and_nothing_is_lost(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    old, other = [await cluster.nsqd(lookupds=[lookupd]) for _ in range(2)]
    for node in (old, other):
        await node.post("/topic/create?topic=t")
        await node.post("/channel/create?topic=t&channel=c")
    await until_listed(lookupd, old, other)
    received: set[bytes] = set()
    async with Producer([old.tcp_address, other.tcp_address]) as producer:
        await producer.ready()
        await producer.publish("t", b"before")
        async with running_nsqx("drain", old.http_address, "--json") as process:
            assert process.stdout is not None
            first = json.loads(await process.stdout.readline())
            assert (first["state"], first["waiting"]) == ("draining", 1)
            # At once, and not when it has time.
            for number in range(20):
                await producer.publish("t", b"%d" % number, timeout=2)
            await until_listed(lookupd, other)
            # A consumer that comes now finds what is to be emptied.
            async with Consumer("t", "c", lookupd=lookupd.http_address) as consumer:
                async for message in consumer:
                    received.add(message.body)
                    message.finish()
                    if len(received) == 21:
                        break
            *_, last = (await process.stdout.read()).splitlines()
            assert await process.wait() == 0
    assert received == {b"before", *(b"%d" % number for number in range(20))}
    assert json.loads(last)["state"] == "empty"
    assert [each["hidden"] for each in json.loads(last)["directories"]] == [True]
    (stats,) = (await old.get_json("/stats?format=json"))["topics"]
    assert stats["message_count"] == 1
    assert stats["refused_draining_count"] <= 2, "it is left alone for a while"


async def test_it_drains_over_a_restart_until_that_is_taken_back(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    node, other = [await cluster.nsqd(lookupds=[lookupd]) for _ in range(2)]
    for each in (node, other):
        await each.post("/topic/create?topic=t")
    await node.post("/pub?topic=t", b"x")
    done = await nsqx("drain", node.http_address, "--no-wait")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{node.http_address}: draining; 1 waiting")
    await node.kill()
    await node.start()
    assert (await node.request("POST", "/pub?topic=t", b"y"))[0] == 503
    assert (await node.request("POST", "/pub?topic=new", b"y"))[0] == 503
    assert await node.get("/readyz") == (503, b"NOK - draining")
    await until_listed(lookupd, other)
    assert await looked_up(lookupd, "topic=t&draining=true") == {node.tcp_port, other.tcp_port}
    (hidden,) = [
        each
        for each in (await lookupd.get_json("/nodes"))["producers"]
        if each["tcp_port"] == node.tcp_port
    ]
    assert (hidden["draining"], hidden["tombstones"]) == (True, [True])
    done = await nsqx("doctor", f"--nsqd={node.http_address}")
    assert f"nsqd {node.http_address} drains: it takes no messages" in " ".join(done.out.split())
    # Who looks for nodes to publish to leaves it out.
    done = await nsqx("pub", "t", f"--lookupd={lookupd.http_address}", stdin=b"a\nb\nc\n")
    assert (done.code, done.err.splitlines()[:-1]) == (0, [])
    done = await nsqx("drain", node.http_address, "--undo")
    assert (done.code, done.err) == (0, "")
    await until_listed(lookupd, node, other)
    await node.post("/pub?topic=t", b"y")
    assert (await node.get_json("/stats?format=json"))["topics"][0]["depth"] == 2


async def test_what_stays_is_named_and_the_time_ends(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await node.post("/topic/create?topic=t")
    await node.post("/channel/create?topic=t&channel=forgotten")
    await node.post("/pub?topic=t", b"x")
    await node.post("/pub?topic=nobodys&defer=3600000", b"x")
    done = await nsqx("drain", node.http_address, "--timeout=200ms", "--json")
    assert done.code == 3
    assert json.loads(done.out.splitlines()[-1])["state"] == "not empty"
    assert "t/forgotten has no consumer: 1 messages stay" in done.err
    assert "nobodys has no channel: 1 messages stay" in done.err
    assert "goes on draining: 1 waiting, 0 in flight, 1 deferred" in done.err


async def test_nobody_there_and_no_such_thing_there(cluster: Cluster, tmp_path: Path) -> None:
    lookupd = await cluster.lookupd()
    done = await nsqx("drain", lookupd.http_address)
    assert (done.code, done.out) == (1, "")
    assert "is no nsqd of nsqx" in done.err
    assert (await nsqx("drain", "127.0.0.1:1", "--no-wait")).code == 1
    assert (await nsqx("drain", "127.0.0.1:1", "--undo", "--no-wait")).code == 2
    assert (await nsqx("drain", "127.0.0.1:1", "--timeout=soon")).code == 2
