/** One broker: how it is, and what it holds. */

import { ActionButton } from "../actions.mjs";
import { History } from "../charts.mjs";
import { age, bytes, count, duration, rate } from "../format.mjs";
import { html } from "../html.mjs";
import { now, useDocument } from "../live.mjs";
import { OtherFigures } from "../number-columns.mjs";
import { NODE_NUMBERS } from "../numbers.mjs";
import { route, setQuery } from "../router.mjs";
import { matches, sortTree } from "../rows.mjs";
import { DataTable, Filter, nextSort } from "../table.mjs";
import { Attention, Badge, Figure, Link, Loading, Missing, PageHead, Section, SourceState, counted, rated } from "../ui.mjs";
import { channelPath, parseSort, topicPath } from "../url.mjs";
import { CLIENT_COLUMNS } from "./channel.mjs";

/** What a node that does not answer adds to its charts. */
const UNKNOWN = { in: null, out: null, depth: null };
const UNHEARD = "Not known: it has never answered.";

export function NodePage({ node: address }) {
  const { doc, t } = useDocument(`node:${address}`);
  const crumbs = [["Nodes", "/nodes"]];
  if (doc === undefined) return html`<${PageHead} title=${address} crumbs=${crumbs} /><${Loading} />`;
  if (doc === null) return html`<${Missing} what=${`No node ${address} is known.`} />`;
  const { node } = doc;
  return html`
    <${PageHead} title=${address} crumbs=${crumbs} badges=${html`<${SourceState} source=${node} />${node.health !== "OK" && node.state === "ok" && html`<${Badge} level="critical">${node.health}<//>`}`}>
      <p class="subtitle mono">${node.hostname && `${node.hostname} · `}TCP ${node.tcp_address || "unknown"} · ${node.is_nsqx ? "nsqx" : "nsqd"} ${node.version}${node.zone && ` · ${node.zone}`}</p>
    <//>
    ${node.error && html`<p class="problem">${node.error}</p>`}
    <${Attention} items=${doc.attention} />
    <${Figures} node=${node} />
    <${History} title="History" series=${`node:${address}`} row=${node.state === "ok" ? node : UNKNOWN} t=${t} charts=${[["in", "out"], ["depth"]]} />
    <${Holdings} address=${address} doc=${doc} />
    <${Clients} clients=${doc.clients} isKnown=${node.clients !== null} />
    <${Memory} memory=${doc.memory} />`;
}

function Figures({ node }) {
  return html`<dl class="figures">
    <${Figure} label="in" note="/s">${rate(node.in)}<//>
    <${Figure} label="out" note="/s">${rate(node.out)}<//>
    <${Figure} label="waiting">${count(node.depth)}<//>
    <${Figure} label="in flight">${count(node.in_flight)}<//>
    <${Figure} label="clients">${count(node.clients)}<//>
    <${Figure} label="up">${node.start_time ? age(now.value - node.start_time) : "–"}<//>
    ${node.disk_free !== null && html`<${Figure} label="disk free">${bytes(node.disk_free)}<//>`}
    ${node.rss !== null && html`<${Figure} label="memory">${bytes(node.rss)}<//>`}
    ${node.loop_lag !== null && html`<${Figure} label="loop lag">${duration(node.loop_lag)}<//>`}
    ${node.open_fds !== null && html`<${Figure} label="open files" note=${`of ${count(node.fds_max)}`}>${count(node.open_fds)}<//>`}
    <${OtherFigures} numbers=${NODE_NUMBERS} row=${node} level="critical" />
    <${Figure} label="answers in">${node.answer_ms === null ? "–" : duration(node.answer_ms / 1000)}<//>
  </dl>`;
}

const COLUMNS = [
  { key: "name", title: "Name", value: (row) => row.key, cell: (row) => (row.channel === null
    ? html`<${Link} to=${topicPath(row.topic)} class="topic-name">${row.topic}<//>`
    : html`<${Link} to=${channelPath(row.topic, row.channel)} class="channel-name" aria-label=${row.key}>${row.channel}<//>`) },
  { key: "state", title: "State", wide: "tablet", value: ({ data }) => String(Boolean(data.tombstoned)), cell: ({ data }) => html`${data.paused && html`<${Badge} level="quiet">paused<//>`}${data.tombstoned && html`<${Badge} level="warning">tombstoned<//>`}` },
  { key: "depth", title: "Depth", number: true, value: ({ data }) => data.total_depth ?? data.depth, cell: ({ data }) => counted(data.total_depth ?? data.depth) },
  { key: "in", title: "In /s", number: true, value: ({ data }) => data.in, cell: ({ data }) => rated(data.in) },
  { key: "out", title: "Out /s", number: true, wide: "tablet", value: ({ data }) => data.out, cell: ({ data }) => rated(data.out) },
  { key: "messages", title: "Messages", number: true, wide: "tablet", value: ({ data }) => data.messages, cell: ({ data }) => counted(data.messages) },
  { key: "clients", title: "Consumers", number: true, wide: "tablet", value: ({ data }) => data.clients, cell: ({ data }) => counted(data.clients) },
  { key: "log", title: "Log", number: true, wide: "desk", value: ({ data }) => data.log_bytes, cell: ({ data }) => (data.log_bytes === undefined ? "" : bytes(data.log_bytes)) },
  { key: "actions", title: html`<span class="visually-hidden">Actions</span>`, wide: "tablet", cell: ({ topic, channel, data, address }) => channel === null && !data.tombstoned
    && html`<${ActionButton} quiet action="tombstone" target=${{ topic, node: address }} />` },
];

