/** Publishing by hand: once, later, or many times. */

import { Results, may } from "../actions.mjs";
import { postJson } from "../api.mjs";
import { bytes, nodeText } from "../format.mjs";
import { html, useState } from "../html.mjs";
import { useDocument, useNames } from "../live.mjs";
import { route, setQuery } from "../router.mjs";
import { PageHead, Problem } from "../ui.mjs";
import { TopicHead } from "./topic.mjs";

export function PublishPage({ topic: fixed }) {
  const topic = fixed ?? route.value.query.topic ?? "";
  const head = fixed === undefined ? html`<${PageHead} title="Publish" />` : html`<${HeadOf} topic=${fixed} />`;
  if (!may("operate")) return html`${head}<p class="warning-text">Publishing needs the role operator.</p>`;
  return html`${head}<${PublishForm} key=${fixed} topic=${topic} isFixed=${fixed !== undefined} />`;
}

function HeadOf({ topic }) {
  const { doc } = useDocument(`topic:${topic}`);
  return html`<${TopicHead} topic=${topic} tab="publish" row=${doc?.row} />`;
}

function PublishForm({ topic, isFixed }) {
  const { topics, nodes } = useNames();
  const [message, setMessage] = useState({ body: "", encoding: "text", defer_seconds: "", count: "1", node: "" });
  const [outcome, setOutcome] = useState(/** @type {{ state: string, results?: any[], error?: Error }} */ ({ state: "" }));
  const change = (name) => (event) => setMessage((before) => ({ ...before, [name]: event.target.value }));
  const submit = async (event) => {
    event.preventDefault();
    setOutcome({ state: "running" });
    try {
      const answer = await postJson(`topics/${encodeURIComponent(topic)}/messages`, {
        ...message, defer_seconds: Number(message.defer_seconds) || 0, count: Number(message.count) || 1,
      });
      setOutcome({ state: "done", results: answer.results });
    } catch (error) {
      setOutcome({ state: "", error });
    }
  };
  const size = new TextEncoder().encode(message.body).length;
  const isJson = message.body.trim().startsWith("{") || message.body.trim().startsWith("[");
  return html`<form class="publish" onSubmit=${submit}>
    ${!isFixed && html`<label class="field"><span>Topic</span>
      <input class="mono" list="topics-known" required value=${topic} autocomplete="off" onInput=${(event) => setQuery({ topic: event.target.value })} />
      <datalist id="topics-known">${topics.map((name) => html`<option key=${name} value=${name}></option>`)}</datalist></label>`}
    <label class="field"><span>Body</span>
      <textarea class="mono" rows="12" spellcheck="false" required value=${message.body} onInput=${change("body")}></textarea></label>
    <p class="quiet">${bytes(size)}${isJson && (isValidJson(message.body) ? ", JSON" : html`, <span class="warning-text">not valid JSON</span>`)}</p>
    <div class="field-row">
      <label class="field"><span>It is</span><select value=${message.encoding} onChange=${change("encoding")}>
        <option value="text">text</option><option value="base64">base64 of bytes</option></select></label>
      <label class="field"><span>Deliver after (seconds)</span><input type="number" min="0" step="any" placeholder="at once" value=${message.defer_seconds} onInput=${change("defer_seconds")} /></label>
      <label class="field"><span>How many times</span><input type="number" min="1" max="1000" value=${message.count} onInput=${change("count")} /></label>
      <label class="field"><span>To node</span><select value=${message.node} onChange=${change("node")}>
        <option value="">any</option>${nodes.map((node) => html`<option key=${node.address} value=${node.address}>${nodeText(node)}</option>`)}</select></label>
    </div>
    ${outcome.error && html`<${Problem} error=${outcome.error} />`}
    ${outcome.state === "done"
      ? html`<${Results} results=${outcome.results} onDone=${() => setOutcome({ state: "" })} />`
      : html`<div class="dialog-buttons"><button type="submit" class="button primary" disabled=${!topic || outcome.state === "running"}>${outcome.state === "running" ? "Publishing" : "Publish"}</button></div>`}
  </form>`;
}

function isValidJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
