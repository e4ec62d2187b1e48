"""The page's HTML, from overviews made by hand."""

import base64
import hashlib
import re

from nsqx.admin import page
from nsqx.admin.answers import NsqdStats, Producer, TopicStats
from nsqx.admin.cluster import ChannelTotal, Node, NodeState, Overview, TopicTotal

EVIL = "<script>alert('x')</script>\"&"
ESCAPED = "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;"


def rendered(
    *,
    lookupds: dict[str, str] | None = None,
    nodes: list[NodeState] | None = None,
    topics: list[TopicTotal] | None = None,
) -> str:
    return page.render(Overview(lookupds or {}, nodes or [], topics or []), "1.2.3")


def test_every_text_from_elsewhere_is_escaped() -> None:
    producer = Producer(EVIL, 1, 2, hostname=EVIL, version=EVIL)
    html = page.render(
        Overview(
            {EVIL: EVIL},
            [NodeState(EVIL, Node(producer, {}), None, EVIL)],
            [TopicTotal(EVIL, channels={EVIL: ChannelTotal(EVIL)})],
        ),
        EVIL,
    )
    assert "<script" not in html
    # Address and error of the lookupd; address, TCP address, host, version and error of the node;
    # topic, channel; our own version.
    assert html.count(ESCAPED) == 10


def test_the_policy_allows_the_style_of_the_page_and_nothing_else() -> None:
    policy = page.SECURITY_HEADERS["Content-Security-Policy"]
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
    stats = NsqdStats(topics=[TopicStats("t", depth=1_234)])
    html = rendered(nodes=[NodeState("n1:4151", None, stats, "")])
    assert '<td class="number">1,234</td>' in html
    assert "unreachable" not in html


def test_a_dead_node_is_marked_with_its_error() -> None:
    html = rendered(nodes=[NodeState("n1:4151", None, None, "connection refused")])
    assert 'unreachable <span class="dim">connection refused</span>' in html


def test_paused_topics_and_channels_are_marked() -> None:
    channels = {"c": ChannelTotal("c", paused=True), "d": ChannelTotal("d")}
    html = rendered(topics=[TopicTotal("t", paused=True, channels=channels)])
    assert html.count(">paused<") == 2