function Holdings({ address, doc }) {
  const { q = "", sort: text } = route.value.query;
  const sort = parseSort(text, "name");
  const topics = Object.entries(doc.topics).map(([topic, data]) => ({ key: topic, parent: null, topic, channel: null, data, address, className: "topic-row" }));
  const channels = Object.entries(doc.channels).map(([key, data]) => {
    const topic = key.slice(0, key.indexOf("/"));
    return { key, parent: topic, topic, channel: key.slice(topic.length + 1), data, address, className: "channel-row level-1" };
  });
  // With its topic, or a found channel would hang in the air.
  const found = new Set(channels.filter((row) => q === "" || matches(row.key, q)).map((row) => row.parent));
  const rows = [...topics.filter((row) => q === "" || matches(row.key, q) || found.has(row.key)), ...channels.filter((row) => found.has(row.parent) && (q === "" || matches(row.key, q)))];
  return html`<${Section} id="holdings" title="Topics and channels" tools=${html`<${Filter} label="Search topics and channels" value=${q} onInput=${(value) => setQuery({ q: value })} />`}>
    <${DataTable} caption="Topics and channels on this node" columns=${COLUMNS} rows=${rows} sort=${sort} arrange=${sortTree} orderKey=${q}
      empty=${q ? "Nothing matches" : doc.node.topics === null ? UNHEARD : "It has no topics."} onSort=${(key) => setQuery({ sort: nextSort(COLUMNS, sort, key) })} />
  <//>`;
}

const OF_CHANNEL = {
  key: "channel", title: "Channel", value: ({ data }) => `${data.topic}/${data.channel}`,
  cell: ({ data }) => html`<${Link} to=${channelPath(data.topic, data.channel)}>${data.topic}/${data.channel}<//>`,
};
const NODE_CLIENT_COLUMNS = CLIENT_COLUMNS.map((column) => (column.key === "node" ? OF_CHANNEL : column));

function Clients({ clients, isKnown }) {
  const sort = parseSort(route.value.query.clients, "host");
  const rows = Object.entries(clients).map(([key, data]) => ({ key, data }));
  return html`<${Section} id="clients" title="Consumers">
    <${DataTable} caption="Consumers at this node" columns=${NODE_CLIENT_COLUMNS} rows=${rows} sort=${sort} empty=${isKnown ? "Nobody is connected." : UNHEARD}
      onSort=${(key) => setQuery({ clients: nextSort(NODE_CLIENT_COLUMNS, sort, key) })} />
  <//>`;
}

function Memory({ memory }) {
  const entries = Object.entries(memory ?? {}).filter(([, value]) => typeof value === "number" && value > 0);
  if (entries.length === 0) return null;
  return html`<${Section} id="memory" title="Memory">
    <dl class="facts">${entries.map(([name, value]) => html`<div key=${name}><dt>${name.replaceAll("_", " ")}</dt><dd>${name.endsWith("bytes") ? bytes(value) : count(value)}</dd></div>`)}</dl>
  <//>`;
}
