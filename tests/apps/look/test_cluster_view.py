"""What a cluster looks like, from the statistics of its nsqds. Time is an argument."""

import io
import json
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace
from rich.console import Console

from nsqx.apps.look.cluster_view import Seen, SeenChannel, SeenNode, seen_of
from nsqx.apps.look.top import lines, screen
from nsqx.cluster.answers import NodeCounts
from nsqx.cluster.merge import merge
from nsqx.cluster.observer import Observer
from nsqx.cluster.rows import TopicRow
from nsqx.cluster.views import ClusterView


def topic(name: str, *channels: dict[str, Any], **counts: int) -> dict[str, Any]:
    base = {"depth": 0, "message_count": 0, "paused": False}
    return {"topic_name": name, "channels": list(channels), **base, **counts}


def channel(name: str, *, paused: bool = False, **counts: int) -> dict[str, Any]:
    names = ("depth", "in_flight_count", "deferred_count", "message_count", "client_count")
    zeros = dict.fromkeys((*names, "requeue_count", "timeout_count"), 0)
    return {"channel_name": name, "paused": paused, **zeros, **counts}


def node(*topics: dict[str, Any], health: str = "OK") -> dict[str, Any]:
    return {"version": "1.3.0", "health": health, "topics": list(topics)}


class Looking:
    """One poll after another."""

    def __init__(self) -> None:
        self._observer = Observer()

    def view(
        self,
        at: float,
        *,
        topics: Iterable[str] = (),
        failures: dict[str, str] | None = None,
        **answers: dict[str, Any],
    ) -> Seen:
        stats = {name: msgspec.convert(answer, NodeCounts) for name, answer in answers.items()}
        view = self._observer.view(at, 1_795_500_000.0 + at, stats, failures or {})
        return seen_of(merge(view), topics)


def view(at: float, **answers: Any) -> Seen:
    return Looking().view(at, **answers)


def only(seen: Seen) -> SeenChannel:
    (found,) = seen.channels
    return found


def test_a_channel_is_added_up_over_its_nodes() -> None:
    one = node(topic("t", channel("c", depth=1, in_flight_count=2, client_count=1)))
    two = node(topic("t", channel("c", depth=10, deferred_count=3, paused=True)))
    found = only(view(0, a=one, b=two))
    assert (found.nodes, found.depth, found.in_flight, found.deferred) == (2, 11, 2, 3)
    assert (found.clients, found.is_paused) == (1, True)


def test_the_deepest_channel_comes_first_and_topics_can_be_chosen() -> None:
    answer = node(
        topic("a", channel("x"), channel("y", depth=5)), topic("b", channel("z", depth=9))
    )
    names = [each.channel for each in view(0, n=answer).channels]
    assert names == ["z", "y", "x"]
    chosen = view(0, n=answer, topics=["a"]).channels
    assert [each.channel for each in chosen] == ["y", "x"]


def test_a_topic_without_channels_is_there_too() -> None:
    found = only(view(0, n=node(topic("t", depth=7))))
    assert (found.topic, found.channel, found.depth) == ("t", "", 7)


def test_rates_need_two_polls_and_are_per_second() -> None:
    looking = Looking()
    before = node(topic("t", channel("c", message_count=100, depth=10)))
    assert only(looking.view(10, n=before)).in_per_second is None
    now = node(topic("t", channel("c", message_count=120, depth=4)))
    found = only(looking.view(12, n=now))
    assert (found.in_per_second, found.done_per_second) == (10.0, 13.0)


def test_a_node_that_falls_silent_has_no_rate_and_its_reason() -> None:
    looking = Looking()
    answer = node(topic("t", channel("c", message_count=100)))
    looking.view(0, n=answer)
    looking.view(1, n=answer)
    (silent,) = looking.view(2, failures={"n": "no answer in 5 s"}).nodes
    assert (silent.in_per_second, silent.depth) == (None, None)
    assert silent.problem == "no answer in 5 s"


def test_nodes_tell_their_sums_and_their_problems() -> None:
    answer = node(topic("t", channel("c", depth=2, client_count=3), depth=1), health="NOK - full")
    seen = view(0, b=answer, failures={"a": "no answer"})
    assert [each.address for each in seen.nodes] == ["a", "b"]
    assert seen.nodes[0].problem == "no answer"
    assert (seen.nodes[1].depth, seen.nodes[1].clients) == (3, 3)
    assert seen.nodes[1].problem == "NOK - full"


def test_an_nsqd_without_topics_may_say_null() -> None:
    assert view(0, n={"version": "1.3.0", "topics": None}).channels == []


def test_the_text_has_aligned_columns() -> None:
    seen = Seen(
        [SeenNode("10.0.0.1:4151", "1.3.0", 2, 1, 1234, 56.7), SeenNode("h:1", problem="refused")],
        [SeenChannel("orders", "mail", depth=12345, in_per_second=1.0, is_paused=True)],
    )
    assert lines(seen) == [
        "NSQD           VERSION  TOPICS  CONSUMERS  DEPTH  IN/S",
        "10.0.0.1:4151  1.3.0         2          1  1,234    57",
        "h:1                          ?          ?      ?     ?  refused",
        "",
        "TOPIC   CHANNEL         DEPTH  IN FLIGHT  DEFERRED  IN/S  OUT/S  CONSUMERS",
        "orders  mail (paused)  12,345          0         0     1      ?          0",
    ]


def test_what_is_mostly_0_has_a_column_where_it_is_not() -> None:
    fields = {"message_count": 9, "refused_count": 4}
    seen = view(0, n=node(topic("t", **fields), topic("u", channel("c"))))
    assert [each.others for each in seen.channels] == [{"refused": 4}, {}]
    head, refusing, other = lines(seen)[-3:]
    assert head.endswith("CONSUMERS  REFUSED")
    assert (refusing.split()[-1], other.split()[-1]) == ("4", "0")
    seen.nodes[0].others["unexpected_errors"] = 2
    assert lines(seen)[0].endswith("IN/S  FAULTS")


def test_it_can_be_told_as_json() -> None:
    seen = view(0, n=node(topic("t", channel("c"))))
    assert json.loads(json.dumps(seen.as_json()))["channels"][0]["channel"] == "c"


def test_what_a_node_says_is_no_markup_and_nothing_that_a_terminal_obeys() -> None:
    evil = {"version": "[/x]\x1b]0;owned\x07", "health": "\x1b[2J", "topics": []}
    seen = view(0, n=evil)
    shown = "\n".join(lines(seen))
    console = Console(file=io.StringIO(), width=120)
    console.print(screen(seen))
    for text in (shown, console.file.getvalue()):  # type: ignore[attr-defined]  # a StringIO
        assert "\x1b" not in text
        assert "[/x]" in text


def test_what_a_silent_node_had_is_shown_as_it_was_and_marked() -> None:
    looking = Looking()
    answer = node(topic("t", channel("c", depth=7)))
    looking.view(0, n=answer)
    looking.view(1, n=answer)
    found = only(looking.view(2, failures={"n": "no answer"}))
    assert (found.depth, found.stale, found.in_per_second) == (7, 1, None)
    assert "t      c (stale)      7" in lines(Seen([], [found]))[-1]


def test_what_is_not_known_of_a_topic_is_not_zero() -> None:
    unheard = TopicRow(depth=None, channels=None, nodes=1, stale=1)
    snapshot = merge(ClusterView(0.0, 0.0, (), ()))
    seen = seen_of(replace(snapshot, topics={"t": unheard}))
    assert only(seen).depth is None
    assert lines(seen)[-1].split() == ["t", "(stale)", "?", "0", "0", "?", "?", "0"]
