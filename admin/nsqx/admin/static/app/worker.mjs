/**
 * What works beside the page, so that the page has time for its reader: the connection, the
 * documents, and what the home page shows of thousands of rows. live.mjs is its other end.
 */

import { Connection } from "./connection.mjs";
import { HomeRows } from "./home-rows.mjs";

/** Kept for who goes back and forth. */
const LINGER_MS = 5000;

/** Names of documents of which the page has some sections only: "summary|totals,verdict". */
const partsOf = (name) => {
  const [key, sections] = name.split("|");
  return { key, sections: sections?.split(",") };
};

let connection = null;
/** name -> { key, sections }, for what the page shows. */
const shown = new Map();
/** key -> timer that ends it. */
const lingering = new Map();
const home = new HomeRows();
/** What the table of the home page wants to see, or null. */
let view = null;

const listener = {
  onState: (changes) => postMessage(changes),
  onStream: (stream, message) => postMessage({ stream, message, t: message.t }),
  onDocument: (key, state, envelope) => {
    const changes = [];
    for (const [name, one] of shown) {
      if (one.key === key) changes.push(changeOf(name, one.sections, envelope));
    }
    postMessage({ t: state.t ?? undefined, documents: changes, ...(key === "summary" && viewed()) });
  },
};

const acts = {
  start: (api) => {
    connection = new Connection(api, listener);
    connection.open();
  },
  hold: (name) => {
    const { key, sections } = partsOf(name);
    shown.set(name, { key, sections });
    holdKey(key);
    const state = connection.known(key);
    if (state !== null) postMessage({ documents: [changeOf(name, sections, { t: state.t, full: state.doc })] });
  },
  release: (name) => {
    shown.delete(name);
    releaseKey(partsOf(name).key);
  },
  view: (wanted) => {
    view = wanted;
    if (wanted === null) releaseKey("summary");
    else holdKey("summary");
    postMessage(viewed());
  },
  names: (id) => {
    const doc = connection.known("summary")?.doc;
    postMessage({ names: id, value: [Object.keys(doc?.topics ?? {}), Object.keys(doc?.channels ?? {})] });
  },
  stream: (key) => connection.openStream(key),
  endStream: (key) => connection.closeStream(key),
  pause: (paused) => connection.setPaused(paused),
  retry: () => connection.open(),
};

addEventListener("message", ({ data }) => {
  for (const [name, value] of Object.entries(data)) acts[name](value);
});

function holdKey(key) {
  clearTimeout(lingering.get(key));
  lingering.delete(key);
  connection.hold(key);
}

function releaseKey(key) {
  const isUsed = () => (key === "summary" && view !== null) || [...shown.values()].some((one) => one.key === key);
  if (isUsed() || lingering.has(key)) return;
  lingering.set(key, setTimeout(() => {
    lingering.delete(key);
    if (!isUsed()) connection.release(key);
  }, LINGER_MS));
}

/** What the page is told of a change: all of it, or the sections it has. */
function changeOf(name, sections, { t, full, delta }) {
  if (full !== undefined) return { name, t, full: full === null ? null : only(sections, full) };
  return { name, t, delta: only(sections, delta) };
}

function only(sections, document) {
  if (sections === undefined) return document;
  return Object.fromEntries(sections.filter((name) => name in document).map((name) => [name, document[name]]));
}

function viewed() {
  const state = connection.known("summary");
  if (view === null || state === null || state.doc === null) return {};
  return { view: home.show(state.doc, view, performance.now()) };
}
