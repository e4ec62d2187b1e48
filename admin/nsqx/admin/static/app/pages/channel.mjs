/** One channel: will it be done soon, who works on it, and how it is spread over the nodes. */

import { ActionButton } from "../actions.mjs";
import { History } from "../charts.mjs";
import { age, count, duration, rate } from "../format.mjs";
import { html } from "../html.mjs";
import { now, useDocument } from "../live.mjs";
import { OtherFigures, numberColumn, otherColumns, rateColumn } from "../number-columns.mjs";
import { CHANNEL_NUMBERS } from "../numbers.mjs";
import { OwnSettings } from "../own-settings.mjs";
import { route, setQuery } from "../router.mjs";
import { matches } from "../rows.mjs";
import { DataTable, Filter, nextSort } from "../table.mjs";
import { Age, Badge, Figure, Flags, Link, Loading, Missing, NodeLink, PageHead, Section, SourceState, counted } from "../ui.mjs";
import { parseSort, topicPath } from "../url.mjs";
import { Latency } from "./topic.mjs";

export function ChannelPage({ topic, channel }) {
  const { doc, t } = useDocument(`channel:${topic}/${channel}`);
  const crumbs = [["Topics", "/"], [topic, topicPath(topic)]];
  if (doc === undefined) return html`<${PageHead} title=${channel} crumbs=${crumbs} /><${Loading} />`;
  if (doc === null) return html`<${Missing} what=${`No node has a channel ${channel} of the topic ${topic}.`} hint=${html`<p><${Link} to=${topicPath(topic)}>${topic}<//></p>`} />`;
  const { row } = doc;
  const target = { topic, channel };
  return html`
    <${PageHead} title=${channel} crumbs=${crumbs} badges=${html`<${Flags} flags=${row.flags} />`} attention=${doc.attention} actions=${html`
      <${ActionButton} action=${row.paused ? "unpause_channel" : "pause_channel"} target=${target} label=${row.paused ? "Unpause" : "Pause"} />
      <${ActionButton} action="seek" target=${target} />
      <${ActionButton} action="replay" target=${target} label="Replay" />
      <${ActionButton} action="empty_channel" target=${target} label="Empty" />
      <${ActionButton} action="delete_channel" target=${target} label="Delete" />`} />
    <dl class="figures">
      <${Figure} label="waiting" note=${drainText(doc)}>${count(row.depth)}<//>
      <${Figure} label="oldest">${row.oldest_at === null ? "–" : age(now.value - row.oldest_at)}<//>
      <${Figure} label="in" note="/s">${rate(row.in)}<//>
      <${Figure} label="out" note="/s">${rate(row.out)}<//>
      <${Figure} label="in flight" note=${row.deferred ? `${count(row.deferred)} deferred` : ""}>${count(row.in_flight)}<//>
      <${Figure} label="consumers">${count(row.clients)}<//>
      <${Figure} label="requeued" note=${row.requeues ? `${rate(row.requeues)} /s` : ""}>${count(row.requeued)}<//>
      <${Figure} label="timed out" note=${row.timeouts ? `${rate(row.timeouts)} /s` : ""}>${count(row.timed_out)}<//>
      <${OtherFigures} numbers=${CHANNEL_NUMBERS} row=${row} />
    </dl>
    <${History} title="History" series=${`channel:${topic}/${channel}`} row=${row} t=${t} charts=${[["in", "out", "requeues"], ["depth"]]} />
    <${Clients} clients=${doc.clients} />
    <${Nodes} nodes=${doc.nodes} />
    <${OwnSettings} path=${`topics/${encodeURIComponent(topic)}/channels/${encodeURIComponent(channel)}/settings`} action="configure_channel" target=${target} />`;
}

function drainText({ row, drain_seconds: seconds }) {
  if (row.depth === 0) return "";
  if (row.paused) return "paused";
  if (row.in === null || row.out === null) return "whether it gets less is not known";
  return seconds === null ? "does not get less" : `gone in ${duration(seconds)}`;
}

