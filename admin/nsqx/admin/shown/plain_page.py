"""
The plain page: one HTML document with its style inside and no script, made from a snapshot.

Every text that came from elsewhere goes through ``escape``; were one forgotten, the content
security policy would still let nothing run and nothing load.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from html import escape

from nsqx.cluster.merge import ClusterSnapshot
from nsqx.cluster.number_fields import seldom
from nsqx.cluster.rows import Attention, ChannelRow, TopicRow
from nsqx.runtime import numbers
from nsqx.runtime.numbers import Behaviour, Stats, titles

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

_TITLES = {**titles(numbers.TOPIC), **titles(numbers.CHANNEL)}
_TITLES["nodes"] = "Nodes"
_TITLES |= {rate: f"{_TITLES.get(rate, 'Out')} a second" for rate in ("in_rate", "out_rate")}
_NOT_OF_CHANNELS = {"nodes"}
# Sums over its channels, each of which has a line of its own.
_NOT_OF_TOPICS = {number.row for number in numbers.CHANNEL if number.is_summed}

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

SECURITY_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


def render(snapshot: ClusterSnapshot, version: str) -> str:
    """Return the document."""
    totals = snapshot.totals
    is_known = totals.topics is not None
    title = f"nsqx: {totals.topics} topics on {totals.nodes} nodes" if is_known else "nsqx"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>",
        f"<h1>{title}</h1>",
        f"<p>{escape(snapshot.verdict.text)}</p>",
        *_attention(snapshot.attention),
        *_lookupds(snapshot),
        *_nodes(snapshot),
        *_topics(snapshot),
        f'</main><footer><p class="dim">nsqadmin {escape(version)}</p></footer></body></html>',
    ]
    return "\n".join(parts) + "\n"


def _attention(attention: list[Attention]) -> Iterator[str]:
    if not attention:
        return
    yield "<h2>Needs attention</h2><ul>"
    for each in attention:
        css_class = ' class="bad"' if each.severity == "critical" else ""
        yield f"<li{css_class}>{escape(each.text)}</li>"
    yield "</ul>"


def _lookupds(snapshot: ClusterSnapshot) -> Iterator[str]:
    if not snapshot.lookupds:
        return
    yield "<h2>Directories (nsqlookupd)</h2>"
    yield _table_head("Address", "State", "#Nodes", "#Topics")
    for row in snapshot.lookupds.values():
        state = _state_cell(row.state, row.observed_at, row.error, snapshot.t)
        yield _row([_cell(row.address), state, _number(row.nodes), _number(row.topics)])
    yield "</table>"


def _nodes(snapshot: ClusterSnapshot) -> Iterator[str]:
    yield "<h2>Nodes (nsqd)</h2>"
    if not snapshot.nodes:
        yield f'<p class="dim">{_nothing(snapshot, "nodes")}</p>'
        return
    columns = ["topics", "depth"]
    columns += [each.row for each in seldom(numbers.NODE, snapshot.nodes.values())]
    of_node = titles(numbers.NODE)
    names = ("HTTP address", "TCP address", "Host", "Version", "State")
    yield _table_head(*names, *(f"#{of_node[column]}" for column in columns))
    for row in snapshot.nodes.values():
        yield _row(
            [
                *map(_cell, (row.address, row.tcp_address, row.hostname, row.version)),
                _state_cell(row.state, row.observed_at, row.error, snapshot.t),
                *(_number(getattr(row, column)) for column in columns),
            ]
        )
    yield "</table>"


def _topics(snapshot: ClusterSnapshot) -> Iterator[str]:
    yield "<h2>Topics and channels</h2>"
    if not snapshot.topics:
        yield f'<p class="dim">{_nothing(snapshot, "topics")}</p>'
        return
    columns = _columns(snapshot)
    yield _table_head("Topic, channel", *(f"#{_TITLES[column]}" for column in columns))
    channels: dict[str, list[tuple[str, ChannelRow]]] = {}
    for key in sorted(snapshot.channels):
        topic, _, name = key.partition("/")
        channels.setdefault(topic, []).append((name, snapshot.channels[key]))
    for topic, row in snapshot.topics.items():
        yield _row([_name_cell(topic, row.flags), *_numbers(row, columns)])
        for name, channel in channels.get(topic, ()):
            cells = [_name_cell(name, channel.flags), *_numbers(channel, columns)]
            yield _row(cells, css_class="channel")
    yield "</table>"


def _nothing(snapshot: ClusterSnapshot, what: str) -> str:
    if snapshot.totals.topics is None:
        return f"Whether there are {what} is not known: nobody who was asked has answered yet"
    return f"No {what} found"


def _columns(snapshot: ClusterSnapshot) -> list[str]:
    """Return what is shown of topics and channels: what is mostly 0 only where it is not."""
    found = [
        *(each for each in numbers.CHANNEL if each.row and each.stats is Stats.ALWAYS),
        *seldom(numbers.TOPIC, snapshot.topics.values()),
        *seldom(numbers.CHANNEL, snapshot.channels.values()),
    ]
    shown = {each.row: None for each in found if each.kind is not Behaviour.FLAG}
    return ["nodes", *shown, "in_rate", "out_rate"]


def _numbers(row: TopicRow | ChannelRow, columns: Iterable[str]) -> Iterator[str]:
    """Yield the cells. A topic has what is its own, a channel all but the number of its nodes."""
    hidden = _NOT_OF_TOPICS if isinstance(row, TopicRow) else _NOT_OF_CHANNELS
    fields = row.__struct_fields__
    return (
        _cell("") if column in hidden or column not in fields else _number(getattr(row, column))
        for column in columns
    )


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


def _name_cell(name: str, flags: list[str]) -> str:
    marks = "".join(f' <span class="mark">{escape(flag)}</span>' for flag in flags)
    return f"<td>{escape(name)}{marks}</td>"


def _state_cell(state: str, observed_at: float | None, error: str, now: float) -> str:
    if state == "ok":
        return "<td>ok</td>"
    age = f" {max(0, round(now - observed_at))} s" if observed_at is not None else ""
    return f'<td class="bad">{escape(state)}{age} <span class="dim">{escape(error)}</span></td>'


def _number(count: float | None) -> str:
    """Return a cell; of what is not known, a dash."""
    return f'<td class="number">{"&ndash;" if count is None else f"{count:,}"}</td>'
