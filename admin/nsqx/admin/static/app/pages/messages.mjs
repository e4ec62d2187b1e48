/** What lies in the logs of a topic, looked at without any effect on its channels. */

import { PlaceField } from "../actions.mjs";
import { getJson } from "../api.mjs";
import { count } from "../format.mjs";
import { html, useEffect, useState } from "../html.mjs";
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
  return html`
    <${TopicHead} topic=${topic} tab="messages" row=${doc?.row} />
    <form class="tools peek" onSubmit=${(event) => { event.preventDefault(); setAsked(asked + 1); }}>
      <${PlaceField} key=${topic} label="Begin at" value=${from} onChange=${(place) => place && setQuery({ from: place === "end" ? null : place })} />
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
    <div aria-busy=${String(found.state === "asking")} class=${found.state === "asking" ? "asking" : ""}>
      <p class="quiet" role="status">${found.state === "asking" ? "Looking" : `${count(messages.length)} messages, the newest first. Looking changes nothing for any consumer.`}</p>
      <${MessageList} topic=${topic} messages=${messages} empty=${found.state === "asking" ? "" : "Nothing there."} />
    </div>
    <${NodeNotes} topic=${topic} nodes=${found.answer?.nodes} />`;
}

/** A slider over the log of one node: its numbers from the first that is kept to the newest. */
function Extent({ nodes, from }) {
  const logs = Object.entries(nodes ?? {}).filter(([, log]) => log.ok && log.end > log.first);
  if (logs.length === 0) return null;
  const { node = logs[0][0] } = route.value.query;
  const [address, log] = logs.find(([one]) => one === node) ?? logs[0];
  const at = from.startsWith("seq:") ? Number(from.slice(4)) : from === "start" ? log.first : log.end;
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
  const notes = entries.flatMap(([address, log]) => noteOf(topic, address, log));
  return notes.length > 0 && html`<ul class="notes">${notes}</ul>`;
}

function noteOf(topic, address, { ok, error, end, next, previous, complete, scanned }) {
  if (error === "NOT_SUPPORTED") {
    return [html`<li key=${address}><span class="mono">${address}</span> is no nsqx node, and does not show what it keeps. <${Link} to=${topicPath(topic, "tail")}>Tail<//> shows what is published from now on.</li>`];
  }
  if (!ok) return [html`<li key=${address} class="warning-text"><span class="mono">${address}</span>: ${error}</li>`];
  const step = (sequence, text) => sequence !== null && sequence !== undefined
    && html` <button type="button" class="link-button" onClick=${() => setQuery({ from: `seq:${sequence}`, node: address })}>${text}</button>`;
  const older = step(previous, "older");
  const newer = next < end && step(next, "newer");
  if (!older && !newer) return [];
  return [html`<li key=${address}><span class="mono">${address}</span>: ${count(scanned)} looked through${!complete && ", and there is more"}.${older}${newer}</li>`];
}
