/** What lies in the logs of a topic, looked at without any effect on its channels. */

import { PlaceField } from "../actions.mjs";
import { getJson } from "../api.mjs";
import { count, plural } from "../format.mjs";
import { html, useEffect, useState } from "../html.mjs";
import { Icon } from "../icons.mjs";
import { useDocument } from "../live.mjs";
import { MessageList } from "../message-list.mjs";
import { route, setQuery } from "../router.mjs";
import { EnteredText, Link, Problem } from "../ui.mjs";
import { topicPath } from "../url.mjs";
import { NoTopic, TopicHead } from "./topic.mjs";

const LIMITS = ["20", "50", "200", "1000"];
export const WHERE_EXAMPLE = "body.user.id == `7`";

export function MessagesPage({ topic }) {
  const { doc } = useDocument(`topic:${topic}`);
  const { from = "end", filter = "", where = "", node = "", limit = "20" } = route.value.query;
  const [found, setFound] = useState(/** @type {{ state: string, answer?: any, error?: Error }} */ ({ state: "asking" }));
  const [asked, setAsked] = useState(0);

  useEffect(() => {
    let current = true;
    const query = new URLSearchParams({ from, limit, ...(filter && { filter }), ...(where && { where }), ...(node && { node }) });
    setFound((before) => ({ ...before, state: "asking" }));
    getJson(`topics/${encodeURIComponent(topic)}/messages?${query}`).then(
      (answer) => { if (current) setFound({ state: "there", answer }); },
      (error) => { if (current) setFound({ state: "failed", error }); },
    );
    return () => { current = false; };
  }, [topic, from, filter, where, node, limit, asked]);

  if (doc === null) return html`<${NoTopic} topic=${topic} />`;
  const nodes = Object.keys(doc?.nodes ?? {});
  const messages = [...(found.answer?.messages ?? [])].reverse();
  const turned = /^(before|after):/.test(from);
  const isAsking = found.state === "asking";
  return html`
    <${TopicHead} topic=${topic} tab="messages" row=${doc?.row} />
    <form class="tools peek" onSubmit=${(event) => { event.preventDefault(); setAsked(asked + 1); }}>
      <${PlaceField} key=${`${topic} ${turned ? from : ""}`} label="Begin at" value=${from} onChange=${(place) => place && setQuery({ from: place === "end" ? null : place })} />
      <${EnteredText} label="Body contains" value=${filter} isFilter onChange=${(text) => setQuery({ filter: text })} />
      <${EnteredText} label="Where (JMESPath)" value=${where} placeholder=${WHERE_EXAMPLE} onChange=${(text) => setQuery({ where: text })} />
      <label class="field"><span>Node</span><select value=${node} onChange=${(event) => setQuery({ node: event.target.value })}>
        <option value="">all</option>${nodes.map((address) => html`<option key=${address} value=${address}>${address}</option>`)}</select></label>
      <label class="field"><span>At most</span><select value=${limit} onChange=${(event) => setQuery({ limit: event.target.value })}>
        ${LIMITS.map((number) => html`<option key=${number} value=${number}>${number}</option>`)}</select></label>
      <button type="submit" class="button">Look again</button>
    </form>
    ${doc && html`<${Extent} nodes=${found.answer?.nodes} from=${from} />`}
    ${found.error && html`<${Problem} error=${found.error} />`}
    <div aria-busy=${String(isAsking)} class=${isAsking ? "asking" : ""}>
      <p class="quiet" role="status">${isAsking ? "Looking" : found.answer ? `${seenText(found.answer)} Looking changes nothing for any consumer.` : ""}</p>
      ${found.answer && html`<${Turn} answer=${found.answer} side="newer" />`}
      ${found.answer && html`<${MessageList} topic=${topic} messages=${messages} empty=${isAsking ? "" : nothingText(found.answer)} />`}
      ${found.answer && html`<${Turn} answer=${found.answer} side="older" />`}
    </div>
    <${NodeNotes} topic=${topic} nodes=${found.answer?.nodes} />`;
}

