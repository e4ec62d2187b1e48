/** Messages on the page: a line each, and all about one when it is opened. */

import { getJson } from "./api.mjs";
import { asCommands, bytesOf, packing, viewsOf } from "./bodies.mjs";
import { bytes, exactTime } from "./format.mjs";
import { html, memo, useEffect, useState } from "./html.mjs";
import { Icon } from "./icons.mjs";
import { Age, Badge, Choice, Moment, NodeLink, Problem } from "./ui.mjs";

const PREVIEW_LETTERS = 200;

export function MessageList({ topic, messages, empty }) {
  const [opened, setOpened] = useState(null);
  if (messages.length === 0) return html`<p class="empty">${empty}</p>`;
  return html`<ol class="messages" aria-label="Messages">
    ${messages.map((message) => html`<${MessageItem} key=${`${message.node} ${message.id}`} topic=${topic} message=${message}
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

function MessageDetails({ topic, message }) {
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
      <div><dt>node</dt><dd><${NodeLink} address=${message.node} /></dd></div>
      <div><dt>size</dt><dd>${bytes(message.size)}${message.truncated && html` <${Badge} level="warning">only the first part is shown<//>`}</dd></div>
    </dl>
    <div class="tools">
      <${Choice} label="View" options=${views.map(([name]) => [name, name])} value=${kind} onChange=${setChosen} />
      ${data.packed && html`<${Badge} level="quiet">${data.packed} unpacked<//>`}
      <${CopyMenu} topic=${topic} message=${message} />
    </div>
    ${kind === "json" || kind === "msgpack" ? html`<div class="tree mono"><${Tree} value=${value} depth=${0} /></div>` : html`<pre class="body" tabindex="0">${value}</pre>`}
    <${Whereabouts} topic=${topic} id=${message.id} />
  </div>`;
}

/** The bytes, unpacked if they were packed in a way that the browser knows. */
function useUnpacked(message) {
  const [data, setData] = useState({ bytes: bytesOf(message), packed: "" });
  useEffect(() => {
    const raw = bytesOf(message);
    const packed = packing(raw);
    if (packed === "") return;
    const format = packed === "zlib" ? "deflate" : "gzip";
    const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream(format));
    new Response(stream).arrayBuffer().then(
      (buffer) => setData({ bytes: new Uint8Array(buffer), packed }),
      () => {}, // only looked like it; the bytes are shown
    );
  }, [message.id]);
  return data;
}

/** A value as a tree that folds. */
function Tree({ name, value, depth }) {
  const label = name === undefined ? null : html`<span class="tree-name">${name}: </span>`;
  if (value === null || typeof value !== "object") {
    const type = value === null ? "null" : typeof value;
    return html`<div class="tree-leaf">${label}<span class="tree-${type}">${type === "string" ? JSON.stringify(value) : String(value)}</span></div>`;
  }
  const entries = Object.entries(value);
  const hint = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  if (entries.length === 0) return html`<div class="tree-leaf">${label}${Array.isArray(value) ? "[]" : "{}"}</div>`;
  return html`<details open=${depth < 3}><summary>${label}<span class="quiet">${hint}</span></summary>
    ${entries.map(([key, inner]) => html`<${Tree} key=${key} name=${key} value=${inner} depth=${depth + 1} />`)}</details>`;
}

function CopyMenu({ topic, message }) {
  const [copied, setCopied] = useState("");
  const commands = [["body", message.body], ...asCommands(topic, message, `http://${message.node}`)];
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
