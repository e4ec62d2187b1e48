/** Everything at a glance: the verdict, what needs attention, and every topic and channel. */

import { ActionButton } from "../actions.mjs";
import { Sparkline, thinned, useHistory } from "../charts.mjs";
import { age, count, rate } from "../format.mjs";
import { html, useEffect } from "../html.mjs";
import { Icon } from "../icons.mjs";
import { now, useDocument } from "../live.mjs";
import { route, setQuery } from "../router.mjs";
import { matches, sortRows, sortTree } from "../rows.mjs";
import { DataTable, Filter, nextSort } from "../table.mjs";
import { Age, Attention, Choice, Flags, Link, Loading, counted, rated } from "../ui.mjs";
import { channelPath, parseSort, topicPath } from "../url.mjs";

const STATES = [
  ["", "all"],
  ["problems", "with problems"],
  ["paused", "paused"],
  ["no-consumers", "no consumers"],
  ["growing", "growing"],
];

const LEVELS = [["", "both"], ["topics", "topics"], ["channels", "channels"]];

const SPARK_POINTS = 60;

export function HomePage() {
  const { doc, t } = useDocument("summary");
  if (!doc) return html`<h1 tabindex="-1" class="visually-hidden">Topics and channels</h1><${Loading} />`;
  return html`
    <${Verdict} verdict=${doc.verdict} />
    <${Totals} totals=${doc.totals} t=${t} />
    ${doc.attention.length > 0 && html`<section class="section" aria-labelledby="attention">
      <div class="section-head"><h2 id="attention">Needs attention</h2></div>
      <${Attention} items=${doc.attention} />
    </section>`}
    <${TopicTable} doc=${doc} />`;
}

function Verdict({ verdict }) {
  useEffect(() => {
    const { critical, warning } = verdict.counts;
    document.title = critical + warning > 0 ? `(${critical + warning}) nsqx` : "nsqx";
  }, [verdict]);
  return html`<h1 tabindex="-1" class="verdict ${verdict.level}"><${Icon} name=${verdict.level} />${verdict.text}</h1>`;
}

function Totals({ totals, t }) {
  const history = useHistory("total", "10m", totals, t);
  const values = (name) => thinned(history?.metrics[name] ?? [], SPARK_POINTS);
  // Drawn anew when a point is there; the arrays of the history are the same ones.
  return html`<dl class="tiles">
    <${Tile} label="in" unit="/s" value=${rate(totals.in)} spark=${values("in")} tone="in" />
    <${Tile} label="out" unit="/s" value=${rate(totals.out)} spark=${values("out")} tone="out" />
    <${Tile} label="depth" value=${count(totals.depth)} spark=${values("depth")} tone="depth" />
    <${Tile} label="in flight" value=${count(totals.in_flight)} note=${totals.deferred ? `${count(totals.deferred)} deferred` : ""} />
    <${Tile} label="oldest" value=${totals.oldest_at === null ? "–" : age(now.value - totals.oldest_at)} />
    <${Tile} label="consumers" value=${count(totals.clients)} spark=${values("clients")} tone="in" />
    <${Tile} label="nodes" value=${`${totals.nodes_up} of ${totals.nodes}`} level=${totals.nodes_up < totals.nodes ? "critical" : ""}
      note=${totals.lookupds ? `${totals.lookupds_up} of ${totals.lookupds} directories` : ""} />
  </dl>`;
}

function Tile({ label, unit, value, spark, tone, note, level }) {
  return html`<div class="tile ${level ?? ""}">
    <dt>${label}</dt>
    <dd><span class="value">${value}</span>${unit && html`<span class="unit">${unit}</span>`}
      ${note && html`<span class="note">${note}</span>`}
      ${spark && html`<${Sparkline} values=${spark} tone=${tone} />`}</dd>
  </div>`;
}

function TopicTable({ doc }) {
  const { q = "", sort = "", state = "", show = "" } = route.value.query;
  const order = parseSort(sort, "name");
  const all = rowsOf(doc);
  const rows = q || state || show ? all.filter((row) => isShown(row, q, state, show)) : all;
  const arrange = show === "" ? sortTree : sortRows;
  const topics = Object.keys(doc.topics).length;
  return html`<section class="section" aria-labelledby="topics">
    <div class="section-head">
      <h2 id="topics">Topics and channels</h2>
      <span class="quiet shown">${rows.length} of ${topics + Object.keys(doc.channels).length}</span>
      <${ActionButton} action="create_topic" target=${{}} quiet />
    </div>
    <div class="tools">
      <${Filter} label="Search topics and channels" value=${q} onInput=${(text) => setQuery({ q: text })} />
      <${Choice} label="State" options=${STATES} value=${state} onChange=${(id) => setQuery({ state: id })} />
      <${Choice} label="Rows" options=${LEVELS} value=${show} onChange=${(id) => setQuery({ show: id })} />
    </div>
    <${DataTable} caption="Topics and channels" columns=${COLUMNS} rows=${rows === all ? all : orphansToTop(rows, arrange)} sort=${order} arrange=${arrange}
      orderKey=${`${q} ${state} ${show}`} empty=${topics === 0 ? "No topics yet. A topic begins with its first message." : "Nothing matches"}
      onSort=${(key) => setQuery({ sort: nextSort(COLUMNS, order, key) })} />
  </section>`;
}