/** What stands in the way of reading a client's traffic or sharing it, and where it is. */
function Attributes({ client }) {
  const { tls, tls_version: version, compression, sample_rate: sample, authed, identity, zone } = client;
  return html`
    ${tls && html`<${Badge} level="quiet">${version || "TLS"}<//>`}
    ${compression && html`<${Badge} level="quiet">${compression}<//>`}
    ${sample > 0 && html`<${Badge} level="quiet">${sample} % sampled<//>`}
    ${authed && html`<${Badge} level="quiet">${identity || "authed"}<//>`}
    ${zone && html`<${Badge} level="quiet">${zone}<//>`}`;
}

export const CLIENT_COLUMNS = [
  { key: "host", title: "Client", value: ({ data }) => data.hostname || data.remote_address, cell: ({ data }) => html`
    <span title=${data.remote_address}>${data.hostname || data.remote_address}</span>${data.client_id && data.client_id !== data.hostname && html` <span class="quiet">${data.client_id}</span>`}` },
  { key: "agent", title: "Library", wide: "desk", value: ({ data }) => data.user_agent, cell: ({ data }) => html`<span class="quiet">${data.user_agent}</span>` },
  { key: "attributes", title: "Uses", wide: "desk", cell: ({ data }) => html`<${Attributes} client=${data} />` },
  { key: "node", title: "Node", wide: "tablet", value: ({ data }) => data.node, cell: ({ data }) => html`<${NodeLink} address=${data.node} />` },
  { key: "ready", title: "RDY", number: true, wide: "tablet", value: ({ data }) => data.ready, cell: ({ data }) => counted(data.ready) },
  { key: "in_flight", title: "In flight", number: true, value: ({ data }) => data.in_flight, cell: ({ data }) => counted(data.in_flight) },
  { key: "finished", title: "Finished", number: true, value: ({ data }) => data.finished, cell: ({ data }) => counted(data.finished) },
  { key: "requeued", title: "Requeued", number: true, wide: "tablet", value: ({ data }) => data.requeued, cell: ({ data }) => counted(data.requeued) },
  { key: "messages", title: "Messages", number: true, wide: "desk", value: ({ data }) => data.messages, cell: ({ data }) => counted(data.messages) },
  { key: "connected", title: "Connected", number: true, wide: "tablet", value: ({ data }) => (data.connected_at === null ? null : -data.connected_at), cell: ({ data }) => html`<${Age} at=${data.connected_at} />` },
];

function Clients({ clients }) {
  const { clients: sorting, q = "" } = route.value.query;
  const sort = parseSort(sorting, "host");
  const all = Object.entries(clients).map(([key, data]) => ({ key, data }));
  const rows = all.filter(({ key, data }) => q === "" || matches(`${key} ${data.hostname} ${data.client_id} ${data.user_agent}`, q));
  return html`<${Section} id="clients" title="Consumers" tools=${all.length > 8 && html`<${Filter} label="Search consumers" value=${q} onInput=${(text) => setQuery({ q: text })} />`}>
    <${DataTable} caption="Consumers" columns=${CLIENT_COLUMNS} rows=${rows} sort=${sort} orderKey=${q}
      empty=${all.length ? "Nothing matches" : "Nobody is connected."} onSort=${(key) => setQuery({ clients: nextSort(CLIENT_COLUMNS, sort, key) })} />
  <//>`;
}

const NODE_COLUMNS = [
  { key: "node", title: "Node", value: (row) => row.key, cell: ({ key }) => html`<${NodeLink} address=${key} />` },
  { key: "state", title: "State", value: ({ data }) => data.state, cell: ({ data }) => html`<${SourceState} source=${data} />${data.paused && html`<${Badge} level="quiet">paused<//>`}` },
  numberColumn(CHANNEL_NUMBERS, "depth"),
  numberColumn(CHANNEL_NUMBERS, "backend_depth", "desk"),
  numberColumn(CHANNEL_NUMBERS, "in_flight"),
  numberColumn(CHANNEL_NUMBERS, "deferred", "desk"),
  rateColumn("out", "tablet"),
  numberColumn(CHANNEL_NUMBERS, "requeued", "desk"),
  numberColumn(CHANNEL_NUMBERS, "timed_out", "desk"),
  numberColumn(CHANNEL_NUMBERS, "clients", "tablet"),
  { key: "oldest", title: "Oldest", number: true, wide: "tablet", value: ({ data }) => (data.oldest_at === null ? null : -data.oldest_at), cell: ({ data }) => html`<${Age} at=${data.oldest_at} />` },
  { key: "e2e", title: "Latency", wide: "desk", cell: ({ data }) => html`<${Latency} e2e=${data.e2e} />` },
];

function Nodes({ nodes }) {
  const sort = parseSort(route.value.query.nodes, "node");
  const rows = Object.entries(nodes).map(([key, data]) => ({ key, data }));
  const columns = [...NODE_COLUMNS, ...otherColumns(CHANNEL_NUMBERS, rows)];
  return html`<${Section} id="nodes" title="Nodes">
    <${DataTable} caption="Nodes that have the channel" columns=${columns} rows=${rows} sort=${sort}
      onSort=${(key) => setQuery({ nodes: nextSort(columns, sort, key) })} />
  <//>`;
}
