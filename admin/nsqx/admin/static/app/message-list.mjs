/** Messages on the page: a line each, and all about one when it is opened. */

import { apiUrl, getBytes, getJson } from "./api.mjs";
import { asCommands, bytesOf, packing, viewsOf, withBytes } from "./bodies.mjs";
import { bytes, count, exactTime } from "./format.mjs";
import { html, memo, useEffect, useMemo, useState } from "./html.mjs";
import { Icon } from "./icons.mjs";
import { Digits, Entries } from "./trees.mjs";
import { Age, Badge, Choice, Moment, NodeLink, Problem } from "./ui.mjs";

const PREVIEW_LETTERS = 200;
/** Of a text, and of what is directly in one part of a tree: more than anybody reads, less than a browser bears. */
const SHOWN_LETTERS = 200_000;
const SHOWN_ENTRIES = 500;

/** A message with `gap` is none: it says what is missing at its place. */
export function MessageList({ topic, messages, empty }) {
  const [opened, setOpened] = useState(null);
  if (messages.length === 0) return html`<p class="empty">${empty}</p>`;
  return html`<ol class="messages" aria-label="Messages">
    ${messages.map((message) => message.gap !== undefined
      ? html`<li key=${message.id} class="message gap" role="note">${message.gap}</li>`
      : html`<${MessageItem} key=${`${message.node} ${message.id}`} topic=${topic} message=${message}
      isOpen=${opened === message.id} onToggle=${setOpened} />`)}
  </ol>`;
}

const MessageItem = memo(({ topic, message, isOpen, onToggle }) => {
  const { id, t, size, body, encoding } = message;
  const preview = encoding === "text" ? body.slice(0, PREVIEW_LETTERS) : `${body.slice(0, 60)}`;
  return html`<li class="message ${isOpen ? "open" : ""}">
    <button type="button" class="message-line row-link" aria-expanded=${String(isOpen)} onClick=${() => onToggle(isOpen ? null : id)}>
      <span class="message-time"><${Moment} at=${t} /></span>
      <span class="message-size">${bytes(size)}</span>
      <span class="message-preview mono">${encoding === "text" ? preview : html`<span class="quiet">base64 </span>${preview}`}</span>
    </button>
    ${isOpen && html`<${MessageDetails} topic=${topic} message=${message} />`}
  </li>`;
});

