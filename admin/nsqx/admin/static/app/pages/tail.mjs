/** Messages as they are published, through a channel of its own that ends with the page. */

import { count } from "../format.mjs";
import { html, useEffect, useRef, useState } from "../html.mjs";
import { Icon } from "../icons.mjs";
import { connection, now, openStream, useDocument } from "../live.mjs";
import { MessageList } from "../message-list.mjs";
import { route, setQuery } from "../router.mjs";
import { EMPTY, cleared, held, received, resumed } from "../tail-rows.mjs";
import { EnteredText } from "../ui.mjs";
import { WHERE_EXAMPLE } from "./messages.mjs";
import { NoTopic, TopicHead } from "./topic.mjs";

const RATES = ["1", "10", "50", "200"];

export function TailPage({ topic }) {
  const { doc } = useDocument(`topic:${topic}`);
  const { filter = "", where = "", rate = "50" } = route.value.query;
  const [isPaused, setPaused] = useState(false);
  const tail = useTail(topic, { filter, where, rate }, isPaused);
  if (doc === null) return html`<${NoTopic} topic=${topic} />`;
  return html`
    <${TopicHead} topic=${topic} tab="tail" row=${doc?.row} />
    <div class="tools peek">
      <${EnteredText} label="Body contains" value=${filter} isFilter onChange=${(text) => setQuery({ filter: text })} />
      <${EnteredText} label="Where (JMESPath)" value=${where} placeholder=${WHERE_EXAMPLE} onChange=${(text) => setQuery({ where: text })} />
      <label class="field"><span>At most</span><select value=${rate} onChange=${(event) => setQuery({ rate: event.target.value === "50" ? null : event.target.value })}>
        ${RATES.map((number) => html`<option key=${number} value=${number}>${number} a second</option>`)}</select></label>
      <button type="button" class="button" aria-pressed=${String(isPaused)} onClick=${() => setPaused(!isPaused)}>
        <${Icon} name=${isPaused ? "play" : "pause"} />${isPaused ? "Continue" : "Pause"}</button>
      <button type="button" class="button" onClick=${tail.clear}>Clear</button>
    </div>
    <p class="quiet tail-counts">
      <span>seen <b>${count(tail.seen)}</b></span> <span>shown <b>${count(tail.rows.filter((row) => row.gap === undefined).length)}</b></span>
      <span class=${tail.dropped ? "warning-text" : ""}>dropped <b>${count(tail.dropped)}</b></span>
      ${isPaused && html`<span>paused, ${count(tail.waiting)} wait</span>`}
    </p>
    ${tail.error && html`<p class="problem" role="alert">${tail.error}</p>`}
    ${connection.value === "polling" && html`<p class="warning-text">Tailing needs a WebSocket, and none gets through here.</p>`}
    <${MessageList} topic=${topic} messages=${tail.rows} empty="New messages appear here. Those of before are under Messages." />`;
}

/** What tail-rows.mjs makes of it. While paused, messages gather unseen. */
function useTail(topic, { filter, where, rate }, isPaused) {
  const [tail, setTail] = useState(EMPTY);
  const paused = useRef(isPaused);
  paused.current = isPaused;

  useEffect(() => {
    setTail(EMPTY);
    const query = new URLSearchParams({ ...(filter && { filter }), ...(where && { where }), rate });
    return openStream(`tail:${topic}?${query}`, (message) => setTail((before) => received(before, message, paused.current)));
  }, [topic, filter, where, rate]);

  useEffect(() => {
    setTail((before) => (isPaused ? held(before, now.value) : resumed(before, now.value)));
  }, [isPaused]);

  return { ...tail, clear: () => setTail(cleared) };
}
