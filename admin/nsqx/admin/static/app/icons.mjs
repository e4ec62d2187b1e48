/** A few drawn signs, 16 by 16. They say nothing that a word beside them does not say. */

import { html } from "./html.mjs";

const PATHS = {
  ok: "M3.5 8.5l3 3 6-7",
  warning: "M8 2.2l6.3 11.3H1.7zM8 6.3v3.4M8 11.7v.1",
  critical: "M5.2 1.8h5.6l3.4 3.4v5.6l-3.4 3.4H5.2l-3.4-3.4V5.2zM8 4.8v4M8 11v.1",
  waiting: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 1 0 8 1.8M8 4.5V8l2.4 1.6",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9M10.4 10.4l3.3 3.3",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M5 3.2l7.5 4.8L5 12.8z",
  close: "M4 4l8 8M12 4l-8 8",
  right: "M6 3.5L10.5 8L6 12.5",
  down: "M3.5 6L8 10.5L12.5 6",
  up: "M3.5 10.5L8 6L12.5 10.5",
  theme: "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2M8 2v12M10 2.6v10.8M12 4v8",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  send: "M2 8l12-5.5L9.5 14 7.4 9z",
  topics: "M2.5 4h7M2.5 8h11M2.5 12h7",
  topology: "M2 8h3M11 4H9c-2 0-2 4-4 4c2 0 2 4 4 4h2M11 2.5h3v3h-3zM11 10.5h3v3h-3z",
  nodes: "M2.5 2.5h11v4.5h-11zM2.5 9h11v4.5h-11zM5 4.8h.1M5 11.2h.1",
  registry: "M3 2.5h10v11H3zM6 2.5v11M8.5 6h2M8.5 9h2",
  activity: "M1.8 8.5h3l2-5 3 9 1.8-4h2.6",
  more: "M3.5 8h.1M8 8h.1M12.5 8h.1",
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
}
