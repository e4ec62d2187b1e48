"""A node that has an IPv6 address only: found, asked, changed and read like any other."""

import asyncio
import json

import aiohttp

from nsqx.client import Consumer, Producer
from tests.support.commands import nsqx
from tests.support.dashboard import WRITE_HEADERS
from tests.support.processes import Cluster, eventually

FLAGS = ("--tcp-address=[::1]:0", "--http-address=[::1]:0", "--broadcast-address=::1")


async def test_a_node_at_an_ipv6_address_works_everywhere(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd(*FLAGS, lookupds=[lookupd])
    admin = await cluster.admin(lookupds=[lookupd])
    assert node.http_address.startswith("[::1]:")
    async with Producer(node.tcp_address) as producer:
        await producer.publish("orders", b"one")

    async def is_shown() -> bool:
        row = (await admin.get_json("/api/v2/snapshot"))["full"]["nodes"].get(node.http_address)
        return row is not None and row["state"] == "ok" and row["topics"] == 1

    await eventually(is_shown, "the node is there, by its address")
    assert (await admin.get_json("/api/topics/orders"))["depth"] == 1
    (listed,) = (await admin.get_json("/api/nodes"))["nodes"]
    assert listed["broadcast_address"] == "::1"
    one = await admin.get_json(f"/api/nodes/{node.http_address}")
    assert one["total_messages"] == 1
    document = (await admin.get_json(f"/api/v2/nodes/{node.http_address}"))["full"]
    assert document["node"]["tcp_address"] == node.tcp_address
    shown = await admin.get_json("/api/v2/topics/orders/messages")
    assert [each["body"] for each in shown["messages"]] == ["one"]

    prefix = (await node.get("/config/statsd_prefix"))[1].decode()
    assert prefix.startswith("nsq.[__1]_")

    for command in (["top", "--json", "-n1"], ["doctor", "--json"]):
        done = await nsqx(*command, f"--lookupd={lookupd.http_address}")
        said = json.loads(done.out)
        addresses = json.dumps(said.get("nodes") or said["nsqds"])
        assert node.http_address in addresses, done.out
        assert not any("cannot be reached" in each["problem"] for each in said.get("findings", ()))

    async with (
        asyncio.timeout(20),
        Consumer("orders", "mail", lookupd=lookupd.http_address) as consumer,
    ):
        message = await anext(aiter(consumer))
        assert message.body == b"one"
        message.finish()


async def test_actions_reach_a_node_at_an_ipv6_address(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd(*FLAGS, lookupds=[lookupd])
    admin = await cluster.admin(lookupds=[lookupd])
    await node.post("/topic/create?topic=orders")
    await node.post("/channel/create?topic=orders&channel=mail")

    async def is_known() -> bool:
        return "orders" in (await admin.get_json("/api/v2/snapshot"))["full"]["topics"]

    await eventually(is_known, "the topic is known")
    wanted = {"action": "pause_channel", "topic": "orders", "channel": "mail"}
    async with (
        aiohttp.ClientSession(headers=WRITE_HEADERS) as session,
        session.post(admin.url("/api/v2/actions"), json=wanted) as response,
    ):
        answer = await response.json()
    assert (response.status, answer["results"][0]["node"]) == (200, node.http_address)
    stats = await node.get_json("/stats?format=json")
    assert stats["topics"][0]["channels"][0]["paused"]
