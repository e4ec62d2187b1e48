"""What actions would do, to whom, and what that means: decided without I/O."""

import pytest

from nsqx.cluster.actions import ACTIONS, ActionRequest, BadActionError, Plan, Power, make_plan
from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import merge
from nsqx.cluster.node_metrics import NodeMetrics
from nsqx.cluster.views import ClusterView
from tests.support.cluster_views import (
    channel,
    cluster_view,
    lookupd_view,
    node_view,
    producer,
    topic,
)

BILLING = channel("billing", depth=9_000, in_flight_count=7, deferred_count=2, client_count=1)


def usual() -> ClusterView:
    ours = NodeMetrics()
    return cluster_view(
        node_view("n1:1", topic("orders", BILLING, depth=3), metrics=ours),
        node_view("n2:1", topic("orders", BILLING), metrics=ours, state=DaemonState.STALE),
        node_view("n3:1", topic("other"), metrics=ours),
        lookupds=[lookupd_view("l1:1")],
    )


def plan(action: str, view: ClusterView | None = None, **fields: object) -> Plan:
    view = view or usual()
    wanted = {"topic": "orders", **fields}
    return make_plan(ActionRequest(action, **wanted), view, merge(view))  # type: ignore[arg-type]  # as named


def paths(made: Plan) -> list[list[tuple[str, str]]]:
    return [[(step.address, step.path) for step in stage] for stage in made.stages]


def test_a_channel_is_emptied_where_the_topic_is() -> None:
    made = plan("empty_channel", channel="billing")
    path = "/channel/empty?topic=orders&channel=billing"
    assert paths(made) == [[("n1:1", path), ("n2:1", path)]]
    assert (made.power, made.confirm) == (Power.OPERATE, "billing")
    assert made.impact.text == "Drops 18,018 messages on 2 nodes; 2 consumers are connected"
    assert (made.impact.messages, made.impact.stale) == (18_018, ["n2:1"])
    assert made.command.startswith("curl -X POST 'http://n1:1/channel/empty?topic=orders&")


def test_lookupds_hear_of_a_deletion_first() -> None:
    made = plan("delete_topic")
    path = "/topic/delete?topic=orders"
    assert paths(made) == [[("l1:1", path)], [("n1:1", path), ("n2:1", path)]]
    assert (made.power, made.confirm) == (Power.ADMINISTER, "orders")
    assert made.impact.text == (
        "Deletes the topic with 1 channel and 18,021 messages on 2 nodes; 2 consumers are connected"
    )


def test_a_retry_goes_to_the_nodes_that_are_named_only() -> None:
    made = plan("delete_channel", channel="billing", nodes=["n2:1"])
    assert paths(made) == [[("n2:1", "/channel/delete?topic=orders&channel=billing")]]


def test_a_topic_is_created_at_lookupds_or_at_nodes_that_are_named() -> None:
    path = "/topic/create?topic=new"
    assert paths(plan("create_topic", topic="new")) == [[("l1:1", path)]]
    made = plan("create_topic", topic="new", nodes=["n3:1"])
    assert paths(made) == [[("l1:1", path)], [("n3:1", path)]]


def test_without_lookupds_a_topic_is_created_at_every_node() -> None:
    view = cluster_view(node_view("n1:1"), node_view("n2:1"))
    (stage,) = plan("create_topic", view, topic="new").stages
    assert [step.address for step in stage] == ["n1:1", "n2:1"]


def test_a_tombstone_is_set_and_then_the_topic_deleted_at_the_node() -> None:
    made = plan("tombstone", node="n1:1")
    assert paths(made) == [
        [("l1:1", "/topic/tombstone?topic=orders&node=n1%3A1")],
        [("n1:1", "/topic/delete?topic=orders")],
    ]


def test_names_are_escaped() -> None:
    view = cluster_view(node_view("n1:1", topic("t#ephemeral", channel("c#ephemeral"))))
    made = plan("pause_channel", view, topic="t#ephemeral", channel="c#ephemeral")
    assert paths(made)[0][0][1] == "/channel/pause?topic=t%23ephemeral&channel=c%23ephemeral"


def test_seek_and_replay() -> None:
    made = plan("seek", channel="billing", to="time:-1h")
    assert paths(made)[0][0][1] == "/channel/seek?topic=orders&channel=billing&to=time%3A-1h"
    assert made.confirm == "billing"
    made = plan("replay", from_="start", new_channel="again")
    assert paths(made)[0][0][1] == "/channel/create?topic=orders&channel=again&from=start"


def test_a_foreign_nsqd_is_not_asked_to_move_in_a_log_that_it_does_not_have() -> None:
    view = cluster_view(node_view("n1:1", topic("orders", BILLING)))
    for made in (
        plan("seek", view, channel="billing", to="start"),
        plan("replay", view, from_="start", new_channel="again"),
        plan("create_channel", view, channel="again", from_="start"),
    ):
        assert made.stages[-1][0].refusal == "NOT_SUPPORTED by this nsqd"


