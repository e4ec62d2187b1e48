"""
Sums by column are what sums row by row would be, whichever topics and channels the nodes have.

The model is a loop over rows.
"""

from collections import Counter

from hypothesis import given, strategies as st

from nsqx.cluster.answers import TopicStats
from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import merge
from nsqx.cluster.views import NodeView
from tests.support.cluster_views import channel, cluster_view, lookupd_view, node_view, topic

counts = st.integers(0, 3)
channels = st.builds(
    channel,
    st.sampled_from(["c", "d", "e"]),
    depth=counts,
    in_flight_count=counts,
    client_count=counts,
    message_count=counts,
    paused=st.booleans(),
)
topics = st.builds(
    lambda name, channels, depth: topic(name, *channels, depth=depth),
    st.sampled_from(["a", "a.b", "a-b", "b"]),
    st.lists(channels, max_size=3, unique_by=lambda each: each.channel_name),
    counts,
)
nodes_topics = st.lists(
    st.lists(topics, max_size=4, unique_by=lambda each: each.topic_name), max_size=4
)
STATES = (DaemonState.OK, DaemonState.STALE)


def nodes(stories: list[list[TopicStats]]) -> list[NodeView]:
    return [
        node_view(f"n{number}:1", *story, state=STATES[number % 2])
        for number, story in enumerate(stories)
    ]


@given(nodes_topics)
def test_channels_are_summed(stories: list[list[TopicStats]]) -> None:
    expected: dict[str, Counter[str]] = {}
    for number, story in enumerate(stories):
        for each in story:
            for row in each.channels or ():
                sums = expected.setdefault(f"{each.topic_name}/{row.channel_name}", Counter())
                sums["depth"] += row.depth
                sums["in_flight"] += row.in_flight_count
                sums["clients"] += row.client_count
                sums["messages"] += row.message_count
                sums["paused"] |= row.paused
                sums["nodes"] += 1
                sums["stale"] += number % 2
    merged = merge(cluster_view(*nodes(stories))).channels
    assert merged.keys() == expected.keys()
    for key, sums in expected.items():
        assert {name: getattr(merged[key], name) for name in sums} == dict(sums)
        assert merged[key].paused in (True, False)


@given(nodes_topics)
def test_topics_are_summed_with_their_channels(stories: list[list[TopicStats]]) -> None:
    expected: dict[str, Counter[str]] = {"lonely": Counter()}
    names: dict[str, set[str]] = {}
    for story in stories:
        for each in story:
            sums = expected.setdefault(each.topic_name, Counter())
            rows = each.channels or ()
            sums["depth"] += each.depth
            sums["total_depth"] += each.depth + sum(row.depth for row in rows)
            sums["clients"] += sum(row.client_count for row in rows)
            sums["nodes"] += 1
            names.setdefault(each.topic_name, set()).update(row.channel_name for row in rows)
    merged = merge(cluster_view(*nodes(stories), lookupds=[lookupd_view(topics=["lonely"])]))
    assert list(merged.topics) == sorted(expected)
    for name, sums in expected.items():
        row = merged.topics[name]
        assert {column: getattr(row, column) for column in sums} == dict(sums)
        assert row.channels == len(names.get(name, ()))
    assert merged.totals.depth == sum(sums["total_depth"] for sums in expected.values())


@given(nodes_topics)
def test_what_a_node_said_is_not_changed_by_adding_it_up(stories: list[list[TopicStats]]) -> None:
    view = cluster_view(*nodes(stories))
    assert merge(view) == merge(view)
