/** The small parts that pages are made of. */

import { postJson } from "./api.mjs";
import { age, clockTime, count, exactTime, rate } from "./format.mjs";
import { html, memo, useEffect, useState } from "./html.mjs";
import { Icon } from "./icons.mjs";
import { me, now } from "./live.mjs";
import { href } from "./router.mjs";
import { nodePath } from "./url.mjs";

const ATTENTION_MAX = 100;

/** What a flag means to people, and how urgent it is. */
export const FLAGS = {
  paused: ["paused", "quiet"],
  "no-consumers": ["no consumers", "warning"],
  growing: ["growing", "warning"],
  stuck: ["stuck", "critical"],
  old: ["old messages", "warning"],
  requeues: ["many requeues", "warning"],
  timeouts: ["many timeouts", "warning"],
  "no-channels": ["no channels", "warning"],
  "no-producer": ["no node has it", "warning"],
  stale: ["partly stale", "warning"],
};

export function Link({ to, children, ...rest }) {
  return html`<a href=${href(to)} ...${rest}>${children}</a>`;
}

/** How long ago something was, kept counting. `at` in seconds by the server's clock. */
export function Age({ at, none = "–" }) {
  if (at === null || at === undefined) return html`<span class="quiet">${none}</span>`;
  return html`<time title=${exactTime(at)}>${age(now.value - at)}</time>`;
}

/** When something was: the time of day, with the date when it was not today. */
export function Moment({ at }) {
  if (at === null || at === undefined) return html`<span class="quiet">–</span>`;
  return html`<time title=${exactTime(at)}>${clockTime(at, now.value)}</time>`;
}

/** A mark with a word. Level: ok, quiet, warning, critical. */
export function Badge({ level, children, title }) {
  return html`<span class="badge ${level}" title=${title}>${children}</span>`;
}

export const Flags = memo(({ flags }) => flags.map((flag) => {
  const [text, level] = FLAGS[flag] ?? [flag, "warning"];
  return html`<${Badge} key=${flag} level=${level}>${text}<//>`;
}));

/** The state of a node or lookupd: "ok", or since when its numbers are. */
export function SourceState({ source }) {
  const { state, observed_at: at, error } = source;
  if (state === "ok") return html`<${Badge} level="ok">ok<//>`;
  if (state === "waiting") return html`<${Badge} level="quiet">asking<//>`;
  if (state === "stale") return html`<${Badge} level="critical" title=${error}>stale <${Age} at=${at} /><//>`;
  return html`<${Badge} level="critical" title=${error}>unreachable<//>`;
}

/**
 * A number for a cell of a table; zero is grey, so that what is not stands out less. A function and
 * no component: hundreds of these are drawn each second.
 */
export function counted(value) {
  return html`<span class=${value ? "" : "quiet"}>${count(value)}</span>`;
}

export function rated(value) {
  return html`<span class=${value ? "" : "quiet"}>${rate(value)}</span>`;
}

export function Figure({ label, children, note, level }) {
  return html`<div class="figure ${level ?? ""}">
    <dt>${label}</dt>
    <dd><span class="value">${children}</span>${note && html`<span class="note">${note}</span>`}</dd>
  </div>`;
}

export function Section({ title, id, children, tools }) {
  return html`<section class="section" aria-labelledby=${id}>
    <div class="section-head"><h2 id=${id}>${title}</h2>${tools}</div>
    ${children}
  </section>`;
}

/** The head of a page: where one is, what it is called, what is wrong with it, what one can do. */
export function PageHead({ title, crumbs = [], badges, attention, actions, children }) {
  useEffect(() => {
    document.title = `${title} · nsqx`;
  }, [title]);
  return html`<header class="page-head">
    ${crumbs.length > 0 && html`<nav class="crumbs" aria-label="Where you are">
      <ol>${crumbs.map(([text, to]) => html`<li key=${to}><${Link} to=${to}>${text}<//></li>`)}</ol>
    </nav>`}
    <div class="page-title">
      <h1 tabindex="-1">${title}</h1>
      ${badges}
    </div>
    ${attention && attention.length > 0 && html`<div class="page-attention"><${Attention} items=${attention} /></div>`}
    ${actions && html`<div class="page-actions">${actions}</div>`}
    ${children && html`<div class="page-tabs">${children}</div>`}
  </header>`;
}

