/** Who changed what, when, and how it went. */

import { ACTIONS } from "../actions.mjs";
import { getJson } from "../api.mjs";
import { html, useEffect, useState } from "../html.mjs";
import { useDocument } from "../live.mjs";
import { route, setQuery } from "../router.mjs";
import { matches } from "../rows.mjs";
import { Filter } from "../table.mjs";
import { Badge, Link, Loading, Moment, PageHead, Problem } from "../ui.mjs";
import { channelPath, topicPath } from "../url.mjs";
import { TopicHead } from "./topic.mjs";

const PAGE = 100;

export function ActivityPage({ topic }) {
  const { doc } = useDocument("activity");
  const { q = "" } = route.value.query;
  const [older, setOlder] = useState({ entries: [], done: false, error: null });
  const head = topic === undefined ? html`<${PageHead} title="Activity" />` : html`<${TopicHead} topic=${topic} tab="activity" />`;
  const newest = (doc?.entries ?? []).filter((entry) => topic === undefined || entry.topic === topic);
  const oldestShown = [...newest, ...older.entries].at(-1)?.id;

  const more = async () => {
    const before = oldestShown ?? "";
    try {
      const query = new URLSearchParams({ limit: String(PAGE), ...(before && { before }), ...(topic && { topic }) });
      const answer = await getJson(`activity?${query}`);
      const { entries } = answer.full ?? answer;
      setOlder((held) => ({ entries: [...held.entries, ...entries], done: entries.length < PAGE, error: null }));
    } catch (error) {
      setOlder((held) => ({ ...held, error }));
    }
  };
  // The document has the newest of all topics; those of one may be further back.
  useEffect(() => { if (topic !== undefined && doc && newest.length === 0) more(); }, [topic, Boolean(doc)]);

  if (!doc) return html`${head}<${Loading} />`;
  const known = new Set(newest.map((entry) => entry.id));
  const all = [...newest, ...older.entries.filter((entry) => !known.has(entry.id))];
  const shown = all.filter((entry) => q === "" || matches(`${entry.user} ${entry.action} ${entry.topic} ${entry.channel} ${entry.node} ${entry.remote}`, q));
  const hasMore = !older.done && oldestShown !== undefined && oldestShown > (doc.oldest ?? 1);
  return html`${head}
    <div class="tools"><${Filter} label="Search activity" value=${q} onInput=${(value) => setQuery({ q: value })} /></div>
    ${shown.length === 0 ? html`<p class="empty">${q ? "Nothing matches" : "Nothing was changed since this nsqadmin began."}</p>` : html`<${Entries} entries=${shown} />`}
    ${older.error && html`<${Problem} error=${older.error} />`}
    ${hasMore && html`<p><button type="button" class="button" onClick=${more}>Older</button></p>`}`;
}

function Entries({ entries }) {
  return html`<div class="table-wrap"><table class="data"><caption class="visually-hidden">Changes, newest first</caption>
    <thead><tr><th scope="col">When</th><th scope="col">What</th><th scope="col">To</th><th scope="col" class="tablet">Who</th><th scope="col" class="tablet">From</th><th scope="col">Result</th></tr></thead>
    <tbody>${entries.map((entry) => html`<tr key=${entry.id}>
      <td><${Moment} at=${entry.t} /></td>
      <th scope="row">${ACTIONS[entry.action]?.title ?? entry.action.replaceAll("_", " ")}${entry.detail && html` <span class="quiet tablet">${entry.detail}</span>`}</th>
      <td class="wraps"><${Target} entry=${entry} /></td>
      <td class="tablet">${entry.user || html`<span class="quiet">nobody in particular</span>`} <span class="quiet">${entry.role}</span></td>
      <td class="tablet quiet mono">${entry.remote}${entry.via === "api" && html` <${Badge} level="quiet">NSQ's API<//>`}</td>
      <td><${Outcome} entry=${entry} /></td>
    </tr>`)}</tbody></table></div>`;
}

function Target({ entry: { topic, channel, node } }) {
  return html`${topic && (channel ? html`<${Link} to=${channelPath(topic, channel)}>${topic}/${channel}<//>` : html`<${Link} to=${topicPath(topic)}>${topic}<//>`)}
    ${node && html` <span class="mono quiet tablet">${node}</span>`}`;
}

function Outcome({ entry: { ok, results } }) {
  if (ok) return html`<${Badge} level="ok">done<//>`;
  const failed = results.filter((result) => !result.ok);
  return html`<details class="failed"><summary><${Badge} level="critical">failed on ${failed.length} of ${results.length}<//></summary>
    <ul>${failed.map((result) => html`<li key=${result.node}><span class="mono">${result.node}</span>: ${result.error}</li>`)}</ul></details>`;
}
