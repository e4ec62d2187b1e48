"""The rules of what needs attention, on snapshots made by hand."""

from dataclasses import replace

import pytest

from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import ClusterSnapshot, merge
from nsqx.cluster.node_metrics import NodeMetrics
from nsqx.cluster.rates import ChannelRates
from nsqx.cluster.registry import registry_of
from nsqx.cluster.views import ClusterView, NodeView
from nsqx.cluster.watch import ALIKE_MAX, Mark, Watch
from tests.support.cluster_views import (
    NOW,
    channel,
    cluster_view,
    lookupd_view,
    node_view,
    producer,
    rates_of,
    topic,
)

QUIET_S = 60.0  # longer than any rule holds back


def judged(watch: Watch, view: ClusterView) -> ClusterSnapshot:
    snapshot = merge(view)
    watch.judge(snapshot, registry_of(view))
    return snapshot


def lasting(*nodes: NodeView, seconds: float = QUIET_S, **fields: object) -> ClusterSnapshot:
    """The same cluster now and later, judged the second time."""
    watch = Watch()
    judged(watch, cluster_view(*nodes, **fields))  # type: ignore[arg-type]  # as named
    return judged(watch, cluster_view(*nodes, now=NOW + seconds, **fields))  # type: ignore[arg-type]  # as named


def rules(snapshot: ClusterSnapshot) -> list[str]:
    return [each.rule for each in snapshot.attention]


def test_a_quiet_cluster_is_well() -> None:
    snapshot = lasting(node_view("n1:1", topic("t", channel("c", client_count=1))))
    assert snapshot.attention == []
    assert snapshot.verdict.level == "ok"
    assert snapshot.verdict.text == "All well: 1 topic, 1 channel on 1 node"


def test_before_the_first_answer_nothing_is_said() -> None:
    view = cluster_view(node_view("n1:1", state=DaemonState.WAITING))
    assert judged(Watch(), view).verdict.level == "waiting"


def test_a_channel_without_consumers_is_told_after_a_while() -> None:
    node = node_view("n1:1", topic("t", channel("c", depth=1_234)))
    watch = Watch()
    assert rules(judged(watch, cluster_view(node))) == []
    snapshot = judged(watch, cluster_view(node, now=NOW + 6))
    (told,) = snapshot.attention
    assert (told.id, told.severity, told.since) == ("no-consumers:t/c", "warning", NOW)
    assert told.text == "t/c has no consumer and 1,234 messages wait"
    assert told.page == "/topics/t/c"
    assert snapshot.channels["t/c"].flags == ["no-consumers"]
    assert snapshot.verdict.text == told.text


def test_a_consumer_that_comes_back_soon_is_no_alarm() -> None:
    watch = Watch()
    gone = node_view("n1:1", topic("t", channel("c", depth=1)))
    back = node_view("n1:1", topic("t", channel("c", depth=1, client_count=1)))
    seen = [
        rules(judged(watch, cluster_view(node, now=NOW + second)))
        for second, node in enumerate([gone, gone, back, gone, gone])
    ]
    assert seen == [[]] * 5


HOUR_S = 3600.0


@pytest.mark.parametrize("set_by", [-HOUR_S, HOUR_S])
def test_a_clock_that_is_set_makes_no_problem_old_or_new(set_by: float) -> None:
    """Both a rule that holds back and one that wants a minute go on by the even clock."""
    alone = topic("t", channel("c", depth=5))
    still = topic("u", channel("c", depth=3, client_count=2, in_flight_count=2))
    watch = Watch()
    seen = {}
    for second in range(63):
        jump = set_by if second >= 3 else 0.0
        view = cluster_view(
            node_view("n1:1", alone, still, restarted_at=NOW - 30, restarted_at_s=NOW - 30),
            now=NOW + second + jump,
            at_s=NOW + second,
        )
        seen[second] = judged(watch, view).attention
    times = {each.rule: each.since for each in seen[61]}
    assert {each.rule for each in seen[4]} == {"node-restarted"}
    assert {each.rule for each in seen[6]} == {"no-consumers", "node-restarted"}
    assert {each.rule for each in seen[31]} == {"no-consumers"}
    assert {each.rule for each in seen[62]} == {"stuck", "no-consumers"}
    assert times["no-consumers"] == NOW  # as the wall said then


