/** The machines: brokers and directories, and how they are. */

import { foreignHost } from "../format.mjs";
import { html } from "../html.mjs";
import { useDocument } from "../live.mjs";
import { numberColumn, otherColumns, rateColumn } from "../number-columns.mjs";
import { NODE_NUMBERS } from "../numbers.mjs";
import { route, setQuery } from "../router.mjs";
import { matches } from "../rows.mjs";
import { DataTable, Filter, nextSort } from "../table.mjs";
import { Age, Badge, Loading, Moment, NodeLink, PageHead, Section, SourceState, counted } from "../ui.mjs";
import { parseSort } from "../url.mjs";

export function NodesPage() {
  const { doc } = useDocument("summary|nodes,lookupds");
  if (!doc) return html`<${PageHead} title="Nodes" /><${Loading} />`;
  return html`<${PageHead} title="Nodes" /><${Brokers} doc=${doc} /><${Directories} lookupds=${doc.lookupds} />`;
}

/** A node that does not answer keeps its row, and its numbers their age. */
const stateRow = (data) => (data.state === "ok" ? "" : "stale-row");

const COLUMNS = [
  { key: "host", title: "Node", value: ({ data }) => data.address, cell: ({ data }) => html`<${NodeLink} address=${data.address} /> <span class="quiet mono address">${foreignHost(data)}</span>` },
  { key: "state", title: "State", value: ({ data }) => data.state, cell: ({ data }) => html`<${SourceState} source=${data} />${data.state === "ok" && data.health !== "OK" && html`<${Badge} level="critical">${data.health}<//>`}` },
  { key: "version", title: "Version", wide: "tablet", value: ({ data }) => data.version, cell: ({ data }) => html`${data.version}${data.out_of_date && html` <${Badge} level="warning">out of date<//>`}` },
  { key: "zone", title: "Zone", wide: "desk", value: ({ data }) => `${data.region} ${data.zone}`.trim(), cell: ({ data }) => data.zone || data.region || html`<span class="quiet">–</span>` },
  numberColumn(NODE_NUMBERS, "depth"),
  rateColumn("in"),
  rateColumn("out", "tablet"),
  numberColumn(NODE_NUMBERS, "topics", "desk"),
  numberColumn(NODE_NUMBERS, "clients", "tablet"),
  numberColumn(NODE_NUMBERS, "disk_free", "tablet"),
  numberColumn(NODE_NUMBERS, "rss", "desk"),
  numberColumn(NODE_NUMBERS, "loop_lag", "desk"),
  { key: "up", title: "Up", number: true, wide: "tablet", value: ({ data }) => (data.start_time === null ? null : -data.start_time), cell: ({ data }) => html`<${Age} at=${data.start_time} />` },
  { key: "directories", title: "Directories", number: true, wide: "desk", value: ({ data }) => data.lookupds.length, cell: ({ data, lookupds }) => html`<${Registered} node=${data} lookupds=${lookupds} />` },
];

/** At how many directories a node is registered; marked when it is not all of them that have told. */
function Registered({ node, lookupds }) {
  const text = `${node.lookupds.length} of ${lookupds}`;
  if (node.lookupds.length === lookupds) return html`<span class=${lookupds ? "" : "quiet"}>${text}</span>`;
  return html`<${Badge} level="warning" title=${node.lookupds.join(", ")}>${text}<//>`;
}

function Brokers({ doc }) {
  const { q = "", sort: text } = route.value.query;
  const sort = parseSort(text, "host");
  const lookupds = Object.values(doc.lookupds).filter(({ nodes }) => nodes !== null).length;
  const rows = Object.entries(doc.nodes)
    .filter(([key, data]) => q === "" || matches(`${key} ${data.hostname} ${data.version} ${data.zone} ${data.region}`, q))
    .map(([key, data]) => ({ key, data, lookupds, className: stateRow(data) }));
  const columns = [...COLUMNS, ...otherColumns(NODE_NUMBERS, rows)];
  return html`<${Section} id="brokers" title="Brokers" tools=${html`<${Filter} label="Search nodes" value=${q} onInput=${(value) => setQuery({ q: value })} />`}>
    <${DataTable} caption="Nodes" columns=${columns} rows=${rows} sort=${sort} orderKey=${q} empty=${q ? "Nothing matches" : "No node is known yet."}
      onSort=${(key) => setQuery({ sort: nextSort(columns, sort, key) })} />
  <//>`;
}

const LOOKUPD_COLUMNS = [
  { key: "address", title: "Directory", value: (row) => row.key, cell: ({ key }) => html`<span class="mono">${key}</span>` },
  { key: "state", title: "State", value: ({ data }) => data.state, cell: ({ data }) => html`<${SourceState} source=${data} />` },
  { key: "version", title: "Version", wide: "tablet", value: ({ data }) => data.version, cell: ({ data }) => data.version },
  { key: "nodes", title: "Nodes", number: true, value: ({ data }) => data.nodes, cell: ({ data }) => counted(data.nodes) },
  { key: "topics", title: "Topics", number: true, value: ({ data }) => data.topics, cell: ({ data }) => counted(data.topics) },
  { key: "found", title: "Known by", wide: "tablet", value: ({ data }) => String(data.found), cell: ({ data }) => (data.found ? "discovery" : "option") },
  { key: "seen", title: "Seen", number: true, wide: "tablet", value: ({ data }) => data.observed_at, cell: ({ data }) => html`<${Moment} at=${data.observed_at} />` },
];

function Directories({ lookupds }) {
  const sort = parseSort(route.value.query.directories, "address");
  const rows = Object.entries(lookupds).map(([key, data]) => ({ key, data, className: stateRow(data) }));
  return html`<${Section} id="directories" title="Directories">
    <${DataTable} caption="Directories" columns=${LOOKUPD_COLUMNS} rows=${rows} sort=${sort} empty="None: the nodes were named to nsqadmin."
      onSort=${(key) => setQuery({ directories: nextSort(LOOKUPD_COLUMNS, sort, key) })} />
  <//>`;
}
