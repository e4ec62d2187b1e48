/** Everything at a glance: the verdict, what needs attention, and every topic and channel. */

import { ActionButton } from "../actions.mjs";
import { Sparkline, useHistory } from "../charts.mjs";
import { age, count, growthRate, plural, rate, roughAge } from "../format.mjs";
import { VALUES, depthOf, flagsOf } from "../home-rows.mjs";
import { html, memo, useEffect } from "../html.mjs";
import { Icon } from "../icons.mjs";
import { now, useDocument, useView, viewNow } from "../live.mjs";
import { rateTitle } from "../number-columns.mjs";
import { CHANNEL_NUMBERS, TOPIC_NUMBERS } from "../numbers.mjs";
import { route, setQuery } from "../router.mjs";
import { thinned } from "../series.mjs";
import { Filter, Table, nextSort, useTablePlace } from "../table.mjs";
import { Attention, Badge, Choice, FLAGS, Flags, Link, Loading } from "../ui.mjs";
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
/** With fewer rows all of them are on screen, and nothing has to be picked out. */
const MOVERS_ROWS_MIN = 20;
/** What needs attention the most, and what of it is shown on request; the table has the rest. */
const ATTENTION = 8;
const ATTENTION_MAX = 100;
/** Asked for before it is known how many there are. */
const FIRST_ROWS = 30;

export function HomePage() {
  const { doc, t } = useDocument("summary|verdict,totals");
  const { query } = route.value;
  const { q = "", state = "", show = "", group = "", open = "", problems = "" } = query;
  const sort = parseSort(query.sort, "name");
  const place = useTablePlace(viewNow("home")?.total ?? 0);
  const [first, last] = place.range;
  const shown = useView("home", { q, state, show, group, open: open.split(","), sort, first, last: last || FIRST_ROWS, attention: problems === "" ? ATTENTION : ATTENTION_MAX, busy: place.isBusy });
  if (!doc || shown === null) return html`<h1 tabindex="-1" class="visually-hidden">Topics and channels</h1><${Loading} />`;
  return html`
    <${Verdict} verdict=${doc.verdict} />
    <${Totals} totals=${doc.totals} t=${t} />
    ${shown.problems > 0 && html`<section class="section" aria-labelledby="attention">
      <div class="section-head"><h2 id="attention">Needs attention</h2></div>
      <${Attention} items=${shown.attention} all=${shown.problems} onMore=${problems === "" ? showMore : undefined} />
    </section>`}
    ${shown.all >= MOVERS_ROWS_MIN && html`<${Movers} movers=${shown.movers} isKnown=${doc.totals.in !== null} />`}
    <section class="section" aria-labelledby="topics">
      <div class="section-head">
        <h2 id="topics">Topics and channels</h2>
        <span class="quiet shown">${shown.found} of ${shown.all}</span>
        <${ActionButton} action="create_topic" target=${NOTHING} quiet />
      </div>
      <${Tools} q=${q} state=${state} show=${show} group=${group} />
      <${Rows} shown=${shown} sort=${sort} place=${place} isKnown=${doc.totals.topics !== null} />
    </section>`;
}