const COLUMNS = [
  { key: "name", title: "Name", still: true, value: (row) => row.key, cell: (row) => html`<${Name} row=${row} />` },
  { key: "state", title: "State", wide: "tablet", value: ({ data }) => -problemsOf(data), cell: ({ data }) => html`<${Flags} flags=${data.flags} />` },
  { key: "depth", title: "Depth", number: true, hint: "Messages that wait", value: depthOf, cell: (row) => counted(depthOf(row)) },
  { key: "oldest", title: "Oldest", number: true, wide: "tablet", hint: "Since when the oldest unfinished message waits",
    value: ({ data }) => (data.oldest_at === null ? null : -data.oldest_at), cell: ({ data }) => html`<${Age} at=${data.oldest_at} />` },
  { key: "in", title: "In /s", number: true, wide: "tablet", value: ({ data }) => data.in, cell: ({ data }) => rated(data.in) },
  { key: "out", title: "Out /s", number: true, value: ({ data }) => data.out, cell: ({ data }) => rated(data.out) },
  { key: "in_flight", title: "In flight", number: true, wide: "tablet", value: ({ data }) => data.in_flight, cell: ({ data }) => counted(data.in_flight) },
  { key: "deferred", title: "Deferred", number: true, wide: "desk", value: ({ data }) => data.deferred, cell: ({ data }) => counted(data.deferred) },
  { key: "requeues", title: "Requeues /s", number: true, wide: "desk", value: ({ data }) => data.requeues, cell: ({ data }) => rated(data.requeues) },
  { key: "timeouts", title: "Timeouts /s", number: true, wide: "desk", value: ({ data }) => data.timeouts, cell: ({ data }) => rated(data.timeouts) },
  { key: "clients", title: "Consumers", number: true, wide: "tablet", value: ({ data }) => data.clients, cell: ({ data }) => counted(data.clients) },
  { key: "nodes", title: "Nodes", number: true, wide: "desk", value: ({ data }) => data.nodes, cell: ({ data }) => counted(data.nodes) },
];

function Name({ row }) {
  const { topic, channel, data } = row;
  const mark = worst(data.flags);
  const dot = mark && html`<i class="dot ${mark}" aria-hidden="true"></i>`;
  if (channel === null) return html`<${Link} to=${topicPath(topic)} class="topic-name"><${Dotted} name=${topic} />${dot}<//>`;
  return html`<${Link} to=${channelPath(topic, channel)} class="channel-name" aria-label=${row.key}>
    <span class="of-topic">${topic}/</span>${channel}${dot}<//>`;
}

/** Families of topics (a.b.c) show their own part strongest. */
function Dotted({ name }) {
  const at = name.lastIndexOf(".") + 1;
  return at === 0 ? name : html`<span class="prefix">${name.slice(0, at)}</span>${name.slice(at)}`;
}

/** A small mark beside the name, for where the column of states has no room. */
function worst(flags) {
  if (flags.includes("stuck")) return "critical";
  return flags.some((flag) => flag !== "paused") ? "warning" : "";
}

function depthOf({ channel, data }) {
  return channel === null ? data.total_depth : data.depth;
}

/**
 * The rows of the document, the same array of the same objects for as long as the names are the
 * same: with thousands of channels this is what each second would be spent on.
 */
let known = { rows: [], byKey: new Map() };

function rowsOf({ topics, channels }) {
  let isSame = known.rows.length === Object.keys(topics).length + Object.keys(channels).length;
  for (const section of [topics, channels]) {
    for (const key in section) {
      const row = known.byKey.get(key);
      if (row === undefined) isSame = false;
      else row.data = section[key];
    }
  }
  if (!isSame) known = madeRows(topics, channels);
  return known.rows;
}

function madeRows(topics, channels) {
  const rows = [
    ...Object.keys(topics).map((topic) => ({ key: topic, parent: null, topic, channel: null, data: topics[topic], className: "topic-row" })),
    ...Object.keys(channels).map((key) => {
      const topic = key.slice(0, key.indexOf("/"));
      return { key, parent: topic, topic, channel: key.slice(topic.length + 1), data: channels[key], className: "channel-row" };
    }),
  ];
  return { rows, byKey: new Map(rows.map((row) => [row.key, row])) };
}

function problemsOf(data) {
  return data.flags.filter((flag) => flag !== "paused").length;
}

function isShown(row, search, state, show) {
  if (show === "topics" && row.channel !== null) return false;
  if (show === "channels" && row.channel === null) return false;
  if (state === "problems" ? problemsOf(row.data) === 0 : state !== "" && !row.data.flags.includes(state)) return false;
  return search === "" || matches(row.key, search);
}

/** A channel whose topic is filtered out stands alone, or the tree would lose it. */
function orphansToTop(rows, arrange) {
  if (arrange !== sortTree) return rows;
  const topics = new Set(rows.filter((row) => row.parent === null).map((row) => row.key));
  return rows.map((row) => (row.parent === null || topics.has(row.parent) ? row : alone(row)));
}

const aloneCache = new WeakMap();

function alone(row) {
  if (!aloneCache.has(row)) aloneCache.set(row, { ...row, parent: null, className: "channel-row alone" });
  return Object.assign(aloneCache.get(row), { data: row.data });
}
