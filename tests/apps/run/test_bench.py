"""``nsqx bench`` with a real broker: its figures, and what it leaves behind."""

import json

from tests.support.commands import nsqx
from tests.support.processes import Cluster, free_port


async def test_it_measures_both_ways_and_leaves_nothing_behind(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    addresses = [f"--nsqd={node.tcp_address}", f"--nsqd-http={node.http_address}"]
    done = await nsqx("bench", *addresses, "--messages=3000", "--size=50", "--json")
    assert (done.code, done.err) == (0, "")
    result = json.loads(done.out)
    for phase in (result["publish"], result["consume"]):
        assert phase["messages"] == 3000
        assert phase["per_second"] > 0
        assert phase["cpu_seconds"] > 0
    stats = await node.get_json("/stats?format=json")
    assert not stats["topics"]


async def test_a_topic_that_cannot_be_deleted_is_named(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    http = f"--nsqd-http=127.0.0.1:{free_port()}"
    done = await nsqx("bench", f"--nsqd={node.tcp_address}", http, "--messages=10")
    assert done.code == 0
    (topic,) = (await node.get_json("/stats?format=json"))["topics"]
    assert f"the topic {topic['topic_name']} is still there" in done.err
    assert done.out.split()[:3] == ["published", "10", "messages"]


async def test_a_broker_that_is_not_there() -> None:
    done = await nsqx("bench", f"--nsqd=127.0.0.1:{free_port()}")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("nsqx bench: cannot connect to")