function MessageDetails({ topic, message: shown }) {
  const { whole, load } = useWhole(topic, shown);
  const message = whole.message ?? shown;
  const data = useUnpacked(message);
  const views = viewsOf(data.bytes);
  const [chosen, setChosen] = useState("");
  const [kind, value] = views.find(([name]) => name === chosen) ?? views[0];
  return html`<div class="message-details">
    <dl class="facts">
      <div><dt>id</dt><dd class="mono">${message.id}</dd></div>
      ${message.sequence !== null && message.sequence !== undefined && html`<div><dt>number</dt><dd class="mono">${message.sequence}</dd></div>`}
      <div><dt>published</dt><dd>${exactTime(message.t)}</dd></div>
      <div><dt>nanoseconds</dt><dd class="mono">${message.timestamp}</dd></div>
      ${message.node && html`<div><dt>node</dt><dd><${NodeLink} address=${message.node} /></dd></div>`}
      <div><dt>size</dt><dd>${bytes(message.size)}${message.truncated && html` <${Badge} level="warning">only the first part is shown<//>`}</dd></div>
    </dl>
    <div class="tools">
      <${Choice} label="View" options=${views.map(([name]) => [name, name])} value=${kind} onChange=${setChosen} />
      ${data.packed && html`<${Badge} level="quiet">${data.packed} unpacked<//>`}
      ${message.truncated
        ? html`<button type="button" class="button small" disabled=${whole.state === "asking"} onClick=${load}>${whole.state === "asking" ? "Loading" : `Load all ${bytes(message.size)}`}</button>
          <span class="quiet">It can be copied when it is whole.</span>`
        : html`<${CopyMenu} topic=${topic} message=${message} />`}
      <a class="button small" href=${apiUrl(bodyPath(topic, message))} download>Save</a>
    </div>
    ${whole.error && html`<${Problem} error=${whole.error} />`}
    ${kind === "json" || kind === "msgpack"
      ? html`<div class="tree mono"><${Tree} value=${value} depth=${0} /></div>`
      : html`<pre class="body" tabindex="0">${value.slice(0, SHOWN_LETTERS)}</pre>
        ${value.length > SHOWN_LETTERS && html`<p class="quiet">The first ${count(SHOWN_LETTERS)} letters of ${count(value.length)}. Save it to see the rest.</p>`}`}
    <${Whereabouts} topic=${topic} id=${message.id} />
  </div>`;
}

function bodyPath(topic, { id, node }) {
  return `topics/${encodeURIComponent(topic)}/messages/${id}/body${node ? `?node=${encodeURIComponent(node)}` : ""}`;
}

/** The message with all of its body, once `load` was called. */
function useWhole(topic, message) {
  const [whole, setWhole] = useState(/** @type {{ state: string, message?: any, error?: Error }} */ ({ state: "" }));
  const load = () => {
    setWhole({ state: "asking" });
    getBytes(bodyPath(topic, message)).then(
      (data) => setWhole({ state: "there", message: withBytes(message, data) }),
      (error) => setWhole({ state: "failed", error }),
    );
  };
  return { whole, load };
}

/** The bytes, unpacked if they were packed in a way that the browser knows. */
function useUnpacked(message) {
  const raw = useMemo(() => bytesOf(message), [message]);
  const [unpacked, setUnpacked] = useState(null);
  useEffect(() => {
    setUnpacked(null);
    const packed = packing(raw);
    if (packed === "" || message.truncated) return undefined;
    let current = true;
    const format = packed === "zlib" ? "deflate" : "gzip";
    const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream(format));
    new Response(stream).arrayBuffer().then(
      (buffer) => { if (current) setUnpacked({ bytes: new Uint8Array(buffer), packed }); },
      () => {}, // only looked like it; the bytes are shown
    );
    return () => { current = false; };
  }, [raw]);
  return unpacked ?? { bytes: raw, packed: "" };
}

/** A value as a tree that folds. */
function Tree({ name, value, depth }) {
  const label = name === undefined ? null : html`<span class="tree-name">${name}: </span>`;
  if (value instanceof Digits) return html`<div class="tree-leaf">${label}<span class="tree-number">${value.text}</span></div>`;
  if (value === null || typeof value !== "object") {
    const type = value === null ? "null" : typeof value;
    return html`<div class="tree-leaf">${label}<span class="tree-${type}">${type === "string" ? JSON.stringify(value) : String(value)}</span></div>`;
  }
  const entries = value instanceof Entries ? value.pairs : [...value.entries()];
  const hint = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  if (entries.length === 0) return html`<div class="tree-leaf">${label}${Array.isArray(value) ? "[]" : "{}"}</div>`;
  return html`<details open=${depth < 3}><summary>${label}<span class="quiet">${hint}</span></summary>
    ${entries.slice(0, SHOWN_ENTRIES).map(([key, inner], index) => html`<${Tree} key=${index} name=${key} value=${inner} depth=${depth + 1} />`)}
    ${entries.length > SHOWN_ENTRIES && html`<div class="tree-leaf quiet">and ${count(entries.length - SHOWN_ENTRIES)} more</div>`}</details>`;
}

function CopyMenu({ topic, message }) {
  const [copied, setCopied] = useState("");
  const commands = [[message.encoding === "text" ? "body" : "base64", message.body], ...asCommands(topic, message, `http://${message.node}`)];
  return html`<span class="copy" role="group" aria-label="Copy as"><span class="quiet"><${Icon} name="copy" />copy as</span>
    ${commands.map(([name, text]) => html`<button key=${name} type="button" class="button small" onClick=${async () => setCopied(await copy(text) ? name : "")}>${copied === name ? "copied" : name}</button>`)}
  </span>`;
}

/** True when it is on the clipboard. Browsers have `navigator.clipboard` only over HTTPS and on localhost. */
async function copy(text) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

/** Where the message is now, for each channel; asked only when wanted. */
function Whereabouts({ topic, id }) {
  const [found, setFound] = useState(null);
  const ask = () => {
    getJson(`topics/${encodeURIComponent(topic)}/messages/${id}`).then(
      (answer) => setFound({ answer }),
      (error) => setFound({ error }),
    );
  };
  if (found === null) return html`<p><button type="button" class="button small" onClick=${ask}>Where is it now?</button></p>`;
  if (found.error) return html`<${Problem} error=${found.error} />`;
  const { waits_at_topic: waits, channels } = found.answer;
  if (waits) return html`<p>It waits at the topic: there is no channel yet.</p>`;
  return html`<table class="data whereabouts"><caption class="visually-hidden">Where the message is</caption>
    <thead><tr><th scope="col">Channel</th><th scope="col">State</th><th scope="col" class="number">Attempts</th><th scope="col">With</th></tr></thead>
    <tbody>${channels.map((one) => html`<tr key=${one.channel}>
      <th scope="row">${one.channel}</th>
      <td>${one.state.replaceAll("_", " ")}${one.deferred_until && html` until <${Moment} at=${one.deferred_until} />`}</td>
      <td class="number">${one.attempts ?? "–"}</td>
      <td>${one.client ? html`${one.client.hostname || one.client.remote_address}${one.client.connected_at && html` <span class="quiet">connected for <${Age} at=${one.client.connected_at} /></span>`}` : "–"}</td>
    </tr>`)}</tbody></table>`;
}
