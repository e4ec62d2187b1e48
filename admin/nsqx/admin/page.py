"""
The page: one HTML document with its style inside and no script, made from an overview.

Every text that came from elsewhere goes through ``escape``; were one forgotten, the content
security policy would still let nothing run and nothing load.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from html import escape

from .cluster import ChannelTotal, NodeState, Overview, TopicTotal

__all__ = ["SECURITY_HEADERS", "render"]

STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d8dde3, #39414a);
  --dim: light-dark(#5a6470, #9aa5b1); --bad: light-dark(#a8201a, #ff8f85);
  --back: light-dark(#ffffff, #14181c); --text: light-dark(#1b2026, #e6eaee); }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; background: var(--back);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--dim); font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.channel td:first-child { padding-left: 2rem; }
.bad { color: var(--bad); } .dim { color: var(--dim); }
.mark { border: 1px solid var(--line); border-radius: .6rem; padding: 0 .5rem; font-size: .85em; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

SECURITY_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def render(overview: Overview, version: str) -> str:
    """Return the document."""
    title = f"nsqx: {len(overview.topics)} topics on {len(overview.nodes)} nodes"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>",
        f"<h1>{title}</h1>",
        *_lookupds(overview.lookupds),
        *_nodes(overview.nodes),
        *_topics(overview.topics),
        f'</main><footer><p class="dim">nsqadmin {escape(version)}</p></footer></body></html>',
    ]
    return "\n".join(parts) + "\n"


def _lookupds(lookupds: dict[str, str]) -> Iterator[str]:
    if not lookupds:
        return
    yield "<h2>Directories (nsqlookupd)</h2>"
    yield _table_head("Address", "State")
    for address, error in lookupds.items():
        yield _row([_cell(address), _state_cell(error)])
    yield "</table>"


def _nodes(nodes: list[NodeState]) -> Iterator[str]:
    yield "<h2>Nodes (nsqd)</h2>"
    if not nodes:
        yield '<p class="dim">No nodes found</p>'
        return
    yield _table_head(
        "HTTP address", "TCP address", "Host", "Version", "State", "#Topics", "#Depth"
    )
    for state in nodes:
        yield _row(_node_cells(state))
    yield "</table>"


def _node_cells(state: NodeState) -> list[str]:
    producer = state.node.producer if state.node else None
    topics = (state.stats.topics or []) if state.stats else []
    return [
        _cell(state.address),
        _cell(state.node.tcp_address if state.node else ""),
        _cell(producer.hostname if producer else ""),
        _cell(producer.version if producer else ""),
        _state_cell(state.error),
        _number(len(topics) if state.stats else None),
        _number(_depth_of(state) if state.stats else None),
    ]


def _depth_of(state: NodeState) -> int:
    """All messages that wait on a node, at its topics and in its channels."""
    topics = (state.stats.topics or []) if state.stats else []
    return sum(
        topic.depth + sum(channel.depth for channel in topic.channels or ()) for topic in topics
    )


def _topics(topics: list[TopicTotal]) -> Iterator[str]:
    yield "<h2>Topics and channels</h2>"
    if not topics:
        yield '<p class="dim">No topics found</p>'
        return
    yield _table_head(
        "Topic, channel",
        "#Nodes",
        "#Depth",
        "#In flight",
        "#Deferred",
        "#Requeued",
        "#Timed out",
        "#Messages",
        "#Consumers",
    )
    for topic in topics:
        yield _topic_row(topic)
        for name in sorted(topic.channels):
            yield _channel_row(topic.channels[name])
    yield "</table>"


def _topic_row(topic: TopicTotal) -> str:
    counts = [topic.nodes, topic.depth, None, None, None, None, topic.messages, None]
    return _row([_name_cell(topic.name, topic.paused), *map(_number, counts)])


def _channel_row(channel: ChannelTotal) -> str:
    counts = [
        None,
        channel.depth,
        channel.in_flight,
        channel.deferred,
        channel.requeued,
        channel.timed_out,
        channel.messages,
        channel.clients,
    ]
    cells = [_name_cell(channel.name, channel.paused), *map(_number, counts)]
    return _row(cells, css_class="channel")


def _table_head(*titles: str) -> str:
    """``#`` marks a column of numbers."""
    cells = [
        f'<th scope="col" class="number">{title[1:]}</th>'
        if title.startswith("#")
        else f'<th scope="col">{title}</th>'
        for title in titles
    ]
    return f"<table><tr>{''.join(cells)}</tr>"


def _row(cells: Iterable[str], css_class: str = "") -> str:
    opening = f'<tr class="{css_class}">' if css_class else "<tr>"
    return f"{opening}{''.join(cells)}</tr>"


def _cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _name_cell(name: str, paused: bool) -> str:
    mark = ' <span class="mark">paused</span>' if paused else ""
    return f"<td>{escape(name)}{mark}</td>"


def _state_cell(error: str) -> str:
    if not error:
        return "<td>ok</td>"
    return f'<td class="bad">unreachable <span class="dim">{escape(error)}</span></td>'


def _number(count: int | None) -> str:
    return f'<td class="number">{"" if count is None else f"{count:,}"}</td>'
