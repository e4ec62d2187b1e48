/** What the server wrote into the page, and what this browser remembers. */

import { effect, signal } from "./html.mjs";

const root = document.documentElement;

export const BASE = root.dataset.base ?? "/";
export const VERSION = root.dataset.version ?? "";

/** "auto" (as the system), "light" or "dark". */
export const theme = signal(remembered("theme", ["auto", "light", "dark"]));

/** "compact" or "roomy": the height of table rows. */
export const density = signal(remembered("density", ["compact", "roomy"]));

export const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

effect(() => {
  root.dataset.theme = theme.value;
  remember("theme", theme.value);
});

effect(() => {
  root.dataset.density = density.value;
  remember("density", density.value);
});

/** Whether dark colours are in effect now. */
export function isDark() {
  if (theme.value !== "auto") return theme.value === "dark";
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

function remembered(name, allowed) {
  let value = null;
  try {
    value = localStorage.getItem(`nsqx.${name}`);
  } catch {
    // Storage can be forbidden; then it is forgotten at the next visit.
  }
  return allowed.includes(value) ? value : allowed[0];
}

function remember(name, value) {
  try {
    localStorage.setItem(`nsqx.${name}`, value);
  } catch {
    // As above.
  }
}
