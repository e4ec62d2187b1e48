/** What is around every page: the bar above, the state of the connection, what is below. */

import { DialogPlace } from "./dialogs.mjs";
import { age as ageText } from "./format.mjs";
import { computed, html, useEffect, useState } from "./html.mjs";
import { Icon } from "./icons.mjs";
import { openHelp } from "./keyboard.mjs";
import { connection, heardAt, me, now, paused, setPaused, useDocument } from "./live.mjs";
import { VERSION, theme } from "./page-settings.mjs";
import { openPalette } from "./palette.mjs";
import { route } from "./router.mjs";
import { Link } from "./ui.mjs";

const NAV = [
  ["Topics", "/", "topics", ["home", "topic", "channel", "messages", "tail", "publish"]],
  ["Topology", "/topology", "topology", ["topology"]],
  ["Nodes", "/nodes", "nodes", ["nodes", "node"]],
  ["Registry", "/registry", "registry", ["registry"]],
  ["Activity", "/activity", "activity", ["activity"]],
];

const THEMES = { auto: "light", light: "dark", dark: "auto" };
const ANNOUNCE_SECONDS = 30;
const announceSlot = computed(() => Math.floor(now.value / ANNOUNCE_SECONDS));

export function Shell({ children }) {
  return html`
    <a class="skip" href="#content">To the content</a>
    <header class="bar">
      <${Link} to="/" class="brand" aria-label="nsqx, all topics"><${Brand} /><span>nsqx</span><//>
      <nav class="main-nav" aria-label="Pages">${NAV.map(([text, to, icon, pages]) => html`<${Link} key=${to} to=${to}
        aria-current=${pages.includes(route.value.page) ? "page" : null}><${Icon} name=${icon} /><span>${text}</span><//>`)}</nav>
      <div class="bar-tools">
        <button type="button" class="search-button" aria-label="Go to" onClick=${openPalette}><${Icon} name="search" /><span>Go to</span><kbd aria-hidden="true">Ctrl K</kbd></button>
        <${LiveState} />
        <button type="button" class="icon-button" aria-label=${`Colours: ${theme.value}`} title=${`Colours: ${theme.value}`}
          onClick=${() => { theme.value = THEMES[theme.value]; }}><${Icon} name="theme" /></button>
        <button type="button" class="icon-button help-button" aria-label="Keys" title="Keys (?)" onClick=${openHelp}>?</button>
      </div>
    </header>
    <main id="content" tabindex="-1"><${Interrupted} />${children}</main>
    <${Foot} />
    <${Announcer} />
    <${DialogPlace} />`;
}

function Brand() {
  return html`<svg viewBox="0 0 32 32" aria-hidden="true" class="brand-mark"><rect width="32" height="32" rx="8" />
    <path d="M8 10h9M8 16h16M8 22h9" /><circle cx="23" cy="10" r="2.4" /><circle cx="23" cy="22" r="2.4" /></svg>`;
}

/** Says whether what is shown is of now, and stops it on request. */
function LiveState() {
  const [text, level] = liveText(silence.value);
  const label = paused.value ? "Continue live updates" : "Stop live updates";
  return html`<button type="button" class="live ${level}" title=${`${label} (.)`} aria-pressed=${String(paused.value)}
    onClick=${() => setPaused(!paused.value)}><i aria-hidden="true"></i><span class="visually-hidden">Live updates: </span>${text}</button>`;
}

/** The server says something each two seconds. */
const SILENCE_SECONDS = 5;

/** Since when nothing came, in seconds; 0 for as long as that means nothing. Only what is read is drawn anew. */
const silence = computed(() => {
  const age = heardAt.value === null ? 0 : Math.floor(now.value - heardAt.value);
  return age > SILENCE_SECONDS || paused.value || connection.value === "offline" ? age : 0;
});

function liveText(age) {
  if (paused.value) return ["Stopped", "quiet"];
  if (connection.value === "offline") return ["No connection", "critical"];
  if (connection.value === "connecting") return ["Connecting", "quiet"];
  if (age > SILENCE_SECONDS) return [`${ageText(age)} old`, "warning"];
  return [connection.value === "polling" ? "Polling" : "Live", "ok"];
}

/** Old numbers never look like new ones. */
function Interrupted() {
  const age = silence.value;
  if (paused.value) {
    return html`<p class="banner quiet" role="status">Stopped: this is how it was ${ageText(age)} ago.
      <button type="button" class="button small" onClick=${() => setPaused(false)}>Continue</button></p>`;
  }
  if (connection.value !== "offline" || heardAt.value === null) return null;
  return html`<p class="banner critical" role="status">The dashboard's server does not answer. All numbers are ${ageText(age)} old.</p>`;
}

function Foot() {
  const who = me.value;
  const user = who?.user ? `${who.user} (${who.role})` : who?.role ?? "";
  return html`<footer class="foot">
    <span>nsqadmin ${VERSION}</span>
    ${who?.read_only && html`<span>read-only</span>`}
    ${user && html`<span>${user}</span>`}
    <span class="foot-links"><${Link} to="/counter">Counter<//> <${Link} to="/publish">Publish<//> <${Link} to="/settings">Settings<//>
      <button type="button" class="link-button" onClick=${openHelp}>Keys</button></span>
  </footer>`;
}

/** For readers of the screen: the verdict, at most once in half a minute. */
function Announcer() {
  const { doc } = useDocument("summary|verdict");
  const text = doc?.verdict.text ?? "";
  const slot = announceSlot.value;
  const [said, setSaid] = useState("");
  useEffect(() => setSaid(text), [slot, text === ""]);
  return html`<p class="visually-hidden" aria-live="polite">${said}</p>`;
}