function showMore() {
  setQuery({ problems: "more" });
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
    <${Tile} label="oldest" value=${totals.oldest_at === null ? "–" : roughAge(now.value - totals.oldest_at)} />
    <${Tile} label="consumers" value=${count(totals.clients)} spark=${values("clients")} tone="in" />
    <${Tile} label="nodes" value=${totals.nodes === null ? "–" : `${totals.nodes_up} of ${totals.nodes}`} level=${totals.nodes_up < totals.nodes ? "critical" : ""}
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

/** Whose backlog fills and empties the fastest, and where the most is published. */
function Movers({ movers, isKnown }) {
  const nothing = (text) => (isKnown ? text : "Not known: no node tells");
  return html`<section class="section" aria-labelledby="movers">
    <div class="section-head"><h2 id="movers">Movers</h2></div>
    <div class="movers">
      <${MoverList} title="Filling" nothing=${nothing("No backlog grows")} entries=${movers.filling} show=${growthRate} />
      <${MoverList} title="Draining" nothing=${nothing("No backlog shrinks")} entries=${movers.draining} show=${growthRate} />
      <${MoverList} title="Busiest topics" nothing=${nothing("Nothing is published")} entries=${movers.busiest} show=${rate} />
    </div>
  </section>`;
}

function MoverList({ title, nothing, entries, show }) {
  return html`<div class="mover-list">
    <h3>${title} <span class="quiet">a second</span></h3>
    ${entries.length === 0 ? html`<p class="quiet">${nothing}</p>` : html`<ol>${entries.map(({ key, topic, channel, value }) => html`<li key=${key}>
      <${Link} to=${channel === null ? topicPath(topic) : channelPath(topic, channel)} title=${key}>${key}<//><span class="mover-value">${show(value)}</span></li>`)}</ol>`}
  </div>`;
}

const Tools = memo(({ q, state, show, group }) => html`<div class="tools">
  <${Filter} label="Search topics and channels" value=${q} onInput=${(text) => setQuery({ q: text })} />
  <${Choice} label="State" options=${STATES} value=${state} onChange=${(id) => setQuery({ state: id })} />
  <${Choice} label="Rows" options=${LEVELS} value=${show} onChange=${(id) => setQuery({ show: id })} />
  <button type="button" class="button toggle" aria-pressed=${String(group !== "")} title="Topics whose names begin alike, up to the first dot"
    onClick=${() => setQuery({ group: group === "" ? "prefix" : null, open: null })}>Group by prefix</button>
</div>`);

function Rows({ shown, sort, place, isKnown }) {
  // The ages among the numbers go on without news.
  const time = now.value;
  if (shown.total === 0) return html`<p class="empty">${shown.topics > 0 ? "Nothing matches" : isKnown ? "No topics yet. A topic begins with its first message." : "Whether there are topics is not known: no directory has answered yet."}</p>`;
  return html`<${Table} caption="Topics and channels" columns=${columnsWith(shown.others)} rows=${shown.rows.map(dressed)} first=${shown.first} total=${shown.total}
    sort=${sort} onSort=${sortBy} place=${place} time=${time} isFixed />`;
}

/** With how it looks: `look` is all that can change about the cells that are not plain text. */
function dressed(row) {
  const { level, channel, group, data } = row;
  const kind = group ? "group-row" : channel === null ? "topic-row" : level === 0 ? "channel-row alone" : "channel-row";
  const className = `${kind} level-${level}`;
  return { ...row, className, look: `${className} ${flagsOf(row).join()} ${group ? `${group.size} ${group.problems} ${group.isOpen}` : ""}` };
}

function sortBy(key) {
  setQuery({ sort: nextSort(columns, parseSort(route.value.query.sort, "name"), key) });
}

const NOTHING = {};
const NUMBERS = { ...TOPIC_NUMBERS, ...CHANNEL_NUMBERS };
const number = (key, title, wide, text, hint) => ({ key, title, wide, hint, number: true, value: VALUES[key], text });
/** @type {(key: string, wide: string, text?: (row: any) => string) => object} */
const known = (key, wide, text = ({ data }) => countOf(data[key])) => number(key, NUMBERS[key].title, wide, text, NUMBERS[key].help);
const flow = (key, wide) => number(key, rateTitle(key), wide, ({ data }) => rate(data[key]));
const countOf = (value) => (value === undefined ? "" : count(value));

const COLUMNS = [
  { key: "name", title: "Name", value: VALUES.name, cell: (row) => html`<${Name} row=${row} />` },
  { key: "state", title: "State", wide: "tablet", value: VALUES.state, cell: (row) => html`<${State} row=${row} />` },
  known("depth", "phone", (row) => count(depthOf(row))),
  number("oldest", "Oldest", "tablet", ({ data }) => (data.oldest_at === null ? "–" : age(now.value - data.oldest_at)), "Since when the oldest unfinished message waits"),
  flow("in", "tablet"),
  flow("out", "phone"),
  known("in_flight", "tablet"),
  known("deferred", "desk"),
  flow("requeues", "desk"),
  flow("timeouts", "desk"),
  known("clients", "tablet"),
  number("nodes", "Nodes", "desk", ({ data, group }) => (group ? "" : count(data.nodes))),
];

/** The same array as long as the same columns are shown: tables are drawn anew for another one. */
let columns = COLUMNS;
let added = "";
function columnsWith(others) {
  if (others.join() !== added) {
    added = others.join();
    columns = [...COLUMNS, ...others.map((name) => known(name, "desk"))];
  }
  return columns;
}

function Name({ row }) {
  const { topic, channel, data, group } = row;
  if (group) return html`<${GroupName} group=${group} level=${worst(data.flags) || "warning"} />`;
  const mark = worst(flagsOf(row));
  const dot = mark && html`<i class="dot ${mark}" aria-hidden="true"></i>`;
  if (channel === null) return html`<${Link} to=${topicPath(topic)} class="topic-name" title=${topic}><${Dotted} name=${topic} />${dot}<//>`;
  return html`<${Link} to=${channelPath(topic, channel)} class="channel-name" aria-label=${row.key} title=${row.key}>
    <span class="of-topic">${topic}/</span>${channel}${dot}<//>`;
}

function GroupName({ group: { prefix, size, problems, noun, isOpen }, level }) {
  return html`<button type="button" class="group-name row-link" aria-expanded=${String(isOpen)} onClick=${() => toggleGroup(prefix)}>
    <${Icon} name=${isOpen ? "down" : "right"} /><b>${prefix}</b><span class="quiet">${plural(size, noun)}</span>${problems > 0 && html`<i class="dot ${level}" aria-hidden="true"></i>`}</button>`;
}

function toggleGroup(prefix) {
  const open = (route.value.query.open ?? "").split(",").filter(Boolean);
  setQuery({ open: (open.includes(prefix) ? open.filter((one) => one !== prefix) : [...open, prefix]).join(",") });
}

function State({ row }) {
  const { group } = row;
  if (!group) return html`<${MainFlag} flags=${flagsOf(row)} />`;
  const level = worst(row.data.flags) || "warning";
  return group.problems > 0 && html`<${Badge} level=${level}>${group.problems} with problems<//>`;
}

/** The most urgent flag, whether it is paused, and how many more there are: all of them have no room. */
function MainFlag({ flags }) {
  const isPaused = flags.includes("paused");
  const [first, ...others] = flags.filter((flag) => flag !== "paused").toSorted((a, b) => urgency(b) - urgency(a));
  if (first === undefined && !isPaused) return null;
  const names = others.map((flag) => FLAGS[flag]?.[0] ?? flag).join(", ");
  const shown = [...(first === undefined ? [] : [first]), ...(isPaused ? ["paused"] : [])];
  return html`<${Flags} flags=${shown} />${names && html`<span class="quiet" title=${names}>+${others.length}<span class="visually-hidden"> ${names}</span></span>`}`;
}

function urgency(flag) {
  return ["quiet", "warning", "critical"].indexOf(FLAGS[flag]?.[1] ?? "warning");
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
