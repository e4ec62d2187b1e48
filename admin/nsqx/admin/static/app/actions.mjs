/**
 * What can be done to topics, channels and nodes.
 *
 * Every action first shows what it would do, as the server counts it; what destroys wants the name
 * typed; then each node's result is shown, and those that failed can be tried again.
 */

import { ApiError, idempotencyKey, postJson } from "./api.mjs";
import { Dialog, closeDialog, openDialog, takeFocus } from "./dialogs.mjs";
import { nodeText, plural } from "./format.mjs";
import { html, signal, useEffect, useRef, useState } from "./html.mjs";
import { Icon } from "./icons.mjs";
import { me, useDocument } from "./live.mjs";
import { route, navigate } from "./router.mjs";
import { Badge, Problem } from "./ui.mjs";
import { channelPath, topicPath } from "./url.mjs";

/**
 * title: what it is called; right: which of `me.may` it needs; danger: it destroys;
 * fields: what has to be said besides the topic, channel and node it is opened for;
 * after: the path to go to when it is done and its page is gone.
 */
export const ACTIONS = {
  create_topic: { title: "Create topic", right: "operate", fields: ["topic", "nodes?"], after: ({ topic }) => topicPath(topic) },
  create_channel: { title: "Create channel", right: "operate", fields: ["channel", "from?"], after: ({ topic, channel }) => channelPath(topic, channel) },
  pause_topic: { title: "Pause topic", right: "operate" },
  unpause_topic: { title: "Unpause topic", right: "operate" },
  empty_topic: { title: "Empty topic", right: "administer", danger: true },
  delete_topic: { title: "Delete topic", right: "administer", danger: true, after: () => "/" },
  pause_channel: { title: "Pause channel", right: "operate" },
  unpause_channel: { title: "Unpause channel", right: "operate" },
  empty_channel: { title: "Empty channel", right: "operate", danger: true },
  delete_channel: { title: "Delete channel", right: "administer", danger: true, after: ({ topic }) => topicPath(topic) },
  seek: { title: "Seek", right: "operate", fields: ["to"], danger: true },
  replay: { title: "Replay into a new channel", right: "operate", fields: ["new_channel", "from"], after: ({ topic, new_channel: name }) => channelPath(topic, name) },
  configure_topic: { title: "Change setting", right: "administer", fields: ["value"] },
  configure_channel: { title: "Change setting", right: "operate", fields: ["value"] },
  tombstone: { title: "Tombstone", right: "administer", danger: true },
  register_topic: { title: "Register again", right: "operate" },
};

/** How many settings were changed: for who shows them, and asks again. */
export const configured = signal(0);

const FIELDS = {
  topic: { label: "Topic" },
  channel: { label: "Channel" },
  new_channel: { label: "Name of the new channel" },
  from: { label: "Begin at", place: "start" },
  to: { label: "Go on at", place: "end" },
  value: { label: "New value; default gives back the node's" },
  nodes: { label: "On", none: "the node that first gets a message" },
};

const PLACES = [
  ["start", "the oldest message"],
  ["end", "the newest message"],
  ["-", "a time ago"],
  ["time", "a moment"],
  ["id", "a message by its id"],
  ["seq", "a message by its number"],
];

/** Places that only turning pages gives. */
const TURNED = new Set(["before", "after"]);

export function may(right) {
  return me.value?.may.includes(right) ?? false;
}

/** A button that opens the action; nothing for whom it is forbidden. */
export function ActionButton({ action, target, label, quiet }) {
  const { title, right, danger } = ACTIONS[action];
  if (!may(right)) return null;
  return html`<button type="button" class="button ${danger ? "danger" : ""} ${quiet ? "small" : ""}"
    onClick=${() => openAction(action, target)}>${label ?? title}</button>`;
}

export function openAction(action, target) {
  openDialog(() => html`<${ActionDialog} key=${`${action} ${JSON.stringify(target)}`} action=${action} target=${target} />`);
}

