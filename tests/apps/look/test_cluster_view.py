"""What a cluster looks like, from the statistics of its nsqds. Time is an argument."""

import json
from typing import Any

from nsqx.apps.look.cluster_view import ChannelView, ClusterView, NodeView, Poll, view
from nsqx.apps.look.top import lines


def topic(name: str, *channels: dict[str, Any], **counts: int) -> dict[str, Any]:
    base = {"depth": 0, "message_count": 0, "paused": False}
    return {"topic_name": name, "channels": list(channels), **base, **counts}


def channel(name: str, *, paused: bool = False, **counts: int) -> dict[str, Any]:
    names = ("depth", "in_flight_count", "deferred_count", "message_count", "client_count")
    zeros = dict.fromkeys((*names, "requeue_count", "timeout_count"), 0)
    return {"channel_name": name, "paused": paused, **zeros, **counts}


def node(*topics: dict[str, Any], health: str = "OK") -> dict[str, Any]:
    return {"version": "1.3.0", "health": health, "topics": list(topics)}


def poll(at: float, **answers: dict[str, Any]) -> Poll:
    return Poll(at, answers)


def only(seen: ClusterView) -> ChannelView:
    (found,) = seen.channels
    return found


def test_a_channel_is_added_up_over_its_nodes() -> None:
    one = node(topic("t", channel("c", depth=1, in_flight_count=2, client_count=1)))
    two = node(topic("t", channel("c", depth=10, deferred_count=3, paused=True)))
    found = only(view(poll(0, a=one, b=two), None))
    assert (found.nodes, found.depth, found.in_flight, found.deferred) == (2, 11, 2, 3)
    assert (found.clients, found.is_paused) == (1, True)


def test_the_deepest_channel_comes_first_and_topics_can_be_chosen() -> None:
    answer = node(
        topic("a", channel("x"), channel("y", depth=5)), topic("b", channel("z", depth=9))
    )
    names = [each.channel for each in view(poll(0, n=answer), None).channels]
    assert names == ["z", "y", "x"]
    chosen = view(poll(0, n=answer), None, topics=["a"]).channels
    assert [each.channel for each in chosen] == ["y", "x"]


def test_a_topic_without_channels_is_there_too() -> None:
    found = only(view(poll(0, n=node(topic("t", depth=7))), None))
    assert (found.topic, found.channel, found.depth) == ("t", "", 7)


def test_rates_need_two_polls_and_are_per_second() -> None:
    before = poll(10, n=node(topic("t", channel("c", message_count=100, depth=10))))
    now = poll(12, n=node(topic("t", channel("c", message_count=120, depth=4))))
    assert only(view(before, None)).in_per_second is None
    found = only(view(now, before))
    assert (found.in_per_second, found.done_per_second) == (10.0, 13.0)


def test_a_restart_and_a_channel_moved_back_give_no_negative_rates() -> None:
    before = poll(0, n=node(topic("t", channel("c", message_count=100))))
    restarted = poll(1, n=node(topic("t", channel("c", message_count=5))))
    assert only(view(restarted, before)).in_per_second is None
    moved_back = poll(1, n=node(topic("t", channel("c", message_count=100, depth=80))))
    assert only(view(moved_back, before)).done_per_second == 0


def test_nodes_tell_their_sums_and_their_problems() -> None:
    answer = node(topic("t", channel("c", depth=2, client_count=3), depth=1), health="NOK - full")
    seen = view(Poll(0, {"b": answer}, {"a": "no answer"}), None)
    assert [each.address for each in seen.nodes] == ["a", "b"]
    assert seen.nodes[0].problem == "no answer"
    assert (seen.nodes[1].depth, seen.nodes[1].clients) == (3, 3)
    assert seen.nodes[1].problem == "NOK - full"


def test_an_nsqd_without_topics_may_say_null() -> None:
    assert view(poll(0, n={"version": "1.3.0", "topics": None}), None).channels == []


def test_the_text_has_aligned_columns() -> None:
    seen = ClusterView(
        [NodeView("10.0.0.1:4151", "1.3.0", 2, 1, 1234, 56.7), NodeView("h:1", problem="refused")],
        [ChannelView("orders", "mail", depth=12345, in_per_second=1.0, is_paused=True)],
    )
    assert lines(seen) == [
        "NSQD           VERSION  TOPICS  CLIENTS  DEPTH  IN/S",
        "10.0.0.1:4151  1.3.0         2        1  1,234    57",
        "h:1                                                   refused",
        "",
        "TOPIC   CHANNEL         DEPTH  FLIGHT  DEFER  IN/S  DONE/S  CLIENTS",
        "orders  mail (paused)  12,345       0      0     1                0",
    ]


def test_it_can_be_told_as_json() -> None:
    seen = view(poll(0, n=node(topic("t", channel("c")))), None)
    assert json.loads(json.dumps(seen.as_json()))["channels"][0]["channel"] == "c"
