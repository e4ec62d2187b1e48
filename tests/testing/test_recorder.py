"""The recorder sees all, and consumers lose nothing to it."""

import threading
from collections.abc import Callable

import pytest

from nsqx.client import MSGPACK, DecodeFailed
from nsqx.client.sync import Nsq
from nsqx.testing.cluster import Cluster
from nsqx.testing.recorder import Recorder

Published = Callable[..., Recorder]


def test_a_topic_nobody_published_to_is_empty(published: Published) -> None:
    assert published("orders").messages == []


def test_more_than_one_page(nsq: Nsq, published: Published) -> None:
    bodies = [b"%d" % number for number in range(2500)]
    nsq.publish_many("orders", bodies)
    assert published("orders").bodies == bodies


def test_consumed_messages_are_seen_and_recorded_ones_are_consumed(
    nsq: Nsq, published: Published
) -> None:
    nsq.publish("orders", b"x")
    assert len(published("orders")) == 1
    with nsq.consume("orders", "billing") as messages, next(messages) as message:
        assert message.id == published("orders").messages[0].id
    assert len(published("orders")) == 1


def test_waiting(nsq: Nsq, published: Published) -> None:
    later = threading.Timer(0.05, nsq.publish, ("orders", b"x"))
    later.start()
    (message,) = published("orders").wait()
    assert message.body == b"x"
    later.join()


async def test_waiting_in_vain(nsq: Nsq, published: Published) -> None:
    nsq.publish("orders", b"x")
    with pytest.raises(AssertionError, match=r"1 messages in .* not 2"):
        published("orders").wait(2, timeout=0.05)
    with pytest.raises(AssertionError, match=r"1 messages in .* not 2"):
        await published("orders").wait_async(2, timeout=0.05)


def test_several_nodes_in_the_order_published(nsq_cluster: Callable[..., Cluster]) -> None:
    cluster = nsq_cluster(2)
    for number, node in enumerate([*cluster.nodes, *cluster.nodes]):
        node.post("/pub?topic=orders", b"%d" % number)
    assert cluster.published("orders").values == [0, 1, 2, 3]


def test_codecs(nsq: Nsq, published: Published) -> None:
    nsq.publish("orders", MSGPACK.encode([1]))
    assert published("orders", MSGPACK).values == [[1]]
    with pytest.raises(DecodeFailed):
        published("orders").messages[0].decode(str)
