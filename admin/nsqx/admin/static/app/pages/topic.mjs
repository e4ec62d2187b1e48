/** One topic: its history, its channels, and how it is spread over the nodes. */

import { ActionButton } from "../actions.mjs";
import { History } from "../charts.mjs";
import { age, bytes, count, duration, rate } from "../format.mjs";
import { html } from "../html.mjs";
import { now, useDocument } from "../live.mjs";
import { OtherFigures, numberColumn, otherColumns, rateColumn } from "../number-columns.mjs";
import { CHANNEL_NUMBERS, TOPIC_NUMBERS } from "../numbers.mjs";
import { OwnSettings } from "../own-settings.mjs";
import { route, setQuery } from "../router.mjs";
import { DataTable, nextSort } from "../table.mjs";
import { Age, Badge, Figure, Flags, Link, Loading, Missing, NodeLink, PageHead, Section, SourceState, Tabs, counted } from "../ui.mjs";
import { channelPath, parseSort, topicPath } from "../url.mjs";

export function TopicPage({ topic }) {
  const { doc, t } = useDocument(`topic:${topic}`);
  if (doc === undefined) return html`<${TopicHead} topic=${topic} tab="" /><${Loading} />`;
  if (doc === null) return html`<${NoTopic} topic=${topic} />`;
  const { row } = doc;
  return html`
    <${TopicHead} topic=${topic} tab="" row=${row} attention=${doc.attention} actions=${html`
      <${Link} class="button primary" to=${topicPath(topic, "publish")}>Publish<//>
      <${ActionButton} action="create_channel" target=${{ topic }} />
      <${ActionButton} action=${row.paused ? "unpause_topic" : "pause_topic"} target=${{ topic }} label=${row.paused ? "Unpause" : "Pause"} />
      <${ActionButton} action="empty_topic" target=${{ topic }} label="Empty" />
      <${ActionButton} action="delete_topic" target=${{ topic }} label="Delete" />`} />
    <${Figures} row=${row} />
    <${History} title="History" series=${`topic:${topic}`} row=${{ ...row, depth: row.total_depth }} t=${t}
      charts=${[["in", "out"], ["depth"]]} />
    <${Channels} topic=${topic} channels=${doc.channels} isKnown=${row.channels !== null} />
    <${Nodes} topic=${topic} nodes=${doc.nodes} />
    <${OwnSettings} path=${`topics/${encodeURIComponent(topic)}/settings`} action="configure_topic" target=${{ topic }} />`;
}

/** The head of a topic's page and of its tabs. */
export function TopicHead({ topic, tab, row, attention, actions }) {
  const tabs = [
    ["Overview", topicPath(topic), ""],
    ["Messages", topicPath(topic, "messages"), "messages"],
    ["Tail", topicPath(topic, "tail"), "tail"],
    ["Publish", topicPath(topic, "publish"), "publish"],
    ["Activity", topicPath(topic, "activity"), "activity"],
  ];
  return html`<${PageHead} title=${topic} crumbs=${[["Topics", "/"]]} badges=${row && html`<${Flags} flags=${row.flags} />`} attention=${attention} actions=${actions}>
    <${Tabs} label="About this topic" tabs=${tabs} current=${tab} />
  <//>`;
}

export function NoTopic({ topic }) {
  return html`<${Missing} what=${`No node has a topic ${topic}.`} hint=${html`<${ActionButton} action="create_topic" target=${{ topic }} label=${`Create ${topic}`} />`} />`;
}

