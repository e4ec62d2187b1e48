"""Columns of counters: who shares a layout, and what moves when names do."""

from nsqx.cluster.answers import NsqdStats
from nsqx.cluster.counters import Layouts, table_of
from tests.support.cluster_views import channel, topic


def stats(*topics: str, **fields: int) -> NsqdStats:
    """An answer with topics such as ``t`` or ``t:c,d``; all channels have the same numbers."""
    parts = [each.partition(":") for each in topics]
    return NsqdStats(
        topics=[
            topic(name, *(channel(each, **fields) for each in names.split(",") if each))
            for name, _, names in parts
        ]
    )


def test_columns_are_named_as_the_rows_and_zeros_are_left_out() -> None:
    table = table_of(stats("t:c,d", "u", message_count=7, requeue_count=1), Layouts())
    assert table.layout.topics == ("t", "u")
    assert table.layout.keys == ("t/c", "t/d")
    assert table.topics == {}
    assert table.channels == {"messages": (7, 7), "requeued": (1, 1)}


def test_the_same_names_are_the_same_layout() -> None:
    layouts = Layouts()
    first = table_of(stats("t:c"), layouts)
    again = table_of(stats("t:c"), layouts, likely=first.layout)
    other_node = table_of(stats("t:c"), layouts)
    assert first.layout is again.layout is other_node.layout


def test_a_channel_of_another_topic_is_another_layout() -> None:
    layouts = Layouts()
    tables = [table_of(stats(*names), layouts) for names in (("t:c,d", "u"), ("t:c", "u:d"))]
    assert tables[0].layout is not tables[1].layout


def test_an_answer_without_topics_has_no_rows() -> None:
    table = table_of(NsqdStats(), Layouts())
    assert (table.layout.topics, table.layout.keys) == ((), ())
    assert (table.topics, table.channels) == ({}, {})


def test_numbers_stay_with_their_names_in_another_order() -> None:
    layouts = Layouts()
    table = table_of(
        NsqdStats(topics=[topic("t", channel("c", depth=1), channel("d", depth=2))]), layouts
    )
    wider = table_of(stats("s:x", "t:d,new,c"), layouts)
    assert table.aligned(wider.layout).channels == {"depth": [0, 2, 0, 1]}


def test_the_channels_of_one_topic_are_added_up() -> None:
    topics = [
        topic("s", channel("c", depth=1)),
        topic("bare"),
        topic("t", channel("c", depth=2), channel("d", depth=5)),
    ]
    table = table_of(NsqdStats(topics=topics), Layouts())
    sums = [table.total_of_topic("depth", each) for each in ("s", "bare", "t", "nosuch")]
    assert sums == [1, 0, 7, 0]
    assert table.total_of_topic("clients", "t") == 0