function ActionDialog({ action, target }) {
  const about = ACTIONS[action];
  const fields = (about.fields ?? []).filter((name) => target[name.replace("?", "")] === undefined);
  const [given, setGiven] = useState(() => defaultsOf(fields));
  const [typed, setTyped] = useState("");
  const [outcome, setOutcome] = useState(/** @type {{ state: string, results?: any[], error?: Error }} */ ({ state: "asking" }));
  const [key] = useState(idempotencyKey);
  const request = { action, ...target, ...withoutEmpty(given) };
  const complete = fields.every((name) => name.endsWith("?") || given[name]);
  const impact = useImpact(request, complete && outcome.state === "asking");

  const run = async (nodes) => {
    const before = outcome.results ?? [];
    setOutcome({ state: "running", results: before });
    try {
      const retry = nodes.length > 0;
      const answer = await postJson("actions", {
        ...request, ...(retry && { nodes }), confirm: impact.value?.confirm || undefined,
        idempotency_key: retry ? idempotencyKey() : key,
      });
      const kept = before.filter((result) => retry && !nodes.includes(result.node));
      setOutcome({ state: "done", results: [...kept, ...answer.results] });
    } catch (error) {
      // It was done nowhere: what each node said about that is the answer.
      const results = error instanceof ApiError ? error.body?.results : undefined;
      setOutcome(results ? { state: "done", results } : { state: "asking", error, results: before });
    }
  };
  const submit = (event) => {
    event.preventDefault();
    if (outcome.state === "asking") run([]);
  };
  const confirm = impact.value?.destructive ? impact.value.confirm : "";
  const ready = complete && impact.value?.allowed && (!confirm || typed === confirm);
  const submitButton = useRef(null);
  const isEnough = ready && fields.length === 0 && !about.danger;
  useEffect(() => {
    // Before it can be pressed it cannot have the focus.
    if (isEnough) takeFocus(submitButton.current);
  }, [isEnough]);

  return html`<${Dialog} title=${`${about.title}${subject(target)}`} className="action">
    ${outcome.state === "done"
      ? html`<${Results} results=${outcome.results} onRetry=${run} onDone=${() => finish(about, request, outcome.results)} />`
      : html`<form onSubmit=${submit}>
        ${fields.map((name) => html`<${Field} key=${name} name=${name} value=${given[name]}
          onChange=${(value) => setGiven((before) => ({ ...before, [name]: value }))} />`)}
        <${Impact} impact=${impact} />
        ${confirm && html`<label class="field">
          <span>Type <b class="mono">${confirm}</b> to confirm</span>
          <input class="mono" autocomplete="off" autocapitalize="off" spellcheck="false" ref=${fields.length === 0 ? takeFocus : null}
            value=${typed} onInput=${(event) => setTyped(event.target.value)} />
        </label>`}
        ${outcome.error && html`<${Problem} error=${outcome.error} />`}
        <div class="dialog-buttons">
          <button type="button" class="button" onClick=${closeDialog}>Cancel</button>
          <button type="submit" class="button ${about.danger ? "danger solid" : "primary"}" ref=${submitButton}
            disabled=${!ready || outcome.state === "running"}>${outcome.state === "running" ? "Asking the nodes" : about.title}</button>
        </div>
        ${impact.value?.command && html`<details class="command"><summary>The same from a shell</summary><pre tabindex="0">${impact.value.command}</pre></details>`}
      </form>`}
  <//>`;
}

