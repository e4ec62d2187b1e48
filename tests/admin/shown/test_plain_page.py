"""The plain page's HTML, from snapshots made by hand."""

import base64
import hashlib
import re

import msgspec

from nsqx.admin.shown import plain_page
from nsqx.cluster.answers import ChannelStats, NsqdStats, TopicStats
from nsqx.cluster.health import DaemonState
from nsqx.cluster.merge import ClusterSnapshot, merge
from nsqx.cluster.node_metrics import NodeMetrics
from nsqx.cluster.registry import registry_of
from nsqx.cluster.views import ClusterView, LookupdView, NodeView
from nsqx.cluster.watch import Watch
from tests.support.cluster_views import seen

NOW = 1_795_500_000.0
EVIL = "<script>alert('x')</script>\"&"
ESCAPED = "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;"


def node(address: str = "n1:4151", **fields: object) -> NodeView:
    known: dict[str, object] = {
        "address": address,
        "state": DaemonState.OK,
        "observed_at": NOW,
        "failing_since": None,
        "error": "",
        **fields,
    }
    if isinstance(stats := known.get("stats"), NsqdStats):
        known |= seen(stats)
    return NodeView(**known)  # type: ignore[arg-type]  # as named


def snapshot(*nodes: NodeView, lookupds: tuple[LookupdView, ...] = ()) -> ClusterSnapshot:
    view = ClusterView(NOW, NOW, lookupds, nodes)
    made = merge(view)
    Watch().judge(made, registry_of(view))
    return made


def rendered(*nodes: NodeView) -> str:
    return plain_page.render(snapshot(*nodes), "1.2.3")


def test_every_text_from_elsewhere_is_escaped() -> None:
    evil_stats = NsqdStats(health=EVIL, topics=[TopicStats(EVIL, channels=[ChannelStats(EVIL)])])
    evil_node = node(
        EVIL,
        state=DaemonState.STALE,
        error=EVIL,
        hostname=EVIL,
        version=EVIL,
        tcp_address=EVIL,
        stats=evil_stats,
    )
    evil_lookupd = LookupdView(EVIL, DaemonState.STALE, NOW, NOW, EVIL, topics=frozenset({EVIL}))
    html = plain_page.render(snapshot(evil_node, lookupds=(evil_lookupd,)), EVIL)
    assert "<script" not in html
    assert html.count(ESCAPED) >= 12


def test_the_policy_allows_the_style_of_the_page_and_nothing_else() -> None:
    policy = plain_page.SECURITY_HEADERS["Content-Security-Policy"]
    style = re.search("<style>(.*)</style>", rendered(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in policy


def test_an_empty_cluster_says_so() -> None:
    html = rendered()
    assert "No nodes found" in html
    assert "No topics found" in html


def test_a_node_shows_what_waits_on_it() -> None:
    html = rendered(node(stats=NsqdStats(topics=[TopicStats("t", depth=1_234)])))
    assert '<td class="number">1,234</td>' in html
    assert "<td>ok</td>" in html


def test_what_is_mostly_0_has_a_column_where_it_is_not() -> None:
    stats = msgspec.convert({"topics": [{"topic_name": "t", "refused_count": 4321}]}, NsqdStats)
    html = rendered(node(stats=stats, metrics=NodeMetrics(others={"unexpected_errors": 5678})))
    for title, number in (("Refused", "4,321"), ("Faults", "5,678")):
        assert f">{title}</th>" in html
        assert f">{number}</td>" in html
    assert ">Refused</th>" not in rendered(node(stats=NsqdStats(topics=[TopicStats("t")])))


def test_a_topic_shows_what_is_its_own_and_a_channel_the_rest() -> None:
    channels = [ChannelStats("c", in_flight_count=77)]
    stats = NsqdStats(topics=[TopicStats("t", message_count=55, channels=channels)])
    of_topic, of_channel = re.findall("<tr[^>]*><td>[tc]</td>.*", rendered(node(stats=stats)))
    assert ">55<" in of_topic
    assert ">77<" not in of_topic
    assert ">77<" in of_channel


def test_a_dead_node_is_shown_with_the_age_of_what_is_known() -> None:
    dead = node(state=DaemonState.STALE, error="connection refused", observed_at=NOW - 14)
    assert 'stale 14 s <span class="dim">connection refused</span>' in rendered(dead)


def test_paused_topics_and_channels_are_marked() -> None:
    channels = [ChannelStats("c", paused=True), ChannelStats("d")]
    stats = NsqdStats(topics=[TopicStats("t", paused=True, channels=channels)])
    assert rendered(node(stats=stats)).count(">paused<") == 2


def test_what_is_not_known_is_not_zero_and_not_none() -> None:
    unheard = LookupdView("l1:4161", DaemonState.UNREACHABLE, None, NOW, "refused")
    html = plain_page.render(snapshot(lookupds=(unheard,)), "1.2.3")
    assert "<title>nsqx</title>" in html
    assert html.count("is not known") == 2
    assert '<td class="number">0</td>' not in html
    assert "No nodes found" not in html
    dead = node(state=DaemonState.UNREACHABLE, observed_at=None)
    assert '<td class="number">&ndash;</td>' in rendered(dead)
