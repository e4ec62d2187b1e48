"""Topology-aware consumption: who gets a message when several wait (protocol section 13)."""

import json
from pathlib import Path

import pytest

from nsqx.nsqd.core.consumer import ELSEWHERE, SAME_REGION, SAME_ZONE, Place
from nsqx.protocol import commands
from tests.support.node import Node, running_node
from tests.support.wire_client import WireClient

OPTIONS = {"topology_region": "r1", "topology_zone": "z1"}
EXPERIMENT = {"enable_experiment": ["topology-aware-consumption"]}


async def subscribe(client: WireClient, region: str, zone: str, ready: int) -> None:
    place = {"topology_region": region, "topology_zone": zone}
    client.send(commands.identify(json.dumps(place).encode()))
    assert await client.response() == b"OK"
    await client.subscribe("t", "c", ready=ready)
    await client.publish("other", b"x")  # answered, so its RDY was heard


async def counts(node: Node) -> dict[str, int]:
    (topic,) = (await node.stats("&topic=t"))["topics"]
    return {key: value for key, value in topic["channels"][0].items() if key.endswith("_msg_count")}


@pytest.mark.parametrize(
    ("region", "zone", "distance"),
    [
        ("r1", "z1", SAME_ZONE),
        ("r1", "z2", SAME_REGION),
        ("r1", "", SAME_REGION),
        ("r2", "z1", ELSEWHERE),
        ("", "", ELSEWHERE),
    ],
)
def test_distances(region: str, zone: str, distance: int) -> None:
    assert Place("r1", "z1").distance(region, zone) == distance


def test_a_consumer_without_a_place_is_near_a_node_without_one() -> None:
    assert Place("", "").distance("", "") == SAME_ZONE


async def test_the_nearest_waiting_consumer_gets_the_message(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path, **OPTIONS, **EXPERIMENT) as node,
        node.client() as far,
        node.client() as region,
        node.client() as zone,
    ):
        await subscribe(far, "r2", "z1", ready=10)
        await subscribe(region, "r1", "z2", ready=2)
        await subscribe(zone, "r1", "z1", ready=2)
        for number in range(6):
            await node.post("/pub?topic=t", b"%d" % number)
        assert [message.body for message in await zone.receive(2)] == [b"0", b"1"]
        assert [message.body for message in await region.receive(2)] == [b"2", b"3"]
        assert [message.body for message in await far.receive(2)] == [b"4", b"5"]
        assert await counts(node) == {
            "zone_local_msg_count": 2,
            "region_local_msg_count": 2,
            "global_msg_count": 2,
        }


async def test_a_batch_fills_the_nearest_first(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path, **OPTIONS, **EXPERIMENT) as node,
        node.client() as far,
        node.client() as zone,
    ):
        await subscribe(far, "r2", "z1", ready=10)
        await subscribe(zone, "r1", "z1", ready=4)
        await node.post("/mpub?topic=t", b"0\n1\n2\n3\n4\n5")
        assert len(await zone.receive(4)) == 4
        assert len(await far.receive(2)) == 2


async def test_without_the_experiment_all_are_alike(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path, **OPTIONS) as node,
        node.client() as far,
        node.client() as zone,
    ):
        await subscribe(far, "r2", "z1", ready=3)
        await subscribe(zone, "r1", "z1", ready=3)
        await node.post("/mpub?topic=t", b"0\n1\n2\n3\n4\n5")
        assert len(await zone.receive(3)) == len(await far.receive(3)) == 3
        assert await counts(node) == {"global_msg_count": 6}