@pytest.mark.parametrize("set_by", [-HOUR_S, 0.0, HOUR_S / 20])
def test_a_watch_that_goes_on_knows_for_how_long_whatever_the_clock_says(set_by: float) -> None:
    node = node_view("n1:1", topic("t", channel("c", depth=5)))
    watch = Watch()
    for second in (0, 4):
        judged(watch, cluster_view(node, now=NOW + second + set_by * second, at_s=50.0 + second))
    state = watch.state()
    assert state.t - state.since["no-consumers:t/c"] == 4
    # The machine was started again meanwhile: the even clock begins at 0.
    other = Watch().restore(state, state.t - 100.0, 3.0)
    assert rules(judged(other, cluster_view(node, now=state.t - 99.5, at_s=3.5))) == []
    assert rules(judged(other, cluster_view(node, now=state.t - 98.9, at_s=4.1))) == [
        "no-consumers"
    ]


def test_a_paused_channel_is_marked_and_no_problem() -> None:
    snapshot = lasting(node_view("n1:1", topic("t", channel("c", depth=9, paused=True))))
    assert snapshot.attention == []
    assert snapshot.channels["t/c"].flags == ["paused"]


def test_a_dead_node_and_lookupd_are_told() -> None:
    lookupds = [lookupd_view("l1:1"), lookupd_view("l2:1", state=DaemonState.STALE)]
    snapshot = lasting(node_view("n1:1", state=DaemonState.STALE), lookupds=lookupds)
    assert [(each.rule, each.severity) for each in snapshot.attention] == [
        ("node-unreachable", "critical"),
        ("lookupd-unreachable", "warning"),
    ]
    assert snapshot.verdict.level == "critical"
    assert snapshot.verdict.counts == {"critical": 1, "warning": 1}


def test_that_no_lookupd_answers_is_critical() -> None:
    lookupds = [lookupd_view("l1:1", state=DaemonState.STALE)]
    (told,) = lasting(lookupds=lookupds).attention
    assert told.severity == "critical"


def test_consumers_that_finish_nothing_are_stuck() -> None:
    node = node_view("n1:1", topic("t", channel("c", depth=3, client_count=2, in_flight_count=2)))
    assert rules(lasting(node, seconds=59)) == []
    (told,) = lasting(node, seconds=61).attention
    assert (told.rule, told.severity) == ("stuck", "critical")


def test_consumers_that_finish_something_are_not_stuck() -> None:
    busy = rates_of({"t": 1.0}, {("t", "c"): ChannelRates(1, 1, 0, 0)})
    node = node_view("n1:1", topic("t", channel("c", depth=3, client_count=2)), rates=busy)
    assert rules(lasting(node, seconds=120)) == []


def test_a_depth_that_grows_for_a_minute_is_told() -> None:
    watch = Watch()
    seen = []
    for second in range(0, 81, 10):
        node = node_view(
            "n1:1",
            topic("t", channel("c", depth=100 + second, client_count=1)),
            rates=rates_of({"t": 2.0}, {("t", "c"): ChannelRates(2, 1, 0, 0)}),
        )
        seen.append(rules(judged(watch, cluster_view(node, now=NOW + second))))
    assert seen[5] == []
    assert seen[-1] == ["growing"]


def test_a_depth_that_goes_up_and_down_does_not_grow() -> None:
    watch = Watch()
    for second in range(0, 201, 10):
        depth = 1000 + (second % 30)
        node = node_view(
            "n1:1",
            topic("t", channel("c", depth=depth, client_count=1)),
            rates=rates_of({"t": 2.0}, {("t", "c"): ChannelRates(2, 1, 0, 0)}),
        )
        assert rules(judged(watch, cluster_view(node, now=NOW + second))) == []


