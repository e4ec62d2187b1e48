/** How this browser shows things, and what this dashboard is. */

import { apiUrl } from "../api.mjs";
import { duration } from "../format.mjs";
import { html } from "../html.mjs";
import { HELP } from "../keyboard.mjs";
import { me } from "../live.mjs";
import { BASE, VERSION, density, theme } from "../page-settings.mjs";
import { Choice, PageHead, Section } from "../ui.mjs";
import { NodeOptions } from "./options.mjs";

const RIGHTS = { read: "look", messages: "see messages", operate: "change", administer: "delete" };

export function SettingsPage() {
  const who = me.value;
  return html`<${PageHead} title="Settings" />
    <${Section} id="looks" title="On this browser">
      <dl class="facts">
        <div><dt>Colours</dt><dd><${Choice} label="Colours" options=${[["auto", "as the system"], ["light", "light"], ["dark", "dark"]]} value=${theme.value} onChange=${(id) => { theme.value = id; }} /></dd></div>
        <div><dt>Rows</dt><dd><${Choice} label="Rows" options=${[["compact", "compact"], ["roomy", "roomy"]]} value=${density.value} onChange=${(id) => { density.value = id; }} /></dd></div>
      </dl>
    <//>
    ${who && html`<${Section} id="you" title="You">
      <dl class="facts">
        <div><dt>Name</dt><dd>${who.user || "nobody in particular"}</dd></div>
        <div><dt>Role</dt><dd>${who.role}${who.read_only && ", read-only"}</dd></div>
        <div><dt>You may</dt><dd>${who.may.map((right) => RIGHTS[right] ?? right).join(", ")}</dd></div>
        <div><dt>History kept</dt><dd>${duration(who.history_seconds)}</dd></div>
      </dl>
    <//>`}
    <${NodeOptions} />
    <${Section} id="keys" title="Keys">
      <dl class="keys">${HELP.map(([keys, text]) => html`<div key=${text}><dt>${keys.map((key, index) => html`${index > 0 && " or "}<kbd>${key}</kbd>`)}</dt><dd>${text}</dd></div>`)}</dl>
    <//>
    <${Section} id="about" title="About">
      <dl class="facts">
        <div><dt>Version</dt><dd>${VERSION}</dd></div>
        <div><dt>API</dt><dd><a href=${apiUrl("openapi.json")}>OpenAPI description</a></dd></div>
        <div><dt>Without script</dt><dd><a href=${`${BASE}plain`}>Plain page</a></dd></div>
        <div><dt>Software of others</dt><dd>Preact, Signals, htm, uPlot: <a href=${new URL("../../vendor/THIRD-PARTY-LICENCES.txt", import.meta.url).pathname}>their licences</a></dd></div>
      </dl>
    <//>`;
}
