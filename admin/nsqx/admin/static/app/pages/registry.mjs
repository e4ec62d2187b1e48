/** What each directory says about who has which topic; where they differ, and what repairs it. */

import { ActionButton } from "../actions.mjs";
import { html } from "../html.mjs";
import { Icon } from "../icons.mjs";
import { useDocument } from "../live.mjs";
import { route, setQuery } from "../router.mjs";
import { matches } from "../rows.mjs";
import { DataTable, Filter, nextSort } from "../table.mjs";
import { Badge, Choice, Link, Loading, NodeLink, PageHead, Section } from "../ui.mjs";
import { parseSort, topicPath } from "../url.mjs";

const SHOW = [["", "all"], ["differs", "differences"]];

const MARKS = {
  registered: ["ok", "registered"],
  missing: ["critical", "missing"],
  tombstoned: ["warning", "tombstoned"],
  stale: ["quiet", "no answer"],
};

export function RegistryPage() {
  const { doc } = useDocument("registry");
  const head = html`<${PageHead} title="Registry" actions=${html`<${ActionButton} action="create_topic" target=${{}} />`} />`;
  if (!doc) return html`${head}<${Loading} />`;
  if (doc.lookupds.length === 0) return html`${head}<p>There are no directories: the nodes were named to nsqadmin.</p>`;
  return html`${head}<${Agreement} doc=${doc} /><${Matrix} doc=${doc} /><${Inactive} inactive=${doc.inactive} />`;
}

function Agreement({ doc }) {
  const differing = Object.values(doc.registrations).filter((one) => one.differs);
  const { doc: summary } = useDocument("summary|lookupds,nodes");
  const silent = [...Object.values(summary?.lookupds ?? {}), ...Object.values(summary?.nodes ?? {})].filter(({ state }) => state !== "ok");
  if (differing.length === 0 && silent.length > 0) {
    return html`<p class="warning-text"><${Icon} name="warning" />Those that answer agree. Nothing is known of ${silent.map(({ address }) => address).join(", ")}.</p>`;
  }
  if (differing.length === 0) return html`<p class="all-well"><${Icon} name="ok" />All directories agree with each other and with the nodes.</p>`;
  return html`<ul class="attention">${differing.slice(0, 20).map((one) => html`<li key=${`${one.topic}@${one.node}`} class="warning">
    <${Icon} name="warning" /><span class="severity">warning</span><span>${one.why || `The directories differ about ${one.topic} at ${one.node}`}</span>
    <span class="row-actions"><${Repairs} registration=${one} /></span></li>`)}</ul>`;
}

function Repairs({ registration: { topic, node, repair } }) {
  return repair.map((action) => html`<${ActionButton} key=${action} quiet action=${action} target=${{ topic, node }} />`);
}

function Matrix({ doc }) {
  const { q = "", show = "", sort: text } = route.value.query;
  const sort = parseSort(text, "topic");
  const columns = columnsOf(doc.lookupds);
  const rows = Object.entries(doc.registrations)
    .filter(([, data]) => (show === "" || data.differs) && (q === "" || matches(`${data.topic} ${data.node}`, q)))
    .map(([key, data]) => ({ key, data, className: data.differs ? "differs" : "" }));
  return html`<${Section} id="registrations" title="Registrations">
    <div class="tools">
      <${Filter} label="Search topics and nodes" value=${q} onInput=${(value) => setQuery({ q: value })} />
      <${Choice} label="Rows" options=${SHOW} value=${show} onChange=${(id) => setQuery({ show: id })} />
    </div>
    <${DataTable} caption="Registrations" columns=${columns} rows=${rows} sort=${sort} orderKey=${`${q} ${show}`} empty=${show ? "No differences." : "Nothing is registered."}
      onSort=${(key) => setQuery({ sort: nextSort(columns, sort, key) })} />
  <//>`;
}

const columnsCache = new Map();

/** The same columns for the same directories: rows are drawn anew when their columns are others. */
function columnsOf(lookupds) {
  const id = lookupds.join(" ");
  if (!columnsCache.has(id)) columnsCache.set(id, makeColumns(lookupds));
  return columnsCache.get(id);
}

function makeColumns(lookupds) {
  return [
    { key: "topic", title: "Topic", value: ({ data }) => `${data.topic} ${data.node}`, cell: ({ data }) => html`<${Link} to=${topicPath(data.topic)}>${data.topic}<//>` },
    { key: "node", title: "Node", value: ({ data }) => data.node, cell: ({ data }) => html`<${NodeLink} address=${data.node} />` },
    { key: "has", title: "Has it", wide: "tablet", value: ({ data }) => String(data.has_topic), cell: ({ data }) => (data.has_topic === null ? html`<span class="quiet">unknown</span>` : data.has_topic ? "yes" : html`<${Badge} level="warning">no<//>`) },
    ...lookupds.map((lookupd) => ({
      key: lookupd, title: lookupd, wide: "tablet", value: ({ data }) => data.at[lookupd] ?? "", cell: ({ data }) => html`<${Mark} state=${data.at[lookupd]} />`,
    })),
    { key: "repair", title: html`<span class="visually-hidden">Repair</span>`, cell: ({ data }) => html`<span class="row-actions"><${Repairs} registration=${data} /></span>` },
  ];
}

function Mark({ state }) {
  const [level, text] = MARKS[state] ?? ["quiet", state ?? "–"];
  return state === "registered" ? html`<span class="quiet">${text}</span>` : html`<${Badge} level=${level}>${text}<//>`;
}

function Inactive({ inactive }) {
  const entries = Object.entries(inactive);
  if (entries.length === 0) return null;
  return html`<${Section} id="inactive" title="Topics that no node has">
    <table class="data"><caption class="visually-hidden">Topics that directories know and no node has</caption>
      <thead><tr><th scope="col">Topic</th><th scope="col">Channels</th><th scope="col" class="tablet">Known to</th><th scope="col"><span class="visually-hidden">Actions</span></th></tr></thead>
      <tbody>${entries.map(([topic, { channels, at }]) => html`<tr key=${topic}>
        <th scope="row">${topic}</th><td>${channels.join(", ") || "–"}</td><td class="mono tablet">${at.join(", ")}</td>
        <td><span class="row-actions"><${ActionButton} quiet action="delete_topic" target=${{ topic }} label="Delete" /></span></td></tr>`)}</tbody></table>
  <//>`;
}