def test_old_messages_are_told() -> None:
    metrics = NodeMetrics(oldest_at={"t/c": NOW - 7300})
    stats = topic("t", channel("c", depth=1, client_count=1))
    busy = rates_of({}, {("t", "c"): ChannelRates(0, 1, 0, 0)})
    (told,) = lasting(node_view("n1:1", stats, metrics=metrics, rates=busy)).attention
    assert (told.rule, told.text) == ("old", "t/c: the oldest message is 2 hours old")


def test_many_requeues_and_timeouts_are_told() -> None:
    busy = rates_of({}, {("t", "c"): ChannelRates(20, 10, 5, 2)})
    stats = topic("t", channel("c", in_flight_count=1, client_count=1))
    assert rules(lasting(node_view("n1:1", stats, rates=busy))) == ["requeues", "timeouts"]


def test_a_topic_without_channels_or_without_nodes_is_told() -> None:
    node = node_view("n1:1", topic("t", depth=4))
    lookupds = [lookupd_view("l1:1", producer("n1:1", {"t": False}), topics=["lonely"])]
    snapshot = lasting(node, lookupds=lookupds)
    assert set(rules(snapshot)) == {"no-channels", "no-producer"}
    assert snapshot.topics["lonely"].flags == ["no-producer"]


def test_of_very_many_problems_that_are_alike_most_are_told_as_one() -> None:
    rubbish = [f"rubbish{number}" for number in range(300)]
    lookupds = [lookupd_view("l1:1", topics=rubbish)]
    watch = Watch()
    node = node_view("n1:1", topic("t", depth=4))
    judged(watch, cluster_view(node, lookupds=lookupds))
    snapshot = judged(watch, cluster_view(node, lookupds=lookupds, now=NOW + 60))
    assert rules(snapshot).count("no-producer") == ALIKE_MAX + 1
    assert "no-channels" in rules(snapshot)
    (rest,) = (each for each in snapshot.attention if each.id == "no-producer:")
    assert rest.text.startswith("250 more are like these; one of them: no node has the topic ")
    assert all(snapshot.topics[name].flags == ["no-producer"] for name in rubbish)
    assert watch.mark("no-producer:", Mark("me", NOW, None))
    for second in range(61, 600, 100):
        snapshot = judged(watch, cluster_view(node, lookupds=lookupds, now=NOW + second))
    (rest,) = (each for each in snapshot.attention if each.id == "no-producer:")
    assert rest.acknowledged_by == "me"


def test_what_is_gone_is_not_kept_but_for_its_marks() -> None:
    watch = Watch()
    for second in range(0, 200, 40):
        names = [f"topic{second}-{number}" for number in range(20)]
        views = [lookupd_view("l1:1", topics=names)]
        judged(watch, cluster_view(lookupds=views, now=NOW + second))
    assert len(watch._since) == 20
    assert not watch._seen_at


def test_a_node_that_drains_is_told_with_what_it_has_left() -> None:
    draining = NodeMetrics(draining=True)
    node = node_view("n1:1", topic("t", channel("c", depth=3, client_count=1)), metrics=draining)
    takes = node_view("n2:1", metrics=NodeMetrics(draining=False))
    attention = lasting(node, takes).attention
    (told,) = (each for each in attention if each.rule == "node-draining")
    assert (told.node, told.severity) == ("n1:1", "warning")
    assert told.text == "nsqd n1:1 drains, and takes no messages: 3 messages wait"


def test_the_state_of_a_node_is_told() -> None:
    metrics = NodeMetrics(disk_free=5 << 20, lost_messages=3)
    node = node_view("n1:1", metrics=metrics, restarted_at_s=NOW + 30)
    unhealthy = node_view("n2:1", stats={"version": "2"}, version="2")
    assert unhealthy.stats is not None
    unhealthy.stats.health = "NOK - no space"
    other = node_view("n3:1", version="1")
    assert set(rules(lasting(node, unhealthy, other))) == {
        "disk-full",
        "damage",
        "node-restarted",
        "node-unhealthy",
        "versions-differ",
    }


