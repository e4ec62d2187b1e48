/** Keys that work on every page. The list below is also what the help shows. */

import { Dialog, isDialogOpen, openDialog } from "./dialogs.mjs";
import { html } from "./html.mjs";
import { paused, setPaused } from "./live.mjs";
import { openPalette } from "./palette.mjs";
import { navigate, route } from "./router.mjs";
import { topicPath } from "./url.mjs";

const SEQUENCE_MS = 1200;
/** How long the next row of a long table may take to be there. */
const ROW_MS_MAX = 1000;

const GO = { t: "/", o: "/topology", n: "/nodes", r: "/registry", a: "/activity", p: "/publish", s: "/settings" };

/** @type {Array<[string[], string]>} */
export const HELP = [
  [["Ctrl K", "⌘ K"], "Go to anything, or do something"],
  [["/"], "Search on this page"],
  [["j", "k"], "Next and previous row"],
  [["Enter"], "Open what has the focus"],
  [["g t"], "Topics and channels"],
  [["g o"], "Topology"],
  [["g n"], "Nodes"],
  [["g r"], "Registry"],
  [["g a"], "Activity"],
  [["g s"], "Settings"],
  [["p"], "Publish a message"],
  [["."], "Stop and continue live updates"],
  [["Esc"], "Close, or leave the search"],
  [["?"], "This list"],
];

let goPressedAt = -Infinity;

export function listenToKeys() {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      openPalette();
    } else if (!event.ctrlKey && !event.metaKey && !isDialogOpen()) {
      if (isTyping(event.target)) leaveOnEscape(event);
      else if (press(event.key)) event.preventDefault();
    }
  });
}

function isTyping(target) {
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable]") !== null;
}

function leaveOnEscape(event) {
  if (event.key === "Escape") event.target.blur();
}

/** Do what a key means; false when it means nothing here. */
function press(key) {
  if (performance.now() - goPressedAt < SEQUENCE_MS) {
    goPressedAt = -Infinity;
    if (GO[key] !== undefined) {
      navigate(GO[key]);
      return true;
    }
  }
  const act = KEYS[key];
  if (act === undefined) return false;
  return act() !== false;
}

const KEYS = {
  g: () => { goPressedAt = performance.now(); },
  j: () => moveInRows(1),
  k: () => moveInRows(-1),
  p: () => navigate(route.value.params.topic ? topicPath(route.value.params.topic, "publish") : "/publish"),
  ".": () => setPaused(!paused.value),
  "?": openHelp,
  "/": () => {
    const field = /** @type {HTMLInputElement | null} */ (document.querySelector("[data-filter]"));
    field?.focus();
    field?.select();
    return field !== null;
  },
};

/** The focus to the link of the next row, or of the first. A row that is not drawn yet is waited for. */
function moveInRows(step, deadline = performance.now() + ROW_MS_MAX) {
  const links = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("main table.data tbody th a, main .row-link")]);
  if (links.length === 0) return false;
  const here = /** @type {HTMLElement} */ (document.activeElement);
  const at = links.indexOf(here);
  const next = links[at === -1 ? 0 : at + step];
  if (at !== -1 && hasMoreRows(here, step) && next?.closest("table") !== here.closest("table")) {
    here.scrollIntoView({ block: "center" });
    if (performance.now() < deadline) requestAnimationFrame(() => moveInRows(step, deadline));
  } else if (next !== undefined) {
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }
  return true;
}

/** Whether the table goes on behind the row, as it says to those who cannot see it. */
function hasMoreRows(link, step) {
  const row = link.closest("tr[aria-rowindex]");
  if (row === null) return false;
  const index = Number(row.getAttribute("aria-rowindex")) + step;
  return index > 1 && index <= Number(row.closest("table").getAttribute("aria-rowcount"));
}

export function openHelp() {
  openDialog(() => html`<${Dialog} key="help" title="Keys" className="help">
    <dl class="keys">${HELP.map(([keys, text]) => html`<div key=${text}>
      <dt>${keys.map((key, index) => html`${index > 0 && " or "}<kbd>${key}</kbd>`)}</dt><dd>${text}</dd>
    </div>`)}</dl>
  <//>`);
}
