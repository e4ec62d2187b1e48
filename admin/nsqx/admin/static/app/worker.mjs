/**
 * What works beside the page, so that the page has time for its reader: the connection, the
 * documents, and what pages show of thousands of rows. live.mjs is its other end.
 */

import { Connection } from "./connection.mjs";
import { HomeRows } from "./home-rows.mjs";
import { modelOf } from "./topology-model.mjs";

/** Kept for who goes back and forth. */
const LINGER_MS = 5000;

/** Names of documents of which the page has some sections only: "summary|totals,verdict". */
const partsOf = (name) => {
  const [key, sections] = name.split("|");
  return { key, sections: sections?.split(",") };
};

/** @type {Connection} */
let connection = null;
/** name -> { key, sections }, for what the page shows. */
const shown = new Map();
/** key -> timer that ends it. */
const lingering = new Map();
const home = new HomeRows();

/** What pages are given of a large document instead of all of it: made of it as the page wants it. */
const VIEWS = {
  home: { key: "summary", make: (doc, wanted) => home.show(doc, wanted, performance.now()) },
  topology: { key: "topology", make: (doc, wanted) => modelOf(doc, wanted.q) },
};
/** kind -> what is wanted, for the views that are on screen. */
const wantedViews = new Map();

const listener = {
  onState: (changes) => postMessage(changes),
  onStream: (stream, message) => postMessage({ stream, message, t: message.t }),
  onDocument: (key, state, envelope) => {
    const changes = [];
    for (const [name, one] of shown) {
      if (one.key === key) changes.push(changeOf(name, one.sections, envelope));
    }
    postMessage({ t: state.t ?? undefined, documents: changes, views: viewsOf(key) });
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
  view: ({ kind, wanted }) => {
    const { key } = VIEWS[kind];
    if (wanted === null) {
      wantedViews.delete(kind);
      releaseKey(key);
    } else {
      wantedViews.set(kind, wanted);
      holdKey(key);
      postMessage({ views: viewsOf(key) });
    }
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
  const isUsed = () => [...shown.values(), ...[...wantedViews.keys()].map((kind) => VIEWS[kind])].some((one) => one.key === key);
  if (isUsed() || lingering.has(key)) return;
  lingering.set(key, setTimeout(() => {
    lingering.delete(key);
    if (!isUsed()) connection.release(key);
  }, LINGER_MS));
}

/**
 * What the page is told of a change: all of it, or the sections it has.
 *
 * @param {string} name
 * @param {string[] | undefined} sections
 * @param {{ t?: number, full?: object, delta?: object }} envelope
 */
function changeOf(name, sections, { t, full, delta }) {
  if (full !== undefined) return { name, t, full: full === null ? null : only(sections, full) };
  return { name, t, delta: only(sections, delta) };
}

function only(sections, document) {
  if (sections === undefined) return document;
  return Object.fromEntries(sections.filter((name) => name in document).map((name) => [name, document[name]]));
}

/** What pages are given of a document that is known, by the kinds of views. */
function viewsOf(key) {
  const doc = connection.known(key)?.doc;
  const views = {};
  if (!doc) return views;
  for (const [kind, wanted] of wantedViews) {
    if (VIEWS[kind].key === key) views[kind] = VIEWS[kind].make(doc, wanted);
  }
  return views;
}
