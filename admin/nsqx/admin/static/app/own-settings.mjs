/** What is set for one topic or channel, where it differs from its node's options, and a way to change it. */

import { ActionButton, configured } from "./actions.mjs";
import { getJson } from "./api.mjs";
import { html, useEffect, useState } from "./html.mjs";
import { Badge, Problem, Section } from "./ui.mjs";

/** @param {{ path: string, action: string, target: object }} props `path` below the API, `action` that changes one */
export function OwnSettings({ path, action, target }) {
  const [answer, setAnswer] = useState(/** @type {{ value: any, error: any }} */ ({ value: null, error: null }));
  const times = configured.value;
  useEffect(() => {
    let isCurrent = true;
    getJson(path).then(
      (value) => { if (isCurrent) setAnswer({ value, error: null }); },
      (error) => { if (isCurrent) setAnswer({ value: null, error }); },
    );
    return () => { isCurrent = false; };
  }, [path, times]);
  const { value, error } = answer;
  if (value === null && error === null) return null;
  return html`<${Section} id="settings" title="Settings">
    ${error ? html`<${Problem} error=${error} />` : html`<table class="data"><caption class="visually-hidden">Settings</caption>
      <thead><tr><th scope="col">Setting</th><th scope="col">Value</th><th scope="col"><span class="visually-hidden">Actions</span></th></tr></thead>
      <tbody>${value.settings.map((setting) => html`<tr key=${setting.name}>
        <th scope="row" class="mono" title=${setting.help}>${setting.name}</th>
        <td><${Values} setting=${setting} /></td>
        <td><span class="row-actions"><${ActionButton} quiet action=${action} target=${{ ...target, setting: setting.name }} label="Change" /></span></td>
      </tr>`)}</tbody></table>
      <${Silent} errors=${value.errors} />`}
  <//>`;
}

/** One value, or each node's where they differ. What is the node's own option is quiet. */
function Values({ setting: { nodes, differs } }) {
  const entries = Object.entries(nodes);
  if (entries.length === 0) return html`<span class="quiet">–</span>`;
  const shown = differs ? entries : entries.slice(0, 1);
  return html`${differs && html`<${Badge} level="warning">differs<//> `}${shown.map(([node, { effective, own }]) => html`<span key=${node} class="setting-value">
    <span class="mono">${effective}</span>${own === null && html` <span class="quiet">as the node</span>`}${differs && html` <span class="quiet mono">${node}</span>`} </span>`)}`;
}

function Silent({ errors }) {
  const entries = Object.entries(errors);
  return entries.length > 0 && html`<p class="quiet">Not told by ${entries.map(([node, reason]) => `${node} (${reason})`).join(", ")}</p>`;
}