def test_that_lookupds_disagree_is_told_once_it_lasts() -> None:
    node = node_view("n1:1", topic("t", channel("c")))
    lookupds = [lookupd_view("l1:1", producer("n1:1", {"t": False})), lookupd_view("l2:1")]
    assert rules(lasting(node, lookupds=lookupds, seconds=9)) == []
    (told,) = lasting(node, lookupds=lookupds, seconds=11).attention
    assert (told.rule, told.text) == ("lookupds-disagree", "l2:1 does not list t at n1:1")


def test_stale_rows_are_flagged() -> None:
    stale = node_view("n1:1", topic("t", channel("c")), state=DaemonState.STALE)
    assert lasting(stale).topics["t"].flags == ["stale"]


def test_the_page_of_an_ephemeral_topic_is_escaped() -> None:
    node = node_view("n1:1", topic("t#ephemeral", channel("c#ephemeral", depth=1)))
    (told,) = lasting(node).attention
    assert told.page == "/topics/t%23ephemeral/c%23ephemeral"


def test_what_grows_fast_grows_also_when_it_is_much_already() -> None:
    watch, told = Watch(), list[str]()
    for second in range(0, 81, 10):
        stats = topic("t", channel("c", depth=1_000_000 + 800 * second, client_count=1))
        busy = rates_of({"t": 900.0}, {("t", "c"): ChannelRates(900, 100, 0, 0)})
        told = rules(
            judged(watch, cluster_view(node_view("n1:1", stats, rates=busy), now=NOW + second))
        )
    assert told == ["growing"]


def stuck_node(**fields: object) -> NodeView:
    stats = topic("t", channel("c", depth=3, client_count=2, in_flight_count=2))
    return node_view("n1:1", stats, **fields)  # type: ignore[arg-type]  # as named


def test_stuck_is_not_reset_by_a_node_that_does_not_answer() -> None:
    watch = Watch()
    silent = node_view("n2:1", topic("t", channel("c")), state=DaemonState.STALE)
    judged(watch, cluster_view(stuck_node()))
    judged(watch, cluster_view(stuck_node(), silent, now=NOW + 30))
    told = judged(watch, cluster_view(stuck_node(), silent, now=NOW + 61)).attention
    assert ("stuck", NOW + 61) in [(each.rule, each.since) for each in told]


def test_stuck_is_not_reset_by_a_restart_of_the_node() -> None:
    watch = Watch()
    judged(watch, cluster_view(stuck_node()))
    again = node_view("n1:1", topic("t", channel("c", depth=3)), rates=None)  # consumers come soon
    judged(watch, cluster_view(again, now=NOW + 30))
    assert "stuck" in rules(judged(watch, cluster_view(stuck_node(), now=NOW + 61)))


def test_what_is_known_of_problems_survives_a_restart() -> None:
    watch = Watch()
    view = cluster_view(node_view("n1:1", topic("t", channel("c", depth=1))))
    judged(watch, view)
    judged(watch, cluster_view(stuck_node(), now=NOW + 10))
    other = Watch().restore(watch.state(), NOW + 20, NOW + 20)
    waiting = cluster_view(node_view("n1:1", state=DaemonState.WAITING), now=NOW + 20)
    assert rules(judged(other, waiting)) == []  # nobody was asked yet
    told = judged(other, cluster_view(stuck_node(), now=NOW + 71)).attention
    assert [(each.rule, each.text.partition(" for ")[2]) for each in told] == [
        ("stuck", "61 s, 3 messages wait")
    ]


def test_the_heaviest_comes_first_and_not_the_oldest() -> None:
    watch = Watch()
    small = topic("small", channel("c", depth=5))
    judged(watch, cluster_view(node_view("n1:1", small)))
    big = topic("big", channel("c", depth=500_000))
    damaged = NodeMetrics(lost_messages=7)
    judged(watch, cluster_view(node_view("n1:1", small, big), now=NOW + 10))
    view = cluster_view(node_view("n1:1", small, big, metrics=damaged), now=NOW + 20)
    assert [each.id for each in judged(watch, view).attention] == [
        "damage:n1:1",
        "no-consumers:big/c",
        "no-consumers:small/c",
    ]