export function Tabs({ label, tabs, current }) {
  return html`<nav class="tabs" aria-label=${label}>
    ${tabs.map(([text, to, id]) => html`<${Link} key=${to} to=${to} aria-current=${id === current ? "page" : null}>${text}<//>`)}
  </nav>`;
}

/** A choice of one among few, as buttons. */
export function Choice({ label, options, value, onChange }) {
  return html`<div class="choice" role="group" aria-label=${label}>
    ${options.map(([id, text]) => html`<button key=${id} type="button" aria-pressed=${String(id === value)}
      onClick=${() => onChange(id)}>${text}</button>`)}
  </div>`;
}

/** A text that is asked for when it is entered, not with each letter. `isFilter`: `/` goes there. */
export function EnteredText({ label, value, onChange, placeholder, isFilter }) {
  const [text, setText] = useState(value);
  return html`<label class="field grow"><span>${label}</span>
    <input type="search" class=${isFilter ? "" : "mono"} data-filter=${isFilter ? "" : undefined} value=${text} placeholder=${placeholder} spellcheck="false" autocomplete="off"
      onInput=${(event) => setText(event.target.value)} onChange=${() => onChange(text)} /></label>`;
}

/** The most urgent of `all` that need attention. `onMore` is offered where there are more. */
export function Attention({ items, nothing, all = items.length, onMore }) {
  if (items.length === 0) return nothing ? html`<p class="all-well"><${Icon} name="ok" />${nothing}</p>` : null;
  const shown = items.slice(0, ATTENTION_MAX);
  const more = all - shown.length;
  return html`<ul class="attention">
    ${shown.map((item) => html`<li key=${item.id} class=${item.is_known ? "quiet" : item.severity}>
      <${Icon} name=${item.severity} />
      <span class="severity">${item.severity}</span>
      <${Link} to=${item.page || "/"}>${item.text}<//>
      <span class="since">${item.is_older ? "for at least" : "for"} <${Age} at=${item.since} /></span>
      <${Marks} item=${item} />
    </li>`)}
  </ul>
  ${more > 0 && html`<p class="more">${onMore
    ? html`<button type="button" class="link-button" onClick=${onMore}>and ${count(more)} more</button>`
    : html`<span class="quiet">and ${count(more)} more</span>`}
    ${" "}<${Link} to="/?state=problems">All with problems, in the table<//></p>`}`;
}

/** Who knows of a problem, and to say so. */
function Marks({ item: { id, is_known: isKnown, acknowledged_by: by, silenced_until: until } }) {
  const [error, setError] = useState(null);
  const mark = (name) => postJson("attention", { id, mark: name }).then(() => setError(null), setError);
  const button = (name, text, title) => html`<button type="button" class="link-button" title=${title} onClick=${() => mark(name)}>${text}</button> `;
  return html`<span class="row-actions">
    ${isKnown && html`<span class="quiet">${until === null ? "known" : html`silent until <${Moment} at=${until} />`} (${by})</span> `}
    ${me.value?.may.includes("operate") && (isKnown ? button("clear", "Undo", "It counts again") : html`${button("acknowledge", "Acknowledge", "It does not count until it is gone")}${button("silence", "Silence 1 h", "It does not count for an hour")}`)}
    ${error && html`<span role="alert">${error.message}</span>`}</span>`;
}

/** A node is called by its HTTP address on every page: a host may have several. Without room it loses its host's end, not its port. */
export function NodeLink({ address }) {
  const port = address.lastIndexOf(":");
  return html`<${Link} to=${nodePath(address)} class="mono node-link" aria-label=${address} title=${address}><span>${address.slice(0, port)}</span><span>${address.slice(port)}</span><//>`;
}

export function Loading() {
  return html`<p class="loading" role="status">Waiting for the first numbers</p>`;
}

export function Missing({ what, hint }) {
  return html`<${PageHead} title="Not found" />
    <p>${what}</p>
    ${hint}
    <p><${Link} to="/">All topics and channels<//></p>`;
}

export function Problem({ error }) {
  return html`<p class="problem" role="alert"><${Icon} name="critical" />${error.message}</p>`;
}