/** What this page is about. A search that was not ended by what it found says so. */
function seenText({ messages, nodes }) {
  const logs = Object.values(nodes).filter((log) => log.ok);
  if (logs.length === 0) return "No node gave an answer.";
  const scanned = logs.reduce((sum, log) => sum + log.scanned, 0);
  const found = messages.length === scanned ? plural(messages.length, "message") : `${plural(messages.length, "message")} found among ${count(scanned)}`;
  return `${found}, the newest first.${logs.every((log) => log.complete) ? "" : " The search has not seen all, and can go on."}`;
}

function nothingText({ nodes }) {
  const logs = Object.values(nodes);
  if (!logs.some((log) => log.ok)) return "";
  if (!logs.every((log) => log.ok)) return "Nothing at the nodes that answered.";
  return logs.every((log) => log.complete) ? "Nothing there." : "Nothing so far.";
}

/** The button that goes on in one direction, at all nodes. */
function Turn({ answer, side }) {
  const place = answer[side];
  const logs = Object.values(answer.nodes).filter((log) => log.ok);
  const more = side === "older" ? place !== null : logs.some((log) => log.to < log.end);
  if (place === null || !more) return null;
  const isSearching = logs.some((log) => !log.complete);
  return html`<p class="turn"><button type="button" class="button small" onClick=${() => setQuery({ from: place })}>
    <${Icon} name=${side === "older" ? "down" : "up"} />${isSearching ? `Search on in ${side} ones` : side === "older" ? "Older" : "Newer"}</button></p>`;
}

/** A slider over the log of one node: its numbers from the first that is kept to the newest. */
function Extent({ nodes, from }) {
  const logs = Object.entries(nodes ?? {}).filter(([, log]) => log.ok && log.end > log.first);
  if (logs.length === 0) return null;
  const { node = logs[0][0] } = route.value.query;
  const [address, log] = logs.find(([one]) => one === node) ?? logs[0];
  const at = from === "end" ? log.end : log.from ?? log.end;
  return html`<div class="extent">
    <label><span class="quiet">Position in the log of <span class="mono">${address}</span></span>
      <input type="range" min=${log.first} max=${log.end} value=${at}
        onChange=${(event) => setQuery({ from: Number(event.target.value) >= log.end ? null : `seq:${event.target.value}`, node: address })} /></label>
    <span class="extent-ends mono quiet"><span>${log.first}</span><span>${log.end}</span></span>
  </div>`;
}

/** What single nodes could not do, and where the search goes on. */
function NodeNotes({ topic, nodes }) {
  const entries = Object.entries(nodes ?? {});
  const notes = entries.flatMap(([address, log]) => noteOf(topic, address, log, entries.length > 1));
  return notes.length > 0 && html`<ul class="notes">${notes}</ul>`;
}

function noteOf(topic, address, log, isOneOfSeveral) {
  const { ok, error, first, end, from, to, scanned, failed, complete } = log;
  if (error === "NOT_SUPPORTED") {
    return [html`<li key=${address}><span class="mono">${address}</span> is no nsqx node, and does not show what it keeps. <${Link} to=${topicPath(topic, "tail")}>Tail<//> shows what is published from now on.</li>`];
  }
  if (!ok) return [html`<li key=${address} class="warning-text"><span class="mono">${address}</span>: ${error}</li>`];
  const only = (place, text) => html` <button type="button" class="link-button" onClick=${() => setQuery({ from: place, node: address })}>${text}</button>`;
  return [html`<li key=${address}><span class="mono">${address}</span>: ${from < to ? html`numbers ${count(from)} to ${count(to - 1)}` : "nothing"} of ${first < end ? html`${count(first)} to ${count(end - 1)}` : "none"}, ${count(scanned)} looked through${failed > 0 && `, ${count(failed)} of which the expression does not fit`}${!complete && ", and there is more"}.
    ${error && html` <span class="warning-text">${error}</span>`}
    ${isOneOfSeveral && from > first && only(`before:${from}`, "its older ones")}${isOneOfSeveral && to < end && only(`seq:${to}`, "its newer ones")}</li>`];
}