function Figures({ row }) {
  return html`<dl class="figures">
    <${Figure} label="in" note="/s">${rate(row.in)}<//>
    <${Figure} label="out" note="/s">${rate(row.out)}<//>
    <${Figure} label="waiting" note=${row.depth > 0 ? `${count(row.depth)} at the topic itself` : ""}>${count(row.total_depth)}<//>
    <${Figure} label="oldest">${row.oldest_at === null ? "–" : age(now.value - row.oldest_at)}<//>
    <${Figure} label="in flight" note=${row.deferred ? `${count(row.deferred)} deferred` : ""}>${count(row.in_flight)}<//>
    <${Figure} label="consumers">${count(row.clients)}<//>
    <${Figure} label="published" note=${`${bytes(row.message_bytes)}, since its nodes started`}>${count(row.messages)}<//>
    <${OtherFigures} numbers=${TOPIC_NUMBERS} row=${row} />
    ${row.log_bytes !== null && html`<${Figure} label="log on disk">${bytes(row.log_bytes)}<//>`}
  </dl>`;
}

const CHANNEL_COLUMNS = [
  { key: "name", title: "Channel", value: (row) => row.key, cell: ({ topic, key }) => html`<${Link} to=${channelPath(topic, key)}>${key}<//>` },
  { key: "state", title: "State", value: ({ data }) => -data.flags.length, cell: ({ data }) => html`<${Flags} flags=${data.flags} />` },
  numberColumn(CHANNEL_NUMBERS, "depth"),
  { key: "oldest", title: "Oldest", number: true, wide: "tablet", value: ({ data }) => (data.oldest_at === null ? null : -data.oldest_at), cell: ({ data }) => html`<${Age} at=${data.oldest_at} />` },
  rateColumn("out"),
  numberColumn(CHANNEL_NUMBERS, "in_flight", "tablet"),
  numberColumn(CHANNEL_NUMBERS, "deferred", "desk"),
  numberColumn(CHANNEL_NUMBERS, "requeued", "desk"),
  numberColumn(CHANNEL_NUMBERS, "timed_out", "desk"),
  numberColumn(CHANNEL_NUMBERS, "clients", "tablet"),
  { key: "actions", title: html`<span class="visually-hidden">Actions</span>`, wide: "tablet", cell: ({ topic, key, data }) => html`<span class="row-actions">
    <${ActionButton} quiet action=${data.paused ? "unpause_channel" : "pause_channel"} target=${{ topic, channel: key }} label=${data.paused ? "Unpause" : "Pause"} />
    <${ActionButton} quiet action="empty_channel" target=${{ topic, channel: key }} label="Empty" /></span>` },
];

function Channels({ topic, channels, isKnown }) {
  const sort = parseSort(route.value.query.sort, "name");
  const rows = Object.entries(channels).map(([key, data]) => ({ key, topic, data }));
  const columns = [...CHANNEL_COLUMNS.slice(0, -1), ...otherColumns(CHANNEL_NUMBERS, rows), CHANNEL_COLUMNS.at(-1)];
  return html`<${Section} id="channels" title="Channels">
    <${DataTable} caption="Channels" columns=${columns} rows=${rows} sort=${sort}
      empty=${isKnown ? "No channels: messages wait at the topic until one is created." : "Nothing is known of its channels: no node that has it has answered."}
      onSort=${(key) => setQuery({ sort: nextSort(columns, sort, key) })} />
  <//>`;
}

const NODE_COLUMNS = [
  { key: "node", title: "Node", value: (row) => row.key, cell: ({ key }) => html`<${NodeLink} address=${key} />` },
  { key: "state", title: "State", value: ({ data }) => data.state, cell: ({ data }) => html`<${SourceState} source=${data} />${data.tombstoned && html`<${Badge} level="warning">tombstoned<//>`}${data.paused && html`<${Badge} level="quiet">paused<//>`}` },
  { key: "depth", title: "Depth", number: true, value: ({ data }) => data.total_depth, cell: ({ data }) => counted(data.total_depth) },
  { key: "backend", title: "On disk", number: true, wide: "desk", value: ({ data }) => data.backend_depth, cell: ({ data }) => counted(data.backend_depth) },
  rateColumn("in"),
  rateColumn("out", "tablet"),
  numberColumn(TOPIC_NUMBERS, "messages", "tablet"),
  { key: "log", title: "Log", number: true, wide: "desk", value: ({ data }) => data.log_bytes, cell: ({ data }) => bytes(data.log_bytes) },
  { key: "e2e", title: "Latency", wide: "desk", cell: ({ data }) => html`<${Latency} e2e=${data.e2e} />` },
  { key: "actions", title: html`<span class="visually-hidden">Actions</span>`, wide: "tablet", cell: ({ topic, key, data }) => !data.tombstoned
    && html`<${ActionButton} quiet action="tombstone" target=${{ topic, node: key }} />` },
];

/** From publishing to finishing, by quantile; each node for itself, since averages of quantiles lie. */
export function Latency({ e2e }) {
  if (!e2e?.length) return html`<span class="quiet">–</span>`;
  return e2e.map(({ quantile, seconds }) => html`<span key=${quantile} class="quantile"><span class="quiet">p${Math.round(quantile * 1000) / 10}</span> ${duration(seconds)}</span>`);
}

function Nodes({ topic, nodes }) {
  const sort = parseSort(route.value.query.nodes, "node");
  const rows = Object.entries(nodes).map(([key, data]) => ({ key, topic, data }));
  const columns = [...NODE_COLUMNS.slice(0, -1), ...otherColumns(TOPIC_NUMBERS, rows), NODE_COLUMNS.at(-1)];
  return html`<${Section} id="nodes" title="Nodes">
    <${DataTable} caption="Nodes that have the topic" columns=${columns} rows=${rows} sort=${sort}
      empty="No node has it." onSort=${(key) => setQuery({ nodes: nextSort(columns, sort, key) })} />
  <//>`;
}