/** What the server says the action would do; asked again when the request changes. */
function useImpact(request, wanted) {
  const [impact, setImpact] = useState({ value: null, error: null });
  const text = JSON.stringify(request);
  useEffect(() => {
    if (!wanted) return undefined;
    let current = true;
    const timer = setTimeout(() => {
      postJson("actions", { ...JSON.parse(text), dry_run: true }).then(
        (value) => { if (current) setImpact({ value, error: null }); },
        (error) => { if (current) setImpact({ value: null, error }); },
      );
    }, impact.value === null && impact.error === null ? 0 : 250);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [text, wanted]);
  return impact;
}

function Impact({ impact: { value, error } }) {
  if (error) return html`<${Problem} error=${error} />`;
  if (value === null) return html`<p class="impact quiet">Counting what this would change</p>`;
  const { text, nodes, stale } = value.impact;
  return html`<div class="impact ${value.destructive ? "destructive" : ""}">
    <p><${Icon} name=${value.destructive ? "critical" : "right"} /><strong>${text}</strong></p>
    ${nodes.length > 0 && html`<p class="quiet">On ${plural(nodes.length, "node")}: <span class="mono">${nodes.join(", ")}</span></p>`}
    ${stale.length > 0 && html`<p class="warning-text">No answer at present from <span class="mono">${stale.join(", ")}</span>: the numbers are old, and it may fail there.</p>`}
    ${!value.allowed && html`<p class="warning-text">This needs the role ${value.role}.</p>`}
  </div>`;
}

/** Each node's answer, and what can be tried again. */
export function Results({ results, onRetry, onDone }) {
  const failed = results.filter((result) => !result.ok);
  return html`<div class="results">
    <p role="status" class=${failed.length ? "warning-text" : "ok-text"}>
      <${Icon} name=${failed.length ? "warning" : "ok"} />
      ${failed.length ? `Failed on ${failed.length} of ${results.length}` : `Done on ${results.length}`}
    </p>
    <table class="data"><caption class="visually-hidden">What each answered</caption>
      <thead><tr><th scope="col">Where</th><th scope="col">Result</th><th scope="col" class="number">Took</th></tr></thead>
      <tbody>${results.map((result) => html`<tr key=${result.node}>
        <th scope="row" class="mono">${result.node}</th>
        <td>${result.ok ? html`<${Badge} level="ok">done<//>` : html`<${Badge} level="critical">failed<//> ${result.error}`}</td>
        <td class="number">${Math.round(result.ms)} ms</td>
      </tr>`)}</tbody>
    </table>
    <div class="dialog-buttons">
      ${failed.length > 0 && onRetry && html`<button type="button" class="button" onClick=${() => onRetry(failed.map((result) => result.node))}>Try the failed again</button>`}
      <button type="button" class="button primary" ref=${takeFocus} onClick=${onDone}>Done</button>
    </div>
  </div>`;
}

function Field({ name, value, onChange }) {
  const { label, place, none } = FIELDS[name.replace("?", "")];
  if (none) return html`<${NodeField} label=${label} none=${none} value=${value} onChange=${onChange} />`;
  if (place) return html`<${PlaceField} label=${label} value=${value} optional=${name.endsWith("?")} onChange=${onChange} />`;
  return html`<label class="field"><span>${label}</span>
    <input class="mono" value=${value} maxlength="64" autocomplete="off" autocapitalize="off" spellcheck="false" autofocus onInput=${(event) => onChange(event.target.value.trim())} />
  </label>`;
}

function NodeField({ label, none, value, onChange }) {
  const { doc } = useDocument("summary|nodes");
  return html`<label class="field"><span>${label}</span>
    <select value=${value} onChange=${(event) => onChange(event.target.value)}>
      <option value="">${none}</option>
      ${Object.values(doc?.nodes ?? {}).map((node) => html`<option key=${node.address} value=${node.address}>${nodeText(node)}</option>`)}
    </select></label>`;
}

/** A place in a topic's log. Says "" when the default is fine. */
export function PlaceField({ label, value, optional, onChange }) {
  const [kind, setKind] = useState(kindOf(value, optional));
  const [detail, setDetail] = useState("");
  const change = (nextKind, text) => {
    setKind(nextKind);
    setDetail(text);
    onChange(placeOf(nextKind, text));
  };
  const kinds = [...(optional ? [["", "the next message (as usual)"]] : []), ...PLACES, ...(TURNED.has(kind) ? [[kind, "where it was turned to"]] : [])];
  return html`<div class="field-row">
    <label class="field"><span>${label}</span>
      <select value=${kind} onChange=${(event) => change(event.target.value, event.target.value === "-" ? "10m" : "")}>
        ${kinds.map(([id, text]) => html`<option key=${id} value=${id}>${text}</option>`)}
      </select></label>
    ${kind === "-" && html`<label class="field"><span>How long ago</span><input class="mono" value=${detail} placeholder="10m, 2h" onInput=${(event) => change(kind, event.target.value)} /></label>`}
    ${kind === "time" && html`<label class="field"><span>Moment</span><input type="datetime-local" step="1" value=${detail} onInput=${(event) => change(kind, event.target.value)} /></label>`}
    ${kind === "id" && html`<label class="field"><span>Message id</span><input class="mono" value=${detail} maxlength="16" onInput=${(event) => change(kind, event.target.value)} /></label>`}
    ${kind === "seq" && html`<label class="field"><span>Number</span><input class="mono" inputmode="numeric" value=${detail} onInput=${(event) => change(kind, event.target.value)} /></label>`}
  </div>`;
}

function kindOf(value, optional) {
  if (!value) return optional ? "" : "end";
  if (value.startsWith("time:-")) return "-";
  return value.split(":")[0];
}

function placeOf(kind, detail) {
  if (kind === "start" || kind === "end" || kind === "") return kind;
  if (detail === "") return "";
  if (kind === "-") return `time:-${detail}`;
  if (kind === "time") return `time:${new Date(detail).toISOString()}`;
  return `${kind}:${detail}`;
}

function defaultsOf(fields) {
  return Object.fromEntries(fields.map((name) => [name, name.endsWith("?") ? "" : FIELDS[name].place ?? ""]));
}

function withoutEmpty(given) {
  const entries = Object.entries(given).filter(([, value]) => value !== "");
  return Object.fromEntries(entries.map(([name, value]) => [name.replace("?", ""), name === "nodes?" ? [value] : value]));
}

function subject({ topic, channel, node, setting }) {
  const name = [topic, channel].filter(Boolean).join("/");
  if (!name) return "";
  return `${setting ? ` ${setting} of` : ""} ${name}${node ? ` at ${node}` : ""}`;
}

function finish(about, request, results) {
  closeDialog();
  if (request.action.startsWith("configure_")) configured.value += 1;
  const gone = about.after !== undefined && results.every((result) => result.ok);
  if (gone && route.value.page !== "registry") navigate(about.after(request));
}