def test_an_acknowledged_problem_is_listed_last_and_not_in_the_verdict() -> None:
    watch = Watch()
    view = cluster_view(node_view("n1:1", topic("t", channel("c", depth=1))))
    judged(watch, view)
    assert watch.mark("no-consumers:t/c", Mark("ann", NOW))
    snapshot = judged(watch, cluster_view(*view.nodes, now=NOW + 6))
    (told,) = snapshot.attention
    assert (told.is_known, told.acknowledged_by, told.silenced_until) == (True, "ann", None)
    assert snapshot.verdict.level == "ok"
    assert snapshot.verdict.text.startswith("Nothing new, 1 known")
    # Once it was gone for a while it is another problem.
    quiet = node_view("n1:1", topic("t", channel("c")))
    judged(watch, cluster_view(quiet, now=NOW + 10))
    judged(watch, cluster_view(quiet, now=NOW + 400))
    judged(watch, cluster_view(*view.nodes, now=NOW + 410))
    assert judged(watch, cluster_view(*view.nodes, now=NOW + 420)).verdict.level == "warning"


def test_a_silenced_problem_counts_again_when_the_time_is_over() -> None:
    watch = Watch()
    view = cluster_view(node_view("n1:1", topic("t", channel("c", depth=1))))
    judged(watch, view)
    watch.mark("no-consumers:t/c", Mark("ann", NOW, NOW + 60))
    assert judged(watch, cluster_view(*view.nodes, now=NOW + 59)).verdict.level == "ok"
    assert judged(watch, cluster_view(*view.nodes, now=NOW + 61)).verdict.level == "warning"
    assert not watch.mark("no-consumers:other/c", Mark("ann", NOW))


def test_a_topic_carries_the_flags_of_its_channels() -> None:
    row = lasting(node_view("n1:1", topic("t", channel("c", depth=1)))).topics["t"]
    assert (row.flags, row.channel_flags) == ([], ["no-consumers"])


def test_a_pause_that_was_forgotten_is_told() -> None:
    node = node_view("n1:1", topic("t", channel("c", depth=9, paused=True)))
    (told,) = lasting(node, seconds=1000).attention
    assert (told.rule, told.text) == ("paused", "t/c is paused, and 9 messages wait")


def test_while_nobody_has_answered_nothing_is_said_to_be_well() -> None:
    """Also not by somebody who knows that the only lookupd is dead."""
    silent = replace(lookupd_view(state=DaemonState.UNREACHABLE), observed_at=None)
    watch, view = Watch(), cluster_view(lookupds=[silent])
    (told,) = judged(watch, view).attention
    assert watch.mark(told.id, Mark("mia", NOW))
    verdict = judged(watch, view).verdict
    assert (verdict.level, verdict.text) == (
        "waiting",
        "Nobody who was asked has answered yet",
    )


def test_what_is_there_at_the_beginning_may_be_older_than_it_was_seen() -> None:
    def forgotten(*names: str) -> NodeView:
        channels = [channel(name, depth=1) for name in names]
        return node_view("n1:1", topic("t", *channels))

    def older(snapshot: ClusterSnapshot) -> dict[str, bool]:
        return {
            each.channel: each.is_older
            for each in snapshot.attention
            if each.rule == "no-consumers"
        }

    watch = Watch()
    judged(watch, cluster_view(forgotten("first")))
    judged(watch, cluster_view(forgotten("first", "later"), now=NOW + 60))
    late = cluster_view(forgotten("first", "later"), now=NOW + 60 + 2 * QUIET_S)
    assert older(judged(watch, late)) == {"first": True, "later": False}
    # A nsqadmin that was restarted goes on with what the one before knew.
    other = Watch().restore(watch.state(), late.now, late.at_s)
    assert older(judged(other, late)) == {"first": True, "later": False}