def test_a_topic_is_registered_again_by_a_channel_that_comes_and_goes() -> None:
    made = plan("register_topic", node="n1:1")
    names = "topic=orders&channel=admin-register%23ephemeral"
    assert paths(made) == [
        [("n1:1", f"/channel/create?{names}")],
        [("n1:1", f"/channel/delete?{names}")],
    ]


def test_a_topic_without_channels_is_not_registered_that_way() -> None:
    """What waits there would go into that channel, and with it."""
    with pytest.raises(BadActionError) as raised:
        plan("register_topic", topic="other", node="n3:1")
    assert raised.value.code == "NO_CHANNELS"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"action": "explode"}, "INVALID_ACTION"),
        ({"action": "pause_topic", "topic": ""}, "MISSING_ARG_TOPIC"),
        ({"action": "pause_topic", "topic": "bad!"}, "INVALID_ARG_TOPIC"),
        ({"action": "pause_channel"}, "MISSING_ARG_CHANNEL"),
        ({"action": "replay", "new_channel": "x"}, "MISSING_ARG_FROM"),
        ({"action": "pause_topic", "topic": "unknown"}, "NOTHING_TO_DO"),
        ({"action": "pause_topic", "nodes": ["n9:1"]}, "UNKNOWN_NODE"),
        ({"action": "seek", "channel": "billing", "to": "seq:5"}, "INVALID_ARG_NODES"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, str], code: str) -> None:
    with pytest.raises(BadActionError) as raised:
        plan(**fields)  # type: ignore[arg-type]  # as named
    assert raised.value.code == code


def test_what_destroys_must_be_confirmed() -> None:
    confirmed = {name for name, action in ACTIONS.items() if action.confirm}
    assert confirmed == {
        "empty_channel",
        "empty_topic",
        "delete_channel",
        "delete_topic",
        "tombstone",
        "seek",
    }


def test_a_setting_is_changed_where_the_channel_is_and_by_ours_only() -> None:
    view = cluster_view(
        node_view("n1:1", topic("orders", BILLING), metrics=NodeMetrics()),
        node_view("foreign:1", topic("orders", BILLING)),
    )
    made = plan("configure_channel", view, channel="billing", setting="msg_timeout", value="5m")
    path = "/channel/settings?topic=orders&channel=billing&msg_timeout=5m"
    assert paths(made) == [[("n1:1", path), ("foreign:1", path)]]
    assert [step.refusal for step in made.stages[0]] == ["", "NOT_SUPPORTED by this nsqd"]
    assert made.impact.text.startswith("Sets msg_timeout on 2 nodes to 5m: time that a consumer")
    assert (made.power, made.confirm) == (Power.OPERATE, "")
    back = plan("configure_topic", setting="retain_time", value="default")
    assert back.impact.text.startswith("Gives back retain_time to 2 nodes: how long")
    assert back.power is Power.ADMINISTER


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("msg_timeout", "", "MISSING_ARG_VALUE"),
        ("", "5m", "MISSING_ARG_SETTING"),
        ("retain_time", "5m", "INVALID_ARG_SETTING"),  # of topics
        ("msg_timeout", "soon", "INVALID_ARG_VALUE"),
        ("msg_timeout", "0s", "INVALID_ARG_VALUE"),
    ],
)
def test_what_is_no_setting_or_no_value_of_it_is_refused(
    setting: str, value: str, code: str
) -> None:
    with pytest.raises(BadActionError) as caught:
        plan("configure_channel", channel="billing", setting=setting, value=value)
    assert caught.value.code == code


def test_what_an_action_says_besides_names_is_kept_in_one_word() -> None:
    requests = [
        ActionRequest(setting="msg_timeout", value="5m"),
        ActionRequest(to="end"),
        ActionRequest(from_="start"),
    ]
    assert [each.detail for each in requests] == ["msg_timeout=5m", "end", "start"]


def test_a_node_that_never_answered_is_deleted_from_too() -> None:
    """A lookupd says that it has the topic; that it failed there is then told."""
    view = cluster_view(
        node_view("n1:4151", topic("orders")),
        node_view("n2:4151", state=DaemonState.UNREACHABLE),
        lookupds=[lookupd_view("l1:1", producer("n2:4151", {"orders": False}))],
    )
    made = plan("delete_topic", view)
    assert [address for address, _ in paths(made)[-1]] == ["n1:4151", "n2:4151"]
    assert made.impact.stale == ["n2:4151"]


def test_that_a_node_is_foreign_is_said_of_those_only_that_have_answered() -> None:
    lookupd = lookupd_view("l1:1", producer("n1:4151", {"orders": False}))
    unheard = node_view("n1:4151", state=DaemonState.UNREACHABLE)
    made = plan("seek", cluster_view(unheard, lookupds=[lookupd]), channel="c", to="start")
    assert "not known" in made.stages[0][0].refusal
    young = node_view("n1:4151", topic("orders"), stats={"nsqx_version": "0.1.0"})  # no metrics yet
    assert plan("seek", cluster_view(young), channel="c", to="start").stages[0][0].refusal == ""
