/** The options of all nodes, and where they differ. */

import { plural } from "../format.mjs";
import { html } from "../html.mjs";
import { useDocument } from "../live.mjs";
import { route, setQuery } from "../router.mjs";
import { matches } from "../rows.mjs";
import { DataTable, Filter, nextSort } from "../table.mjs";
import { Badge, Choice, Section } from "../ui.mjs";
import { parseSort } from "../url.mjs";

const SHOW = [["", "not default"], ["differences", "differences"], ["all", "all"]];

const COLUMNS = [
  { key: "name", title: "Option", value: (row) => row.key, cell: (row) => html`<span class="mono">${row.key}</span>` },
  { key: "value", title: "Value", value: ({ data }) => -valuesOf(data).size, cell: ({ data }) => html`<${Values} option=${data} />` },
  { key: "source", title: "Said by", wide: "tablet", value: ({ data }) => sourcesOf(data), cell: ({ data }) => html`<span class="quiet">${sourcesOf(data)}</span>` },
];

export function NodeOptions() {
  const { doc } = useDocument("settings");
  if (!doc || Object.keys(doc.options).length === 0) return null;
  const { q = "", show = "", sort: text } = route.value.query;
  const sort = parseSort(text, "name");
  const rows = Object.entries(doc.options)
    .filter(([name, option]) => isShown(option, show) && (q === "" || matches(name, q)))
    .map(([key, data]) => ({ key, data, className: data.differs ? "differs" : "" }));
  const differing = Object.values(doc.options).filter((option) => option.differs).length;
  const silent = Object.keys(doc.nodes).filter((node) => doc.nodes[node].observed_at === null);
  return html`<${Section} id="options" title="Options of the nodes">
    <p class=${differing ? "warning-text" : "quiet"}>${differing ? `${plural(differing, "option")} of the nodes differ.` : silent.length ? "Those that tell have the same options." : "All nodes have the same options."}
      ${silent.length > 0 && html` <span class="warning-text">Not known are those of ${silent.join(", ")}.</span>`}</p>
    <div class="tools">
      <${Filter} label="Search options" value=${q} onInput=${(value) => setQuery({ q: value })} />
      <${Choice} label="Which" options=${SHOW} value=${show} onChange=${(id) => setQuery({ show: id })} />
    </div>
    <${DataTable} caption="Options of the nodes" columns=${COLUMNS} rows=${rows} sort=${sort} orderKey=${`${q} ${show}`}
      empty=${q ? "Nothing matches" : "None"} onSort=${(key) => setQuery({ sort: nextSort(COLUMNS, sort, key) })} />
  <//>`;
}

function isShown(option, show) {
  if (show === "all") return true;
  if (show === "differences") return option.differs;
  return option.differs || Object.values(option.sources).some((source) => source !== "default" && source !== "");
}

/** value -> the nodes that have it. */
function valuesOf({ values }) {
  const nodes = new Map();
  for (const [node, value] of Object.entries(values)) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    nodes.set(text, [...(nodes.get(text) ?? []), node]);
  }
  return nodes;
}

function Values({ option }) {
  const values = [...valuesOf(option)];
  if (values.length === 1) return html`<span class="mono">${values[0][0] || "–"}</span>`;
  if (!option.differs) return html`<span class="quiet" title=${values.map(([value, nodes]) => `${nodes.join(", ")}: ${value}`).join("\n")}>each node its own</span>`;
  return values.map(([value, nodes]) => html`<${Badge} key=${value} level="warning" title=${nodes.join(", ")}><span class="mono">${value || "–"}</span> at ${nodes.length === 1 ? nodes[0] : plural(nodes.length, "node")}<//>`);
}

function sourcesOf({ sources }) {
  return [...new Set(Object.values(sources))].filter(Boolean).sort().join(", ");
}
