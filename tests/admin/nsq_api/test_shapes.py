"""NSQ's shapes of topics and channels, as far as the recording does not show them."""

from typing import Any

from nsqx.admin.nsq_api.shapes import (
    NodeFacts,
    channel_at_node,
    channel_sum,
    topic_at_node,
    topic_sum,
)
from nsqx.cluster.answers import ClientStats, Latency, Quantile
from tests.support.cluster_views import channel, topic

ONE = NodeFacts("n1:1", "n1", "z1", "r1")
TWO = NodeFacts("n2:1", "n2", "z2", "r1")


def latency(count: int, value: float) -> Latency:
    return Latency(count, [Quantile(0.99, value), Quantile(0.5, value / 2)])


def at(node: NodeFacts, **fields: Any) -> dict[str, Any]:
    return channel_at_node(node, "t", channel("c", **fields), 1_000)


def test_sums_over_two_nodes_keep_the_numbers_of_each() -> None:
    nodes = [
        topic_at_node(node, topic("t", channel("c", depth=depth), depth=1), 0)
        for node, depth in ((ONE, 2), (TWO, 3))
    ]
    whole = topic_sum("t", nodes)
    (summed,) = whole["channels"]
    assert (whole["depth"], summed["depth"], summed["node"]) == (2, 5, "*")
    assert [node["channels"][0]["depth"] for node in whole["nodes"]] == [2, 3]
    assert [node["node"] for node in summed["nodes"]] == ["n1:1", "n2:1"]


def test_latencies_are_averaged_by_count() -> None:
    entries = [
        at(ONE, e2e_processing_latency=latency(10, 100.0)),
        at(TWO, e2e_processing_latency=latency(30, 300.0)),
    ]
    assert entries[0]["e2e_processing_latency"]["percentiles"][0] == {
        "average": 100.0,
        "count": 10,
        "max": 100.0,
        "min": 100.0,
        "quantile": 0.99,
        "value": 100.0,
    }
    total = channel_sum("t", "c", entries)["e2e_processing_latency"]
    assert (total["count"], total["host"], total["channel"]) == (40, "*", "c")
    assert total["percentiles"][0] == {
        "average": 250.0,
        "count": 40,
        "max": 300.0,
        "min": 300.0,
        "quantile": 0.99,
    }


def test_deliveries_by_locality_are_shown_when_there_are_some() -> None:
    assert "delivery_msg_count" not in at(ONE)
    total = channel_sum("t", "c", [at(ONE, zone_local_msg_count=2), at(TWO, global_msg_count=3)])
    assert (total["delivery_msg_count"], total["zone_local_msg_count"]) == (5, 2)
    assert "region_local_msg_count" not in total


def test_clients_of_the_nodes_own_zone_and_region_come_first() -> None:
    def client(name: str, zone: str, region: str) -> ClientStats:
        return ClientStats(
            client_id=name, topology_zone=zone, topology_region=region, connect_ts=990
        )

    clients = [client("far", "z9", "r9"), client("region", "z9", "r1"), client("zone", "z1", "r1")]
    total = channel_sum("t", "c", [at(TWO, clients=[]), at(ONE, clients=clients)])
    assert [each["client_id"] for each in total["clients"]] == ["zone", "region", "far"]
    assert total["clients"][0]["connected"] == 10_000_000_000
    assert total["clients"][0]["node_topology_zone"] == "z1"
